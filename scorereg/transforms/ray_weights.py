r"""The weights along a ray in prior space: one histogram over inverse depth, whatever the renderer's own samples were.

weights   b n      share of a ray's light that comes from each interval, >= 0; their sum is the opacity, <= 1
edges     b n+1    planar depths in metres of the intervals' ends, rising
x         b 1 k    prior space: k bins, even in inverse depth, from near to far
"""

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scorereg.priors.card import PriorCard

__all__ = ["RayWeights", "rebin"]


def rebin(
    weights: Float[Tensor, "*#rays n"],
    edges: Float[Tensor, "*#rays n+1"],
    new_edges: Float[Tensor, "*#rays m"],
    *,
    keep: bool = False,
) -> Float[Tensor, "*#rays m-1"]:
    r"""Share weights that are spread evenly over intervals among other intervals, exactly.

    With the running sum $W(t) = \int_{-\infty}^t w$, which is linear between the old edges, a new interval gets
    $W(e_{j+1}) - W(e_j)$. So no weight is lost where the new intervals cover the old ones. Differentiable to the
    weights (everywhere, linear) and to both kinds of edges (but where two of them meet).

    Args:
        weights: Of the old intervals, of any sign and sum.
        edges: Of the old intervals, not falling; an interval without length is a point.
        new_edges: Of the new intervals, not falling. Rays without these share one row.
        keep: Whether what lies before the first new edge or behind the last one is added to the first and the last
            interval. It is dropped if not.

    Raises:
        ValueError: If the numbers of weights and edges do not belong together.
    """
    if edges.shape[-1] != weights.shape[-1] + 1 or new_edges.shape[-1] < 2:
        raise ValueError(
            f"rebin needs one more edge than weights and at least two new edges, got {weights.shape[-1]} weights, "
            f"{edges.shape[-1]} edges and {new_edges.shape[-1]} new edges."
        )
    rays = torch.broadcast_shapes(weights.shape[:-1], edges.shape[:-1], new_edges.shape[:-1])
    weights, edges, new_edges = (x.expand(*rays, x.shape[-1]) for x in (weights, edges, new_edges))
    total = torch.nn.functional.pad(weights.cumsum(-1), (1, 0))
    above = torch.searchsorted(edges.detach().contiguous(), new_edges.detach().contiguous(), right=True)
    above = above.clamp(1, weights.shape[-1])
    e0, e1, w0, w1 = (x.gather(-1, i) for x in (edges, total) for i in (above - 1, above))
    length = e1 - e0
    # a point has no length to share: it lies on one side of the new edge as a whole
    share = torch.where(length > 0, (new_edges - e0) / torch.where(length > 0, length, 1), (new_edges >= e0).to(e0))
    reached = w0 + share.clamp(0, 1) * (w1 - w0)
    if keep:
        reached = torch.cat([torch.zeros_like(reached[..., :1]), reached[..., 1:-1], total[..., -1:]], -1)
    return reached.diff(dim=-1)


@dataclass(frozen=True)
class RayWeights:
    r"""Weights along rays to a histogram in prior space, and back.

    The bins are even in inverse depth, from `near` to `far`; weight before or behind them goes into the first and the
    last bin, so that nothing can hide there. The weight w of a bin becomes

    $$ x = 2\,\frac{\sqrt{w + s} - \sqrt{s}}{\sqrt{1 + s} - \sqrt{s}} - 1 $$

    which is -1 without weight and 1 where the whole ray ends in the bin. The root shows fog: thirty bins of 0.02 are as
    opaque as a wall, but would hide in the noise of a linear scale. The softness s bounds the slope at 0.
    Differentiable to weights and edges, by `rebin`.

    Args:
        near: Planar depth in metres of the first bin's front, > 0.
        far: Planar depth in metres of the last bin's back.
        bins: How many.
        softness: s, > 0; the slope dx/dw is 11 at w = 0 and 1.1 at w = 1 with 0.01.

    Example:
        >>> import torch
        >>> transform = RayWeights(near=0.5, far=2.0, bins=3)
        >>> transform.edges.tolist()
        [0.5, 0.6666666865348816, 1.0, 2.0]
        >>> transform(torch.tensor([[0.25, 0.75]]), torch.tensor([[0.5, 1.0, 2.0]])).shape
        torch.Size([1, 1, 3])
    """

    near: float | int = 0.5
    far: float | int = 10.0
    bins: int = 64
    softness: float | int = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.near < self.far < float("inf") or self.bins < 1 or not 0 < self.softness < float("inf"):
            raise ValueError(
                f"RayWeights needs 0 < near < far, bins >= 1 and softness > 0; got near={self.near}, far={self.far}, "
                f"bins={self.bins}, softness={self.softness}."
            )

    @property
    def edges(self) -> Float[Tensor, " {self.bins}+1"]:
        """Planar depths of the bins' ends in metres, rising."""
        inverse = torch.linspace(1 / self.near, 1 / self.far, self.bins + 1, dtype=torch.float64)
        return (1 / inverse).to(torch.float32)

    def __call__(
        self, weights: Float[Tensor, "b n"], edges: Float[Tensor, "b n+1"]
    ) -> Float[Tensor, "b 1 {self.bins}"]:
        """Return the histograms, in prior space.

        Args:
            weights: As a renderer returns them.
            edges: Planar depths of the intervals' ends, in metres. Where a renderer has them on another scale, convert
                them first: `rendering.edge_depths(render.edges, near, far)` for `scorereg.render`.

        Raises:
            ValueError: If weights are not finite or negative, or the edges fall.
        """
        _check_weights(weights, edges)
        new = self.edges.to(edges)
        return self.encode(rearrange(rebin(weights, edges, new, keep=True), "b k -> b 1 k"))

    def encode(self, binned: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Bin weights in [0, 1] to prior space. Rounding may leave a weight just below 0, which counts as 0."""
        low, high = self.softness**0.5, (1 + self.softness) ** 0.5
        return 2 * ((binned.clamp_min(0) + self.softness).sqrt() - low) / (high - low) - 1

    def decode(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Prior space to bin weights: the inverse of `encode`. Below -1 counts as -1."""
        low, high = self.softness**0.5, (1 + self.softness) ** 0.5
        return ((x.clamp_min(-1) + 1) / 2 * (high - low) + low).square() - self.softness

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` needs, and the formula in words: it goes beside data and onto cards."""
        return {
            "kind": "ray weights",
            "near": float(self.near),
            "far": float(self.far),
            "bins": self.bins,
            "softness": float(self.softness),
            "formula": "x = 2 (sqrt(w + s) - sqrt(s)) / (sqrt(1 + s) - sqrt(s)) - 1, w the weight of a bin, bins even "
            "in inverse depth from near to far metres, what lies outside added to the end bins",
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "RayWeights":
        """Return the transform that `to_json` described.

        Raises:
            ValueError: If the entry is of another kind or lacks a number.
        """
        names = ("near", "far", "bins", "softness")
        if entry.get("kind") != "ray weights" or any(name not in entry for name in names):
            raise ValueError(
                f"no transform of ray weights: needs kind 'ray weights' and {', '.join(names)}, got {entry}."
            )
        return cls(**{name: entry[name] for name in names})

    @classmethod
    def for_card(cls, card: PriorCard) -> "RayWeights":
        """Return the transform that a prior was trained with, from its card.

        Raises:
            ValueError: If the prior is not one of ray weights.
        """
        entry = card.training.get("transform", {})
        if len(card.channels) != 1 or len(card.size) != 1 or entry.get("kind") != "ray weights":
            raise ValueError(
                f"the prior {card.name!r} is one of {', '.join(card.channels)} in {len(card.size)} dimensions, not of "
                "the weights along rays. Choose rays-64, or train one on what scorereg make-rays writes."
            )
        return cls.from_json(entry)


def _check_weights(weights: Tensor, edges: Tensor) -> None:
    shown, at = weights.detach(), edges.detach()
    if not torch.isfinite(shown).all() or (shown < 0).any():
        raise ValueError(f"RayWeights needs finite weights >= 0; the smallest given is {shown.min().item():g}.")
    if not torch.isfinite(at).all() or (at.diff(dim=-1) < 0).any():
        raise ValueError("RayWeights needs finite edges that do not fall along a ray: planar depths in metres.")
