"""Results of a run: the averaged prior as a folder, a grid of samples, and its denoising errors."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from scorereg._progress import stage
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
_VALUES = 2**25  # most values of the patches in memory


def measure(prior: Any, source: Source, *, count: int = 512, fit: int = 8192) -> PriorCard:
    """Measure a prior; returns its card with the results.

    Denoising errors are measured on each set of `source.measured`, residuals of clean patches on `"held-out"`.

    Args:
        prior: The prior, with a card.
        source: The data of its training.
        count: Patches to measure on; fewer where they are large.
        fit: Patches to fit the linear filter to.
    """
    card: PriorCard = prior.card
    most = max(_VALUES // (len(card.channels) * math.prod(card.size)), 16)
    count, fit = min(count, max(most // 16, 16)), min(fit, most)
    with stage(f"fitting the linear filter to {fit} patches", announce=True):
        linear = LinearFilter(source.plain("train", fit, seed=1)[0])
    errors = {}
    for name in source.measured:
        with stage(f"patches of {name}"):
            x, weight = source.plain(name, count, seed=2)
        errors[name] = denoising_errors(prior, linear, x, weight, name=f" on {len(x)} patches, {name}")
    return dataclasses.replace(card, denoising=errors, residual_quantiles=clean_residuals(prior, source, 4 * count))


def measure_folder(
    folder: Path, data: list[Path], evaluate: list[Path], *, half: bool = True, reading: ReadOptions | None = None
) -> PriorCard:
    """Measure a prior in a folder on the data of its run, and write its card again.

    Args:
        folder: The prior's folder.
        data: The data of its training.
        evaluate: Further data to measure on.
        half: Store the weights in half precision.
        reading: Which frames may be left out; none, if not given.

    Returns:
        The new card.

    Raises:
        ValueError: If the data are not usable.
        OSError: If a file cannot be read or written.
    """
    prior: Any = load_prior(str(folder))
    spec = Settings.from_json(prior.card.training).patch_spec
    prior.card = measure(prior, open_source(data, spec, evaluate, reading))
    save_prior(prior, folder, half=half)
    save_errors(folder, json.loads(json.dumps(prior.card.denoising)))
    return prior.card


def clean_residuals(prior: Prior, source: Source, count: int) -> dict[str, Any]:
    """Measure `residual_quantiles` of a card on held-out patches without augmentation."""
    x, _ = source.plain("held-out", count, seed=4)
    measured = residual_quantiles(prior, x, sigmas=RESIDUAL_SIGMAS)
    return {**measured, "data": f"{len(x)} held-out patches, as they are, no noise added"}


def write_report(out: Path, source: Source, *, best: bool = False) -> Path:
    """Measure a run's averaged prior, write it to `out/prior`, and its samples and errors to `out`.

    Args:
        out: Folder of the run.
        source: Data of the run.
        best: Take the checkpoint with the smallest error on held-out data in place of the newest.

    Returns:
        The prior's folder.
    """
    prior = ema_prior(out, best=best)
    prior.card = measure(prior, source)
    save_prior(prior, out / "prior")
    grid = sample(prior, 64 if len(prior.card.size) < 3 else 16)
    save_grid(out / "samples.png", grid, prior.channels, span=prior.card.range)
    save_errors(out, json.loads(json.dumps(prior.card.denoising)))
    return out / "prior"
