"""A fit that was loaded, measured on its held-out photos again."""

import json
from pathlib import Path
from typing import Any

from scorereg._io import read_json, write_beside
from scorereg.fit.fit import Fit
from scorereg.fit.views import render_views, summary

__all__ = ["compare_metrics", "measure_fit", "view_lines", "write_measured"]

_NAMES = ("psnr", "ssim", "lpips", "depth_abs_rel")
_TITLES = ("PSNR dB", "SSIM", "LPIPS", "depth abs-rel")
_ALIKE = {"psnr": 0.05, "ssim": 0.002, "lpips": 0.002, "depth_abs_rel": 0.002}


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
    return {"scene": scene.name, "seconds": fit.seconds, **summary(render_views(scene, fit.image))}


def write_measured(measured: dict[str, Any], path: Path) -> None:
    """Write the metrics as JSON.

    Raises:
        OSError: If the file cannot be written.
    """
    text = json.dumps(measured, indent=1) + "\n"
    write_beside(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def view_lines(measured: dict[str, Any]) -> list[str]:
    """Return a table of the metrics, a view a line, with the means in the last."""
    names = [name for name in _NAMES if any(view[name] is not None for view in measured["views"])]
    titles = [title for name, title in zip(_NAMES, _TITLES, strict=True) if name in names]
    wide = max(24, *(len(view["view"]) + 2 for view in measured["views"]))
    rows = [(view["view"], view) for view in measured["views"]] + [("mean", measured)]
    lines = [f"{'view':<{wide}}" + "".join(f"{title:>15}" for title in titles)]
    for name, values in rows:
        cells = (
            "" if values[key] is None else f"{values[key]:.2f}" if key == "psnr" else f"{values[key]:.4f}"
            for key in names
        )
        lines.append(f"{name:<{wide}}" + "".join(f"{cell:>15}" for cell in cells))
    return lines


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
    for name, most in _ALIKE.items():
        old, new = before.get(name), measured[name]
        if (old is None) != (new is None) or (isinstance(old, int | float) and not abs(new - old) <= most):
            differ.append(f"{name} was {old}, now {new}")
    if not differ:
        return None
    return f"{path} has other numbers: {'; '.join(differ)}. Did the photos change?"
