"""The fit of a voxel grid: photos, total variation, a prior over blocks of the grid and one over rendered patches."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from examples.voxel_grid.blocks import Blocks, BlockSampler
from examples.voxel_grid.recipe import CPU, Recipe
from scorereg import RGBD, Density, NetworkPrior, PatchSampler, PriorCard, ScoreLoss
from scorereg.baselines import total_variation
from scorereg.cameras import Cameras, Rays
from scorereg.ops import frustum_count
from scorereg.priors import WrappedPrior
from scorereg.rendering import Render, render, render_image
from scorereg.rendering.voxel_grid import VoxelGrid
from scorereg.scenes import Scene
from scorereg.schedules import log_linear

__all__ = ["Loop", "fit_grid", "in_prior_space"]

_SLAB = 48  # vertices along an edge of the piece that total variation looks at in a step


class Loop:
    """The state of one fit, and one step of it.

    Args:
        scene: Photos, cameras and the range of depth.
        variation: Whether total variation is added to the photos.
        recipe: The numbers.
        seed: Of the rays, blocks and patches; the grid begins even.
        blocks: Prior over blocks of densities, if it is to be added.
        patches: Prior over RGB-D patches, if it is to be added.

    Raises:
        ValueError: If `blocks` is a prior of something else.
    """

    def __init__(
        self,
        scene: Scene,
        recipe: Recipe,
        seed: int,
        *,
        variation: bool = True,
        blocks: NetworkPrior | WrappedPrior | None = None,
        patches: NetworkPrior | WrappedPrior | None = None,
    ) -> None:
        self.scene, self.recipe, self.variation = scene, recipe, variation
        self.device = scene.images.device
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.cameras, self.images = scene.cameras[scene.train], scene.images[list(scene.train)]
        low, high = frustum_box(self.cameras, scene.far)
        self.field = VoxelGrid(low, high, vertices=recipe.vertices, view_degree=recipe.view_degree).to(self.device)
        self.refine_at = [int(share * recipe.steps) for share in recipe.refine]
        self.optimiser = self._optimiser()
        self.block_start, self.patch_start = (int(s * recipe.steps) for s in (recipe.block_start, recipe.patch_start))
        self.block_loss = self.patch_loss = None
        if blocks is not None:
            Density.for_card(blocks.card)  # now, not when the first block is drawn
            self.card = blocks.card
            self.block_sampler = BlockSampler(
                self.cameras, size=blocks.card.size[0], voxel=recipe.voxel, unseen=recipe.unseen
            )
            self.block_loss = self._score(blocks, recipe.block_sigma, self.block_start, perturb=recipe.perturb)
        if patches is not None:
            self.patch_sampler = PatchSampler(
                self.cameras,
                self.images,
                size=patches.card.size[0],
                focal=patches.card.focal or (80.0, 180.0),
                known_rgb=0.5,
            )
            self.transform = RGBD.for_card(patches.card)
            self.patch_loss = self._score(
                patches, recipe.patch_sigma, self.patch_start,
                channel_weights={"rgb": recipe.patch_rgb, "disparity": recipe.patch_disparity},
            )  # fmt: skip

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step; returns the values of the terms."""
        recipe, share = self.recipe, step / self.recipe.steps
        if step in self.refine_at:
            self.field.refine()
            self.optimiser = self._optimiser()
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * 0.1**share
        rays, colours = self._photo_rays()
        shown = self._render(rays, share)
        terms = {"photo": (shown.rgb - colours).square().mean()}
        if self.variation:
            terms["tv"] = self._variation()
        if self.block_loss is not None and step >= self.block_start:
            blocks = self.block_sampler.sample(shown, recipe.blocks, self.generator)
            block = in_prior_space(self.field, blocks, self.card)
            known = self._seen(blocks) if recipe.spare_seen else None
            value = self.block_loss(block, step=step, known=known, generator=self.generator)
            terms["blocks"] = recipe.block_weight * value
        if self.patch_loss is not None and step >= self.patch_start and step % recipe.patch_every == 0:
            terms["patches"] = self._patches(self.patch_loss, step, share)
        self.optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        self.optimiser.step()
        return {name: value.detach() for name, value in terms.items()}

    def proposal(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """The density as the proposal of its own rendering: without gradient."""
        with torch.no_grad():
            return self.field.density(points)

    def _photo_rays(self) -> tuple[Rays, Tensor]:
        n, height, width, _ = self.images.shape
        flat = torch.randint(n * height * width, (self.recipe.rays,), generator=self.generator, device=self.device)
        index, row, column = flat // (height * width), flat // width % height, flat % width
        return self.cameras.rays(index, torch.stack([column, row], -1) + 0.5), self.images[index, row, column]

    def _variation(self) -> Tensor:
        """Of a random piece of the grid."""
        field, shape = self.field, self.field.raw_density.shape[:3]
        ends = [max(n - _SLAB, 0) + 1 for n in shape]
        starts = [int(torch.randint(n, (1,), generator=self.generator, device=self.device)) for n in ends]
        piece = tuple(slice(a, a + _SLAB) for a in starts)
        value = self.recipe.tv * total_variation(field.raw_density[piece])
        return value + self.recipe.tv_colour * total_variation(field.colour[piece])

    def _seen(self, blocks: Blocks) -> Bool[Tensor, "b 1 s s s"]:
        """Which points two cameras look at, so that photos can decide what is there."""
        seen = frustum_count(blocks.points.reshape(-1, 3), self.cameras) >= min(2, len(self.cameras))
        return seen.reshape(len(blocks.points), 1, *blocks.points.shape[1:4])

    def _patches(self, loss: ScoreLoss, step: int, share: float) -> Tensor:
        patches = self.patch_sampler.sample(self.recipe.patches, generator=self.generator)
        shown = self._render(patches.rays.flatten(), share)
        b, p, _ = patches.rays.shape
        rgb = rearrange(shown.rgb, "(b h w) c -> b c h w", b=b, h=p)
        rgb = torch.where(patches.known[:, None, None, None], patches.photo, rgb)
        patch = self.transform(rgb, rearrange(shown.depth, "(b h w) -> b h w", b=b, h=p))
        return loss(patch, step=step, known=self.transform.known_rgb(patches.known), generator=self.generator)

    def _render(self, rays: Rays, share: float) -> Render:
        return render(
            self.field, rays, proposal=self.proposal, near=self.scene.near, far=self.scene.far,
            samples=self.recipe.samples, proposal_samples=self.recipe.proposal_samples,
            anneal=min(1.0, 0.1 + share / self.recipe.anneal), generator=self.generator,
        )  # fmt: skip

    def _score(self, prior, sigma: tuple[float, float], start: int, **more) -> ScoreLoss:
        levels = log_linear(*sigma, start, max(self.recipe.steps, start + 1))
        return ScoreLoss(prior, sigma=levels, weight=self.recipe.prior_weight, **more)

    def _optimiser(self) -> torch.optim.Adam:
        field, recipe = self.field, self.recipe
        rates = ((field.raw_density, recipe.lr), (field.colour, recipe.lr_colour), (field.view, recipe.lr_view))
        groups = [{"params": [p], "lr": lr, "initial_lr": lr} for p, lr in rates]
        return torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)


def in_prior_space(field: VoxelGrid, blocks: Blocks, card: PriorCard) -> Float[Tensor, "b 1 s s s"]:
    """Blocks of a field's densities in prior space, by the `Density` of the prior's card; differentiable to the field.

    Raises:
        ValueError: If the prior is not one of densities.
    """
    values = field.density(blocks.points.reshape(-1, 3)).reshape(blocks.points.shape[:-1])
    pairs = zip(values, blocks.voxel.tolist(), strict=True)
    return torch.stack([Density.for_card(card, voxel=voxel)(value)[None] for value, voxel in pairs])


def frustum_box(cameras: Cameras, far: float) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """The least box along the world's axes that holds the cameras and all that they see up to `far`."""
    corners = cameras.focal.new_tensor([[x, y] for x in (0, cameras.width) for y in (0, cameras.height)])
    index = torch.arange(len(cameras), device=corners.device)[:, None].expand(-1, 4)
    rays = cameras.rays(index, corners.expand(len(cameras), -1, -1))
    ends = torch.cat([cameras.origins, (rays.origins + far * rays.directions).reshape(-1, 3)])
    return ends.amin(0), ends.amax(0)


@dataclass(frozen=True, eq=False)
class GridFit:
    """A fitted grid."""

    scene: Scene
    field: VoxelGrid
    recipe: Recipe
    seconds: float
    history: list[dict[str, float | int]]

    def image(self, rays: Rays) -> tuple[Float[Tensor, "h w 3"], Float[Tensor, "h w"], Float[Tensor, "h w"]]:
        """Colour, planar depth in metres and opacity along rays of shape (h, w)."""
        return render_image(
            self.field, rays, proposal=self.field.density, near=self.scene.near, far=self.scene.far,
            samples=2 * self.recipe.samples, proposal_samples=2 * self.recipe.proposal_samples,
        )  # fmt: skip


def fit_grid(
    scene: Scene,
    *,
    recipe: Recipe = CPU,
    seed: int = 0,
    variation: bool = True,
    blocks: NetworkPrior | WrappedPrior | None = None,
    patches: NetworkPrior | WrappedPrior | None = None,
    report: Callable[[dict[str, float | int]], None] | None = None,
) -> GridFit:
    """Fit a grid to a scene's training views; the arguments are `Loop`'s.

    Raises:
        ValueError: If a loss is not finite, or `blocks` is a prior of something else.
    """
    loop = Loop(scene, recipe, seed, variation=variation, blocks=blocks, patches=patches)
    history: list[dict[str, float | int]] = []
    start = time.monotonic()
    for step in range(recipe.steps):
        terms = loop.step(step)
        if step % max(recipe.steps // 50, 1) == 0 or step == recipe.steps - 1:
            values: dict[str, float | int] = {"step": step, **{name: value.item() for name, value in terms.items()}}
            values["psnr"] = -10 * math.log10(max(values["photo"], 1e-10))
            if not all(math.isfinite(v) for v in values.values()):
                raise ValueError(f"The fit of {scene.name} is not finite at step {step}: {values}.")
            history.append(values)
            if report is not None:
                report(values)
    return GridFit(scene, loop.field, recipe, time.monotonic() - start, history)
