# pyright: reportMissingImports=false
"""The same picture by gsplat (Ye 2024, arXiv 2409.06765), whose kernels need CUDA; it takes `renderer.render`'s place.

What differs: outside of a window, from 0.15 of its size on, the projection's Jacobian is held to be as it is there
(`renderer` does so from a slope of 1.5 on), and no list of Gaussians is cut short.
"""

import torch
from einops import rearrange
from torch import Tensor

from examples.own_renderer.splats.renderer import DENSEST, NEAREST, Splats
from scorereg.cameras import Cameras


def render(splats: Splats, cameras: Cameras) -> dict[str, Tensor]:
    """Colours on black (b, 3, h, w), planar depth over opacity in metres (b, h, w), opacity (b, h, w)."""
    from gsplat import rasterization

    shown, opacity, _ = rasterization(
        means=splats.mean,
        quats=quaternions(splats.turn),
        scales=splats.size.exp(),
        opacities=DENSEST * splats.opacity[:, 0].sigmoid(),
        colors=splats.colour.sigmoid(),
        viewmats=_camera_from_world(cameras),
        Ks=_intrinsics(cameras),
        width=cameras.width,
        height=cameras.height,
        near_plane=NEAREST,
        eps2d=0.3,
        packed=False,  # takes more memory and less time
        render_mode="RGB+ED",  # expected depth is that over opacity
    )
    shown = rearrange(shown, "b h w c -> b c h w")
    return {"rgb": shown[:, :3], "depth": shown[:, 3], "opacity": opacity[..., 0]}


def quaternions(turn: Tensor) -> Tensor:
    """Of rotations about `turn` (n, 3) by its length in radians: the real part first (n, 4)."""
    half = turn.norm(dim=-1, keepdim=True) / 2
    return torch.cat([half.cos(), torch.sinc(half / torch.pi) * turn / 2], -1)


def _camera_from_world(cameras: Cameras) -> Tensor:
    """The poses' inverses, as 4x4 matrices."""
    rotation = cameras.pose[:, :, :3].mT
    matrix = torch.eye(4).to(cameras.pose).repeat(len(cameras), 1, 1)
    matrix[:, :3] = torch.cat([rotation, -rotation @ cameras.pose[:, :, 3:]], -1)
    return matrix


def _intrinsics(cameras: Cameras) -> Tensor:
    """[[fx, 0, cx], [0, fy, cy], [0, 0, 1]] of each, pixels' centres at halves."""
    matrix = torch.diag_embed(torch.nn.functional.pad(cameras.focal, (0, 1), value=1.0))
    matrix[:, :2, 2] = cameras.center
    return matrix
