"""Fits of one photo or two, of no held-out view, and of terms that are not at work."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_fit import HEIGHT, TINY, WIDTH, fit_state, fit_wall, held_out, same, small_field, tiny_prior, wall_scene

from scorereg import fit_scene
from scorereg.baselines import frustum
from scorereg.fit import (
    Distortion,
    Frustum,
    FunctionTerm,
    MeasuredDepth,
    PatchPrior,
    Photo,
    PhotoConsistency,
    Term,
    geometric_terms,
    photo_terms,
)
from scorereg.fit.folder import some_of
from scorereg.fit.progress import in_words, notes
from scorereg.fit.views import render_views, summary

SHORT = replace(TINY, steps=10)


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return tiny_prior()


def few(count, **more):
    return replace(wall_scene(), train=tuple(range(count)), **more)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("regularize", ["none", "geometric", "prior"])
def test_one_photo_or_two_are_fitted_in_every_way(count, regularize, prior):
    scene = few(count)
    fit = fit_wall(prior if regularize == "prior" else None, scene=scene, regularize=regularize, recipe=SHORT)
    last = fit.history[-1]
    assert last["photo"] < fit.history[0]["photo"]
    assert ("consistency" in last) == (regularize != "none" and count > 1)
    assert ("prior" in last) == (regularize == "prior")
    again = fit_wall(prior if regularize == "prior" else None, scene=scene, regularize=regularize, recipe=SHORT)
    assert same(fit, again)


def test_one_photo_has_no_stereo_and_the_run_says_so():
    terms = geometric_terms()
    fit_state([*photo_terms(), *terms], scene=few(1))
    stereo = next(term for term in terms if isinstance(term, PhotoConsistency))
    assert not stereo.active(0.5)
    scene = replace(few(1), depth=None)
    assert notes(scene, terms) == ["one training photo has no other to agree with: there is no stereo term"]
    assert notes(scene, photo_terms()) == []
    assert notes(replace(few(2), depth=None), terms) == []


@pytest.mark.parametrize("count", [1, 2])
def test_the_frustum_term_asks_of_no_more_cameras_than_there_are(count):
    """One camera sees all along its own rays, so nothing of the scene is pressed out; elsewhere weight costs."""
    state = fit_state([Frustum(1.0)], scene=few(count))
    batch, _ = state._batch(0, 0.0)
    cost = frustum(batch.photo, state.cameras)
    if count == 1:
        assert (cost == 0).all()
        aside = replace(batch.photo, points=batch.photo.points + torch.tensor([50.0, 0.0, 0.0]))
        assert torch.allclose(frustum(aside, state.cameras), batch.photo.weights.sum(-1), atol=1e-5)
    else:
        seen = state.cameras.visible(batch.photo.points).sum(0)
        expected = (batch.photo.weights * (2 - seen)).sum(-1)
        assert torch.allclose(cost, expected, atol=1e-5)
        assert 0 < (seen == 1).float().mean() < 1


def test_one_photo_with_the_geometric_terms_leaves_a_scene():
    recipe = replace(TINY, steps=150, rays=192, lr=4e-2, lr_network=2e-2)
    fit = fit_scene(few(1), field=small_field(view_degree=0), terms=[*photo_terms(), *geometric_terms()], recipe=recipe)
    rgb, _, opacity = fit.image(fit.scene.cameras.image_rays(0))
    assert opacity.mean() > 0.8
    assert (rgb - fit.scene.images[0]).abs().mean() < 0.1


def test_one_photo_with_measured_depth_is_a_surface():
    terms = [*photo_terms(), *geometric_terms(), MeasuredDepth()]
    recipe = replace(TINY, steps=150, rays=192, lr=4e-2, lr_network=2e-2)
    fit = fit_scene(few(1), field=small_field(view_degree=0), terms=terms, recipe=recipe)
    _, depth, _ = held_out(fit)
    assert (depth[:, 6:-6] / 2 - 1).abs().median() < 0.05


# nothing held out


def test_without_held_out_views_training_views_are_shown_and_nothing_is_measured():
    fit = fit_wall(scene=few(3, test=()), regularize="none", recipe=SHORT)
    assert render_views(fit.scene, fit.image) == []
    shown = render_views(fit.scene, fit.image, some_of(fit.scene.train))
    assert [view.name for view in shown] == ["0.png", "1.png", "2.png"]
    assert shown[0].rgb.shape == (HEIGHT, WIDTH, 3)
    means = summary([])
    assert means == {"psnr": None, "ssim": None, "lpips": None, "depth_abs_rel": None, "views": []}
    assert in_words(means | {"seconds": 3.2}, "psnr", "ssim") == (
        "no view was held out, so nothing is measured; pictures of training views, 3 s"
    )


def test_of_many_training_views_twelve_are_shown():
    assert some_of((4, 9)) == (4, 9)
    many = some_of(tuple(range(100, 200)))
    assert (len(many), many[0], len(set(many))) == (12, 100, 12)
    assert min(b - a for a, b in pairwise(many)) >= 8


# terms that are not at work


class Late(Term):
    """At work in the second half alone."""

    name = "late"

    def active(self, progress):
        return progress >= 0.5

    def __call__(self, batch):
        return batch.photo.rgb.square().mean()


def test_steps_in_which_no_term_is_at_work_change_nothing():
    """The proposal is a function, so it has no loss either."""
    field = small_field()
    before = {name: value.clone() for name, value in field.state_dict().items()}
    states = []

    def look(values):
        states.append({name: value.clone() for name, value in field.state_dict().items()})

    settings = {"field": field, "proposal": lambda points: torch.ones(len(points)), "recipe": replace(SHORT, steps=4)}
    fit = fit_scene(wall_scene(), terms=[Late()], report=look, **settings)
    assert ["late" in values for values in fit.history] == [False, False, True, True]
    assert all(torch.equal(before[name], value) for name, value in states[1].items() if name != "level_weights")
    assert any(not torch.equal(before[name], value) for name, value in states[3].items() if name != "level_weights")


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ([], "fit_scene got no terms, so there is nothing to fit"),
        (
            [FunctionTerm(lambda render, step: torch.tensor(1.0), name="constant")],
            "The loss of step 0 does not depend on the field, so it has no gradient: constant",
        ),
    ],
    ids=["none", "constant"],
)
def test_a_loss_that_says_nothing_of_the_field_is_named(terms, says):
    with pytest.raises(ValueError, match=says):
        fit_scene(
            wall_scene(),
            field=small_field(),
            proposal=lambda points: torch.ones(len(points)),
            terms=terms,
            recipe=SHORT,
        )


def test_a_fit_without_a_photo_term_has_no_psnr():
    fit = fit_scene(wall_scene(), field=small_field(), terms=[Distortion(start=0.0)], recipe=SHORT)
    assert "psnr" not in fit.history[-1]
    assert "psnr" in fit_scene(wall_scene(), field=small_field(), terms=[Photo()], recipe=SHORT).history[-1]


def test_a_prior_whose_patches_fit_into_one_photo_is_used(prior):
    term = PatchPrior(prior, patches=2, start=0.0, sigma=(0.3, 0.1), photo_fraction=1.0)
    fit = fit_scene(few(1), field=small_field(), terms=[*photo_terms(), term], recipe=replace(SHORT, steps=3))
    assert "prior" in fit.history[0]
