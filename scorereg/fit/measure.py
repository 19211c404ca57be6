"""A fit that was loaded, measured on its held-out photos again."""

import json
from functools import partial
from pathlib import Path
from typing import Any

from scorereg._io import printable, read_json, write_beside
from scorereg.fit.fitted import Fit
from scorereg.fit.views import render_views, summary

__all__ = ["compare_metrics", "measure_fit", "view_lines", "write_measured"]

_OTHERS = ("scene", "seconds", "views")  # entries that are no metric
_TITLES = {
    "psnr": "PSNR dB", "ssim": "SSIM", "lpips": "LPIPS", "depth_abs_rel": "depth abs-rel",
    "psnr_masked": "of the object", "color_spread_rank": "spread, rank", "color_spread_ause": "spread, AUSE",
    "depth_spread_rank": "depth's, rank", "depth_spread_ause": "depth's, AUSE",
}  # fmt: skip
_ALIKE = 0.05, 0.002  # of a PSNR in dB, and of other metrics: what they may differ by between devices


def measure_fit(fit: Fit) -> dict[str, Any]:
    """Return the metrics of a fit's held-out views: means, and each view's own under `views`.

    Args:
        fit: With its photos.

    Raises:
        ValueError: If no view was held out.
    """
    scene = fit.scene
    if not scene.test:
        raise ValueError(f"{scene.name}: no view was held out of the fit, so there is nothing to measure it on.")
    if not fit.has_photos:
        raise ValueError(f"{scene.name}: the fit has no photos to be measured on. Load them: fit.with_photos().")
    views = render_views(scene, partial(fit.image, spread=True))
    return {"scene": scene.name, "seconds": fit.seconds, **summary(views)}


def write_measured(measured: dict[str, Any], path: Path) -> None:
    """Write the metrics as JSON.

    Raises:
        OSError: If the file cannot be written.
    """
    text = json.dumps(measured, indent=1) + "\n"
    write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def view_lines(measured: dict[str, Any]) -> list[str]:
    """Return a table of the metrics, a view a line, with the means in the last."""
    views = measured["views"]
    names = [name for name in measured if name not in _OTHERS and any(view.get(name) is not None for view in views)]
    wide = max(24, *(len(view["view"]) + 2 for view in views))
    lines = [f"{'view':<{wide}}" + "".join(f"{_TITLES.get(name, name):>15}" for name in names)]
    for title, values in [*((view["view"], view) for view in views), ("mean", measured)]:
        lines.append(f"{printable(title):<{wide}}" + "".join(f"{_cell(name, values.get(name)):>15}" for name in names))
    return lines


def _cell(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.{2 if name.startswith('psnr') else 4}f}"


def compare_metrics(measured: dict[str, Any], path: Path) -> str | None:
    """Return a line that says in what metrics differ from those that the fit wrote; None where they agree.

    Args:
        measured: As `measure_fit` returned.
        path: The `metrics.json` of the run.

    Raises:
        ValueError: If the file is damaged.
    """
    if not path.is_file():
        return f"{path} is missing, so there is nothing to compare with."
    before = read_json(path, "Fit again.")
    differ = []
    for name in (name for name in measured if name not in _OTHERS):
        old, new, most = before.get(name), measured[name], _ALIKE[not name.startswith("psnr")]
        if (old is None) != (new is None) or (isinstance(old, int | float) and not abs(new - old) <= most):
            differ.append(f"{name} was {old}, now {new}")
    if not differ:
        return None
    return f"{path} has other numbers: {'; '.join(differ)}. Did the photos change?"
