"""Colors before an unknown background: the expectation in closed form, and renders before a gray one."""

import torch
from test_volume import FAR, NEAR, Body, camera, show
from torch.testing import assert_close

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
