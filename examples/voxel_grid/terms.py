"""Terms of a voxel grid's fit: total variation, and a diffusion prior over blocks of the grid's densities."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from examples.voxel_grid.blocks import Blocks, BlockSampler
from scorereg import Density, PriorCard, ScoreLoss, VoxelGrid
from scorereg.baselines import total_variation
from scorereg.fit import Batch, FitContext, Term
from scorereg.ops import frustum_count
from scorereg.schedules import log_linear

__all__ = ["BlockPrior", "TotalVariation", "in_prior_space"]

_SLAB = 48  # vertices along an edge of the piece that total variation is computed of in a step


class TotalVariation(Term):
    """Total variation of a random piece of the grid.

    Args:
        density: Weight for the logarithm of the density.
        color: Weight for colors.
    """

    name = "tv"

    def __init__(self, density: float = 3e-2, color: float = 3e-3) -> None:
        self.density, self.color = density, color

    def bind(self, context: FitContext) -> None:
        self._field, self._generator = context.field, context.generator

    def __call__(self, batch: Batch) -> Tensor:
        field, draw = self._field, self._generator
        ends = [max(n - _SLAB, 0) + 1 for n in field.raw_density.shape[:3]]
        starts = [int(torch.randint(n, (1,), generator=draw, device=draw.device)) for n in ends]
        piece = tuple(slice(a, a + _SLAB) for a in starts)
        value = self.density * total_variation(field.raw_density[piece])
        return value + self.color * total_variation(field.color[piece])


class BlockPrior(Term):
    """`ScoreLoss` of blocks of the grid's densities. Moments are shares of the fit's steps.

    Args:
        prior: Denoiser over blocks of densities, with a card.
        weight: Factor in the loss.
        blocks: Blocks a step.
        sigma: Noise level at the term's start and at the fit's end, in prior-space units.
        start: When it begins.
        perturb: Denoise blocks with noise added, as in score distillation.
        voxel: Smallest and largest distance of a block's points, metres.
        unseen: Share of the blocks that are drawn where fewer than two cameras look.
        spare_seen: Move only points that fewer than two cameras see.

    Raises:
        ValueError: If the prior is not one of densities.
    """

    name = "blocks"

    def __init__(
        self,
        prior,
        *,
        weight: float = 3e-5,
        blocks: int = 1,
        sigma: tuple[float, float] = (1.0, 0.3),
        start: float = 0.3,
        perturb: bool = False,
        voxel: tuple[float, float] = (0.05, 0.1),
        unseen: float = 0.5,
        spare_seen: bool = False,
    ) -> None:
        Density.for_card(prior.card)
        self.prior, self.weight, self.blocks, self.sigma, self.start = prior, weight, blocks, sigma, start
        self.perturb, self.voxel, self.unseen, self.spare_seen = perturb, voxel, unseen, spare_seen

    def bind(self, context: FitContext) -> None:
        steps, first = context.recipe.steps, int(self.start * context.recipe.steps)
        self._field, self._cameras, self._generator = context.field, context.cameras, context.generator
        self._sampler = BlockSampler(
            context.cameras, size=self.prior.card.size[0], voxel=self.voxel, unseen=self.unseen
        )
        levels = log_linear(*self.sigma, first, max(steps, first + 1))
        self._score = ScoreLoss(self.prior, sigma=levels, weight=torch.square, perturb=self.perturb)

    def active(self, progress: float) -> bool:
        return progress >= self.start

    def factor(self, progress: float) -> float:
        return self.weight

    def __call__(self, batch: Batch) -> Tensor:
        blocks = self._sampler.sample(batch.photo, self.blocks, self._generator)
        block = in_prior_space(self._field, blocks, self.prior.card)
        known = self.seen(blocks) if self.spare_seen else None
        return self._score(block, step=batch.step, known=known, generator=self._generator)

    def seen(self, blocks: Blocks) -> Bool[Tensor, "b 1 s s s"]:
        """Return which points two cameras see, so that photos can decide what is there."""
        seen = frustum_count(blocks.points.reshape(-1, 3), self._cameras) >= min(2, len(self._cameras))
        return seen.reshape(len(blocks.points), 1, *blocks.points.shape[1:4])


def in_prior_space(field: VoxelGrid, blocks: Blocks, card: PriorCard) -> Float[Tensor, "b 1 s s s"]:
    """Return blocks of a field's densities in prior space; differentiable to the field.

    Raises:
        ValueError: If the prior is not one of densities.
    """
    values = field.density(blocks.points.reshape(-1, 3)).reshape(blocks.points.shape[:-1])
    pairs = zip(values, blocks.voxel.tolist(), strict=True)
    return torch.stack([Density.for_card(card, voxel=voxel)(value)[None] for value, voxel in pairs])
