"""A network filled with weights from disk, after their names and shapes were compared with its own."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from scorereg.priors.weights.names import plain_name
from scorereg.priors.weights.tensors import check_finite, float_weights, header_shapes, read_tensors

__all__ = ["check_filled", "fill_network"]

Network = TypeVar("Network", bound=nn.Module)
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # diffusers before 0.13
_ATTENTION = re.compile(r"(.*attentions?\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)")


def fill_network(
    make: Callable[[], Network], files: tuple[Path, ...], trial: Callable[[Network], object] | None = None
) -> Network:
    """Return a network with float32 weights out of files, in evaluation mode and without gradients.

    It is made without memory first, and given some only if the files' headers show weights of its names and shapes: a
    description of some hundred bytes cannot ask for gigabytes.

    Args:
        make: Makes the network.
        files: One or more weight files, each with a part of the weights.
        trial: Called with the network without memory, to see that it runs.

    Raises:
        OSError: If a file cannot be opened.
        ValueError: If a file is damaged, the weights are not the network's, or are not finite.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        shapes |= {_current(name): shape for name, shape in header_shapes(path).items()}
    with torch.device("meta"):
        network = make()
    expected = network.state_dict()
    _compare(expected, shapes, files[0])
    if trial is not None:
        with torch.device("meta"), torch.no_grad():
            trial(network)
    if len(expected) < sum(1 for _ in network.parameters()) + sum(1 for _ in network.buffers()):
        network = make()  # it has tensors of its own that are not saved
    for path in files:
        state = {_current(name): value for name, value in read_tensors(path).items()}
        network.load_state_dict(_as_expected(float_weights(state, path), expected), strict=False, assign=True)
    return network.eval().requires_grad_(False)


def check_filled(network: nn.Module, files: tuple[Path, ...]) -> None:
    """Check that files which another library read hold all weights of a network, and that these are finite.

    Raises:
        ValueError: If a weight is missing, has another shape, or is not finite.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        shapes |= {_current(name): shape for name, shape in header_shapes(path).items()}
    expected = network.state_dict()
    _compare(expected, {name: shape for name, shape in shapes.items() if name in expected}, files[0])
    for name, value in network.named_parameters():
        check_finite(value, name, files[0])


def _current(name: str) -> str:
    """The name that diffusers gives a weight now, without those of wrappers that the network was saved in."""
    name = plain_name(name)
    match = _ATTENTION.fullmatch(name)
    return name if match is None else f"{match[1]}.{_RENAMED[match[2]]}.{match[3]}"


def _compare(expected: Mapping[str, Tensor], found: Mapping[str, tuple[int, ...]], path: Path) -> None:
    missing = sorted(expected.keys() - found.keys())
    further = sorted(found.keys() - expected.keys())
    other = [name for name in expected.keys() & found.keys() if not _fits(tuple(expected[name].shape), found[name])]
    if not (missing or further or other):
        return
    parts = [
        f"{len(missing)} are missing, such as {missing[0]}" if missing else "",
        f"{len(further)} are not the network's, such as {further[0]}" if further else "",
        f"{min(other)} has shape {found[min(other)]} in place of {tuple(expected[min(other)].shape)}" if other else "",
    ]
    raise ValueError(
        f"{path} does not hold this network's weights ({'; '.join(filter(None, parts))}). Weights and "
        "config.json do not belong together, or the file is damaged: copy both again."
    )


def _fits(expected: tuple[int, ...], found: tuple[int, ...]) -> bool:
    """Whether shapes agree; a linear layer may have been saved as a convolution of one pixel."""
    return expected == found or (len(expected) == 2 and found == (*expected, *[1] * (len(found) - 2)))


def _as_expected(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.reshape(expected[name].shape).to(expected[name].dtype) for name, value in state.items()}
