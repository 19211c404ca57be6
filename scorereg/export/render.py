"""Renders of a fit as a folder of pictures, with a video of a path."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from scorereg._io import check_folder, check_names, hold_folder
from scorereg.export.frames import Frame, render_frames
from scorereg.export.image_files import KINDS, write_frame
from scorereg.export.shots import Shot
from scorereg.export.targets import CAMERAS, VIDEO, check_no_photos, clear_renders
from scorereg.export.transforms_file import write_cameras
from scorereg.fit import Fit
from scorereg.fit.pictures import NO_FFMPEG, as_bytes, has_ffmpeg, paint_depth, save_video

__all__ = ["render_to_folder"]


def render_to_folder(
    fit: Fit, shots: Sequence[Shot], out: Path, *, what: Sequence[str] = ("color", "depth"), fps: int | None = None
) -> list[str]:
    """Render cameras and write `out/KIND/NAME.png`, `cameras.json`, and perhaps `video.mp4`.

    Args:
        fit: The fit.
        shots: The cameras.
        out: Folder, which no other run may use meanwhile; an earlier render in it is removed.
        what: Kinds of pictures: color, depth, opacity, normals, uncertainty; see `write_frame` for their units.
        fps: Frames a second of a video of color beside depth, at the pictures' size; None writes none.

    Returns:
        What was not written though it was asked for, one line each.

    Raises:
        OSError: If a file cannot be written, or another run holds the folder.
        ValueError: If a kind is unknown, or there is no camera.
    """
    kinds = tuple(dict.fromkeys(what))
    if not kinds or not set(kinds) <= set(KINDS):
        raise ValueError(f"--what must be some of {', '.join(KINDS)}, but is {', '.join(kinds) or 'empty'}.")
    if "uncertainty" in kinds and len(fit.members) < 2:
        raise ValueError("a fit of one member has no uncertainty. Fit several: scorereg fit --members 4.")
    if not shots:
        raise ValueError("there is no camera to render from. Give some.")
    if fps is not None and not 1 <= fps <= 240:
        raise ValueError(f"--fps must be 1 to 240, but is {fps}.")
    folders = [out, *(out / kind for kind in kinds)]
    check_no_photos(fit.scene, folders)
    check_names(out / CAMERAS, out / VIDEO)
    for folder in folders:
        check_folder(folder)
    with hold_folder(out):
        clear_renders(out)
        missing = _why_no_video(shots) if fps is not None else None
        film = []
        for frame in render_frames(fit, shots):
            write_frame(frame, out, kinds)
            if fps is not None and missing is None:
                film.append(as_bytes(_beside(frame, fit)))
        write_cameras(shots, fit.scene, out / CAMERAS)
        if film:  # last, as all else is there where it fails
            save_video(film, out / VIDEO, fps=fps or 1)
    return [] if missing is None else [missing]


def _why_no_video(shots: Sequence[Shot]) -> str | None:
    if not has_ffmpeg():
        return f"no video.mp4 was written, as there is no ffmpeg. {NO_FFMPEG}"
    sizes = {(shot.camera.width, shot.camera.height) for shot in shots}
    return (
        None if len(sizes) == 1 else f"no video.mp4 was written, as the pictures have {len(sizes)} sizes. Give --size."
    )


def _beside(frame: Frame, fit: Fit) -> Tensor:
    """Color beside depth, or one above the other where a picture is wider than high by more than two to one."""
    painted = paint_depth(frame.depth, fit.scene.near, fit.scene.far)
    return torch.cat([frame.rgb, painted], 1 if frame.rgb.shape[1] <= 2 * frame.rgb.shape[0] else 0)
