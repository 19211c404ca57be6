"""Small RGB-D folders in each layout that the library reads, for the tests of training."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, FOCAL = 40, 32, 30.0


def picture(seed: int, width: int = WIDTH, height: int = HEIGHT) -> tuple[np.ndarray, np.ndarray]:
    """A colour ramp and a slanted wall from 1 m to 3 m, in millimetres, both a little different for each seed."""
    y, x = np.mgrid[0:height, 0:width]
    color = np.stack([x * 6 % 256, y * 7 % 256, (x + y + 10 * seed) % 256], -1).astype(np.uint8)
    return color, (1000 + 50 * x * (1 + seed % 3) / 3).astype(np.uint16)


def write_frame(color: Path, depth: Path, seed: int = 0, **size: int) -> None:
    """Write one photo (lossless where the name allows) and its depth map."""
    rgb, z = picture(seed, **size)
    for path, image in ((color, rgb), (depth, z)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def transforms(folder: Path, frames: int = 2, *, seed: int = 0) -> Path:
    """Nerfstudio's layout."""
    entries = []
    for i in range(frames):
        write_frame(folder / f"{i}.png", folder / f"{i}.depth.png", seed + i)
        entries.append({"file_path": f"{i}.png", "depth_file_path": f"{i}.depth.png", "fl_x": FOCAL, "fl_y": FOCAL})
    meta = {"w": WIDTH, "h": HEIGHT, "depth_unit_scale_factor": 0.001, "frames": entries}
    (folder / "transforms.json").write_text(json.dumps(meta))
    return folder


def rooms(folder: Path, frames: int = 2) -> Path:
    """The layout of freshly rendered rooms."""
    entries = []
    for i in range(frames):
        write_frame(folder / f"{i}.jpg", folder / f"{i}.depth.png", i)
        entries.append({"image": f"{i}.jpg", "depth": f"{i}.depth.png", "fx": FOCAL, "fy": FOCAL})
    (folder / "frames.json").write_text(json.dumps({"depth_unit_m": 0.001, "frames": entries}))
    return folder


def pairs(folder: Path, frames: int = 2) -> Path:
    """The layout of NYU: two folders and one camera."""
    for i in range(frames):
        write_frame(folder / "rgb" / f"{i}.jpg", folder / "depth" / f"{i}.png", i)
    meta = {"fl_x": FOCAL, "fl_y": FOCAL, "depth_unit_scale_factor": 0.001}
    (folder / "intrinsics.json").write_text(json.dumps(meta))
    return folder


def kinect(folder: Path, frames: int = 2) -> Path:
    """The layout of 7-Scenes."""
    for i in range(frames):
        write_frame(folder / f"frame-{i:06}.color.jpg", folder / f"frame-{i:06}.depth.png", i)
    (folder / "camera-intrinsics.txt").write_text(f"{FOCAL} 0 20\n0 {FOCAL} 16\n0 0 1\n")
    return folder
