"""Several sources as one: each contributes its share of every batch."""

import dataclasses
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorereg.data.source import Source, SourceInfo, seeded

__all__ = ["MixedSource", "mixed"]

_SEED_STEP = 1_000_003  # between the seeds of two sources, so that they draw different numbers


@dataclass(frozen=True)
class MixedSource:
    """Patches of several sources, in proportion to their numbers of frames.

    Of a batch of n patches the i-th source, with a share p_i of all frames, contributes floor(n p_i) or one more, such
    that the mean over steps is n p_i. The batch is a function of seed, step and slot, like those of each source.

    Args:
        about: Description of all the data.
        parts: The sources; the first one has the sets to measure on beside `"held-out"`.
        shares: Share of each source in a batch; they sum to 1.
    """

    about: SourceInfo
    parts: tuple[Source, ...]
    shares: tuple[float, ...]

    @property
    def measured(self) -> tuple[str, ...]:
        return self.parts[0].measured

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        start = float(torch.rand((), generator=seeded(seed, step, slot, 4), dtype=torch.float64))
        drawn = []
        for i, (part, kept) in enumerate(zip(self.parts, self._counts(count, start), strict=True)):
            # A source of shards schedules its shards by the size of its batches, so that must not vary.
            most = math.ceil(count * self.shares[i] - 1e-9)
            x, weight = part.batch(most, seed=seed + _SEED_STEP * i, step=step, slot=slot)
            drawn.append((x[:kept], weight[:kept]))
        x, weight = (torch.cat(each) for each in zip(*drawn, strict=True))
        return x, weight

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Return patches without augmentation; of all sources for `"train"` and `"held-out"`, else of the first."""
        if name not in ("train", "held-out"):
            return self.parts[0].plain(name, count, seed=seed)
        counts = self._counts(count, 0.5)
        drawn = [p.plain(name, n, seed=seed) for p, n in zip(self.parts, counts, strict=True) if n]
        x, weight = (torch.cat(each) for each in zip(*drawn, strict=True))
        return x, weight

    def _counts(self, count: int, start: float) -> list[int]:
        """Return whole numbers that sum to `count`, each `count * share` rounded up or down."""
        ends = [math.floor(count * sum(self.shares[:i]) + start + 1e-9) for i in range(len(self.shares))]
        ends.append(count + math.floor(start + 1e-9))
        return [there - here for here, there in itertools.pairwise(ends)]


def mixed(parts: list[Source], frames: list[int]) -> Source:
    """Return several sources as one, or the only one unchanged.

    Args:
        parts: The sources.
        frames: Number of frames, or of ready-made patches, of each.

    Raises:
        ValueError: If their patches differ in channels, size, range, kind of depth, `d_min` or transform.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0].about
    for about in (part.about for part in parts[1:]):
        for name in ("channels", "size", "range", "d_min", "depth", "transform"):
            here, there = getattr(first, name), getattr(about, name)
            if here != there:
                raise ValueError(
                    f"data of different kinds cannot be mixed: {name} is {here} of {first.data}, but {there} of "
                    f"{about.data}. Bring both to one kind, or train on one of them."
                )
    abouts = [part.about for part in parts]
    about = dataclasses.replace(
        first,
        data="; ".join(about.data for about in abouts),
        held_out=tuple(dict.fromkeys(name for about in abouts for name in about.held_out)),
        licence=" and ".join(dict.fromkeys(about.licence for about in abouts if about.licence)),
        credits=tuple(dict.fromkeys(name for about in abouts for name in about.credits)),
        focal=None if any(about.focal is None for about in abouts) else first.focal,
    )
    return MixedSource(about, tuple(parts), tuple(n / sum(frames) for n in frames))
