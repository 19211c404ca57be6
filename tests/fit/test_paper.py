"""DiffusioNeRF's own terms: the published sums, when they are at work, and the kinds of scene that decide of them."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from test_fit import SMALL, TINY, tiny_prior, wall_scene

from scorereg import fit_scene
from scorereg.cameras import Cameras
from scorereg.fit import (
    Batch,
    FitContext,
    PaperDistortion,
    PaperFrustum,
    PaperOpacity,
    default_field,
    default_terms,
    on_paper_background,
)
from scorereg.rendering.volume import Render
from scorereg.scenes import load_scene
from scorereg.scenes.kind import kind_of

NEAR, FAR = 1.0, 5.0


def batch(weights, photos):
    """Rays of three intervals, of which the first two lie at depth about 1 to 2.2, with points by hand."""
    edges = torch.tensor([0.0, 0.2, 0.5, 1.0]).expand(len(weights), 4)
    points = torch.tensor([[0.0, 0.0, 1.5], [0.0, 0.0, 2.0], [90.0, 0.0, 2.0]]).expand(len(weights), 3, 3)
    opacity = weights.sum(-1)
    rays = Render(weights, opacity, opacity, weights, edges, points, weights, edges)
    return Batch(0, 0.0, rays, torch.zeros(photos, dtype=torch.long), torch.zeros(photos, 2), torch.zeros(photos, 3))


def bound(term, scene=None):
    scene = wall_scene() if scene is None else scene
    cameras = scene.cameras[scene.train]
    term.bind(FitContext(scene, cameras, scene.images[:3], None, TINY, torch.Generator()))
    return term


WEIGHTS = torch.tensor([[0.2, 0.3, 0.4], [0.0, 0.5, 0.1], [0.3, 0.3, 0.3]])  # two photo rays, and one of a patch


def test_opacity_is_the_published_sum_over_1024_photo_rays():
    term = bound(PaperOpacity())
    value = term.factor(0.5) * term(batch(WEIGHTS, 2))
    assert value.item() == pytest.approx(1e-3 * 1024 * (0.1**2 + 0.4**2) / 2, rel=1e-5)


def test_frustum_asks_two_cameras_of_photo_rays_and_one_of_patches():
    """Only the third interval's point, far to the side, is seen by no camera."""
    term = bound(PaperFrustum())
    value = term(batch(WEIGHTS, 2)).item()
    assert value == pytest.approx(2 * (0.4 + 0.1) / 2 + 2304 / 1024 * 0.3, rel=1e-5)
    assert term.factor(0.0) == pytest.approx(1024e-5)
    assert term.factor(0.5) == pytest.approx(1024e-7)


def test_distortion_is_in_expected_depths_and_rises():
    term = bound(PaperDistortion())
    found = term(batch(WEIGHTS, 3)).item()
    edges = [5**s for s in (0.0, 0.2, 0.5, 1.0)]  # near 1, far 5, even in log depth
    middle = [(a + b) / 2 for a, b in pairwise(edges)]
    length = [b - a for a, b in pairwise(edges)]
    each = []
    for row in WEIGHTS.tolist():
        pairs = sum(row[i] * row[j] * abs(middle[i] - middle[j]) for i in range(3) for j in range(3))
        own = sum(w * w * width / 3 for w, width in zip(row, length, strict=True))
        each.append((pairs + own) / sum(w * m for w, m in zip(row, middle, strict=True)))
    assert found == pytest.approx(sum(each) / 3, rel=1e-4)
    assert [term.active(p) for p in (0.2, 0.3, 0.31, 0.99)] == [False, False, True, True]
    assert term.factor(0.55) == pytest.approx(1024 * 1.5e-5 / 2)
    assert term.factor(0.9) == pytest.approx(1024 * 1.5e-5)
    thin = torch.tensor([[0.0, 2e-3, 0.0]])  # spread 2e-3 / 3 of an interval's length, in expected depths
    assert term(batch(thin, 1)).item() == 0
    with pytest.raises(ValueError, match="0 <= start < end <= 1"):
        PaperDistortion(start=0.9, end=0.8)


def test_an_object_has_no_frustum_term_and_more_distortion():
    scene = replace(wall_scene(), objects=torch.ones(4, 20, 24, dtype=torch.bool))
    assert wall_scene().kind == "forward-facing"
    assert scene.kind == "object"
    assert "24x20, object, " in scene.describe()
    assert not bound(PaperFrustum(), scene).active(0.5)
    assert bound(PaperFrustum()).active(0.5)
    assert bound(PaperDistortion(), scene).factor(0.9) == pytest.approx(1024e-4)
    assert bound(PaperDistortion(kind="forward-facing"), scene).factor(0.9) == pytest.approx(1024 * 1.5e-5)


def test_terms_by_name():
    names = {kind: [term.name for term in default_terms(None, regularize=kind)] for kind in ("paper", "geometric")}
    assert names["paper"] == ["photo", "opacity", "frustum", "distortion"]
    assert "consistency" in names["geometric"]
    with_prior = default_terms(tiny_prior(), regularize="paper+prior")
    assert [term.name for term in with_prior] == [*names["paper"], "prior"]
    with pytest.raises(ValueError, match="regularize='paper\\+prior' needs a prior. .* or 'paper'"):
        default_terms(None, regularize="paper+prior")


def test_the_short_form_fits_before_white():
    recipe = replace(TINY, steps=3, rays=16)
    field = default_field(wall_scene(), SMALL)
    fit = fit_scene(wall_scene(), regularize="paper", recipe=recipe, field=field)
    assert fit.recipe.background == 1.0
    assert [term["name"] for term in fit.terms] == ["photo", "opacity", "frustum", "distortion"]
    assert on_paper_background(replace(recipe, background=0.0)).background == 0.0  # as the user has it


def around(angles, center=(0.0, 0.0, 0.0), radius=3.0, outward=False):
    """Cameras on a circle that look at its middle, or away from it."""
    poses = []
    for angle in angles:
        axis = torch.tensor([-torch.tensor(angle).cos(), -torch.tensor(angle).sin(), 0.0])
        down = torch.tensor([0.0, 0.0, -1.0])
        turn = torch.stack([torch.linalg.cross(down, axis), down, axis], 1)
        position = torch.tensor(center) - radius * axis * (-0.1 if outward else 1.0)
        poses.append(torch.cat([turn, position[:, None]], 1))
    count = len(poses)
    return Cameras(torch.stack(poses), torch.full((count, 2), 20.0), torch.full((count, 2), 10.0), 20, 20)


def test_kinds_of_scenes():
    assert kind_of(around([0.0, 0.7, 1.4, 2.1, 3.0, 4.0, 5.0])) == "object"
    assert kind_of(around([-0.5, -0.2, 0.1, 0.4], (7.0, 1, 2))) == "object"
    assert kind_of(around([0.0, 0.9, 2.0, 4.0], outward=True)) == "inside-out"
    assert kind_of(around([0.0, 0.02, -0.03])) == "forward-facing"
    assert kind_of(around([1.0])) == "forward-facing"
    assert kind_of(wall_scene().cameras) == "forward-facing"


def test_fern_faces_forward(data):
    assert load_scene(data("fern")).kind == "forward-facing"
