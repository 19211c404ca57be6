"""Small training runs for the tests: settings, a source in memory, comparison of runs."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scorereg.data.source import SourceInfo, seeded
from scorereg.training.settings import Settings

SMALL = Settings(
    patch_size=8,
    network_size="tiny",
    batch=4,
    focal=(15.0, 30.0),
    save_every=2,
    precision="fp32",
    steps=5,
    workers=0,
    keep=9,
)


def small(**change: object) -> Settings:
    return dataclasses.replace(SMALL, **change)


@dataclass(frozen=True)
class Waves:
    """A source that needs no files: smooth random patches of any size."""

    size: tuple[int, ...] = (8, 8)
    channels: tuple[str, ...] = ("disparity",)

    @property
    def about(self) -> SourceInfo:
        return SourceInfo(self.channels, self.size, "waves", held_out=("some",), licence="CC0", credits=("someone",))

    @property
    def measured(self) -> tuple[str, ...]:
        return ("held-out",)

    def batch(self, count: int, *, seed: int, step: int, slot: int) -> tuple[Tensor, Tensor]:
        x = self._draw(count, seeded(seed, step, slot))
        return x, (torch.rand(x.shape, generator=seeded(9, seed, step, slot)) < 0.8).float()

    def plain(self, name: str, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
        x = self._draw(count, seeded(seed, len(name)))
        return x, torch.ones_like(x)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        low = torch.randn(count, len(self.channels), *[2] * len(self.size), generator=generator)
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(self.size)]
        return torch.nn.functional.interpolate(low, self.size, mode=mode).clamp(-2, 2) / 2


def assert_same(a, b) -> None:
    """Equal to the bit, at any depth, but for the time that was spent."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            if key not in ("seconds",):
                assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same(left, right)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def content(out) -> dict:
    """The newest checkpoint of a run."""
    return torch.load(sorted((out / "checkpoints").glob("*.pt"))[-1], weights_only=True)


def quick(monkeypatch) -> None:
    """Fewer patches in the report, and no TensorBoard, which takes seconds to import."""
    from scorereg.priors.sampling import sample
    from scorereg.training import log, report

    full = report.measure
    monkeypatch.setattr(report, "measure", lambda prior, source, **how: full(prior, source, count=8, fit=32, **how))
    monkeypatch.setattr(report, "sample", lambda prior, count: sample(prior, 4, steps=2))
    monkeypatch.setattr(log, "find_spec", lambda name: None)


def run_apart(out: Path, settings: dict, environment: dict) -> None:
    """A whole run, for a process of its own."""
    from scorereg.priors.sampling import sample
    from scorereg.training import log, report, train_prior

    os.environ.update(environment)
    torch.set_num_threads(1)
    full = report.measure
    log._board = lambda out, step: None
    report.measure = lambda prior, source, **how: full(prior, source, count=8, fit=32, **how)
    report.sample = lambda prior, count: sample(prior, 4, steps=2)
    train_prior(Waves(), out, small(**settings), resume=True, device="cpu")
