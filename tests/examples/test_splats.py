"""Gaussian splats: the renderer against its definition, the fit, and a prior that joins from outside."""

import ast
import importlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from test_examples import write_scene
from torch.testing import assert_close
from typer.testing import CliRunner

from examples.own_renderer.splats import cuda_renderer, renderer
from examples.own_renderer.splats.__main__ import app
from examples.own_renderer.splats.fit import fit, image, random_splats
from examples.own_renderer.splats.recipe import Recipe
from examples.own_renderer.splats.renderer import Splats
from scorereg import RGBD, GaussianFieldPrior, ScoreLoss
from scorereg.cameras import Cameras, rotation_matrix
from scorereg.priors.card import PriorCard
from scorereg.rendering.patches import PatchSampler
from scorereg.scenes import load_scene

pytest.importorskip("matplotlib", reason="needs matplotlib, from the extra examples")

FOLDER = Path(__file__).resolve().parent.parent.parent / "examples/own_renderer/splats"
FOCAL, WIDTH, HEIGHT = 20.0, 14, 10
VECTORS = ("pose", "focal", "center")


def camera(turn=(0.05, -0.1, 0.02), place=(0.1, 0.0, -0.2)):
    pose = torch.cat([rotation_matrix(torch.tensor([turn])), torch.tensor([place])[..., None]], -1).double()
    return Cameras(pose, torch.full((1, 2), FOCAL).double(), torch.tensor([[6.0, 5.5]]).double(), WIDTH, HEIGHT)


def some_splats(count=7, seed=0, opacity=0.7):
    """Gaussians of all shapes before the camera, in float64."""
    draw = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(shape, generator=draw, dtype=torch.float64)

    points = (uniform(count, 3) - 0.5) * torch.tensor([1.2, 0.8, 1.5]) + torch.tensor([0, 0, 2.0])
    splats = Splats(points, uniform(count, 3), 0.05 + 0.2 * uniform(count), opacity)
    with torch.no_grad():
        splats.size += uniform(count, 3) - 0.5
        splats.turn += 4 * uniform(count, 3) - 2
    return splats


def by_definition(splats, cameras):
    """Pixel by pixel and Gaussian by Gaussian; the projection's Jacobian is autograd's."""
    pose, centre = cameras.pose[0], cameras.center[0]

    def project(point):
        local = pose[:, :3].T @ (point - pose[:, 3])
        return FOCAL * local[:2] / local[2] + centre

    seen = []
    for mean, size, turn, logit, colour in zip(*splats.parameters(), strict=True):
        z = pose[:, 2] @ (mean - pose[:, 3])
        axes = torch.linalg.matrix_exp(torch.linalg.cross(turn.expand(3, 3), torch.eye(3).double()).T) * size.exp()
        jacobian = torch.autograd.functional.jacobian(project, mean)
        precision = torch.linalg.inv(jacobian @ axes @ axes.T @ jacobian.T + 0.3 * torch.eye(2))
        seen.append((z, project(mean), precision, 0.99 * logit.sigmoid(), colour.sigmoid()))
    seen.sort(key=lambda one: one[0].item())
    rgb, depth, opacity = torch.zeros(3, HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH)
    for i in range(HEIGHT):
        for j in range(WIDTH):
            left = 1.0
            for z, middle, precision, density, colour in seen:
                d = torch.tensor([j + 0.5, i + 0.5]) - middle
                alpha = float(density * torch.exp(-d @ precision @ d / 2))
                alpha = alpha if alpha > 1 / 255 else 0.0
                rgb[:, i, j] += left * alpha * colour.float()
                depth[i, j] += left * alpha * float(z)
                opacity[i, j] += left * alpha
                left *= 1 - alpha
    return rgb, depth / (opacity + 1e-6), opacity


# the renderer


@torch.no_grad()
def test_renders_what_its_formula_says():
    splats, cameras = some_splats(), camera()
    shown = splats(cameras)
    for mine, exact in zip(shown.values(), by_definition(splats, cameras), strict=True):
        assert_close(mine[0], exact.double(), rtol=1e-5, atol=1e-6)
    assert shown["opacity"].max() > 0.9
    assert shown["opacity"].min() < 0.1


def test_single_precision_is_enough():
    splats, cameras = some_splats(40, seed=1), camera()
    exact = splats(cameras)
    single = splats.float()(Cameras(cameras.pose.float(), cameras.focal.float(), cameras.center.float(), WIDTH, HEIGHT))
    assert_close(single["rgb"].double(), exact["rgb"], rtol=0, atol=1e-4)


@torch.no_grad()
def test_gradients_are_those_of_the_render():
    splats, cameras = some_splats(3), camera().windows(torch.tensor([[4.0, 3.0]]).double(), 1.0, width=3, height=2)
    names = [name for name, _ in splats.named_parameters()]

    def render(*values):
        return tuple(torch.func.functional_call(splats, dict(zip(names, values, strict=True)), cameras).values())

    values = tuple(p.detach().requires_grad_() for p in splats.parameters())
    with torch.enable_grad():
        assert torch.autograd.gradcheck(render, values)


def test_the_order_of_the_gaussians_is_theirs_in_depth():
    splats, cameras = some_splats(), camera()
    other = some_splats()
    order = torch.randperm(7)
    with torch.no_grad():
        for mine, theirs in zip(other.parameters(), splats.parameters(), strict=True):
            mine.copy_(theirs[order])
    for name, value in splats(cameras).items():
        assert_close(other(cameras)[name], value)


def test_nothing_in_view_is_black_and_has_finite_gradients():
    splats, cameras = some_splats(), camera(turn=(0.0, 3.1, 0.0))
    shown = splats(cameras)
    assert all((value == 0).all() for value in shown.values())
    sum(value.sum() for value in shown.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in splats.parameters())


def test_windows_put_together_are_the_image():
    splats, cameras = some_splats(20), camera()
    whole, parts = splats(cameras), image(splats, cameras, size=4)
    assert parts["rgb"].shape == (HEIGHT, WIDTH, 3)
    assert_close(parts["rgb"].permute(2, 0, 1), whole["rgb"][0])
    assert_close(parts["depth"], whole["depth"][0])


def test_a_wall_has_its_depth_and_colour():
    wall = Splats(torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[0.2, 0.5, 0.9]]), torch.tensor([50.0]), 0.999999)
    cameras = Cameras(torch.eye(3, 4)[None], torch.full((1, 2), FOCAL), torch.tensor([[7.0, 5.0]]), WIDTH, HEIGHT)
    with torch.no_grad():
        wall.size[:, 2] = -9.0  # flat
        wall.turn[:] = 1e-3
        shown = wall(cameras)
    assert_close(shown["depth"], torch.full((1, HEIGHT, WIDTH), 3.0), rtol=1e-4, atol=0)
    assert_close(shown["rgb"][0, :, 0, 0], 0.99 * torch.tensor([0.2, 0.5, 0.9]), rtol=1e-3, atol=0)


# gsplat's place


@pytest.fixture
def gsplat(monkeypatch):
    """A stand-in that takes gsplat's arguments by gsplat's conventions, and renders in torch; holds the last call's."""

    def rasterization(means, quats, scales, opacities, colors, viewmats, Ks, width, height, **more):
        module.call = {"width": width, "height": height, **more}
        real, imaginary = quats.split([1, 3], -1)  # any length will do
        length = imaginary.norm(dim=-1, keepdim=True)
        assert_close(Ks[:, 2], torch.tensor([0.0, 0.0, 1.0]).to(Ks).expand(len(Ks), 3))
        assert_close(viewmats[:, 3], torch.tensor([0.0, 0.0, 0.0, 1.0]).to(viewmats).expand(len(Ks), 4))
        assert_close(Ks[:, [0, 1], [1, 0]], torch.zeros_like(Ks[:, 0, :2]))
        inner = Splats(means.detach(), colors.detach(), scales.detach()[:, 0])
        values = {
            "mean": means, "size": scales.log(), "turn": 2 * torch.atan2(length, real) * imaginary / length,
            "opacity": (opacities / 0.99).logit()[:, None], "colour": colors.logit(),
        }  # fmt: skip
        seen = Cameras(torch.linalg.inv(viewmats)[:, :3], Ks[:, [0, 1], [0, 1]], Ks[:, :2, 2], width, height)
        shown = torch.func.functional_call(inner, values, seen)
        opacity = shown["opacity"][..., None]
        depth = (shown["depth"] * (shown["opacity"] + 1e-6))[..., None] / opacity.clamp_min(1e-10)
        return torch.cat([shown["rgb"].permute(0, 2, 3, 1), depth], -1), opacity, {}

    module = ModuleType("gsplat")
    module.__dict__["rasterization"] = rasterization
    monkeypatch.setitem(sys.modules, "gsplat", module)
    return module


@pytest.mark.parametrize("case", ["two cameras", "window", "wide pixels"])
def test_gsplat_is_asked_for_the_same_picture_and_gradients(gsplat, case):
    splats, one, other = some_splats(), camera(), camera(turn=(0.1, 0.2, -0.3))
    seen = {
        "two cameras": replace(
            one, **{name: torch.cat([getattr(one, name), getattr(other, name)]) for name in VECTORS}
        ),
        "window": one.windows(torch.tensor([[4.0, 3.0]]).double(), 1.0, width=6, height=4),
        "wide pixels": replace(one, focal=one.focal * torch.tensor([1.0, 1.3])),
    }[case]
    wanted = splats(seen)
    splats.render = cuda_renderer.render
    shown = splats(seen)
    shown["depth"] = shown["depth"] * shown["opacity"] / (shown["opacity"] + 1e-6)  # as ours, which is 0 of nothing
    for name, value in wanted.items():
        assert_close(shown[name], value)
    pulls = [torch.rand_like(value) for value in wanted.values()]
    exact, mine = (torch.autograd.grad([*x.values()], [*splats.parameters()], pulls) for x in (wanted, shown))
    for one, other in zip(mine, exact, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert {"render_mode": "RGB+ED", "eps2d": 0.3, "near_plane": renderer.NEAREST}.items() <= gsplat.call.items()


def test_quaternions_turn_as_the_rotation_does():
    """At any length, at none as well."""
    turn = torch.cat([torch.zeros(1, 3), 3 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0))]).double()
    w, x, y, z = cuda_renderer.quaternions(turn).T
    matrix = torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], -1).reshape(-1, 3, 3)  # fmt: skip
    assert_close(matrix, rotation_matrix(turn))


def test_gsplat_can_fit(gsplat, scene):
    splats, cameras, photos, draw = started(scene, count=60)
    splats.render = cuda_renderer.render
    before = splats.colour.detach().clone()
    fit(splats, cameras, photos, 2, draw, windows=2, size=8)
    assert (splats.colour != before).any()
    assert (gsplat.call["width"], gsplat.call["height"]) == (8, 8)
    assert image(splats, cameras[[0]])["rgb"].shape == photos[0].shape


# the fit


@pytest.fixture
def scene(tmp_path):
    return load_scene(write_scene(tmp_path / "wall"))


def started(scene, count=200):
    draw = torch.Generator().manual_seed(0)
    cameras, photos = scene.cameras[scene.train], scene.images[list(scene.train)]
    return random_splats(cameras, photos, count, scene.near, scene.far, draw), cameras, photos, draw


def test_a_fit_learns_the_photos_and_brings_faded_gaussians_back(scene):
    splats, cameras, photos, draw = started(scene)

    def error():
        with torch.no_grad():
            return sum((image(splats, cameras[[i]])["rgb"] - photos[i]).abs().mean().item() for i in range(3)) / 3

    before = error()
    with torch.no_grad():
        splats.opacity[:50] = -9.0
    fit(splats, cameras, photos, 130, draw, windows=4, size=12)
    assert error() < 0.5 * before
    assert (splats.opacity[:50] > -4).float().mean() > 0.5


def test_windows_elsewhere_are_rendered_last(scene):
    splats, cameras, photos, draw = started(scene)
    seen = []
    aside = cameras[[1]].windows(torch.tensor([[3.0, 5.0]]), 1.0, width=8, height=8)
    alone = splats(aside)["rgb"]

    def terms(shown):
        seen.append(shown["rgb"])
        return 0.0

    fit(splats, cameras, photos, 1, draw, windows=2, size=8, elsewhere=lambda step: aside, terms=terms)
    assert_close(seen[0][2:], alone)


# the prior


def test_attached_adds_exactly_the_scores_gradient(scene):
    splats, cameras, photos, draw = started(scene)
    transform = RGBD()
    prior = GaussianFieldPrior(8, ("r", "g", "b", "disparity"))
    loss = ScoreLoss(prior, sigma=0.1, channel_weights={"rgb": 0.2, "disparity": 0.5})
    nearby = importlib.import_module("examples.own_renderer.splats.run").Nearby(
        PatchSampler(cameras, photos, size=8, focal=(30.0, 60.0), photo_fraction=0.5),
        transform,
        Recipe(start=0.0),
        draw,
    )
    views = nearby(0)
    assert views is not None
    with torch.no_grad():
        splats.size += 0.5 * torch.randn(200, 3, generator=draw)  # no spheres, which may turn as they like

    def gradients(term):
        splats.zero_grad()
        shown = splats(views)
        (shown["rgb"].square().mean() + term(shown)).backward()
        return [p.grad.clone() for p in splats.parameters()]

    def by_hand(shown):
        patch, known = nearby.select(shown)
        return loss(patch, known=known)

    alone, wanted = gradients(lambda shown: 0.0), gradients(by_hand)
    handle = loss.attach(splats, select=nearby.select)
    attached = gradients(lambda shown: 0.0)
    assert handle.calls == 1
    for mine, theirs, without in zip(attached, wanted, alone, strict=True):
        assert_close(mine, theirs, rtol=1e-4, atol=1e-9)
        assert not torch.allclose(mine, without, rtol=1e-3)


def code_lines(path):
    """Lines that are neither blank nor a comment nor part of a docstring."""
    text = path.read_text(encoding="utf-8")
    told = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            told |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return [line for i, line in lines if i not in told and line.strip() and not line.strip().startswith("#")]


def test_renderer_and_fit_are_short_and_know_nothing_of_priors():
    assert sum(len(code_lines(FOLDER / f"{name}.py")) for name in ("renderer", "fit")) < 150
    for name in ("renderer", "fit", "cuda_renderer"):
        assert not re.search(r"prior|score\b|attach|sigma|denoise", (FOLDER / f"{name}.py").read_text(), re.IGNORECASE)


# the command


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command, with a prior that costs next to nothing."""
    module = importlib.import_module("examples.own_renderer.splats.run")
    prior = GaussianFieldPrior(16, ("r", "g", "b", "disparity"))
    prior.card = PriorCard(
        name="gaussian", channels=RGBD.channels, size=(16, 16), sigma_min=0.01, sigma_max=1.0, d_min=0.5,
        focal=(30.0, 60.0), network={},
    )  # fmt: skip
    monkeypatch.setattr(module, "load_prior", lambda name, device: prior)
    folder = write_scene(tmp_path / "wall")

    def command(out, *more):
        arguments = [
            str(folder), "--out", str(tmp_path / out), "--preset", "cpu", "--steps", "2", "--count", "60", *more
        ]  # fmt: skip
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads((tmp_path / out / "metrics.json").read_text())

    return command


@pytest.mark.parametrize("kind", ["none", "geometric", "prior", "both"])
def test_a_run_leaves_metrics_views_and_splats(run, kind, tmp_path):
    metrics = run("run", "--regularize", kind, "--seed", "3")
    assert {"psnr", "ssim", "lpips", "depth_abs_rel", "seconds", "near", "far", "scale", "torch"} <= set(metrics)
    assert (metrics["scene"], metrics["regularize"], metrics["seed"], metrics["steps"]) == ("wall", kind, 3, 2)
    assert (metrics["prior"] is None) == (kind in ("none", "geometric"))
    assert (metrics["preset"], metrics["renderer"], metrics["count"]) == ("cpu", "torch", 60)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["metrics.json", "splats.pt", "views"]
    assert len(list((tmp_path / "run/views").iterdir())) == len(metrics["views"]) == 2


def test_a_ply_holds_the_splats_in_the_coordinates_of_the_scene(run, tmp_path):
    """Means, covariances, opacities and colours, by the formulas of 3DGS."""
    plyfile = pytest.importorskip("plyfile")
    metrics = run("run", "--regularize", "none", "--scale", "2", "--ply", str(tmp_path / "splats.ply"))
    vertex = plyfile.PlyData.read(tmp_path / "splats.ply")["vertex"].data
    state = torch.load(tmp_path / "run/splats.pt", weights_only=True)

    def read(*names):
        return torch.stack([torch.tensor(vertex[name].copy()) for name in names], 1)

    assert metrics["scale"] == 2
    assert_close(read(*"xyz"), state["mean"] / 2)
    w, x, y, z = read("rot_0", "rot_1", "rot_2", "rot_3").unbind(1)
    rotation = torch.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], -1).reshape(-1, 3, 3)  # fmt: skip
    axes = rotation * read("scale_0", "scale_1", "scale_2").exp()[:, None]
    own = rotation_matrix(state["turn"]) * state["size"].exp()[:, None] / 2
    assert_close(axes @ axes.mT, own @ own.mT, rtol=1e-4, atol=1e-7)
    assert_close(read("opacity").sigmoid(), renderer.DENSEST * state["opacity"].sigmoid())
    assert_close(0.5 + 0.28209479177387814 * read("f_dc_0", "f_dc_1", "f_dc_2"), state["colour"].sigmoid())


def test_a_seed_repeats_a_run_and_another_does_not(run, tmp_path):
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run(out, "--regularize", "both", "--seed", seed)
    a, b, c = (torch.load(tmp_path / out / "splats.pt", weights_only=True) for out in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["mean"], c["mean"])


def test_what_lies_under_masks_changes_no_splat(run, tmp_path):
    module = importlib.import_module("examples.own_renderer.splats.run")
    scene = load_scene(tmp_path / "wall")
    masks = torch.ones_like(scene.images[..., 0], dtype=torch.bool)
    masks[:, 4:14, 6:20] = False

    def fitted(scene):
        draw = torch.Generator().manual_seed(0)
        recipe = Recipe(steps=6, count=60, start=0.0)
        return module._fitted(scene, recipe, "both", module.load_prior("any", device="cpu"), draw).state_dict()

    masked = fitted(replace(scene, masks=masks))
    images = torch.where(masks[..., None], scene.images, 1 - scene.images)
    spoilt = fitted(replace(scene, images=images, masks=masks))
    assert all(torch.equal(masked[name], spoilt[name]) for name in masked)
    assert all(value.isfinite().all() for value in masked.values())
    assert not torch.equal(masked["mean"], fitted(scene)["mean"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--regularize", "more"], r"--regularize must be one of none, geometric, prior, both, but is 'more'"),
        (["--steps", "0"], r"--steps must be at least 1, but is 0"),
        (["--count", "0"], r"--count must be at least 1, but is 0"),
        (["--preset", "tpu"], r"--preset must be cpu or gpu, but is 'tpu'"),
        (["--ply", "splats.obj"], r"--ply splats.obj must end with .ply"),
    ],
)
def test_mistakes_are_named(run, more, says):
    with pytest.raises(ValueError, match=says):
        run("bad", *more)
