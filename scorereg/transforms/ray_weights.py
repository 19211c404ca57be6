r"""Conversion of volume rendering weights along a ray to prior space: a histogram over inverse depth.

weights   b n      volume rendering weights of the intervals, >= 0; their sum is the opacity, <= 1
edges     b n+1    planar depths of the intervals' ends in metres, increasing
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
    r"""Resample a piecewise constant density: weights of intervals to weights of other intervals, exactly.

    With the running sum $W(t) = \int_{-\infty}^t w$, which is linear between the old edges, a new interval gets
    $W(e_{j+1}) - W(e_j)$. The sum is preserved where the new intervals cover the old ones. Linear in the weights;
    differentiable to both kinds of edges except where two of them coincide.

    Args:
        weights: Weights of the old intervals, of any sign and sum.
        edges: Edges of the old intervals, non-decreasing; an interval of length 0 is a point mass.
        new_edges: Edges of the new intervals, non-decreasing; for each ray, or one row for all.
        keep: Add weight outside the new edges to the first and the last interval; dropped by default.

    Raises:
        ValueError: If there is not one more edge than weights, or fewer than two new edges.
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
    # a point mass lies as a whole on one side of the new edge
    share = torch.where(length > 0, (new_edges - e0) / torch.where(length > 0, length, 1), (new_edges >= e0).to(e0))
    reached = w0 + share.clamp(0, 1) * (w1 - w0)
    if keep:
        reached = torch.cat([torch.zeros_like(reached[..., :1]), reached[..., 1:-1], total[..., -1:]], -1)
    return reached.diff(dim=-1)


@dataclass(frozen=True)
class RayWeights:
    r"""Volume rendering weights along rays to histograms in prior space, and back.

    The bins are even in inverse depth, from `near` to `far`; weight outside is added to the first and the last bin, so
    that the prior sees it. The weight w of a bin becomes

    $$ x = 2\,\frac{\sqrt{w + s} - \sqrt{s}}{\sqrt{1 + s} - \sqrt{s}} - 1 $$

    which is -1 for no weight and 1 if the whole ray ends in the bin. The root makes fog visible: thirty bins of 0.02
    add up to an opacity of 0.6, but would be below the noise on a linear scale. The softness s bounds the slope at 0.
    Differentiable to weights and edges, by `rebin`.

    Args:
        near: Planar depth of the first bin's front in metres, > 0.
        far: Planar depth of the last bin's back in metres, > `near`.
        bins: Number of bins.
        softness: s, > 0. With 0.01 the slope dx/dw is 11 at w = 0 and 1.1 at w = 1.

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
        """Planar depths of the bins' ends in metres, increasing."""
        inverse = torch.linspace(1 / self.near, 1 / self.far, self.bins + 1, dtype=torch.float64)
        return (1 / inverse).to(torch.float32)

    def __call__(
        self, weights: Float[Tensor, "b n"], edges: Float[Tensor, "b n+1"]
    ) -> Float[Tensor, "b 1 {self.bins}"]:
        """Return histograms in prior space.

        Args:
            weights: Volume rendering weights of the intervals, >= 0.
            edges: Planar depths of the intervals' ends in metres, non-decreasing. Convert other scales first:
                `rendering.edge_depths(render.edges, near, far)` for `scorereg.render`.

        Raises:
            ValueError: If weights are negative or not finite, or edges decrease along a ray.
        """
        _check_weights(weights, edges)
        new = self.edges.to(edges)
        return self.encode(rearrange(rebin(weights, edges, new, keep=True), "b k -> b 1 k"))

    def encode(self, binned: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Convert bin weights in [0, 1] to prior space; weights below 0 by rounding are clamped to 0."""
        low, high = self.softness**0.5, (1 + self.softness) ** 0.5
        return 2 * ((binned.clamp_min(0) + self.softness).sqrt() - low) / (high - low) - 1

    def decode(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Convert prior space to bin weights: the inverse of `encode`, with values below -1 clamped."""
        low, high = self.softness**0.5, (1 + self.softness) ** 0.5
        return ((x.clamp_min(-1) + 1) / 2 * (high - low) + low).square() - self.softness

    def to_json(self) -> dict[str, Any]:
        """Return a description for data sets and cards, which `from_json` reads; it has the formula too."""
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
        """Return the transform that `to_json` describes.

        Raises:
            ValueError: If the entry is of another kind or lacks a number.
        """
        names = ("near", "far", "bins", "softness")
        if entry.get("kind") != "ray weights" or any(name not in entry for name in names):
            raise ValueError(
                f"A transform of ray weights needs kind 'ray weights' and {', '.join(names)}, but got {entry}."
            )
        return cls(**{name: entry[name] for name in names})

    @classmethod
    def for_card(cls, card: PriorCard) -> "RayWeights":
        """Return the transform of a prior's training data, from its card.

        Raises:
            ValueError: If the prior is not over ray weights.
        """
        entry = card.training.get("transform", {})
        if len(card.channels) != 1 or len(card.size) != 1 or entry.get("kind") != "ray weights":
            raise ValueError(
                f"The prior {card.name!r} is one of {', '.join(card.channels)} in {len(card.size)} dimensions, not of "
                "the weights along rays. Choose rays-64, or train one on what scorereg make-rays writes."
            )
        return cls.from_json(entry)


def _check_weights(weights: Tensor, edges: Tensor) -> None:
    shown, at = weights.detach(), edges.detach()
    if not torch.isfinite(shown).all() or (shown < 0).any():
        raise ValueError(f"RayWeights needs finite weights >= 0; the smallest given is {shown.min().item():g}.")
    if not torch.isfinite(at).all() or (at.diff(dim=-1) < 0).any():
        raise ValueError("RayWeights needs finite edges that do not fall along a ray: planar depths in metres.")
