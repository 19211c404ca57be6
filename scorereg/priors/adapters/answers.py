"""What a wrapped network answers, and what it raises: one tensor like its input, or an error that says what to do."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["cure_of", "network_answer", "speaks_of_size"]

_DTYPES = {
    "BFloat16": "bfloat16", "Half": "float16", "Double": "float64", "double": "float64", "Float": "float32",
    "float": "float32",
}  # fmt: skip
_INTEGERS = re.compile(
    r"scalar types: Long|used as indices must be|index tensor of type|int(32/int)?64 for index|as an index|"
    r"indices must be integers|expected.* Long\b|(must|should|needs?|expect\w*)\b.*\b(long|integers?|int64|int32)\b"
)
_ONE_NUMBER = re.compile(
    r"only one element tensors|cannot be converted to Scalar|Boolean value of Tensor with more|length-1 arrays|"
    r"only 0-dimensional arrays"
)
_TYPES = re.compile(r"should be the same|same dtype|expected scalar type|expected m1 and m2|must have the same type")
_MORE = re.compile(r"missing \d+ required|takes \d+ positional|unexpected keyword")
_DEVICES = re.compile(r"on the same device|type torch\.cuda|\.cuda\.|device type")
_SIZE = re.compile(
    r"size|shape|dimension|match|stride|view|reshape|pad|divi|kernel|expected.*channel|einops|too small|must be|"
    r"same number|length|patch|resolution|\d+x\d+|^[A-Z]?[A-Za-z]*Error$",
    re.IGNORECASE,
)


def cure_of(line: str, given: torch.dtype, count: int, *, known: bool) -> str | None:
    """Return what to do about an error that a network raised whatever the size of the patch; None for any other.

    Args:
        line: Its text.
        given: Dtype of the z that the network was given.
        count: Number of samples.
        known: Whether that dtype is the network's own.
    """
    if _INTEGERS.search(line):
        return "It takes whole numbers as time: wrap(lambda z, t: network(z, t.round().long()), ...)"
    if count > 1 and _ONE_NUMBER.search(line):
        return (
            "It takes one number as level, and got one for each sample. Call it for each sample: wrap(lambda z, t: "
            "torch.cat([network(zi[None], ti) for zi, ti in zip(z, t)]), ...)"
        )
    if count > 1 and re.search(rf"must match the size of tensor [ab] \({count}\)", line):
        return "If it takes levels of shape (b, 1, 1, 1): wrap(lambda z, t: network(z, t.view(-1, 1, 1, 1)), ...)"
    if _TYPES.search(line):
        found = {_DTYPES[name] for name in re.findall(r"BFloat16|Half|[Dd]ouble|[Ff]loat\b", line)}
        other = sorted(found - {str(given).removeprefix("torch.")})
        wanted = other[0] if other else "bfloat16"
        if known:
            cast = f"wrap(lambda z, t: network(z, t.to({given})), dtype={given}, ...)"
            return f"If its time has to be of the dtype of its weights: {cast}"
        return f"Say the dtype of its weights: wrap(..., dtype=torch.{wanted})"
    if _DEVICES.search(line):
        return "Put the network and the patches on one device: network.to(patch.device)"
    if _MORE.search(line):
        return "It is called as network(z, t): bind the rest, wrap(lambda z, t: network(z, t, ...), ...)"
    return None


def speaks_of_size(line: str) -> bool:
    """Return whether the text of an error may come from a patch of a size that the network does not take."""
    return bool(_SIZE.search(line))


def network_answer(out: Any, z: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """Return the prediction out of what a network returned, in the dtype of its input.

    Args:
        out: A tensor; an object with a tensor `.sample`; a tuple or list that begins with one. With twice the channels,
            the first half is used: mean and learned variance.
        z: The network's input.

    Raises:
        ValueError: If it is anything else, has another shape, or is of no floats.
    """
    got = _tensor(out)
    if not got.is_floating_point():
        raise ValueError(f"the network returned values of {got.dtype}; a prediction is of floats.")
    if got.ndim == z.ndim and got.shape[1] == 2 * z.shape[1]:
        got = got[:, : z.shape[1]]
    if got.shape != z.shape:
        raise ValueError(
            f"the network returned shape {tuple(got.shape)} for an input of shape {tuple(z.shape)}; a prediction "
            f"has the shape of the input, or twice its channels with a learned variance.{_rounded(got, z)}"
        )
    return got.to(z.dtype)


def _rounded(got: Tensor, z: Tensor) -> str:
    """What to do if the sides of an answer are those of its input, rounded to multiples of a number."""
    if got.shape[:2] != z.shape[:2] or got.ndim != z.ndim:
        return ""
    sides = list(zip(z.shape[2:], got.shape[2:], strict=True))
    for multiple in (2, 4, 8, 16, 32, 64):
        if all(out == -(-side // multiple) * multiple for side, out in sides) or all(
            out == side // multiple * multiple for side, out in sides
        ):
            return f" It takes sides that are multiples of {multiple}: wrap(..., multiple={multiple})."
    return ""


def _tensor(out: Any) -> Tensor:
    """The tensor that was meant by a network's answer."""
    first = out[0] if isinstance(out, tuple | list) and out else out
    inside = getattr(first, "sample", first)
    if isinstance(inside, Tensor):
        return inside
    kind = type(out).__name__
    if out is None:
        raise ValueError("the network returned None. Its last line has to return the prediction.")
    if isinstance(out, Mapping):
        keys = [str(key) for key in out]
        raise ValueError(
            f"the network returned a {kind} with {', '.join(keys[:6]) or 'nothing'}. Choose the prediction: "
            f"wrap(lambda z, t: network(z, t)[{(keys or ['...'])[0]!r}], ...)."
        )
    if isinstance(out, tuple | list):
        inner = ", ".join(type(part).__name__ for part in out[:4]) or "nothing"
        where = next((i for i, part in enumerate(out) if isinstance(part, Tensor)), "...")
        raise ValueError(
            f"the network returned a {kind} of {inner}. Choose the prediction: wrap(lambda z, t: "
            f"network(z, t)[{where}], ...)."
        )
    if hasattr(out, "__array__"):
        raise ValueError(
            f"the network returned a {kind} of {type(out).__module__.split('.')[0]}. Make it a tensor: "
            "wrap(lambda z, t: torch.as_tensor(network(z, t)), ...)."
        )
    raise ValueError(
        f"the network returned a {kind}, and a prediction is a tensor. Choose it: wrap(lambda z, t: "
        "network(z, t).name, ...), or .mean of a distribution."
    )
