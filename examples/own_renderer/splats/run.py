"""Splats from a folder of photos to a folder of results; here, and only here, a prior joins the renderer."""

import time
from pathlib import Path

import torch
from torch import Tensor

from examples.nerf_fewshot.evaluate import View, summary, write_metrics, write_views
from examples.nerf_fewshot.run import make_writable
from examples.nerf_fewshot.setting import facts_of
from examples.own_renderer.splats.fit import fit, image, random_splats
from examples.own_renderer.splats.renderer import Splats
from scorereg import RGBD, ScoreLoss, load_prior
from scorereg.cameras import Cameras
from scorereg.files import write_beside
from scorereg.patches import PatchSampler
from scorereg.scenes import Scene, load_scene
from scorereg.schedules import log_linear

__all__ = ["KINDS", "run"]

KINDS = ("none", "geometric", "prior", "both")
STEPS, COUNT = 1200, 3000
PATCHES, START, KNOWN = 2, 0.5, 0.5  # a step; from which share of the steps on; share with a photo's colours
OPACITY, SMOOTH = 5e-2, 1.0  # weights of the hand-made terms
SIGMA, WEIGHTS = (0.1, 0.02), {"rgb": 5e-2, "disparity": 5e-2}  # of the prior


def run(
    scene: Path,
    out: Path,
    *,
    regularize: str = "prior",
    prior: str = "rooms-rgbd-24",
    views: int = 3,
    steps: int = STEPS,
    count: int = COUNT,
    seed: int = 0,
    scale: float | None = None,
    max_size: int | None = None,
) -> dict:
    """Fit, evaluate, and write `metrics.json`, `views/` and `splats.pt` into `out`.

    Args:
        scene: An LLFF folder or one with transforms.json.
        out: The run's folder.
        regularize: `"none"`, `"geometric"` (opacity and smooth disparity), `"prior"` (nothing else), or `"both"`.
        prior: A shipped prior's name, or a prior's folder.
        views: Training views.
        steps: Of the fit.
        count: How many Gaussians.
        seed: Of everything that is random.
        scale: Metres per unit of the scene's file.
        max_size: Most pixels of the photos' longer side.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If an argument, the scene or the prior is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    if regularize not in KINDS:
        raise ValueError(f"--regularize must be one of {', '.join(KINDS)}, but is {regularize!r}.")
    if min(steps, count) < 1:
        raise ValueError(f"--steps and --count must be at least 1, but are {steps} and {count}.")
    make_writable(out)
    loaded = load_scene(scene, views=views, scale=scale, max_size=max_size)
    draw = torch.Generator().manual_seed(seed)
    cameras, photos = loaded.cameras[loaded.train], loaded.images[list(loaded.train)]
    splats = random_splats(cameras, photos, count, loaded.near, loaded.far, draw)
    terms = {}
    if regularize in ("geometric", "both"):
        terms["terms"] = hand_made
    if regularize != "none":
        trained = load_prior(prior)
        focal = trained.card.focal or (80.0, 180.0)
        sampler = PatchSampler(cameras, photos, size=trained.card.size[0], focal=focal, known_rgb=KNOWN)
        nearby = Nearby(sampler, RGBD.for_card(trained.card), int(START * steps), draw)
        terms |= {"elsewhere": nearby, "size": sampler.size}  # the hand-made terms see the same views
        if regularize != "geometric":
            loss = ScoreLoss(
                trained,
                sigma=log_linear(*SIGMA, nearby.start, steps),
                weight=lambda sigma, step: sigma.square() if step >= nearby.start else 0.0,
                channel_weights=WEIGHTS,
            )
            loss.attach(splats, select=nearby.select)  # the renderer and its fit do not know
    began = time.monotonic()
    fit(splats, cameras, photos, steps, draw, **terms)
    seconds = time.monotonic() - began
    shown = _views(splats, loaded)
    metrics = {
        **facts_of(loaded, "cpu"), "regularize": regularize,
        "prior": prior if regularize in ("prior", "both") else None, **summary(shown), "seconds": seconds,
        "steps": steps, "count": count, "seed": seed,
    }  # fmt: skip
    write_views(shown, out, loaded.near, loaded.far)
    write_beside(out / "splats.pt", lambda beside: torch.save(splats.state_dict(), beside))
    write_metrics(metrics, out)
    return metrics


class Nearby:
    """Small views from near the photos' places, from a step on, and how they look to a prior."""

    def __init__(self, sampler: PatchSampler, transform: RGBD, start: int, draw: torch.Generator) -> None:
        self.sampler, self.transform, self.start, self.draw = sampler, transform, start, draw
        self.patches = None

    def __call__(self, step: int) -> Cameras | None:
        """Cameras for this step, fresh ones each time."""
        self.patches = None if step < self.start else self.sampler.sample(PATCHES, self.draw)
        return None if self.patches is None else self.patches.cameras

    def select(self, shown: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The patches among what was rendered, in prior space, and which of their values are a photo's."""
        if self.patches is None:  # the prior's weight is 0 still
            return self.transform(shown["rgb"], shown["depth"]), torch.tensor(True)[None, None, None, None]
        known, count = self.patches.known, len(self.patches)
        rgb = torch.where(known[:, None, None, None], self.patches.photo, shown["rgb"][-count:])
        return self.transform(rgb, shown["depth"][-count:]), self.transform.known_rgb(known)


def hand_made(shown: dict[str, Tensor]) -> Tensor:
    """Windows should be opaque, and their disparity smooth where their colours are."""
    disparity = 0.5 / shown["depth"].clamp_min(0.5)
    total = OPACITY * (1 - shown["opacity"]).square().mean()
    for axis in (-1, -2):
        edges = (-10 * shown["rgb"].detach().diff(dim=axis).abs().mean(1)).exp()
        total = total + SMOOTH * (disparity.diff(dim=axis).abs() * edges).mean()
    return total


def _views(splats: Splats, scene: Scene) -> list[View]:
    views = []
    for index in scene.test:
        seen = image(splats, scene.cameras[index])
        truth = None if scene.depth is None else scene.depth[index]
        views.append(View(scene.filenames[index], seen["rgb"].clamp(0, 1), seen["depth"], scene.images[index], truth))
    return views
