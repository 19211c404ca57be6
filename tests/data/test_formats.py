"""Layouts of published data sets in small: TUM RGB-D, ScanNet, 7-Scenes; further maps; bad input."""

import json

import numpy as np
import pytest
from PIL import Image
from rgbd_folders import FOCAL, HEIGHT, WIDTH, kinect, pairs, picture, rooms, transforms, write_frame
from torch.testing import assert_close

from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.channels import channel_names
from scorereg.data.frames.augment import to_prior_space
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.load import load_pyramid
from scorereg.data.frames.normals import normals_of
from scorereg.data.frames.read import read_frame
from scorereg.data.patch_spec import PatchSpec


def tum(folder, times, *, shift=0.004, **size):
    """Photos at some times, depth maps a little later."""
    rgb, depth = ["# color images", "# timestamp filename"], []
    for i, time in enumerate(times):
        color, z = f"rgb/{time:.6f}.png", f"depth/{time + shift:.6f}.png"
        write_frame(folder / color, folder / z, i, **size)
        rgb.append(f"{time:.6f} {color}")
        depth.append(f"{time + shift:.6f} {z}")
    (folder / "rgb.txt").write_text("\n".join(rgb))
    (folder / "depth.txt").write_text("\n".join(depth))
    return folder


def test_tum_is_matched_by_time(tmp_path):
    folder = tum(tmp_path / "rgbd_dataset_freiburg3_desk", [10.0, 10.03, 10.06], height=30)
    (folder / "depth.txt").write_text(
        "# depth maps\n10.000 depth/a.png\n10.024 depth/b.png\n10.031 depth/c.png\n10.095 depth/d.png\n"
    )
    for name in "abcd":
        write_frame(folder / "x.png", folder / "depth" / f"{name}.png", height=30)
    frames = find_frames([tmp_path])
    # 10.03 takes c, 1 ms away, not b; 10.06 finds nothing within 20 ms
    assert [(f.color.name, f.depth.name) for f in frames] == [("10.000000.png", "a.png"), ("10.030000.png", "c.png")]
    assert frames[0].focal == (535.4 * 40 / 640, 539.2 * 30 / 480)  # its camera has 640x480 pixels
    metres = read_frame(frames[0]).metres
    assert_close(metres, (picture(0, 40, 30)[1] / 5000).astype(np.float32), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("order", [("rgb", "depth"), ("depth", "rgb")])
def test_tum_takes_associations_in_either_order(tmp_path, order):
    folder = tum(tmp_path / "scene", [1.0, 2.0])
    files = {"rgb": "rgb/2.000000.png", "depth": "depth/1.004000.png"}
    (folder / "associations.txt").write_text(f"1.0 {files[order[0]]} 1.0 {files[order[1]]}\n")
    (folder / "intrinsics.json").write_text('{"fl_x": 525.0, "fl_y": 524.0}')
    (frame,) = find_frames([folder])
    assert (frame.color.name, frame.depth.name, frame.focal) == ("2.000000.png", "1.004000.png", (525.0, 524.0))


def test_tum_needs_a_camera(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"does not say which of the cameras it is \(freiburg1, 2 or 3\)"):
        find_frames([tum(tmp_path / "desk", [1.0])])


@pytest.mark.parametrize("small", [False, True], ids=["exported", "frames_25k"])
def test_scannet_reduces_the_photo_to_the_depth_map(tmp_path, small):
    folder = tmp_path / "scene0000_00"
    (folder / "color").mkdir(parents=True)
    (folder / "depth").mkdir()
    color, z = picture(0, 81, 61)[0], picture(0)[1][:30]  # 81x61 beside 40x30, as 1296x968 is beside 640x480
    Image.fromarray(color).save(folder / "color" / "0.jpg", quality=95)
    Image.fromarray(z).save(folder / "depth" / "0.png")
    matrix = f"{FOCAL} 0 20 0\n0 {FOCAL + 1} 15 0\n0 0 1 0\n0 0 0 1\n"
    path = folder / "intrinsics_depth.txt" if small else folder / "intrinsic" / "intrinsic_depth.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(matrix)
    (frame,) = find_frames([tmp_path])
    assert frame.focal == (FOCAL, FOCAL + 1)
    planes = read_frame(frame)
    assert planes.color.shape == (30, 40, 3)
    assert_close(planes.metres, (z / 1000).astype(np.float32))
    assert np.array_equal(read_frame(frame, ("color",)).color, planes.color), "without its depth, too"
    centre = np.asarray(Image.open(folder / "color" / "0.jpg"), np.float32)[20:24, 20:24].mean((0, 1))
    assert np.abs(planes.color[10:12, 10:12].mean((0, 1)) - centre).max() < 8


def test_scannet_refuses_a_photo_of_other_proportions(tmp_path):
    write_frame(tmp_path / "color" / "0.png", tmp_path / "depth" / "0.png")
    Image.fromarray(picture(0, 80, 80)[0]).save(tmp_path / "color" / "0.png")
    (tmp_path / "intrinsics_depth.txt").write_text("30 0 20\n0 30 16\n0 0 1\n")
    with pytest.raises(ValueError, match="80x80 pixels, but its lens is for 40x32, of other proportions"):
        load_pyramid(find_frames([tmp_path]), PatchSpec(8, focal=(10.0, 30.0)))


def test_seven_scenes_has_a_known_camera(tmp_path):
    names = (tmp_path / "chess" / "seq-01" / f"frame-000000.{kind}.png" for kind in ("color", "depth"))
    write_frame(*names, width=64, height=48)
    (frame,) = find_frames([tmp_path])
    assert frame.focal == (58.5, 58.5)  # 585 pixels of 640x480
    assert frame.scene == "chess/seq-01"


def test_channels_in_words():
    assert channel_names("rgbd") == ("r", "g", "b", "disparity")
    assert channel_names("rgb,nx,ny,nz") == ("r", "g", "b", "nx", "ny", "nz")
    assert channel_names(("d", "roughness")) == ("disparity", "roughness")
    for bad in ("", "rgb,r", "rgb,,d"):
        with pytest.raises(ValueError, match="channels must be names that differ"):
            channel_names(bad)


def test_named_maps_are_read_beside_the_photo(tmp_path):
    folder = pairs(tmp_path / "s", 2)
    for i in range(2):
        (folder / "roughness").mkdir(exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH), 51 * (i + 1), np.uint8)).save(folder / "roughness" / f"{i}.png")
        (folder / "flow").mkdir(exist_ok=True)
        flow = np.full((HEIGHT, WIDTH, 2), 0.25, np.float32)
        flow[:, : WIDTH // 4, 1] = np.nan
        np.save(folder / "flow" / f"{i}.npy", flow)
    channels = ("roughness", "flow.1", "r")
    frames = find_frames([folder], channels=channels)
    pyramid = load_pyramid(frames, PatchSpec(8, focal=(FOCAL, FOCAL), channels=channels))
    x, weight = to_prior_space(pyramid.crop(50, 8, _generator()), channels)
    assert x.shape == (50, 3, 8, 8)
    assert {round(v, 2) for v in x[:, 0].unique().tolist()} == {-0.6, -0.2}
    assert_close(x[:, 1], np.float32(0.25) + 0 * x[:, 1], rtol=0.0, atol=1e-4)
    assert 0 < weight[:, 1].mean() < 1
    assert weight[:, 1].mean((1, 2)).min() >= 0.5
    with pytest.raises(ValueError, match="s has no map albedo, which the channels need"):
        find_frames([folder], channels=("albedo",))


def test_photos_alone_are_enough_for_colour(tmp_path):
    folder = transforms(tmp_path / "s", 2)
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text.replace('"depth_file_path"', '"no_depth"'))
    pyramid = load_pyramid(
        find_frames([folder], channels=("r", "g", "b")), PatchSpec(8, focal=(20.0, 30.0), channels="rgb")
    )
    x, weight = to_prior_space(pyramid.crop(4, 8, _generator()), "rgb")
    assert x.shape == (4, 3, 8, 8)
    assert weight.all()
    with pytest.raises(ValueError, match="channel disparity is not|no depth"):
        find_frames([folder])


def test_normals_of_a_plane_are_exact():
    normal = np.array([0.36, -0.48, -0.8])
    rows, columns, focal = 12, 16, 20.0
    x = (np.arange(columns) - (columns - 1) / 2) / focal
    y = (np.arange(rows)[:, None] - (rows - 1) / 2) / focal
    inverse = -(normal[0] * x + normal[1] * y + normal[2]) / 2.0  # the plane n.P = -2
    found = normals_of(inverse, (focal, focal))
    assert np.abs(found - normal).max() < 1e-6


def test_mirrored_normals_face_the_other_way(tmp_path):
    """Walls that face right: half of the crops are mirrored, and their normals' x is negated, y and z are not."""
    folder = transforms(tmp_path / "s", 1)
    channels = ("disparity", "nx", "ny", "nz")
    pyramid = load_pyramid(find_frames([folder]), PatchSpec(8, focal=(FOCAL, FOCAL), channels=channels))
    x, _ = to_prior_space(pyramid.crop(64, 8, _generator()), channels)
    slope = x[:, 0, :, -1].mean(-1) - x[:, 0, :, 0].mean(-1)  # of disparity, to the right
    nx, ny, nz = x[:, 1:].mean((2, 3)).unbind(1)
    assert {True, False} == set((slope > 0).tolist())
    assert ((nx < 0) == (slope > 0)).all()  # a wall that comes nearer to the right faces left
    assert ny.abs().max() < 0.02
    assert nz.max() < 0


def test_bad_frames_are_counted_and_skipped_up_to_one_in_a_hundred(tmp_path):
    for i in range(100):
        kinect(tmp_path / f"{i:03}", 1)
    (tmp_path / "007" / "frame-000000.color.jpg").write_bytes(b"hello")
    frames = find_frames([tmp_path])
    with pytest.raises(ValueError, match="007/frame-000000.color.jpg cannot be read"):
        load_pyramid(frames, PatchSpec(8, focal=(FOCAL, FOCAL)))
    bad = BadFrames(ReadOptions(skip_bad=True))
    assert len(load_pyramid(frames, PatchSpec(8, focal=(FOCAL, FOCAL)), bad=bad).start) == 99
    assert len(bad.messages) == 1
    bad.check(len(frames))
    (tmp_path / "008" / "frame-000000.depth.png").unlink()
    (tmp_path / "009" / "frame-000000.depth.png").write_bytes(b"")
    bad = BadFrames(ReadOptions(skip_bad=True))
    frames = find_frames([tmp_path], bad=bad)
    load_pyramid(frames, PatchSpec(8, focal=(FOCAL, FOCAL)), bad=bad)
    with pytest.raises(ValueError, match=r"3 of 100 frames cannot be used, and only 1 % may.*008 .*no depth map"):
        bad.check(100)


def test_one_camera_means_one_size(tmp_path):
    folder = pairs(tmp_path / "s", 4)
    write_frame(folder / "rgb" / "2.jpg", folder / "depth" / "2.png", width=20, height=16)
    with pytest.raises(ValueError, match=r"rgb/2.jpg has 20x16 pixels, but the others of its folder have 40x32"):
        find_frames([folder])
    bad = BadFrames(ReadOptions(skip_bad=True))
    assert [f.color.stem for f in find_frames([folder], bad=bad)] == ["0", "1", "3"]
    assert len(bad.messages) == 1


def test_a_focal_length_for_all_frames_means_one_size(tmp_path):
    folder = transforms(tmp_path / "s", 4)
    meta = json.loads((folder / "transforms.json").read_text())
    for entry in meta["frames"]:
        del entry["fl_x"], entry["fl_y"]
    (folder / "transforms.json").write_text(json.dumps(meta | {"fl_x": 30.0}))
    assert len(find_frames([folder])) == 4
    write_frame(folder / "2.png", folder / "2.depth.png", width=20, height=16)
    with pytest.raises(ValueError, match=r"2.png has 20x16 pixels, but the others of its folder have 40x32"):
        find_frames([folder])


def test_a_frame_that_names_no_depth_is_a_fault_where_others_do(tmp_path):
    folder = transforms(tmp_path / "s", 4)
    meta = json.loads((folder / "transforms.json").read_text())
    del meta["frames"][1]["depth_file_path"]
    (folder / "transforms.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match=r"1.png has no depth map, which other frames of its folder have"):
        find_frames([folder])
    bad = BadFrames(ReadOptions(skip_bad=True))
    assert [f.color.stem for f in find_frames([folder], bad=bad)] == ["0", "2", "3"]
    assert len(bad.messages) == 1
    assert len(find_frames([folder], channels=("r", "g", "b"))) == 4


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        (1.0, r"median of 1.\d+e\+03 m, which cannot be: it looks like millimetres read as metres.*factor 0.001\)"),
        (1e-6, r"looks like metres read as millimetres.*Multiply the depth unit by 1000"),
    ],
)
def test_depth_in_the_wrong_unit_is_seen(tmp_path, unit, says):
    folder = rooms(tmp_path / "s", 2)
    text = (folder / "frames.json").read_text()
    (folder / "frames.json").write_text(text.replace('"depth_unit_m": 0.001', f'"depth_unit_m": {unit}'))
    with pytest.raises(ValueError, match=says):
        load_pyramid(find_frames([folder]), PatchSpec(8, focal=(FOCAL, FOCAL)))


def test_depth_that_is_rare_in_rooms_is_warned_of(tmp_path):
    """Units of 1/5000 m read as millimetres: five times as far as it is."""
    folder = rooms(tmp_path / "s", 2)
    text = (folder / "frames.json").read_text()
    (folder / "frames.json").write_text(text.replace('"depth_unit_m": 0.001', '"depth_unit_m": 0.005'))
    with pytest.warns(UserWarning, match=r"median of [78]\.\d+ m .*1/5000 m \(TUM RGB-D\) read as mill.*-factor 0.2"):
        load_pyramid(find_frames([folder]), PatchSpec(8, focal=(FOCAL, FOCAL)))


def test_scenes_are_excluded_by_pattern(tmp_path):
    for name in ("a1", "a2", "b1"):
        kinect(tmp_path / name, 1)
    assert [f.scene for f in find_frames([tmp_path], bad=BadFrames(ReadOptions(exclude=("a*",))))] == [
        f"{tmp_path.name}/b1"
    ]


def test_a_map_that_is_no_map(tmp_path):
    write_frame(tmp_path / "0.png", tmp_path / "0.depth.png")
    np.save(tmp_path / "far.npy", np.full((HEIGHT, WIDTH), 7.0, np.float32))
    np.save(tmp_path / "small.npy", np.zeros((3, 3), np.float32))
    for name, says in (
        ("far", r"must hold floats in \[-1, 1\]"),
        ("small", "has 3x3 pixels, but the others of its frame have 40x32"),
    ):
        maps = (("m", tmp_path / f"{name}.npy"),)
        frame = Frame("s", tmp_path / "0.png", tmp_path / "0.depth.png", (FOCAL, FOCAL), maps=maps)
        with pytest.raises(ValueError, match=says):
            read_frame(frame, ("color", "m"))


def _generator():
    import torch

    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("layout", ["colmap", "dtu", "mvsnet"])
def test_photos_with_poses_have_a_focal_length_for_colour(tmp_path, layout):
    from tests.files import test_colmap, test_dtu
    from tests.files.truth import FOCAL as TRUE

    {"colmap": test_colmap.scene, "dtu": test_dtu.archive, "mvsnet": test_dtu.mvsnet}[layout](tmp_path / "s")
    frames = find_frames([tmp_path], channels=("r", "g", "b"))
    assert len(frames) == 4
    assert_close(np.array([frame.focal for frame in frames]), np.array([TRUE] * 4), rtol=1e-9, atol=0.0)
    with pytest.raises(ValueError, match=r"s has no depth maps, which the channels need"):
        find_frames([tmp_path])


def test_a_model_beside_rgb_and_depth_does_not_hide_depth(tmp_path):
    from tests.files.test_colmap import binary

    folder = pairs(tmp_path / "s", 2)
    binary(folder / "sparse" / "0", ["0.jpg", "1.jpg"], size=(WIDTH, HEIGHT))
    assert all(frame.depth for frame in find_frames([tmp_path]))


def test_linked_scenes_are_read_once(tmp_path):
    """Some keep the data elsewhere, and a folder of links to what they train on."""
    for seed, name in enumerate(("a", "b")):
        folder = kinect(tmp_path / "elsewhere" / name, 1)
        write_frame(folder / "frame-000000.color.jpg", folder / "frame-000000.depth.png", 9 + seed)
    (tmp_path / "data").mkdir()
    for name, target in (("a", "a"), ("b", "b"), ("again", "a")):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / target)
    assert len(find_frames([tmp_path / "data"])) == 2


def test_masks_and_depth_are_no_photos(tmp_path):
    """Replica's results/ without a trajectory: photos and depth maps lie in one folder."""
    for i in range(3):
        write_frame(tmp_path / "results" / f"frame{i:06}.jpg", tmp_path / "results" / f"depth{i:06}.png", i)
    (tmp_path / "cam_params.json").write_text('{"camera": {"w": 40, "h": 32, "fx": 30, "fy": 30, "scale": 1000}}')
    frames = find_frames([tmp_path], channels=("r", "g", "b"))
    assert [frame.color.name for frame in frames] == [f"frame{i:06}.jpg" for i in range(3)]
    assert {frame.focal for frame in frames} == {(30.0, 30.0)}
    assert all(frame.depth for frame in find_frames([tmp_path]))
