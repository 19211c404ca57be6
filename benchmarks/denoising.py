"""A prior's denoising error against the best linear filter that can be fitted to the same images.

The filter is a hard rival: it is fitted to other patches of the very images that are measured on, which the prior has
never seen. See `scorereg.evaluation` for what is compared.
"""

from pathlib import Path
from typing import Any

import torch

from scorereg.data import PatchSpec, find_frames
from scorereg.data.frames import load_pyramid
from scorereg.data.frames.augment import plain_patches
from scorereg.evaluation import LinearFilter, denoising_errors
from scorereg.priors.load import load_prior

__all__ = ["denoising"]

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5)
TARGETS = "at most 0.6 on held-out rooms, 0.8 on real frames"


def denoising(name: str, folders: list[Path], *, count: int = 512, fit: int = 8192, seed: int = 0) -> dict[str, Any]:
    """Return the ratios of squared errors on each folder, by noise level, of colours and of disparity.

    Of a folder that holds scenes of the card's `held_out`, these alone are measured on; of another, all frames.

    Args:
        name: A shipped RGB-D prior, or its folder.
        folders: Of RGB-D frames.
        count: Patches to measure on.
        fit: Patches of the same frames that the filter is fitted to.
        seed: Seeds patches and noise.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the frames or the prior are not usable.
    """
    prior = load_prior(name)
    card: Any = prior.card  # of frames, so that it has focal lengths and d_min
    spec = PatchSpec(card.size[0], focal=card.focal, d_min=card.d_min)
    told: dict[str, Any] = {"prior": name, "targets": TARGETS}
    for folder in folders:
        frames = find_frames([folder])
        held = [frame for frame in frames if frame.scene in card.held_out] or frames
        pyramid = load_pyramid(held, spec)
        clean, _ = plain_patches(pyramid, fit, spec, torch.Generator().manual_seed(seed + 1))
        x, weight = plain_patches(pyramid, count, spec, torch.Generator().manual_seed(seed + 2))
        rows = denoising_errors(prior, LinearFilter(clean), x, weight, sigmas=SIGMAS, seed=seed + 3)
        ratios = [{key: row[key] for key in ("sigma", "rgb_ratio", "disparity_ratio")} for row in rows]
        told[folder.resolve().name] = {"frames": len(held), "patches": count, "ratios": ratios}
    return told
