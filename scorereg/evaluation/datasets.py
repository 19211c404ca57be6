"""What a prior is worth on RGB-D frames, arrays or images: patches out of them, and `evaluation` on those."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scorereg._io import check_folder
from scorereg.data.arrays.source import ARRAYS_FILE, open_arrays
from scorereg.data.bad_frames import ReadOptions
from scorereg.data.frames.discover import rgbd_folders
from scorereg.data.frames.images import find_images, image_patches
from scorereg.data.frames.load import frames_of, pyramids_of_frames
from scorereg.data.frames.source import plain_patches
from scorereg.data.frames.split import split_scenes
from scorereg.data.shards.load import check_manifest, pyramid_of_shards
from scorereg.data.shards.manifest import Manifest, has_shards
from scorereg.data.shards.remote import Location
from scorereg.evaluation.denoising import SIGMAS, LinearFilter, denoising_errors, save_errors
from scorereg.priors.base import Prior
from scorereg.training.settings import Settings

__all__ = ["evaluate_prior"]

Patches = tuple[Tensor, Tensor]  # clean, and weights: 0 where unknown
MOST_VALUES = 2**25  # in all patches that the filter is fitted to
MOST_FRAMES = 256  # to fit the filter to; more take minutes to read and change nothing


def evaluate_prior(
    prior: Prior,
    data: list[Path],
    out: Path,
    *,
    count: int = 512,
    fit: int = 8192,
    size: int | None = None,
    sigmas: tuple[float, ...] = SIGMAS,
    seed: int = 0,
    reading: ReadOptions | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Measure denoising errors and residuals on some data; write `denoising.json` and `denoising.png`.

    A part of the data is measured on, and the linear filter is fitted to the rest: of RGB-D frames one scene in
    sixteen, the same that `train_prior` would hold out, or of a single scene its last frames; of images the last
    quarter. RGB-D frames are reduced to the focal lengths on the prior's card, images are cut as they are.

    Args:
        prior: The prior; of channels that the frames have, or one channel that grey images are shown to.
        data: Folders of frames, of shards, of arrays (`arrays.json`), or of images where the prior knows no disparity.
        out: Folder for the results.
        count: Patches to measure on.
        fit: Patches to fit the filter to.
        size: Side of a patch in pixels; the card's, if not given.
        sigmas: Noise levels; those beyond the card's range are left out.
        seed: Seeds patches and noise.
        reading: Which frames may be left out; none, if not given.

    Returns:
        For each folder, by its name, the rows of `denoising_errors`, channel by channel.

    Raises:
        OSError: If a file cannot be read, or `out` cannot be written.
        ValueError: If there is nothing in a folder that the prior can be measured on, or an argument is not usable.
    """
    if count < 1 or fit < 1:
        raise ValueError(f"evaluation needs at least 1 patch to measure on and to fit to, but got {count} and {fit}.")
    check_folder(out)
    side = _side(prior, size)
    errors = {}
    for folder in data:
        (clean, _), (x, weight) = _two_parts(prior, folder, fit, count, side, seed, reading or ReadOptions())
        name = folder.resolve().name
        errors[name] = denoising_errors(
            prior, LinearFilter(clean), x, weight, sigmas=sigmas, separate=True, seed=seed + 3
        )
        if not errors[name]:
            raise ValueError(f"none of the noise levels {sigmas} is in the range of the prior's card; choose others.")
    save_errors(out, errors)
    return errors


def _side(prior: Prior, size: int | None) -> int:
    known: tuple[int, ...] = getattr(getattr(prior, "card", None), "size", ())
    if size is None and not known:
        raise ValueError(f"no card says how large this {type(prior).__name__}'s patches are. Give --patch, in pixels.")
    return next(iter(known)) if size is None else size


def _two_parts(
    prior: Prior, folder: Path, fit: int, count: int, side: int, seed: int, reading: ReadOptions
) -> tuple[Patches, Patches]:
    """Patches of one part of a folder, to fit to, and of the other, to measure on."""
    if (folder / ARRAYS_FILE).is_file():
        return _array_parts(prior, folder, fit, count, seed)
    if has_shards(folder) or "disparity" in prior.channels or (folder.is_dir() and rgbd_folders(folder)):
        return _frame_parts(prior, folder, fit, count, side, seed, reading)
    images = find_images(folder)
    kept = max(len(images) // 4, 1)
    card: Any = getattr(prior, "card", None)
    span = (-1.0, 1.0) if card is None else card.range
    train, held = (
        image_patches(paths, many, size=side, channels=prior.channels, span=span, seed=seed + shift)
        for paths, many, shift in ((images[:-kept], fit, 1), (images[-kept:], count, 2))
    )
    return (train, torch.ones_like(train)), (held, torch.ones_like(held))


def _array_parts(prior: Prior, folder: Path, fit: int, count: int, seed: int) -> tuple[Patches, Patches]:
    source = open_arrays(folder, [])
    about = source.about
    if about.channels != tuple(prior.channels):
        raise ValueError(
            f"{folder} holds {', '.join(about.channels)}, but the prior knows {', '.join(prior.channels)}. "
            "Name data of its own kind."
        )
    most = max(MOST_VALUES // (len(about.channels) * torch.Size(about.size).numel()), 16)
    train, held = source.plain("train", min(fit, most), seed=seed + 1), source.plain("held-out", count, seed=seed + 2)
    return train, held


def _frame_parts(
    prior: Prior, folder: Path, fit: int, count: int, side: int, seed: int, reading: ReadOptions
) -> tuple[Patches, Patches]:
    """Patches of training frames and of held-out ones, of a folder of frames or of shards."""
    card: Any = getattr(prior, "card", None)
    names = tuple(prior.channels)
    if "disparity" in names and (card is None or card.d_min is None):
        raise ValueError(
            f"disparity of frames needs the d_min of a card. This prior knows {', '.join(names)}, with no d_min."
        )
    how = Settings(patch=side, channels=",".join(names), d_min=(card and card.d_min) or Settings.d_min)
    if has_shards(folder):
        place = Location(folder)
        manifest = Manifest.read(place)
        focal = (card and card.focal) or (manifest.focal, manifest.focal)
        how = dataclasses.replace(how, focal=focal)
        check_manifest(place, manifest, how)
        first, second = (pyramid_of_shards(place, manifest, split, how) for split in ("train", "val"))
    else:
        frames, faults = frames_of([folder], how, reading)
        train, held, _ = split_scenes(frames)
        train = train[:: -(-len(train) // MOST_FRAMES)]
        shortest = min(min(frame.focal) for frame in frames if frame.focal)
        how = dataclasses.replace(how, focal=(card and card.focal) or (shortest, shortest))
        parts = pyramids_of_frames({"train": train, "held": held}, how, faults)
        first, second = parts["train"], parts["held"]
    return (
        plain_patches(first, fit, size=side, channels=names, seed=seed + 1),
        plain_patches(second, count, size=side, channels=names, seed=seed + 2),
    )
