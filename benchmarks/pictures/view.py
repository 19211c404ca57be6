"""Draw the page of `scorereg view` as a browser shows it: `python -m benchmarks.pictures.view RUN... --out view.png`.

Needs Chromium and the extra view.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from benchmarks.pictures.chromium import Browser, opened
from scorereg import load_prior
from scorereg._io import write_beside
from scorereg.cli import one_line_errors
from scorereg.fit import Fit
from scorereg.viewer import Page


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of fits of one scene.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("view.png"),
    size: Annotated[tuple[int, int], typer.Option(help="Width and height of the window.")] = (1280, 800),
    layer: Annotated[str, typer.Option(help="What is shown: colour, depth or opacity.")] = "colour",
    points: Annotated[bool, typer.Option("--points", help="Points in place of the field.")] = False,
) -> None:
    """Open the page, wait until it is sharp, and write what it looks like."""
    fits = {run.name: Fit.load(run).with_photos() for run in runs}
    name = next(iter(fits.values())).scene.name
    page = Page(fits, port=0, prior=load_prior("rooms-rgbd-24"), title=f"scorereg: {name}")
    controls = page.controls
    controls.layer.value, controls.longest.value = layer, 512
    controls.points.value, controls.field.value = points, not points
    with opened(page.address, size) as browser:
        _wait(lambda: controls.words.content and (points or controls.status.content.startswith("512")))
        controls.status.content = controls.status.content.partition(",")[0]  # the seconds are another machine's
        browser.evaluate("document.querySelectorAll('.mantine-Notification-closeButton').forEach(x => x.click())")
        picture = _still(browser)
    page.stop()
    write_beside(out, lambda beside: Image.fromarray(picture).quantize(256).save(beside, format="PNG", optimize=True))


def _wait(condition, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ValueError("the page does not become sharp")
        time.sleep(0.2)


def _still(browser: Browser) -> np.ndarray:
    """The page when it has stopped changing."""
    before = browser.picture()
    for _ in range(20):
        time.sleep(1)
        now = browser.picture()
        if np.array_equal(before, now):
            break
        before = now
    return before


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
