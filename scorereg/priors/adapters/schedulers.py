"""Schedulers of the diffusers library, read for how a network was trained: noise, prediction target, and kind of time.

Their settings for sampling (`timestep_spacing`, `clip_sample`, `thresholding`, `steps_offset`, karras sigmas, `shift`)
are ignored. A table entry without signal, as after `rescale_betas_zero_snr`, is excluded from the range of levels.
"""

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from scorereg.priors.adapters.diffusers_tables import check_tables

__all__ = ["DISTILLED", "SCHEDULERS", "TABLES", "family_of", "scheduler_settings", "unsupported_scheduler"]

TABLES = (
    "DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler", "LMSDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler", "DDPMParallelScheduler", "DDIMParallelScheduler", "DDIMInverseScheduler",
    "DEISMultistepScheduler", "DPMSolverMultistepInverseScheduler", "DPMSolverSDEScheduler", "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler", "SASolverScheduler", "RePaintScheduler",
)  # fmt: skip
EDM = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
SCORES = ("ScoreSdeVeScheduler",)
SCHEDULERS = (*TABLES, *EDM, *FLOWS, *SCORES)
DISTILLED = (
    "LCMScheduler", "TCDScheduler", "CMStochasticIterativeScheduler", "FlowMatchLCMScheduler", "SCMScheduler",
    "ConsistencyDecoderScheduler", "HeliosDMDScheduler", "FlowMapEulerDiscreteScheduler",
)  # fmt: skip
_DISCRETE = ("VQDiffusionScheduler", "AmusedScheduler", "BlockRefinementScheduler", "DiscreteDDIMScheduler")
_SHIFTED = ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler")
PREDICTIONS = ("epsilon", "sample", "v_prediction")


def scheduler_settings(scheduler: Any) -> dict[str, Any]:
    """Return the arguments of `wrap` for the noise and the prediction target of a diffusers scheduler.

    Also for networks of other classes: `wrap(network, channels=..., **scheduler_settings(scheduler))`.

    Args:
        scheduler: A scheduler of one of the classes `SCHEDULERS`.

    Raises:
        ValueError: If the scheduler, its prediction target or its kind of time is not supported.
    """
    name, config = type(scheduler).__name__, getattr(scheduler, "config", None)
    if (text := _no_scheduler(scheduler)) is not None:
        raise ValueError(f"a scheduler is needed, such as DDPMScheduler(...), but got {text}.")
    if name not in SCHEDULERS or config is None:
        raise ValueError(f"{unsupported_scheduler(name)}.")
    flow = config.get("prediction_type") == "flow_prediction"
    if name in FLOWS or (flow and config.get("use_flow_sigmas")):
        if config.get("invert_sigmas"):
            raise ValueError(f"{name} with invert_sigmas counts time backwards; wrap it by scorereg.wrap.")
        return _of_flow(config.num_train_timesteps)
    if flow:
        raise ValueError(
            f"{name} with prediction_type='flow_prediction' needs use_flow_sigmas=True. For a network of flow matching "
            "give FlowMatchEulerDiscreteScheduler()."
        )
    if name in SCORES:  # the network is given sigma and returns the score, of images in [0, 1]
        edges = (config.sigma_min, config.sigma_max)
        return {"prediction": "score", "time": "sigma", "sigma_range": edges, "data_range": (0.0, 1.0)}
    prediction = config.get("prediction_type", "epsilon" if name == "RePaintScheduler" else None)
    if prediction not in PREDICTIONS or config.get("use_flow_sigmas"):
        raise ValueError(
            f"{name} with prediction_type={prediction!r} is not supported; supported are {', '.join(PREDICTIONS)}. "
            "Use scorereg.wrap."
        )
    if name in EDM:
        if prediction == "sample":
            raise ValueError(f"{name} knows prediction_type 'epsilon' and 'v_prediction', but got 'sample'.")
        return {  # its "epsilon" is EDM's F, and its "v_prediction" is -F
            "prediction": "edm" if prediction == "epsilon" else "v_prediction",
            "sigma_data": config.sigma_data,
            "sigma_range": (config.sigma_min, config.sigma_max),
        }
    if config.get("timestep_type", "discrete") == "continuous" and prediction == "v_prediction":
        edges = (config.sigma_min or 0.002, config.sigma_max or 700.0)
        return {"prediction": prediction, "sigma_data": 1.0, "sigma_range": edges}  # time is ln(sigma) / 4
    check_tables(scheduler)
    return {"prediction": prediction, "betas": scheduler.betas}


def family_of(name: str) -> str | None:
    """Return the kind of noise of a class of scheduler: table, edm, flow or score; None if it is not supported."""
    kinds = {"table": TABLES, "edm": EDM, "flow": FLOWS, "score": SCORES}
    return next((kind for kind, names in kinds.items() if name in names), None)


def _of_flow(steps: int) -> dict[str, Any]:
    edges = (1 / (steps - 1), float(steps - 1))  # t = 1 / steps, and 1 - 1 / steps, as sigma = t / (1 - t)
    return {"prediction": "velocity", "flow": True, "time": lambda t: steps * t, "sigma_range": edges}


def _no_scheduler(value: Any) -> str | None:
    """What an object is that is no scheduler, and what is meant; None if it may be one."""
    kind = type(value).__name__
    if value is None:
        call = "scorereg.priors.from_diffusers(unet, scheduler)"
        return f"None. Give the one of the training, {call}; a pipeline is read by load_prior"
    if isinstance(value, type):
        return f"the class {value.__name__}. Give an object of it: {value.__name__}(...)"
    if isinstance(value, nn.Module):
        return f"a {kind}, a network. The network comes first: scorereg.priors.from_diffusers(unet, scheduler)"
    if hasattr(value, "scheduler") and not hasattr(value, "set_timesteps"):
        return f"a {kind}, a pipeline. Give what it holds: scheduler_settings(pipeline.scheduler)"
    if isinstance(value, str | os.PathLike):
        return f"the name {os.fspath(value)!r}. Give DDPMScheduler.from_pretrained(folder)"
    if isinstance(value, Mapping):
        return f"a {kind} of settings. Give DDPMScheduler.from_config(settings), or the class that wrote them"
    if type(value).__module__.startswith("torch.optim"):
        return f"a {kind}, which is of the learning rate. Give that of the noise"
    return None


def unsupported_scheduler(name: Any) -> str:
    """Return why a class of scheduler is not supported, and what to do, without the last full stop.

    Args:
        name: The class; None if a file names none.
    """
    known = f"supported are {', '.join(SCHEDULERS[:10])} and relatives"
    if not isinstance(name, str) or not name:
        return f"_class_name, the class of the scheduler, is {name!r:.40}; {known}. Write that of the training"
    if name in DISTILLED:
        return (
            f"the scheduler {name} is one for distilled models, whose output is a sample and not the posterior mean, "
            "so that it has no score. Use the model that it was distilled from"
        )
    if name in _DISCRETE:
        return (
            f"the scheduler {name} replaces classes (tokens) by others instead of adding noise to values, so that "
            "there is no score. Use a model of values"
        )
    if name in _SHIFTED:
        return (
            f"the scheduler {name} shifts its noise by snr_shift_scale, so that its betas are not the noise. Wrap the "
            "network with the shifted table: scorereg.wrap(lambda z, t: ..., prediction=..., "
            "alphas_cumprod=scheduler.alphas_cumprod, channels=...)"
        )
    return (
        f"the scheduler {name} is not supported; {known}. Give the one of these that makes the noise of the training, "
        "or say it: scorereg.wrap(network, prediction=..., betas=..., channels=...)"
    )
