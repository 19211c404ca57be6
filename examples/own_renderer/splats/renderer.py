r"""Three-dimensional Gaussians, splatted onto small windows of views (Kerbl 2023, arXiv 2308.04079), in plain torch.

A Gaussian with mean m and covariance M M^T, M = R S in camera axes, is seen as one in the image (EWA, Zwicker 2001):

    alpha(u) = o exp(-(u - c)^T (J M M^T J^T + 0.3 I)^-1 (u - c) / 2)        J the projection's Jacobian, u in pixels

and those in front cover those behind: w_i = alpha_i prod_{j before i} (1 - alpha_j). The pixels of a window share one
list of Gaussians, and log alpha is a polynomial of second degree in u, so all of it is a few products of matrices.
"""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from scorereg.cameras import Cameras, rotation_matrix

FAINTEST, DENSEST = 1 / 255, 0.99  # alpha: fainter is nothing, and nothing is denser
NEAREST, MOST = 0.1, 512  # metres; Gaussians of one window, those behind them are left out
WIDEST = 1.5  # tangent of the angle off the axis beyond which the projection is held to be as it is there


class Splats(nn.Module):
    """Gaussians, each of one colour. Called with cameras, they return what these see; differentiable to the Gaussians.

    Args:
        points: Their means (n, 3), in world coordinates.
        colours: (n, 3), in [0, 1].
        sizes: Their standard deviations (n,) at first, in metres.
        opacity: Of all of them at first.
    """

    def __init__(self, points: Tensor, colours: Tensor, sizes: Tensor, opacity: float = 0.1) -> None:
        super().__init__()
        self.mean = nn.Parameter(points.clone())
        self.size = nn.Parameter(sizes.log()[:, None].repeat(1, 3))
        self.turn = nn.Parameter(torch.full_like(points, 0.1))  # of a sphere; at 0 it would have no derivative
        self.opacity = nn.Parameter(torch.full_like(points[:, :1], opacity).logit())
        self.colour = nn.Parameter(colours.clamp(0.02, 0.98).logit())
        self.render = render  # another of the same signature may take its place

    def forward(self, *cameras: Cameras) -> dict[str, Tensor]:
        """Colours on black (b, 3, h, w), planar depth over opacity in metres (b, h, w), opacity (b, h, w).

        Windows of one size, each set of cameras on its own, as all of a set take as long as that which sees most.
        """
        parts = [self.render(self, some) for some in cameras]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def render(splats: Splats, cameras: Cameras) -> dict[str, Tensor]:
    """What one set of cameras sees, as `Splats` returns it."""
    axes = rotation_matrix(splats.turn) * splats.size.exp()[:, None]
    rows = torch.cat([splats.mean, axes.flatten(1), splats.opacity, splats.colour], -1)
    index, counts = _listed(rows.detach(), cameras)
    rows = nn.functional.embedding(index, rows)
    centre, cov, z = _projected(rows, cameras)
    y, x = (torch.arange(n).to(z) + 0.5 - n / 2 for n in (cameras.height, cameras.width))
    y, x = torch.cartesian_prod(y, x).unbind(-1)
    powers = torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)], -1)
    polynomial = _log_alpha(centre, cov, nn.functional.logsigmoid(rows[..., 12]) + math.log(DENSEST))
    values = torch.cat([rows[..., 13:].sigmoid(), z[..., None], torch.ones_like(z)[..., None]], -1)
    shown: Any = _Composite.apply(powers, polynomial, values, counts)
    shown = rearrange(shown, "b (h w) c -> b c h w", h=cameras.height)
    return {"rgb": shown[:, :3], "depth": shown[:, 3] / (shown[:, 4] + 1e-6), "opacity": shown[:, 4]}


def _listed(rows: Tensor, cameras: Cameras) -> tuple[Tensor, list[int]]:
    """The Gaussians that each window may see, from near to far (b, k), and how many of them are no padding."""
    centre, cov, z = _projected(rows.expand(len(cameras), -1, -1), cameras)
    reach = 2 * (DENSEST * rows[:, 12].sigmoid() / FAINTEST).clamp_min(1).log()  # (standard deviations)^2 to FAINTEST
    side = (reach[:, None] * cov.diagonal(dim1=-2, dim2=-1)).sqrt()
    half = centre.new_tensor([cameras.width / 2, cameras.height / 2])
    seen = (centre.abs() < half + side).all(-1) & (z > NEAREST) & (reach > 0)
    counts = seen.sum(-1).clamp_max(MOST).tolist()
    return torch.where(seen, z, torch.inf).topk(max(counts), largest=False).indices, counts


def _projected(rows: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Centres from the middle of each window (b, k, 2), covariances (b, k, 2, 2), depths (b, k)."""
    local = (rows[..., :3] - cameras.pose[:, None, :, 3]) @ cameras.pose[:, :, :3]
    z = local[..., 2].clamp_min(NEAREST)
    slope, focal = local[..., :2] / z[..., None], cameras.focal[:, None]
    middle = slope.new_tensor([cameras.width / 2, cameras.height / 2])
    axes = rearrange(rows[..., 3:12], "b k (i j) -> b i (k j)", j=3)
    axes = rearrange(cameras.pose[:, :, :3].mT @ axes, "b i (k j) -> i b k j", j=3)
    slopes = slope.clamp(-WIDEST, WIDEST)[..., None]
    seen = (torch.stack([axes[0], axes[1]], -2) - slopes * axes[2][..., None, :]) * (focal / z[..., None])[..., None]
    cov = (seen[..., None, :] * seen[..., None, :, :]).sum(-1) + 0.3 * torch.eye(2).to(seen)
    return focal * slope + cameras.center[:, None] - middle, cov, z


def _log_alpha(centre: Tensor, cov: Tensor, log_opacity: Tensor) -> Tensor:
    """Coefficients (b, k, 6) of xx, xy, yy, x, y and 1 in log alpha."""
    x, y = centre.unbind(-1)
    a, b, c = cov[..., 1, 1], -cov[..., 0, 1], cov[..., 0, 0]
    a, b, c = (value / (a * c - b * b) for value in (a, b, c))
    constant = log_opacity - (a * x * x + 2 * b * x * y + c * y * y) / 2
    return torch.stack([-a / 2, -b, -c / 2, a * x + b * y, b * x + c * y, constant], -1)


class _Composite(torch.autograd.Function):
    """Window by window, so that what belongs to one stays in the processor's cache; autograd's own takes longer."""

    @staticmethod
    def forward(ctx: Any, powers: Tensor, polynomial: Tensor, values: Tensor, counts: list[int]) -> Tensor:
        ctx.save_for_backward(powers, values)
        ctx.parts, shown = [], []
        for one, value, n in zip(polynomial, values, counts, strict=True):
            # exp of less than -16 is slow
            alpha = nn.functional.threshold((powers @ one[:n].T).clamp_(min=-16).exp_(), FAINTEST, 0.0)
            weight = alpha * nn.functional.pad((1 - alpha).cumprod(-1)[:, :-1], (1, 0), value=1.0)
            ctx.parts.append((alpha, weight))
            shown.append(weight @ value[:n])
        return torch.stack(shown)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        powers, values = ctx.saved_tensors
        to_values, to_polynomial = torch.zeros_like(values), values.new_zeros(*values.shape[:2], 6)
        for i, (alpha, weight) in enumerate(ctx.parts):
            mine = (gradient[i] @ values[i, : alpha.shape[1]].T).mul_(weight)
            behind = mine.sum(-1, keepdim=True) - mine.cumsum(-1)
            to_values[i, : alpha.shape[1]] = weight.T @ gradient[i]
            to_polynomial[i, : alpha.shape[1]] = (mine - behind.mul_(alpha).div_(1 - alpha)).T @ powers
        return None, to_polynomial, to_values, None
