"""Classes of pipelines and of their parts, as `model_index.json` names them: which have a score, which contradict."""

import re
import warnings
from pathlib import Path

from scorereg.priors.adapters.schedulers import family_of, unsupported_scheduler

__all__ = ["WRAP_PART", "check_pipeline", "check_scheduler_of_index", "cure_of_pipeline", "warn_of_pipeline"]

WRAP_PART = "Load it by diffusers and wrap its network with its conditions bound: scorereg.wrap(lambda z, t: ..., ...)."
_KNOWN = (
    "DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "RePaintPipeline", "ScoreSdeVePipeline", "LDMPipeline",
    "LDMSuperResolutionPipeline", "DanceDiffusionPipeline", "AudioDiffusionPipeline", "DiffusionPipeline",
)  # fmt: skip
_DISTILLED = re.compile(r"Consistency|LCM|TCD|Sprint|Distill")
_NO_SCORE = (
    "Its network is distilled: its output is a sample and not the posterior mean, so that it has no score. Use the "
    "model that it was distilled from."
)


def cure_of_pipeline(kind: str) -> str:
    """Return what to do with a pipeline of a class that is not supported."""
    return _NO_SCORE if _DISTILLED.search(kind) else WRAP_PART


def check_pipeline(of: str, kind: str, scheduler: str = "") -> None:
    """Check that the network of a pipeline is called as its scheduler says, and has a score.

    Args:
        of: Start of the error: the file, and "is of".
        kind: The pipeline's class.
        scheduler: The class of its scheduler, if known.

    Raises:
        ValueError: If the pipeline is distilled, calls its network in a way of its own, or is one of another scheduler.
    """
    if _DISTILLED.search(kind):
        raise ValueError(f"{of} a {kind}. {_NO_SCORE}")
    if kind == "KarrasVePipeline":
        raise ValueError(
            f"{of} a KarrasVePipeline, which gives its network sigma / 2 and data in [0, 1], and not what a scheduler "
            "says. Wrap the network as a denoiser: scorereg.wrap(lambda x, sigma: ..., prediction='denoised', "
            "channels=...)."
        )
    if kind == "ScoreSdeVePipeline" and scheduler and family_of(scheduler) != "score":
        raise ValueError(
            f"{of} a ScoreSdeVePipeline, whose network returns the score under a ScoreSdeVeScheduler, but the "
            f"scheduler beside it is a {scheduler}. Copy both again, from one model."
        )


def warn_of_pipeline(path: Path, kind: str) -> None:
    """Warn of a pipeline whose class is not known, whose code may feed its network in a way of its own.

    Args:
        path: Its `model_index.json`.
        kind: The class.
    """
    if kind not in _KNOWN:
        warnings.warn(
            f"{path} is of a {kind}, which is not known here: its network is read as the scheduler's file says. If "
            "its code feeds the network otherwise, use scorereg.wrap.",
            stacklevel=2,
        )


def check_scheduler_of_index(index: Path, told: str | None, path: Path, kind: str) -> None:
    """Check that the scheduler that a pipeline names is the one in its folder; warn if only the way to sample differs.

    Args:
        index: The pipeline's `model_index.json`.
        told: The class that it names for the scheduler; None for none.
        path: The scheduler's file.
        kind: The class that it names.

    Raises:
        ValueError: If the two are of different kinds of noise, or the first is one without a score.
    """
    if told is None or told == kind:
        return
    both = f"{index} names a {told} for the scheduler, but {path} is of a {kind}"
    if family_of(told) == family_of(kind):
        warnings.warn(f"{both}: the noise is taken from the latter.", stacklevel=2)
        return
    if family_of(told) is None:
        raise ValueError(f"{both}: {unsupported_scheduler(told)}.")
    raise ValueError(f"{both}, which makes other noise. Copy both again, from one model.")
