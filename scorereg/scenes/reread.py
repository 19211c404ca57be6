"""The photos of a fit that was loaded, read from the scene's folder again and held against the run's cameras."""

from dataclasses import replace
from pathlib import Path

import torch

from scorereg.cameras import Cameras
from scorereg.files.said import gathered
from scorereg.scenes.capture import read_capture
from scorereg.scenes.folder import list_views
from scorereg.scenes.scene import Scene, SceneSource
from scorereg.scenes.split import with_split

__all__ = ["read_photos"]

_MOVED = 1e-3  # of the scene's far end, that a camera may be off; and of its lens


def read_photos(scene: Scene, path: Path | str | None = None) -> Scene:
    """Return a scene with photos, masks and depth from its folder; cameras, split, near and far stay as they are.

    Args:
        scene: As a run tells it.
        path: The scene's folder; that of the run, if not given.

    Raises:
        OSError: If it is not there, or a file cannot be read.
        ValueError: If it is another scene, or its folder is not known.
    """
    if path is None and scene.source is None:
        raise ValueError(f"the run does not say where the scene {scene.name} lies. Give its folder: --scene.")
    folder = Path(path if path is not None else scene.source.path)  # pyright: ignore[reportOptionalMemberAccess]
    if not folder.exists():
        raise FileNotFoundError(f"{folder}, the scene of the run, is not there. Give its folder: --scene.")
    source = scene.source or SceneSource("", len(scene.train))
    listing = list_views(folder) if source.split is None else with_split(list_views(folder), *source.split)
    with gathered():
        capture = read_capture(
            listing, folder, source.views, max_size=source.max_size,
            alpha=source.alpha, object_only=source.object_only,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
    _compare(scene, capture.cameras, capture.filenames, folder)
    depth = None if capture.depth is None else capture.depth * scene.scale
    read = {"images": capture.images, "depth": depth, "masks": capture.masks, "objects": capture.objects}
    device = scene.images.device
    return replace(scene, **{name: None if value is None else value.to(device) for name, value in read.items()})


def _compare(scene: Scene, found: Cameras, names: tuple[str, ...], folder: Path) -> None:
    """Check that a folder holds the photos of the run, at their places."""
    own = scene.cameras.to("cpu")
    cure = "Give the folder that was fitted (--scene), or fit again"
    if names != scene.filenames:
        odd = sorted(set(names) ^ set(scene.filenames))
        raise ValueError(f"{folder} has other photos than the run{f', {odd[0]!r:.80} for one' if odd else ''}. {cure}.")
    if (found.width, found.height) != (own.width, own.height):
        raise ValueError(
            f"{folder} has photos of {found.width}x{found.height}, but the run is of {own.width}x{own.height}. {cure}."
        )
    place = found.pose.clone()
    place[:, :, 3] *= scene.scale
    far = torch.cat([torch.ones(3), torch.tensor([scene.far])])
    moved = ((place - own.pose).abs() / far).amax((1, 2)) > _MOVED
    lens = torch.cat([found.focal / own.focal - 1, (found.center - own.center) / own.width], 1).abs().amax(1) > _MOVED
    if bool((moved | lens).any()):
        name = names[int((moved | lens).int().argmax())]
        raise ValueError(f"{folder}: the camera of {name} is not that of the run. {cure}.")
