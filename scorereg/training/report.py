"""What a run leaves behind: the averaged prior as a folder, a grid of samples, and its denoising errors."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from scorereg.evaluation import LinearFilter, denoising_errors, residual_quantiles, save_errors
from scorereg.priors.network import NetworkPrior
from scorereg.sampling import sample, save_grid
from scorereg.training.checkpoint import State, ema_prior, write_beside
from scorereg.training.data import Pyramid
from scorereg.training.evaluate import plain_patches

__all__ = ["clean_residuals", "export_prior", "measure", "write_report"]

RESIDUAL_SIGMAS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def export_prior(run: Path, folder: Path) -> NetworkPrior:
    """Write the averaged prior of a run's newest checkpoint to a folder, while the run goes on or after it.

    Raises:
        FileNotFoundError: If the run has no checkpoint yet.
        ValueError: If the checkpoint cannot be read.
        OSError: If the folder cannot be written.
    """
    prior = ema_prior(run)
    prior.save_pretrained(folder)
    return prior


def measure(prior: NetworkPrior, pyramids: dict[str, Pyramid], *, count: int = 512, fit: int = 8192) -> NetworkPrior:
    """Return the prior with what was measured on its card.

    Denoising errors are measured on each pyramid but `"train"`, the residual of clean patches on `"held-out"`.

    Args:
        prior: The prior.
        pyramids: `"train"`, which the linear filter is fitted to, and what to measure on.
        count: Patches to measure on.
        fit: Patches to fit the filter to.
    """
    card = prior.card
    size, channels = card.size[0], card.training["channels"]
    linear = LinearFilter(plain_patches(pyramids["train"], fit, size=size, channels=channels, seed=1)[0])
    errors = {}
    for name, pyramid in pyramids.items():
        if name != "train":
            x, weight = plain_patches(pyramid, count, size=size, channels=channels, seed=2)
            errors[name] = denoising_errors(prior, linear, x, weight)
    card = dataclasses.replace(
        card, denoising=errors, residual_quantiles=clean_residuals(prior, pyramids["held-out"], count=4 * count)
    )
    return NetworkPrior(prior.network, card, autocast=prior.autocast).eval()


def clean_residuals(prior: NetworkPrior, pyramid: Pyramid, *, count: int) -> dict[str, Any]:
    """Return a card's `residual_quantiles`, measured on plain patches of frames that were held out."""
    size, channels = prior.card.size[0], prior.card.training["channels"]
    x, _ = plain_patches(pyramid, count, size=size, channels=channels, seed=4)
    measured = residual_quantiles(prior, x, sigmas=RESIDUAL_SIGMAS)
    return {**measured, "data": f"{count} patches of the held-out scenes, as they are, no noise added"}


def write_report(run: State | Path, pyramids: dict[str, Pyramid], out: Path) -> Path:
    """Measure a run's averaged prior, write it to `out/prior`, and its samples and errors to `out`.

    Returns:
        The prior's folder.
    """
    prior = measure(ema_prior(run), pyramids)
    prior.save_pretrained(out / "prior")
    write_beside(out / "samples.png", lambda path: save_grid(path, sample(prior, 64), prior.channels))
    save_errors(out, json.loads(json.dumps(prior.card.denoising)))
    return out / "prior"
