"""Measured depth of the photos in a fit: its loss, where it pulls, and that only training views' depth is used."""

from dataclasses import replace

import pytest
import torch
from test_fit import HEIGHT, PATCHES, TINY, WIDTH, Flat, fit_state, fit_wall, held_out, same, tiny_prior, wall_scene
from torch.testing import assert_close

from scorereg.fit import MeasuredDepth, PatchPrior, default_terms, photo_terms
from scorereg.fit.measured_depth import disparity_huber


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return tiny_prior()


def grey_wall(depth=3.0, share=1.0):
    """Photos that say nothing about depth, and a depth that was measured at some of their pixels."""
    scene = wall_scene()
    known = torch.rand(scene.depth.shape, generator=torch.Generator().manual_seed(3)) < share
    return replace(scene, images=torch.full_like(scene.images, 0.7), depth=torch.where(known, depth, 0.0))


# the loss


def test_the_loss_is_hubers_of_relative_disparity():
    measured = torch.tensor([2.0, 2.0, 2.0, 2.0])
    depth = torch.tensor([2.0, 2 / 1.02, 2 / 0.98, 1.0])  # relative errors of disparity: 0, 2 %, -2 %, 100 %
    expected = torch.tensor([0.0, 0.02**2 / 0.1, 0.02**2 / 0.1, 1 - 0.025])
    assert_close(disparity_huber(depth, measured, delta=0.05), expected, rtol=1e-4, atol=1e-8)
    assert_close(disparity_huber(40 * depth, 40 * measured, delta=0.05), expected, rtol=1e-4, atol=1e-8)  # of no unit


def test_the_loss_has_a_slope_of_one_at_most_that_does_not_jump():
    inverse = torch.linspace(0.2, 3, 2801, requires_grad=True)
    disparity_huber(1 / inverse, torch.ones(2801), delta=0.1).sum().backward()
    slope = inverse.grad
    assert slope.abs().max() <= 1 + 1e-5
    assert_close(slope[[0, -1]], torch.tensor([-1.0, 1.0]))
    assert slope.diff().abs().max() < 0.02
    middle = (inverse - 1).abs() < 0.1
    assert_close(slope[middle], ((inverse - 1) / 0.1)[middle], rtol=0, atol=1e-4)


def test_the_term_is_the_mean_over_the_rays_whose_depth_is_known():
    scene = grey_wall(share=0.5)
    term = MeasuredDepth(0.3, band=0.0)
    state = fit_state([*photo_terms(), term], scene=scene)
    batch, _ = state._batch(0, 0.0)
    column, row = batch.pixel.long().unbind(-1)
    measured = scene.depth[batch.camera, row, column]
    known = measured > 0
    assert 10 < known.sum() < 54
    expected = disparity_huber(batch.photo.depth[known], measured[known], delta=0.05).mean()
    assert_close(term(batch), expected)
    assert term.factor(0.4) == 0.3
    assert_close(MeasuredDepthOf(state, 0.1)(batch), expected)  # the band changes the gradient alone


def MeasuredDepthOf(state, band):
    term = MeasuredDepth(band=band)
    term._depth, term._near, term._far = state.scene.depth[:3], state.scene.near, state.scene.far
    return term


def test_rays_without_a_depth_pull_nowhere():
    scene = grey_wall()
    one = torch.zeros_like(scene.depth)
    one[0, 0, 0] = 3.0
    term = MeasuredDepth()
    state = fit_state([*photo_terms(), term], scene=replace(scene, depth=one))
    batch, _ = state._batch(0, 0.0)
    assert not ((batch.camera == 0) & (batch.pixel == 0.5).all(-1)).any()
    value = term(batch)
    value.backward()
    assert value == 0
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in state.field.parameters())


# fits


@pytest.mark.parametrize("metres", [1.5, 3.0])
@pytest.mark.parametrize("share", [1.0, 0.1])
def test_measured_depth_decides_what_photos_leave_open(metres, share):
    scene = grey_wall(metres, share)
    fit = fit_wall(scene=scene, regularize="geometric", recipe=replace(TINY, steps=120), terms=[MeasuredDepth()])
    _, depth, opacity = held_out(fit)
    assert abs(depth.median() - metres) < 0.08 * metres
    assert opacity.mean() > 0.5


@pytest.mark.parametrize("value", [0.0, 1.1, float("nan"), float("inf")])
def test_depth_of_held_out_views_is_never_used(value, prior):
    scene = wall_scene()
    depth = scene.depth.clone()
    depth[3] = value
    terms = lambda: [MeasuredDepth(), PatchPrior(prior, **PATCHES, depth=True)]  # noqa: E731
    fits = [
        fit_wall(scene=s, regularize="geometric", recipe=replace(TINY, steps=8), terms=terms())
        for s in (scene, replace(scene, depth=depth))
    ]
    assert same(*fits)
    assert fits[0].history == fits[1].history


def test_depth_is_used_where_it_is_asked_for_alone(prior):
    scene = wall_scene()
    depth = scene.depth.clone()
    depth[0] = 1.3
    settings = {"regularize": "geometric", "recipe": replace(TINY, steps=8)}
    quiet = [fit_wall(scene=s, **settings) for s in (scene, replace(scene, depth=depth))]
    asked = [fit_wall(scene=s, **settings, terms=[MeasuredDepth()]) for s in (scene, replace(scene, depth=depth))]
    assert same(*quiet)
    assert not same(*asked)
    assert not same(quiet[0], asked[0])


def test_the_term_works_between_its_start_and_its_end():
    term = MeasuredDepth(start=0.25, end=0.75)
    assert [term.active(p) for p in (0.0, 0.25, 0.5, 0.75)] == [False, True, True, False]
    fit = fit_wall(scene=grey_wall(), regularize="none", recipe=replace(TINY, steps=8), terms=[term])
    assert [values["step"] for values in fit.history if "depth" in values] == [2, 3, 4, 5]


# the prior is shown it


def test_the_prior_is_shown_measured_disparity_that_does_not_move(prior, monkeypatch):
    asked = []

    def keep(score, patch, **settings):
        asked.append((patch, settings["known"]))
        return patch.square().sum()

    monkeypatch.setattr("scorereg.score_loss.loss.ScoreLoss.__call__", keep)
    scene = grey_wall(3.0, share=0.5)
    settings = PATCHES | {"photo_fraction": 0.5, "start": 0.0, "patches": 8}
    for used in (True, False):
        term = PatchPrior(prior, **settings, depth=used)
        state = fit_state([*photo_terms(), term], scene=scene)
        state.step(0)
        (patch, known), drawn = asked.pop(), term._drawn
        assert torch.equal(known[:, 0], drawn.shown.expand_as(known[:, 0]))
        if not used:
            assert drawn.depth is None
            assert not known[:, 3].any()
            continue
        assert torch.equal(known[:, 3], drawn.depth > 0)
        assert (drawn.depth > 0)[~drawn.from_photo].sum() == 0
        assert 0.3 < (drawn.depth > 0)[drawn.from_photo].float().mean() < 0.7
        assert_close(patch[:, 3][known[:, 3]], torch.full((int(known[:, 3].sum()),), 2 * 0.5 / 3 - 1))
        assert (patch[:, 3][~known[:, 3]] - (2 * 0.5 / 3 - 1)).abs().min() > 1e-4


@pytest.mark.usefixtures("as_user")
def test_a_prior_that_is_shown_depth_leaves_it_alone(prior):
    """It holds that the world is at 1.3 m, of patches at cameras alone, whose depth was measured everywhere: 3 m."""
    flat = Flat(prior.card, 2 * 0.5 / 1.3 - 1)
    depths = []
    for known in (False, True):
        term = PatchPrior(flat, **(PATCHES | {"photo_fraction": 1.0, "start": 0.0}), depth=known)
        recipe = replace(TINY, steps=80)
        fit = fit_wall(scene=grey_wall(3.0), regularize="geometric", recipe=recipe, terms=[MeasuredDepth(), term])
        depths.append(held_out(fit)[1].median().item())
    assert depths[0] < 2.5
    assert depths[1] == pytest.approx(3.0, rel=0.08)


def test_default_terms_take_the_weight_and_show_it_to_the_prior(prior):
    plain, used = default_terms(prior), default_terms(prior, depth=0.2)
    assert [t.name for t in used] == [
        "photo", "background", "opacity", "frustum", "distortion", "consistency", "smoothness", "depth", "prior",
    ]  # fmt: skip
    assert [t.name for t in plain] == [t.name for t in used if t.name != "depth"]
    assert (used[7].weight, used[8].depth, plain[-1].depth) == (0.2, True, False)
    assert [t.name for t in default_terms(regularize="none", depth=0.2)] == ["photo", "background", "depth"]


# mistakes


@pytest.mark.parametrize("depth", ["none", "unknown", "masked", "held out alone"])
def test_photos_without_measured_depth_are_named(depth):
    scene = wall_scene()
    known = torch.zeros(4, HEIGHT, WIDTH)
    if depth == "none":
        scene = replace(scene, depth=None)
    elif depth == "masked":
        scene = replace(scene, masks=torch.rand(4, HEIGHT, WIDTH) > 0.5)
        scene = replace(scene, depth=torch.where(scene.masks, 0.0, 2.0))
    else:
        known[3] = 2.0 if depth == "held out alone" else 0.0
        scene = replace(scene, depth=known)
    with pytest.raises(ValueError, match="wall: the training photos have no measured depth, so there is none to fit"):
        fit_wall(scene=scene, regularize="none", terms=[MeasuredDepth()])


def test_depth_of_another_unit_is_warned_of():
    scene = wall_scene()
    thousandth = replace(scene, depth=scene.depth / 1000)
    with pytest.warns(
        UserWarning, match=r"wall: 100% of the measured .* \(median 0\.002 m\) lies outside of near 1 to"
    ):
        fit_state([*photo_terms(), MeasuredDepth()], scene=thousandth)
    depth = scene.depth.clone()
    depth[:, :1] = 9.0  # behind far, in one row of twenty
    fit_state([*photo_terms(), MeasuredDepth()], scene=replace(scene, depth=depth))


@pytest.mark.parametrize(
    "wrong", [{"weight": -1.0}, {"delta": 0.0}, {"start": 0.6, "end": 0.5}, {"band": 1.0}, {"weight": float("nan")}]
)
def test_arguments_out_of_their_range_are_named(wrong):
    with pytest.raises(ValueError, match="MeasuredDepth needs weight >= 0, delta > 0, 0 <= start < end <= 1"):
        MeasuredDepth(**wrong)
