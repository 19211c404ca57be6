"""What a wrapped network raises: what to do about it, found in its words, its modules, or by one more try."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scorereg.priors.adapters.answers import cure_of, speaks_of_size
from scorereg.priors.adapters.bound import bound_modules
from scorereg.priors.base import tiles_hint

__all__ = ["Failure", "cure_of_failure", "extended"]

_RANGE = re.compile(r"index out of range|out of bounds|out of range|device-side assert", re.IGNORECASE)
_CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+) channels")
_MULTIPLES = (2, 4, 8, 16, 32, 64)
_INTEGERS = "It takes whole numbers as time: wrap(lambda z, t: network(z, t.round().long()), ...)"


class Failure:
    """A call of a network that raised.

    Args:
        error: What it raised.
        call: Calls it again, with another z and time; returns the answer.
        network: The network.
        z: Its input.
        time: Its time, one for each sample.
    """

    def __init__(
        self, error: Exception, call: Callable[[Tensor, Tensor], Any], network: Any, z: Tensor, time: Tensor
    ) -> None:
        self.error, self.call, self.network, self.z, self.time = error, call, network, z, time
        self.line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]

    def works(self, z: Tensor, time: Tensor) -> bool:
        """Return whether the network answers another input with a tensor of its shape."""
        try:
            with torch.no_grad():
                return self.call(z, time).shape == z.shape
        except Exception:  # whatever a network raises says no
            return False


def cure_of_failure(
    failure: Failure, channels: tuple[str, ...], size: tuple[int, ...], steps: int | None, kind: torch.dtype | None
) -> str | None:
    """Return what to do about an error of a network; None for a fault of its own.

    Args:
        failure: The call.
        channels: Names of the prior's channels.
        size: Size of its patches, empty if unknown.
        steps: Entries of the noise table; None without one.
        kind: Dtype of the network, None if unknown.
    """
    z, given = failure.z, tuple(failure.z.shape[2:])
    if cure := _few_times(failure, steps) or _other_channels(failure, channels) or _apart(failure):
        return cure
    if cure := cure_of(failure.line, kind or z.dtype, len(z), known=kind is not None):
        return cure
    if type(failure.error) not in (RuntimeError, AssertionError):  # not memory that ran out
        return None
    # a network that checks its time without a text can only be asked
    if isinstance(failure.error, AssertionError) and failure.works(z, failure.time.round().long()):
        return _INTEGERS
    if not speaks_of_size(failure.line):
        return None
    if (multiple := _multiple_of(failure)) is not None:
        return f"It takes sides that are multiples of {multiple}: wrap(..., multiple={multiple})"
    if given == size:
        return None
    made = f"It was made for patches of {size}. " if size else ""
    return f"{made}{tiles_hint(size, given)}"[:-1]


def _few_times(failure: Failure, steps: int | None) -> str | None:
    """The counts, if a network has fewer embeddings of time than the noise table has steps."""
    if steps is None or not _RANGE.search(failure.line):
        return None
    tables = [part for module in bound_modules(failure.network) for part in module.modules()]
    counts = [part.num_embeddings for part in tables if isinstance(part, nn.Embedding)]
    counts += [int(size) for size in re.findall(r"with size (\d+)", failure.line)]
    last = round(failure.time.max().item())
    few = [count for count in counts if count <= last]
    if counts and not few:  # it is another index that was out of range
        return None
    has, of = (f"{few[0]} embeddings", f"{few[0]} steps") if few else ("fewer embeddings", "as many steps")
    return (
        f"It has {has} of time, but the noise table {steps} steps, and t={last} is past the end. Give the table that "
        f"it was trained with, of {of}; or a function of the index as time="
    )


def _other_channels(failure: Failure, channels: tuple[str, ...]) -> str | None:
    """The channels that a network takes, if they are not as many as are named."""
    found = _CHANNELS.search(failure.line)
    if found is None or int(found[2]) != len(channels):
        return None
    takes = int(found[1])
    more = ""
    if takes > len(channels):
        more = "; or, if it is conditioned on an image, bind that: lambda z, t: network(torch.cat([z, image], 1), t)"
    count = f"{takes} channels" if takes != 1 else "1 channel"
    return f"It takes {count}, but channels={channels} names {len(channels)}. Name those that it was trained on{more}"


def _apart(failure: Failure) -> str | None:
    """The devices of a network's weights, if they are more than one and its tensors did not meet."""
    if "device" not in failure.line:
        return None
    inside = [v for module in bound_modules(failure.network) for v in (*module.parameters(), *module.buffers())]
    devices = sorted({str(values.device) for values in inside})
    if len(devices) < 2:
        return None
    return f"Its weights are on {' and '.join(devices)}. Put all on one device, that of the patches: network.to(device)"


def _multiple_of(failure: Failure) -> int | None:
    """The least multiple to which sides can be extended so that the network takes them; None without one."""
    z, time = failure.z[:1], failure.time[:1]
    for multiple in _MULTIPLES:
        missing = [-side % multiple for side in z.shape[2:]]
        if any(missing) and all(more < side for more, side in zip(missing, z.shape[2:], strict=True)):
            if failure.works(extended(z, multiple), time):
                return multiple
    return None


def extended(z: Tensor, multiple: int) -> Tensor:
    """Extend sides at their ends, by reflection, to multiples of a number.

    Raises:
        ValueError: If a side is too small for it.
    """
    missing = [-side % multiple for side in z.shape[2:]]
    if not any(missing):
        return z
    if any(more >= side for more, side in zip(missing, z.shape[2:], strict=True)):
        raise ValueError(
            f"this network needs sides that are multiples of {multiple}, and {tuple(z.shape[2:])} is too small to be "
            "extended by reflection. Give larger patches."
        )
    return functional.pad(z, [part for more in reversed(missing) for part in (0, more)], mode="reflect")
