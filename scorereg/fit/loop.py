"""One step of a fit: the place at which rendering and priors meet, as tensors.

photo rays     random pixels of the training photos; their colours are the data
patch rays     small images seen from nearby places, by cameras that the prior was trained on; nobody knows their
               colours, but geometric terms and the prior have an opinion of them
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from scorereg import baselines
from scorereg._ema import make_average
from scorereg.cameras import Cameras, Rays
from scorereg.estimators import by_name
from scorereg.fit.patch_prior import patch_transform
from scorereg.fit.recipe import Recipe, Regularize
from scorereg.rendering.background import BACKGROUND, background_variance
from scorereg.rendering.depth import surface_depth
from scorereg.rendering.hash_grid import DensityGrid, HashGrid
from scorereg.rendering.patches import Patches, PatchSampler
from scorereg.rendering.stereo import consistency, descriptors, texture
from scorereg.rendering.volume import Render, edge_depths, midpoints, proposal_loss, render
from scorereg.scenes import Scene
from scorereg.schedules import log_linear
from scorereg.score_loss.loss import ScoreLoss
from scorereg.score_loss.vsd import Particles

__all__ = ["Extra", "Loop"]

Extra = Callable[[Render, int], Tensor]


class Loop:
    """The state of one fit, and one step of it."""

    def __init__(
        self, scene: Scene, prior, regularize: Regularize, recipe: Recipe, seed: int, extra: Extra | None = None
    ) -> None:
        self.scene, self.recipe, self.geometric, self.extra = scene, recipe, regularize != "none", extra
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
        self.learnt = nn.ModuleList([self.field, self.proposal])
        self.average = make_average(self.learnt, 1 - 1 / max(recipe.average * recipe.steps, 1.0))
        self.descriptors = descriptors(self.images) if self.geometric and recipe.consistency > 0 else None
        self.texture = 0.0 if self.descriptors is None else texture(self.descriptors)
        self.sampler, self.score, self.particles = None, None, None
        if prior is not None:
            self.transform = patch_transform(prior.card, recipe)
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
            self.particles = Particles(prior) if recipe.estimator == "vsd" else None
            start, end = int(recipe.prior_start * recipe.steps), int(recipe.prior_end * recipe.steps)
            self.sigma = log_linear(*recipe.sigma, start, max(end, start + 1))
            self.score = _score_loss(prior, recipe, self.sigma, self.particles)

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step; returns the values of the terms."""
        recipe, share = self.recipe, step / self.recipe.steps
        self.field.show_levels(min(share / recipe.reveal, 1.0) if recipe.reveal > 0 else 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * min(1, (step + 1) / 20)
        index, pixel, colours = self._photo_pixels()
        rays = self.cameras.rays(index, pixel)
        patches = self._patches(share)
        count = len(rays)
        if patches is not None:
            flat = patches.rays.flatten()
            rays = Rays(torch.cat([rays.origins, flat.origins]), torch.cat([rays.directions, flat.directions]))
        shown = self._render(rays, share)
        terms = {"photo": (shown.rgb[:count] - colours).square().mean()}
        terms["background"] = background_variance(shown.opacity[:count]).mean()
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
            if self.score.gate is not None and self.score.gate.factor is not None:
                terms["gate"] = self.score.gate.factor.mean()  # has no weight: it is only told
        if self.extra is not None:
            terms["extra"] = self.extra(shown, step)
        weights = self._weights(share)
        total = total + sum(weights[name] * value for name, value in terms.items() if name in weights)
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        self.average.update_parameters(self.learnt)
        return {name: value.detach() for name, value in terms.items()}

    def averaged(self) -> tuple[HashGrid, DensityGrid]:
        """The field and the proposal, of the averaged parameters."""
        field, proposal = cast(nn.ModuleList, self.average.module)
        return cast(HashGrid, field), cast(DensityGrid, proposal)

    def state_dict(self) -> dict[str, Any]:
        """All that a step changes."""
        return {
            "average": self.average.state_dict(),
            "field": self.field.state_dict(),
            "proposal": self.proposal.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        } | ({} if self.particles is None else {"particles": self.particles.state_dict()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to what `state_dict` returned."""
        self.average.load_state_dict(state["average"])
        self.field.load_state_dict(state["field"])
        self.proposal.load_state_dict(state["proposal"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        if self.particles is not None:
            self.particles.load_state_dict(state["particles"])

    def _weights(self, share: float) -> dict[str, float]:
        recipe = self.recipe
        risen = min(max(share - recipe.distortion_start, 0) / max(recipe.distortion_start, 1e-9), 1.0)
        return {
            "background": 1.0,
            "opacity": recipe.opacity,
            "frustum": recipe.frustum,
            "distortion": recipe.distortion * risen,
            "consistency": recipe.consistency * self.texture,
            "decay": recipe.decay,
            "prior": 1.0,
            "extra": 1.0,
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
        depth = rearrange(self._depth(shown), "(b h w) -> b h w", b=b, h=p)
        known = self.transform.known_rgb(patches.known)
        patch = self.transform(rgb, depth)
        if self.particles is not None:
            self.particles.learn(patch, self.sigma(step), self.generator)
        return score(patch, step=step, known=known, generator=self.generator)

    def _depth(self, shown: Render) -> Tensor:
        """The depth that the prior sees, and pulls on."""
        if self.recipe.prior_band == 0:
            return shown.depth
        depths = midpoints(edge_depths(shown.edges, self.scene.near, self.scene.far))
        return surface_depth(shown.weights, depths, shown.depth, band=self.recipe.prior_band)

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
            background=BACKGROUND,
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
        if self.sampler is None or not self.recipe.prior_start <= share < self.recipe.prior_end:
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


def _score_loss(prior, recipe: Recipe, sigma: Callable[[int], float], particles: Particles | None) -> ScoreLoss:
    return by_name(
        recipe.estimator,
        prior,
        w=recipe.prior_weight,
        particles=particles,
        sigma=sigma,
        channel_weights={"rgb": recipe.prior_rgb, "disparity": recipe.prior_disparity},
        normalize=recipe.normalize,
        gate=recipe.gate,
    )


def _extent(cameras: Cameras, near: float, far: float) -> tuple[Float[Tensor, " 3"], float]:
    """Middle and radius of what the cameras look at: halfway to the far end, or less where that is very far."""
    radius = min(far / 2, 6 * near)
    return (cameras.pose[:, :, 3] + radius * cameras.pose[:, :, 2]).mean(0), radius
