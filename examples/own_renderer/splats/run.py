"""Splats from a folder of photos to a folder of results; here, and only here, a prior joins the renderer."""

import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from examples.own_renderer.splats import cuda_renderer
from examples.own_renderer.splats.fit import fit, image, random_splats
from examples.own_renderer.splats.recipe import PRESETS, Recipe
from examples.own_renderer.splats.renderer import DENSEST, Splats
from scorereg import RGBD, NetworkPrior, ScoreLoss, load_prior
from scorereg._io import check_file, write_beside
from scorereg.cameras import Cameras
from scorereg.cli.options import (
    CpuTime,
    MaxSize,
    OutFolder,
    Preset,
    RgbdPrior,
    Scale,
    Scene,
    Seed,
    Steps,
    Views,
    option,
)
from scorereg.export import write_splats
from scorereg.fit.folder import choose_device, choose_preset, facts_of, make_run_folder, some_of, with_steps
from scorereg.fit.pixels import training_masks
from scorereg.fit.views import TRAINING, View, clear, summary, write_metrics, write_views
from scorereg.priors import WrappedPrior
from scorereg.rendering.patches import PatchSampler
from scorereg.scenes import Scene as LoadedScene
from scorereg.scenes import load_scene
from scorereg.schedules import log_linear

__all__ = ["KINDS", "run"]

KINDS = ("none", "geometric", "prior", "both")


def run(
    scene: Scene,
    out: OutFolder = Path("runs/splats"),
    *,
    regularize: Annotated[str, option("Prior", "none, geometric, prior (alone), or both.")] = "prior",
    prior: RgbdPrior = "rooms-rgbd-24",
    views: Views = 3,
    max_size: MaxSize = None,
    scale: Scale = None,
    preset: Preset = "cpu",
    steps: Steps = None,
    count: Annotated[int | None, option("Optimisation", "Gaussians.", "the preset's", "N")] = None,
    seed: Seed = 0,
    cpu_time: CpuTime = False,
    ply: Annotated[
        Path | None, option("Output", "Splats for other programs, in the layout of 3DGS.", "none", "FILE")
    ] = None,
) -> dict:
    """Fit Gaussian splats to a few photos, with or without a diffusion prior attached.

    It writes `metrics.json`, `views/` and `splats.pt` into `out`.
    The arguments are the options of the command.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If an argument, the scene or the prior is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    if regularize not in KINDS:
        raise ValueError(f"--regularize must be one of {', '.join(KINDS)}, but is {regularize!r}.")
    device, recipe = choose_device(None), choose_preset(preset, PRESETS)
    recipe = replace(with_steps(recipe, steps), count=recipe.count if count is None else count)
    if recipe.count < 1:
        raise ValueError(f"--count must be at least 1, but is {count}.")
    if ply is not None:
        if ply.suffix.lower() != ".ply":
            raise ValueError(f"--ply {ply} must end with .ply.")
        check_file(ply)
    make_run_folder(out)
    loaded = load_scene(scene, views=views, scale=scale, max_size=max_size)
    trained = None if regularize == "none" else load_prior(prior, device=device)
    draw, clock = torch.Generator(device).manual_seed(seed), time.process_time if cpu_time else time.monotonic
    began = clock()
    splats = _fitted(loaded.to(device), recipe, regularize, trained, draw)
    seconds = clock() - began
    measured = _views(splats, loaded, device, loaded.test)
    metrics = {
        **facts_of(loaded, device), "regularize": regularize,
        "prior": prior if regularize in ("prior", "both") else None, "preset": preset,
        "renderer": "gsplat" if splats.render is cuda_renderer.render else "torch", **summary(measured),
        "seconds": seconds, "steps": recipe.steps, "count": recipe.count, "seed": seed,
    }  # fmt: skip
    clear(out)
    shown = measured or _views(splats, loaded, device, some_of(loaded.train))
    write_views(shown, out, loaded.near, loaded.far, "" if measured else TRAINING)
    write_beside(out / "splats.pt", lambda beside: torch.save(splats.state_dict(), beside))
    if ply is not None:
        write_ply(splats, loaded, ply)
    write_metrics(metrics, out)
    return metrics


@torch.no_grad()
def write_ply(splats: Splats, scene: LoadedScene, path: Path) -> None:
    """Write the splats for other programs."""
    write_splats(
        path,
        scene,
        means=splats.mean,
        scales=splats.size.exp(),
        quaternions=cuda_renderer.quaternions(splats.turn),
        opacities=DENSEST * splats.opacity[:, 0].sigmoid(),
        colors=splats.colour.sigmoid(),
    )


def _fitted(
    scene: LoadedScene,
    recipe: Recipe,
    regularize: str,
    prior: NetworkPrior | WrappedPrior | None,
    draw: torch.Generator,
) -> Splats:
    """The fitted splats; `prior` is needed by all ways but none: its patches are theirs."""
    cameras, photos = scene.cameras[scene.train], scene.images[list(scene.train)]
    masks = training_masks(scene)
    if masks is not None:
        photos = torch.where(masks[..., None], photos, torch.nan)
    splats = random_splats(cameras, photos, recipe.count, scene.near, scene.far, draw)
    if photos.is_cuda and find_spec("gsplat"):
        splats.render = cuda_renderer.render
    more = {}
    if regularize in ("geometric", "both"):
        more["terms"] = partial(hand_made, recipe)
    if prior is not None:
        focal = prior.card.focal or (80.0, 180.0)
        sampler = PatchSampler(
            cameras, photos, size=prior.card.size[0], focal=focal, photo_fraction=recipe.known, masks=masks
        )
        nearby = Nearby(sampler, RGBD.for_card(prior.card), recipe, draw)
        more |= {"elsewhere": nearby, "size": sampler.size}  # the hand-made terms see the same views
        if regularize != "geometric":
            loss = ScoreLoss(
                prior,
                sigma=log_linear(*recipe.sigma, nearby.start, recipe.steps),
                weight=lambda sigma, step: sigma.square() if step >= nearby.start else 0.0,
                channel_weights=recipe.weights,
            )
            loss.attach(splats, select=nearby.select)  # the renderer and its fit do not know
    fit(splats, cameras, photos, recipe.steps, draw, windows=recipe.windows, **more)
    if photos.is_cuda:
        torch.cuda.synchronize()
    return splats


class Nearby:
    """Small views from near the photos' places, from a step on, and how they look to a prior."""

    def __init__(self, sampler: PatchSampler, transform: RGBD, recipe: Recipe, draw: torch.Generator) -> None:
        self.sampler, self.transform, self.draw = sampler, transform, draw
        self.start, self.count = int(recipe.start * recipe.steps), recipe.patches
        self.patches = None

    def __call__(self, step: int) -> Cameras | None:
        """Cameras for this step, fresh ones each time."""
        self.patches = None if step < self.start else self.sampler.sample(self.count, self.draw)
        return None if self.patches is None else self.patches.cameras

    def select(self, shown: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The patches among what was rendered, in prior space, and which of their values are a photo's."""
        if self.patches is None:  # the prior's weight is 0 still
            return self.transform(shown["rgb"], shown["depth"]), torch.tensor(True, device=self.draw.device)[
                None, None, None, None
            ]
        known, count = self.patches.shown, len(self.patches)
        rgb = torch.where(known[:, None], self.patches.photo, shown["rgb"][-count:])
        return self.transform(rgb, shown["depth"][-count:]), self.transform.photo_mask(known)


def hand_made(recipe: Recipe, shown: dict[str, Tensor]) -> Tensor:
    """Windows should be opaque, and their disparity smooth where their colours are."""
    disparity = 0.5 / shown["depth"].clamp_min(0.5)
    total = recipe.opacity * (1 - shown["opacity"]).square().mean()
    for axis in (-1, -2):
        edges = (-10 * shown["rgb"].detach().diff(dim=axis).abs().mean(1)).exp()
        total = total + recipe.smooth * (disparity.diff(dim=axis).abs() * edges).mean()
    return total


def _views(splats: Splats, scene: LoadedScene, device: str, views: tuple[int, ...]) -> list[View]:
    """Render whole photos."""
    rendered = []
    for index in views:
        seen = {name: x.cpu() for name, x in image(splats, scene.cameras[index].to(device)).items()}
        truth, mask = (None if x is None else x[index] for x in (scene.depth, scene.masks))
        name, rgb = scene.filenames[index], seen["rgb"].clamp(0, 1)
        rendered.append(View(name, rgb, seen["depth"], scene.images[index], truth, mask))
    return rendered
