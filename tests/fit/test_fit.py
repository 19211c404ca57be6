"""The whole loop on a scene whose depth is known: a textured wall before three small cameras."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from scorereg.cameras import Cameras
from scorereg.fit import CPU, GPU, Fit, Recipe, fit_scene
from scorereg.fit.loop import Loop
from scorereg.metrics import psnr
from scorereg.ops import GridShape
from scorereg.priors.card import PriorCard
from scorereg.priors.networks import NETWORK_SIZES, NetworkPrior, build_network
from scorereg.scenes import Scene

WALL = 2.0  # metres
WIDTH, HEIGHT = 24, 20
# dense levels alone, so that nothing is compiled
SMALL = GridShape(levels=4, features=2, log2_slots=16, base=6, finest=36)
TINY = Recipe(
    steps=20, rays=64, samples=12, proposal_samples=16, shape=SMALL, lr=2e-2, lr_network=1e-2, reveal=0.5, patches=1,
    falloff=1.0, opacity=1e-3, frustum=1e-2, distortion=1e-2, focal=None, known_rgb=0.25, sigma=(0.3, 0.02),
    prior_start=0.1, prior_end=1.0, prior_disparity=1.0, prior_rgb=0.1, normalize=None,
)  # fmt: skip


def texture(x, y):
    """Colours of the wall: bright waves that do not repeat within a picture."""
    r = torch.sin(6 * x + 3 * y) * torch.cos(4 * y)
    g = torch.sin(6 * y - 5 * x + 1)
    b = torch.cos(7 * x) * torch.sin(4 * y + 2)
    return 0.65 + 0.3 * torch.stack([r, g, b], -1)


def wall_scene(*, count=4, name="wall"):
    """Cameras a third of a metre apart, all looking along z; the last is held out, between the first two."""
    pose = torch.eye(3, 4).repeat(count, 1, 1)
    pose[:, 0, 3] = torch.tensor([-0.35, 0.0, 0.35, -0.15])[:count]
    pose[:, 1, 3] = torch.tensor([0.0, 0.1, -0.1, 0.05])[:count]
    center = torch.tensor([WIDTH / 2, HEIGHT / 2]).expand(count, 2)
    cameras = Cameras(pose, torch.full((count, 2), 20.0), center, WIDTH, HEIGHT)
    rays = [cameras.image_rays(i) for i in range(count)]
    points = torch.stack([ray.origins + WALL * ray.directions for ray in rays])
    images = texture(points[..., 0], points[..., 1])
    depth = torch.full((count, HEIGHT, WIDTH), WALL)
    names = tuple(f"{i}.png" for i in range(count))
    return Scene(name, images, cameras, depth, (0, 1, 2), (3,), 1.0, 5.0, 1.0, True, names)


def tiny_prior():
    """Untrained: its denoiser is the best linear one, pixel by pixel."""
    card = PriorCard(
        name="untrained", channels=("r", "g", "b", "disparity"), size=(16, 16), sigma_min=0.002, sigma_max=2.0,
        d_min=0.5, focal=(20.0, 40.0), network={"patchify": NETWORK_SIZES["tiny"]["patchify"]},
    )  # fmt: skip
    return NetworkPrior(build_network("tiny", patch=16, channels=4), card).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return tiny_prior()


@pytest.fixture(scope="module")
def fitted():
    """One fit that is long enough to be judged."""
    recipe = replace(
        TINY,
        steps=200,
        rays=192,
        samples=16,
        proposal_samples=24,
        lr=4e-2,
        lr_network=2e-2,
        view_degree=0,
        opacity=1e-2,
    )
    return fit_scene(wall_scene(), regularize="geometric", recipe=recipe, seed=0)


def held_out(fit):
    rgb, depth, opacity = fit.image(fit.scene.cameras.image_rays(3))
    return psnr(rgb.clamp(0, 1), fit.scene.images[3]), depth, opacity


# a fit that is long enough


def test_photos_are_explained(fitted):
    first, last = fitted.history[0]["psnr"], fitted.history[-1]["psnr"]
    assert first < 13
    assert last > first + 10
    rgb, _, _ = fitted.image(fitted.scene.cameras.image_rays(1))
    assert psnr(rgb.clamp(0, 1), fitted.scene.images[1]) > 20


def test_the_walls_depth_is_found(fitted):
    view, depth, opacity = held_out(fitted)
    middle = (slice(4, -4), slice(4, -4))
    assert (depth[middle] - WALL).abs().median() < 0.12 * WALL
    assert opacity[middle].mean() > 0.8
    assert view > 20


def test_history_tells_steps_and_terms_in_order(fitted):
    steps = [values["step"] for values in fitted.history]
    assert steps[0] == 0
    assert steps[-1] == 199
    assert steps == sorted(set(steps))
    assert {"photo", "opacity", "frustum", "distortion", "psnr"} <= set(fitted.history[0])
    assert fitted.history[3]["psnr"] == pytest.approx(-10 * math.log10(fitted.history[3]["photo"]))
    assert fitted.seconds > 0


def test_the_field_that_is_returned_shows_all_levels(fitted):
    assert_close(fitted.field.level_weights, torch.ones(4))
    steep = fit_scene(wall_scene(), regularize="none", recipe=replace(TINY, steps=2, falloff=0.125))
    assert_close(steep.field.level_weights, torch.tensor([1.0, 0.5, 0.25, 0.125]))


def test_an_image_is_the_same_each_time(fitted):
    rays = fitted.scene.cameras.image_rays(0)
    for a, b in zip(fitted.image(rays), fitted.image(rays), strict=True):
        assert torch.equal(a, b)


def test_a_fit_ends_with_the_average_of_what_it_went_through():
    loop = Loop(wall_scene(), None, "geometric", replace(TINY, average=0.1), 0)  # of 20 steps
    parameters = lambda *parts: [v.detach().clone() for part in parts for v in part.parameters()]  # noqa: E731
    expected = parameters(loop.field, loop.proposal)
    for step in range(4):
        loop.step(step)
        decay = min(0.5, (2 + step) / (11 + step))
        now = parameters(loop.field, loop.proposal)
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, now, strict=True)]
    for a, b in zip(parameters(*loop.averaged()), expected, strict=True):
        assert_close(a, b)
    last = Loop(wall_scene(), None, "geometric", replace(TINY, average=0.0), 0)
    for step in range(4):
        last.step(step)
    for a, b in zip(parameters(*last.averaged()), now, strict=True):
        assert torch.equal(a, b)


def test_stereo_counts_as_much_as_there_is_to_match():
    scene = wall_scene()
    grey = replace(scene, images=torch.full_like(scene.images, 0.5))
    weights = [Loop(s, None, "geometric", TINY, 0)._weights(1.0)["consistency"] for s in (grey, scene)]
    assert weights[0] < 1e-9
    assert 0 < weights[1] < TINY.consistency


# the three ways


def state(fit: Fit):
    return {**fit.field.state_dict(), **{f"proposal.{k}": v for k, v in fit.proposal.state_dict().items()}}


def same(a: Fit, b: Fit):
    return all(torch.equal(value, state(b)[name]) for name, value in state(a).items())


@pytest.mark.parametrize("regularize", ["none", "geometric", "prior"])
def test_one_seed_gives_one_field_to_the_bit(regularize, prior):
    settings = {"prior": prior if regularize == "prior" else None, "regularize": regularize, "recipe": TINY}
    first, second, other = (fit_scene(wall_scene(), **settings, seed=seed) for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)
    assert [v["photo"] for v in first.history] == [v["photo"] for v in second.history]


def test_the_callers_random_numbers_are_left_alone(prior):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    fit_scene(wall_scene(), prior, recipe=replace(TINY, steps=3, prior_start=0.0), seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_terms_by_kind(prior):
    recipe = replace(TINY, prior_start=0.5)
    plain = fit_scene(wall_scene(), regularize="none", recipe=recipe).history
    terms = fit_scene(wall_scene(), regularize="geometric", recipe=recipe).history
    full = fit_scene(wall_scene(), prior, regularize="prior", recipe=recipe).history
    assert all("photo" in values and "opacity" not in values and "prior" not in values for values in plain)
    assert all("opacity" in values and "prior" not in values for values in terms)
    assert all("opacity" in values for values in full)
    began = [values["step"] for values in full if "prior" in values]
    assert began[0] == 10  # at half of 20 steps
    assert began[-1] == 19


def test_the_prior_is_there_from_its_start_to_its_end(prior, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Loop, "_prior", lambda self, score, shown, patches, step: asked.append(step) or shown.depth.sum()
    )
    fit_scene(wall_scene(), prior, recipe=replace(TINY, steps=10, prior_start=0.3, prior_end=0.7))
    assert asked == [3, 4, 5, 6]


def test_prior_is_never_trained(prior):
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    fit_scene(wall_scene(), prior, recipe=replace(TINY, steps=5, prior_start=0.0))
    for name, value in prior.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_the_band_is_of_the_priors_pull_alone(prior):
    recipe = replace(TINY, steps=6, prior_start=0.0)
    wide, narrow = (fit_scene(wall_scene(), prior, recipe=replace(recipe, prior_band=b)) for b in (0.0, 0.1))
    assert not same(wide, narrow)
    plain = [fit_scene(wall_scene(), recipe=replace(recipe, prior_band=b), regularize="geometric") for b in (0.0, 0.1)]
    assert same(*plain)


def test_a_prior_that_is_not_asked_for_changes_nothing(prior):
    with_one = fit_scene(wall_scene(), prior, regularize="geometric", recipe=TINY)
    assert same(with_one, fit_scene(wall_scene(), None, regularize="geometric", recipe=TINY))


def test_prior_moves_the_field(prior):
    recipe = replace(TINY, prior_start=0.0)
    silent = fit_scene(wall_scene(), prior, recipe=replace(recipe, prior_disparity=0.0, prior_rgb=0.0))
    assert not same(silent, fit_scene(wall_scene(), prior, recipe=recipe))


class Flat:
    """A prior that holds that all of the world is at one disparity; it keeps what it was asked."""

    channels = ("r", "g", "b", "disparity")

    def __init__(self, card, disparity):
        self.card, self.disparity, self.levels = card, disparity, []

    def denoise(self, x, sigma):
        self.levels.append(sigma[0].item())
        expected = x.clone()
        expected[:, 3] = self.disparity
        return expected


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("metres", [1.3, 3.0])
def test_a_prior_decides_the_depth_that_photos_leave_open(metres, prior):
    """Photos of one grey wall say nothing about depth."""
    scene = wall_scene()
    scene = replace(scene, images=torch.full_like(scene.images, 0.7))
    flat = Flat(prior.card, 2 * 0.5 / metres - 1)
    recipe = replace(TINY, steps=80, prior_start=0.0)
    fit = fit_scene(scene, flat, recipe=recipe)  # type: ignore[arg-type]
    _, depth, _ = held_out(fit)
    assert abs(depth.median() - metres) < 0.1 * metres
    assert flat.levels[0] == pytest.approx(0.3)
    assert flat.levels[-1] == pytest.approx(0.3 * (0.02 / 0.3) ** (79 / 80))  # 0.02 a step later, at the end
    assert len(flat.levels) == 80
    assert flat.levels == sorted(flat.levels, reverse=True)


# reports and recipes


def test_reports_are_the_history(prior):
    heard = []
    fit = fit_scene(wall_scene(), prior, recipe=TINY, report=heard.append)
    assert heard == fit.history


@pytest.mark.parametrize("stop", [3, 12])
def test_a_fit_that_was_cut_off_ends_as_one_that_was_not(prior, tmp_path, monkeypatch, stop):
    monkeypatch.setattr("scorereg.fit.checkpoint.SECONDS", 0.0)
    recipe = replace(TINY, steps=16)

    def cut_off(values):
        if values["step"] == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_scene(wall_scene(), prior, recipe=recipe, report=cut_off, save=tmp_path / "fit.pt")
    heard = []
    went_on = fit_scene(wall_scene(), prior, recipe=recipe, save=tmp_path / "fit.pt", resume=True, report=heard.append)
    whole = fit_scene(wall_scene(), prior, recipe=recipe)
    assert same(went_on, whole)
    assert went_on.history == whole.history
    assert heard[0]["step"] == stop
    assert [path.name for path in tmp_path.iterdir()] == ["fit.pt"]


@pytest.mark.parametrize("estimator", ["sds", "sjc-unreduced", "sdi", "vsd"])
def test_each_estimator_moves_the_field_its_own_way(estimator, prior):
    recipe = replace(TINY, steps=4)
    direct, other = (fit_scene(wall_scene(), prior, recipe=replace(recipe, estimator=e)) for e in ("direct", estimator))
    assert not same(other, direct)
    assert same(fit_scene(wall_scene(), prior, recipe=replace(recipe, estimator=estimator)), other)


def test_a_fit_with_particles_goes_on_with_them(prior, tmp_path, monkeypatch):
    """They are trained along, so without their weights and Adam's moments it would be another fit."""
    monkeypatch.setattr("scorereg.fit.checkpoint.SECONDS", 0.0)
    recipe = replace(TINY, steps=8, estimator="vsd", prior_disparity=10.0)

    def cut_off(values):
        if values["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_scene(wall_scene(), prior, recipe=recipe, report=cut_off, save=tmp_path / "fit.pt")
    went_on = fit_scene(wall_scene(), prior, recipe=recipe, save=tmp_path / "fit.pt", resume=True)
    assert same(went_on, fit_scene(wall_scene(), prior, recipe=recipe))


def test_a_gate_weakens_what_is_far_out_and_tells_by_how_much(prior):
    quantiles = {"sigma": [0.02, 0.3], "levels": [0.5, 0.9], "values": [[1e-3, 2e-3], [1e-3, 2e-3]]}
    strict = NetworkPrior(prior.network, replace(prior.card, residual_quantiles=quantiles))
    recipe = replace(TINY, steps=4)
    gated = fit_scene(wall_scene(), strict, recipe=replace(recipe, gate=0.9))
    told = [values["gate"] for values in gated.history if "gate" in values]
    assert told
    assert all(0 < value < 1e-2 for value in told)
    assert not same(gated, fit_scene(wall_scene(), strict, recipe=recipe))
    with pytest.raises(ValueError, match="an estimator without noise"):
        fit_scene(wall_scene(), strict, recipe=replace(recipe, gate=0.9, estimator="sds"))


def test_without_resume_a_saved_fit_is_written_over(tmp_path):
    short = replace(TINY, steps=2)
    for steps in (short, short):
        fit = fit_scene(wall_scene(), regularize="none", recipe=steps, save=tmp_path / "fit.pt")
        assert len(fit.history) == 2


def test_resume_starts_afresh_where_nothing_is(tmp_path):
    short = replace(TINY, steps=2)
    fit = fit_scene(wall_scene(), regularize="none", recipe=short, save=tmp_path / "fit.pt", resume=True)
    assert len(fit.history) == 2


def test_a_saved_fit_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "fit.pt"
    fit_scene(wall_scene(), regularize="none", recipe=replace(TINY, steps=2), save=path)
    held = path.read_bytes()
    with pytest.raises(ValueError, match=r"another fit: rays was 64, now 65; seed was 0, now 1\."):
        fit_scene(
            wall_scene(), regularize="none", recipe=replace(TINY, steps=2, rays=65), seed=1, save=path, resume=True
        )
    assert path.read_bytes() == held


def test_a_saved_fit_of_another_prior_of_the_same_name_is_refused(prior, tmp_path):
    path, recipe = tmp_path / "fit.pt", replace(TINY, steps=2)
    fit_scene(wall_scene(), prior, recipe=recipe, save=path)
    other = NetworkPrior(prior.network, replace(prior.card, steps=7))
    with pytest.raises(ValueError, match=r"another fit: prior was untrained \(\w{8}\), now untrained \(\w{8}\)\."):
        fit_scene(wall_scene(), other, recipe=recipe, save=path, resume=True)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"sigma_min": 0.05}, r"at sigma 0\.3 to 0\.02, but it was trained for 0\.05 to 2"),
        ({"focal": None}, "has no focal length, so nothing says what its patches see"),
        ({"channels": ("r", "g", "b", "nx")}, "RGBD makes patches with channels"),
    ],
    ids=str,
)
def test_a_prior_that_would_stop_a_fit_in_its_midst_is_refused_before_it(card, says, prior):
    heard = []
    with pytest.raises(ValueError, match=says):
        fit_scene(
            wall_scene(), NetworkPrior(prior.network, replace(prior.card, **card)), recipe=TINY, report=heard.append
        )
    assert not heard


def test_a_saved_fit_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "fit.pt"
    path.write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"fit\.pt holds no readable fit"):
        fit_scene(wall_scene(), regularize="none", recipe=TINY, save=path, resume=True)


def test_one_step_is_a_fit():
    fit = fit_scene(wall_scene(), regularize="none", recipe=replace(TINY, steps=1))
    assert [values["step"] for values in fit.history] == [0]


def test_depth_and_held_out_photos_are_never_used(prior):
    scene = wall_scene()
    images = scene.images.clone()
    images[3] = float("nan")
    blind = replace(scene, depth=None, images=images)
    assert same(fit_scene(scene, prior, recipe=TINY), fit_scene(blind, prior, recipe=TINY))


def test_recipes_that_are_shipped_differ_in_size():
    assert CPU.steps < GPU.steps
    assert sum(CPU.shape.rows) < sum(GPU.shape.rows)
    assert 0 <= CPU.prior_start < CPU.prior_end <= 1


# mistakes


def test_prior_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"regularize='prior' needs a prior. Give one .*or 'geometric'"):
        fit_scene(wall_scene(), recipe=TINY)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_fit_without_steps_is_refused(steps):
    with pytest.raises(ValueError, match=rf"at least one step, got steps={steps}"):
        fit_scene(wall_scene(), regularize="none", recipe=replace(TINY, steps=steps))


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_photo_that_is_not_finite_ends_the_fit(value):
    scene = wall_scene(name="spoilt")
    images = scene.images.clone()
    images[1] = value
    with pytest.raises(ValueError, match=r"The fit of spoilt is not finite at step 0"):
        fit_scene(replace(scene, images=images), regularize="none", recipe=TINY)


@pytest.mark.usefixtures("as_user")
def test_a_regularize_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="both"):
        fit_scene(wall_scene(), regularize="both", recipe=replace(TINY, steps=1))  # type: ignore[arg-type]
