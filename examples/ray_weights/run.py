"""One fit with the weights along its rays regularised, from a folder of photos to a folder of results."""

from pathlib import Path
from typing import Annotated

from examples.ray_weights.rays import save_rays
from scorereg import load_prior
from scorereg.cli.options import CpuTime, OutFolder, Preset, RgbdPrior, Scale, Scene, Seed, Steps, Video, Views, option
from scorereg.fit import PRESETS, PatchPrior, RayPrior, Term, default_field, geometric_terms, photo_terms
from scorereg.fit.folder import choose_device, choose_preset, fit_to_folder, make_run_folder, with_steps
from scorereg.scenes import load_scene

__all__ = ["KINDS", "run"]

KINDS = ("none", "distortion", "rays", "both", "rgbd")


def run(
    scene: Scene,
    out: OutFolder = Path("runs/ray_weights"),
    *,
    regularize: Annotated[
        str, option("Prior", "none, distortion, rays (the ray prior), both, or rgbd (both and the RGB-D prior).")
    ] = "rays",
    prior: Annotated[str, option("Prior", "Prior over ray weights: a shipped name, or a folder.")] = "rays-64",
    rgbd_prior: RgbdPrior = "rooms-rgbd-24",
    bare: Annotated[bool, option("Prior", "Leave out opacity, frustum and consistency.", "off", name="--bare")] = False,
    weight: Annotated[float | None, option("Prior", "Weight of the ray prior.", "RayPrior's")] = None,
    views: Views = 3,
    scale: Scale = None,
    preset: Preset = "cpu",
    steps: Steps = None,
    seed: Seed = 0,
    video: Video = 0,
    cpu_time: CpuTime = False,
) -> dict:
    """Fit a radiance field with the weights along its rays regularised.

    It writes what `scorereg fit` writes, and the weights along a few rays in `rays.npz`.
    The arguments are the options of the command.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If an argument, the scene or a prior is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    if regularize not in KINDS:
        raise ValueError(f"--regularize must be one of {', '.join(KINDS)}, but is {regularize!r}.")
    device, chosen = choose_device(None), choose_preset(preset, PRESETS)
    recipe = with_steps(chosen.recipe, steps)
    make_run_folder(out, video=video)
    loaded = load_scene(scene, views=views, scale=scale)
    terms = [*photo_terms(), *_geometric(regularize, bare=bare)]
    if regularize == "rgbd":
        terms.append(PatchPrior(load_prior(rgbd_prior, device=device), patches=chosen.patches))
    rays = None
    if regularize in ("rays", "both", "rgbd"):
        loaded_prior = load_prior(prior, device=device)
        rays = RayPrior(loaded_prior) if weight is None else RayPrior(loaded_prior, weight=weight)
        terms.append(rays)
    facts = {
        "regularize": regularize, "bare": bare, "prior": prior if rays else None,
        "rgbd_prior": rgbd_prior if regularize == "rgbd" else None, "weight": rays and rays.weight, "preset": preset,
    }  # fmt: skip

    return fit_to_folder(
        loaded, out, field=default_field(loaded, chosen.grid, seed=seed), terms=terms, recipe=recipe, seed=seed,
        device=device, facts=facts, video=video, cpu_time=cpu_time,
        also=lambda fit, _: save_rays(fit, out / "rays.npz"),
    )[0]  # fmt: skip


def _geometric(regularize: str, *, bare: bool) -> list[Term]:
    """The hand-made terms that were asked for."""
    distortion = {} if regularize in ("distortion", "both", "rgbd") else {"distortion": 0.0}
    others = {"opacity": 0.0, "frustum": 0.0, "consistency": 0.0} if bare else {}
    return geometric_terms(**distortion, **others, smoothness=0.0)  # its own subject is weights along single rays
