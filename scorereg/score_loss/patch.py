"""What `ScoreLoss` takes as a patch and as a mask, and what its errors say of everything else."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scorereg.score_loss.holder import first_weight

__all__ = ["NONFINITE_IN_GRAPH", "check_patch", "explained", "free_values", "nonfinite_message"]

_VMAP = (
    "ScoreLoss looks at the numbers of a patch and cannot run under torch.vmap or torch.func.vmap. It takes batches by "
    "itself: loss(patches) with patches of shape (b, c, h, w) has each patch's own gradient, divided by b."
)


NONFINITE_IN_GRAPH = (
    "ScoreLoss, in a compiled graph: a patch or what the prior returned is not finite. Run without torch.compile to be "
    "told where, or use on_nonfinite='skip'."
)


def check_patch(patch: Any, channels: Sequence[str]) -> None:
    """Refuse a patch whose kind, type or shape does not fit the prior's channels."""
    if torch.compiler.is_exporting():
        raise ValueError("ScoreLoss looks at a patch's numbers and cannot be exported; export the model without it.")
    if not isinstance(patch, Tensor):
        raise ValueError(
            f"ScoreLoss needs a patch as a torch tensor of shape (b, c, h, w), but got a {type(patch).__name__}. For "
            "arrays of other libraries, NumPy's among them, call loss.gradient(array); for a list, torch.tensor(list)."
        )
    kind = _unusual(patch)
    if kind:
        raise ValueError(f"ScoreLoss needs a plain (dense) tensor with values, but got a {kind[0]}. {kind[1]}.")
    if not patch.is_floating_point():
        raise ValueError(
            f"ScoreLoss needs a patch of floating-point numbers, but got {patch.dtype}. Convert it to the prior's range"
            f"{', for pixels of 8 bits: patch / 127.5 - 1' if patch.dtype == torch.uint8 else ''}."
        )
    if patch.ndim < 3 or patch.numel() == 0:
        raise ValueError(
            f"ScoreLoss needs a batch of at least one patch, shape (b, c, h, w), or with 1 or 3 spatial dimensions, "
            f"but got shape {tuple(patch.shape)}."
        )
    if patch.shape[1] != len(channels):
        raise ValueError(
            f"ScoreLoss got a patch of shape {tuple(patch.shape)}, so {patch.shape[1]} channels, but the prior "
            f"knows {len(channels)}: {', '.join(channels)}. {_cure(patch, len(channels))}"
        )


def _unusual(patch: Tensor) -> tuple[str, str] | None:
    """Name of a kind of tensor that has no plain values, and what to do."""
    if patch.is_nested:
        return "nested tensor", "Give patches of one size, torch.stack(patches), or call the loss for each"
    if patch.is_quantized:
        return "quantised tensor", "Give patch.dequantize()"
    if patch.is_mkldnn or patch.layout != torch.strided:
        return f"{patch.layout} tensor".replace("torch.", ""), "Give patch.to_dense()"
    if patch.is_meta:
        return "tensor on the meta device", "Move the model to a device with memory before it is used"
    return None


def _cure(patch: Tensor, count: int) -> str:
    """What to do about a wrong number of channels, judged by the shape."""
    if patch.ndim == 4 and patch.shape[-1] == count:
        return "Channels come second, not last: rearrange(patch, 'b h w c -> b c h w')."
    if patch.ndim == 3 and patch.shape[0] == count:
        return "For a single patch: patch[None]."
    if patch.ndim == 3 and patch.shape[-1] == count:
        return "For a single patch with channels last: rearrange(patch, 'h w c -> 1 c h w')."
    return "Build the patch with a transform that has the prior's `channels`."


def free_values(known: Any, x: Tensor) -> Tensor:
    """Inverse of the mask `known` as numbers: 1 where a value may move, 0 where it is known; in the dtype of `x`."""
    plain = isinstance(known, Tensor) and not known.is_meta
    fits = plain and known.ndim == x.ndim and all(k in (1, n) for k, n in zip(known.shape, x.shape, strict=True))
    if not fits or known.dtype != torch.bool:  # fewer dimensions would broadcast, silently, to the wrong axes
        got = f"{known.dtype} of shape {tuple(known.shape)}" if plain else f"a {type(known).__name__}"
        raise ValueError(
            f"ScoreLoss needs `known` as a boolean mask with each size that of the patch, {tuple(x.shape)}, or 1, but "
            f"got {got}. {_mask_cure(known, x)}"
        )
    return (~known).to(x)


def _mask_cure(known: Any, x: Tensor) -> str:
    if not isinstance(known, Tensor):
        return "Make it a tensor: torch.as_tensor(known, dtype=torch.bool)."
    if known.is_meta:
        return "It is on the meta device, and has no values."
    if known.shape == (len(x), *x.shape[2:]):
        return "To mark pixels in all channels: known[:, None]."
    return "To mark whole patches: rearrange(known, 'b -> b 1 1 1')."


def nonfinite_message(patch: Tensor, residual: Tensor, channels: Sequence[str], step: int | None) -> str:
    """Text of the error for a loss that is not finite, with the place of the first such value."""
    at = "" if step is None else f" at step {step}"
    for tensor, what in ((patch, "ScoreLoss got a patch that is"), (residual, "The prior returned a patch that is")):
        bad = (~tensor.isfinite()).nonzero()
        if len(bad):
            first = bad[0].tolist()
            return (
                f"{what} not finite{at}: {len(bad)} of {tensor.numel()} values, the first in patch {first[0]}, channel "
                f"{channels[first[1]]!r}. Look for a division by an opacity of 0, or a learning rate that is too high."
            )
    return f"The value of ScoreLoss is not finite{at}, though patch and prior are: the numbers are too large."


def explained(error: RuntimeError, patch: Tensor, denoisers: Sequence[Any]) -> Exception:
    """The error itself; or one of a line, where its cause is that a patch and a denoiser's weights do not meet."""
    if any(words in str(error) for words in ("vmap", "doesn't have storage")):  # the latter of sigma.tolist()
        return ValueError(_VMAP)
    for denoiser in denoisers:
        weight = first_weight(denoiser)
        if weight is None:
            continue
        name = type(denoiser).__name__
        takes = _dimensions(denoiser)
        if takes and patch.ndim - 2 not in takes:
            return ValueError(
                f"ScoreLoss got a patch of shape {tuple(patch.shape)}, with {patch.ndim - 2} spatial dimensions, but "
                f"the convolutions of {name} take {takes.pop()}. Give patches of as many."
            )
        if weight.device != patch.device:
            return ValueError(
                f"ScoreLoss got a patch on {patch.device}, but the weights of {name} are on {weight.device}. "
                f"Move them once: loss.to({str(patch.device)!r})."
            )
        if weight.element_size() < 4:
            return ValueError(
                f"The weights of {name} are {weight.dtype}, but ScoreLoss asks in float32, as a score at small sigma "
                "has no digits left in half precision. Use denoiser.float(), or wrap(network, ...), which converts."
            )
        if weight.dtype == torch.float64 and patch.dtype != torch.float64:
            return ValueError(
                f"The weights of {name} are {weight.dtype}, but the patch is {patch.dtype}. Use denoiser.float()."
            )
    return error


def _dimensions(denoiser: nn.Module) -> set[int]:
    """Spatial dimensions of the convolutions of a network; empty, if they differ or there are none."""
    kernels = (getattr(module, "kernel_size", ()) for module in denoiser.modules() if hasattr(module, "transposed"))
    found = {len(kernel) for kernel in kernels}
    return found if len(found) == 1 else set()
