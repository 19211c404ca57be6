"""Views of a fit: rendered, measured against their photos where these were held out, and written as pictures."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scorereg._io import write_beside
from scorereg._progress import steps
from scorereg.cameras import Rays
from scorereg.fit.pictures import COLOR_SPREAD, DEPTH_SPREAD, hatch, paint_depth, paint_error, paint_spread, save
from scorereg.metrics import ause, depth_abs_rel, lpips, lpips_lacks, psnr, rank_correlation, ssim, windows_count
from scorereg.scenes import Scene

__all__ = [
    "RESULTS",
    "TRAINING",
    "View",
    "clear",
    "picture_names",
    "render_views",
    "summary",
    "write_metrics",
    "write_views",
]


TRAINING = "train-"
"""What the names of pictures of training views begin with."""

RESULTS = ("metrics.json", "fit.json", "weights.safetensors", "contact.png", "path.mp4")
"""Files of a run that are of one fit, the one first whose presence means that the run is complete."""


_OPTIONAL = (
    "psnr_masked", "color_spread_rank", "color_spread_ause", "depth_spread_rank", "depth_spread_ause",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class View:
    """One view beside its photo.

    Args:
        name: File name of its photo.
        rgb: Rendered color, in [0, 1].
        depth: Rendered planar depth, metres.
        photo: The photo.
        truth: True planar depth, metres, 0 where unknown; None where there is none.
        mask: Pixels of the photo that count; None where all do.
        shown: Pixels of these that show the scene's object; None where there is no mask of it.
        color_spread: How far the members of an ensemble differ in color: `rendering.spread_of`; None without members.
        depth_spread: The same of depth.
    """

    name: str
    rgb: Float[Tensor, "h w 3"]
    depth: Float[Tensor, "h w"]
    photo: Float[Tensor, "h w 3"]
    truth: Float[Tensor, "h w"] | None
    mask: Bool[Tensor, "h w"] | None = None
    shown: Bool[Tensor, "h w"] | None = None
    color_spread: Float[Tensor, "h w"] | None = None
    depth_spread: Float[Tensor, "h w"] | None = None

    def metrics(self) -> dict[str, float | str | None]:
        """Return PSNR in dB, SSIM, LPIPS where it can be computed, and the relative depth error where known.

        They are over the pixels that count, and None where there are none. Where there is a mask of the object,
        `psnr_masked` is over its pixels. Of an ensemble, `color_spread_rank` and `depth_spread_rank` are the rank
        correlations of the members' spread with the error, absolute of color and relative of depth, and
        `color_spread_ause` and `depth_spread_ause` the areas under the sparsification curve.
        """
        truth, mask = self.known_truth(), self.mask
        some = mask is None or bool(mask.any())
        windows = mask is None or bool(windows_count(mask).any())
        values = {
            "view": self.name,
            "psnr": psnr(self.rgb, self.photo, mask) if some else None,
            "ssim": ssim(self.rgb, self.photo, mask) if windows else None,
            "lpips": lpips(self.rgb, self.photo, net="vgg", mask=mask) if some and lpips_lacks("vgg") is None else None,
            "depth_abs_rel": depth_abs_rel(self.depth, truth) if truth is not None and bool(truth.any()) else None,
        }
        if self.shown is not None:
            values["psnr_masked"] = psnr(self.rgb, self.photo, self.shown)
        return values | self.spread_metrics()

    def spread_metrics(self) -> dict[str, float | None]:
        """Return how well the members' spread tells where the errors are; nothing of a single fit."""
        values, truth = {}, self.known_truth()
        counts = torch.ones_like(self.depth, dtype=torch.bool) if self.mask is None else self.mask
        if self.color_spread is not None and bool(counts.any()):
            error = (self.rgb - self.photo).abs().mean(-1)
            values |= _agreement("color_spread", self.color_spread[counts], error[counts])
        if self.depth_spread is not None and truth is not None and bool((truth > 0).any()):
            known = truth > 0
            error = (self.depth - truth).abs()[known] / truth[known]
            values |= _agreement("depth_spread", self.depth_spread[known], error)
        return values

    def known_truth(self) -> Float[Tensor, "h w"] | None:
        """Return the true depth at the pixels that count, 0 elsewhere."""
        return self.truth if self.truth is None or self.mask is None else torch.where(self.mask, self.truth, 0.0)

    def picture(self, near: float, far: float) -> Float[Tensor, "h wide 3"]:
        """Return photo, render and depth side by side, with true depth and depth error where the truth is known.

        Of an ensemble, the members' spread in color and in depth are the last. Masked pixels of all but what is
        rendered are hatched.
        """
        return torch.cat(self.images(near, far), 1)

    def images(self, near: float, far: float) -> list[Float[Tensor, "h w 3"]]:
        """Return what `picture` shows, one by one."""
        truth, parts = self.known_truth(), [hatch(self.photo, self.mask), self.rgb, paint_depth(self.depth, near, far)]
        if truth is not None:
            painted = [paint_depth(truth, near, far), paint_error(self.depth, truth)]
            parts += [hatch(image, self.mask) for image in painted]
        if self.color_spread is not None and self.depth_spread is not None:
            parts += [paint_spread(self.color_spread, COLOR_SPREAD), paint_spread(self.depth_spread, DEPTH_SPREAD)]
        return parts


def _agreement(name: str, spread: Tensor, error: Tensor) -> dict[str, float | None]:
    return {f"{name}_rank": rank_correlation(spread, error), f"{name}_ause": ause(spread, error)}


def render_views(
    scene: Scene, image: Callable[[Rays], tuple[Tensor | None, ...]], views: Sequence[int] | None = None
) -> list[View]:
    """Render views by a function from rays to color, planar depth and opacity, such as `Fit.image`.

    It may return the spreads of color and depth as well, as `Fit.image(rays, spread=True)`.

    Args:
        scene: Cameras, photos, true depth and masks.
        image: The function.
        views: Indices of the views; the test views, if not given.
    """
    rendered = []
    for index in steps("rendering views", scene.test if views is None else views):
        rgb, depth, _, *spreads = (None if x is None else x.cpu() for x in image(scene.cameras.image_rays(index)))
        assert rgb is not None
        assert depth is not None
        truth, mask = (None if x is None else x[index].cpu() for x in (scene.depth, scene.masks))
        photo, shown = scene.images[index].cpu(), _shown(scene, index)
        rendered.append(View(scene.filenames[index], rgb.clamp(0, 1), depth, photo, truth, mask, shown, *spreads))
    return rendered


def _shown(scene: Scene, index: int) -> Bool[Tensor, "h w"] | None:
    """Pixels of a view that show the object and count; None if none do."""
    if scene.objects is None:
        return None
    shown = scene.objects[index] if scene.masks is None else scene.objects[index] & scene.masks[index]
    return shown.cpu() if bool(shown.any()) else None


def summary(views: list[View]) -> dict:
    """Return means over the views, and each view's own values under `views`."""
    each = [view.metrics() for view in views]

    def mean(name: str) -> float | None:
        values = [value for view in each if isinstance(value := view.get(name), float)]
        return statistics.fmean(values) if values else None

    names = ["psnr", "ssim", "lpips", "depth_abs_rel"]
    names += [name for name in _OPTIONAL if any(name in view for view in each)]
    return {**{name: mean(name) for name in names}, "views": each}


def clear(out: Path) -> None:
    """Remove what an earlier fit left, its metrics first, so that they never stand beside another fit's pictures."""
    for old in (*(out / name for name in (*RESULTS, "field.pt")), *(out / "views").glob("*.png")):
        old.unlink(missing_ok=True)


def write_views(views: list[View], out: Path, near: float, far: float, prefix: str = "") -> None:
    """Write a picture of each view into `out/views`, named after its photo, with a prefix."""
    for stem, view in zip(picture_names([Path(view.name) for view in views]), views, strict=True):
        save(view.picture(near, far), out / "views" / f"{prefix}{stem}.png")


def write_metrics(metrics: dict, out: Path) -> None:
    """Write `metrics.json`; last, as its presence means that the run is complete."""
    _write_text(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")


def picture_names(names: list[Path]) -> list[str]:
    """Names of pictures, each its own: those of the photos, with their folders or numbers only where needed."""
    stems = [name.stem for name in names]
    if len(set(stems)) < len(stems):  # photos of one name in several folders
        stems = ["-".join(p for p in name.with_suffix("").parts if p not in ("..", name.anchor)) for name in names]
    return stems if len(set(stems)) == len(stems) else [f"{i}-{name.stem}" for i, name in enumerate(names)]


def _write_text(path: Path, text: str) -> None:
    write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))
