"""The prior over ray weights as a term of a fit, and its example's command."""

import importlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_examples import TEST, TINY, TRAIN, write_scene
from torch.testing import assert_close
from typer.testing import CliRunner

from examples.ray_weights import plot
from examples.ray_weights.__main__ import app
from scorereg import NetworkPrior, PriorCard, RayWeights, load_prior
from scorereg.cameras import Cameras
from scorereg.data.rays.make import rays_of_depth
from scorereg.fit import PRESETS, Batch, RayPrior, Recipe
from scorereg.fit.term import FitContext
from scorereg.priors.networks import UNetND
from scorereg.rendering import Render
from scorereg.scenes import Scene

NEAR, FAR = 1.0, 4.0
TRANSFORM = RayWeights(near=0.5, far=8.0, bins=16)


class Wall:
    """Denoises every ray to a surface in one bin."""

    channels = ("weight",)

    def __init__(self, bin: int) -> None:
        self.answer = torch.full((1, 1, 16), -1.0)
        self.answer[..., bin] = 1.0

    def denoise(self, x, sigma):
        return self.answer.expand_as(x).clone()


def shown(weights, step=0, steps=100):
    """A step of photo rays with these weights, even in log depth."""
    rays, n = weights.shape
    edges = torch.linspace(0, 1, n + 1).expand(rays, -1)
    other = torch.zeros(rays, n, 3)
    render = Render(other[:, 0], weights[:, 0], weights.sum(-1), weights, edges, other, weights, edges)
    camera = torch.zeros(rays, dtype=torch.long)
    return Batch(step, step / steps, render, camera, torch.zeros(rays, 2), torch.zeros(rays, 3))


def term(prior, **more):
    """The term, bound to a fit of 100 steps."""
    made = RayPrior(prior, TRANSFORM, **{"weight": 0.5, "sigma": (0.5, 0.1), "start": 0.25, "rays": 3, **more})
    cameras = Cameras(torch.eye(3, 4)[None], torch.full((1, 2), 8.0), torch.full((1, 2), 4.0), 8, 8)
    photos = torch.zeros(1, 8, 8, 3)
    scene = Scene("rays", photos, cameras, None, (0,), (), NEAR, FAR, 1.0, True, ("0.png",))
    context = FitContext(scene, cameras, photos, torch.nn.Module(), Recipe(steps=100), torch.Generator())
    made.bind(context)
    return made


def test_a_prior_without_a_card_needs_a_transform():
    with pytest.raises(ValueError, match="needs a `transform`"):
        RayPrior(Wall(7))


def test_its_fingerprint_is_that_of_its_settings_and_prior():
    assert term(Wall(7)).fingerprint() == term(Wall(7)).fingerprint()
    assert term(Wall(7), weight=0.2).fingerprint() != term(Wall(7)).fingerprint()
    assert term(Wall(8)).fingerprint() != term(Wall(7)).fingerprint()


def test_levels_that_the_prior_does_not_know_are_refused_at_once():
    prior = Wall(7)
    prior.card = PriorCard("lines", ("weight",), (16,), sigma_min=0.2, sigma_max=1.0)
    with pytest.raises(ValueError, match=r"'lines' at sigma 0\.5 to 0\.1, but it was trained for 0\.2 to 1"):
        term(prior)


def test_its_gradient_is_that_of_the_residual_in_prior_space():
    weights = torch.rand(5, 12, generator=torch.Generator().manual_seed(0)) / 12
    mine, plain = weights.clone().requires_grad_(), weights.clone().requires_grad_()
    wall = Wall(7)
    ray_prior = term(wall)
    value = ray_prior.factor(0.6) * ray_prior(shown(mine, step=60))
    value.backward()
    edges = NEAR * (FAR / NEAR) ** torch.linspace(0, 1, 13).expand(3, -1)
    residual = (TRANSFORM(plain[:3], edges) - wall.answer).square().sum((1, 2)).mean()
    expected = 0.5 * residual / 2  # weight w(sigma) / (2 sigma^2), with w = sigma^2
    expected.backward()
    assert_close(value, expected)
    assert_close(mine.grad, plain.grad)
    assert plain.grad is not None
    assert plain.grad[3:].abs().max() == 0  # of the first three rays only


def test_following_it_gathers_the_weight_where_the_prior_wants_it():
    depth = 2.0
    bin = int((TRANSFORM.edges < depth).sum()) - 1
    low, high = TRANSFORM.edges[bin : bin + 2].tolist()
    logits = torch.zeros(2, 48, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.1)
    loss = term(Wall(bin), weight=1.0, rays=2)
    for _ in range(300):
        optimiser.zero_grad()
        loss(shown(logits.softmax(-1), step=99)).backward()
        optimiser.step()
    middle = NEAR * (FAR / NEAR) ** ((torch.arange(48) + 0.5) / 48)
    inside = (middle > low) & (middle < high)
    assert logits.detach().softmax(-1)[:, inside].sum(-1).min() > 0.95


def test_it_begins_when_it_should():
    loss = term(Wall(7), start=0.25)
    assert not loss.active(0.24)
    assert loss.active(0.25)
    weights = torch.full((3, 12), 0.05, requires_grad=True)
    assert loss(shown(weights, step=25)).item() > 0
    assert loss._score.sigma is not None
    assert loss._score.sigma(25) == pytest.approx(0.5)  # pyright: ignore[reportCallIssue]
    assert loss._score.sigma(100) == pytest.approx(0.1)  # pyright: ignore[reportCallIssue]


def test_a_card_of_something_else_is_refused():
    card = PriorCard(name="pictures", channels=("r", "g", "b"), size=(24, 24), sigma_min=0.01, sigma_max=1.0)
    with pytest.raises(ValueError, match="'pictures' is one of r, g, b in 2 dimensions, not of the weights"):
        RayWeights.for_card(card)


# the command


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """The folder of an untrained prior over rays."""
    torch.manual_seed(0)
    card = PriorCard(
        name="untrained", channels=("weight",), size=(16,), sigma_min=0.002, sigma_max=2.0,
        training={"transform": TRANSFORM.to_json()},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("prior") / "untrained"
    network = UNetND(dimensions=1, in_channels=1, block_out_channels=(8, 16))
    NetworkPrior(network, card).save_pretrained(folder)
    return folder


def fit(scene, out, prior, *more):
    arguments = [str(scene), "--out", str(out), "--steps", "2", "--preset", "cpu", "--prior", str(prior), *more]
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise result.exception
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PRESETS, "cpu", TINY)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("regularize", ["none", "distortion", "rays", "both"])
def test_a_run_leaves_what_a_fit_leaves(regularize, prior, tmp_path):
    scene = write_scene(tmp_path / "wall")
    metrics = fit(scene, tmp_path / "run", prior, "--regularize", regularize, "--weight", "0.01")
    assert metrics["regularize"] == regularize
    assert metrics["steps"] == 2
    assert (metrics["prior"] is None) == (regularize in ("none", "distortion"))
    assert metrics["depth_abs_rel"] > 0
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "contact.png",
        "fit.json",
        "history.jsonl",
        "metrics.json",
        "rays.npz",
        "views",
        "weights.safetensors",
    }
    last = json.loads((tmp_path / "run/history.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert ("ray_prior" in last) == (regularize in ("rays", "both"))


@pytest.mark.usefixtures("tiny")
def test_a_seed_makes_it_repeatable(prior, tmp_path):
    scene = write_scene(tmp_path / "wall")
    one, two = (fit(scene, tmp_path / name, prior, "--bare") for name in "ab")
    assert one["views"] == two["views"]
    plot.main([tmp_path / "a", tmp_path / "b"], tmp_path / "rays.png")
    with Image.open(tmp_path / "rays.png") as picture:
        assert picture.width > 500
    with np.load(tmp_path / "b/rays.npz") as arrays:
        other = dict(arrays)
    np.savez(tmp_path / "b/rays.npz", **{**other, "pixels": other["pixels"] + 1})
    with pytest.raises(ValueError, match="the runs show different rays"):
        plot.main([tmp_path / "a", tmp_path / "b"], tmp_path / "rays.png")


def test_spread_is_the_standard_deviation_of_depth_over_its_mean():
    edges = np.array([0.5, 2.0, 8.0, 8.0 * 81 / 16])  # middles 1, 4 and 18
    assert plot.spread(np.array([0.0, 0.5, 0.0]), edges) == pytest.approx(0)
    assert plot.spread(np.array([0.4, 0.4, 0.0]), edges) == pytest.approx(1.5 / 2.5)


@pytest.mark.usefixtures("tiny")
def test_mistakes(prior, tmp_path):
    scene = write_scene(tmp_path / "wall")
    with pytest.raises(ValueError, match="must be one of none, distortion, rays, both, rgbd, but is 'all'"):
        fit(scene, tmp_path / "run", prior, "--regularize", "all")
    with pytest.raises(ValueError, match="not of the weights along rays"):
        fit(scene, tmp_path / "run", "rooms-rgbd-24")
    assert not (tmp_path / "run/metrics.json").exists()


# the shipped prior


def test_the_shipped_prior_denoises_rays_better_than_the_best_linear_filter():
    prior = load_prior("rays-64")
    transform = RayWeights.for_card(prior.card)
    assert transform == RayWeights()
    generator = torch.Generator().manual_seed(3)
    ramp = torch.linspace(1.0, 4.0, 48).expand(32, -1).clone()
    ramp[8:20, 10:30] = 0.9  # something stands before a slanted wall
    x = transform.encode(rays_of_depth(ramp, 512, transform.edges, generator))[:, None]
    sigma = torch.full((len(x),), 0.2)
    noised = x + 0.2 * torch.randn(x.shape, generator=generator)
    with torch.no_grad():
        error = (prior.denoise(noised, sigma) - x).square().mean()
    flat = x[:, 0].double()
    mean, covariance = flat.mean(0), flat.T.cov()
    gain = covariance @ torch.linalg.inv(covariance + 0.04 * torch.eye(64, dtype=torch.float64))
    linear = ((noised[:, 0].double() - mean) @ gain.T + mean - flat).square().mean()
    assert error < 0.5 * linear


@pytest.mark.usefixtures("tiny")
def test_without_test_views_there_is_nothing_to_tell_and_no_error(prior, tmp_path):
    scene = write_scene(tmp_path / "wall", train_filenames=TRAIN + TEST, test_filenames=None)
    arguments = [str(scene), "--out", str(tmp_path / "run"), "--steps", "2", "--views", "5", "--preset", "cpu"]
    result = CliRunner().invoke(app, [*arguments, "--prior", str(prior)])
    assert result.exception is None
    assert "no view was held out, so nothing is measured" in result.stdout
    assert (tmp_path / "run" / "rays.npz").exists()


@pytest.mark.usefixtures("tiny")
def test_metrics_are_not_there_before_the_rays_are(prior, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(importlib.import_module("examples.ray_weights.run"), "save_rays", full)
    with pytest.raises(OSError, match="no space left"):
        fit(write_scene(tmp_path / "wall"), tmp_path / "run", prior)
    assert not (tmp_path / "run" / "metrics.json").exists()
