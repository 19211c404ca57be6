r"""Mitsuba 3: the painting of a wall from three small, noisy photos, with a prior on what Mitsuba renders.

A painted wall stands behind a ball and a box, lit by a lamp. Three cameras see it at an angle, with fewer pixels than
the painting has, and in little light. Mitsuba differentiates its render to the wall's texture; fitted to the photos
alone, the texture takes over their noise, and is unknown where something stands in the way of all of them.

In each step one more view is rendered, head on and of a part of the wall, as an RGB-D patch: colours from the
integrator, depth from its `aov`. Dr.Jit arrays speak DLPack, so

    dr.set_grad(patch, loss.gradient(patch, step=step)); dr.enqueue(dr.ADMode.Backward, patch)

sets the prior's gradient where an adjoint render starts, and `dr.traverse` carries it to the texture, beside the
data's. Each render has a backward pass of its own: one pass for two that share the texture reached one of them alone.

    pip install 'scorereg[examples-mitsuba]'          # set DRJIT_LIBLLVM_PATH if Dr.Jit does not find LLVM
    python -m examples.own_renderer.mitsuba_scene --out runs/wall
"""

# pyright: reportMissingImports=false, reportArgumentType=false
from pathlib import Path
from typing import Annotated, Any

import drjit as dr
import mitsuba as mi
import numpy as np
import torch
import typer

from examples.rgbd_frame import D_MIN, FOCAL, enlarged, read_frame
from scorereg import ScoreLoss, TiledPrior, load_prior, schedules
from scorereg.cli import one_line_errors
from scorereg.fit.pictures import apply_palette, labelled_grid, save

mi.set_variant("llvm_ad_rgb")

TEXTURE = (72, 96)  # texels; the wall is 2.4 m wide, 1.8 m high
PATCH = 48  # pixels of the view that the prior is shown; from 3 m a texel is a pixel wide
PHOTO, NOISE = (64, 48), 0.05  # pixels, linear radiance
CAMERAS = ((-1.6, 0.2, 2.4), (1.5, -0.1, 2.6), (0.2, 0.7, 2.8))  # metres; the wall is at z = 0
KEY = "wall.bsdf.reflectance.data"


def _matte(*rgb: float) -> dict[str, Any]:
    return {"type": "diffuse", "reflectance": {"type": "rgb", "value": list(rgb)}}


def build(texture: Any) -> Any:
    """The scene; painting in linear light, rows from the floor up. A render's fourth channel is depth along the ray."""
    at = mi.ScalarTransform4f
    painted = {"type": "diffuse", "reflectance": {"type": "bitmap", "data": texture, "raw": True, "wrap_mode": "clamp"}}
    floor = at().translate([0, -0.9, 0]).rotate([1, 0, 0], -90).scale(3)
    box = at().translate([-0.5, -0.7, 0.5]).rotate([0, 1, 0], 30).scale(0.2)
    scene = {
        "integrator": {"type": "aov", "aovs": "z:depth", "colours": {"type": "direct"}},
        "wall": {"type": "rectangle", "to_world": at().scale([1.2, 0.9, 1]), "bsdf": painted},
        "floor": {"type": "rectangle", "to_world": floor, "bsdf": _matte(0.4, 0.35, 0.3)},
        "ball": {"type": "sphere", "center": [0.35, -0.6, 0.7], "radius": 0.3, "bsdf": _matte(0.2, 0.4, 0.6)},
        "box": {"type": "cube", "to_world": box, "bsdf": _matte(0.6, 0.5, 0.2)},
        "lamp": {"type": "point", "position": [0.3, 1.2, 3], "intensity": {"type": "rgb", "value": 40.0}},
    }
    return mi.load_dict({"type": "scene", **scene})


def camera(place: Any, target: Any, focal: float, size: tuple[int, int]) -> Any:
    """A camera with a focal length in pixels."""
    film = {"type": "hdrfilm", "width": size[0], "height": size[1], "pixel_format": "rgb", "rfilter": {"type": "box"}}
    pose = mi.ScalarTransform4f().look_at(origin=list(place), target=list(target), up=[0, 1, 0])
    fov = float(np.rad2deg(2 * np.arctan(size[0] / 2 / focal)))
    return mi.load_dict({"type": "perspective", "fov": fov, "to_world": pose, "film": film})


def stored(radiance: Any) -> Any:
    """Linear radiance as colours are stored, in [0, 1]."""
    return dr.clip(radiance, 1e-3, 1) ** (1 / 2.2)


def rgbd(image: Any) -> Any:
    """A head-on render (h, w, 4) as a patch in prior space (1, 4, h, w)."""
    side = (np.arange(PATCH) + 0.5 - PATCH / 2) / FOCAL
    along = mi.TensorXf(np.sqrt(1 + side[:, None] ** 2 + side**2).astype(np.float32))  # ray length at depth 1
    channels = [*(stored(image[..., i]) for i in range(3)), D_MIN * along / image[..., 3]]
    return 2 * dr.concat([dr.reshape(c, (1, 1, PATCH, PATCH)) for c in channels], axis=1) - 1


def fit(photos: list[Any], loss: ScoreLoss | None, steps: int, seed: int) -> Any:
    """Adam on the texture: one photo a step and, with a loss, one head-on view."""
    random = np.random.default_rng(seed)
    params = mi.traverse(scene := build(dr.full(mi.TensorXf, 0.4, (*TEXTURE, 3))))
    optimiser = mi.ad.Adam(lr=0.03)
    optimiser[KEY] = params[KEY]
    sensors = [camera(place, (0, -0.1, 0), 60.0, PHOTO) for place in CAMERAS]
    for step in range(steps):
        optimiser.set_learning_rate(0.03 * (1 - 0.9 * step / steps))
        k = step % len(photos)
        params.update(optimiser)
        seen = mi.render(scene, params, sensor=sensors[k], spp=8, seed=2 * step)[..., :3]
        dr.backward(len(photos) * 0.5 / NOISE**2 * dr.sum(dr.square(seen - photos[k]).array))
        if loss is not None:
            x, y = random.uniform((-0.6, -0.3), (0.6, 0.3))
            params.update(optimiser)  # joins the texture to the optimiser's again; its gradients add up
            part = camera((x, y, 3), (x, y, 0), FOCAL, (PATCH, PATCH))
            patch = rgbd(mi.render(scene, params, sensor=part, spp=8, seed=2 * step + 1))
            dr.set_grad(patch, loss.gradient(patch, step=step))
            dr.enqueue(dr.ADMode.Backward, patch)
            dr.traverse(dr.ADMode.Backward)
        optimiser.step()
        optimiser[KEY] = dr.clip(optimiser[KEY], 0.001, 0.999)
    params.update(optimiser)
    return scene


def main(
    out: Annotated[Path, typer.Option(help="Folder of the picture.")] = Path("runs/own_renderer"),
    steps: Annotated[int, typer.Option(help="Steps of Adam.")] = 60,
    seed: Annotated[int, typer.Option(help="Seeds the photos' noise and the views of the prior.")] = 0,
) -> dict[str, float]:
    """Recover a wall's painting without a prior and with it, and compare head-on views that no photo shows."""
    painting = read_frame().rgb[:, : TEXTURE[0], 20 : 20 + TEXTURE[1]].flip(1)  # v points up
    painting = painting.permute(1, 2, 0).numpy() ** 2.2
    truth = build(mi.TensorXf(painting.copy()))
    noise = np.random.default_rng(seed)
    photos = []
    for k, place in enumerate(CAMERAS):
        clean = np.array(mi.render(truth, sensor=camera(place, (0, -0.1, 0), 60.0, PHOTO), spp=64, seed=k))[..., :3]
        photos.append(mi.TensorXf((clean + NOISE * noise.standard_normal(clean.shape)).astype(np.float32)))
    sigma = schedules.log_linear(0.2, 0.03, start=0, end=max(steps - 1, 1))
    share = PATCH**2 / (TEXTURE[0] * TEXTURE[1])  # of the wall that a view shows
    loss = ScoreLoss(TiledPrior(load_prior("rooms-rgbd-24"), overlap=8), sigma=sigma, weight=1 / share)
    scenes = {"target": truth, "no prior": fit(photos, None, steps, seed), "prior": fit(photos, loss, steps, seed)}
    wall = camera((0, 0, 3), (0, 0, 0), FOCAL, TEXTURE[::-1])
    renders = {name: mi.render(scene, sensor=wall, spp=64)[..., :3] for name, scene in scenes.items()}
    views = {name: torch.tensor(np.array(stored(render))) for name, render in renders.items()}
    psnr = {name: -10 * (views[name] - views["target"]).square().mean().log10().item() for name in list(scenes)[1:]}
    for name, value in psnr.items():
        typer.echo(f"{name:<9}{value:6.2f} dB")
    wrong = [apply_palette(4 * (views[name] - views["target"]).abs().mean(-1), palette="inferno") for name in psnr]
    photo = torch.tensor(np.array(stored(photos[0])))
    rows: list[tuple[str, list[torch.Tensor | None]]] = [
        ("head on", [enlarged(view, 3) for view in views.values()]),
        ("one photo,\nerrors", [enlarged(photo, 4), *(enlarged(error, 3) for error in wrong)]),
    ]
    out.mkdir(parents=True, exist_ok=True)
    save(labelled_grid(rows, ["target", *(f"{name} {psnr[name]:.1f} dB" for name in psnr)]), out / "mitsuba_scene.png")
    return psnr


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
