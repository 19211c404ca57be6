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

NEAREST = 0.1  # metres
FAINTEST, DENSEST = 1 / 255, 0.99  # alpha: fainter is nothing, and nothing is denser
MOST = 512  # Gaussians of one window; those behind them are left out
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

    def forward(self, *cameras: Cameras) -> dict[str, Tensor]:
        """Colours on black (b, 3, h, w), planar depth over opacity in metres (b, h, w), opacity (b, h, w).

        Windows of one size, each set of cameras on its own, as all of a set take as long as that which sees most.
        """
        parts = [self._render(some) for some in cameras]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _render(self, cameras: Cameras) -> dict[str, Tensor]:
        index, hit = self._listed(cameras)
        rows = torch.cat([self.mean, self.size, self.turn, self.opacity, self.colour], -1)
        rows = nn.functional.embedding(index, rows)
        centre, cov, z = _projected(rows, cameras)
        y, x = (torch.arange(n).to(z) + 0.5 - n / 2 for n in (cameras.height, cameras.width))
        y, x = torch.cartesian_prod(y, x).unbind(-1)
        powers = torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)], -1)
        polynomial = _log_alpha(centre, cov, nn.functional.logsigmoid(rows[..., 9]) + math.log(DENSEST))
        weight = _Weights.apply(powers @ polynomial.mT.masked_fill(~hit[:, None], -99.0))
        shown = weight @ torch.cat([rows[..., 10:].sigmoid(), z[..., None], torch.ones_like(z)[..., None]], -1)
        shown = rearrange(shown, "b (h w) c -> b c h w", h=cameras.height)
        return {"rgb": shown[:, :3], "depth": shown[:, 3] / (shown[:, 4] + 1e-6), "opacity": shown[:, 4]}

    @torch.no_grad()
    def _listed(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """The Gaussians that each window may see, from near to far (b, k), and which of them are no padding."""
        pixel, z = cameras.project(self.mean)
        opacity = self.opacity[:, 0].sigmoid()
        reach = (2 * (opacity / FAINTEST).clamp_min(1).log()).sqrt()  # standard deviations until it is too faint
        slope = (pixel - cameras.center[:, None]) / cameras.focal[:, None]
        steep = (1 + slope.clamp(-WIDEST, WIDEST).square().sum(-1)).sqrt()  # norm of J, in units of focal / z
        spread = steep * self.size.amax(-1).exp() * cameras.focal.amax(-1)[:, None] / z.clamp_min(NEAREST)
        radius = (reach * (spread.square() + 0.3).sqrt())[..., None]
        size = pixel.new_tensor([cameras.width, cameras.height])
        seen = ((pixel > -radius) & (pixel < size + radius)).all(-1) & (z > NEAREST) & (opacity > FAINTEST)
        order = torch.where(seen, z, torch.inf)
        nearest, index = order.topk(max(1, min(int(seen.sum(-1).amax()), MOST)), largest=False)
        return index, nearest.isfinite()


def _projected(rows: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Centres from the middle of each window (b, k, 2), covariances (b, k, 2, 2), depths (b, k)."""
    local = torch.einsum("bij,bki->bkj", cameras.pose[:, :, :3], rows[..., :3] - cameras.pose[:, None, :, 3])
    z = local[..., 2].clamp_min(NEAREST)
    slope, focal = local[..., :2] / z[..., None], cameras.focal[:, None]
    middle = slope.new_tensor([cameras.width / 2, cameras.height / 2])
    axes = rotation_matrix(rows[..., 6:9]) * rows[..., None, 3:6].exp()
    axes = torch.einsum("bij,bkil->bkjl", cameras.pose[:, :, :3], axes)
    slopes = slope.clamp(-WIDEST, WIDEST)[..., None]
    seen = (axes[..., :2, :] - slopes * axes[..., 2:, :]) * (focal / z[..., None])[..., None]
    return focal * slope + cameras.center[:, None] - middle, seen @ seen.mT + 0.3 * torch.eye(2).to(seen), z


def _log_alpha(centre: Tensor, cov: Tensor, log_opacity: Tensor) -> Tensor:
    """Coefficients (b, k, 6) of xx, xy, yy, x, y and 1 in log alpha."""
    x, y = centre.unbind(-1)
    a, b, c = cov[..., 1, 1], -cov[..., 0, 1], cov[..., 0, 0]
    a, b, c = (value / (a * c - b * b) for value in (a, b, c))
    constant = log_opacity - (a * x * x + 2 * b * x * y + c * y * y) / 2
    return torch.stack([-a / 2, -b, -c / 2, a * x + b * y, b * x + c * y, constant], -1)


class _Weights(torch.autograd.Function):
    """Log alpha, from near to far in the last axis, to weights. By hand, as autograd's own takes twice as long."""

    @staticmethod
    def forward(ctx: Any, log_alpha: Tensor) -> Tensor:
        alpha = nn.functional.threshold(log_alpha.clamp_min(-16).exp(), FAINTEST, 0.0)  # exp of less is slow
        weight = alpha * nn.functional.pad((1 - alpha).cumprod(-1)[..., :-1], (1, 0), value=1.0)
        ctx.save_for_backward(alpha, weight)
        return weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        alpha, weight = ctx.saved_tensors
        mine = gradient * weight
        behind = mine.sum(-1, keepdim=True) - mine.cumsum(-1)
        return mine - behind * alpha / (1 - alpha)
