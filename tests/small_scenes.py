"""Small scenes for the tests of runs: one on disk, and a fit whose truth is a formula."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scorereg.cameras import Cameras
from scorereg.fit import Fit, Recipe
from scorereg.scenes import Scene

RADIUS = 1.0
VIEWS = 10


def write_room(folder: Path, *, count: int = 4, shift: float = 0.0) -> Path:
    """A folder of photos 32x24 of a wall at 2 m, of which the first two are for training."""
    folder.mkdir(exist_ok=True)
    frames = []
    for i in range(count):
        y, x = np.mgrid[:24, :32]
        photo = np.stack([x * 8, y * 10, (x + y + i) * 4 % 256], -1).astype(np.uint8)
        Image.fromarray(photo).save(folder / f"{i}.png")
        Image.fromarray(np.full((24, 32), 2000, np.uint16)).save(folder / f"{i}.depth.png")
        pose = np.eye(4)
        pose[0, 3] = 0.1 * i + shift * (i == 1)
        frames.append({"file_path": f"{i}.png", "depth_file_path": f"{i}.depth.png", "transform_matrix": pose.tolist()})
    names = [f"{i}.png" for i in range(count)]
    table = {
        "fl_x": 30, "fl_y": 30, "cx": 16, "cy": 12, "w": 32, "h": 24, "near": 1.0, "far": 4.0, "frames": frames,
        "train_filenames": names[:2], "test_filenames": names[2:],
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(table))
    return folder


def ball_density(points: torch.Tensor) -> torch.Tensor:
    """An opaque ball of RADIUS at the origin, sharp to a centimetre."""
    return 400 * torch.sigmoid((RADIUS - points.norm(dim=-1)) * 200)


def ball_color(points: torch.Tensor) -> torch.Tensor:
    return (points / 2 + 0.5).clamp(0, 1)


def ring(count: int, width: int, height: int) -> Cameras:
    """Cameras around the origin, some from above and some from below, that look at it."""
    poses = []
    for i in range(count):
        angle = 2 * math.pi * i / count
        origin = torch.tensor([3 * math.cos(angle), 1.4 * math.sin(2.1 * i), 3 * math.sin(angle)])
        forward = torch.nn.functional.normalize(-origin, dim=0)
        right = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), forward), dim=0)
        poses.append(torch.stack([right, torch.linalg.cross(forward, right), forward, origin], -1))
    focal, center = torch.full((count, 2), float(width)), torch.tensor([[width / 2, height / 2]]).repeat(count, 1)
    return Cameras(torch.stack(poses), focal, center, width, height)


def ball_fit(*, scale: float = 1.0, offset: tuple[float, float, float] = (0.0, 0.0, 0.0), empty: bool = False) -> Fit:
    """A fit that is the ball exactly."""
    cameras = ring(VIEWS, 48, 36)
    names = tuple(f"{i}.png" for i in range(VIEWS))
    photos = torch.rand(VIEWS, 36, 48, 3, generator=torch.Generator().manual_seed(0))
    train, test = tuple(range(0, VIEWS, 2)), tuple(range(1, VIEWS, 2))
    scene = Scene("ball", photos, cameras, None, train, test, 1.5, 5.0, scale, scale == 1, names, offset=offset)

    def density(points):
        return ball_density(points) * (0 if empty else 1)

    def field(points, directions):
        return density(points), ball_color(points)

    recipe = Recipe(samples=24, proposal_samples=64)
    return Fit(scene, field, density, recipe, 1.0, [])
