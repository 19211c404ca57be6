"""Where cameras and points are: recentred, and how far scenes reach that photos do not tell."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scene_folders import WIDTH, edit, frame, llff, poses, transforms
from torch.testing import assert_close

from scorereg.cameras import Cameras, rotation_matrix
from scorereg.scenes import load_scene
from scorereg.scenes.focus import TYPICAL_DEPTH, wide_extent
from scorereg.scenes.ply import read_ply
from scorereg.scenes.poses import center_of
from scorereg.scenes.split import hold_out

UTM = np.array([432_817.3, 5_411_902.7, 231.4])


def moved(folder, shift):
    """Move all cameras of a description, in float64."""

    def change(table):
        for entry in table["frames"]:
            for row, add in zip(entry["transform_matrix"], shift, strict=False):
                row[3] += add

    edit(folder, change)


def test_cameras_far_from_the_origin_keep_where_they_are_to_each_other(tmp_path):
    pose = transforms(tmp_path, metric=True)
    near = load_scene(tmp_path)
    assert near.offset == (0, 0, 0)
    assert "counted from" not in near.describe()
    moved(tmp_path, UTM)
    far = load_scene(tmp_path)
    assert_close(torch.tensor(far.offset, dtype=torch.float64), torch.from_numpy(UTM) + pose[..., 3].double().mean(0))
    back = far.cameras.pose[..., 3].double() + torch.tensor(far.offset, dtype=torch.float64) - torch.from_numpy(UTM)
    assert_close(back, pose[..., 3].double(), rtol=0, atol=1e-6)
    assert torch.equal(far.cameras.pose[..., :3], near.cameras.pose[..., :3])
    assert "coordinates are counted from (43281" in far.describe()


def test_the_scale_is_that_of_the_coordinates_from_the_offset(tmp_path):
    transforms(tmp_path)
    moved(tmp_path, UTM)
    scene = load_scene(tmp_path, scale=3.0)
    assert_close(scene.cameras.pose[..., 3].mean(0), torch.zeros(3), rtol=0, atol=1e-4)
    assert_close(scene.cameras.pose[..., 3], 3 * load_scene(tmp_path, scale=1.0).cameras.pose[..., 3])


def test_llff_is_recentred_too(tmp_path):
    pose = llff(tmp_path)
    rows = np.load(tmp_path / "poses_bounds.npy")
    rows[:, [3, 8, 13]] += UTM
    np.save(tmp_path / "poses_bounds.npy", rows)
    scene = load_scene(tmp_path, scale=1.0)
    middle = pose[..., 3].mean(0)
    assert_close(scene.cameras.pose[..., 3], pose[..., 3] - middle, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("centers", "far"),
    [
        ([[0.0, 0, 0], [1, 0, 0]], False),
        ([[400.0, 0, 0], [401, 0, 0]], False),
        ([[600.0, 0, 0], [601, 0, 0]], True),
        ([[0.0, 0, -6e5], [0, 1, -6e5]], True),
        ([[0.0, 0, 0]], False),
        ([[5.0, 0, 0]], True),
    ],
)
def test_cameras_are_far_beyond_a_thousand_spreads(centers, far):
    """Their spread is the distance to their mean: half of what is between two."""
    centers = torch.tensor(centers, dtype=torch.float64)
    expected = centers.mean(0).tolist() if far else [0, 0, 0]
    assert center_of(centers) == pytest.approx(expected)


@pytest.mark.parametrize("applied", [None, [[0, 1, 0, 1], [1, 0, 0, 2], [0, 0, -1, 3]]])
@pytest.mark.parametrize("shift", [(0, 0, 0), UTM])
def test_points_are_where_the_cameras_are(tmp_path, applied, shift):
    """In float64, recentred with the cameras, and moved by applied_transform if they lack it."""
    transforms(tmp_path, near=None, far=None, ply_file_path="p.ply", applied_transform=applied)
    cameras = Cameras(poses(10), torch.full((10, 2), 25.0), torch.tensor([[9.0, 8.0]]).expand(10, 2), WIDTH, 14)
    torch.manual_seed(3)
    pixel, depth = torch.rand(120, 2) * torch.tensor([20.0, 14]), torch.tensor([2.0, 3, 6]).repeat_interleave(40)
    points = cameras.rays(torch.ones(120, dtype=torch.long), pixel).points(depth[:, None])[:, 0].double()
    points += torch.tensor(np.asarray(shift, np.float64))
    if applied is not None:
        matrix = torch.tensor(applied, dtype=torch.float64)
        points = (points - matrix[:, 3]) @ matrix[:, :3]  # its inverse
    write_ply(tmp_path / "p.ply", points)
    moved(tmp_path, shift)
    if applied is None:
        scene = load_scene(tmp_path, 1)
    else:
        with pytest.warns(UserWarning, match=r"p\.ply: its points lack applied_transform, so they are moved"):
            scene = load_scene(tmp_path, 1)
    assert scene.scale == pytest.approx(TYPICAL_DEPTH / 3, rel=1e-3)
    assert "sparse points" in scene.describe()


def write_ply(path, points, form="binary_little_endian", before=""):
    head = f"ply\nformat {form} 1.0\n{before}element vertex {len(points)}\n"
    head += "".join(f"property double {axis}\n" for axis in "xyz") + "end_header\n"
    path.write_bytes(head.encode() + b"".join(struct.pack("<ddd", *row) for row in points.tolist()))


def test_points_keep_the_digits_of_doubles(tmp_path):
    points = torch.from_numpy(UTM + np.random.default_rng(0).random((5, 3)))
    write_ply(tmp_path / "p.ply", points)
    assert torch.equal(read_ply(tmp_path / "p.ply"), points)


def test_other_elements_may_stand_before_the_vertices(tmp_path):
    head = b"ply\nformat binary_little_endian 1.0\nelement camera 2\nproperty float f\nelement vertex 1\n"
    head += b"property float x\nproperty float y\nproperty float z\nproperty uchar red\nend_header\n"
    (tmp_path / "p.ply").write_bytes(head + struct.pack("<fffffB", 7, 7, 1, 2, 3, 255))
    assert read_ply(tmp_path / "p.ply").tolist() == [[1, 2, 3]]
    text = "ply\r\nformat ascii 1.0\r\nelement camera 1\r\nproperty float f\r\nelement vertex 1\r\nproperty float z\r\n"
    text += "property float y\r\nproperty float x\r\nend_header\r\n7\r\n3 2 1e0\r\n"
    (tmp_path / "p.ply").write_bytes(text.encode())
    assert read_ply(tmp_path / "p.ply").tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b[:-1], "buffer"),
        (lambda b: b.replace(b"vertex 2", b"vertex 99999999999999999"), "not a readable PLY"),
        (lambda b: b.replace(b"vertex 2", b"vertex -1"), "-1 of vertex"),
        (lambda b: b.replace(b"vertex 2", b"vertex two"), "not a readable PLY"),
        (lambda b: b.replace(b"double x", b"float128 x"), "no 'float128'"),
        (lambda b: b.replace(b"double x", b"double u"), "have no x"),
        (lambda b: b.replace(b"property double x", b"property list uchar int x"), "lists among"),
        (lambda b: b.replace(b"binary_little_endian", b"gzip"), "not a readable PLY"),
        (lambda b: b.replace(b"element vertex", b"element point"), "no element `vertex`"),
        (lambda b: b.replace(b"end_header", b"end"), "no PLY head"),
        (lambda b: b"", "no PLY head"),
        (lambda b: b"\x1f\x8b" + b, "no PLY head"),
    ],
)
def test_files_of_points_that_are_none(tmp_path, change, says):
    write_ply(tmp_path / "p.ply", torch.rand(2, 3))
    (tmp_path / "p.ply").write_bytes(change((tmp_path / "p.ply").read_bytes()))
    with pytest.raises(ValueError, match=says) as caught:
        read_ply(tmp_path / "p.ply")
    assert "\n" not in str(caught.value)


# How many photos, and how far they see.


def test_as_many_photos_as_views_are_all_trained_on():
    assert hold_out(3, 3, path=Path("x")) == ((0, 1, 2), ())
    assert hold_out(1, 1, path=Path("x")) == ((0,), ())
    assert hold_out(2, 1, path=Path("x")) == ((1,), (0,))
    with pytest.raises(ValueError, match="4 training views are asked for, but there are only 3 photos; give views=3"):
        hold_out(3, 4, path=Path("x"))
    with pytest.raises(
        ValueError, match="only 8 of 10 .*2 are held out.*views=8 or fewer, or views=10 to hold out none"
    ):
        hold_out(10, 9, path=Path("x"))


def test_a_list_of_the_file_wins_over_the_number_of_photos(tmp_path):
    transforms(tmp_path, 3, train_filenames=["images/000.png", "images/001.png"])
    assert (load_scene(tmp_path, 2).train, load_scene(tmp_path, 2).test) == ((0, 1), (2,))
    with pytest.raises(ValueError, match="only 2 can be used for training"):
        load_scene(tmp_path, 3)


def around(count, *, radius=2.0, target=(0.5, 0.2, 3.0)):
    """Cameras on an arc that look at one point."""
    found = []
    for i in range(count):
        angle = torch.tensor(0.25 * (i - (count - 1) / 2))
        rotation = rotation_matrix(torch.stack([torch.zeros(()), angle, torch.zeros(())]))
        origin = torch.tensor(target) - radius * rotation[:, 2]
        found.append(torch.cat([rotation, origin[:, None]], 1))
    return torch.stack(found)


def test_the_point_that_cameras_look_at_tells_the_depth():
    pose = around(5)
    extent, source = wide_extent(pose[1:2], pose, metric=False)
    assert extent.typical == pytest.approx(2, rel=1e-4)
    assert (extent.near, extent.far) == pytest.approx((2 / 6, 8))
    wider, _ = wide_extent(pose[1:2], pose, metric=True)
    assert (wider.near, wider.far) == pytest.approx((2 / 6, 4 * TYPICAL_DEPTH))
    assert "look at" in source
    metres, source = wide_extent(pose[:1], pose[:1], metric=True)  # one axis has no nearest point
    assert (metres.typical, source) == (TYPICAL_DEPTH, "a usual depth")


@pytest.mark.parametrize("turn", [0.0, math.pi])
def test_cameras_that_look_nowhere_together(turn):
    """Parallel ones, and ones that look away from each other: their spread is all there is."""
    pose = around(5) if turn else torch.eye(3, 4).repeat(5, 1, 1)
    if turn:
        pose[..., :3] = pose[..., :3] @ rotation_matrix(torch.tensor([0.0, turn, 0]))
    else:
        pose[:, 0, 3] = torch.linspace(-1, 1, 5)
    spread = (pose[..., 3] - pose[..., 3].mean(0)).norm(dim=-1).max().item()
    extent, source = wide_extent(pose[:2], pose, metric=False)
    assert extent.typical == pytest.approx(3 * spread)
    assert source == "the cameras' spread"
    assert wide_extent(pose[:2], pose, metric=True)[0].typical == TYPICAL_DEPTH


@pytest.mark.parametrize("views", [1, 2])
def test_few_photos_without_a_range_are_loaded_with_a_word(tmp_path, views):
    transforms(tmp_path, 6, near=None, far=None,
               frames=[frame(pose, f"images/{i:03d}.png") for i, pose in enumerate(around(6))])  # fmt: skip
    with pytest.warns(UserWarning, match=rf"{views} training views? do(es)? not tell near and far.*0\.333 to 8"):
        scene = load_scene(tmp_path, views)
    assert scene.scale == pytest.approx(TYPICAL_DEPTH / 2, rel=1e-4)
    assert scene.far == pytest.approx(4 * TYPICAL_DEPTH, rel=1e-4)
    assert "the point that the cameras look at, as the photos do not tell" in scene.describe()


def test_depth_in_another_unit_than_the_poses_is_told(tmp_path):
    frames = [frame(pose, f"images/{i:03d}.png", depth_file_path="d.png") for i, pose in enumerate(poses(4))]
    transforms(tmp_path, 4, depth_unit_scale_factor=0.001, frames=frames)
    Image.fromarray(np.full((14, WIDTH), 3000, np.uint16)).save(tmp_path / "d.png")
    load_scene(tmp_path)
    edit(tmp_path, lambda table: table.update(depth_unit_scale_factor=1.0))
    with pytest.warns(
        UserWarning, match=r"depth maps have a median of 3e\+03 units .*by the file's bounds .*about 3\.2;"
    ):
        load_scene(tmp_path)
