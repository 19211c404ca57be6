"""Batches in order of their steps, prepared ahead by worker processes where there are any."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scorereg.data.source import Source, seeded
from scorereg.training.losses import draw_known
from scorereg.training.parametrization import PARAMETRIZATIONS
from scorereg.training.settings import Settings

__all__ = ["Batch", "BatchDataset", "RankShare", "batches"]

Batch = tuple[Tensor, ...]  # patches, weights, noise, levels, and for a conditional prior the mask of known values


@dataclass(frozen=True)
class RankShare:
    """The part of each batch that one process computes.

    Args:
        rank: Number of the process.
        processes: Number of processes.
        accumulate: Parts that the process computes one after the other, in slots `rank * accumulate` and on.
        count: Patches of a part.
    """

    rank: int
    processes: int
    accumulate: int
    count: int

    @classmethod
    def of(cls, settings: Settings, rank: int = 0, processes: int = 1) -> "RankShare":
        """Divide a run's batch among processes.

        Raises:
            ValueError: If it does not divide evenly.
        """
        slots = processes * settings.accumulate
        if settings.batch % slots:
            raise ValueError(
                f"a batch of {settings.batch} is not divided evenly among {processes} processes with "
                f"{settings.accumulate} parts each. Choose another --batch or --accumulate."
            )
        return cls(rank, processes, settings.accumulate, settings.batch // slots)


class BatchDataset(Dataset[Batch]):
    """All batches of one process by number: part `i % accumulate` of step `i // accumulate`.

    Args:
        source: Source of the patches.
        settings: Settings of the run.
        share: Part of the process.
    """

    def __init__(self, source: Source, settings: Settings, share: RankShare) -> None:
        self.source, self.settings, self.share = source, settings, share

    def __getitem__(self, index: int) -> Batch:
        step, part = divmod(index, self.share.accumulate)
        slot = self.share.rank * self.share.accumulate + part
        seed, count = self.settings.seed, self.share.count
        x, weight = self.source.batch(count, seed=seed, step=step, slot=slot)
        generator = seeded(seed, step, slot, 1)  # another stream than the source's
        noise = torch.randn(x.shape, generator=generator)
        level = PARAMETRIZATIONS[self.settings.prediction].draw_levels(self.settings, len(x), generator)
        batch = (x, weight, noise, level)
        if not self.settings.known:
            return batch
        return (*batch, draw_known(self.settings.known_channels, self.source.about.channels, len(x), generator))


def batches(draws: BatchDataset, first: int, *, device: torch.device, workers: int) -> Iterator[list[Batch]]:
    """Yield the batches from a step on, each as a list of its accumulated parts, on the device.

    Args:
        draws: The batches of the process.
        first: The first step.
        device: Device of the batches; memory is pinned for CUDA.
        workers: Processes that prepare batches ahead; 0 prepares each when it is needed.
    """
    parts = draws.share.accumulate
    loader = DataLoader(
        draws,
        batch_size=None,
        sampler=range(first * parts, draws.settings.steps * parts),
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
        worker_init_fn=_init_worker,
        generator=torch.Generator(),  # torch draws a seed for the workers; the caller's generator is left alone
    )
    step: list[Batch] = []
    for batch in loader:
        step.append(tuple(part.to(device, non_blocking=True) for part in batch))
        if len(step) == parts:
            yield step
            step = []


def _init_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the main process, which ends its workers
