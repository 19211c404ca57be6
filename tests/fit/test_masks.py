"""Pixels that a mask leaves out: nothing under it reaches a fit, its metrics or its pictures."""

import math
from dataclasses import replace

import pytest
import torch
from test_fit import HEIGHT, PATCHES, TINY, WIDTH, fit_state, fit_wall, same, small_field, tiny_prior, wall_scene
from torch.testing import assert_close

from scorereg import RayWeights, fit_scene
from scorereg.fit import MeasuredDepth, PatchPrior, PhotoConsistency, RayPrior, geometric_terms, photo_terms
from scorereg.fit.pictures import hatch
from scorereg.fit.pixels import PhotoPixels, training_depth
from scorereg.fit.progress import in_words, notes, used_of
from scorereg.fit.views import View, render_views, summary
from scorereg.metrics import windows_count
from scorereg.rendering import descriptors_count, patch_descriptors, photo_consistency, texture_strength

SHORT = replace(TINY, steps=12)


def masks_of(scene):
    """A block of each photo, at another place in each; of the last the left half."""
    masks = torch.ones_like(scene.images[..., 0], dtype=torch.bool)
    for i, mask in enumerate(masks):
        mask[2 * i : 2 * i + 5, 3 * i : 3 * i + 4] = False
    masks[-1, :, : WIDTH // 2] = False
    return masks


def spoilt(scene, value):
    """The same scene with other photos and depths under its masks."""
    images = torch.where(scene.masks[..., None], scene.images, value)
    return replace(scene, images=images, depth=torch.where(scene.masks, scene.depth, value))


@pytest.fixture
def masked():
    scene = wall_scene()
    return replace(scene, masks=masks_of(scene))


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return tiny_prior()


class Halves:
    """A prior over ray weights that holds that x is half of what it is."""

    card = None
    channels = ("weight",)

    def denoise(self, x, sigma):
        return 0.5 * x


def all_terms(prior):
    """Every built-in term that looks at photos or at rays."""
    return [
        *photo_terms(), *geometric_terms(), MeasuredDepth(), PatchPrior(prior, **PATCHES, depth=True),
        RayPrior(Halves(), RayWeights(1.0, 5.0, bins=16), start=0.0, rays=16),
    ]  # fmt: skip


# nothing under a mask is used


@pytest.mark.parametrize("value", [0.1, 40.0, math.nan, math.inf])
def test_scenes_that_differ_under_the_masks_alone_are_fitted_and_measured_alike(value, masked, prior):
    other = spoilt(masked, value)
    fits = [fit_scene(s, field=small_field(), terms=all_terms(prior), recipe=SHORT) for s in (masked, other)]
    assert same(*fits)
    assert fits[0].history == fits[1].history
    assert {"ray_prior", "prior", "depth", "consistency"} <= set(fits[0].history[-1])
    assert descriptors_count(masked.masks[:3]).any()
    views = [render_views(fit.scene, fit.image) for fit in fits]
    assert summary(views[0]) == summary(views[1])
    assert math.isfinite(summary(views[0])["psnr"])
    assert torch.equal(views[0][0].picture(1.0, 5.0), views[1][0].picture(1.0, 5.0))


def test_masks_change_a_fit_and_masks_of_nothing_do_not(masked, prior):
    whole = replace(masked, masks=torch.ones_like(masked.masks))
    fits = [
        fit_scene(scene, field=small_field(), terms=all_terms(prior), recipe=SHORT)
        for scene in (replace(masked, masks=None), whole, masked)
    ]
    assert fits[0].history == fits[1].history
    assert same(fits[0], fits[1])
    assert not same(fits[0], fits[2])


def test_photo_rays_are_drawn_evenly_from_the_pixels_that_count(masked):
    masks = masked.masks[:3]
    pixels = PhotoPixels(masked.images[:3], masks)
    camera, pixel, color = pixels.draw(200_000, torch.Generator().manual_seed(0))
    column, row = pixel.long().unbind(-1)
    assert_close(color, masked.images[camera, row, column])
    drawn = torch.zeros(3, HEIGHT, WIDTH).index_put_((camera, row, column), torch.ones(len(row)), accumulate=True)
    assert (drawn[~masks] == 0).all()
    expected = 200_000 / masks.sum()
    assert (drawn[masks] - expected).abs().max() < 6 * expected.sqrt()


def test_a_step_takes_the_rays_and_windows_that_count(masked):
    stereo = next(term for term in geometric_terms() if isinstance(term, PhotoConsistency))
    state = fit_state([*photo_terms(), stereo], scene=masked)
    batch, _ = state._batch(0, 0.0)
    column, row = batch.pixel.long().unbind(-1)
    masks = masked.masks[:3]
    assert masks[batch.camera, row, column].all()
    maps, counts = patch_descriptors(masked.images[:3], masks), descriptors_count(masks)
    assert 0 < counts[batch.camera, row, column].float().mean() < 1
    seen, rays = batch.photo, (batch.camera, batch.pixel)
    expected = photo_consistency(seen.weights, seen.points, *rays, maps, masked.cameras[:3], counts).mean()
    assert_close(stereo(batch), expected)
    assert stereo.factor(0.0) == pytest.approx(5.5e-2 * texture_strength(maps, counts))
    without = photo_consistency(seen.weights, seen.points, *rays, maps, masked.cameras[:3]).mean()
    assert (without - expected).abs() > 1e-3


def test_a_users_term_sees_no_pixel_under_a_mask(masked):
    seen = []

    class Look(MeasuredDepth):
        def bind(self, context):
            seen.append(context)
            super().bind(context)

    fit_state([*photo_terms(), Look()], scene=spoilt(masked, math.nan))
    context = seen[0]
    assert torch.equal(context.masks, masked.masks[:3])
    assert (context.photos[~context.masks] == 0).all()
    assert torch.equal(context.photos[context.masks], masked.images[:3][context.masks])
    assert torch.equal(context.depth > 0, context.masks)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_patches_show_the_prior_the_renders_own_colour_where_a_photo_is_masked(share, masked, prior, monkeypatch):
    asked = []

    def keep(score, patch, **settings):
        asked.append((patch.detach(), settings["known"]))
        return patch.sum()

    monkeypatch.setattr("scorereg.score_loss.loss.ScoreLoss.__call__", keep)
    patches = PatchPrior(prior, **(PATCHES | {"photo_fraction": share, "start": 0.0, "patches": 6}))
    state = fit_state([*photo_terms(), patches], scene=masked)
    state.step(0)
    (patch, known), drawn = asked[0], patches._drawn
    assert torch.equal(known[:, :3].all(1), drawn.shown)
    assert torch.equal(known[:, :3].any(1), drawn.shown)
    assert not known[:, 3].any()
    colors = (patch[:, :3] + 1) / 2
    shown = drawn.shown[:, None].expand_as(colors)
    assert_close(colors[shown], drawn.photo[shown], rtol=0, atol=1e-6)
    if share:
        assert 0.1 < drawn.shown.float().mean() < 1
        assert (colors[~shown] - 0.5).abs().max() < 0.4  # an untrained field is grey, a masked photo would be black
        assert colors[~shown].min() > 0.1
    else:
        assert not drawn.shown.any()


@pytest.mark.parametrize(
    ("indices", "says"),
    [
        ([1], "wall: the mask of 1.png leaves no pixel to fit. Correct it, or train on other photos"),
        ([0, 1, 2], "wall: the masks leave no pixel of any training photo to fit. Are they the other way round"),
    ],
)
def test_a_photo_without_a_pixel_that_counts_is_named(indices, says, masked):
    masks = masked.masks.clone()
    masks[indices] = False
    with pytest.raises(ValueError, match=says):
        fit_wall(scene=replace(masked, masks=masks), regularize="none", recipe=SHORT)


def test_a_saved_fit_of_other_masks_is_refused(masked, tmp_path):
    settings = {"regularize": "none", "recipe": replace(TINY, steps=2), "save": tmp_path / "fit.pt"}
    fit_wall(scene=masked, **settings)
    fit_wall(scene=masked, **settings, resume=True)
    with pytest.raises(ValueError, match=r"another fit: masks was bool.*, now none"):
        fit_wall(scene=replace(masked, masks=None), **settings, resume=True)


# metrics and pictures


def test_a_view_is_measured_where_it_counts():
    torch.manual_seed(1)
    photo, truth, mask = torch.rand(16, 12, 3), torch.full((16, 12), 2.0), torch.ones(16, 12, dtype=torch.bool)
    mask[:4] = False
    rgb = photo + 0.1 * mask[..., None] + 0.7 * ~mask[..., None]
    depth = torch.where(mask, 2.2, 9.0)
    measured = View("a.png", rgb, depth, photo, truth, mask).metrics()
    assert measured["psnr"] == pytest.approx(20, abs=1e-3)
    assert measured["depth_abs_rel"] == pytest.approx(0.1, rel=1e-5)
    assert measured["ssim"] > 0.9
    assert View("a.png", rgb, depth, photo, truth).metrics()["psnr"] < 15


def test_a_view_of_which_nothing_counts_has_no_metrics_and_leaves_the_means_alone():
    photo, mask = torch.rand(12, 12, 3), torch.zeros(12, 12, dtype=torch.bool)
    empty = View("a.png", photo, torch.ones(12, 12), photo, torch.ones(12, 12), mask)
    assert set(empty.metrics().values()) == {"a.png", None}
    mask = mask.clone()
    mask[::2] = True  # no window of 7 x 7
    striped = View("b.png", photo + 0.1, torch.ones(12, 12), photo, None, mask)
    assert striped.metrics()["ssim"] is None
    assert not windows_count(mask).any()
    means = summary([empty, striped])
    assert means["psnr"] == pytest.approx(20, abs=1e-3)
    assert in_words(summary([empty]) | {"seconds": 1.0}, "psnr", "depth_abs_rel") == (
        "no test pixel that counts, no true depth, 1 s"
    )


def test_masked_pixels_are_hatched_in_grey():
    image, mask = torch.rand(9, 14, 3), torch.rand(9, 14) > 0.5
    shown = hatch(image, mask)
    assert torch.equal(shown[mask], image[mask])
    assert set(shown[~mask].flatten().tolist()) == {torch.tensor(0.55).item(), torch.tensor(0.75).item()}
    assert torch.equal(hatch(image, None), image)
    view = View("a.png", image, torch.full((9, 14), 2.0), image, torch.full((9, 14), 2.0), mask)
    picture = view.picture(1.0, 4.0).reshape(9, 5, 14, 3)
    for column, hatched in enumerate([True, False, False, True, True]):
        assert torch.equal(picture[:, column][~mask], shown[~mask]) == hatched


# what is said


def test_what_is_used_is_said(masked):
    half = replace(masked, masks=masked.masks & (torch.arange(WIDTH) < WIDTH // 2))
    share = half.masks[:3].float().mean().item()
    assert notes(half, photo_terms()) == ["measured depth of the training photos is not used (--depth fits it)"]
    assert notes(half, [MeasuredDepth(0.5)]) == [
        f"measured depth is fitted, known at {share:.1%} of the training photos' pixels"
    ]
    assert used_of(half, [MeasuredDepth(0.5)])["depth"] == 0.5
    assert used_of(half, [])["depth_pixels"] is None
    assert used_of(half, [])["masked"] == pytest.approx(1 - share)
    bare = replace(masked, masks=None, depth=None)
    assert notes(bare, photo_terms()) == []
    assert used_of(bare, []) == {"masked": None, "depth": None, "depth_pixels": None}
    assert training_depth(bare) is None
