"""What a run leaves behind: the averaged prior as a folder, a grid of samples, and its denoising errors."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from scorereg._io import write_beside
from scorereg.data.bad_frames import ReadOptions
from scorereg.data.open import open_source
from scorereg.data.source import Source
from scorereg.evaluation.denoising import LinearFilter, denoising_errors, residual_quantiles, save_errors
from scorereg.evaluation.pictures import save_grid
from scorereg.priors.base import Prior
from scorereg.priors.card import PriorCard
from scorereg.priors.load import load_prior
from scorereg.priors.sampling import sample
from scorereg.training.checkpoint import ema_prior
from scorereg.training.export import save_prior
from scorereg.training.settings import Settings

__all__ = ["clean_residuals", "measure", "measure_folder", "write_report"]

RESIDUAL_SIGMAS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_VALUES = 2**25  # that are held at once


def measure(prior: Any, source: Source, *, count: int = 512, fit: int = 8192) -> PriorCard:
    """Return a prior's card with what was measured.

    Denoising errors are measured on each set of `source.measured`, the residual of clean patches on `"held-out"`.

    Args:
        prior: The prior, with a card.
        source: Its data.
        count: Patches to measure on; fewer where they are large.
        fit: Patches to fit the linear filter to.
    """
    card: PriorCard = prior.card
    most = max(_VALUES // (len(card.channels) * math.prod(card.size)), 16)
    count, fit = min(count, max(most // 16, 16)), min(fit, most)
    linear = LinearFilter(source.plain("train", fit, seed=1)[0])
    errors = {}
    for name in source.measured:
        x, weight = source.plain(name, count, seed=2)
        errors[name] = denoising_errors(prior, linear, x, weight)
    return dataclasses.replace(card, denoising=errors, residual_quantiles=clean_residuals(prior, source, 4 * count))


def measure_folder(
    folder: Path, data: list[Path], evaluate: list[Path], *, half: bool = True, reading: ReadOptions | None = None
) -> PriorCard:
    """Measure a prior that was trained here and lies in a folder on the data of its run; write its card anew.

    Raises:
        ValueError: If the data are not usable.
        OSError: If a file cannot be read or written.
    """
    prior: Any = load_prior(str(folder))
    known = {field.name for field in dataclasses.fields(Settings)}
    entries: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in prior.card.training.items() if k in known
    }
    prior.card = measure(prior, open_source(data, Settings(**entries), evaluate, reading))
    save_prior(prior, folder, half=half)
    save_errors(folder, json.loads(json.dumps(prior.card.denoising)))
    return prior.card


def clean_residuals(prior: Prior, source: Source, count: int) -> dict[str, Any]:
    """Return a card's `residual_quantiles`, measured on plain patches that were held out."""
    x, _ = source.plain("held-out", count, seed=4)
    measured = residual_quantiles(prior, x, sigmas=RESIDUAL_SIGMAS)
    return {**measured, "data": f"{len(x)} held-out patches, as they are, no noise added"}


def write_report(out: Path, source: Source, *, best: bool = False) -> Path:
    """Measure a run's averaged prior, write it to `out/prior`, and its samples and errors to `out`.

    Returns:
        The prior's folder.
    """
    prior = ema_prior(out, best=best)
    prior.card = measure(prior, source)
    save_prior(prior, out / "prior")
    grid = sample(prior, 64 if len(prior.card.size) < 3 else 16)
    write_beside(out / "samples.png", lambda path: save_grid(path, grid, prior.channels, span=prior.card.range))
    save_errors(out, json.loads(json.dumps(prior.card.denoising)))
    return out / "prior"
