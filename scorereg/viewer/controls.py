"""The controls at the side of the page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorereg.viewer.layers import LAYERS, OF_MEMBERS

__all__ = ["Controls", "add_controls", "on_change"]

ALONE = "none"
_HELP = """Drag to turn, right-drag to move, scroll to go nearer. A click on a **photo's frame** goes there: yellow ones
are training photos, blue ones were held out."""
_HELP_PRIOR = "Click anywhere for the prior's score there. Rows: colour, disparity. Columns: patch, denoised, score."


@dataclass(eq=False)
class Controls:
    """Handles of viser, each with a `value`, by what they set; None where there is nothing to choose.

    Args:
        fit: Whose field is shown.
        beside: Whose field the right part shows, or "none".
        divide: Where the right part begins, in percent of the width.
        layer: Name of one of `LAYERS`.
        field: Whether the field is shown.
        photos: Whether the photos' frames are.
        points: Whether the points are.
        longest: Pixels of the longer side of a full picture.
        status: A line of text.
        sigma: Noise level of the score.
        middle: Button for the score at the middle.
        picture: Picture of a score.
        words: Its size.
    """

    fit: Any
    beside: Any
    divide: Any
    layer: Any
    field: Any
    photos: Any
    points: Any
    longest: Any
    status: Any
    sigma: Any = None
    middle: Any = None
    picture: Any = None
    words: Any = None

    # Values are what a browser sent, so each is held against what its control offers.

    @property
    def names(self) -> tuple[str, str | None]:
        """Names of the fits of the left and the right part."""
        name = _one_of(self.fit)
        beside = _one_of(self.beside) if self.beside else ALONE
        return name, None if beside in (ALONE, name) else beside

    @property
    def shown(self) -> str:
        """Name of one of `LAYERS`."""
        return _one_of(self.layer)

    @property
    def pixels(self) -> int:
        """Pixels of a full picture's longer side."""
        return round(_between(self.longest))

    @property
    def right(self) -> float:
        """Where the right part begins, in shares of the width."""
        return _between(self.divide) / 100 if self.divide else 0.5

    @property
    def level(self) -> float:
        """Noise level of the score."""
        return _between(self.sigma)


def _one_of(choice: Any) -> str:
    return choice.value if choice.value in choice.options else choice.options[0]


def _between(slider: Any) -> float:
    value, low, high = (float(x) for x in (slider.value, slider.min, slider.max))
    return min(max(value, low), high) if math.isfinite(value) else low


def add_controls(
    server: Any,
    fits: Sequence[str],
    *,
    title: str,
    longest: int,
    sigmas: tuple[float, float] | None,
    members: bool = False,
) -> Controls:
    """Add the controls.

    Args:
        server: Server of viser.
        fits: Names of the fits.
        title: Title of the panel.
        longest: Pixels of a full picture's longer side, at first.
        sigmas: Smallest and largest noise level of the prior; None without one.
        members: Whether a fit is an ensemble, whose uncertainty can be shown.
    """
    gui = server.gui
    gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=(255, 176, 0))
    gui.set_panel_label(title)
    gui.add_markdown(_HELP)
    fit = gui.add_dropdown("Fit", list(fits), initial_value=fits[0])
    several = len(fits) > 1
    beside = gui.add_dropdown("Beside it", [ALONE, *fits], initial_value=ALONE) if several else None
    divide = gui.add_slider("Divide at, %", 0, 100, 1, 50) if several else None
    layers = [name for name in LAYERS if members or name not in OF_MEMBERS]
    layer = gui.add_dropdown("Show", layers, initial_value=layers[0])
    with gui.add_folder("View"):
        field = gui.add_checkbox("Field", initial_value=True)
        photos = gui.add_checkbox("Photos", initial_value=True)
        points = gui.add_checkbox("Points", initial_value=False)
        pixels = gui.add_slider("Longer side, pixels", 64, 1024, 32, min(max(longest // 32 * 32, 64), 1024))
        status = gui.add_markdown("")
    controls = Controls(fit, beside, divide, layer, field, photos, points, pixels, status)
    if sigmas is not None:
        with gui.add_folder("Prior"):
            gui.add_markdown(_HELP_PRIOR)
            controls.sigma = gui.add_slider(
                "Noise level", sigmas[0], sigmas[1], 0.005, min(max(0.1, sigmas[0]), sigmas[1])
            )
            controls.middle = gui.add_button("Score at the middle")
            controls.picture = gui.add_image(np.zeros((2, 3, 3), np.uint8), visible=False)
            controls.words = gui.add_markdown("")
    return controls


def on_change(handles: Sequence[Any], call: Callable[[], object]) -> None:
    """Call a function when one of some controls was changed."""
    for handle in handles:
        if handle is not None:
            handle.on_update(lambda _: call())
