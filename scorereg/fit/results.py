"""All files of a fit that is complete, each whole or not there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from scorereg._progress import steps
from scorereg.fit.contact import contact_sheet
from scorereg.fit.fitted import Fit
from scorereg.fit.pictures import as_bytes, paint_depth, save, save_video
from scorereg.fit.views import TRAINING, View, clear, write_metrics, write_views
from scorereg.scenes import camera_path

__all__ = ["write_run"]


def write_run(
    fit: Fit, held: list[View], trained: list[View], metrics: dict, out: Path, *, video_frames: int, whole: bool = True
) -> None:
    """Write the fit, a picture of each view, a contact sheet, a video and the metrics; each is renamed into place.

    Args:
        fit: The fit.
        held: The held-out views.
        trained: The training views to draw.
        metrics: Content of `metrics.json`.
        out: Folder of the run.
        video_frames: Frames of the video; 0 writes none.
        whole: Stop at the first file that cannot be written. If not, the others are written before the error is raised,
            `metrics.json` among them.

    Raises:
        OSError: If a file cannot be written.
    """
    clear(out)
    near, far = fit.scene.near, fit.scene.far
    writes: list[Callable[[], None]] = [
        lambda: fit.save(out),
        lambda: write_views(held, out, near, far),
        lambda: write_views(trained, out, near, far, TRAINING),
        lambda: save(contact_sheet(held, trained, near, far), out / "contact.png"),
        lambda: write_metrics(metrics, out),
    ]
    if video_frames > 0:
        writes.insert(-1, lambda: save_video(_flight(fit, video_frames), out / "path.mp4"))
    failed = None
    for write in writes:
        try:
            write()
        except OSError as error:
            if whole:
                raise
            failed = failed or error
    if failed is not None:
        raise failed


def _flight(fit: Fit, frames: int) -> list[np.ndarray]:
    """Color beside depth along a closed path around the training cameras, at half the size."""
    scene = fit.scene
    cameras = scene.cameras[scene.train]
    path = camera_path(cameras, frames, depth=(scene.near * scene.far) ** 0.5)
    images = []
    for index in steps("rendering the video", range(frames)):
        rgb, depth, _ = (x.cpu() for x in fit.image(path.image_rays(index)[::2, ::2]))
        images.append(as_bytes(torch.cat([rgb, paint_depth(depth, scene.near, scene.far)], 1)))
    return images
