"""Splats from photos: random points, Adam on random windows, and those that fade come back where others are needed."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from examples.own_renderer.splats.renderer import Splats
from scorereg.cameras import Cameras

RATES = {"mean": 4e-3, "size": 2e-2, "turn": 1e-2, "opacity": 1e-1, "colour": 4e-2}  # of Adam; metres for the means
FADED, MOVE = 0.02, 100  # opacity below which a Gaussian is moved, every so many steps


def random_splats(cameras: Cameras, photos: Tensor, count: int, near: float, far: float, draw: torch.Generator):
    """Gaussians on rays through random pixels, of their colours (grey of NaN), at depths that are even in log depth."""
    index, row, column = (torch.randint(n, (count,), generator=draw, device=draw.device) for n in photos.shape[:3])
    depth = near * (far / near) ** torch.rand(count, generator=draw, device=draw.device)
    rays = cameras.rays(index, torch.stack([column, row], -1) + 0.5)
    apart = (photos[..., 0].numel() / count) ** 0.5  # pixels between neighbours
    sizes = 0.5 * apart * depth / cameras.focal[0, 0]
    return Splats(rays.points(depth[:, None])[:, 0], photos[index, row, column].nan_to_num(0.5), sizes)


def fit(
    splats: Splats,
    cameras: Cameras,
    photos: Tensor,
    steps: int,
    draw: torch.Generator,
    *,
    windows: int = 8,
    size: int = 24,
    elsewhere: Callable[[int], Cameras | None] = lambda step: None,
    terms: Callable[[dict[str, Tensor]], Tensor | float] = lambda shown: 0.0,
) -> None:
    """Fit in place to photos (n, h, w, 3), by the mean absolute error of `windows` windows a step.

    Args:
        splats: What is fitted.
        cameras: Of the photos.
        photos: In [0, 1]; NaN at pixels that do not count.
        steps: Of Adam; its step falls to a tenth.
        draw: Source of all randomness, on the device of all else.
        windows: Of the photos a step.
        size: Rows and columns of a window.
        elsewhere: From the step to cameras of windows that no photo shows, and that are rendered behind the photos'.
        terms: From what is rendered to more terms of the loss.
    """
    groups = [{"params": [getattr(splats, name)], "lr": rate, "rate": rate} for name, rate in RATES.items()]
    optimiser = torch.optim.Adam(groups, eps=1e-15, fused=True)
    limit = torch.tensor([cameras.width - size + 1, cameras.height - size + 1], device=draw.device)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = group["rate"] * 0.1 ** (step / steps)
        index = torch.randint(len(cameras), (windows,), generator=draw, device=draw.device)
        corner = (torch.rand(windows, 2, generator=draw, device=draw.device) * limit).long()
        seen = cameras[index].windows(corner.float(), 1.0, width=size, height=size)
        inside = corner[:, None] + torch.arange(size, device=draw.device)[:, None]
        target = photos[index[:, None, None], inside[:, :, None, 1], inside[:, None, :, 0]].permute(0, 3, 1, 2)
        shown = splats(seen) if (more := elsewhere(step)) is None else splats(seen, more)
        loss = (shown["rgb"][:windows] - target)[target.isfinite()].abs().sum() / target.numel() + terms(shown)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % MOVE == MOVE - 1 and step < 0.8 * steps:
            _move_faded(splats, optimiser, draw)


@torch.no_grad()
def _move_faded(splats: Splats, optimiser: torch.optim.Adam, draw: torch.Generator) -> None:
    """Make each faded Gaussian a twin of one that is not, drawn by opacity, which becomes two of half its extent."""
    opacity = splats.opacity[:, 0].sigmoid()
    faded = (opacity < FADED).nonzero()[:, 0]
    if not 0 < len(faded) < len(opacity):
        return
    faded = faded[: len(opacity) - len(faded)]
    chosen = torch.multinomial(torch.where(opacity < FADED, 0.0, opacity), len(faded), generator=draw)
    splats.size[chosen] -= 0.47  # log 1.6
    left = (1 - opacity[chosen, None]).clamp_min(1e-4)
    splats.opacity[chosen] = (1 - left.sqrt()).logit()  # two in a row are as dense as one was
    for parameter in splats.parameters():
        parameter[faded] = parameter[chosen]
        for name in ("exp_avg", "exp_avg_sq"):
            optimiser.state[parameter][name][torch.cat([faded, chosen])] = 0
    splats.mean[faded] += splats.size[faded].exp() * torch.randn(len(faded), 3, generator=draw, device=draw.device)


@torch.no_grad()
def image(splats: Splats, camera: Cameras, size: int = 16) -> dict[str, Tensor]:
    """What one camera sees: colours (h, w, 3), depth (h, w), opacity (h, w), in windows of `size`."""
    rows, columns = -(-camera.height // size), -(-camera.width // size)
    corner = size * torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(-1).to(camera.pose)
    parts = splats(camera[[0] * len(corner)].windows(corner, 1.0, width=size, height=size))
    whole = {name: rearrange(x, "(r c) ... h w -> (r h) (c w) ...", r=rows) for name, x in parts.items()}
    return {name: x[: camera.height, : camera.width] for name, x in whole.items()}
