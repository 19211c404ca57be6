"""Smoothness of depth: triplets of pixels lie in a row, planes cost nothing, photo edges may be depth edges."""

import math

import pytest
import torch

from scorereg.cameras import Cameras
from scorereg.fit import Recipe, Smoothness, Term, fit_scene, photo_terms
from scorereg.fit.pixels import PhotoPixels
from scorereg.fit.smoothness import bend
from scorereg.rendering import MLP
from scorereg.scenes import Scene


def pixels(masks=None):
    photos = torch.rand(3, 20, 30, 3, generator=torch.Generator().manual_seed(0))
    return PhotoPixels(photos, masks)


def test_triplets_lie_in_a_row_within_reach():
    drawn = pixels()
    view, place, color = drawn.draw_triplets(4000, 0.2, torch.Generator().manual_seed(1))
    assert torch.equal(color, drawn.photos[view, place[:, 1].long(), place[:, 0].long()])
    view, place = view.reshape(-1, 3), place.reshape(-1, 3, 2)
    assert bool((view == view[:, :1]).all())
    before, after = place[:, 1] - place[:, 0], place[:, 2] - place[:, 1]
    assert torch.equal(before, after)
    far = before.norm(dim=-1)
    inner = ((place[:, 1] > 7) & (place[:, 1] < torch.tensor([23.0, 13.0]))).all(-1)
    assert far.max() <= 0.2 * 30 + 0.75, "within the reach, up to rounding to pixels"
    assert bool((far[inner] > 0).all()), "beyond the border alone they are the middle one"
    assert bool((far == 0).any())


def test_triplets_keep_to_pixels_that_count():
    masks = torch.ones(3, 20, 30, dtype=torch.bool)
    masks[:, :, 10:14] = False
    view, place, _ = pixels(masks).draw_triplets(4000, 0.3, torch.Generator().manual_seed(1))
    assert bool(masks[view, place[:, 1].long(), place[:, 0].long()].all())


def test_planes_cost_nothing_and_a_bend_its_second_difference():
    color = torch.full((3, 3, 3), 0.5)
    color[2, 2] = torch.tensor([0.5, 0.6, 0.5])  # an edge of .1 in one channel
    disparity = torch.tensor([[0.2, 0.3, 0.4], [0.2, 0.3, 0.2], [0.2, 0.3, 0.2]])
    plane, bent, at_edge = bend(disparity, color, contrast=0.05)
    assert plane.item() == pytest.approx(1e-3, rel=1e-3)  # the root of the smoothing constant
    assert bent.item() == pytest.approx(0.2, rel=1e-3)
    assert at_edge.item() == pytest.approx(0.2 * math.exp(-2), rel=1e-3)
    limited = bend(disparity, color, contrast=0.05, limit=0.05)[1]
    assert limited.item() == pytest.approx(0.05 * 0.2 / 0.25, rel=1e-2)


def scene():
    pose = torch.eye(3, 4).repeat(2, 1, 1)
    pose[1, 0, 3] = 0.3
    cameras = Cameras(pose, torch.full((2, 2), 8.0), torch.full((2, 2), 4.0), 8, 8)
    return Scene("wall", torch.rand(2, 8, 8, 3), cameras, None, (0, 1), (), 1.0, 5.0, 1.0, True, ("0.png", "1.png"))


class Seen(Term):
    """Keeps what a step's photo rays are."""

    name = "seen"

    def __call__(self, batch):
        self._batch = batch
        return 0 * batch.render.depth.sum()


def test_a_fit_draws_triplets_last_where_a_term_asks_for_them():
    recipe = Recipe(steps=2, rays=40, samples=4, proposal_samples=6)
    center, radius = scene().ball()
    for share, count in ((0.375, 5), (0.0, 0)):
        seen = Seen()
        field = MLP(center, radius, layers=2, width=16)
        terms = [*photo_terms(), Smoothness(share=share, start=0.0), seen]
        fit = fit_scene(scene(), field=field, recipe=recipe, terms=terms)
        assert seen._batch.triplets == count
        assert len(seen._batch.color) == 40
        last = seen._batch.pixel[40 - 3 * count :].reshape(-1, 3, 2)
        assert torch.equal(last[:, 0] + last[:, 2], 2 * last[:, 1])
        assert math.isfinite(fit.history[-1]["smoothness"])


def test_smoothness_flattens_what_photos_do_not_tell():
    grey = scene()
    grey.images.fill_(0.5)
    recipe = Recipe(steps=40, rays=96, samples=8, proposal_samples=8)
    ends = {}
    for weight in (0.0, 3.0):
        torch.manual_seed(0)
        field = MLP(*grey.ball(), layers=2, width=16)
        terms = [*photo_terms(), Smoothness(weight, reach=0.3, share=0.5, start=0.0)]
        fit = fit_scene(grey, field=field, recipe=recipe, terms=terms)
        ends[weight] = fit.history[-1]["smoothness"]
    assert ends[3.0] < 0.5 * ends[0.0]
