"""Where a prior pulls the depth of a half-fitted field, and whether that is where the truth lies.

    python -m benchmarks.pull SCENE [--prior rooms-rgbd-24] [--steps 250] [--json]

SCENE needs true depth. A field is fitted with the geometric terms alone; patches of it are rendered from the training
cameras, with the photos' colours, and from the held-out ones, with its own. For each noise level, with x the disparity
of prior space as fitted or as true and D the denoiser:

    pull      D(x, sigma) - x; its root mean square, and its mean (positive: nearer)
    cosine    between the pull on what is fitted and truth - x, without each patch's mean, and of the means alone
    left      root mean square of truth - D(x, sigma), as a share of that of truth - x

A prior that knew the truth would pull with a cosine of 1 where the field is wrong, and not at all where it is right.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from scorereg import RGBD, NetworkPrior, load_prior
from scorereg.cameras import Rays
from scorereg.cli import one_line_errors
from scorereg.fit import CPU, Fit, fit_scene
from scorereg.rendering.patches import Patches, PatchSampler
from scorereg.scenes import load_scene

SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.5)


def main(
    scene: Annotated[Path, typer.Argument(help="Folder of a scene with true depth.")],
    prior: Annotated[str, typer.Option(help="A shipped prior's name, or a prior's folder.")] = "rooms-rgbd-24",
    steps: Annotated[int, typer.Option(help="Steps of the fit.", min=1)] = 250,
    count: Annotated[int, typer.Option(help="Patches of either kind.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="Of the fit and the patches.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how the prior's pull on disparity agrees with the error that it should remove."""
    torch.set_num_threads(threads)
    loaded, trained = load_scene(scene), load_prior(prior)
    if loaded.depth is None:
        raise ValueError(f"{scene} has no true depth to compare with. Give a scene that has.")
    if not isinstance(trained, NetworkPrior) or trained.card.focal is None:
        raise ValueError(f"{prior} has no card with focal lengths, so patches for it cannot be rendered.")
    fit = fit_scene(loaded, regularize="geometric", recipe=replace(CPU, steps=steps), seed=seed)
    rows = []
    for views, known in ((loaded.train, True), (loaded.test, False)):
        fitted, truth = patches(fit, trained, views, known, count, seed)
        for sigma in SIGMAS:
            about = {"views": "training" if known else "held-out", "sigma": sigma}
            rows.append(about | compare(trained, fitted, truth, sigma))
    if as_json:
        print(json.dumps({"scene": loaded.name, "prior": trained.card.name, "steps": steps, "rows": rows}, indent=1))
        return
    for row in rows:
        print(
            "  ".join(f"{name} {value:.4f}" if isinstance(value, float) else str(value) for name, value in row.items())
        )


def patches(
    fit: Fit, prior: NetworkPrior, views: tuple[int, ...], known: bool, count: int, seed: int
) -> tuple[Float[Tensor, "b 4 p p"], Float[Tensor, "b 4 p p"]]:
    """The same patches in prior space, as fitted and as true. The colours are the photo's where they are `known`."""
    scene, index = fit.scene, list(views)
    assert scene.depth is not None
    sampler = PatchSampler(
        scene.cameras[index], scene.images[index], size=prior.card.size[0], focal=prior.card.focal or 1.0,
        translation=0.0, rotation=0.0, photo_fraction=1.0,
    )  # fmt: skip
    drawn = sampler.sample(count, torch.Generator().manual_seed(seed))
    rgb, depth, _ = fit.image(one_row(drawn))
    rgb, depth = (rearrange(x, "1 (b h w) ... -> b ... h w", b=count, h=sampler.size) for x in (rgb, depth))
    truth = true_depth(drawn, scene.depth[index], sampler)
    whole = reduce(truth > 0, "b h w -> b", "min")
    transform = RGBD.for_card(prior.card)
    fitted = transform(drawn.photo if known else rgb.clamp(0, 1), depth)
    return fitted[whole], transform(drawn.photo, truth)[whole]


def one_row(drawn: Patches) -> Rays:
    """All of the patches' rays, as those of an image of one row."""
    return drawn.rays.reshape(1, drawn.rays.shape.numel())


def true_depth(drawn: Patches, depth: Float[Tensor, "n h w"], sampler: PatchSampler) -> Float[Tensor, "b p p"]:
    """True depth at the patches' pixels, of the nearest pixel of the photo."""
    points = drawn.rays.origins + drawn.rays.directions
    camera = drawn.camera[:, None, None].expand(points.shape[:-1])
    pixel, _ = sampler.cameras.project(points, camera)
    x, y = pixel.long().unbind(-1)
    return depth[camera, y.clamp(0, depth.shape[1] - 1), x.clamp(0, depth.shape[2] - 1)]


def compare(
    prior: NetworkPrior, fitted: Float[Tensor, "b 4 p p"], truth: Float[Tensor, "b 4 p p"], sigma: float
) -> dict[str, float]:
    """The pull on disparity at one noise level, beside the error that is there."""
    level = torch.full((len(fitted),), sigma)
    with torch.no_grad():
        pull = (prior.denoise(fitted, level) - fitted)[:, 3]
        on_truth = (prior.denoise(truth, level) - truth)[:, 3]
    error = (truth - fitted)[:, 3]
    means = [reduce(x, "b h w -> b 1 1", "mean") for x in (pull, error)]
    return {
        "error_rms": _rms(error),
        "pull_rms": _rms(pull),
        "pull_rms_on_truth": _rms(on_truth),
        "pull_mean": pull.mean().item(),
        "cosine": _cosine(pull - means[0], error - means[1]),
        "cosine_of_means": _cosine(*means),
        "left": _rms(error - pull) / _rms(error),
    }


def _rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()


def _cosine(a: Tensor, b: Tensor) -> float:
    return ((a * b).sum() / (a.norm() * b.norm()).clamp_min(1e-12)).item()


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
