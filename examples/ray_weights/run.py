"""One fit with the weights along its rays regularised, from a folder of photos to a folder of results."""

from dataclasses import replace
from pathlib import Path

from examples.nerf_fewshot.run import fit_to_folder, make_writable, ray_term
from examples.nerf_fewshot.setting import by_preset
from examples.ray_weights.rays import save_rays
from scorereg import load_prior
from scorereg.fit import CPU, GPU, Recipe
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
) -> dict:
    """Fit, evaluate, and write what `examples.nerf_fewshot` writes, and the weights along a few rays in `rays.npz`.

    Args:
        scene: An LLFF folder or one with transforms.json.
        out: The run's folder.
        regularize: The terms on a ray's weights: `"none"`, `"distortion"`, `"rays"` (the ray prior), `"both"`, and
            `"rgbd"`, which is both with the RGB-D prior on patches.
        prior: The ray prior.
        rgbd_prior: The RGB-D prior.
        bare: Without the other geometric terms (opacity, frustum visibility, photo consistency).
        views: Training views.
        steps: Of the fit.
        seed: Of everything that is random.
        weight: Of the ray prior; that of `RayTerm`, if not given.
        preset: `"cpu"` or `"gpu"`.
        scale: Metres per unit of the scene's file.
        video: Frames of the flight.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If an argument, the scene or a prior is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    if regularize not in KINDS:
        raise ValueError(f"--regularize must be one of {', '.join(KINDS)}, but is {regularize!r}.")
    device, preset, recipe = by_preset(preset, CPU, GPU, steps)
    recipe = _recipe(recipe, regularize, bare=bare)
    make_writable(out)
    loaded = load_scene(scene, views=views, scale=scale)
    patches = load_prior(rgbd_prior, device=device) if regularize == "rgbd" else None
    known = regularize in ("rays", "both", "rgbd")
    chosen = {} if weight is None else {"weight": weight}
    term = ray_term(prior, loaded, recipe.steps, device, **chosen) if known else None
    facts = {
        "regularize": regularize, "bare": bare, "prior": prior if known else None,
        "rgbd_prior": None if patches is None else rgbd_prior, "weight": term and term.weight,
        "preset": preset,
    }  # fmt: skip
    return fit_to_folder(
        loaded, patches, out, regularize="prior" if patches is not None else "geometric", recipe=recipe, seed=seed,
        device=device, facts=facts, video=video, extra=term,
        also=lambda fit: save_rays(fit, out / "rays.npz"),
    )[0]  # fmt: skip


def _recipe(recipe: Recipe, regularize: str, *, bare: bool) -> Recipe:
    """The preset with only the terms that were asked for."""
    changed: dict = {}
    if regularize in ("none", "rays"):
        changed["distortion"] = 0.0
    if bare:
        changed |= {"opacity": 0.0, "frustum": 0.0, "consistency": 0.0}
    return replace(recipe, **changed)
