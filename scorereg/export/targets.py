"""Folders that results are written into: they may hold older results, and nothing of anyone else."""

from collections.abc import Iterable
from pathlib import Path

from scorereg._io import read_json
from scorereg.export.image_files import KINDS
from scorereg.scenes import Scene

__all__ = ["CAMERAS", "EXPORTER", "VIDEO", "check_no_photos", "check_no_scene", "clear_renders"]

CAMERAS, VIDEO = "cameras.json", "video.mp4"
EXPORTER = {"exporter": "scorereg"}
"""Entry by which a scene that was exported is known."""

_ENDINGS = (".png", ".npy", ".exr")


def check_no_photos(scene: Scene, folders: Iterable[Path]) -> None:
    """Check that pictures are not written beside the photos of the scene, which may have their names.

    Raises:
        ValueError: If they would be.
    """
    if scene.source is None:
        return
    places = {(Path(scene.source.path) / name).parent.resolve() for name in scene.filenames}
    for folder in folders:
        if folder.resolve() in places:
            raise ValueError(f"{folder} holds photos of the scene, which could be written over. Name another folder.")


def check_no_scene(folder: Path) -> None:
    """Check that a folder holds no scene but one that was exported.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it does.
    """
    path = folder / "transforms.json"
    if not path.exists():
        return
    cure = f"Name another folder than {folder}, or remove it."
    if not EXPORTER.items() <= read_json(path, cure).items():
        raise ValueError(f"{path} is of a scene that was not exported by scorereg. {cure}")


def clear_renders(out: Path) -> None:
    """Remove the pictures of an earlier render, as its `cameras.json` names them, so that two are never mixed."""
    path = out / CAMERAS
    if not path.is_file():
        return
    try:
        frames = read_json(path, "").get("frames")
    except (OSError, ValueError):
        frames = None
    entries = frames if isinstance(frames, list) else []
    names = {Path(str(entry.get("file_path"))).stem for entry in entries if isinstance(entry, dict)}
    path.unlink()
    (out / VIDEO).unlink(missing_ok=True)
    for name in names:
        for kind in KINDS:
            for ending in _ENDINGS:
                (out / kind / f"{name}{ending}").unlink(missing_ok=True)
