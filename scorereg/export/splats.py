r"""Gaussian splats as PLY, in the layout of 3DGS (Kerbl 2023, arXiv 2308.04079), which viewers of splats read.

A Gaussian has x, y, z, a normal (0), spherical harmonics of its colour ($f_{dc} = (c - 1/2) / C_0$ with
$C_0 = 1 / (2 \sqrt\pi)$, and 45 coefficients of degree 1 to 3, here 0), the logit of its opacity, the logarithms of
its standard deviations, and a quaternion with the real part first.
"""

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.export.coordinates import to_file
from scorereg.export.ply import write_table
from scorereg.scenes import Scene

__all__ = ["write_splats"]

_CONSTANT = 0.5 / math.sqrt(math.pi)  # the spherical harmonic of degree 0
_REST = 45  # coefficients of degree 1 to 3; viewers of a fixed layout want them
_LEAST = 1e-6  # of an opacity and of 1 minus it: the logit is finite


def write_splats(
    path: Path,
    scene: Scene,
    *,
    means: Float[Tensor, "n 3"],
    scales: Float[Tensor, "n 3"],
    quaternions: Float[Tensor, "n 4"],
    opacities: Float[Tensor, " n"],
    colors: Float[Tensor, "n 3"],
) -> None:
    """Write Gaussian splats of one color each as a PLY of 3DGS, in the coordinates of the scene's own files.

    Args:
        path: The file.
        scene: Whose scale and offset are undone.
        means: In metres.
        scales: Standard deviations along their axes in metres, above 0.
        quaternions: From their axes to the world, the real part first, of any length above 0.
        opacities: In [0, 1].
        colors: In [0, 1].

    Raises:
        OSError: If it cannot be written.
        ValueError: If a number is not finite, a scale not above 0, or an opacity outside of [0, 1].
    """
    values = [x.detach().double().cpu() for x in (means, scales, quaternions, opacities, colors)]
    if not all(bool(x.isfinite().all()) for x in values):
        raise ValueError(f"{path}: a number of a splat is not finite, so nothing was written. Fit again.")
    place, size, turn, opacity, color = values
    if not ((size > 0).all() and (turn.norm(dim=-1) > 0).all() and (opacity >= 0).all() and (opacity <= 1).all()):
        raise ValueError(f"{path}: scales and quaternions of splats must be above 0, and opacities in [0, 1].")
    zero = torch.zeros(len(place), 1).double()
    columns = [to_file(place, scene), zero.expand(-1, 3), (color - 0.5) / _CONSTANT, zero.expand(-1, _REST)]
    columns += [opacity.clamp(_LEAST, 1 - _LEAST).logit()[:, None], (size / scene.scale).log()]
    table = torch.cat([*columns, turn / turn.norm(dim=-1, keepdim=True)], 1).numpy()
    write_table(path, dict(zip(_NAMES, table.T, strict=True)))


_NAMES = (
    *"xyz", *(f"n{axis}" for axis in "xyz"), *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(_REST)),
    "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)),
)  # fmt: skip
