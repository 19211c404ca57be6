r"""Fit a radiance field to a few photos: the one loop in which rendering and priors meet, as tensors.

photo rays     random pixels of the training photos; their colours are the data
patch rays     small images seen from nearby places, by cameras that the prior was trained on; nobody knows their
               colours, but geometric terms and the prior have an opinion of them
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from scorereg import baselines
from scorereg.cameras import Cameras, Rays
from scorereg.consistency import consistency, descriptors
from scorereg.fields import DensityGrid, HashGrid
from scorereg.ops import GridShape
from scorereg.ops.hash_encode import Backend
from scorereg.patches import Patches, PatchSampler
from scorereg.priors.network import NetworkPrior
from scorereg.priors.wrap import WrappedPrior
from scorereg.rendering import Render, proposal_loss, render, render_image
from scorereg.scenes import Scene
from scorereg.schedules import log_linear
from scorereg.score import ScoreLoss
from scorereg.transforms import RGBD

__all__ = ["CPU", "GPU", "Fit", "Recipe", "Regularize", "fit_scene"]

Regularize = Literal["none", "geometric", "prior"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit. Moments of the fit are shares of its steps.

    Args:
        steps: Optimisation steps.
        rays: Photo rays a step.
        samples: Field evaluations a ray.
        proposal_samples: Proposal evaluations a ray.
        anneal: When the proposal is fully trusted; before, samples lie more evenly along a ray.
        shape: Of the hash grid.
        lr: Adam's step for the grids, falling to a tenth.
        lr_network: The same for the two small networks.
        view_degree: Of the colour's dependence on the direction.
        reveal: Until when the finer levels are held back.
        falloff: Of `HashGrid`: how much slower the finest level learns than the coarsest.
        opacity: Weight of `baselines.opacity`.
        frustum: Weight of `baselines.frustum`.
        distortion: Weight of `baselines.distortion`, in log depth.
        distortion_start: When it begins to rise; it has its weight after as long again.
        consistency: Weight of `consistency.consistency`, on the photo rays.
        decay: Weight of the mean squared table entry.
        patches: Patches a step.
        geometric_patches: Render patches for the geometric terms too where there is no prior; an ablation.
        focal: Focal lengths of patches in pixels; `None` takes the prior's.
        translation: How far a patch's camera is moved from a training camera along each axis, in metres.
        rotation: How far it is turned, in radians.
        known_rgb: Share of the patches that are seen by a training camera and take their colours from its photo.
        sigma: Noise level of the prior at its start and at its end.
        prior_start: When the prior begins.
        prior_end: When sigma has arrived at its last value.
        prior_disparity: Weight of the prior's pull on disparity.
        prior_rgb: Weight of its pull on colours.
        prior_weight: w(sigma) of `ScoreLoss`.
        normalize: Of `ScoreLoss`.
        backend: Of `HashGrid`.
    """

    steps: int = 500
    rays: int = 1024
    samples: int = 24
    proposal_samples: int = 48
    anneal: float = 0.1
    shape: GridShape = field(default_factory=GridShape)
    lr: float = 3e-2
    lr_network: float = 1e-2
    view_degree: int = 1
    reveal: float = 0.2
    falloff: float = 0.1
    opacity: float = 2e-2
    frustum: float = 1e-3
    distortion: float = 1e-2
    distortion_start: float = 0.25
    consistency: float = 1e-2
    decay: float = 0.0
    patches: int = 3
    geometric_patches: bool = False
    focal: tuple[float, float] | None = None
    translation: float = 0.2
    rotation: float = 0.3
    known_rgb: float = 0.5
    sigma: tuple[float, float] = (0.1, 0.02)
    prior_start: float = 0.5
    prior_end: float = 1.0
    prior_disparity: float = 2e-2
    prior_rgb: float = 2e-3
    prior_weight: Callable[[Tensor], Tensor] = torch.square
    normalize: Literal["rms"] | None = None
    backend: Backend | Literal["tinycudann"] = "auto"


CPU = Recipe()
GPU = Recipe(steps=10_000, rays=4096, samples=48, proposal_samples=96, patches=16, shape=GridShape(16, 2, 19, 16, 2048))


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

    Raises:
        ValueError: If `regularize` is unknown, a prior is needed and none given, the steps are fewer than 1, or a loss
            is not finite.
    """
    if recipe.steps < 1:
        raise ValueError(f"A fit needs at least one step, got steps={recipe.steps}.")
    if regularize not in get_args(Regularize):
        raise ValueError(f"regularize must be one of {', '.join(get_args(Regularize))}, but is {regularize!r}.")
    if regularize == "prior" and prior is None:
        raise ValueError("regularize='prior' needs a prior. Give one (load_prior('rooms-rgbd-24')), or 'geometric'.")
    scene = scene.to(device)
    loop = _Loop(scene, prior if regularize == "prior" else None, regularize, recipe, seed)
    start = time.monotonic()
    history = []
    for step in range(recipe.steps):
        terms = loop.step(step)
        if step % max(recipe.steps // 50, 1) == 0 or step == recipe.steps - 1:
            values: dict[str, float | int] = {"step": step, **{name: value.item() for name, value in terms.items()}}
            values["psnr"] = -10 * math.log10(max(values["photo"], 1e-10))
            if not all(math.isfinite(v) for v in values.values()):
                raise ValueError(f"The fit of {scene.name} is not finite at step {step}: {values}. Lower the rates.")
            history.append(values)
            if report is not None:
                report(values)
    loop.field.show_levels(1.0)
    return Fit(scene, loop.field, loop.proposal, recipe, time.monotonic() - start, history)


class _Loop:
    """The state of one fit, and one step of it."""

    def __init__(self, scene: Scene, prior, regularize: Regularize, recipe: Recipe, seed: int) -> None:
        self.scene, self.recipe, self.geometric = scene, recipe, regularize != "none"
        self.device = scene.images.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.cameras = scene.cameras[scene.train]
        self.images = scene.images[list(scene.train)]
        center, radius = _extent(self.cameras, scene.near, scene.far)
        self.field = HashGrid(
            center,
            radius,
            shape=recipe.shape,
            view_degree=recipe.view_degree,
            falloff=recipe.falloff,
            backend=recipe.backend,
            seed=seed,
        ).to(self.device)
        self.proposal = DensityGrid(center, radius).to(self.device)
        self.optimiser = self._optimiser()
        self.descriptors = descriptors(self.images) if self.geometric and recipe.consistency > 0 else None
        self.sampler, self.score = None, None
        if prior is not None or (self.geometric and recipe.geometric_patches):
            self.sampler = PatchSampler(
                self.cameras,
                self.images,
                size=24 if prior is None else prior.card.size[0],
                focal=recipe.focal or ((80.0, 180.0) if prior is None else prior.card.focal),
                translation=recipe.translation,
                rotation=recipe.rotation,
                known_rgb=recipe.known_rgb,
            )
        if prior is not None:
            self.transform = RGBD.for_card(prior.card)
            self.score = _score_loss(prior, recipe)

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step; returns the values of the terms."""
        recipe, share = self.recipe, step / self.recipe.steps
        self.field.show_levels(min(share / recipe.reveal, 1.0) if recipe.reveal > 0 else 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * min(1, (step + 1) / 20) * 0.1**share
        index, pixel, colours = self._photo_pixels()
        rays = self.cameras.rays(index, pixel)
        patches = self._patches(share)
        count = len(rays)
        if patches is not None:
            flat = patches.rays.flatten()
            rays = Rays(torch.cat([rays.origins, flat.origins]), torch.cat([rays.directions, flat.directions]))
        shown = self._render(rays, share)
        terms = {"photo": (shown.rgb[:count] - colours).square().mean()}
        total = terms["photo"] + proposal_loss(shown)
        if self.geometric:
            terms |= self._geometric(shown)
        if self.descriptors is not None:
            seen = shown[:count]
            terms["consistency"] = consistency(
                seen.weights, seen.points, index, pixel, self.descriptors, self.cameras
            ).mean()
        if patches is not None and self.score is not None:
            terms["prior"] = self._prior(self.score, shown[count:], patches, step)
        weights = self._weights(share)
        total = total + sum(weights[name] * value for name, value in terms.items() if name in weights)
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        return {name: value.detach() for name, value in terms.items()}

    def _weights(self, share: float) -> dict[str, float]:
        recipe = self.recipe
        risen = min(max(share - recipe.distortion_start, 0) / max(recipe.distortion_start, 1e-9), 1.0)
        return {
            "opacity": recipe.opacity,
            "frustum": recipe.frustum,
            "distortion": recipe.distortion * risen,
            "consistency": recipe.consistency,
            "decay": recipe.decay,
            "prior": 1.0,
        }

    def _geometric(self, shown: Render) -> dict[str, Tensor]:
        terms: dict = {
            "opacity": baselines.opacity(shown.opacity).mean(),
            "frustum": baselines.frustum(shown, self.cameras).mean(),
            "distortion": baselines.distortion(shown.weights, shown.edges).mean(),
        }
        if self.recipe.decay > 0:
            terms["decay"] = sum(p.square().mean() for p in self.field.encoder.parameters())
        return terms

    def _prior(self, score: ScoreLoss, shown: Render, patches: Patches, step: int) -> Tensor:
        b, p, _ = patches.rays.shape
        rgb = rearrange(shown.rgb, "(b h w) c -> b c h w", b=b, h=p)
        rgb = torch.where(patches.known[:, None, None, None], patches.photo, rgb)
        depth = rearrange(shown.depth, "(b h w) -> b h w", b=b, h=p)
        known = self.transform.known_rgb(patches.known)
        return score(self.transform(rgb, depth), step=step, known=known, generator=self.generator)

    def _render(self, rays: Rays, share: float) -> Render:
        return render(
            self.field,
            rays,
            proposal=self.proposal,
            near=self.scene.near,
            far=self.scene.far,
            samples=self.recipe.samples,
            proposal_samples=self.recipe.proposal_samples,
            anneal=min(1.0, 0.1 + share / self.recipe.anneal),
            generator=self.generator,
        )

    def _photo_pixels(self) -> tuple[Int[Tensor, " r"], Float[Tensor, "r 2"], Float[Tensor, "r 3"]]:
        """Random pixels of the photos: view, position and colour."""
        n, height, width, _ = self.images.shape
        flat = torch.randint(n * height * width, (self.recipe.rays,), generator=self.generator, device=self.device)
        index, row, column = flat // (height * width), flat // width % height, flat % width
        pixel = torch.stack([column, row], -1) + 0.5
        return index, pixel, self.images[index, row, column]

    def _patches(self, share: float) -> Patches | None:
        if self.sampler is None or share < self.recipe.prior_start:
            return None
        return self.sampler.sample(self.recipe.patches, generator=self.generator)

    def _optimiser(self) -> torch.optim.Adam:
        grids = [*self.field.encoder.parameters(), *self.proposal.parameters()]
        networks = [*self.field.geometry.parameters(), *self.field.colour.parameters()]
        groups = [{"params": grids, "lr": self.recipe.lr}, {"params": networks, "lr": self.recipe.lr_network}]
        optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
        return optimiser


def _score_loss(prior, recipe: Recipe) -> ScoreLoss:
    first, last = recipe.sigma
    return ScoreLoss(
        prior,
        sigma=log_linear(
            first, last, int(recipe.prior_start * recipe.steps), max(int(recipe.prior_end * recipe.steps), 1)
        ),
        weight=recipe.prior_weight,
        channel_weights={"rgb": recipe.prior_rgb, "disparity": recipe.prior_disparity},
        normalize=recipe.normalize,
    )


def _extent(cameras: Cameras, near: float, far: float) -> tuple[Float[Tensor, " 3"], float]:
    """Middle and radius of what the cameras look at: halfway to the far end, or less where that is very far."""
    radius = min(far / 2, 6 * near)
    return (cameras.pose[:, :, 3] + radius * cameras.pose[:, :, 2]).mean(0), radius
