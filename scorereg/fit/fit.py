"""`fit_scene`: fit a field to the photos of a scene."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from scorereg.callbacks import Report, Run, as_callback, begun
from scorereg.fit.checkpoint import SavedFit
from scorereg.fit.fingerprint import fingerprint
from scorereg.fit.fitted import Fit
from scorereg.fit.loop import FitState
from scorereg.fit.measured_depth import MeasuredDepth
from scorereg.fit.members import Members
from scorereg.fit.paper import on_paper_background, paper_terms
from scorereg.fit.patch_prior import PatchPrior
from scorereg.fit.pixels import training_depth, training_masks
from scorereg.fit.recipe import CPU, Recipe
from scorereg.fit.run_card import describe_terms
from scorereg.fit.term import Term, as_terms
from scorereg.fit.terms import geometric_terms, photo_terms
from scorereg.ops import GridShape
from scorereg.ops._hash_encode.op import Backend
from scorereg.rendering.hash_grid import DensityGrid, HashGrid
from scorereg.rendering.volume import DensityFn, Render
from scorereg.scenes import Scene

__all__ = ["Regularize", "default_field", "default_terms", "fit_scene"]

Regularize = Literal["none", "geometric", "prior", "paper", "paper+prior"]


def default_terms(prior: Any = None, *, regularize: Regularize = "prior", depth: float | None = None) -> list[Term]:
    """Return the terms that `fit_scene(scene, prior, regularize=...)` uses.

    Args:
        prior: Denoiser over RGB-D patches; needed where `regularize` has one.
        regularize: `"none"`: the photos alone; `"geometric"`: and `geometric_terms`; `"prior"`: and a `PatchPrior`;
            `"paper"`: `paper_terms`, DiffusioNeRF's hand-made ones, without stereo and for a white background;
            `"paper+prior"`: and a `PatchPrior`.
        depth: Weight of the `MeasuredDepth` of the training photos, which the prior is shown as well; None uses none.

    Raises:
        ValueError: If `regularize` is unknown, a prior is needed and none given, or the prior cannot be used.
    """
    if regularize not in get_args(Regularize):
        raise ValueError(f"regularize must be one of {', '.join(get_args(Regularize))}, but is {regularize!r}.")
    with_prior, paper = regularize.endswith("prior"), regularize.startswith("paper")
    if with_prior and prior is None:
        other = "paper" if paper else "geometric"
        raise ValueError(
            f"regularize={regularize!r} needs a prior. Give one (load_prior('rooms-rgbd-24')), or {other!r}."
        )
    terms = paper_terms() if paper else photo_terms()
    if regularize in ("geometric", "prior"):
        terms += geometric_terms()
    if depth is not None:
        terms.append(MeasuredDepth(depth))
    return [*terms, PatchPrior(prior, depth=depth is not None)] if with_prior else terms


def fit_scene(
    scene: Scene,
    prior: Any = None,
    *,
    regularize: Regularize = "prior",
    field: nn.Module | Sequence[nn.Module] | None = None,
    proposal: DensityFn | None = None,
    terms: Sequence[Term | Callable[[Render, int], Tensor]] | None = None,
    extra: Callable[[Render, int], Tensor] | Term | None = None,
    recipe: Recipe = CPU,
    seed: int = 0,
    members: int = 1,
    device: torch.device | str = "cpu",
    report: Report = None,
    save: Path | None = None,
    resume: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Fit:
    """Fit a field to a scene's training views.

    The short form, `fit_scene(scene, prior)`, is `fit_scene(scene, terms=default_terms(prior))`.

    Args:
        scene: Photos, cameras and the range of depth; pixels that its masks leave out take no part.
        prior: Denoiser over RGB-D patches for the short form.
        regularize: What the short form adds to the photos; see `default_terms`.
        field: What is fitted, and changed: any `Field` that is a module with `param_groups`, such as `HashGrid`,
            `VoxelGrid` or `MLP`; of an ensemble a list with one for each member. `default_field(scene)`, if not given.
        proposal: Density that tells where to sample: a module, which is trained along, or a function, which is not. A
            new `DensityGrid`, if not given.
        terms: The loss: terms, or functions `(render, step)` that return a weighted scalar. They take the place of
            `prior` and `regularize`; `photo_terms()` is among them where photos are to be explained.
        extra: One more term.
        recipe: Numbers of the loop.
        seed: Seeds the parameters of the default field, the rays and the patches.
        members: Fields that are fitted together, each from a seed of its own (`seed`, `seed + 1` and so on), and
            rendered as their mean. K of them take K times the time and the memory.
        device: Where to compute.
        report: A function that is called at some fifty steps with the entry of the history, or a callback of
            `scorereg.callbacks`, or a list of these. It changes nothing of the fit.
        save: File for the state of the fit, written every ten seconds and at the end, and beside it the one before. A
            state that cannot be written is a warning.
        resume: Go on from the state in `save`, to the bit on a CPU; from the start where there is none.
        clock: Source of seconds for `Fit.seconds`; `time.process_time` where other processes disturb.

    Raises:
        ValueError: If an argument is unusable, a loss is not finite, or the state in `save` is damaged or that of
            another fit.
        OSError: If `save` cannot be read.

    Example:
        >>> from scorereg import fit_scene, load_prior, load_scene
        >>> fit = fit_scene(load_scene("scenes/room"), load_prior("rooms-rgbd-24"))  # doctest: +SKIP
    """
    if recipe.steps < 1:
        raise ValueError(f"A fit needs at least one step, got steps={recipe.steps}.")
    if terms is not None and prior is not None:
        raise ValueError("fit_scene takes a prior or terms. Put PatchPrior(prior) among the terms instead.")
    chosen = default_terms(prior, regularize=regularize) if terms is None else list(terms)
    if terms is None and regularize.startswith("paper"):
        recipe = on_paper_background(recipe)
    bound = as_terms([*chosen, *([] if extra is None else [extra])])
    if not bound:
        raise ValueError("fit_scene got no terms, so there is nothing to fit. Give some, such as photo_terms().")
    scene = scene.to(device)
    fields = [each.to(device) for each in _fields(scene, field, seed, members)]
    proposal = _proposal(scene, proposal, device)
    saved = SavedFit(save, _identity(scene, fields, proposal, bound, recipe, seed) if save else {})
    if members == 1:
        state = FitState(scene, fields[0], proposal, bound, recipe, seed)
    else:
        state = Members(scene, fields, proposal, bound, recipe, seed)
    history: list[dict[str, float | int]] = []
    first, before = 0, 0.0
    if resume and saved.exists():
        first, before, history = saved.load(state)
    start, callback = clock() - before, as_callback(report)
    settings = {**vars(recipe), "seed": seed, "terms": ", ".join(term.name for term in bound)}
    run = Run(scene.name, recipe.steps, first, settings, lambda: _so_far(state, clock() - start, history))
    with begun(callback, run):
        for step in range(first, recipe.steps):
            values = state.step(step)
            callback.step(step)
            if state.is_told(step):
                history.append(_entry(scene, step, values))
                callback.values(dict(history[-1]))
            saved.keep(state, step + 1, clock() - start, history, last=step == recipe.steps - 1)
    fitted, proposal = state.averaged()
    if hasattr(fitted, "set_active_levels"):
        fitted.set_active_levels(1.0)  # pyright: ignore[reportCallIssue]
    told = tuple(describe_terms(bound))
    return Fit(scene, fitted, proposal, recipe, clock() - start, history, told, seed)  # pyright: ignore[reportArgumentType]


def default_field(
    scene: Scene,
    grid: GridShape | None = None,
    *,
    backend: Backend | Literal["tinycudann"] = "auto",
    seed: int = 0,
) -> HashGrid:
    """Return the untrained `HashGrid` that `fit_scene` fits where no field is given.

    Args:
        scene: Its training cameras say where the grid lies.
        grid: Sizes of the hash grid; those of `PRESETS["cpu"]`, if not given.
        backend: Passed to `HashGrid`.
        seed: Seeds the parameters.
    """
    return HashGrid(*scene.ball(), shape=grid, finest_level_scale=0.1, backend=backend, seed=seed)


def _fields(scene: Scene, given: nn.Module | Sequence[nn.Module] | None, seed: int, members: int) -> list[nn.Module]:
    """A field for each member of the fit."""
    if not isinstance(members, int) or members < 1:
        raise ValueError(f"A fit has at least one member, got members={members}.")
    if given is None:
        return [default_field(scene, seed=seed + k) for k in range(members)]
    fields: list[nn.Module] = list(given) if isinstance(given, list | tuple | nn.ModuleList) else [given]  # pyright: ignore
    if len({id(each) for each in fields}) != members or len(fields) != members:
        raise ValueError(
            f"fit_scene needs a field of its own for each of {members} members, so `field` must be a list of as many "
            f"modules, but it has {len(fields)}."
        )
    for each in fields:
        if not isinstance(each, nn.Module) or not hasattr(each, "param_groups"):
            raise ValueError(
                f"fit_scene needs `field` to be a module with param_groups(lr, lr_network), such as HashGrid, "
                f"VoxelGrid or MLP, but it is a {type(each).__name__}."
            )
    return fields


def _proposal(scene: Scene, given: DensityFn | None, device: torch.device | str) -> DensityFn:
    proposal = DensityGrid(*scene.ball()) if given is None else given
    return proposal.to(device) if isinstance(proposal, nn.Module) else proposal


def _so_far(state: FitState | Members, seconds: float, history: list[dict[str, float | int]]) -> Fit:
    """The fit at this step, a copy that further steps do not change."""
    field, proposal = copy.deepcopy(state.averaged())
    if hasattr(field, "set_active_levels"):
        field.set_active_levels(1.0)  # pyright: ignore[reportCallIssue]
    return Fit(state.scene, field, proposal, state.recipe, seconds, list(history))  # pyright: ignore[reportArgumentType]


def _entry(scene: Scene, step: int, values: dict[str, Tensor]) -> dict[str, float | int]:
    """The terms as numbers, with the photo rays' PSNR where there is a photo term."""
    entry: dict[str, float | int] = {"step": step, **{name: value.item() for name, value in values.items()}}
    if "photo" in entry:
        entry["psnr"] = -10 * math.log10(max(entry["photo"], 1e-10))
    if not all(math.isfinite(value) for value in entry.values()):
        raise ValueError(f"The fit of {scene.name} is not finite at step {step}: {entry}. Lower the rates.")
    return entry


def _identity(
    scene: Scene, fields: list[nn.Module], proposal: DensityFn, terms: list[Term], recipe: Recipe, seed: int
) -> dict[str, str]:
    """What must be the same for a saved fit to be resumed, as texts."""
    about = {"scene": scene.name, "views": str(scene.train), "near": str(scene.near), "far": str(scene.far)}
    about |= {"size": f"{scene.cameras.width}x{scene.cameras.height}", "seed": str(seed)}
    about |= {"field": ", ".join(fingerprint(field) for field in fields), "proposal": fingerprint(proposal)}
    about |= {"members": str(len(fields))} if len(fields) > 1 else {}
    about |= {name: fingerprint(value) for name, value in recipe.__dict__.items()}
    train, masks, depth = list(scene.train), training_masks(scene), training_depth(scene)
    photos = scene.images[train]
    about["photos"] = fingerprint(photos if masks is None else torch.where(masks[..., None], photos, 0.0))
    about["cameras"] = fingerprint(scene.cameras[train])
    about |= {} if masks is None else {"masks": fingerprint(masks)}
    about |= {} if depth is None else {"measured depth": fingerprint(depth)}
    for term in terms:
        about |= {f"{term.name}.{name}": text for name, text in term.fingerprint().items()}
    return about
