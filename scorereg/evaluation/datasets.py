"""`evaluate_prior`: denoising errors and residuals of a prior on frames, shards, arrays or images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from scorereg._io import check_folder
from scorereg.data.bad_frames import ReadOptions
from scorereg.data.frames.images import ImageSource
from scorereg.data.frames.source import FrameSource
from scorereg.data.open import kind_of, open_source
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.source import Source
from scorereg.evaluation.denoising import SIGMAS, LinearFilter, denoising_errors, save_errors
from scorereg.priors.base import Prior
from scorereg.priors.card import PriorCard

__all__ = ["evaluate_prior"]

_MOST_VALUES = 2**25  # of all patches of arrays that the filter is fitted to


def evaluate_prior(
    prior: Prior,
    data: list[Path] | Source,
    out: Path,
    *,
    count: int = 512,
    fit: int = 8192,
    size: int | None = None,
    sigmas: tuple[float, ...] = SIGMAS,
    seed: int = 0,
    reading: ReadOptions | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Measure denoising errors and residuals; write `denoising.json` and, with matplotlib, `denoising.png`.

    Held-out data are measured on, and the linear filter is fitted to the rest: of RGB-D frames one scene in sixteen is
    held out, the same that `train_prior` would hold out, or of a single scene the last frames; of images the last
    quarter. RGB-D frames are reduced to the focal lengths on the prior's card, images are cut at their own resolution.

    Args:
        prior: The prior; its channels are those of the data, or one channel for images in grey.
        data: Folders of frames, shards or arrays (`arrays.json`), of images if the prior has no disparity; or a
            `Source`, of which each set of `measured` is measured on.
        out: Folder for the results.
        count: Patches to measure on.
        fit: Patches to fit the filter to.
        size: Side of a patch, in pixels; the card's, if not given.
        sigmas: Noise levels; those beyond the card's range are left out.
        seed: Seed of patches and noise.
        reading: Which frames may be left out; none, if not given.

    Returns:
        Rows of `denoising_errors`, channel by channel, by the name of each folder or set.

    Raises:
        OSError: If a file cannot be read, or `out` cannot be written.
        ValueError: If a folder holds nothing that the prior can be measured on, or an argument is not usable.
    """
    if count < 1 or fit < 1:
        raise ValueError(f"evaluation needs at least 1 patch to measure on and to fit to, but got {count} and {fit}.")
    check_folder(out)
    errors = {}
    for name, source, held_out in _sources(prior, data, size, reading):
        about = source.about
        if about.channels != tuple(prior.channels):
            raise ValueError(
                f"{name} holds {', '.join(about.channels)}, but the prior knows {', '.join(prior.channels)}. "
                "Name data of its own kind."
            )
        most = fit
        if not isinstance(source, FrameSource | ImageSource):
            most = min(fit, max(_MOST_VALUES // (len(about.channels) * torch.Size(about.size).numel()), 16))
        clean, _ = source.plain("train", most, seed=seed + 1)
        x, weight = source.plain(held_out, count, seed=seed + 2)
        rows = denoising_errors(prior, LinearFilter(clean), x, weight, sigmas=sigmas, separate=True, seed=seed + 3)
        if not rows:
            raise ValueError(f"none of the noise levels {sigmas} is in the range of the prior's card; choose others.")
        errors[name] = rows
    save_errors(out, errors)
    return errors


def _sources(
    prior: Prior, data: list[Path] | Source, size: int | None, reading: ReadOptions | None
) -> Iterator[tuple[str, Source, str]]:
    """Yield name, source and set to measure on, of each folder or of each set of a source."""
    if not isinstance(data, list):
        yield from ((name, data, name) for name in data.measured)
        return
    for where in data:
        spec = PatchSpec() if kind_of(where) == "arrays" else _patch_spec(prior, size)
        yield where.resolve().name, open_source([where], spec, reading=reading, to_measure=True), "held-out"


def _patch_spec(prior: Prior, size: int | None) -> PatchSpec:
    """Return the patches of frames or images that a prior is measured on."""
    card: PriorCard | None = getattr(prior, "card", None)
    if size is None and (card is None or not card.size):
        raise ValueError(f"no card says how large this {type(prior).__name__}'s patches are. Give --patch, in pixels.")
    if "disparity" in prior.channels and (card is None or card.d_min is None):
        raise ValueError(
            "disparity of frames needs the d_min of a card. This prior knows "
            f"{', '.join(prior.channels)}, with no d_min."
        )
    side, names = size or (card.size[0] if card else 0), tuple(prior.channels)
    if card is None:
        return PatchSpec(side, names, None)
    return PatchSpec(side, names, card.focal, card.d_min or PatchSpec.d_min, range=card.range)
