"""Folders of the diffusers library as priors: pipelines, models with a scheduler, and checkpoints of a training run."""

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from scorereg.priors.adapters.conversions import noise_of
from scorereg.priors.adapters.diffusers import MODELS, prior_of_network
from scorereg.priors.adapters.diffusers_layout import Layout, layout_of
from scorereg.priors.adapters.diffusers_parts import SCHEDULER, check_class, read_model, read_scheduler
from scorereg.priors.adapters.foreign_folders import warn_of_adapter
from scorereg.priors.adapters.latents import AUTOENCODERS, prior_of_latents
from scorereg.priors.adapters.schedulers import scheduler_settings
from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.card import CARD_FILE, PriorCard
from scorereg.priors.networks.agreement import check_card_of_model, check_size
from scorereg.priors.networks.record import check_record
from scorereg.priors.weights import WeightFiles, find_weights

__all__ = ["load_diffusers"]


def load_diffusers(
    folder: Path,
    *,
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] | None = None,
    d_min: float | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    prediction: str | None = None,
    betas: Any = None,
    variant: str | None = None,
    device: str | torch.device = "cpu",
    autocast: bool = False,
) -> WrappedPrior:
    """Load a pipeline's folder, a model's with its scheduler, or a checkpoint of a training run.

    Of a training run the averaged weights are taken, `unet_ema`, if they are there. Only JSON and weights are read: no
    code of the folder runs, and a pickle that names a function is refused. A pipeline with a decoder becomes a prior
    over latents, whose `transform` encodes colours.

    Args:
        folder: The folder. A model's scheduler is in the same folder, in `../scheduler`, or in that of the run.
        channels: Channel names; not needed for 1 and 3 channels, or with a card.
        size: Spatial shape of a training patch; by default the network's.
        d_min: Depth in metres at which disparity is 1, if a channel is disparity.
        data_range: Values of the data that are -1 and 1 in prior space; by default -1 and 1.
        prediction: Prediction target, if there is no scheduler; one that contradicts the scheduler is an error.
        betas: Noise table, if there is no scheduler.
        variant: Which weights, if there are several: `"fp16"`.
        device: Device of the network.
        autocast: Run the network in bfloat16 where torch's autocast does.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file cannot be read, its class is not supported, or an argument contradicts it.
    """
    layout = layout_of(folder)
    card = PriorCard.load(folder) if (folder / CARD_FILE).is_file() else None
    check_class(layout.model, MODELS)
    warn_of_adapter(folder)
    if card is not None and (card.training or card.weights_sha256):  # of a network that was trained here
        check_record(card, find_weights(layout.model, variant).paths[0])
    settings, notes = _noise(layout, folder, prediction, betas)
    network, files = read_model(layout.model, MODELS, variant)
    sample = network.config.get("sample_size")
    if card is not None:
        check_card_of_model(card, folder, settings, sample)
    elif size is not None and layout.decoder is None:
        check_size(size, sample, layout.model)
    name = folder.resolve().name
    if layout.decoder is not None:
        given = {"channels": channels, "d_min": d_min, "data_range": data_range, "size": size}
        for what, value in given.items():
            if value is not None:
                raise ValueError(f"{what}={value!r} means nothing for {folder}, a prior over latents. Leave it out.")
        decoder, _ = read_model(layout.decoder, AUTOENCODERS, None)
        with _naming(folder):
            prior = prior_of_latents(network, settings, decoder, name=name, device=device, autocast=autocast)
    else:
        with _naming(folder):
            prior = prior_of_network(
                network, settings, name=name, channels=channels, size=size, d_min=d_min, data_range=data_range,
                card=card, device=device, autocast=autocast,
            )  # fmt: skip
    prior.card = dataclasses.replace(prior.card, assumed=(*prior.card.assumed, *notes, *_notes(layout, files)))
    return prior


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Put the folder before a warning of what was read from it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in told:
        words = str(warning.message)
        named = issubclass(warning.category, UserWarning) and str(folder) not in words
        warnings.warn(f"{folder}: {words}" if named else words, warning.category, stacklevel=4)


def _noise(layout: Layout, folder: Path, prediction: str | None, betas: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments of `wrap` for noise and prediction, from the scheduler or the caller; and what was assumed."""
    if betas is not None:
        noise_of(betas=betas)  # a table that is wrong is told before what else is missing
    if layout.scheduler is None:
        if betas is None or prediction is None:
            raise FileNotFoundError(
                f"{layout.model / SCHEDULER} is missing, and so are the usual places beside it: what the network "
                "predicts, and under which noise, is not known. Give its scheduler: "
                f"from_diffusers(UNet2DModel.from_pretrained({str(layout.model)!r}), DDPMScheduler(...), "
                f"name={folder.name!r}); or load_prior(..., prediction='epsilon', betas=linear_betas())."
            )
        return {"prediction": prediction, "betas": betas}, ()
    scheduler = read_scheduler(layout.scheduler)
    try:
        settings = scheduler_settings(scheduler)
        noise_of(**{name: settings[name] for name in ("betas", "flow", "sigma_data") if name in settings})
    except ValueError as error:
        raise ValueError(f"{layout.scheduler / SCHEDULER}: {error}") from None
    if betas is not None:
        raise ValueError(f"{layout.scheduler / SCHEDULER} has the noise table of {folder}. Leave betas out.")
    if prediction is not None and prediction != settings["prediction"]:
        told = settings["prediction"]
        raise ValueError(f"{layout.scheduler / SCHEDULER} says prediction={told!r}, not {prediction!r}. Leave it out.")
    untold = "prediction_type" in scheduler.config.get("_use_default_values", ())
    return settings, (
        (f"prediction {settings['prediction']}, diffusers' where a file does not say it",) if untold else ()
    )


def _notes(layout: Layout, files: WeightFiles) -> tuple[str, ...]:
    variant = f"weights: variant {files.variant}, computed in float32" if files.variant else ""
    return tuple(filter(None, (layout.note, variant)))
