"""A `GaussianDiffusion` of denoising-diffusion-pytorch in memory as a prior, without importing the package."""

import copy
import dataclasses
from typing import Any

import torch

from scorereg.priors.adapters.diffusers import NAMED, channel_names
from scorereg.priors.adapters.unwrapped import check_loaded, inner_module
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = ["from_diffusion"]

ASSUMED_FROM_0 = "data in [0, 1] in training, as auto_normalize=False: data_range= says otherwise"
PREDICTIONS = {"pred_noise": "epsilon", "pred_x0": "sample", "pred_v": "v_prediction"}


def from_diffusion(
    diffusion: Any,
    *,
    channels: tuple[str, ...] | None = None,
    size: tuple[int, ...] | None = None,
    d_min: float | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    device: str | torch.device = "cpu",
) -> WrappedPrior:
    """Make a prior of a diffusion object, which says its prediction target, noise table and range of data.

    A self-conditioned network gets no estimate as input. One in half precision is used in float32, as a copy.

    Args:
        diffusion: A `GaussianDiffusion` around a `Unet`; it is put into evaluation mode and moved.
        channels: Channel names; by default gray for 1 channel, and r, g, b for 3.
        size: Spatial shape of a training patch; by default the diffusion's.
        d_min: Depth in metres at which disparity is 1, for the card, if a channel is disparity.
        data_range: Values of the data that are -1 and 1 in prior space; by default those of `auto_normalize`.
        device: Device of the network.

    Raises:
        ValueError: If it is another object of the package, or conditioned on a class, or has no weights.
    """
    kind = type(diffusion).__name__
    network, betas = getattr(diffusion, "model", None), getattr(diffusion, "betas", None)
    prediction = PREDICTIONS.get(getattr(diffusion, "objective", ""))
    if kind == "LearnedGaussianDiffusion":  # its loss compares with the noise, whatever its objective
        prediction = "epsilon"
    other = type(diffusion).__module__.endswith("_guidance") or kind == "WeightedObjectiveGaussianDiffusion"
    if network is None or betas is None or prediction is None or other:
        raise ValueError(
            f"load_prior got a {kind} of denoising-diffusion-pytorch, and takes its GaussianDiffusion, unconditional "
            "(of a Trainer: trainer.ema.ema_model). Give that, or wrap the network: scorereg.wrap(network, "
            "prediction=..., betas=..., channels=(...))."
        )
    network = inner_module(network)
    check_loaded(network)
    if any(values.dtype in (torch.float16, torch.bfloat16) for values in network.parameters()):
        network = copy.deepcopy(network).float()  # its embedding of the time is in float32, whatever its weights
    network = network.to(device).eval().requires_grad_(False)
    count = network.channels
    # auto_normalize maps [0, 1] to [-1, 1], and is the identity without.
    normalized = bool(diffusion.normalize(torch.zeros(())) == -1) if hasattr(diffusion, "normalize") else True
    side, length = getattr(diffusion, "image_size", ()), getattr(diffusion, "seq_length", None)
    own: tuple[int, ...] = (side, side) if isinstance(side, int) else tuple(side)
    given = size or own or (() if length is None else (length,))
    prior = wrap(
        network, prediction=prediction, betas=betas.double(), channels=channel_names(count, channels, kind), size=given,
        data_range=data_range or ((-1, 1) if normalized else (0, 1)), multiple=getattr(network, "downsample_factor", 1),
    )  # fmt: skip
    named = () if channels else (NAMED,)
    ranged = () if data_range or normalized else (ASSUMED_FROM_0,)
    depth: dict[str, Any] = {"depth": "planar", "d_min": d_min} if d_min is not None else {}
    prior.card = dataclasses.replace(
        prior.card, architecture=f"{type(network).__name__} of denoising-diffusion-pytorch",
        assumed=(*ranged, *named), **depth,
    )  # fmt: skip
    return prior
