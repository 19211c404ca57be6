"""Colours before an unknown background: the expectation in closed form, and what it does to a dark wall."""

from dataclasses import replace

import torch
from test_fit import TINY, wall_scene
from test_rendering import FAR, NEAR, Body, camera, show
from torch.testing import assert_close

from scorereg import fit_scene
from scorereg.rendering import render_image
from scorereg.rendering.background import BACKGROUND, background_variance


def test_it_is_the_expectation_over_backgrounds():
    composited, opacity, photo = torch.rand(5, 3) * 0.4, torch.rand(5), torch.rand(5, 3)
    grey = torch.linspace(0.5 / 4000, 1 - 0.5 / 4000, 4000)[:, None, None]  # uniform, channel by channel
    seen = composited + (1 - opacity)[:, None] * grey
    mean = (seen - photo).square().mean(0)
    before = composited + (1 - opacity)[:, None] * BACKGROUND
    assert_close((before - photo).square() + background_variance(opacity)[:, None], mean, rtol=1e-4, atol=1e-6)


def test_a_render_lies_before_its_background():
    rays, fog = camera().image_rays(0).flatten(), Body(lambda p: p[:, 2] > 2.0, 0.2)
    black, grey = show(fog, rays), show(fog, rays, background=0.5)
    assert_close(grey.rgb, black.rgb + 0.5 * (1 - black.opacity)[:, None])
    assert 0.1 < grey.opacity.mean() < 0.9
    image, _, opacity = render_image(
        fog, camera().image_rays(0), proposal=fog.density, near=NEAR, far=FAR, samples=64, proposal_samples=96,
        background=0.5,
    )  # fmt: skip
    assert_close(image.flatten(0, 1), grey.rgb)
    assert_close(opacity.flatten(), grey.opacity)


def test_a_dark_wall_is_no_hole():
    scene = wall_scene()
    dark = replace(scene, images=scene.images * 0.08)
    recipe = replace(TINY, steps=120, rays=192, lr=4e-2, lr_network=2e-2, view_degree=0)
    fit = fit_scene(dark, regularize="none", recipe=recipe, seed=0)
    rgb, _, opacity = fit.image(dark.cameras.image_rays(3))
    assert opacity.mean() > 0.9
    assert (rgb - dark.images[3]).abs().mean() < 0.05
    assert fit.history[-1]["background"] < 1e-3
