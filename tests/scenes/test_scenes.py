import json
import math
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scene_folders import HEIGHT, WIDTH, edit, frame, llff, photo, poses, transforms
from torch.nn import functional
from torch.testing import assert_close

from scorereg.cameras import Cameras
from scorereg.files import Lens
from scorereg.files.lens import undistort
from scorereg.scenes import camera_path, load_scene
from scorereg.scenes.extent import extent_of_views
from scorereg.scenes.focus import TYPICAL_DEPTH
from scorereg.scenes.ply import read_ply
from scorereg.scenes.resize import reduce_depth
from scorereg.scenes.split import hold_out

# The split of the field.


@pytest.mark.parametrize(
    ("views", "train"),
    [(3, (1, 10, 19)), (6, (1, 4, 7, 12, 15, 19)), (9, (1, 3, 5, 7, 10, 12, 14, 17, 19))],
)
def test_the_split_of_twenty_photos_is_the_published_one(views, train):
    assert hold_out(20, views, path=Path("fern")) == (train, (0, 8, 16))


def test_one_view_is_the_first_and_all_are_all():
    assert hold_out(10, 1, path=Path("x")) == ((1,), (0, 8))
    assert hold_out(10, 8, path=Path("x")) == ((1, 2, 3, 4, 5, 6, 7, 9), (0, 8))


# LLFF.


def test_llff_poses_become_opencv_ones_in_metres(tmp_path):
    pose = llff(tmp_path)
    scene = load_scene(tmp_path, 3, scale=2.0)
    assert_close(scene.cameras.pose[..., :3], pose[..., :3], rtol=0, atol=1e-6)
    assert_close(scene.cameras.pose[..., 3], 2 * pose[..., 3])
    assert_close(scene.cameras.focal, torch.full((10, 2), 50.0))
    assert_close(scene.cameras.center, torch.tensor([WIDTH / 2, HEIGHT / 2]).expand(10, 2))
    assert (scene.train, scene.test) == ((1, 5, 9), (0, 8))
    assert scene.filenames[3] == "images_8/img_003.png"
    assert (scene.scale, scene.metric, scene.depth) == (2.0, False, None)
    assert scene.near == pytest.approx(2 * 0.9 * 2.01)  # of the training views alone
    assert scene.far == pytest.approx(2 * 1.1 * 8.9)


def test_llff_scale_is_estimated_from_the_bounds(tmp_path):
    llff(tmp_path, near=20.0, far=80.0)
    scene = load_scene(tmp_path)
    harmonic = 2 / (1 / 20.01 + 1 / 80.9)
    assert scene.scale == pytest.approx(TYPICAL_DEPTH / harmonic)
    assert scene.near == pytest.approx(0.9 * 20.01 * TYPICAL_DEPTH / harmonic)
    assert re.search(r"3 training and 2 test views of 20x14.*scale 0\.07.*bounds", scene.describe())


def test_llff_pixels_are_the_files(tmp_path):
    llff(tmp_path)
    scene = load_scene(tmp_path)
    expected = torch.from_numpy(photo(tmp_path / "other/x.png", 4)).float() / 255
    assert_close(scene.images[4], expected)


@pytest.mark.parametrize("images", ["images_8", "images_4", "images_5", "images"])
def test_the_focal_length_follows_the_true_size_not_the_folders_name(tmp_path, images):
    llff(tmp_path, images=images, size=(2 * WIDTH, 2 * HEIGHT))
    assert_close(load_scene(tmp_path).cameras.focal[0], torch.tensor([100.0, 100.0]))


def test_a_slightly_skew_pose_is_made_a_rotation(tmp_path):
    llff(tmp_path)
    rows = np.load(tmp_path / "poses_bounds.npy")
    rows[:, 0] += 0.01
    np.save(tmp_path / "poses_bounds.npy", rows)
    rotation = load_scene(tmp_path).cameras.pose[..., :3]
    assert_close(rotation.mT @ rotation, torch.eye(3).expand(10, 3, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [llff, transforms])
def test_reducing_keeps_rays_where_they_were(tmp_path, make):
    make(tmp_path)
    whole, half = load_scene(tmp_path), load_scene(tmp_path, max_size=10)
    assert half.images.shape == (10, 7, 10, 3)
    assert (half.cameras.width, half.cameras.height) == (10, 7)
    big = whole.cameras.rays(torch.tensor(2), torch.tensor([6.0, 8.0]))
    small = half.cameras.rays(torch.tensor(2), torch.tensor([3.0, 4.0]))
    assert_close(big.directions, small.directions)
    assert_close(half.images[2, 3, 4], whole.images[2, 6:8, 8:10].mean((0, 1)))


# nerfstudio.


def test_transforms_poses_become_opencv_ones(tmp_path):
    pose = transforms(tmp_path, metric=True)
    scene = load_scene(tmp_path)
    assert_close(scene.cameras.pose, pose, rtol=0, atol=1e-6)
    assert_close(scene.cameras.focal[0], torch.tensor([25.0, 26.0]))
    assert_close(scene.cameras.center[0], torch.tensor([9.0, 8.0]))
    assert (scene.scale, scene.metric) == (1.0, True)
    assert (scene.train, scene.test) == ((1, 5, 9), (0, 8))


def test_a_point_on_the_opengl_axis_is_in_front(tmp_path):
    transforms(tmp_path, metric=True)
    matrix = torch.tensor(json.loads((tmp_path / "transforms.json").read_text())["frames"][4]["transform_matrix"])
    point = matrix[:3] @ torch.tensor([0.1, 0.2, -2.0, 1.0])  # right, up and ahead in OpenGL's camera
    pixel, z = load_scene(tmp_path).cameras.project(point, torch.tensor(4))
    assert_close(z, torch.tensor(2.0))
    assert_close(pixel, torch.tensor([9 + 25 * 0.05, 8 - 26 * 0.1]))


def test_intrinsics_of_a_frame_win_and_are_scaled_to_the_true_size(tmp_path):
    frames = [frame(p, f"images/{i:03d}.png") for i, p in enumerate(poses(4))]
    frames[1] |= {"fl_x": 50.0, "w": 2 * WIDTH, "h": 2 * HEIGHT, "cx": 22.0}
    transforms(tmp_path, 4, frames=frames)
    cameras = load_scene(tmp_path).cameras
    assert_close(cameras.focal[1], torch.tensor([25.0, 13.0]))
    assert_close(cameras.center[1], torch.tensor([11.0, 4.0]))
    assert_close(cameras.focal[2], torch.tensor([25.0, 26.0]))


def test_camera_angle_and_missing_suffixes(tmp_path):
    transforms(tmp_path, fl_x=None, fl_y=None, cx=None, cy=None, w=None, h=None, camera_angle_x=math.pi / 2, suffix="")
    scene = load_scene(tmp_path)
    assert_close(scene.cameras.focal[0], torch.tensor([10.0, 10.0]))
    assert_close(scene.cameras.center[0], torch.tensor([10.0, 7.0]))
    assert scene.filenames[0] == "images/000.png"


def test_frames_are_sorted_by_name(tmp_path):
    pose = transforms(tmp_path)
    edit(tmp_path, lambda table: table["frames"].reverse())
    assert_close(load_scene(tmp_path, scale=1.0).cameras.pose, pose, rtol=0, atol=1e-6)


def test_named_splits_are_kept_and_thinned_evenly(tmp_path):
    names = [f"images/{i:03d}.png" for i in range(10)]
    transforms(tmp_path, train_filenames=[names[i] for i in (9, 2, 4, 6, 8)], test_filenames=[names[1], names[0]])
    assert load_scene(tmp_path, 5).train == (9, 2, 4, 6, 8)
    assert load_scene(tmp_path, 3).train == (9, 4, 8)
    assert load_scene(tmp_path, 3).test == (1, 0)
    edit(tmp_path, lambda table: table.pop("test_filenames"))
    assert load_scene(tmp_path, 3).test == (0, 1, 3, 5, 7)
    edit(tmp_path, lambda table: table.pop("train_filenames"))
    edit(tmp_path, lambda table: table.update(test_filenames=[names[0], names[1], names[9]]))
    assert load_scene(tmp_path, 3).test == (0, 1, 9)  # what is held out is never fitted
    assert load_scene(tmp_path, 7).train == (2, 3, 4, 5, 6, 7, 8)


def test_depth_is_metric_and_what_is_unknown_is_zero(tmp_path):
    frames = [frame(p, f"images/{i:03d}.png", depth_file_path=f"d{i}.png") for i, p in enumerate(poses(4))]
    frames[2]["depth_file_path"] = "d2.npy"
    del frames[3]["depth_file_path"]
    transforms(tmp_path, 4, frames=frames)
    raw = np.full((HEIGHT, WIDTH), 2500, np.uint16)
    raw[0, 0], raw[0, 1] = 0, 65535
    for i in range(2):
        Image.fromarray(raw).save(tmp_path / f"d{i}.png")
    exact = np.full((HEIGHT, WIDTH), 3250.5, np.float32)
    exact[0, :4] = np.nan, np.inf, -1, 65535
    np.save(tmp_path / "d2.npy", exact)
    with pytest.warns(UserWarning, match="1 of 4 views have no depth map, 003.png for one"):
        scene = load_scene(tmp_path, 2)
    assert scene.metric
    assert scene.scale == 1
    assert scene.depth is not None
    assert scene.depth[1, 0, :3].tolist() == pytest.approx([0, 0, 2.5])
    assert scene.depth[2, 0, :5].tolist() == pytest.approx([0, 0, 0, 65.535, 3.2505])
    assert not scene.depth[3].any()
    with pytest.warns(UserWarning, match="no depth map"):
        scaled = load_scene(tmp_path, 2, scale=3.0)
    assert scaled.depth is not None
    assert_close(scaled.depth, 3 * scene.depth)


def test_true_depth_has_no_say_in_near_and_far(tmp_path):
    def with_depth(factor):
        frames = [frame(p, f"images/{i:03d}.png", depth_file_path="d.png") for i, p in enumerate(poses(4))]
        transforms(tmp_path, 4, frames=frames, near=None, far=None, ply_file_path="p.ply")
        raw = np.full((HEIGHT, WIDTH), 1000 * factor, np.uint16)
        Image.fromarray(raw).save(tmp_path / "d.png")
        scene = load_scene(tmp_path, 3)
        return scene.near, scene.far

    ply(tmp_path / "p.ply", in_front_of(Cameras(poses(4), *intrinsics(4))), "ascii")
    assert with_depth(1) == with_depth(20)


def intrinsics(count):
    return torch.tensor([[25.0, 26.0]]).expand(count, 2), torch.tensor([[9.0, 8.0]]).expand(count, 2), WIDTH, HEIGHT


def in_front_of(cameras, depths=(2.0, 3.0, 6.0), each=40):
    """As many points at each depth of camera 1."""
    pixel = torch.rand(each * len(depths), 2) * torch.tensor([WIDTH, HEIGHT])
    depth = torch.tensor(depths).repeat_interleave(each)
    index = torch.ones(len(depth), dtype=torch.long)
    return cameras.rays(index, pixel).points(depth[:, None])[:, 0]


def ply(path, points, form):
    rows = points.tolist()
    head = f"ply\nformat {form} 1.0\ncomment made here\nelement vertex {len(rows)}\nproperty uchar red\n"
    head += "property double x\nproperty float y\nproperty float z\nelement face 0\nproperty list uchar int i\n"
    head += "end_header\n"
    if form == "ascii":
        body = "".join(f"255 {x!r} {y!r} {z!r}\n" for x, y, z in rows).encode()
    else:
        order = "<" if "little" in form else ">"
        body = b"".join(struct.pack(order + "Bdff", 255, *row) for row in rows)
    path.write_bytes(head.encode() + body)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_points_of_a_ply_file(tmp_path, form):
    points = torch.randn(7, 3)
    ply(tmp_path / "p.ply", points, form)
    assert_close(read_ply(tmp_path / "p.ply"), points.double())


def test_sparse_points_give_extent_and_scale(tmp_path):
    transforms(tmp_path, near=None, far=None, ply_file_path="p.ply")
    only = Cameras(poses(10), *intrinsics(10))
    beside = torch.tensor([[-500.0, 10], [900, -400]]).repeat(50, 1)
    unseen = only.rays(torch.ones(100, dtype=torch.long), beside).points(torch.linspace(0.01, 90, 100)[:, None])[:, 0]
    points = torch.cat([in_front_of(only), unseen, torch.tensor([[torch.nan, 0, 0]])])
    ply(tmp_path / "p.ply", points, "binary_little_endian")
    scene = load_scene(tmp_path, 1)  # the one training view is camera 1
    assert scene.scale == pytest.approx(TYPICAL_DEPTH / 3)
    assert scene.near == pytest.approx(0.9 * 2 * scene.scale, rel=1e-4)
    assert scene.far == pytest.approx(1.1 * 6 * scene.scale, rel=1e-4)
    assert "sparse points" in scene.describe()


# Lenses.


def test_a_scene_with_a_lens_is_straightened(tmp_path):
    transforms(tmp_path, k1=-0.2)
    scene = load_scene(tmp_path)
    raw = torch.from_numpy(photo(tmp_path / "x.png", 3)).float() / 255
    straight, covered = undistort(raw, Lens((25.0, 26.0), (9.0, 8.0), (-0.2, 0.0, 0.0, 0.0, 0.0), "brown"))
    assert_close(scene.images[3], straight)
    assert scene.masks is None or torch.equal(scene.masks[3], covered)


def test_reduced_depth_is_never_mixed():
    depth = torch.tensor([1.0, 9.0]).repeat(6, 4)
    assert set(reduce_depth(depth, 3).unique().tolist()) <= {1.0, 9.0}


# The depth of a scene from its photos.


def wall(depth, origins, *, unit=1.0):
    """Photos of a textured wall at planar depth `depth`, by cameras in a plane before it."""
    generator = torch.Generator().manual_seed(0)
    texture = functional.interpolate(torch.rand(1, 3, 96, 96, generator=generator), scale_factor=4, mode="bicubic")
    pose = torch.eye(3, 4).repeat(len(origins), 1, 1)
    pose[:, :, 3] = unit * torch.tensor(origins)
    cameras = Cameras(pose, torch.full((len(origins), 2), 120.0), torch.tensor([[80.0, 60.0]]).repeat(3, 1), 160, 120)
    photos = []
    for i in range(len(origins)):
        spot = cameras.image_rays(i).points(torch.full((120, 160, 1), unit * depth))[:, :, 0, :2] / (unit * depth)
        photos.append(functional.grid_sample(texture, spot[None], align_corners=False)[0].permute(1, 2, 0))
    return torch.stack(photos).clamp(0, 1), cameras


@pytest.mark.parametrize("unit", [0.01, 1.0, 300.0])
def test_photos_tell_the_depth_of_a_wall_in_any_unit(unit):
    images, cameras = wall(3.0, [[0.0, 0, 0], [0.4, 0, 0], [0, 0.5, 0]], unit=unit)
    extent = extent_of_views(images, cameras, path=Path("wall"))
    assert extent.typical == pytest.approx(3 * unit, rel=0.04)
    assert 0.45 < extent.near / (3 * unit) < 0.75
    assert 1.1 < extent.far / (3 * unit) < 1.6


def test_masked_pixels_have_no_say_in_the_depth_of_a_scene():
    """Half of each photo shows another, nearer wall."""
    places = [[0.0, 0, 0], [0.4, 0, 0], [0, 0.5, 0]]
    (images, cameras), (nearer, _) = wall(3.0, places), wall(1.2, places)
    masks = torch.ones(images.shape[:3], dtype=torch.bool)
    masks[:, :, :90] = False
    images = torch.where(masks[..., None], images, nearer)
    whole = extent_of_views(images, cameras, path=Path("wall"))
    extent = extent_of_views(images, cameras, masks, path=Path("wall"))
    assert whole.near < 0.8
    assert extent.typical == pytest.approx(3, rel=0.04)
    assert extent.near > 1.3


@pytest.mark.parametrize("room", ["room-01000", "room-01001", "room-01002"])
def test_extent_of_rooms_covers_the_true_depth(data, room):
    scene = load_scene(data("rooms-eval") / room)
    assert scene.depth is not None
    train = list(scene.train)
    depth = scene.depth[train]
    low, middle, high = torch.quantile(depth[depth > 0], torch.tensor([0.02, 0.5, 0.98])).tolist()
    extent = extent_of_views(scene.images[train], scene.cameras[train], path=Path(room))
    assert 0.4 * low < extent.near < 1.02 * low
    assert 0.98 * high < extent.far < 1.6 * high
    assert extent.typical == pytest.approx(middle, rel=0.1)


def test_extent_of_fern_agrees_with_its_bounds(data):
    scene = load_scene(data("fern"), scale=1.0)
    train = list(scene.train)
    extent = extent_of_views(scene.images[train], scene.cameras[train], path=Path("fern"))
    assert (scene.train, scene.test) == ((1, 10, 19), (0, 8, 16))
    assert 0.6 * scene.near < extent.near < 1.2 * scene.near
    assert 0.8 * scene.far < extent.far < 1.5 * scene.far


# The geometry of real files.


def test_depth_warps_one_photo_onto_another(data):
    scene = load_scene(data("rooms-eval") / "room-01002")
    assert scene.depth is not None
    a, b = 1, 2
    points = scene.cameras.image_rays(a).points(scene.depth[a][..., None])[:, :, 0]
    pixel, z = scene.cameras.project(points, torch.full(points.shape[:2], b))
    size = torch.tensor([320.0, 240.0])

    def seen(image):
        grid = (2 * pixel / size - 1)[None]
        return functional.grid_sample(image.permute(2, 0, 1)[None], grid, align_corners=False)[0].permute(1, 2, 0)

    there = seen(scene.depth[b][..., None])[..., 0]
    visible = ((pixel > 0) & (pixel < size)).all(-1) & ((there - z).abs() < 0.01 * z)
    error = (seen(scene.images[b]) - scene.images[a]).abs().mean(-1)
    still = (scene.images[b] - scene.images[a]).abs().mean(-1)
    assert visible.float().mean() > 0.3
    assert error[visible].mean() < 0.25 * still[visible].mean()


# The camera path.


def test_a_camera_path_closes_and_looks_at_one_point():
    pose = torch.eye(3, 4).repeat(3, 1, 1)
    pose[:, :, 3] = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, 0.6, 0]])
    cameras = Cameras(pose, torch.full((3, 2), 50.0), torch.full((3, 2), 20.0), 40, 40)
    path = camera_path(cameras, 12, depth=3.0)
    assert len(path) == 12
    rotation = path.pose[..., :3]
    assert_close(rotation.mT @ rotation, torch.eye(3).expand(12, 3, 3), rtol=0, atol=1e-6)
    assert_close(torch.linalg.det(rotation), torch.ones(12))
    pixel, z = path.project(torch.tensor([[0.0, 0.2, 3.0]]))
    assert_close(pixel[:, 0], torch.full((12, 2), 20.0), rtol=0, atol=1e-4)
    assert (z > 0).all()
    steps = (path.origins - path.origins.roll(1, 0)).norm(dim=-1)
    assert 0.05 < steps.min() < steps.max() < 0.5
    assert (rotation[:, [0, 1, 2], [0, 1, 2]] > 0.8).all()
    assert_close(path.origins[0], torch.tensor([(2 / 3) ** 0.5, 0.2, 0]))


def test_a_camera_path_of_one_camera_moves():
    camera = Cameras(torch.eye(3, 4)[None], torch.full((1, 2), 50.0), torch.full((1, 2), 20.0), 40, 40)
    path = camera_path(camera, 4, depth=2.0)
    assert_close(path.origins[0], torch.tensor([0.04, 0, 0]))
    with pytest.raises(ValueError, match="frames >= 1"):
        camera_path(camera, 0, depth=2.0)


# Mistakes: one line each, that names the file and the remedy.


def says(error, path, *arguments, match, **more):
    with pytest.raises(error, match=match) as caught:
        load_scene(path, *arguments, **more)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_folders_without_a_scene(tmp_path):
    says(FileNotFoundError, tmp_path / "nowhere", match="no such folder; check the path")
    says(FileNotFoundError, tmp_path, match="the folder is empty; a scene needs transforms.json")
    photo(tmp_path / "images/0.png", 0)
    says(
        FileNotFoundError,
        tmp_path,
        match=r"no poses; a scene needs transforms.json .* poses_bounds.npy .*COLMAP.*scorereg poses",
    )
    says(NotADirectoryError, tmp_path / "images/0.png", match="a scene is a folder")


@pytest.mark.parametrize("make", [llff, transforms])
def test_numbers_of_views(tmp_path, make):
    make(tmp_path)
    says(ValueError, tmp_path, 9, match="9 training views are asked for, but only 8 .* give views=8 or fewer")
    says(ValueError, tmp_path, 0, match="at least 1 training view is needed, but views=0")
    says(ValueError, tmp_path, scale=0.0, match="scale .* must be above 0, but got 0.0")
    says(ValueError, tmp_path, max_size=0, match="max_size is the longest side in pixels, at least 1, but max_size=0")


@pytest.mark.parametrize("make", [llff, transforms])
def test_images_of_mixed_sizes(tmp_path, make):
    make(tmp_path)
    name = "images_8/img_004.png" if make is llff else "images/004.png"
    photo(tmp_path / name, 0, (12, 9))
    says(ValueError, tmp_path, match=f"{name} has 12x9 pixels, but its lens is for .*, of other proportions")


@pytest.mark.parametrize("make", [llff, transforms])
@pytest.mark.parametrize("left", [0, 20, 900])
def test_truncated_images(tmp_path, make, left):
    make(tmp_path)
    name = "images_8/img_004.png" if make is llff else "images/004.png"
    whole = (tmp_path / name).read_bytes()
    assert len(whole) > 900
    (tmp_path / name).write_bytes(whole[:left])
    says(ValueError, tmp_path, match=f"{name} (cannot be read|is truncated|is no picture|.*(truncated|corrupt))")


def test_missing_images(tmp_path):
    llff(tmp_path)
    (tmp_path / "images_8/img_004.png").unlink()
    says(ValueError, tmp_path, match=r"images_8: 9 images for the 10 poses")
    for file in (tmp_path / "images_8").iterdir():
        file.unlink()
    says(FileNotFoundError, tmp_path, match="no images in images_8, images_4, images_2 or images")


def test_images_of_another_shape_than_the_pose_file_names(tmp_path):
    llff(tmp_path, size=(20, 20))
    says(
        ValueError,
        tmp_path,
        match=r"images_8/img_000.png has 20x20 pixels, but its lens is for 160x112, of other proportions",
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_llff_poses_that_are_not_finite(tmp_path, value):
    llff(tmp_path)
    rows = np.load(tmp_path / "poses_bounds.npy")
    rows[6, 3] = value
    np.save(tmp_path / "poses_bounds.npy", rows)
    says(ValueError, tmp_path, match=r"poses_bounds.npy, frame images_8/img_006.png: the pose holds NaN")


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [
        ([1, 6, 11], 0.0, r"img_006.png: .*no rotation \(determinant 0"),
        ([4], 0.0, "img_006.png: .*height 0, width 160 and focal 400 must be > 0"),
        ([15], 9.5, "img_006.png: .*depth bounds 9.5 and 8.6 must be 0 < near < far"),
        ([15], np.nan, "img_006.png: .*depth bounds nan"),
    ],
)
def test_llff_rows_that_cannot_be(tmp_path, column, value, match):
    llff(tmp_path)
    rows = np.load(tmp_path / "poses_bounds.npy")
    rows[6, column] = value
    np.save(tmp_path / "poses_bounds.npy", rows)
    says(ValueError, tmp_path, match=match)


def test_a_mirrored_pose(tmp_path):
    transforms(tmp_path)

    def mirror(table):
        for row in table["frames"][2]["transform_matrix"]:
            row[0] *= -1

    edit(tmp_path, mirror)
    says(ValueError, tmp_path, match=r"frame images/002.png: .*no rotation \(determinant -1")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t["frames"][2]["transform_matrix"][0].__setitem__(3, math.nan), "frame images/002.png: .*NaN"),
        (lambda t: t["frames"][2].update(transform_matrix=torch.zeros(3, 4).tolist()), "002.png: .*determinant 0"),
        (lambda t: t["frames"][2].update(transform_matrix=(2 * torch.eye(3, 4)).tolist()), "002.png: .*determinant 8"),
        (lambda t: t["frames"][2].update(transform_matrix=(2 * torch.eye(4)).tolist()), "last row .* must be 0 0 0 1"),
        (lambda t: t["frames"][2].update(transform_matrix=[[1, 2], [3, 4]]), r"002.png: .* shape \(2, 2\)"),
        (lambda t: t["frames"][2].update(transform_matrix="eye"), "002.png: `transform_matrix` is not a table"),
        (lambda t: t["frames"][2].pop("file_path"), "a frame has no `file_path`"),
        (lambda t: t.pop("frames"), "`frames` must be a list of at least one"),
        (lambda t: t.update(frames=[]), "`frames` must be a list of at least one"),
        (lambda t: (t.pop("fl_x"), t.pop("fl_y")), "no focal length; write `fl_x` or `camera_angle_x`"),
        (lambda t: t.update(fl_x=0), "must be above 0, but are 0"),
        (lambda t: t.update(cx="middle"), "`cx` must be a finite number, but is 'middle'"),
        (lambda t: t.update(k5=0.1), "`k5` is 0.1, but lens terms beyond k4"),
        (lambda t: t.update(camera_model="EQUIRECTANGULAR"), "camera_model 'EQUIRECTANGULAR' is neither a pinhole"),
        (lambda t: t.update(train_filenames=["images/x.png"]), "images/x.png in train_filenames .* is no frame"),
        (lambda t: t.update(train_filenames=None), "None in train_filenames"),
        (
            lambda t: t.update(train_filenames=["images/001.png"], test_filenames=["images/001.png"]),
            "images/001.png is in both",
        ),
        (lambda t: t.update(far=1.0), "near 2 and far 1 must be 0 < near < far"),
        (lambda t: t.pop("far"), "`near` and `far` must both be numbers"),
        (lambda t: t["frames"][2].update(depth_file_path="d.png"), "d.png: the depth map .* is missing; add it"),
        (lambda t: t["frames"][2].update(depth_file_path=5), "`depth_file_path` must be the name of a file, but is 5"),
        (lambda t: t.update(ply_file_path=7), "`ply_file_path` must be the name of a file, but is 7"),
        (lambda t: t["frames"][2]["transform_matrix"][0].__setitem__(3, 1e39), "002.png: .*beyond float32"),
    ],
)
def test_mistakes_in_transforms(tmp_path, change, match):
    transforms(tmp_path)
    edit(tmp_path, change)
    says((ValueError, FileNotFoundError), tmp_path, 1, match=match)


def test_a_missing_photo_of_a_frame(tmp_path):
    transforms(tmp_path)
    (tmp_path / "images/004.png").unlink()
    says(FileNotFoundError, tmp_path, match=r"images/004.png: the image named in transforms.json is missing")


def test_files_that_are_something_else(tmp_path):
    transforms(tmp_path)
    (tmp_path / "transforms.json").write_text("{frames", encoding="utf-8")
    says(ValueError, tmp_path, match="transforms.json is no valid JSON")
    (tmp_path / "transforms.json").write_bytes(b"\xff\xfe\x00")
    says(ValueError, tmp_path, match="transforms.json is no text in utf-16")
    (tmp_path / "transforms.json").unlink()
    np.save(tmp_path / "poses_bounds.npy", np.zeros((10, 15)))
    says(ValueError, tmp_path, match=r"poses_bounds.npy: expected .* shape \(images, 17\).*shape \(10, 15\)")
    (tmp_path / "poses_bounds.npy").write_bytes(b"nothing")
    says(ValueError, tmp_path, match="poses_bounds.npy: not a readable NumPy file")
    (tmp_path / "p.ply").write_bytes(b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n1\n")
    with pytest.raises(ValueError, match=r"p.ply: not a readable PLY"):
        read_ply(tmp_path / "p.ply")


@pytest.mark.parametrize(
    ("raw", "match"),
    [
        (np.ones((9, 9), np.uint16), "d.png has 9x9 pixels, but its photo 20x14, of other proportions"),
        (np.ones((HEIGHT, WIDTH), np.uint8), "d.png has 8 bits a pixel"),
        (np.ones((HEIGHT, WIDTH, 3), np.uint8), "d.png has colours"),
        (None, "d.png .*(truncated|corrupt)"),
    ],
)
def test_depth_maps_that_are_none(tmp_path, raw, match):
    transforms(tmp_path)
    edit(tmp_path, lambda t: t["frames"][2].update(depth_file_path="d.png"))
    noise = np.random.default_rng(0).integers(1, 60000, (HEIGHT, WIDTH)).astype(np.uint16)
    Image.fromarray(noise if raw is None else raw).save(tmp_path / "d.png")
    if raw is None:
        (tmp_path / "d.png").write_bytes((tmp_path / "d.png").read_bytes()[:200])
    says(ValueError, tmp_path, match=match)


def test_scenes_whose_depth_cannot_be_told(tmp_path):
    transforms(tmp_path, near=None, far=None)
    with pytest.warns(UserWarning, match="1 training view does not tell near and far, so .*write `near` and `far`"):
        load_scene(tmp_path, 1)
    says(ValueError, tmp_path, 3, match="pixels match between the training photos, too few")
    ply(tmp_path / "p.ply", torch.randn(5, 3), "ascii")
    edit(tmp_path, lambda t: t.update(ply_file_path="p.ply"))
    says(ValueError, tmp_path, 3, match="of its sparse points are seen .* too few")

    def one_place(table):
        table.pop("ply_file_path")
        for entry in table["frames"]:
            for row in entry["transform_matrix"][:3]:
                row[3] = 1.0

    edit(tmp_path, one_place)
    says(ValueError, tmp_path, 3, match="share one centre")


@pytest.mark.parametrize(("near", "far", "radius"), [(1.0, 4.0, 2.0), (0.5, 100.0, 3.0)])
def test_the_ball_lies_before_the_training_cameras(near, far, radius, tmp_path):
    """Halfway to the far end, or six times the near one; in the middle of where those cameras look."""
    transforms(tmp_path)
    scene = replace(load_scene(tmp_path, 3), near=near, far=far)
    center, size = scene.ball()
    ends = [scene.cameras.pose[i, :, 3] + radius * scene.cameras.pose[i, :, 2] for i in scene.train]
    assert size == radius
    assert_close(center, torch.stack(ends).mean(0))
