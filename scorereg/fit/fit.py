"""`fit_scene`: fit a field to the photos of a scene."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg._device import check_device
from scorereg._io import check_folder
from scorereg.callbacks import Report, Run, as_callback, begun
from scorereg.cameras import Rays
from scorereg.fit.checkpoint import SavedFit
from scorereg.fit.fingerprint import fingerprint
from scorereg.fit.loop import FitState
from scorereg.fit.measured_depth import MeasuredDepth
from scorereg.fit.paper import on_paper_background, paper_terms
from scorereg.fit.patch_prior import PatchPrior
from scorereg.fit.pixels import training_depth, training_masks
from scorereg.fit.recipe import CPU, Recipe
from scorereg.fit.run_card import describe_terms
from scorereg.fit.stored_run import read_run, write_fit
from scorereg.fit.term import Term, as_terms
from scorereg.fit.terms import geometric_terms, photo_terms
from scorereg.ops import GridShape
from scorereg.ops._hash_encode.op import Backend
from scorereg.rendering.field import Field
from scorereg.rendering.hash_grid import DensityGrid, HashGrid
from scorereg.rendering.volume import DensityFn, Render, render_image
from scorereg.scenes import Scene
from scorereg.scenes.reread import read_photos

__all__ = ["Fit", "Regularize", "default_field", "default_terms", "fit_scene"]

Regularize = Literal["none", "geometric", "prior", "paper", "paper+prior"]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted field.

    Args:
        scene: What it was fitted to.
        field: With the averaged parameters.
        proposal: Density that tells where to sample.
        recipe: Numbers of the loop.
        seconds: Time of the steps.
        history: Step, PSNR of the photo rays in dB, and the values of the terms, at some fifty steps.
        terms: Name, class and settings of each term, with name and checksum of its prior.
        seed: Seed of the fit.
    """

    scene: Scene
    field: Field
    proposal: DensityFn
    recipe: Recipe
    seconds: float
    history: list[dict[str, float | int]]
    terms: tuple[dict[str, Any], ...] = ()
    seed: int = 0

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        *,
        field: nn.Module | None = None,
        proposal: DensityFn | None = None,
        backend: Backend = "auto",
    ) -> "Fit":
        """Load the fit of a run's folder, which `scorereg fit` or `save` has written. No pickle is read.

        It renders without the scene's files: cameras, near, far and the split are the run's. The photos of
        `scene` are NaN, and its depth and masks None, until `with_photos` reads them.

        Args:
            folder: Folder of the run.
            device: Where to render.
            field: A module like the one that was fitted, which is filled; needed for a class of your own alone.
            proposal: The same of a proposal. Of a proposal that was a function nothing is kept, and the field's own
                density is used where none is given.
            backend: Encoder of a `HashGrid`; `"compiled"` is compiled for some seconds when first used.

        Raises:
            OSError: If the folder or a file of it is missing or cannot be read.
            ValueError: If it is of another version, damaged, or half a run.

        Example:
            >>> from scorereg.fit import Fit
            >>> fit = Fit.load("runs/mine")  # doctest: +SKIP
            >>> rgb, depth, opacity = fit.image(fit.scene.cameras.image_rays(0))  # doctest: +SKIP
        """
        check_device(device)
        run = read_run(Path(folder), device, field=field, proposal=proposal, backend=backend)
        return cls(**vars(run))

    def save(self, folder: Path | str) -> None:
        """Write `fit.json`, `weights.safetensors` and `history.jsonl` into a folder, for `load`.

        Raises:
            OSError: If it cannot be written.
            ValueError: If a weight is not finite.
        """
        check_folder(Path(folder))
        write_fit(self, Path(folder), import_module("scorereg").__version__)

    @property
    def has_photos(self) -> bool:
        """Whether the scene has its photos, and not NaN in their place."""
        return not bool(self.scene.images[:, :1, :1].isnan().any())

    def with_photos(self, path: Path | str | None = None) -> "Fit":
        """Return the fit with photos, masks and depth of its scene read from their folder again.

        Args:
            path: Folder of the scene; where it lay at the time of the fit, if not given.

        Raises:
            OSError: If the folder is not there or a file cannot be read.
            ValueError: If it holds another scene, or it is not known where it lies.
        """
        return replace(self, scene=read_photos(self.scene, path))

    def image(self, rays: Rays) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"], Float[Tensor, "h w"]]:
        """Render rays of shape (h, w): color, planar depth in metres, and opacity."""
        return render_image(
            self.field,
            rays,
            proposal=self.proposal,
            near=self.scene.near,
            far=self.scene.far,
            samples=self.recipe.image_oversampling * self.recipe.samples,
            proposal_samples=self.recipe.image_oversampling * self.recipe.proposal_samples,
            background=self.recipe.background,
        )


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
    field: nn.Module | None = None,
    proposal: DensityFn | None = None,
    terms: Sequence[Term | Callable[[Render, int], Tensor]] | None = None,
    extra: Callable[[Render, int], Tensor] | Term | None = None,
    recipe: Recipe = CPU,
    seed: int = 0,
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
            `VoxelGrid` or `MLP`. `default_field(scene)`, if not given.
        proposal: Density that tells where to sample: a module, which is trained along, or a function, which is not. A
            new `DensityGrid`, if not given.
        terms: The loss: terms, or functions `(render, step)` that return a weighted scalar. They take the place of
            `prior` and `regularize`; `photo_terms()` is among them where photos are to be explained.
        extra: One more term.
        recipe: Numbers of the loop.
        seed: Seeds the parameters of the default field, the rays and the patches.
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
    field, proposal = _field(scene, field, seed).to(device), _proposal(scene, proposal, device)
    saved = SavedFit(save, _identity(scene, field, proposal, bound, recipe, seed) if save else {})
    state = FitState(scene, field, proposal, bound, recipe, seed)
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


def _field(scene: Scene, given: nn.Module | None, seed: int) -> nn.Module:
    if given is None:
        return default_field(scene, seed=seed)
    if not isinstance(given, nn.Module) or not hasattr(given, "param_groups"):
        raise ValueError(
            f"fit_scene needs `field` to be a module with param_groups(lr, lr_network), such as HashGrid, VoxelGrid or "
            f"MLP, but it is a {type(given).__name__}."
        )
    return given


def _proposal(scene: Scene, given: DensityFn | None, device: torch.device | str) -> DensityFn:
    proposal = DensityGrid(*scene.ball()) if given is None else given
    return proposal.to(device) if isinstance(proposal, nn.Module) else proposal


def _so_far(state: FitState, seconds: float, history: list[dict[str, float | int]]) -> Fit:
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
    scene: Scene, field: nn.Module, proposal: DensityFn, terms: list[Term], recipe: Recipe, seed: int
) -> dict[str, str]:
    """What must be the same for a saved fit to be resumed, as texts."""
    about = {"scene": scene.name, "views": str(scene.train), "near": str(scene.near), "far": str(scene.far)}
    about |= {"size": f"{scene.cameras.width}x{scene.cameras.height}", "seed": str(seed)}
    about |= {"field": fingerprint(field), "proposal": fingerprint(proposal)}
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
