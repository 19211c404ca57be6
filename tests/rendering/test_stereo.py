"""Photo consistency on a wall whose depth is known, and each rule of the term on its own."""

import pytest
import torch
from torch.testing import assert_close

from scorereg.cameras import Cameras
from scorereg.rendering.stereo import (
    UNSEEN,
    descriptors_count,
    patch_descriptors,
    photo_consistency,
    texture_strength,
)

WALL = 2.0  # metres
WIDTH, HEIGHT = 64, 48


def paint(x, y):
    """Colours of the wall: waves that do not repeat within a picture."""
    return 0.5 + 0.4 * torch.stack(
        [torch.sin(6 * x + 4 * y) * torch.cos(5 * y), torch.sin(4 * y - 7 * x), torch.cos(8 * x) * torch.sin(3 * y)], -1
    )


def photos(count=3):
    pose = torch.eye(3, 4).repeat(count, 1, 1)
    pose[:, 0, 3] = 0.3 * torch.arange(count)
    center = torch.tensor([WIDTH / 2, HEIGHT / 2]).expand(count, 2)
    cameras = Cameras(pose, torch.full((count, 2), 50.0), center, WIDTH, HEIGHT)
    rays = [cameras.image_rays(i) for i in range(count)]
    points = torch.stack([ray.origins + WALL * ray.directions for ray in rays])
    return paint(points[..., 0], points[..., 1]), cameras


def costs(images, cameras, depth, index, pixel):
    """The cost of each single depth along some rays, [r, d]: a weight of 1 there."""
    rays = cameras.rays(index, pixel)
    points = rays.points(depth.expand(len(index), -1))
    maps = patch_descriptors(images)
    each = [
        photo_consistency(torch.ones(len(index), 1), points[:, i : i + 1], index, pixel, maps, cameras)
        for i in range(len(depth))
    ]
    return torch.stack(each, 1)


def test_the_cost_is_least_at_the_true_depth():
    images, cameras = photos()
    depth = torch.linspace(1.2, 3.2, 41)  # every 5 cm, with the wall at index 16
    column = torch.arange(24, 41, 4) + 0.5
    pixel = torch.stack([column, torch.full_like(column, 24.5)], -1)
    for view in range(3):
        cost = costs(images, cameras, depth, torch.full((len(pixel),), view), pixel)
        found = depth[cost.argmin(1)]
        assert (50 * 0.3 * (1 / found - 1 / WALL)).abs().max() <= 1.1  # pixels between neighbouring photos
        assert cost[:, 16].max() < 0.15
        assert cost[:, 0].min() > 0.3


def test_descriptors_have_no_mean_and_at_most_unit_length():
    images, _ = photos()
    maps = patch_descriptors(images)
    assert maps.shape == (3, HEIGHT, WIDTH, 27)
    assert_close(maps.unflatten(-1, (3, 9)).sum(-1), torch.zeros(3, HEIGHT, WIDTH, 3), atol=1e-5, rtol=0)
    length = maps.norm(dim=-1)
    assert length.max() <= 1
    assert length.min() > 0.5
    brighter = patch_descriptors(images + 0.1)
    assert_close(brighter, maps, atol=1e-5, rtol=0)


def test_what_has_no_texture_has_no_opinion():
    images, cameras = photos()
    depth = torch.tensor([1.0, 2.0, 3.0])
    pixel = torch.tensor([[32.5, 24.5]])
    cost = costs(torch.full_like(images, 0.3), cameras, depth, torch.tensor([1]), pixel)
    assert_close(cost, torch.ones(1, 3))


def test_texture_is_the_descriptors_mean_squared_length():
    images, _ = photos()
    half = images.clone()
    half[:, :, : WIDTH // 2] = 0.5
    assert texture_strength(patch_descriptors(torch.full_like(images, 0.3))) < 1e-9
    assert_close(
        texture_strength(patch_descriptors(images)), patch_descriptors(images).norm(dim=-1).square().mean().item()
    )
    assert 0.3 < texture_strength(patch_descriptors(half)) / texture_strength(patch_descriptors(images)) < 0.7


def test_unseen_points_cost_as_much_as_unrelated_ones():
    images, cameras = photos()
    # the first camera's left edge: at this depth no other camera, all to the right of it, sees the point
    cost = costs(images, cameras, torch.tensor([0.3]), torch.tensor([0]), torch.tensor([[0.5, 24.5]]))
    assert cost.item() == UNSEEN


def test_points_behind_the_other_cameras_are_unseen():
    images, cameras = photos()
    pose = cameras.pose.clone()
    pose[1:, 2, 3] = 3.0
    moved = Cameras(pose, cameras.focal, cameras.center, WIDTH, HEIGHT)
    cost = costs(images, moved, torch.tensor([2.0]), torch.tensor([0]), torch.tensor([[32.5, 24.5]]))
    assert cost.item() == UNSEEN


def test_the_best_of_the_other_photos_counts():
    images, cameras = photos()
    pixel, index, depth = torch.tensor([[36.5, 24.5]]), torch.tensor([1]), torch.tensor([WALL])
    both = costs(images, cameras, depth, index, pixel)
    spoilt = images.clone()
    spoilt[2] = torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(0))
    assert_close(costs(spoilt, cameras, depth, index, pixel), both, atol=0.05, rtol=0)
    spoilt[0] = spoilt[2]
    assert costs(spoilt, cameras, depth, index, pixel).item() > both.item() + 0.3


def test_the_gradient_is_the_cost_and_goes_to_the_weights_alone():
    images, cameras = photos()
    maps = patch_descriptors(images)
    index, pixel = torch.tensor([0, 1]), torch.tensor([[40.5, 20.5], [32.5, 30.5]])
    depth = torch.tensor([1.5, 2.0, 2.5])
    points = cameras.rays(index, pixel).points(depth.expand(2, -1)).requires_grad_()
    weights = torch.tensor([[0.2, 0.5, 0.1], [0.0, 0.9, 0.1]], requires_grad=True)
    value = photo_consistency(weights, points, index, pixel, maps, cameras)
    expected = costs(images, cameras, depth, index, pixel)
    assert_close(value, (weights * expected).sum(-1))
    value.sum().backward()
    assert_close(weights.grad, expected)
    assert points.grad is None


@pytest.mark.parametrize("count", [1])
def test_one_photo_alone_has_nothing_to_agree_with(count):
    images, cameras = photos(count)
    weights = torch.ones(1, 2, requires_grad=True)
    points = cameras.rays(torch.tensor([0]), torch.tensor([[5.5, 5.5]])).points(torch.tensor([[1.0, 2.0]]))
    value = photo_consistency(
        weights, points, torch.tensor([0]), torch.tensor([[5.5, 5.5]]), patch_descriptors(images), cameras
    )
    value.sum().backward()
    assert value.item() == 0
    assert weights.grad.abs().max() == 0


# masks


def test_a_descriptor_counts_if_all_pixels_that_change_it_do():
    """By trial: changing one masked pixel changes the descriptors that do not count, and no other."""
    images, _ = photos(1)
    row, column = 20, 30
    changed = images.clone()
    changed[0, row, column] = 1 - changed[0, row, column]
    moved = (patch_descriptors(changed) - patch_descriptors(images)).abs().amax(-1) > 0
    masks = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    masks[0, row, column] = False
    counts = descriptors_count(masks)
    assert not (moved & counts).any()
    assert (~counts).sum() == 15 * 15
    assert moved.sum() > 0.7 * 15 * 15  # the nine colours leave gaps
    assert descriptors_count(torch.ones_like(masks)).all()
    for hidden in (float("nan"), 7.0):
        images[0, row, column] = hidden
        maps = patch_descriptors(images, masks)
        assert_close(maps[counts], patch_descriptors(changed)[counts], rtol=0, atol=1e-6)


def masked_costs(images, cameras, depth, pixel, masks):
    """The cost of one depth along a ray of the first camera."""
    index = torch.tensor([0])
    points = cameras.rays(index, pixel).points(depth[None])
    maps, counts = patch_descriptors(images, masks), descriptors_count(masks)
    weights = torch.ones(1, len(depth), requires_grad=True)
    value = photo_consistency(weights, points, index, pixel, maps, cameras, counts)
    value.sum().backward()
    return weights.grad[0]


def test_a_ray_whose_own_window_is_masked_has_no_cost():
    images, cameras = photos()
    pixel, depth = torch.tensor([[40.5, 24.5]]), torch.tensor([1.5, WALL, 3.0])
    masks = torch.ones(3, HEIGHT, WIDTH, dtype=torch.bool)
    free = masked_costs(images, cameras, depth, pixel, masks)
    assert_close(free, costs(images, cameras, depth, torch.tensor([0]), pixel)[0])
    masks[0, 24 + 7, 40 - 7] = False  # the farthest corner of the window
    assert (masked_costs(images, cameras, depth, pixel, masks) == 0).all()
    masks[0] = True
    masks[0, 24 + 8, 40] = False
    assert_close(masked_costs(images, cameras, depth, pixel, masks), free)


def test_a_place_whose_window_is_masked_is_as_one_outside_of_the_photo():
    images, cameras = photos()
    pixel, depth = torch.tensor([[40.5, 24.5]]), torch.tensor([WALL])
    free = masks = torch.ones(3, HEIGHT, WIDTH, dtype=torch.bool)
    both = masked_costs(images, cameras, depth, pixel, free)
    masks = free.clone()
    masks[1, 24, 33] = False  # at the wall's depth the point lies 7.5 pixels to the left in the second photo
    worse = images.clone()
    worse[1] = torch.rand(HEIGHT, WIDTH, 3)
    assert_close(masked_costs(worse, cameras, depth, pixel, masks), both, rtol=0, atol=0.05)  # the third is left
    masks[2, 24, 25] = False
    assert masked_costs(images, cameras, depth, pixel, masks).item() == UNSEEN


def test_texture_is_of_the_windows_that_count():
    images, _ = photos()
    masks = torch.ones(3, HEIGHT, WIDTH, dtype=torch.bool)
    masks[:, :, : WIDTH // 2] = False
    maps, counts = patch_descriptors(images, masks), descriptors_count(masks)
    expected = patch_descriptors(images)[:, :, WIDTH // 2 + 7 :].square().sum(-1).mean().item()
    assert texture_strength(maps, counts) == pytest.approx(expected, rel=1e-5)
    assert texture_strength(maps, torch.zeros_like(counts)) == 0.0
