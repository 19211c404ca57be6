"""One fit of a voxel grid from a folder of photos to a folder of results."""

from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from examples.voxel_grid.floaters import empty_points, floaters
from examples.voxel_grid.recipe import PRESETS, GridPreset
from examples.voxel_grid.terms import BlockPrior, TotalVariation
from scorereg import VoxelGrid, load_prior
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
from scorereg.fit import Fit, PatchPrior, Photo, Term
from scorereg.fit.folder import choose_device, choose_preset, fit_to_folder, make_run_folder, with_steps
from scorereg.scenes import Scene as LoadedScene
from scorereg.scenes import load_scene

__all__ = ["Regularize", "frustum_box", "run"]

Regularize = Literal["none", "tv", "blocks", "blocks+rgbd"]


def run(
    scene: Scene,
    out: OutFolder = Path("runs/voxel_grid"),
    *,
    regularize: Annotated[
        str, option("Prior", "none, tv (total variation), blocks (and the 3-D prior), or blocks+rgbd (and both).")
    ] = "blocks",
    prior: Annotated[str, option("Prior", "Prior over blocks: a shipped name, or a folder.")] = "blocks-32",
    rgbd_prior: RgbdPrior = "rooms-rgbd-24",
    views: Views = 3,
    max_size: MaxSize = None,
    scale: Scale = None,
    preset: Preset = "cpu",
    steps: Steps = None,
    seed: Seed = 0,
    cpu_time: CpuTime = False,
) -> dict:
    """Fit a voxel grid to a few photos, with or without a prior over blocks of its densities.

    It writes what `scorereg fit` does into `out`, but for the video.
    The arguments are the options of the command.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: If an argument, the scene or a prior is not usable.
        OSError: If a file cannot be read or `out` cannot be written.
    """
    if regularize not in get_args(Regularize):
        raise ValueError(f"--regularize must be one of {', '.join(get_args(Regularize))}, but is {regularize!r}.")
    device, chosen = choose_device(None), choose_preset(preset, PRESETS)
    recipe = with_steps(chosen.recipe, steps)
    make_run_folder(out)
    loaded = load_scene(scene, views=views, scale=scale, max_size=max_size)
    terms = _terms(regularize, chosen, prior, rgbd_prior, device)
    names = {term.name for term in terms}
    facts = {
        "regularize": regularize, "prior": prior if "blocks" in names else None,
        "rgbd_prior": rgbd_prior if "prior" in names else None, "preset": preset,
    }  # fmt: skip
    low, high = frustum_box(loaded.cameras[loaded.train], loaded.far)
    field = VoxelGrid(low, high, vertices=chosen.vertices, refine_at=chosen.refine_at).to(device)

    @torch.no_grad()
    def proposal(points: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return field.density(points)  # a grid's density is cheap: it is its own proposal

    return fit_to_folder(
        loaded, out, field=field, proposal=proposal, terms=terms, recipe=recipe, seed=seed, device=device,
        facts=facts, also=lambda fit, _: _floaters(fit, loaded), cpu_time=cpu_time,
    )[0]  # fmt: skip


def _terms(regularize: str, preset: GridPreset, prior: str, rgbd_prior: str, device: str) -> list[Term]:
    terms: list[Term] = [Photo()]
    if regularize != "none":
        terms.append(TotalVariation())
    if regularize in ("blocks", "blocks+rgbd"):
        terms.append(BlockPrior(load_prior(prior, device=device), **preset.blocks))
    if regularize == "blocks+rgbd":
        patches = load_prior(rgbd_prior, device=device)
        terms.append(PatchPrior(patches, focal=patches.card.focal or (80.0, 180.0), **preset.patches))
    return terms


def frustum_box(cameras: Cameras, far: float) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Return the least box along the world's axes that holds the cameras and all that they see up to `far`."""
    corners = cameras.focal.new_tensor([[x, y] for x in (0, cameras.width) for y in (0, cameras.height)])
    index = torch.arange(len(cameras), device=corners.device)[:, None].expand(-1, 4)
    rays = cameras.rays(index, corners.expand(len(cameras), -1, -1))
    ends = torch.cat([cameras.origins, (rays.origins + far * rays.directions).reshape(-1, 3)])
    return ends.amin(0), ends.amax(0)


def _floaters(fit: Fit, scene: LoadedScene) -> dict[str, float | None]:
    """Floaters in the space that the true depth of all views, of training and test, shows to be free."""
    assert isinstance(fit.field, VoxelGrid)
    found: dict[str, float | None] = {"floater_mass": None, "floater_share": None}
    if scene.depth is not None:
        field = fit.field
        depth = scene.depth if scene.masks is None else torch.where(scene.masks, scene.depth, 0.0)
        points = empty_points(depth, scene.cameras, near=scene.near)
        found = floaters(lambda piece: field.density(piece.to(field.low)), points)
    return found | {"voxel": fit.field.voxel}
