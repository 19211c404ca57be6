"""A ray-cast room as photos of any lens, and how well a loaded scene agrees with it: the measure of these tests.

A scene that was read right shows, from each of its cameras, what the room shows from there. `agreement` ray-casts the
room from the loaded cameras and compares; poses, lens, turning, size, masks and colours are checked at once, whatever
way they took.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.hostile.samples import look_around

WIDTH, HEIGHT, FOCAL = 96, 72, 80.0
HALF = np.array([2.0, 1.3, 2.5])  # of the room, in metres
FINE = 3  # rays of a pixel along each side
POSES = [look_around(i) for i in range(6)]
RIGHT = 30.0
"""PSNR in dB from which on photos and cameras agree; the right reading of an 8-bit file has more than 40."""


def photo(pose, *, width=WIDTH, height=HEIGHT, focal=FOCAL, lens: Callable | None = None):
    """Photo of 8 bits and planar depth; `lens` moves points of the plane z = 1 to where the lens shows them."""
    goal = _plane(width, height, (focal, focal), (width / 2, height / 2))
    ray = goal.copy()
    for _ in range(60 if lens else 0):  # the straight ray whose image is at the pixel
        ray = ray + 0.7 * (goal - lens(ray))
    ray = np.concatenate([ray, np.ones_like(ray[..., :1])], -1) @ pose[:, :3].T
    color, depth = walls(pose[:, 3], ray)
    return (255 * _mean(color)).round().astype(np.uint8), depth[FINE // 2 :: FINE, FINE // 2 :: FINE]


def _plane(width, height, focal, center):
    """Points of the plane z = 1 that pixels show, `FINE` x `FINE` for each."""
    v, u = (np.mgrid[: FINE * height, : FINE * width] + 0.5) / FINE
    return np.stack([(u - center[0]) / focal[0], (v - center[1]) / focal[1]], -1)


def _mean(fine):
    return fine.reshape(fine.shape[0] // FINE, FINE, fine.shape[1] // FINE, FINE, -1).mean((1, 3))


def walls(origin, ray):
    """Color of the room where rays end, and how far along them."""
    with np.errstate(divide="ignore"):
        ends = np.where(ray > 0, (HALF - origin) / ray, (-HALF - origin) / ray)
    depth = ends.min(-1)
    hit = origin + depth[..., None] * ray
    tint = np.eye(3)[ends.argmin(-1)] * 0.2 + 0.4
    waves = np.sin(hit @ np.array([[6.0, 2, 1], [2, 7, 4], [3, 1, 8]]) + [0, 1, 2])
    return (tint + 0.25 * waves + 0.1 * np.sin(9 * hit.sum(-1) + 5 * hit[..., 0])[..., None]).clip(0, 1), depth


def brown(k1=0.0, k2=0.0, p1=0.0, p2=0.0):
    """Brown's lens on the plane z = 1."""

    def bend(ray):
        x, y = ray[..., 0], ray[..., 1]
        r2 = x * x + y * y
        s = 1 + k1 * r2 + k2 * r2 * r2
        return np.stack(
            [x * s + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * s + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
        )

    return bend


def fisheye(k1=0.0, k2=0.0, k3=0.0, k4=0.0):
    """OpenCV's fisheye on the plane z = 1."""

    def bend(ray):
        r = np.linalg.norm(ray, axis=-1, keepdims=True).clip(1e-9)
        t = np.arctan(r)
        bent = t * (1 + t**2 * (k1 + t**2 * (k2 + t**2 * (k3 + t**2 * k4))))
        return ray * bent / r

    return bend


def opengl(pose):
    """4x4 camera-to-world matrix in OpenGL axes, as transforms.json has it."""
    return (np.vstack([pose, [0, 0, 0, 1]]) * [1, -1, -1, 1]).tolist()


def write_scene(folder: Path, *, name="images/{}.png", save=None, table=None, frame=None, count=6, **optics) -> Path:
    """Write photos and transforms.json.

    Args:
        folder: Created.
        name: Photo of each number.
        save: Called with the photo as an array, its depth and its path, in place of Pillow.
        table: Changes the table of the file.
        frame: Changes the entry of each frame, given its number.
        count: Number of photos.
        optics: Passed to `photo`.
    """
    entries = []
    for i in range(count):
        path = folder / name.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        color, depth = photo(POSES[i], **optics)
        (save or save_png)(color, depth, path)
        entry = {"file_path": name.format(i), "transform_matrix": opengl(POSES[i])}
        if frame is not None:
            frame(entry, i)
        entries.append(entry)
    head = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2, "w": WIDTH, "h": HEIGHT}
    whole = {**head, "near": 0.6, "far": 6.0, "metric": True, "frames": entries}
    if table is not None:
        table(whole)
    (folder / "transforms.json").write_text(json.dumps(whole), encoding="utf-8")
    return folder


def save_png(color, depth, path):
    """Write the photo by Pillow."""
    Image.fromarray(color).save(path)


def drop(*names):
    """A change of a table that leaves entries out."""
    return lambda table: [table.pop(name, None) for name in names]


def put(**entries):
    """A change of a table that sets entries."""
    return lambda table, *_: table.update(entries)


def agreement(scene, *, gray=False, color=None, shift=(0.0, 0.0, 0.0)) -> float:
    """PSNR in dB of the loaded photos to what the room shows from the loaded cameras; the worst of all views.

    Args:
        scene: As loaded.
        gray: Whether the photos were written without color.
        color: What was done to the color of the room before it was written, of arrays in [0, 1].
        shift: Where the file has the room's middle.
    """
    worst, offset = float("inf"), np.array(scene.offset) - np.array(shift)
    for i in range(len(scene.images)):
        pose = scene.cameras.pose[i].double().numpy().copy()
        pose[:, 3] = pose[:, 3] / scene.scale + offset
        seen = _cast(pose, scene.cameras, i)
        seen = seen if color is None else color(seen)
        if gray:
            seen = np.repeat((seen @ [0.299, 0.587, 0.114])[..., None], 3, -1)
        gap = (scene.images[i].double().numpy() - seen)[2:-2, 2:-2]
        if scene.masks is not None:
            gap = gap[scene.masks[i].numpy()[2:-2, 2:-2]]
        worst = min(worst, -10 * np.log10(max((gap**2).mean(), 1e-10)))
    return worst


def _cast(pose, cameras, i):
    plane = _plane(cameras.width, cameras.height, cameras.focal[i].tolist(), cameras.center[i].tolist())
    ray = np.concatenate([plane, np.ones_like(plane[..., :1])], -1) @ pose[:, :3].T
    return _mean(walls(pose[:, 3], ray)[0])
