"""The example of a voxel grid: its blocks against closed forms, and its command on a wall written here."""

import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from test_examples import HEIGHT, TRAIN, WIDTH, write_scene
from torch.testing import assert_close
from typer.testing import CliRunner

from examples.voxel_grid.__main__ import app
from examples.voxel_grid.blocks import BlockSampler, upright
from examples.voxel_grid.floaters import empty_points, floaters
from examples.voxel_grid.recipe import PRESETS
from examples.voxel_grid.run import frustum_box
from examples.voxel_grid.terms import BlockPrior, in_prior_space
from scorereg import Density, PriorCard, ScoreLoss
from scorereg.cameras import Cameras
from scorereg.fit import Fit, Photo
from scorereg.fit.loop import FitState
from scorereg.ops import frustum_count
from scorereg.priors.networks import NetworkPrior, build_network
from scorereg.rendering import Render
from scorereg.rendering.voxel_grid import VoxelGrid
from scorereg.scenes import load_scene

pytest.importorskip("matplotlib", reason="needs matplotlib, from the extra examples")

CARD = PriorCard(
    name="blocks", channels=("occupancy",), size=(8, 8, 8), sigma_min=0.002, sigma_max=2.0,
    training={"transform": Density(0.02).to_json()},
)  # fmt: skip
LOW, HIGH = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([1.0, 1.5, 3.0])


# blocks


def cameras(turn=None) -> Cameras:
    """Two cameras at x = -1 and 1, y up in the world, looking along -z."""
    pose = torch.diag(torch.tensor([1.0, -1, -1])).repeat(2, 1, 1)
    pose = torch.cat([pose, torch.tensor([[[-1.0], [0], [0]], [[1], [0], [0]]])], -1)
    if turn is not None:
        pose = turn @ pose
    return Cameras(pose, torch.full((2, 2), 5.0), torch.full((2, 2), 5.0), 10, 10)


def rays_of(points, weights) -> Render:
    edges = torch.linspace(0, 1, points.shape[1] + 1).expand(len(points), -1)
    one = weights.sum(-1)
    return Render(torch.zeros(len(points), 3), one, one, weights, edges, points, weights, edges)


def test_a_block_is_an_upright_lattice():
    blocks = BlockSampler(cameras(), size=4, voxel=(0.1, 0.2), unseen=0.0).at(
        torch.tensor([[1.0, 2, 3], [0, 0, 0]]), torch.tensor([0.1, 0.2])
    )
    assert blocks.points.shape == (2, 4, 4, 4, 3)
    assert_close(blocks.points.mean((1, 2, 3)), torch.tensor([[1.0, 2, 3], [0, 0, 0]]), atol=1e-6, rtol=0)
    for axis in range(3):
        step = blocks.points.select(axis + 1, 1) - blocks.points.select(axis + 1, 0)
        expected = torch.zeros(2, 3)
        expected[:, axis] = blocks.voxel
        assert_close(step, expected[:, None, None].expand_as(step), atol=1e-6, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_points_up_in_a_block_is_up_for_the_cameras(axis, sign):
    tilt = torch.linalg.matrix_exp(torch.tensor([[0.0, 0.2, 0], [-0.2, 0, 0.1], [0, -0.1, 0]]))
    turn = torch.zeros(3, 3)
    turn[axis, 1], turn[(axis + 1) % 3, 2] = sign, 1.0
    turn[:, 0] = torch.linalg.cross(turn[:, 1], turn[:, 2])
    axes = upright(cameras(turn @ tilt))
    assert_close(axes.T @ axes, torch.eye(3))
    assert_close(torch.linalg.det(axes), torch.tensor(1.0))
    expected = torch.zeros(3)
    expected[axis] = sign
    assert_close(axes[:, 1], expected)
    sampler = BlockSampler(cameras(turn @ tilt), size=2, voxel=(0.1, 0.1), unseen=0.0)
    points = sampler.at(torch.zeros(1, 3), torch.tensor([0.1])).points[0]
    assert_close(points[:, 1] - points[:, 0], (0.1 * expected).expand(2, 2, 3), atol=1e-6, rtol=0)


def test_blocks_lie_at_surfaces_and_where_few_look():
    points = torch.tensor([[[0.0, 0, -2], [0, 0, -3]], [[9, 0, -2], [-9, 0, -2]]])  # the last two: no camera sees them
    weights = torch.tensor([[0.0, 0.9], [0.0, 0.0]])
    generator = torch.Generator().manual_seed(0)

    def middles(unseen):
        sampler = BlockSampler(cameras(), size=2, voxel=(1e-3, 1e-3), unseen=unseen)
        return sampler.sample(rays_of(points, weights), 20, generator).points.mean((1, 2, 3))

    surface = torch.tensor([0.0, 0, -3]).expand(20, 3)
    assert_close(middles(0.0), surface, atol=2e-3, rtol=0)
    alone = middles(1.0)
    assert_close(alone[:, 0].abs(), torch.full((20,), 9.0), atol=2e-3, rtol=0)
    assert len(alone[:, 0].sign().unique()) == 2


class HalfSolid:
    """A prior that knows one block only: x = 0, half solid."""

    channels = ("occupancy",)
    card = CARD

    def denoise(self, x, sigma):
        return torch.zeros_like(x)


def test_the_score_deletes_and_fills():
    """The densities move to what the prior knows from below and from above."""
    field = VoxelGrid(torch.zeros(3), torch.ones(3), vertices=1000, coarser=1)
    blocks = BlockSampler(cameras(), size=8, voxel=(0.1, 0.1), unseen=0.0).at(
        torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([0.1])
    )
    half = math.log(math.log(2) / 0.1)
    for raw, sign in ((half - 3, -1), (half + 3, 1), (12.0, 1)):  # nearly free; solid; as solid as can be
        with torch.no_grad():
            field.raw_density.fill_(raw)
        loss = ScoreLoss(HalfSolid(), sigma=0.5)(in_prior_space(field, blocks, CARD))
        (slope,) = torch.autograd.grad(loss, field.raw_density)
        assert (sign * slope[2:-2, 2:-2, 2:-2] > 0).all()
    with torch.no_grad():
        field.raw_density.fill_(half)
    loss = ScoreLoss(HalfSolid(), sigma=0.5)(in_prior_space(field, blocks, CARD))
    assert torch.autograd.grad(loss, field.raw_density)[0].abs().max() < 1e-4


def test_blocks_of_several_voxels_are_each_transformed_by_their_own():
    field = VoxelGrid(LOW, HIGH, vertices=300, coarser=2)
    with torch.no_grad():
        field.raw_density.normal_()
    blocks = BlockSampler(cameras(), size=3, voxel=(0.1, 0.2), unseen=0.0).at(
        torch.tensor([[0.0, 0.7, 2.5], [0.1, 0.7, 2.5]]), torch.tensor([0.05, 0.2])
    )
    x = in_prior_space(field, blocks, CARD)
    for i, voxel in enumerate((0.05, 0.2)):
        density = field.density(blocks.points[i].reshape(-1, 3)).reshape(3, 3, 3)
        assert_close(x[i, 0], 1 - 2 * torch.exp(-density * voxel))
        assert_close(x[i, 0], Density(voxel)(density))


# floaters


def test_floaters_of_a_wall():
    """One camera, a wall at 2 m: free are the points from near to 1.8 m within a pyramid of 45 degrees."""
    alone = replace(
        cameras()[0], focal=torch.full((1, 2), 50.0), center=torch.full((1, 2), 50.0), width=100, height=100
    )
    depth = torch.full((1, 100, 100), 2.0)
    points = empty_points(depth, alone, near=0.5, voxel=0.05, margin=0.1)
    z = -points[:, 2]
    assert z.min() > 0.5
    assert z.max() < 1.8
    assert ((points[:, :2] - torch.tensor([-1.0, 0])).abs() <= z[:, None] + 1e-5).all()
    volume = (2 * 1.8) ** 2 * 1.8 / 3 - (2 * 0.5) ** 2 * 0.5 / 3
    assert len(points) * 0.05**3 == pytest.approx(volume, rel=0.1)

    found = floaters(lambda p: torch.where(p[:, 2] > -1, 1e9, 0.0), points)  # solid up to 1 m, free behind
    assert found["floater_mass"] == pytest.approx((z < 1).sum().item() * 0.05**3)
    assert found["floater_share"] == pytest.approx((z < 1).float().mean().item())
    fog = floaters(lambda p: torch.full((len(p),), 2.0), points)
    assert fog["floater_share"] == pytest.approx(1 - math.exp(-0.1))


def test_unknown_depth_shows_nothing_to_be_free():
    alone = cameras()[0]
    depth = torch.full((1, 10, 10), 2.0)
    depth[:, :, :5] = 0
    points = empty_points(depth, alone, near=0.5)
    assert len(points) > 0
    assert (points[:, 0] >= -1 - 1e-5).all()
    assert floaters(lambda p: p[:, 0], points[:0]) == {"floater_mass": None, "floater_share": None}


# the example


TINY = replace(
    PRESETS["cpu"], recipe=replace(PRESETS["cpu"].recipe, rays=48, samples=8, proposal_samples=12), vertices=300,
    refine_at=(0.5,), blocks={"start": 0.0}, patches={**PRESETS["cpu"].patches, "start": 0.0},
)  # fmt: skip


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "wall")


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "cpu", TINY)


@pytest.fixture(scope="module")
def priors(tmp_path_factory):
    """A folder of two untrained priors, of blocks and of patches."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("priors")
    blocks = replace(CARD, network={"patchify": 2})
    NetworkPrior(build_network("tiny", patch_size=(8, 8, 8), channels=1), blocks).save_pretrained(folder / "blocks")
    patches = PriorCard(
        name="patches", channels=("r", "g", "b", "disparity"), size=(24, 24), sigma_min=0.002, sigma_max=2.0,
        d_min=0.5, focal=(30.0, 60.0), network={"patchify": 1},
    )  # fmt: skip
    NetworkPrior(build_network("tiny", patch_size=24, channels=4), patches).save_pretrained(folder / "patches")
    return folder


def command(scene, out, *more, steps=2):
    """Run the command in this process; a mistake is raised."""
    given = [str(scene), "--out", str(out), "--steps", str(steps), "--preset", "cpu", *more]
    result = CliRunner().invoke(app, given)
    if result.exception is not None:
        raise result.exception
    return result


def of(priors):
    return ("--prior", str(priors / "blocks"), "--rgbd-prior", str(priors / "patches"))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("kind", ["none", "tv", "blocks", "blocks+rgbd"])
def test_two_steps_write_everything(kind, scene, priors, tmp_path):
    out = tmp_path / "run"
    result = command(scene, out, "--regularize", kind, *of(priors))
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["scene"], metrics["regularize"], metrics["steps"], metrics["seed"]) == ("wall", kind, 2, 0)
    assert (metrics["prior"] is None) == (kind in ("none", "tv"))
    assert (metrics["rgbd_prior"] is None) == (kind != "blocks+rgbd")
    assert {"ssim", "lpips", "device", "threads", "seconds", "torch", "near", "far", "scale"} <= metrics.keys()
    assert 0 < metrics["psnr"] < 40
    assert metrics["depth_abs_rel"] > 0
    assert 0 < metrics["floater_share"] < 0.5
    assert metrics["floater_mass"] > 0
    assert metrics["train"] == TRAIN
    for name in ("0", "3"):
        with Image.open(out / "views" / f"{name}.png") as picture:
            assert picture.size == (5 * WIDTH, HEIGHT)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    terms = {"photo"} | ({"tv"} if kind != "none" else set()) | ({"blocks"} if kind.startswith("blocks") else set())
    assert terms <= history[0].keys()
    assert ("prior" in history[0]) == (kind == "blocks+rgbd")
    assert ("blocks" in history[0]) == kind.startswith("blocks")
    assert not [path for path in out.rglob("*") if path.suffix == ".part"]
    assert f"PSNR {metrics['psnr']:.2f} dB" in result.stdout


@pytest.mark.usefixtures("tiny")
def test_a_seed_repeats_a_fit_to_the_bit(scene, priors, tmp_path):
    def fitted(name, seed):
        command(scene, tmp_path / name, "--regularize", "blocks+rgbd", "--seed", str(seed), *of(priors), steps=3)
        return dict(Fit.load(tmp_path / name).field.named_parameters())

    first, again, other = fitted("a", 0), fitted("b", 0), fitted("c", 1)
    for name, value in first.items():
        assert_close(value, again[name], rtol=0, atol=0)
    assert not torch.equal(first["color"], other["color"])


def one_step(loaded, prior):
    """The state of a fit of photos and the prior over blocks after one step, and the terms' values."""
    low, high = frustum_box(loaded.cameras[loaded.train], loaded.far)
    field = VoxelGrid(low, high, vertices=TINY.vertices)
    state = FitState(loaded, field, lambda points: field.density(points).detach(), [Photo(), prior], TINY.recipe, 0)
    return state, state.step(0)


def test_the_prior_over_blocks_moves_densities_that_no_photo_sees(scene):
    """As a step of two fits that differ in the prior alone."""
    loaded = load_scene(scene)

    def step(weight):
        state, terms = one_step(loaded, BlockPrior(HalfSolid(), weight=weight, blocks=8, start=0.0))
        return state.field.raw_density.grad, terms["blocks"]

    (without, none), (with_it, some) = step(0.0), step(1.0)
    assert none == some > 0
    moved = (with_it != 0) & (without == 0)
    assert moved.any()
    assert (with_it[moved] < 0).all()  # there is next to nothing, and half solid is what the prior knows: it fills


def test_what_two_cameras_see_can_be_spared(scene):
    prior = BlockPrior(HalfSolid(), blocks=8, start=0.0, spare_seen=True)
    state, _ = one_step(load_scene(scene), prior)
    batch, _ = state._batch(0, 0.0)
    blocks = prior._sampler.sample(batch.photo, 8, state.generator)
    seen = prior.seen(blocks)
    assert 0 < seen.float().mean() < 1
    for b, i, j, k in ((0, 0, 0, 0), (3, 2, 1, 3), (7, 1, 3, 0)):
        point = blocks.points[b, i, j, k]
        count = int(frustum_count(point[None], state.cameras))
        assert bool(seen[b, 0, i, j, k]) == (count >= 2)
    block = in_prior_space(state.field, blocks, prior.prior.card).detach().requires_grad_()
    prior._score(block, step=0, known=seen).backward()
    assert block.grad is not None
    assert (block.grad[seen] == 0).all()
    assert (block.grad[~seen] != 0).any()


@pytest.mark.usefixtures("tiny", "as_user")
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--regularize", "strong"), "--regularize must be one of none, tv, blocks, blocks\\+rgbd, but is 'strong'"),
        (("--preset", "tpu"), "--preset must be cpu or gpu"),
        (("--steps", "0"), "--steps must be at least 1"),
        (("--prior", "nowhere"), "no prior is called 'nowhere'"),
    ],
)
def test_mistakes_of_the_command_are_named(more, says, scene, tmp_path):
    with pytest.raises(ValueError, match=says):
        command(scene, tmp_path / "run", *more)


@pytest.mark.usefixtures("tiny", "as_user")
def test_a_prior_of_patches_is_no_prior_of_blocks(scene, priors, tmp_path):
    with pytest.raises(ValueError, match="not of blocks of densities"):
        command(scene, tmp_path / "run", "--prior", str(priors / "patches"))
