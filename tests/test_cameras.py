import math

import pytest
import torch
from torch.testing import assert_close

from scorereg.cameras import Cameras, Rays, interpolate_poses, rotation_matrix


def random_cameras(count=4):
    rotation = rotation_matrix(torch.randn(count, 3))
    pose = torch.cat([rotation, torch.randn(count, 3, 1)], -1)
    focal = 50 + 20 * torch.rand(count, 2)
    return Cameras(pose, focal, torch.tensor([31.0, 25.0]) + torch.rand(count, 2), 64, 48)


def test_a_ray_in_closed_form():
    pose = torch.tensor([[[0.0, 0, 1, 5], [0, 1, 0, 6], [-1, 0, 0, 7]]])  # right is -z, down is y, forward is x
    camera = Cameras(pose, torch.tensor([[10.0, 20.0]]), torch.tensor([[4.0, 3.0]]), 8, 6)
    ray = camera.rays(torch.tensor(0), torch.tensor([6.0, 7.0]))
    assert_close(ray.origins, torch.tensor([5.0, 6.0, 7.0]))
    assert_close(ray.directions, torch.tensor([1.0, 0.2, -0.2]))


def test_the_point_of_a_ray_projects_to_its_pixel_at_its_parameter():
    cameras = random_cameras()
    index = torch.randint(4, (5, 7))
    pixel = torch.rand(5, 7, 2) * torch.tensor([64.0, 48.0])
    depth = 0.5 + torch.rand(5, 7, 3)
    points = cameras.rays(index, pixel).points(depth)
    found, z = cameras.project(points, index[..., None].expand(5, 7, 3))
    assert_close(z, depth, rtol=1e-4, atol=1e-5)
    assert_close(found, pixel[:, :, None].expand_as(found), rtol=1e-4, atol=1e-3)


def test_projection_into_all_cameras_is_that_into_each():
    cameras = random_cameras()
    points = torch.randn(3, 2, 3)
    pixel, z = cameras.project(points)
    for i in range(4):
        one, depth = cameras.project(points, torch.full((3, 2), i))
        assert_close(pixel[i], one)
        assert_close(z[i], depth)


def test_projection_has_the_gradient_of_finite_differences():
    cameras = random_cameras()
    double = Cameras(cameras.pose.double(), cameras.focal.double(), cameras.center.double(), 64, 48)
    ahead = double.rays(torch.arange(4), torch.rand(4, 2).double() * 40).points(torch.ones(4, 1).double() * 2)
    points = ahead[:, 0].requires_grad_()
    assert torch.autograd.gradcheck(lambda p: double.project(p, torch.arange(4)), points)


def test_a_camera_centre_projects_to_something_finite():
    cameras = random_cameras()
    points = cameras.origins.clone().requires_grad_()
    pixel, _ = cameras.project(points, torch.arange(4))
    pixel.sum().backward()
    assert pixel.isfinite().all()
    assert points.grad is not None
    assert points.grad.isfinite().all()


def test_image_rays_run_through_pixel_centres():
    cameras = random_cameras()
    rays = cameras.image_rays(2)
    assert rays.shape == (48, 64)
    pixel = torch.tensor([[0.5, 0.5], [63.5, 0.5], [0.5, 47.5], [63.5, 47.5], [10.5, 20.5]])
    some = cameras.rays(torch.full((5,), 2), pixel)
    assert_close(rays.directions[[0, 0, 47, 47, 20], [0, 63, 0, 63, 10]], some.directions)


def test_directions_have_camera_depth_one():
    cameras = random_cameras()
    forward = cameras.pose[1, :, 2]
    assert_close(cameras.image_rays(1).directions @ forward, torch.ones(48, 64), rtol=1e-5, atol=1e-5)


def test_visible_is_in_front_and_inside():
    pose = torch.eye(3, 4)[None]
    camera = Cameras(pose, torch.tensor([[10.0, 10.0]]), torch.tensor([[5.0, 5.0]]), 10, 10)
    points = torch.tensor([[0.0, 0, 1], [0, 0, -1], [0.4, 0, 1], [0.6, 0, 1], [0, -0.6, 1], [0, 0, 0.1]])
    assert camera.visible(points).tolist() == [[True, False, True, False, False, True]]
    assert camera.visible(points, near=0.5, margin=2.0).tolist() == [[True, False, False, False, False, False]]


@pytest.mark.parametrize("index", [1, slice(1, 2), [1], torch.tensor([1])], ids=str)
def test_a_subset_of_cameras_is_a_set(index):
    cameras = random_cameras()
    one = cameras[index]
    assert len(one) == 1
    assert_close(one.pose[0], cameras.pose[1])
    assert_close(one.focal[0], cameras.focal[1])
    assert_close(one.center[0], cameras.center[1])


def test_rays_keep_their_order():
    rays = random_cameras().image_rays(0)
    assert_close(rays.flatten()[64 + 3].directions, rays[1, 3].directions)
    assert_close(rays.flatten().reshape(48, 64).directions, rays.directions)
    assert_close(rays[2:4].directions, rays.directions[2:4])
    mask = torch.rand(48, 64) < 0.1
    assert_close(rays[mask].directions, rays.directions[mask])
    assert len(Rays(torch.zeros(5, 3), torch.ones(5, 3))) == 5


def test_rotation_in_closed_form():
    quarter = rotation_matrix(torch.tensor([0.0, 0, math.pi / 2]))
    assert_close(quarter, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), rtol=0, atol=1e-6)
    assert_close(rotation_matrix(torch.zeros(2, 3)), torch.eye(3).expand(2, 3, 3))


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.3, 2.0, 3.1, math.pi])
def test_interpolation_turns_at_constant_speed(angle):
    axis = torch.nn.functional.normalize(torch.randn(5, 3), dim=-1)
    start = torch.cat([rotation_matrix(torch.randn(5, 3)), torch.randn(5, 3, 1)], -1)
    end = torch.cat([start[..., :3] @ rotation_matrix(angle * axis), torch.randn(5, 3, 1)], -1)
    share = torch.tensor([0.0, 0.25, 0.5, 0.8, 1.0])
    pose = interpolate_poses(start, end, share)
    turned = start[..., :3].mT @ pose[..., :3]
    expected = rotation_matrix(share[:, None] * angle * axis)
    if angle == math.pi:  # both ways round are equally short
        other = rotation_matrix(-share[:, None] * angle * axis)
        right = (turned - expected).abs().amax((1, 2)) < (turned - other).abs().amax((1, 2))
        expected = torch.where(right[:, None, None], expected, other)
    assert_close(turned, expected, rtol=0, atol=2e-3 if angle == math.pi else 2e-6)
    assert_close(pose[..., 3], torch.lerp(start[..., 3], end[..., 3], share[:, None]))


def test_interpolation_ends_where_it_should():
    start = torch.cat([rotation_matrix(3 * torch.randn(100, 3)), torch.randn(100, 3, 1)], -1)
    end = torch.cat([rotation_matrix(3 * torch.randn(100, 3)), torch.randn(100, 3, 1)], -1)
    assert_close(interpolate_poses(start, end, torch.zeros(100)), start, rtol=0, atol=5e-6)
    assert_close(interpolate_poses(start, end, torch.ones(100)), end, rtol=0, atol=5e-6)
