"""Cameras as `transforms.json`, with nerfstudio's keys and the scene's own coordinates."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scorereg._io import write_beside
from scorereg.export.coordinates import matrices_of
from scorereg.export.shots import Shot
from scorereg.scenes import Scene

__all__ = ["write_cameras"]


def write_cameras(
    shots: Sequence[Shot],
    scene: Scene,
    path: Path,
    *,
    files: Sequence[Mapping[str, str]] | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write cameras: OpenGL's axes, camera-to-world, in the coordinates of the scene's own files.

    Args:
        shots: The cameras.
        scene: Whose scale and offset are undone.
        path: The file.
        files: Entries of each frame; names of colors in `color/`, if not given.
        more: Entries of the whole file.

    Raises:
        OSError: If it cannot be written.
    """
    named = [{"file_path": f"color/{shot.name}.png"} for shot in shots] if files is None else files
    frames = [
        {**entry, **_lens(shot), "transform_matrix": matrices_of(shot.camera, scene)[0]}
        for shot, entry in zip(shots, named, strict=True)
    ]
    shared = {key: frames[0][key] for key in _LENS if len({frame[key] for frame in frames}) == 1}
    frames = [{key: value for key, value in frame.items() if key not in shared} for frame in frames]
    table = {"camera_model": "OPENCV", **shared, "metric": scene.metric, **(more or {}), "frames": frames}
    text = json.dumps(table, indent=1) + "\n"
    write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))


_LENS = ("fl_x", "fl_y", "cx", "cy", "w", "h")


def _lens(shot: Shot) -> dict[str, float | int]:
    camera = shot.camera
    numbers = (*camera.focal[0].tolist(), *camera.center[0].tolist(), camera.width, camera.height)
    return dict(zip(_LENS, numbers, strict=True))
