"""Rendered depth for other programs: maps in the scene's own unit, and a scene that has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg._io import check_folder, hold_folder
from scorereg.export.frames import Frame
from scorereg.export.image_files import save_npy, write_depth_png
from scorereg.export.points import PointCloud, write_points
from scorereg.export.shots import Shot
from scorereg.export.targets import EXPORTER
from scorereg.export.transforms_file import write_cameras
from scorereg.fit.pictures import as_bytes, save_png
from scorereg.scenes import Scene

__all__ = ["STEP", "write_depth_maps", "write_scene"]

STEP = 0.001
"""Length of one step of a depth map, in the scene's unit: millimetres where that is the metre."""

_MARGIN = 0.9, 1.1  # factors that `load_scene` puts on near and far of a file


def write_depth_maps(frames: Sequence[Frame], scene: Scene, folder: Path) -> None:
    """Write the planar depth of each view in the scene's own unit: .npy, and 16-bit PNG in thousandths of it.

    Raises:
        OSError: If a file cannot be written.
    """
    check_folder(folder)
    with hold_folder(folder):
        for frame in frames:
            depth = (frame.depth.double() / scene.scale).float().numpy()
            save_npy(depth, folder / f"{frame.name}.npy")
            write_depth_png(depth, folder / f"{frame.name}.png", unit=STEP)


def write_scene(
    frames: Sequence[Frame],
    cloud: PointCloud,
    scene: Scene,
    folder: Path,
    *,
    photos: Mapping[str, Float[Tensor, "h w 3"]],
    masks: Mapping[str, Bool[Tensor, "h w"]],
    split: Mapping[str, str],
) -> None:
    """Write a folder that `load_scene` and nerfstudio read: transforms.json, images, rendered depth and points.

    Depth is in thousandths of the scene's unit, nerfstudio's default; `ply_file_path` names the points, from which
    splats may begin. Near and far are those of the fit.

    Args:
        frames: The views.
        cloud: Points of the fit.
        scene: The scene of the fit.
        folder: The folder.
        photos: Photos of views by name, as they were fitted; a view without one has its rendered color.
        masks: Pixels of photos that count, by name.
        split: `"train"` or `"test"` of views by name.

    Raises:
        OSError: If a file cannot be written.
    """
    for part in (folder, folder / "images", folder / "depth", *([folder / "masks"] if masks else [])):
        check_folder(part)
    with hold_folder(folder):
        entries = [_write_view(frame, scene, folder, photos, masks) for frame in frames]
        write_points(cloud, scene, folder / "points.ply")
        more = _about(frames, scene, split)
        shots = [Shot(frame.name, frame.camera) for frame in frames]
        write_cameras(shots, scene, folder / "transforms.json", files=entries, more=more)


def _write_view(
    frame: Frame,
    scene: Scene,
    folder: Path,
    photos: Mapping[str, Float[Tensor, "h w 3"]],
    masks: Mapping[str, Bool[Tensor, "h w"]],
) -> dict[str, str]:
    """Write the files of a view, and return their entries."""
    name = f"{frame.name}.png"
    save_png(as_bytes(photos.get(frame.name, frame.rgb)), folder / "images" / name)
    write_depth_png((frame.depth.double() / scene.scale).numpy(), folder / "depth" / name, unit=STEP)
    entry = {"file_path": f"images/{name}", "depth_file_path": f"depth/{name}"}
    if masks:  # nerfstudio takes one of every view or none
        whole = torch.ones(frame.depth.shape, dtype=torch.bool)
        counts = masks.get(frame.name, whole).to(torch.uint8).numpy() * np.uint8(255)
        save_png(counts, folder / "masks" / name)
        entry["mask_path"] = f"masks/{name}"
    return entry


def _about(frames: Sequence[Frame], scene: Scene, split: Mapping[str, str]) -> dict[str, Any]:
    """Entries of the whole scene."""
    about: dict[str, Any] = {**EXPORTER, "depth_unit_scale_factor": STEP, "ply_file_path": "points.ply"}
    about |= {"near": scene.near / scene.scale / _MARGIN[0], "far": scene.far / scene.scale / _MARGIN[1]}
    names = {part: [f"images/{f.name}.png" for f in frames if split.get(f.name) == part] for part in ("train", "test")}
    if names["train"] and names["test"]:  # nerfstudio takes all three lists or none
        about |= {"train_filenames": names["train"], "val_filenames": names["test"], "test_filenames": names["test"]}
    return about
