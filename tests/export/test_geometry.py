"""Normals, points and meshes of an analytic ball and of planes, against formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_scenes import RADIUS, ball_color, ball_fit
from torch.testing import assert_close

from scorereg.cameras import Cameras, rotation_matrix
from scorereg.export import depth_normals, mesh_of, points_of, render_frames, shots_of
from scorereg.export.fusion import Volume
from scorereg.export.mesh import _largest, surface_of
from scorereg.metrics import chamfer


@pytest.fixture(scope="module")
def frames():
    fit = ball_fit()
    return list(render_frames(fit, shots_of(fit.scene, "all")))


def angles(a, b):
    cosine = (
        torch.nn.functional.normalize(a.double(), dim=-1) * torch.nn.functional.normalize(b.double(), dim=-1)
    ).sum(-1)
    return torch.rad2deg(cosine.clamp(-1, 1).arccos())


def plane_depth(camera, normal, distance):
    """Planar depth of the plane normal . X = distance in the camera's coordinates, 0 where it is behind."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    fx, fy = camera.focal[0].tolist()
    cx, cy = camera.center[0].tolist()
    z = distance / (normal[0] * (x - cx) / fx + normal[1] * (y - cy) / fy + normal[2])
    return torch.from_numpy(np.where(z > 0, z, 0)).float()


def turned():
    rotation = rotation_matrix(torch.tensor([0.3, -0.8, 0.2]))
    pose = torch.cat([rotation, torch.tensor([[4.0], [5.0], [6.0]])], 1)[None]
    return Cameras(pose, torch.tensor([[40.0, 44.0]]), torch.tensor([[15.0, 13.0]]), 32, 24)


def test_the_normals_of_a_plane_are_exact():
    camera = turned()
    normal = torch.tensor([0.5, -0.3, 0.81]) / math.sqrt(0.5**2 + 0.3**2 + 0.81**2)
    found = depth_normals(plane_depth(camera, normal.tolist(), 2.0), camera)
    assert angles(found, (camera.pose[0, :, :3] @ -normal).expand_as(found)).max() < 0.05


def test_an_edge_between_two_planes_does_not_bend_their_normals():
    camera = turned()
    left, right = plane_depth(camera, (0, 0, 1), 2.0), plane_depth(camera, (0.6, 0, 0.8), 3.0)
    depth = torch.cat([left[:, :16], right[:, 16:]], 1)
    found = depth_normals(depth, camera) @ camera.pose[0, :, :3]
    assert angles(found[:, :16], torch.tensor([0.0, 0, -1]).expand(24, 16, 3)).max() < 0.5
    assert angles(found[:, 16:], torch.tensor([-0.6, 0, -0.8]).expand(24, 16, 3)).max() < 0.5


def test_there_is_no_normal_where_depth_is_unknown_or_alone():
    camera, depth = turned(), torch.zeros(24, 32)
    depth[5, 5] = 2.0
    assert not depth_normals(depth, camera).any()


def test_unknown_depth_is_zero_and_the_rest_is_on_the_ball(frames):
    for frame in frames:
        known = frame.depth > 0
        assert torch.equal(known, frame.opacity >= 0.5)
        assert 0.2 < known.float().mean() < 0.8
        assert (frame.points()[known].norm(dim=-1) - RADIUS).abs().median() < 0.01


def test_points_normals_and_colors_are_the_balls(frames):
    cloud = points_of(frames)
    assert (cloud.points.norm(dim=-1) - RADIUS).abs().mean() < 0.01
    assert angles(cloud.normals, cloud.points).median() < 2
    assert (cloud.colors / 255 - ball_color(cloud.points)).abs().mean() < 0.01


def test_points_are_drawn_evenly_and_again_the_same(frames):
    few, again, other = (points_of(frames, count=500, seed=seed) for seed in (0, 0, 1))
    assert len(few.points) == 500
    assert torch.equal(few.points, again.points)
    assert not torch.equal(few.points, other.points)
    assert few.points.mean(0).norm() < 0.2  # of the whole ball, not of the first views


def test_points_on_edges_of_depth_are_left_out(frames):
    frame = frames[0]
    depth = torch.full_like(frame.depth, 2.0)
    depth[:, 20:] = 4.0
    depth[:, 19] = 3.0  # mixed of both
    points = points_of([replace(frame, depth=depth)]).points
    assert len(points) == 36 * (48 - 3)


@pytest.fixture(scope="module")
def mesh(frames):
    return mesh_of(frames, resolution=48)


def test_the_mesh_is_the_ball(mesh, frames):
    vertices = torch.from_numpy(mesh.vertices)
    assert (vertices.norm(dim=-1) - RADIUS).abs().mean() < 0.02
    directions = torch.nn.functional.normalize(torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    seen = directions[directions[:, 1].abs() < 0.6]  # cameras see neither pole well
    assert chamfer(vertices, RADIUS * seen).completeness < 0.03
    assert angles(torch.from_numpy(mesh.normals), vertices).mean() < 8
    colors = torch.from_numpy(mesh.colors) / 255
    assert (colors - ball_color(vertices)).abs().mean() < 0.02


def test_triangles_face_the_cameras_and_no_back_side_is_made(mesh):
    corners = torch.from_numpy(mesh.vertices)[torch.from_numpy(mesh.faces).long()]
    across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((across * corners.mean(1)).sum(-1) > 0).float().mean() > 0.99
    assert torch.from_numpy(mesh.vertices).norm(dim=-1).min() > 0.9


def volume(distance, weight=None):
    ones = torch.ones_like(distance)
    weight = ones if weight is None else weight
    return Volume(distance, weight, ones, torch.full((3, *distance.shape), 0.25), torch.tensor([1.0, 2.0, 3.0]), 0.5)


def test_a_surface_lies_where_the_distance_is_zero_in_metres():
    x = torch.arange(6.0)[:, None, None].expand(6, 5, 4)
    mesh = surface_of(volume(2.25 - x))
    assert_close(mesh.vertices[:, 0], np.full(len(mesh.vertices), 1 + 0.5 * 2.25, np.float32))
    assert_close(mesh.normals, np.tile(np.float32([-1, 0, 0]), (len(mesh.normals), 1)))
    assert (mesh.vertices.min(0), mesh.vertices.max(0)) == (approx([2.125, 2, 3]), approx([2.125, 4, 4.5]))
    assert (mesh.colors == 64).all()


def approx(values):
    return pytest.approx(np.array(values))


def test_no_surface_is_made_towards_what_was_not_seen():
    x = torch.arange(6.0)[:, None, None].expand(6, 5, 4)
    distance = torch.where(x > 3, 1.0, 2.25 - x)  # 1 where nothing was seen, behind the surface at 2.25
    mesh = surface_of(volume(distance, (x <= 3).float()))
    assert_close(mesh.vertices[:, 0].max(), np.float32(1 + 0.5 * 2.25))


def test_small_parts_are_left_out():
    grid = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij"), -1)
    large, small = (
        (grid - torch.tensor(at)).norm(dim=-1) - radius for at, radius in (([12.0] * 3, 9), ([32.0] * 3, 2))
    )
    mesh = surface_of(volume(torch.minimum(large, small)))
    ends = [_largest(mesh, least).vertices.max() for least in (0.0, 0.2, 1.0)]
    assert ends[0] > 3 + 0.5 * 30 > ends[1] == ends[2]
    kept = _largest(mesh, 0.2)
    assert kept.faces.max() == len(kept.vertices) - 1 == len(kept.normals) - 1 == len(kept.colors) - 1


def test_a_fit_that_shows_nothing_has_no_mesh_and_no_points():
    fit = ball_fit(empty=True)
    frames = list(render_frames(fit, shots_of(fit.scene, "test")[:1]))
    with pytest.raises(ValueError, match="the mesh is empty: no ray of the views is opaque. Fit longer"):
        mesh_of(frames)
    with pytest.raises(ValueError, match="there are no points: no ray of the views is opaque"):
        points_of(frames)
    seen = torch.ones(4, 4, 4)
    with pytest.raises(ValueError, match="the mesh is empty: no surface was seen"):
        surface_of(volume(seen))


def test_a_grid_that_is_too_fine_is_refused_with_one_that_is_not(frames):
    with pytest.raises(ValueError, match=r"million points, .* Give --voxel 0\.\d+ or more") as caught:
        mesh_of(frames, voxel=1e-4)
    mesh_of(frames[:1], voxel=0.1)
    assert "\n" not in str(caught.value)
