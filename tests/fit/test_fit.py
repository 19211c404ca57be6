"""The whole loop on a scene whose depth is known: a textured wall before three small cameras."""

import math
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from scorereg.cameras import Cameras
from scorereg.fit import (
    CPU,
    GPU,
    PRESETS,
    Fit,
    PatchPrior,
    Recipe,
    Term,
    default_terms,
    fit_scene,
    geometric_terms,
    photo_terms,
)
from scorereg.fit.fingerprint import fingerprint
from scorereg.fit.loop import FitState
from scorereg.metrics import psnr
from scorereg.ops import GridShape
from scorereg.priors.card import PriorCard
from scorereg.priors.networks import NETWORK_SIZES, NetworkPrior, build_network
from scorereg.rendering import MLP, DensityGrid, HashGrid, VoxelGrid
from scorereg.scenes import Scene

WALL = 2.0  # metres
WIDTH, HEIGHT = 24, 20
# dense levels alone, so that nothing is compiled
SMALL = GridShape(levels=4, features=2, log2_slots=16, base=6, finest=36)
TINY = Recipe(steps=20, rays=64, samples=12, proposal_samples=16, lr=2e-2, lr_network=1e-2, coarse_to_fine_end=0.5)
PATCHES = {
    "patches": 1, "photo_fraction": 0.25, "sigma": (0.3, 0.02), "start": 0.1, "end": 1.0, "disparity": 1.0, "rgb": 0.1,
}  # fmt: skip


def small_field(seed=0, **more):
    return HashGrid(*wall_scene().ball(), shape=SMALL, seed=seed, **more)


def hand_made(opacity=1e-3):
    return geometric_terms(opacity=opacity, frustum=1e-2, distortion=1e-2)


def fit_wall(prior=None, *, scene=None, regularize="prior", recipe=TINY, seed=0, field=None, terms=(), **more):
    """The short form's terms at this scene's size; what is not of the loop or the call is `PatchPrior`'s."""
    calls = {name: more.pop(name) for name in ("report", "save", "resume", "clock") if name in more}
    used = [*photo_terms(), *([] if regularize == "none" else hand_made())]
    if regularize == "prior":
        used.append(PatchPrior(prior, **(PATCHES | more)))
    field = small_field(seed) if field is None else field
    scene = wall_scene() if scene is None else scene
    return fit_scene(scene, field=field, terms=[*used, *terms], recipe=recipe, seed=seed, **calls)


def fit_state(terms, recipe=TINY, scene=None):
    scene = wall_scene() if scene is None else scene
    return FitState(scene, small_field(), DensityGrid(*scene.ball()), terms, recipe, 0)


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
    return NetworkPrior(build_network("tiny", patch_size=16, channels=4), card).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return tiny_prior()


@pytest.fixture(scope="module")
def fitted():
    """One fit that is long enough to be judged."""
    recipe = replace(TINY, steps=200, rays=192, samples=16, proposal_samples=24, lr=4e-2, lr_network=2e-2)
    terms = [*photo_terms(), *hand_made(opacity=1e-2)]
    return fit_scene(wall_scene(), field=small_field(view_degree=0), terms=terms, recipe=recipe, seed=0)


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
    steep = fit_wall(regularize="none", recipe=replace(TINY, steps=2), field=small_field(finest_level_scale=0.125))
    assert_close(steep.field.level_weights, torch.tensor([1.0, 0.5, 0.25, 0.125]))


def test_an_image_is_the_same_each_time(fitted):
    rays = fitted.scene.cameras.image_rays(0)
    for a, b in zip(fitted.image(rays), fitted.image(rays), strict=True):
        assert torch.equal(a, b)


def test_a_fit_ends_with_the_average_of_what_it_went_through():
    state = fit_state([*photo_terms(), *hand_made()], replace(TINY, average=0.1))  # of 20 steps
    parameters = lambda *parts: [v.detach().clone() for part in parts for v in part.parameters()]  # noqa: E731
    expected = parameters(state.field, state.proposal)
    for step in range(4):
        state.step(step)
        decay = min(0.5, (2 + step) / (11 + step))
        now = parameters(state.field, state.proposal)
        expected = [decay * a + (1 - decay) * b for a, b in zip(expected, now, strict=True)]
    for a, b in zip(parameters(*state.averaged()), expected, strict=True):
        assert_close(a, b)
    last = fit_state([*photo_terms(), *hand_made()], replace(TINY, average=0.0))
    for step in range(4):
        last.step(step)
    for a, b in zip(parameters(*last.averaged()), now, strict=True):
        assert torch.equal(a, b)


def test_stereo_counts_as_much_as_there_is_to_match():
    scene = wall_scene()
    grey = replace(scene, images=torch.full_like(scene.images, 0.5))
    factors = []
    for each in (grey, scene):
        terms = {term.name: term for term in geometric_terms()}
        fit_state(list(terms.values()), scene=each)
        factors.append(terms["consistency"].factor(1.0))
    assert factors[0] < 1e-9
    assert 0 < factors[1] < 5.5e-2


# the three ways


def state(fit: Fit):
    return {**fit.field.state_dict(), **{f"proposal.{k}": v for k, v in fit.proposal.state_dict().items()}}


def same(a: Fit, b: Fit):
    return all(torch.equal(value, state(b)[name]) for name, value in state(a).items())


@pytest.mark.parametrize("regularize", ["none", "geometric", "prior"])
def test_one_seed_gives_one_field_to_the_bit(regularize, prior):
    settings = {"prior": prior if regularize == "prior" else None, "regularize": regularize, "recipe": TINY}
    first, second, other = (fit_wall(**settings, seed=seed) for seed in (1, 1, 2))
    assert same(first, second)
    assert not same(first, other)
    assert [v["photo"] for v in first.history] == [v["photo"] for v in second.history]


def test_the_callers_random_numbers_are_left_alone(prior):
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    fit_wall(prior, recipe=replace(TINY, steps=3), start=0.0, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_terms_by_kind(prior):
    plain = fit_wall(regularize="none").history
    terms = fit_wall(regularize="geometric").history
    full = fit_wall(prior, regularize="prior", start=0.5).history
    assert all("photo" in values and "opacity" not in values and "prior" not in values for values in plain)
    assert all("opacity" in values and "prior" not in values for values in terms)
    assert all("opacity" in values for values in full)
    began = [values["step"] for values in full if "prior" in values]
    assert began[0] == 10  # at half of 20 steps
    assert began[-1] == 19


def test_the_prior_is_there_from_its_start_to_its_end(prior, monkeypatch):
    called = []
    monkeypatch.setattr(
        PatchPrior, "__call__", lambda self, batch: called.append(batch.step) or batch.requested.depth.sum()
    )
    fit_wall(prior, recipe=replace(TINY, steps=10), start=0.3, end=0.7)
    assert called == [3, 4, 5, 6]


def test_prior_is_never_trained(prior):
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    fit_wall(prior, recipe=replace(TINY, steps=5), start=0.0)
    for name, value in prior.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_the_band_changes_the_priors_gradient(prior):
    recipe = replace(TINY, steps=6)
    wide, narrow = (fit_wall(prior, recipe=recipe, start=0.0, band=b) for b in (0.0, 0.1))
    assert not same(wide, narrow)


@pytest.fixture
def small_default(monkeypatch):
    """A default field of dense levels alone, so that nothing is compiled."""
    monkeypatch.setattr("scorereg.fit.fit.default_field", lambda scene, seed: small_field(seed))


@pytest.mark.usefixtures("small_default")
def test_the_short_form_is_a_list_of_terms(prior):
    recipe = replace(TINY, steps=14)
    short = fit_scene(wall_scene(), prior, recipe=recipe, seed=1)
    long = fit_scene(wall_scene(), field=small_field(1), terms=default_terms(prior), recipe=recipe, seed=1)
    assert "prior" in short.history[8]
    assert same(short, long)
    assert [term.name for term in default_terms(prior)] == [
        "photo", "background", "opacity", "frustum", "distortion", "consistency", "smoothness", "prior",
    ]  # fmt: skip


@pytest.mark.usefixtures("small_default")
def test_a_prior_that_is_not_asked_for_changes_nothing(prior):
    recipe = replace(TINY, steps=3)
    with_one = fit_scene(wall_scene(), prior, regularize="geometric", recipe=recipe)
    assert same(with_one, fit_scene(wall_scene(), None, regularize="geometric", recipe=recipe))


def test_prior_moves_the_field(prior):
    silent = fit_wall(prior, start=0.0, disparity=0.0, rgb=0.0)
    assert not same(silent, fit_wall(prior, start=0.0))


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
    fit = fit_wall(flat, scene=scene, recipe=replace(TINY, steps=80), start=0.0)
    _, depth, _ = held_out(fit)
    assert abs(depth.median() - metres) < 0.1 * metres
    assert flat.levels[0] == pytest.approx(0.3)
    assert flat.levels[-1] == pytest.approx(0.3 * (0.02 / 0.3) ** (79 / 80))  # 0.02 a step later, at the end
    assert len(flat.levels) == 80
    assert flat.levels == sorted(flat.levels, reverse=True)


# reports and recipes


def test_reports_are_the_history(prior):
    heard = []
    fit = fit_wall(prior, recipe=TINY, report=heard.append)
    assert heard == fit.history


@pytest.mark.parametrize("stop", [3, 12])
def test_a_fit_that_was_cut_off_ends_as_one_that_was_not(prior, tmp_path, monkeypatch, stop):
    monkeypatch.setattr("scorereg.fit.checkpoint.SECONDS", 0.0)
    recipe = replace(TINY, steps=16)

    def cut_off(values):
        if values["step"] == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_wall(prior, recipe=recipe, report=cut_off, save=tmp_path / "fit.pt")
    heard = []
    went_on = fit_wall(prior, recipe=recipe, save=tmp_path / "fit.pt", resume=True, report=heard.append)
    whole = fit_wall(prior, recipe=recipe)
    assert same(went_on, whole)
    assert went_on.history == whole.history
    assert heard[0]["step"] == stop
    assert [path.name for path in tmp_path.iterdir()] == ["fit.pt"]


@pytest.mark.parametrize("estimator", ["sds", "sjc-unreduced", "sdi", "vsd"])
def test_each_estimator_moves_the_field_its_own_way(estimator, prior):
    recipe = replace(TINY, steps=4)
    direct, other = (fit_wall(prior, recipe=recipe, estimator=e) for e in ("direct", estimator))
    assert not same(other, direct)
    assert same(fit_wall(prior, recipe=recipe, estimator=estimator), other)


def test_a_fit_with_particles_goes_on_with_them(prior, tmp_path, monkeypatch):
    """They are trained along, so without their weights and Adam's moments it would be another fit."""
    monkeypatch.setattr("scorereg.fit.checkpoint.SECONDS", 0.0)
    recipe, more = replace(TINY, steps=8), {"estimator": "vsd", "disparity": 10.0}

    def cut_off(values):
        if values["step"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_wall(prior, recipe=recipe, report=cut_off, save=tmp_path / "fit.pt", **more)
    went_on = fit_wall(prior, recipe=recipe, save=tmp_path / "fit.pt", resume=True, **more)
    assert same(went_on, fit_wall(prior, recipe=recipe, **more))


def test_a_gate_weakens_what_is_far_out_and_tells_by_how_much(prior):
    quantiles = {"sigma": [0.02, 0.3], "levels": [0.5, 0.9], "values": [[1e-3, 2e-3], [1e-3, 2e-3]]}
    strict = NetworkPrior(prior.network, replace(prior.card, residual_quantiles=quantiles))
    recipe = replace(TINY, steps=4)
    gated = fit_wall(strict, recipe=recipe, gate=0.9)
    told = [values["gate"] for values in gated.history if "gate" in values]
    assert told
    assert all(0 < value < 1e-2 for value in told)
    assert not same(gated, fit_wall(strict, recipe=recipe))
    with pytest.raises(ValueError, match="an estimator without noise"):
        fit_wall(strict, recipe=recipe, gate=0.9, estimator="sds")


def test_without_resume_a_saved_fit_is_written_over(tmp_path):
    short = replace(TINY, steps=2)
    for steps in (short, short):
        fit = fit_wall(regularize="none", recipe=steps, save=tmp_path / "fit.pt")
        assert len(fit.history) == 2


def test_resume_starts_afresh_where_nothing_is(tmp_path):
    short = replace(TINY, steps=2)
    fit = fit_wall(regularize="none", recipe=short, save=tmp_path / "fit.pt", resume=True)
    assert len(fit.history) == 2


def test_a_saved_fit_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "fit.pt"
    fit_wall(regularize="none", recipe=replace(TINY, steps=2), save=path)
    held = path.read_bytes()
    with pytest.raises(ValueError, match=r"another fit: rays was 64, now 65; seed was 0, now 1\."):
        fit_wall(regularize="none", recipe=replace(TINY, steps=2, rays=65), seed=1, save=path, resume=True)
    assert path.read_bytes() == held


def test_a_saved_fit_of_another_prior_of_the_same_name_is_refused(prior, tmp_path):
    path, recipe = tmp_path / "fit.pt", replace(TINY, steps=2)
    fit_wall(prior, recipe=recipe, save=path)
    other = NetworkPrior(prior.network, replace(prior.card, steps=7))
    with pytest.raises(
        ValueError, match=r"another fit: prior\.prior was untrained \(\w{8}\), now untrained \(\w{8}\)\."
    ):
        fit_wall(other, recipe=recipe, save=path, resume=True)


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"sigma_min": 0.05}, r"at sigma 0\.3 to 0\.02, but it was trained for 0\.05 to 2"),
        ({"focal": None}, "has no focal length, so nothing says what its patches see"),
        ({"size": ()}, r"has patches of no size; a fit renders square ones. Say it: load_prior\(..., size="),
        ({"size": (8, 4)}, r"has patches of \(8, 4\) size; a fit renders square ones"),
        ({"channels": ("r", "g", "b", "nx")}, "RGBD makes patches with channels"),
    ],
    ids=str,
)
def test_a_prior_that_would_stop_a_fit_in_its_midst_is_refused_before_it(card, says, prior):
    heard = []
    with pytest.raises(ValueError, match=says):
        fit_wall(NetworkPrior(prior.network, replace(prior.card, **card)), recipe=TINY, report=heard.append)
    assert not heard


def test_a_saved_fit_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "fit.pt"
    path.write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"fit\.pt holds no readable fit"):
        fit_wall(regularize="none", recipe=TINY, save=path, resume=True)


def test_one_step_is_a_fit():
    fit = fit_wall(regularize="none", recipe=replace(TINY, steps=1))
    assert [values["step"] for values in fit.history] == [0]


def test_depth_and_held_out_photos_are_never_used(prior):
    scene = wall_scene()
    images = scene.images.clone()
    images[3] = float("nan")
    blind = replace(scene, depth=None, images=images)
    assert same(fit_wall(prior, scene=scene), fit_wall(prior, scene=blind))


def test_recipes_that_are_shipped_differ_in_size():
    assert CPU.steps < GPU.steps
    assert sum(PRESETS["cpu"].grid.rows) < sum(PRESETS["gpu"].grid.rows)


# terms and fields of one's own


class Deeper(Term):
    """Pulls the depth of rays of its own: one camera's middle row."""

    name = "deeper"

    def __init__(self, weight=1.0, *, since=0.5):
        self.weight, self.since = weight, since
        self._seen = []

    def bind(self, context):
        self._rays = context.cameras.image_rays(0)[HEIGHT // 2]

    def active(self, progress):
        return progress >= self.since

    def factor(self, progress):
        return self.weight

    def rays(self, step):
        return self._rays

    def __call__(self, batch):
        self._seen.append((batch.step, len(batch.requested.depth), len(batch.photo.depth), len(batch.render.depth)))
        return (batch.requested.depth - 4.0).abs().mean()

    def state_dict(self):
        return {"seen": list(self._seen)}

    def load_state_dict(self, state):
        self._seen = [tuple(entry) for entry in state["seen"]]


def test_a_term_gets_the_rays_that_it_asks_for_when_it_is_active():
    term = Deeper()
    fit = fit_wall(regularize="none", recipe=replace(TINY, steps=4), terms=[term])
    assert term._seen == [(step, WIDTH, 64, 64 + WIDTH) for step in (2, 3)]
    assert ["deeper" in values for values in fit.history] == [False, False, True, True]
    assert not same(fit, fit_wall(regularize="none", recipe=replace(TINY, steps=4)))


def test_two_terms_that_ask_for_rays_get_their_own():
    class Wider(Deeper):
        name = "wider"

        def rays(self, step):
            return self._rays[:5]

    one, other = Deeper(since=0.0), Wider(since=0.0)
    fit_wall(regularize="none", recipe=replace(TINY, steps=1), terms=[one, other])
    assert one._seen == [(0, WIDTH, 64, 64 + WIDTH + 5)]
    assert other._seen == [(0, 5, 64, 64 + WIDTH + 5)]


def test_a_factor_of_zero_only_reports():
    recipe = replace(TINY, steps=4)
    silent = fit_wall(regularize="none", recipe=recipe, terms=[lambda render, step: 0 * render.depth.sum()])
    told = fit_wall(regularize="none", recipe=recipe)
    assert same(silent, told)
    assert silent.history[1]["<lambda>"] == 0


def test_a_function_is_a_term_of_its_weighted_value():
    def nearness(render, step):
        return 1e-2 * (1 / render.depth).mean()

    fit = fit_wall(regularize="none", recipe=replace(TINY, steps=4), terms=[nearness])
    assert all(values["nearness"] > 0 for values in fit.history)
    assert not same(fit, fit_wall(regularize="none", recipe=replace(TINY, steps=4)))


def test_a_terms_state_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.fit.checkpoint.SECONDS", 0.0)
    recipe = replace(TINY, steps=6)

    def cut_off(values):
        if values["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_wall(regularize="none", recipe=recipe, terms=[Deeper()], report=cut_off, save=tmp_path / "fit.pt")
    term = Deeper()
    fit_wall(regularize="none", recipe=recipe, terms=[term], save=tmp_path / "fit.pt", resume=True)
    assert [entry[0] for entry in term._seen] == [3, 4, 5]


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (Deeper(), "Deeper()"),
        (Deeper(0.5, since=0.25), "Deeper(weight=0.5, since=0.25)"),
        (PatchPrior(tiny_prior(), patches=4), r"PatchPrior\(prior=untrained \(\w{8}\), patches=4\)"),
    ],
    ids=["default", "settings", "prior"],
)
def test_a_terms_repr_is_its_settings_in_one_line(term, text):
    assert repr(term) == text or re.fullmatch(text, repr(term))


@pytest.mark.parametrize("kind", ["voxels", "mlp"])
def test_any_field_is_fitted_and_resumed(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.fit.checkpoint.SECONDS", 0.0)
    recipe = replace(TINY, steps=30, lr=0.15, lr_network=2e-3 if kind == "mlp" else 0.02)

    def field():
        if kind == "mlp":
            return MLP(*wall_scene().ball(), width=32, layers=3, skip=2)
        low, high = torch.tensor([-3.0, -3.0, 0.5]), torch.tensor([3.0, 3.0, 5.0])
        return VoxelGrid(low, high, vertices=500, refine_at=(0.3,))

    def cut_off(values):
        if values["step"] == 20:
            raise KeyboardInterrupt

    settings = {"terms": photo_terms(), "recipe": recipe}
    whole = fit_scene(wall_scene(), field=field(), **settings)
    assert whole.history[-1]["psnr"] > whole.history[0]["psnr"] + 1
    assert whole.image(wall_scene().cameras.image_rays(3))[0].shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(KeyboardInterrupt):
        fit_scene(wall_scene(), field=field(), **settings, report=cut_off, save=tmp_path / "fit.pt")
    resumed = fit_scene(wall_scene(), field=field(), **settings, save=tmp_path / "fit.pt", resume=True)
    assert same(whole, resumed)


def test_seconds_are_the_clocks():
    ticks = iter(range(100))
    fit = fit_wall(regularize="none", recipe=replace(TINY, steps=1), clock=lambda: float(next(ticks)))
    assert fit.seconds in (1.0, 2.0)


# what a resumed fit is compared by


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda s: s**2, lambda s: 1000 * s),
        (lambda s: s**2, lambda s: s**3),
        (lambda s: (lambda t: t + 1)(s), lambda s: (lambda t: t + 2)(s)),
        (lambda s, k=1: k * s, lambda s, k=2: k * s),
        (partial(torch.mul, 2), partial(torch.mul, 3)),
        (torch.square, torch.sqrt),
        (torch.tensor([1.0]), torch.tensor([2.0])),
        (1.0, 2.0),
        ({"a": 1}, {"a": 2}),
        (Deeper(1.0), Deeper(2.0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_fingerprints_differ_where_settings_do(one, other):
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(one)
    assert " at 0x" not in fingerprint(one)


def test_a_function_is_known_by_what_it_takes_from_around_it():
    def scaled(k):
        return lambda s: k * s

    assert fingerprint(scaled(1)) == fingerprint(scaled(1))
    assert fingerprint(scaled(1)) != fingerprint(scaled(2))


def test_two_lambdas_are_two_fits(prior, tmp_path):
    path, recipe = tmp_path / "fit.pt", replace(TINY, steps=2)
    fit_wall(prior, recipe=recipe, save=path, weight=lambda s: s**2)
    fit_wall(prior, recipe=recipe, save=path, resume=True, weight=lambda s: s**2)
    with pytest.raises(ValueError, match=r"another fit: prior\.weight was <lambda> \(\w{8}\), now <lambda> \(\w{8}\)"):
        fit_wall(prior, recipe=recipe, save=path, resume=True, weight=lambda s: 1000 * s)
    with pytest.raises(ValueError, match=r"another fit: deeper\.since was none, now 0\.5; deeper\.type was none"):
        fit_wall(prior, recipe=recipe, save=path, resume=True, weight=lambda s: s**2, terms=[Deeper(since=0.5)])


# mistakes


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"terms": [7]}, r"is a scorereg.fit.Term or a function of \(render, step\), but one of those given is a int"),
        ({"terms": [Deeper(), Deeper()]}, "two terms of a fit are called deeper"),
        ({"terms": photo_terms(), "prior": 1}, "takes a prior or terms"),
        ({"terms": photo_terms(), "field": lambda points, directions: None}, "needs `field` to be a module"),
    ],
    ids=["type", "names", "both", "field"],
)
def test_unusable_arguments_are_named(settings, says):
    with pytest.raises(ValueError, match=says):
        fit_scene(wall_scene(), **settings)


@pytest.mark.parametrize("span", [(0.8, 0.5), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.5)])
def test_a_prior_that_would_never_be_used_is_refused(prior, span):
    with pytest.raises(ValueError, match="needs 0 <= start < end <= 1"):
        PatchPrior(prior, start=span[0], end=span[1])


def test_a_term_without_rays_has_none():
    class Blind(Term):
        name = "blind"

        def __call__(self, batch):
            return batch.requested.depth.sum()

    with pytest.raises(ValueError, match="asked for no rays in this step"):
        fit_wall(regularize="none", terms=[Blind()])


def test_prior_that_is_missing_is_named():
    with pytest.raises(ValueError, match=r"regularize='prior' needs a prior. Give one .*or 'geometric'"):
        fit_scene(wall_scene(), recipe=TINY)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_fit_without_steps_is_refused(steps):
    with pytest.raises(ValueError, match=rf"at least one step, got steps={steps}"):
        fit_wall(regularize="none", recipe=replace(TINY, steps=steps))


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_photo_that_is_not_finite_ends_the_fit(value):
    scene = wall_scene(name="spoilt")
    images = scene.images.clone()
    images[1] = value
    with pytest.raises(ValueError, match=r"The fit of spoilt is not finite at step 0"):
        fit_wall(scene=replace(scene, images=images), regularize="none")


@pytest.mark.usefixtures("as_user")
def test_a_regularize_that_is_unknown_is_refused():
    with pytest.raises(ValueError, match="both"):
        fit_scene(wall_scene(), regularize="both", recipe=replace(TINY, steps=1))  # type: ignore[arg-type]
