"""The numbers of a fit of splats: `Recipe`, and one set of them for a CPU and one for a GPU."""

from dataclasses import dataclass, field

__all__ = ["PRESETS", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """The numbers of a fit. Moments of the fit are shares of its steps.

    Args:
        steps: Optimisation steps.
        count: Gaussians.
        windows: Windows of the photos a step.
        patches: Small views from near the photos' places a step, for hand-made terms and the prior.
        start: When these begin.
        known: Share of them that keep a photo's camera and show its colours to the prior.
        opacity: Weight of the hand-made term on opacity.
        smooth: Weight of the hand-made term on disparity.
        sigma: Noise level of the prior at its start and at its end.
        weights: Of the prior's pull on colours and on disparity.
    """

    steps: int = 1200
    count: int = 3000
    windows: int = 8
    patches: int = 2
    start: float = 0.5
    known: float = 0.5
    opacity: float = 5e-2
    smooth: float = 1.0
    sigma: tuple[float, float] = (0.1, 0.02)
    weights: dict[str, float] = field(default_factory=lambda: {"rgb": 5e-2, "disparity": 5e-2})


PRESETS = {"cpu": Recipe(), "gpu": Recipe(steps=7000, count=30_000, windows=64, patches=16)}
