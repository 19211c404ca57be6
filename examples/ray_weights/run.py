"""One fit with the weights along its rays regularised, from a folder of photos to a folder of results."""

from pathlib import Path

import torch

from examples.ray_weights.rays import save_rays
from scorereg import load_prior
from scorereg.fit import PRESETS, PatchPrior, RayPrior, Term, default_field, geometric_terms, photo_terms
from scorereg.fit.folder import choose_preset, fit_to_folder, make_run_folder, with_steps
from scorereg.scenes import load_scene

__all__ = ["KINDS", "run"]

KINDS = ("none", "distortion", "rays", "both", "rgbd")


def run(
    scene: Path,
    out: Path,
    *,
    regularize: str = "rays",
    prior: str = "rays-64",
    rgbd_prior: str = "rooms-rgbd-24",
    bare: bool = False,
    views: int = 3,
    steps: int | None = None,
    seed: int = 0,
    weight: float | None = None,
    preset: str | None = None,
    scale: float | None = None,
    video: int = 0,
    clock=None,
) -> dict:
    """Fit, evaluate, and write what `scorereg fit` writes, and the weights along a few rays in `rays.npz`.

    Args:
        scene: An LLFF folder or one with transforms.json.
        out: The run's folder.
        regularize: The terms on a ray's weights: `"none"`, `"distortion"`, `"rays"` (the ray prior), `"both"`, and
            `"rgbd"`, which is both with the RGB-D prior on patches.
        prior: The ray prior.
        rgbd_prior: The RGB-D prior.
        bare: Without the other geometric terms (opacity, frustum visibility, photo consistency).
        views: Training views.
        steps: Steps of the fit.
        seed: Seeds everything that is random.
        weight: Weight of the ray prior; that of `RayPrior`, if not given.
        preset: `"cpu"` or `"gpu"`.
        scale: Metres per unit of the scene's file.
        video: Frames of the video.
        clock: Source of seconds.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If an argument, the scene or a prior is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    if regularize not in KINDS:
        raise ValueError(f"--regularize must be one of {', '.join(KINDS)}, but is {regularize!r}.")
    preset, chosen = choose_preset(preset, PRESETS)
    recipe = with_steps(chosen.recipe, steps)
    make_run_folder(out, video=video)
    loaded = load_scene(scene, views=views, scale=scale)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    terms = [*photo_terms(), *_geometric(regularize, bare=bare)]
    if regularize == "rgbd":
        terms.append(PatchPrior(load_prior(rgbd_prior, device=device), patches=chosen.patches))
    rays = None
    if regularize in ("rays", "both", "rgbd"):
        rays = RayPrior(load_prior(prior, device=device), **({} if weight is None else {"weight": weight}))
        terms.append(rays)
    facts = {
        "regularize": regularize, "bare": bare, "prior": prior if rays else None,
        "rgbd_prior": rgbd_prior if regularize == "rgbd" else None, "weight": rays and rays.weight, "preset": preset,
    }  # fmt: skip

    return fit_to_folder(
        loaded, out, field=default_field(loaded, chosen.grid, seed=seed), terms=terms, recipe=recipe, seed=seed,
        device=device, facts=facts, video=video, also=lambda fit, _: save_rays(fit, out / "rays.npz"), clock=clock,
    )[0]  # fmt: skip


def _geometric(regularize: str, *, bare: bool) -> list[Term]:
    """The hand-made terms that were asked for."""
    distortion = {} if regularize in ("distortion", "both", "rgbd") else {"distortion": 0.0}
    others = {"opacity": 0.0, "frustum": 0.0, "consistency": 0.0} if bare else {}
    return geometric_terms(**distortion, **others)
