r"""Hypersim (Roberts et al. 2021): HDF5 colour without tone mapping, and distances along rays in place of depth.

    ai_VVV_NNN/images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5                  float16 [h, w, 3], radiance
    ai_VVV_NNN/images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5        float16 [h, w], distance
                                                 frame.IIII.render_entity_id.hdf5    int [h, w], -1: nothing was hit
                                                 frame.IIII.normal_cam.hdf5          float16 [h, w, 3]

The camera is `M_cam_from_uv` of the authors' `metadata_camera_parameters.csv`: a pixel's ray is r = M (u, v, 1), with u
from -1 to 1 to the right, v upwards, x right, y up, and z towards the viewer. With the image plane's normal
n = M_0 x M_1 (cross product of the first two columns), distance d becomes planar depth

    z = d |n . r| / (|n| |r|)

Scenes with a tilted lens, n not along the axis, are left out: the third row of M is then not (0, 0, -1).
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from scorereg._io import read_text
from scorereg.data.bad_frames import BadFrames
from scorereg.data.channels import COLOR, DEPTH
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.hdf5 import read_dataset
from scorereg.files.layouts.parsing import scene_name

__all__ = [
    "CAMERAS",
    "SPLIT",
    "find_hypersim",
    "is_hypersim",
    "is_tilted",
    "planar_depth",
    "read_hypersim_frame",
    "tone_map",
]

CAMERAS = "metadata_camera_parameters.csv"
SPLIT = "metadata_images_split_scene_v1.csv"
_TILT = 0.01  # largest relative change of depth, across half of the image, of a wall parallel to the image
_WIDTH = 1024
_BESIDE = ("", "contrib/mikeroberts3000", "evermotion_dataset/analysis", "analysis")


def is_hypersim(folders: Iterable[str]) -> bool:
    """Whether a folder with these folders in it is the `images` of a scene."""
    return any(name.startswith("scene_cam_") and name.endswith("_final_hdf5") for name in folders)


def find_hypersim(folder: Path, bad: BadFrames) -> list[Frame]:
    """Find the frames of a scene, by its folder `images`.

    Raises:
        FileNotFoundError: If the authors' table of cameras is not beside the scenes.
        ValueError: If the scene is not in the table.
    """
    scene = folder.resolve().parent
    table = _find(scene, CAMERAS)
    if table is None:
        raise FileNotFoundError(
            f"{scene.parent / CAMERAS} is missing. Each scene has its own lens, and some are tilted: put the table "
            "from contrib/mikeroberts3000 of apple/ml-hypersim there."
        )
    cameras = _cameras(table)
    if scene.name not in cameras:
        raise ValueError(f"{table} does not know the scene {scene.name}. Leave it out, or restore the table.")
    lens = cameras[scene.name]
    if is_tilted(lens):
        bad.left_out.append(f"{scene_name(scene)}: its lens is tilted")
        return []
    listed = _find(scene, SPLIT)
    split = _split(listed).get(scene.name) if listed else None
    frames = []
    for color in sorted(folder.glob("scene_cam_*_final_hdf5/frame.*.color.hdf5")):
        camera = color.parent.name.removeprefix("scene_").removesuffix("_final_hdf5")
        number = color.name.split(".")[1]
        if not number.isdigit() or (split is not None and (camera, int(number)) not in split):
            continue  # withdrawn by the authors
        geometry = color.parent.with_name(f"scene_{camera}_geometry_hdf5")
        frames.append(
            Frame(
                scene_name(scene), color, geometry / f"frame.{number}.depth_meters.hdf5", _focal(lens), 1.0, lens=lens,
                split=split[camera, int(number)] if split else None,
                maps=(("normal", geometry / f"frame.{number}.normal_cam.hdf5"),), reader=read_hypersim_frame,
            )
        )  # fmt: skip
    return frames


def is_tilted(lens: tuple[float, ...]) -> bool:
    """Return whether the image plane of `M_cam_from_uv` is not at right angles to the camera's axis."""
    return max(abs(lens[6]), abs(lens[7])) > _TILT * abs(lens[8])


def planar_depth(distance: np.ndarray, lens: tuple[float, ...]) -> np.ndarray:
    """Convert distances along rays, `[h, w]`, to planar depth."""
    matrix = np.array(lens, dtype=np.float64).reshape(3, 3)
    height, width = distance.shape
    u = (np.arange(width) + 0.5) * 2 / width - 1
    v = 1 - (np.arange(height) + 0.5) * 2 / height
    uv = np.stack([*np.broadcast_arrays(u, v[:, None]), np.ones((height, width))], -1)
    rays = uv @ matrix.T
    normal = np.cross(matrix[:, 0], matrix[:, 1])
    cosine = np.abs(rays @ normal) / (np.linalg.norm(rays, axis=-1) * np.linalg.norm(normal))
    return distance * cosine.astype(np.float32)


def tone_map(radiance: np.ndarray, entity: np.ndarray) -> np.ndarray:
    r"""Apply the authors' tone mapping: c = clip((s L)^{1/2.2}, 0, 1), with s such that the 90th percentile is 0.8.

    The percentile is of the brightness .3 R + .59 G + .11 B over the pixels that show a surface (`render_entity_id`
    other than -1); s is 1 if there are none, and 0 if the percentile is below 1e-4.

    Args:
        radiance: `[h, w, 3]`; values that are not finite become black.
        entity: `[h, w]`, `render_entity_id`.

    Returns:
        `[h, w, 3]` in [0, 1].
    """
    radiance = np.nan_to_num(radiance.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    hit = entity != -1
    scale = 1.0
    if hit.any():
        bright = float(np.percentile((radiance @ np.array([0.3, 0.59, 0.11], np.float32))[hit], 90))
        scale = 0.8**2.2 / bright if bright >= 1e-4 else 0.0
    return np.clip(np.maximum(scale * radiance, 0) ** (1 / 2.2), 0, 1)


def read_hypersim_frame(frame: Frame, maps: tuple[str, ...]) -> Planes:
    """Read some maps of a frame of `find_hypersim`.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the frame is black, has no depth, or its maps differ in size.
    """
    assert frame.color is not None
    assert frame.depth is not None
    assert frame.lens is not None
    color = metres = None
    distance = read_dataset(frame.depth, 2)
    if COLOR in maps:
        radiance = read_dataset(frame.color, 3)
        entity = read_dataset(Path(str(frame.depth).replace(".depth_meters.", ".render_entity_id.")), 2)
        if not radiance.shape[:2] == entity.shape == distance.shape:
            raise ValueError(
                f"{frame.color} has shape {radiance.shape}, render_entity_id {entity.shape}, depth_meters "
                f"{distance.shape}: all must have one size. Download the frame again."
            )
        color = tone_map(radiance, entity) * 255
        if not color.any():
            raise ValueError(f"{frame.color} is black: no light reaches what it sees. Leave the frame out.")
    if DEPTH in maps:
        known = np.isfinite(distance) & (distance > 0)
        if not known.any():
            raise ValueError(f"{frame.depth} has no depth at all: no pixel is finite and > 0. Leave the frame out.")
        metres = planar_depth(np.where(known, distance.astype(np.float32), np.float32(np.nan)), frame.lens)
    others = {}
    if "normal" in maps:
        normal = read_dataset(dict(frame.maps)["normal"], 3).astype(np.float32)
        others["normal"] = normal * np.array([1, -1, -1], np.float32)  # to y down and z forwards
    return Planes(color, metres, others)


def _focal(lens: tuple[float, ...]) -> tuple[float, float]:
    """Focal lengths in pixels of the published size, 1024x768."""
    depth = abs(lens[8])
    return _WIDTH / 2 * depth / lens[0], _WIDTH * 3 / 8 * depth / lens[4]


def _find(scene: Path, name: str) -> Path | None:
    """Find a table of the authors' repository beside the scene, above it, or in a checkout of the repository there."""
    for above in (scene, *list(scene.parents)[:3]):
        for sub in _BESIDE:
            if (above / sub / name).is_file():
                return above / sub / name
    return None


@lru_cache(maxsize=4)
def _cameras(path: Path) -> dict[str, tuple[float, ...]]:
    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    with _table(path, "cameras") as rows:
        return {row["scene_name"]: tuple(float(row[name]) for name in names) for row in rows}


@lru_cache(maxsize=4)
def _split(path: Path) -> dict[str, dict[tuple[str, int], str]]:
    """Read the split of the published frames: scene to (camera, frame) to `train`, `val` or `test`."""
    split: dict[str, dict[tuple[str, int], str]] = {}
    with _table(path, "frames") as rows:
        for row in rows:
            frames = split.setdefault(row["scene_name"], {})
            if row["included_in_public_release"] == "True":
                frames[row["camera_name"], int(row["frame_id"])] = row["split_partition_name"]
    return split


@contextmanager
def _table(path: Path, what: str) -> Iterator[csv.DictReader]:
    """The rows of a table, whose errors inside the block name the file."""
    text = read_text(path, "Download it again.")
    try:
        yield csv.DictReader(io.StringIO(text, newline=""))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        words = f"{error!r:.160}"
        raise ValueError(f"{path} is no table of Hypersim's {what} ({words}). Download it again.") from None
