"""More folders of frames as people have them, read for training: right, warned of, or refused in one clear line."""

import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from scorereg.data import ReadOptions
from scorereg.data.bad_frames import BadFrames
from scorereg.data.frames import find_frames
from scorereg.data.frames.images import find_images
from tests.situations.room import FOCAL, HEIGHT, POSES, WIDTH
from tests.situations.test_frame_situations import RGB, RGBD, SHOTS, check, listed, millimetres, pairs, png

DEPTH = ("disparity",)


def refused(folder, pattern, channels=RGBD):
    with pytest.raises((ValueError, OSError), match=pattern) as caught:
        find_frames([folder], channels=channels)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def intrinsics(folder, **entries):
    (folder / "intrinsics.json").write_text(json.dumps(entries))
    return folder


def scannet(folder, *, matrix=True):
    for i, (color, depth) in enumerate(SHOTS):
        png(folder / f"color/{i}.png", color)
        png(folder / f"depth/{i}.png", millimetres(depth))
        (folder / "pose").mkdir(exist_ok=True)
        np.savetxt(folder / f"pose/{i}.txt", np.vstack([POSES[i], [0, 0, 0, 1]]))
    if matrix:
        (folder / "intrinsic").mkdir()
        np.savetxt(folder / "intrinsic/intrinsic_depth.txt", [[80, 0, 47.5], [0, 80, 35.5], [0, 0, 1]])
    return folder


def tum(folder):
    for i, (color, depth) in enumerate(SHOTS):
        png(folder / f"rgb/{i}.png", color)
        png(folder / f"depth/{i}.png", (5000 * depth).astype(np.uint16))
    for kind in ("rgb", "depth"):
        (folder / f"{kind}.txt").write_text("".join(f"{i}.0 {kind}/{i}.png\n" for i in range(6)))
    return folder


def seven_scenes(folder):
    for i, (color, depth) in enumerate(SHOTS):
        png(folder / f"frame-{i}.color.png", color)
        png(folder / f"frame-{i}.depth.png", millimetres(depth))
    return folder


def without_camera(folder):
    pairs(folder)
    (folder / "intrinsics.json").unlink()
    return folder


def replica(folder):
    for i, (color, depth) in enumerate(SHOTS):
        png(folder / f"results/frame{i:06}.png", color)
        png(folder / f"results/depth{i:06}.png", (6553.5 * depth).astype(np.uint16))
    return folder


def test_layouts_beside_each_other(tmp_path):
    pairs(tmp_path / "a/deep")
    scannet(tmp_path / "b/scene0000_00")
    (tmp_path / "c").mkdir()
    listed(tmp_path / "c")
    with pytest.warns(UserWarning, match="same files"):  # these are photos of one room
        frames = find_frames([tmp_path], channels=RGBD)
    assert len(frames) == 18
    assert {frame.focal for frame in frames} == {(FOCAL, FOCAL)}


def test_a_copy_of_a_folder_is_told(tmp_path):
    pairs(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "a copy")
    with pytest.warns(UserWarning, match="a copy/rgb holds the same files as .*a/rgb"):
        find_frames([tmp_path], channels=RGBD)


def test_folders_of_equal_names_and_sizes_are_no_copies(tmp_path):
    for name, order in (("a", (0, 1)), ("b", (1, 0))):
        for i, shot in enumerate(order):
            path = tmp_path / name / f"{i}.bmp"
            png(path, SHOTS[shot][0])
    assert len(find_frames([tmp_path], channels=RGB)) == 4


@pytest.mark.parametrize("make", [without_camera, scannet, tum, seven_scenes, replica])
def test_photos_without_a_camera_are_photos(make, tmp_path):
    """Where depth is wanted the camera is asked for."""
    folder = scannet(tmp_path / "data", matrix=False) if make is scannet else make(tmp_path / "data")
    refused(folder, "missing")
    check(folder, RGB, focal=None)


def test_depth_alone(tmp_path):
    shutil.rmtree(pairs(tmp_path) / "rgb")
    assert len(find_frames([tmp_path], channels=DEPTH)) == 6
    refused(tmp_path, "no photos")


def test_one_frame(tmp_path):
    check(pairs(tmp_path, count=1), count=1)


@pytest.mark.parametrize(
    "entries",
    [
        {"width": WIDTH, "height": HEIGHT, "ppx": 48, "ppy": 36, "fx": FOCAL, "fy": FOCAL, "coeffs": [0, 0, 0, 0, 0]},
        {"width": WIDTH, "height": HEIGHT, "intrinsic_matrix": [80, 0, 0, 0, 80, 0, 47.5, 35.5, 1]},
        {"width": 4 * WIDTH, "height": 4 * HEIGHT, "fx": 4 * FOCAL, "fy": 4 * FOCAL},
    ],
)
def test_cameras_of_other_programs(entries, tmp_path):
    check(intrinsics(pairs(tmp_path), **entries))


@pytest.mark.parametrize(
    ("entries", "pattern"),
    [
        ({"fl_x": FOCAL, "fl_y": -7.5}, "fl_y.*above|fl_y.*> 0"),
        ({"fl_x": FOCAL, "fl_y": 0}, "above 0|> 0"),
        ({"K": [[80, 0, 48], [0, 80, 36], [0, 0, 1]]}, "fl_x"),
        ({"fl_x": 320, "fl_y": 320, "cx": 192, "cy": 144}, "another size"),
    ],
)
def test_cameras_that_are_refused(entries, pattern, tmp_path):
    refused(intrinsics(pairs(tmp_path), **entries), pattern)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"fl_x": FOCAL, "fl_y": 55_000}, "nearly equal"),
        ({"fl_x": 0.83, "fl_y": 1.1}, "degrees"),
        ({"fl_x": 9000.0}, "degrees"),
        ({"fl_x": FOCAL, "depth_scale": 5000}, "depth_unit_scale_factor"),
        ({"fl_x": FOCAL, "coeffs": [0.1, 0, 0, 0, 0]}, "coeffs"),
    ],
)
def test_cameras_that_can_hardly_be(entries, said, tmp_path):
    with pytest.warns(UserWarning, match=said) as heard:
        find_frames([intrinsics(pairs(tmp_path), **entries)], channels=RGBD)
    assert len(heard) == 1


@pytest.mark.parametrize("unit", [1, 1000])
def test_floats_of_tiff_tell_their_unit(unit, tmp_path):
    def write(path, depth):
        Image.fromarray((unit * depth).astype(np.float32)).save(path)

    check(intrinsics(pairs(tmp_path, suffix=".tiff", depth=write), fl_x=FOCAL))


def test_depth_as_jpeg(tmp_path):
    pairs(tmp_path, suffix=".jpg", depth=lambda p, d: png(p, (40 * d).astype(np.uint8)))
    refused(tmp_path, "0.jpg is no depth map by its suffix")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("nyu_depth_v2_labeled.mat", "rgb/NAME.png"),
        ("scene0000_00.sens", "SensReader"),
        ("take.bag", "export its pictures"),
        ("a.tar", "unpack"),
        ("walk.MP4", "ffmpeg"),
        ("train.parquet", "one by one"),
    ],
)
def test_files_of_others_say_what_to_do(name, pattern, tmp_path):
    (tmp_path / name).write_bytes(b"\0" * 64)
    refused(tmp_path, pattern)
    with pytest.raises(ValueError, match=pattern):
        find_images(tmp_path)


@pytest.mark.parametrize(("color", "depth"), [("{}_rgb", "{}_depth"), ("{}", "{}0"), ("{}", "x{}")])
def test_names_that_do_not_pair(color, depth, tmp_path):
    pairs(tmp_path)
    for i in range(1, 6):
        (tmp_path / f"rgb/{i}.png").rename(tmp_path / f"rgb/{color.format(i)}.png")
        (tmp_path / f"depth/{i}.png").rename(tmp_path / f"depth/{depth.format(i)}.png")
    refused(tmp_path, "of the same name")


def test_one_photo_of_another_size(tmp_path):
    pairs(tmp_path)
    png(tmp_path / "rgb/3.png", SHOTS[3][0][::2, ::2].copy())
    png(tmp_path / "depth/3.png", millimetres(SHOTS[3][1][::2, ::2]))
    refused(tmp_path, "one focal length is given for all")


def test_grey_photos(tmp_path):
    pairs(tmp_path, color=lambda p, i: Image.fromarray(SHOTS[i][0]).convert("L").save(p))
    check(tmp_path, color=False)


def test_unlike_layouts_are_left_in_one_line(tmp_path):
    """Photos and depth in folders that no layout has."""
    for i, (color, depth) in enumerate(SHOTS):
        png(tmp_path / f"kitchen_0004/rgb_{i:05}.png", color)
        png(tmp_path / f"kitchen_0004/sync_depth_{i:05}.png", millimetres(depth))
    refused(tmp_path, "no RGB-D frames.*rgb/ and depth/")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        frames = find_frames([tmp_path], channels=RGB, bad=BadFrames(ReadOptions()))
    assert len(frames) == 6
    assert "left out as no photos" in str(heard[0].message)


def test_seven_scenes_with_a_camera_of_its_own(tmp_path):
    """`intrinsics.json` goes before the data set's known camera, and tells the unit."""
    folder = seven_scenes(tmp_path / "seq-01")
    check(intrinsics(folder, fl_x=FOCAL, depth_unit_scale_factor=0.001))
    frames = find_frames([intrinsics(folder, fl_x=FOCAL, depth_unit_scale_factor=0.002)], channels=RGBD)
    assert {frame.unit for frame in frames} == {0.002}


def test_tum_with_clocks_that_differ(tmp_path):
    folder = intrinsics(tum(tmp_path), fl_x=FOCAL)
    lines = [f"{i + 40.5} depth/{i}.png\n" for i in range(6)]
    (folder / "depth.txt").write_text("".join(lines))
    refused(tmp_path, "within 0.02 s of its time stamp; the nearest is 35.5 s")


def test_sun_rgbd(tmp_path):
    """Its depth maps look like any others, but have their bits rotated."""
    for kind in ("depth", "depth_bfx"):
        png(tmp_path / f"NYU0001/{kind}/NYU0001.png", millimetres(SHOTS[0][1]) << 3)
    png(tmp_path / "NYU0001/image/NYU0001.jpg", SHOTS[0][0])
    (tmp_path / "NYU0001/intrinsics.txt").write_text("80 0 48 0 80 36 0 0 1")
    refused(tmp_path, r"SUN RGB-D.*rotated.*d >> 3 \| d << 13")
