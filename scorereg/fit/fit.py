"""Fit a radiance field to a few photos: `fit_scene`."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.cameras import Rays
from scorereg.fit.checkpoint import SavedFit
from scorereg.fit.loop import Extra, Loop
from scorereg.fit.patch_prior import known_as
from scorereg.fit.recipe import CPU, GPU, Recipe, Regularize
from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.rendering.background import BACKGROUND
from scorereg.rendering.hash_grid import DensityGrid, HashGrid
from scorereg.rendering.volume import render_image
from scorereg.scenes import Scene

__all__ = ["CPU", "GPU", "Extra", "Fit", "Recipe", "Regularize", "fit_scene"]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted field and how to look at it."""

    scene: Scene
    field: HashGrid
    proposal: DensityGrid
    recipe: Recipe
    seconds: float
    history: list[dict[str, float | int]]

    def image(self, rays: Rays) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"], Float[Tensor, "h w"]]:
        """Colour, planar depth in metres and opacity along rays of shape (h, w)."""
        return render_image(
            self.field,
            rays,
            proposal=self.proposal,
            near=self.scene.near,
            far=self.scene.far,
            samples=self.recipe.samples,
            proposal_samples=self.recipe.proposal_samples,
            background=BACKGROUND,
        )


def fit_scene(
    scene: Scene,
    prior: NetworkPrior | WrappedPrior | None = None,
    *,
    regularize: Regularize = "prior",
    recipe: Recipe = CPU,
    seed: int = 0,
    device: torch.device | str = "cpu",
    report: Callable[[dict[str, float | int]], None] | None = None,
    save: Path | None = None,
    resume: bool = False,
    extra: Extra | None = None,
) -> Fit:
    """Fit a field to a scene's training views.

    Args:
        scene: Photos, cameras and the range of depth.
        prior: What a patch should look like; needed where `regularize` is `"prior"`.
        regularize: `"none"` fits the photos alone, `"geometric"` adds the hand-made terms of `baselines`, `"prior"`
            adds the prior to those.
        recipe: The numbers.
        seed: Of the parameters, the rays and the patches.
        device: Where to compute.
        report: Called now and then with step, psnr of the photo rays and the terms' values.
        save: A file for the fit's state, written every ten seconds and at the end.
        resume: Go on from the state in `save`, to the bit on a CPU; from the start where there is none.
        extra: A term of your own, `extra(shown, step)`: a scalar that is added to the loss. `shown` is the render of
            the step's rays, those of photos first and then those of patches, whose weights, depths and colours it may
            send gradients to. Random numbers in it are its own business.

    Raises:
        ValueError: If `regularize` is unknown, a prior is needed and none given, the steps are fewer than 1, a loss is
            not finite, or the state in `save` is that of another fit.
        OSError: If `save` cannot be written.
    """
    if recipe.steps < 1:
        raise ValueError(f"A fit needs at least one step, got steps={recipe.steps}.")
    if regularize not in get_args(Regularize):
        raise ValueError(f"regularize must be one of {', '.join(get_args(Regularize))}, but is {regularize!r}.")
    if regularize == "prior" and prior is None:
        raise ValueError("regularize='prior' needs a prior. Give one (load_prior('rooms-rgbd-24')), or 'geometric'.")
    scene = scene.to(device)
    loop = Loop(scene, prior if regularize == "prior" else None, regularize, recipe, seed, extra)
    state = SavedFit(save, _identity(scene, prior, regularize, recipe, seed) | {"extra": _name(extra)})
    history: list[dict[str, float | int]] = []
    first, before = 0, 0.0
    if resume and state.exists():
        first, before, history = state.load(loop)
    start = time.monotonic() - before
    for step in range(first, recipe.steps):
        terms = loop.step(step)
        if step % max(recipe.steps // 50, 1) == 0 or step == recipe.steps - 1:
            history.append(_values(scene, step, terms))
            if report is not None:
                report(history[-1])
        state.keep(loop, step + 1, time.monotonic() - start, history, last=step == recipe.steps - 1)
    field, proposal = loop.averaged()
    field.show_levels(1.0)
    return Fit(scene, field, proposal, recipe, time.monotonic() - start, history)


def _values(scene: Scene, step: int, terms: dict[str, Tensor]) -> dict[str, float | int]:
    """The terms as numbers, with the photo rays' PSNR."""
    values: dict[str, float | int] = {"step": step, **{name: value.item() for name, value in terms.items()}}
    values["psnr"] = -10 * math.log10(max(values["photo"], 1e-10))
    if not all(math.isfinite(v) for v in values.values()):
        raise ValueError(f"The fit of {scene.name} is not finite at step {step}: {values}. Lower the rates.")
    return values


def _identity(scene: Scene, prior, regularize: Regularize, recipe: Recipe, seed: int) -> dict[str, str]:
    """What must be the same for a saved fit to be gone on with, in words."""
    said = {name: _name(value) for name, value in recipe.__dict__.items()}
    about = {"scene": scene.name, "views": str(scene.train), "near": str(scene.near), "far": str(scene.far)}
    about["size"] = f"{scene.cameras.width}x{scene.cameras.height}"
    about["prior"] = known_as(prior) if prior is not None and regularize == "prior" else "None"
    return {**about, "regularize": regularize, "seed": str(seed), **said}


def _name(value: object) -> str:
    return getattr(value, "__qualname__", str(value))
