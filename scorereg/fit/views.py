"""Held-out views of a fit: rendered, measured against their photos, and written as pictures and metrics."""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg._io import write_beside
from scorereg.cameras import Rays
from scorereg.fit.fit import Fit
from scorereg.fit.pictures import paint_depth, paint_error, save, save_video
from scorereg.metrics import depth_abs_rel, lpips, psnr, ssim
from scorereg.scenes import Scene, camera_path

__all__ = ["View", "clear", "render_views", "summary", "write_metrics", "write_run", "write_views"]


@dataclass(frozen=True, eq=False)
class View:
    """One held-out view.

    Args:
        name: File name of its photo.
        rgb: Rendered color, in [0, 1].
        depth: Rendered planar depth, metres.
        photo: The photo.
        truth: True planar depth, metres, 0 where unknown; None where there is none.
    """

    name: str
    rgb: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    photo: Float[Tensor, "h w 3"]
    truth: Float[Tensor, "h w"] | None

    def metrics(self) -> dict[str, float | str | None]:
        """Return PSNR in dB, SSIM, LPIPS where its package is installed, and the relative depth error where known."""
        truth = self.truth if self.truth is not None and bool((self.truth > 0).any()) else None
        return {
            "view": self.name,
            "psnr": psnr(self.rgb, self.photo),
            "ssim": ssim(self.rgb, self.photo),
            "lpips": lpips(self.rgb, self.photo, net="vgg") if find_spec("lpips") else None,
            "depth_abs_rel": None if truth is None else depth_abs_rel(self.depth, truth),
        }

    def picture(self, near: float, far: float) -> Float[Tensor, "h wide 3"]:
        """Return photo, render and depth side by side, with true depth and depth error where the truth is known."""
        parts = [self.photo, self.rgb, paint_depth(self.depth, near, far)]
        if self.truth is not None:
            parts += [paint_depth(self.truth, near, far), paint_error(self.depth, self.truth)]
        return torch.cat(parts, 1)


def render_views(scene: Scene, image: Callable[[Rays], tuple[Tensor, Tensor, Tensor]]) -> list[View]:
    """Render the test views by a function from rays to color, planar depth and opacity, such as `Fit.image`."""
    views = []
    for index in scene.test:
        rgb, depth, _ = (x.cpu() for x in image(scene.cameras.image_rays(index)))
        truth = None if scene.depth is None else scene.depth[index].cpu()
        views.append(View(scene.filenames[index], rgb.clamp(0, 1), depth, scene.images[index].cpu(), truth))
    return views


def summary(views: list[View]) -> dict:
    """Return means over the views, and each view's own values under `views`."""
    each = [view.metrics() for view in views]

    def mean(name: str) -> float | None:
        values = [value for view in each if isinstance(value := view[name], float)]
        return statistics.fmean(values) if values else None

    return {**{name: mean(name) for name in ("psnr", "ssim", "lpips", "depth_abs_rel")}, "views": each}


def write_run(fit: Fit, views: list[View], metrics: dict, out: Path, *, video_frames: int) -> None:
    """Write metrics, history, a picture of each test view, the field and a video; each file is renamed into place."""
    clear(out)
    _write_text(out / "history.jsonl", "".join(json.dumps(values) + "\n" for values in fit.history))
    write_views(views, out, fit.scene.near, fit.scene.far)
    _save_field(fit, out / "field.pt")
    if video_frames > 0:
        save_video(_flight(fit, video_frames), out / "path.mp4")
    write_metrics(metrics, out)


def clear(out: Path) -> None:
    """Remove what an earlier fit left, its metrics first, so that they never stand beside another fit's pictures."""
    for old in (out / "metrics.json", out / "path.mp4", *(out / "views").glob("*.png")):
        old.unlink(missing_ok=True)


def write_views(views: list[View], out: Path, near: float, far: float) -> None:
    """Write a picture of each view into `out/views`, named after its photo."""
    stems = [Path(view.name).stem for view in views]
    if len(set(stems)) < len(stems):  # photos of one name in several folders
        stems = ["-".join(Path(view.name).with_suffix("").parts) for view in views]
    for stem, view in zip(stems, views, strict=True):
        save(view.picture(near, far), out / "views" / f"{stem}.png")


def write_metrics(metrics: dict, out: Path) -> None:
    """Write `metrics.json`; last, as its presence means that the run is complete."""
    _write_text(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")


def _flight(fit: Fit, frames: int) -> list[Tensor]:
    """Color beside depth along a closed path around the training cameras, at half the size."""
    scene = fit.scene
    cameras = scene.cameras[scene.train]
    path = camera_path(cameras, frames, depth=(scene.near * scene.far) ** 0.5)
    images = []
    for index in range(frames):
        rgb, depth, _ = (x.cpu() for x in fit.image(path.image_rays(index)[::2, ::2]))
        images.append(torch.cat([rgb, paint_depth(depth, scene.near, scene.far)], 1))
    return images


def _save_field(fit: Fit, path: Path) -> None:
    modules = {"field": fit.field, "proposal": fit.proposal}
    state = {name: module.state_dict() for name, module in modules.items() if isinstance(module, nn.Module)}
    write_beside(path, lambda beside: torch.save(state, beside))


def _write_text(path: Path, text: str) -> None:
    write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))
