"""A row of a protocol's table: one fit, and its errors on the held-out views, with and without the object's mask."""

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from benchmarks.protocol_splits import SIZES, Job
from scorereg import load_prior
from scorereg.fit import PRESETS, PatchPrior, Preset, RayPrior, Term, default_field, default_terms, fit_scene
from scorereg.fit.paper import on_paper_background
from scorereg.fit.views import View, render_views
from scorereg.metrics import WINDOWS, average, depth_abs_rel, lpips, lpips_lacks, on_white, psnr, ssim, windows_count
from scorereg.scenes import load_scene

Net = Literal["alex", "vgg"]


@dataclass(frozen=True)
class How:
    """What all fits of a table have in common.

    Args:
        preset: Name of the recipe and the sizes that go along.
        rays: Photo rays a step.
        prior: Prior over patches.
        ray_prior: Prior over ray weights of `--regularize prior`, or `"none"`.
        lpips_net: Network of LPIPS, or `"none"`.
        members: Members of each fit, an ensemble where there are several.
    """

    preset: str = "cpu"
    rays: int = 1024
    prior: str = "rooms-rgbd-24"
    ray_prior: str = "rays-64"
    lpips_net: str = "alex"
    members: int = 1

    def told(self, regularize: str) -> dict[str, str | int | None]:
        """What a row says of it: None for what fits of its kind do not use."""
        values = asdict(self)
        values["members"] = self.members if self.members > 1 else None
        values["prior"] = self.prior if regularize.endswith("prior") else None
        values["ray_prior"] = self.ray_prior if regularize == "prior" and self.ray_prior != "none" else None
        return values

    @property
    def sizes(self) -> Preset:
        """The preset."""
        return PRESETS[self.preset]


def terms_of(regularize: str, how: How, device: str) -> list[Term]:
    """The terms of `scorereg fit --regularize ...`."""
    without = {"prior": "geometric", "paper+prior": "paper"}.get(regularize, regularize)
    terms = default_terms(regularize=without)  # pyright: ignore[reportArgumentType]
    if regularize.endswith("prior"):
        terms.append(PatchPrior(load_prior(how.prior, device=device), patches=how.sizes.patches))
    if regularize == "prior" and how.ray_prior != "none":
        terms.append(RayPrior(load_prior(how.ray_prior, device=device)))
    return terms


def fit_row(protocol: str, job: Job, how: How, state: Path, device: str) -> dict:
    """Fit a scene, or go on with an interrupted fit, and measure it.

    Args:
        protocol: Name of the protocol.
        job: The fit.
        how: What it has in common with others.
        state: File of the state of the fit, from which it goes on.
        device: Where to compute.
    """
    size = SIZES[protocol]
    scene = load_scene(job.folder, split=job.split, max_size=size and max(size))
    _say(scene.describe())
    if size and (scene.cameras.width, scene.cameras.height) != size:
        _say(f"{job.folder}: photos of {scene.cameras.width}x{scene.cameras.height}; the protocol has {size}")
    recipe = replace(how.sizes.recipe, steps=job.steps, rays=how.rays)
    recipe = on_paper_background(recipe) if job.regularize.startswith("paper") else recipe
    fields = [default_field(scene, how.sizes.grid, seed=job.seed + k) for k in range(how.members)]
    fit = fit_scene(
        scene, field=fields, terms=terms_of(job.regularize, how, device), recipe=recipe, seed=job.seed,
        members=how.members, device=device, save=state, resume=True, report=_progress(job),
    )  # fmt: skip
    views = render_views(fit.scene, partial(fit.image, spread=True))
    return {
        "protocol": protocol, "scene": job.scene, "views": job.views, "regularize": job.regularize, "seed": job.seed,
        "steps": job.steps, **measured(views, how.lpips_net), "seconds": fit.seconds,
        "test_views": len(views), "width": scene.cameras.width, "height": scene.cameras.height, "kind": scene.kind,
        "train": [scene.filenames[i] for i in scene.train], **how.told(job.regularize),
        "device": torch.cuda.get_device_name() if device == "cuda" else device, "torch": torch.__version__,
    }  # fmt: skip


def measured(views: Sequence[View], net: str) -> dict[str, float | None]:
    """Means over the views of what each of them has; None where one has none, as a mean of the others misleads."""
    each = [{**whole(view, net), **masked(view, net), **view.spread_metrics()} for view in views]
    return {name: _mean([values.get(name) for values in each]) for name in each[0]}


def whole(view: View, net: str) -> dict[str, float | None]:
    """Errors over all pixels that count, and of depth where it is known."""
    mask, truth = view.mask, view.known_truth()
    similar = {
        f"ssim_{window}": ssim(view.rgb, view.photo, mask, window=window)  # pyright: ignore[reportArgumentType]
        if min(view.rgb.shape[:2]) >= side and (mask is None or bool(windows_count(mask, side).any()))
        else None
        for window, side in WINDOWS.items()
    }
    values = {"psnr": psnr(view.rgb, view.photo, mask) if mask is None or bool(mask.any()) else None, **similar}
    values["lpips"] = lpips(view.rgb, view.photo, net=net, mask=mask) if can(net) else None  # pyright: ignore
    values["average"] = average_of(values["psnr"], values["ssim_uniform7"], values["lpips"])
    known = None if truth is None or not bool((truth > 0).any()) else depth_abs_rel(view.depth, truth)
    return {**values, "depth_abs_rel": known}


def masked(view: View, net: str) -> dict[str, float | None]:
    """Errors of the object: PSNR over its pixels, SSIM and LPIPS of both images put on white outside of it."""
    names = ("psnr", *(f"ssim_{window}" for window in WINDOWS), "lpips", "average")
    if (shown := view.shown) is None:
        return {f"{name}_masked": None for name in names}
    on = View(view.name, on_white(view.rgb, shown), view.depth, on_white(view.photo, shown), None)
    values = {**whole(on, net), "psnr": psnr(view.rgb, view.photo, shown)}
    values["average"] = average_of(values["psnr"], values["ssim_uniform7"], values["lpips"])
    return {f"{name}_masked": values[name] for name in names}


def average_of(psnr: float | None, ssim: float | None, lpips: float | None) -> float | None:
    """The Average of an image; None without LPIPS, without which it is another figure."""
    return None if psnr is None or ssim is None or lpips is None else average(psnr, ssim, lpips)


def can(net: str) -> bool:
    """Whether LPIPS is asked for and can be computed."""
    return net != "none" and lpips_lacks(net) is None  # pyright: ignore[reportArgumentType]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _progress(job: Job):
    last = [0]

    def report(entry: dict) -> None:
        tenth = 10 * (int(entry["step"]) + 1) // job.steps
        if tenth > last[0]:
            last[0] = tenth
            _say(f"{job.scene}, {job.views} views, {job.regularize}, seed {job.seed}: {10 * tenth} % of the steps")

    return report


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
