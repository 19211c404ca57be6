"""What a checkpoint of denoising-diffusion-pytorch says of its training, and what has to be asked for."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from scorereg.priors.adapters.lucidrains_layout import is_grouped, needs_version, version_numbers, widths_of
from scorereg.priors.adapters.lucidrains_state import FoundState
from scorereg.priors.adapters.lucidrains_unet import GROUPS
from scorereg.priors.adapters.prediction_names import PREDICTIONS, check_prediction

__all__ = [
    "Prediction",
    "ask_for_missing",
    "check_kind",
    "check_version",
    "noise_table",
    "told_prediction",
    "told_version",
    "unsupported",
]

Prediction = Literal["epsilon", "sample", "v_prediction"]
OBJECTIVES = {"epsilon": "pred_noise", "sample": "pred_x0", "v_prediction": "pred_v"}
OPTIONS = {"prediction": "prediction", "version": "file-version", "groups": "groups"}
TABLES = ("betas", "alphas_cumprod")


def check_kind(found: FoundState, path: Path) -> None:
    """Check that the network is the package's U-Net for images.

    Raises:
        ValueError: If it is another one of the package's networks; it is named.
    """
    kind = {3: "a Unet1D, for sequences", 5: "a Unet3D, for videos"}.get(found.weights["init_conv.weight"].ndim)
    if any(name.startswith(("classes_emb", "null_classes_emb", "classes_mlp")) for name in found.weights):
        kind = "the Unet of classifier_free_guidance, conditioned on a class"
    if kind is None and "time_mlp.0.weights" in found.weights:
        kind = "a Unet with learned Fourier features, of ElucidatedDiffusion or a diffusion in continuous time"
    if kind is not None:
        wrap = "wrap it: scorereg.wrap(network, prediction=..., channels=(...))"
        rest = "pass its diffusion: load_prior(diffusion)" if kind.startswith("a Unet1D") else wrap
        raise ValueError(
            f"{path} holds {kind}, which is not supported; supported is the Unet for images of a GaussianDiffusion. "
            f"Make the network by its package, load the file into it, and {rest}."
        )


def told_prediction(found: FoundState) -> Prediction | None:
    """Return the prediction target that loss weights tell: 1, r or r / (r + 1), with r the signal-to-noise ratio.

    Files have them from version 1.5 on. Compared where r < 1, as a clipped weight differs above 1 only. None if the
    file has no loss weights, or others. A network with learned variance, of twice as many channels out as in, predicts
    the noise: the loss of LearnedGaussianDiffusion compares with it whatever its objective and loss weights.
    """
    first, last = (found.weights.get(f"{name}_conv.weight") for name in ("init", "final"))
    if first is not None and last is not None and last.shape[0] == 2 * first.shape[1]:
        return "epsilon"
    buffers = found.buffers
    weight, kept = buffers.get("loss_weight"), buffers.get("alphas_cumprod")
    if weight is None or kept is None or weight.shape != kept.shape or weight.ndim != 1:
        return None
    ratio = kept.double() / (1 - kept.double())
    low = (ratio < 1) & (ratio > 1e-6)
    r, weight = ratio[low], weight.double()[low]
    expected: dict[Prediction, Tensor] = {"epsilon": torch.ones_like(r), "sample": r, "v_prediction": r / (r + 1)}
    fits: list[Prediction] = [
        name for name, value in expected.items() if len(r) and torch.allclose(weight, value, rtol=1e-2, atol=0.0)
    ]
    return fits[0] if len(fits) == 1 else None


def agreed_prediction(given: str | None, told: Prediction | None, path: Path) -> Prediction | None:
    """Return the prediction target that the caller or the file says; None if neither does.

    Raises:
        ValueError: If the name is unknown, or they contradict each other.
    """
    for ours, theirs in OBJECTIVES.items():
        if given == theirs:
            raise ValueError(f"no prediction is called {given!r} here; objective={theirs!r} is prediction={ours!r}.")
    if given is not None and given not in OBJECTIVES:
        check_prediction(given, PREDICTIONS)
        raise ValueError(
            f"prediction={given!r} is not one of {', '.join(OBJECTIVES)}, which the Unet of {path} can have."
        )
    if given and told and given != told:
        raise ValueError(f"{path} was trained with prediction={told!r}, not {given!r}. Leave prediction out.")
    return told if given is None else given  # pyright: ignore[reportReturnType]  # one of the keys


def told_version(content: Mapping[Any, Any], given: str | None, path: Path) -> tuple[int, ...]:
    """Return the version that wrote a file as numbers, from the file or the caller; empty if neither says it.

    Raises:
        ValueError: If they contradict each other.
    """
    told, asked = version_numbers(content.get("version")), version_numbers(given)
    if given is not None and not asked:
        raise ValueError(f"version={given!r} is no version of denoising-diffusion-pytorch; give one such as '1.4.0'.")
    said = content.get("version")
    if isinstance(said, str) and not told and not asked:
        raise ValueError(
            f"{path} says version {said!r:.40}, which is none of denoising-diffusion-pytorch. Give the one that wrote "
            "it: version='1.4.0'."
        )
    if told and asked and told != asked:
        raise ValueError(f"{path} was written by version {content['version']}, not {given}. Leave version out.")
    return told or asked


def check_version(found: FoundState, version: tuple[int, ...], path: Path) -> None:
    """Check that a version is one that names a network's tensors as they are named here.

    Raises:
        ValueError: If it is older or newer by far: the norm of attention was a module around it until 1.8.
    """
    around = needs_version(found.weights)
    if version and (version >= (1, 9) if around else version < (1, 7)):
        since = "until 1.8" if around else "from 1.8 on"
        raise ValueError(
            f"{path} is told to be of version {'.'.join(map(str, version))} of denoising-diffusion-pytorch, but its "
            f"tensors have the names of versions {since}. Correct version, in the file or as argument."
        )


def ask_for_missing(
    path: Path, found: FoundState, *, version: tuple[int, ...], prediction: str | None, betas: Any, groups: int | None
) -> None:
    """Check that everything is known that a file does not say and that has no safe default.

    Raises:
        ValueError: With all that is missing, and the call that says it; or if `groups` contradicts the network.
    """
    asked: dict[str, str] = {}
    if not prediction:
        choices = ", ".join(f"{ours!r} for {theirs}" for ours, theirs in OBJECTIVES.items())
        asked["prediction='epsilon'"] = f"what its network predicts (the objective: {choices})"
    if not version and needs_version(found.weights):
        asked["version='0.27.12'"] = "the version of denoising-diffusion-pytorch that wrote it"
    if betas is None and not found.buffers.keys() & set(TABLES):
        asked["betas=scorereg.priors.cosine_betas(1000)"] = "its noise table (the state of a U-Net alone has no betas)"
    if (widths := _undivided(found, groups, path)) is not None:
        asked["groups=4"] = f"the groups of its group norms over {widths} channels (resnet_block_groups)"
    if asked:
        call = f"load_prior({path.name!r}, {', '.join(asked)})"
        names = [text.partition("=")[0] for text in asked]
        options = ", ".join(f"--{OPTIONS[name]}" for name in names if name in OPTIONS)
        shell = f" On the command line: {options}." if options else ""
        what = ", nor ".join(asked.values())
        raise ValueError(f"{path} does not say {what}. Give it, with the right values: {call}.{shell}")


def noise_table(buffers: Mapping[str, Tensor], given: Any, path: Path) -> dict[str, Any]:
    """Return the noise table as an argument of `wrap`, after the file's entries were compared with each other.

    Raises:
        ValueError: If they contradict each other, or a table that was given.
    """
    betas, kept = (buffers[name].double() if name in buffers else None for name in TABLES)
    half = any(buffers[name].dtype in (torch.float16, torch.bfloat16) for name in TABLES if name in buffers)
    if betas is not None and kept is not None and not _agree((1 - betas).cumprod(0), kept, 0.2 if half else 1e-3):
        raise ValueError("betas and alphas_cumprod of the file contradict each other: it is damaged. Copy it again.")
    if half and given is None:
        warnings.warn(
            f"{path}: the noise table is in half precision, so that its levels have two digits; betas= gives them "
            "exactly.",
            stacklevel=4,
        )
    if given is None:  # the file's float32 products have fewer digits than its betas
        return {"betas": betas} if betas is not None else {"alphas_cumprod": kept}
    table = torch.as_tensor(given, dtype=torch.float64)
    if betas is not None and not _agree(table, betas, 0.02 if half else 1e-3):
        raise ValueError("the betas that were given contradict those of the file. Leave betas out.")
    return {"betas": table}


def unsupported(path: Path, error: Exception) -> ValueError:
    """Return the error for tensors that are not those of the package's U-Net for images."""
    line = (str(error).strip().splitlines() or [""])[-1].strip()[:160]
    if isinstance(error, KeyError) or (line.startswith("Missing key(s)") and "Unexpected key" not in str(error)):
        names = re.findall(r'"([^"]+)"', line) or [str(error).strip("'\"")]
        return ValueError(
            f"{path} lacks {names[0]}{' and more' * (len(names) > 1)}, which the Unet for images of "
            "denoising-diffusion-pytorch has: the file is incomplete. Copy or download it again, or save the whole "
            "state, torch.save(diffusion.state_dict(), file); if its network is another one, scorereg.wrap takes it."
        )
    return ValueError(
        f"{path} holds a network that is not supported ({type(error).__name__}: {line}). Supported is the Unet for "
        "images of denoising-diffusion-pytorch from 0.27 on. Wrap another one with scorereg.wrap."
    )


def _undivided(found: FoundState, groups: int | None, path: Path) -> str | None:
    """The widths of the group norms, if the default number of groups does not divide them and none is given."""
    if not is_grouped(found.weights):
        if groups is not None:
            raise ValueError(
                f"{path} holds a network without group norm, so groups={groups} means nothing. Leave it out."
            )
        return None
    try:
        widths = widths_of(found.weights)
    except (KeyError, IndexError) as error:
        raise unsupported(path, error) from None
    shown = ", ".join(map(str, sorted(set(widths))))
    if groups is not None and (groups < 1 or any(width % groups for width in widths)):
        raise ValueError(f"{path} holds group norms over {shown} channels, which groups={groups} does not divide.")
    return shown if groups is None and any(width % GROUPS for width in widths) else None


def _agree(one: Tensor, other: Tensor, digits: float = 1e-3) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=digits, atol=digits / 100)
