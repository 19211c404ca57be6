"""Six small problems that a prior can help with, each with its likelihood: what `benchmarks.defaults` fits.

    nerf      planes of a multiplane image from two photos; the prior sees another place between them at each step,
              and scored is the middle (r, g, b, disparity)
    splats    2D Gaussians from a share of a patch's noisy pixels (r, g, b, disparity)
    rays      densities along rays from blurred, noisy histograms of their weights
    deblur    a photo through a Gaussian blur with noise
    inpaint   a photo of which 70 % are missing
    enlarge   a photo at half its size
    trial     a photo of 96 x 96 pixels through a blur of 1.5 pixels with noise

Likelihoods are sums over values, means over patches: sum (predicted - measured)^2 / (2 noise^2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from examples.rgbd_frame import read_frame
from scorereg import RayWeights, TiledPrior, load_prior

__all__ = ["PROBLEMS", "Problem", "blur", "make", "photo"]

SIDE = 24  # of the shipped RGB-D prior's patches
PLANES = torch.linspace(0.04, 0.75, 14)  # disparities of the multiplane image, far to near
SHIFT = 10.0  # pixels by which a camera at 1 sees disparity 1 move
FRAMES = {
    "development": (("room-01000", 0), ("room-01000", 5), ("room-01001", 3)),
    "confirmation": (("room-01002", 1), ("room-01002", 5), ("room-01002", 9)),
}
PHOTOS = {"development": ("coffee", "chelsea"), "confirmation": ("astronaut", "rocket")}


@dataclass
class Problem:
    """A fit: parameters, what they show in prior space, and minus the log likelihood of the data for each patch."""

    prior: Any
    truth: Float[Tensor, "b c *space"]
    start: tuple[Tensor, ...]
    show: Callable[..., Tensor]
    data: Callable[..., Tensor]  # of the patch and the parameters
    rate: float
    seen: Callable[..., Tensor] | None = None  # what the prior sees at a step, of a generator and the parameters

    def psnr(self, x: Tensor) -> float:
        """PSNR in dB of a patch in prior space, of width 2."""
        return -10 * math.log10((x.clamp(-1, 1) - self.truth).square().mean().item() / 4)


def _misfit(predicted: Tensor, measured: Tensor, noise: float) -> Tensor:
    return (predicted - measured).square().sum() / (2 * noise**2) / len(predicted)


def _patches(rooms: Path, part: str, width: int, generator: torch.Generator) -> Float[Tensor, "b 4 h w"]:
    """An RGB-D patch in [0, 1] of each frame: of 32 places the one where disparity varies most."""
    found = []
    for room, index in FRAMES[part]:
        frame = read_frame(rooms / room, index)
        whole = torch.cat([frame.rgb, frame.disparity[None]])
        places = torch.rand(32, 2, generator=generator) * torch.tensor([whole.shape[1] - SIDE, whole.shape[2] - width])
        cut = [whole[:, top : top + SIDE, left : left + width] for top, left in places.long().tolist()]
        found.append(max(cut, key=lambda patch: patch[3].std()))
    return torch.stack(found)


def _seen(color: Tensor, density: Tensor, at: float) -> Float[Tensor, "b 4 h w"]:
    """Colours and disparity of planes `b k ...` seen from a camera that moved sideways by `at`, in prior space."""
    b, k, _, h, w = color.shape
    margin = (w - SIDE) / 2
    rows, columns = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    x = (columns + margin + at * SHIFT * PLANES[:, None, None]) / w * 2 - 1
    grid = torch.stack([x, (rows / h * 2 - 1).expand_as(x)], -1).repeat(b, 1, 1, 1)
    planes = torch.cat([color, density], 2).flatten(0, 1)
    moved = functional.grid_sample(planes, grid, align_corners=False, padding_mode="border").unflatten(0, (b, k))
    opacity = moved[:, :, 3:].sigmoid()
    opacity = torch.cat([torch.ones_like(opacity[:, :1]), opacity[:, 1:]], 1)  # behind all is a wall
    shown = torch.zeros(b, 4, h, SIDE)
    for plane in range(k):
        value = torch.cat([moved[:, plane, :3].sigmoid(), PLANES[plane].expand(b, 1, h, SIDE)], 1)
        shown = shown + opacity[:, plane] * (value - shown)
    return 2 * shown - 1


def nerf(rooms: Path, part: str, generator: torch.Generator, **_: Any) -> Problem:
    """A multiplane image from two photos, begun without a prior; it sees views between them, and the middle counts."""
    whole, noise = _patches(rooms, part, SIDE + 16, generator), 0.02
    level = (whole[:, None, 3] - PLANES[None, :, None, None]) / (PLANES[1] - PLANES[0])
    density = torch.logit((level + 1).clamp(1e-4, 1 - 1e-4))[:, :, None]
    color = torch.logit(whole[:, None, :3].clamp(0.01, 0.99)).expand(-1, len(PLANES), -1, -1, -1)
    photos = [_seen(color, density, at)[:, :3] for at in (-1.0, 1.0)]
    photos = [view + 2 * noise * torch.randn(view.shape, generator=generator) for view in photos]

    def data(x: Tensor | None, color: Tensor, density: Tensor) -> Tensor:
        views = [_seen(color, density, at)[:, :3] for at in (-1.0, 1.0)]
        return _misfit(torch.cat(views, 1), torch.cat(photos, 1), 2 * noise)

    def shown(color: Tensor, density: Tensor) -> Tensor:
        return _seen(color, density, 0.0)

    def between(generator: torch.Generator, color: Tensor, density: Tensor) -> Tensor:
        return _seen(color, density, 2 * torch.rand((), generator=generator).item() - 1)

    begun = _fitted(data, (torch.zeros_like(color), torch.full_like(density, -2.0)), 120)
    return Problem(load_prior("rooms-rgbd-24"), _seen(color, density, 0.0), begun, shown, data, 0.1, between)


def _fitted(data: Callable[..., Tensor], start: tuple[Tensor, ...], steps: int) -> tuple[Tensor, ...]:
    """Parameters after so many steps with the data alone: a prior joins fits that have begun."""
    parameters = [tensor.clone().requires_grad_() for tensor in start]
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        data(None, *parameters).backward()
        optimizer.step()
    return tuple(tensor.detach() for tensor in parameters)


def splats(rooms: Path, part: str, generator: torch.Generator, **_: Any) -> Problem:
    """2D Gaussians that blend to a patch: three pixels in ten are seen, one in ten has depth."""
    truth, noise, count = 2 * _patches(rooms, part, SIDE, generator) - 1, 0.04, 160
    b = len(truth)
    shares = torch.tensor([0.3, 0.3, 0.3, 0.1])[:, None, None]
    seen = torch.rand(b, 1, SIDE, SIDE, generator=generator) < shares
    measured = truth + 2 * noise * torch.randn(truth.shape, generator=generator)
    places = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), -1).flatten(0, 1)
    center = SIDE * torch.rand(b, count, 2, generator=generator)

    def show(center: Tensor, size: Tensor, value: Tensor) -> Tensor:
        squares = (places[None, :, None] + 0.5 - center[:, None]).square().sum(-1)
        share = (-squares * torch.exp(-2 * size)[:, None] / 2).softmax(-1)
        return (share @ value).transpose(1, 2).unflatten(2, (SIDE, SIDE))

    def data(x: Tensor, *parameters: Tensor) -> Tensor:
        return _misfit(torch.where(seen, x, 0.0), torch.where(seen, measured, 0.0), 2 * noise)

    start = (center, torch.full((b, count), 0.3), torch.zeros(b, count, 4))
    return Problem(load_prior("rooms-rgbd-24"), truth, start, show, data, 0.05)


def rays(rooms: Path, part: str, generator: torch.Generator, **_: Any) -> Problem:
    """Weights along 16 rays of each frame, of 4 x 4 pixels each, from blurred, noisy histograms of them."""
    prior, noise = load_prior("rays-64"), 0.02
    transform = RayWeights.for_card(prior.card)
    edges = transform.edges[None]
    found = []
    for room, index in FRAMES[part]:
        disparity = read_frame(rooms / room, index).disparity.unfold(0, 4, 4).unfold(1, 4, 4).flatten(2).flatten(0, 1)
        found.append(0.5 / disparity[torch.randperm(len(disparity), generator=generator)[:16]].clamp(min=0.051))
    weights = torch.stack([torch.histogram(each, edges[0])[0] for each in torch.cat(found)]) / 16
    kernel = torch.tensor([0.05, 0.25, 0.4, 0.25, 0.05])[None, None]

    def blurred(weights: Tensor) -> Tensor:
        return functional.conv1d(weights[:, None], kernel, padding=2)[:, 0]

    def weights_of(density: Tensor) -> Tensor:
        opacity = 1 - torch.exp(-functional.softplus(density))
        passed = torch.cumprod(torch.cat([torch.ones_like(opacity[:, :1]), 1 - opacity[:, :-1]], 1), 1)
        return opacity * passed

    measured = blurred(weights) + noise * torch.randn(weights.shape, generator=generator)
    return Problem(
        prior,
        transform(weights, edges.expand(len(weights), -1)),
        (torch.full_like(weights, -3.0),),
        lambda density: transform(weights_of(density), edges.expand(len(density), -1)),
        lambda x, density: _misfit(blurred(weights_of(density)), measured, noise),
        0.1,
    )


def photo(name: str, side: int = 48) -> Float[Tensor, "1 3 side side"]:
    """The middle of a photo that comes with scikit-image, reduced to a side, in prior space."""
    from skimage import data

    whole = torch.from_numpy(getattr(data, name)()[..., :3].copy()).permute(2, 0, 1).float() / 255
    short = min(whole.shape[1:])
    top, left = ((length - short) // 2 for length in whole.shape[1:])
    square = whole[None, :, top : top + short, left : left + short]
    return 2 * functional.interpolate(square, (side, side), mode="area") - 1


def blur(x: Tensor, width: float = 1.2) -> Tensor:
    """Gaussian blur of images."""
    taps = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / (2 * width**2))
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    padded = functional.pad(x, (5, 5, 5, 5), mode="reflect")
    return functional.conv2d(padded, kernel.expand(x.shape[1], 1, 11, 11), groups=x.shape[1])


def photos(
    part: str, generator: torch.Generator, prior: str, measure: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor], noise: float, side: int = 48,
) -> Problem:  # fmt: skip
    """A restoration of photos from what `measure` returns; `back` makes a start of it."""
    truth = torch.cat([photo(name, side) for name in PHOTOS[part]])
    measured = measure(truth)
    measured = measured + 2 * noise * torch.randn(measured.shape, generator=generator)
    return Problem(
        TiledPrior(load_prior(prior), overlap=8),
        truth,
        (back(measured),),
        lambda x: 1 * x,
        lambda x, _: _misfit(measure(x), measured, 2 * noise),
        0.03,
    )


def deblur(rooms: Path, part: str, generator: torch.Generator, prior: str) -> Problem:
    """Blur of 1.2 pixels, noise 0.04."""
    return photos(part, generator, prior, blur, lambda y: y, 0.04)


def trial(rooms: Path, part: str, generator: torch.Generator, prior: str) -> Problem:
    """Blur of 1.5 pixels of larger photos, noise 0.04: a first try by someone with a prior and a photo."""
    return photos(part, generator, prior, lambda x: blur(x, 1.5), lambda y: y, 0.04, side=96)


def inpaint(rooms: Path, part: str, generator: torch.Generator, prior: str) -> Problem:
    """70 % of the pixels missing, noise 0.02."""
    seen = torch.rand(1, 1, 48, 48, generator=generator) < 0.3
    return photos(part, generator, prior, lambda x: x * seen, lambda y: y * seen, 0.02)


def enlarge(rooms: Path, part: str, generator: torch.Generator, prior: str) -> Problem:
    """Means of 2 x 2 pixels, noise 0.02."""

    def halved(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2)

    return photos(part, generator, prior, halved, lambda y: functional.interpolate(y, scale_factor=2), 0.02)


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "nerf": nerf, "splats": splats, "rays": rays, "deblur": deblur, "inpaint": inpaint, "enlarge": enlarge,
    "trial": trial,
}  # fmt: skip


def make(name: str, rooms: Path, part: str, prior: str) -> Problem:
    """Return a problem by name; `part` is development or confirmation, which share no image and no noise."""
    generator = torch.Generator().manual_seed(0 if part == "development" else 1)
    return PROBLEMS[name](rooms=rooms, part=part, generator=generator, prior=prior)
