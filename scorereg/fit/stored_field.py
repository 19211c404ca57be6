"""A field and its proposal as settings and tensors, and back: what a run's folder holds of them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg._io.saved import Damaged, check_number
from scorereg.ops import GridShape
from scorereg.rendering.ensemble import Ensemble
from scorereg.rendering.hash_grid import DensityGrid, HashGrid
from scorereg.rendering.mlp import MLP
from scorereg.rendering.volume import DensityFn
from scorereg.rendering.voxel_grid import VoxelGrid

__all__ = ["OWN", "TINYCUDANN", "describe_module", "own_density", "restore_module"]

OWN = "a class of your own"
"""What the description of a field says that is none of the library's."""

TINYCUDANN = "tinycudann"
_MOST = 2**31  # of a size in a card
_MEMBERS = 1000
_FIRST = 5e6  # points that are encoded in less time than compiling takes: some four images of the default recipe


def describe_module(module: Any) -> dict[str, Any] | None:
    """Return class and settings of a field or a proposal; None for a function, of which nothing can be kept.

    The settings are those that its tensors do not tell.
    """
    if not isinstance(module, nn.Module):
        return None
    kind = type(module)
    if isinstance(module, Ensemble) and all(type(member) in _DESCRIBED for member in module.members):
        return {"class": Ensemble.__name__, "members": [describe_module(member) for member in module.members]}
    if kind in _DESCRIBED:
        return {"class": kind.__name__, **_DESCRIBED[kind](module)}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "kind": OWN}


def restore_module(about: Mapping[str, Any], state: Mapping[str, Tensor], backend: Any = "auto") -> nn.Module:
    """Make a module of the library from its description and fill it with its tensors.

    It is made without memory first, so that sizes that are not those of the tensors cost nothing.

    Args:
        about: As `describe_module` returned.
        state: Its tensors by name, finite float32.
        backend: Passed to `HashGrid`, unless it was fitted with tiny-cuda-nn.

    Raises:
        Damaged: If description and tensors do not belong together.
        ImportError: If its encoder is not there.
    """
    name = about.get("class")
    if name == Ensemble.__name__:
        return _restore_members(about.get("members"), state, backend)
    make = _MADE.get(name) if isinstance(name, str) else None
    if make is None:
        raise Damaged(f"it names the class {str(name)[:80]!r}, which is none of this version's fields")
    try:
        module = make(about, state, backend)
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError, ZeroDivisionError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"the settings of its {name} cannot be ({' '.join(str(error).split())[:160]})") from None
    _compare(module.state_dict(), state, str(name))
    module.load_state_dict(dict(state), assign=True)
    if isinstance(module, HashGrid):
        module.level_weights = torch.ones(module.shape.levels)
        module.set_active_levels(1.0)
    return module.eval()


def _restore_members(about: Any, state: Mapping[str, Tensor], backend: Any) -> Ensemble:
    if not isinstance(about, list) or not 0 < len(about) <= _MEMBERS:
        raise Damaged("`members` of its Ensemble is no list of members")
    members = []
    for k, each in enumerate(about):
        if not isinstance(each, dict) or each.get("class") not in _MADE:
            raise Damaged(f"member {k} of its Ensemble is none of this version's fields")
        own = {name.removeprefix(f"members.{k}."): x for name, x in state.items() if name.startswith(f"members.{k}.")}
        members.append(restore_module(each, own, backend))
    ensemble = Ensemble(members)
    _compare(ensemble.state_dict(), state, "Ensemble")
    return ensemble.eval()


def own_density(field: Any) -> DensityFn:
    """Return a field's own density as a proposal, for a fit whose proposal was a function, which cannot be kept."""

    @torch.no_grad()
    def proposal(points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return field.density(points) if isinstance(field, VoxelGrid) else field(points, torch.zeros_like(points))[0]

    return proposal


def _compare(own: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> None:
    if own.keys() != state.keys():
        odd = min(own.keys() ^ state.keys())
        raise Damaged(f"a {name} has {'' if odd in own else 'no '}tensor {odd[:80]}, and its weights differ in that")
    for key, value in state.items():
        if own[key].shape != value.shape:
            raise Damaged(f"{key} of its {name} is {tuple(value.shape)}, not {tuple(own[key].shape)}")


def _size(about: Mapping[str, Any], key: str, low: int = 1, high: int = _MOST) -> int:
    check_number(about.get(key), key, low, high, whole=True)
    return about[key]


def _describe_grid(field: HashGrid) -> dict[str, Any]:
    hidden = field.geometry[0][0].out_features  # pyright: ignore[reportIndexIssue]
    encoder = "torch" if hasattr(field.encoder, "table") else TINYCUDANN
    return {
        "shape": asdict(field.shape), "hidden": hidden, "view_degree": field.view_degree,
        "finest_level_scale": field.finest_level_scale, "encoder": encoder,
    }  # fmt: skip


def _make_grid(about: Mapping[str, Any], state: Mapping[str, Tensor], backend: Any) -> HashGrid:
    sizes = about["shape"]
    if not isinstance(sizes, dict) or set(sizes) != {field.name for field in fields(GridShape)}:
        raise Damaged("`shape` of its HashGrid does not have the sizes of a GridShape")
    for key in ("levels", "features", "log2_slots", "base", "finest", "dimensions"):
        _size(sizes, key, high=10_000 if key == "levels" else _MOST)
    if about["encoder"] not in ("torch", TINYCUDANN) or sizes["interpolation"] not in ("linear", "smoothstep"):
        raise Damaged(f"the encoder {str(about['encoder'])[:40]!r} or the interpolation of its HashGrid is unknown")
    check_number(about["finest_level_scale"], "finest_level_scale", 0)
    settings = {
        "shape": GridShape(**sizes), "hidden": _size(about, "hidden"), "view_degree": _size(about, "view_degree", 0, 2),
        "finest_level_scale": about["finest_level_scale"],
    }  # fmt: skip
    if about["encoder"] == TINYCUDANN:
        return _with_tinycudann(settings)
    with torch.device("meta"):
        grid = HashGrid(torch.zeros(3), 1.0, backend=backend, **settings)
    grid.delay_compiling(_FIRST)
    return grid


def _with_tinycudann(settings: dict[str, Any]) -> HashGrid:
    try:
        return HashGrid(torch.zeros(3), 1.0, backend=TINYCUDANN, **settings)
    except RuntimeError:
        raise ImportError(
            "its grid was fitted with tiny-cuda-nn, which is not there or needs CUDA. Install it, or fit again with "
            "--backend auto"
        ) from None


def _describe_mlp(field: MLP) -> dict[str, Any]:
    return {
        "layers": len(field.trunk), "width": field.density.in_features, "skip": field.skip,
        "position_frequencies": field.position_frequencies, "direction_frequencies": field.direction_frequencies,
    }  # fmt: skip


def _make_mlp(about: Mapping[str, Any], state: Mapping[str, Tensor], backend: Any) -> MLP:
    low = {"layers": 1, "width": 1, "position_frequencies": 0, "direction_frequencies": 0, "skip": -_MOST}
    most = {"layers": max(len(state), 1)}  # each has tensors
    settings: dict[str, Any] = {key: _size(about, key, least, most.get(key, _MOST)) for key, least in low.items()}
    with torch.device("meta"):
        return MLP(torch.zeros(3), 1.0, **settings)


def _describe_voxels(field: VoxelGrid) -> dict[str, Any]:
    return {"view_degree": field.view_degree}


def _make_voxels(about: Mapping[str, Any], state: Mapping[str, Tensor], backend: Any) -> VoxelGrid:
    degree = _size(about, "view_degree", 0, 2)
    field = VoxelGrid(torch.zeros(3), torch.ones(3), vertices=8, coarser=1, view_degree=degree)
    ends = {"raw_density": 1, "color": 3, "view": 3 * ((degree + 1) ** 2 - 1)}
    for name, channels in ends.items():
        shape = tuple(state[name].shape)
        if len(shape) != 4 or min(shape[:3]) < 2 or shape[3] != channels:
            raise Damaged(f"{name} of its VoxelGrid is {shape}, not (x, y, z, {channels}) with at least two vertices")
        setattr(field, name, nn.Parameter(torch.empty(shape, device="meta")))
    if state["color"].shape[:3] != state["raw_density"].shape[:3]:
        raise Damaged("colours and densities of its VoxelGrid are not at the same vertices")
    return field


def _describe_density(proposal: DensityGrid) -> dict[str, Any]:
    return {"size": proposal.grid.shape[-1]}


def _make_density(about: Mapping[str, Any], state: Mapping[str, Tensor], backend: Any) -> DensityGrid:
    with torch.device("meta"):
        return DensityGrid(torch.zeros(3), 1.0, size=_size(about, "size", 2, 2**15))


_DESCRIBED: dict[type, Callable[[Any], dict[str, Any]]] = {
    HashGrid: _describe_grid,
    VoxelGrid: _describe_voxels,
    MLP: _describe_mlp,
    DensityGrid: _describe_density,
}
_MADE: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor], Any], nn.Module]] = {
    "HashGrid": _make_grid,
    "VoxelGrid": _make_voxels,
    "MLP": _make_mlp,
    "DensityGrid": _make_density,
}
