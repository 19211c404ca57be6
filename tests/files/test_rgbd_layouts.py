"""7-Scenes, ScanNet, TUM RGB-D, ICL-NUIM, Replica, Polycam, and pairs of folders, as views with poses."""

import json

import numpy as np
import pytest
from PIL import Image

from scorereg.files.layouts import layout_of
from scorereg.files.layouts.kinect import read_kinect
from scorereg.files.layouts.pairs import read_pairs
from scorereg.files.layouts.polycam import read_polycam
from scorereg.files.layouts.replica import read_replica
from scorereg.files.layouts.scannet import read_scannet
from scorereg.files.layouts.tum import read_tum
from tests.files.truth import (
    CENTER,
    COUNT,
    FOCAL,
    HEIGHT,
    WIDTH,
    check,
    depth,
    matrix,
    photo,
    poses,
    quaternion,
    square,
    text,
)

INTRINSICS = {"fl_x": FOCAL[0], "fl_y": FOCAL[1], "cx": CENTER[0], "cy": CENTER[1], "w": WIDTH, "h": HEIGHT}


def dump(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))


def kinect(folder, suffix=".png"):
    for i, pose in enumerate(poses()):
        photo(folder / f"frame-{i:06}.color{suffix}", i)
        depth(folder / f"frame-{i:06}.depth.png")
        text(folder / f"frame-{i:06}.pose.txt", square(pose))
    text(folder / "camera-intrinsics.txt", matrix(0.5))
    return folder


def scannet(folder):
    for i, pose in enumerate(poses()):
        photo(folder / "color" / f"{i}.jpg", i, (2 * WIDTH, 2 * HEIGHT))
        depth(folder / "depth" / f"{i}.png")
        text(folder / "pose" / f"{i}.txt", square(pose))
    text(folder / "intrinsic" / "intrinsic_depth.txt", np.pad(matrix(0.5), ((0, 1), (0, 1))))
    text(folder / "intrinsic" / "intrinsic_color.txt", 2 * matrix(0.5))
    return folder


def tum(folder, names=("rgb", "depth"), depth_first=False, prefix=""):
    lines = []
    for i in range(COUNT):
        files = [f"{prefix}{names[0]}/{i}.png", f"{prefix}{names[1]}/{i}.png"]
        photo(folder / names[0] / f"{i}.png", i)
        depth(folder / names[1] / f"{i}.png", 5000)
        times = [f"{i / 30:.6f}", f"{i / 30 + 0.004:.6f}"]
        order = (1, 0) if depth_first else (0, 1)
        lines.append(" ".join(f"{times[k]} {files[k]}" for k in order))
    (folder / "associations.txt").write_text("\n".join(lines))
    track(folder / "groundtruth.txt", [i / 30 + 0.003 for i in range(COUNT)], poses())
    dump(folder / "intrinsics.json", INTRINSICS)
    return folder


def track(path, times, truth):
    rows = []
    for time, pose in zip(times, truth, strict=True):
        w, x, y, z = quaternion(pose[:, :3])
        rows.append([time, *pose[:, 3], x, y, z, w])
    text(path, rows)


def replica(folder):
    for i in range(COUNT):
        photo(folder / "results" / f"frame{i:06}.jpg", i)
        depth(folder / "results" / f"depth{i:06}.png")
    text(folder / "traj.txt", [square(pose).reshape(-1) for pose in poses()])
    camera = {"w": WIDTH, "h": HEIGHT, "fx": FOCAL[0], "fy": FOCAL[1], "cx": CENTER[0] - 0.5, "cy": CENTER[1] - 0.5}
    dump(folder.parent / "cam_params.json", {"camera": camera | {"scale": 6553.5}})
    return folder


def polycam(folder, photos="corrected_images", cameras="corrected_cameras"):
    for i, pose in enumerate(poses()):
        photo(folder / "keyframes" / photos / f"{1000 + i}.jpg", i)
        depth(folder / "keyframes" / "depth" / f"{1000 + i}.png", size=(WIDTH // 4, HEIGHT // 4))
        rows = pose @ np.diag([1, -1, -1, 1])
        table = {f"t_{row}{column}": rows[row, column] for row in range(3) for column in range(4)}
        table |= {"fx": FOCAL[0], "fy": FOCAL[1], "cx": CENTER[0], "cy": CENTER[1], "width": WIDTH, "height": HEIGHT}
        dump(folder / "keyframes" / cameras / f"{1000 + i}.json", table)
    return folder


def pairs(folder, colors="rgb", depths="depth"):
    for i, pose in enumerate(poses()):
        photo(folder / colors / f"{i}.jpg", i)
        depth(folder / depths / f"{i}.png")
        text(folder / "pose" / f"{i}.txt", square(pose))
    dump(folder / "intrinsics.json", INTRINSICS)
    return folder


LAYOUTS = {
    "kinect": (kinect, read_kinect, 0.001), "scannet": (scannet, read_scannet, 0.001), "tum": (tum, read_tum, 1 / 5000),
    "replica": (replica, read_replica, 1 / 6553.5), "polycam": (polycam, read_polycam, 0.001),
    "pairs": (pairs, read_pairs, 0.001),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_found_with_poses_and_lens(tmp_path, name):
    make, reader, unit = LAYOUTS[name]
    folder = make(tmp_path / "room")
    assert layout_of(folder) is reader
    listing = reader(folder)
    check(listing)
    assert listing.metric
    assert listing.said == ()
    assert all(view.depth.is_file() and view.color.is_file() and view.unit == unit for view in listing.views)


@pytest.mark.parametrize("name", LAYOUTS)
def test_hidden_files_are_left_out(tmp_path, name):
    make, reader, _ = LAYOUTS[name]
    folder = make(tmp_path / "room")
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7 Mac OS X")
    check(reader(folder))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_lonely_photo_is_a_bad_frame(tmp_path, name):
    make, reader, _ = LAYOUTS[name]
    folder = make(tmp_path / "room")
    lonely = next(path for path in sorted(folder.rglob("*.png")) if "depth" in path.as_posix().replace("frame", ""))
    lonely.unlink()
    if name in ("tum", "polycam"):  # TUM's list names it, so it is seen when it is read; Polycam's depth is optional
        return
    with pytest.raises(ValueError, match=r"has no depth map of the same name"):
        reader(folder)
    bad = []
    assert len(reader(folder, bad.append).views) == COUNT - 1
    assert len(bad) == 1


@pytest.mark.parametrize("make", [kinect, scannet])
@pytest.mark.parametrize("kind", ["-inf", "nan", "zero", "none"])
def test_lost_tracking_has_no_pose_and_is_said(tmp_path, make, kind):
    folder = make(tmp_path / "room")
    (path,) = (path for path in folder.rglob("*.txt") if path.name in ("frame-000002.pose.txt", "2.txt"))
    value = {"-inf": -np.inf, "nan": np.nan, "zero": 0.0, "none": 0.0}[kind]
    text(path, np.full((4, 4), value))
    if kind == "none":
        path.unlink()
    listing = LAYOUTS[make.__name__][1](folder)
    assert [view.pose is None for view in listing.views] == [False, False, True, False]
    assert "1 of 4 views have no valid pose (none, not finite, or zero) and are no part of a scene: " in listing.said[0]


def test_frames_without_any_pose_are_no_news(tmp_path):
    folder = pairs(tmp_path / "room")
    for path in (folder / "pose").iterdir():
        path.unlink()
    assert read_pairs(folder).said == ()


@pytest.mark.parametrize("content", ["1 2 3", "a b c", "", "1 0 0 0 0 1 0 0 0 0 1 0 1 2 3 1"])
def test_a_pose_that_is_none_is_one_line(tmp_path, content):
    folder = kinect(tmp_path)
    (folder / "frame-000001.pose.txt").write_text(content)
    with pytest.raises(ValueError, match=r"frame-000001.pose.txt") as error:
        read_kinect(folder)
    assert "\n" not in str(error.value)


def test_the_camera_of_seven_scenes_is_known(tmp_path):
    folder = kinect(tmp_path / "chess" / "seq-03")
    (folder / "camera-intrinsics.txt").unlink()
    lens = read_kinect(folder).views[0].lens
    assert (lens.focal, lens.center, lens.size) == ((585.0, 585.0), (320.0, 240.0), (640.0, 480.0))
    other = (tmp_path / "chess" / "mine").resolve()
    folder.rename(other)
    with pytest.raises(FileNotFoundError, match=r"camera-intrinsics.txt is missing.*7-Scenes is 585 0 320"):
        read_kinect(other)


def test_the_camera_of_bundle_fusion(tmp_path):
    folder = kinect(tmp_path)
    (folder / "camera-intrinsics.txt").unlink()
    numbers = " ".join(map(str, np.pad(matrix(0.5), ((0, 1), (0, 1))).reshape(-1)))
    (folder / "info.txt").write_text(
        f"m_versionNumber = 4\nm_calibrationColorIntrinsic = {numbers}\nm_depthShift = 1\n"
    )
    check(read_kinect(folder))


def test_a_center_in_the_exact_middle_is_the_middle(tmp_path):
    """(320, 240) of 640x480 is no calibration, and neither is (319.5, 239.5) of pixels counted from their middles."""
    folder = kinect(tmp_path)
    for half in (0.0, 0.5):
        nominal = matrix()
        nominal[:2, 2] = WIDTH / 2 - half, HEIGHT / 2 - half
        text(folder / "camera-intrinsics.txt", nominal)
        assert read_kinect(folder).views[0].lens.center == (WIDTH / 2, HEIGHT / 2)


def test_suffixes_in_any_case(tmp_path):
    folder = kinect(tmp_path, ".JPG")
    for path in folder.glob("*.depth.png"):
        path.rename(path.with_suffix(".PNG"))
    check(read_kinect(folder))


def test_scannet_without_depth_has_the_camera_of_its_photos(tmp_path):
    folder = scannet(tmp_path)
    for path in (folder / "depth").iterdir():
        path.unlink()
    (folder / "depth").rmdir()
    assert layout_of(folder) is read_scannet
    view = read_scannet(folder).views[0]
    assert view.lens.focal == (2 * FOCAL[0], 2 * FOCAL[1])
    assert not view.resize


def test_numbers_are_in_their_order(tmp_path):
    for i in (0, 1, 2, 10):
        photo(tmp_path / "color" / f"{i}.jpg")
        depth(tmp_path / "depth" / f"{i}.png")
    text(tmp_path / "intrinsics_depth.txt", matrix())
    assert [view.color.stem for view in read_scannet(tmp_path).views] == ["0", "1", "2", "10"]


@pytest.mark.parametrize("depth_first", [False, True])
@pytest.mark.parametrize("names", [("rgb", "depth"), ("depth_camera/rgb", "range"), ("a", "b"), ("Color", "Depth")])
@pytest.mark.parametrize("prefix", ["", "./", "/data/room/"])
def test_associations_are_told_by_the_files(tmp_path, names, depth_first, prefix):
    folder = tum(tmp_path / "room", names, depth_first, prefix)
    listing = read_tum(folder)
    check(listing)
    assert [view.color for view in listing.views] == [folder / names[0] / f"{i}.png" for i in range(COUNT)]
    assert [view.depth for view in listing.views] == [folder / names[1] / f"{i}.png" for i in range(COUNT)]


def test_a_path_is_interpolated_where_it_is_dense(tmp_path):
    """A camera that moves and turns evenly, known at 100 Hz, at a photo between two of the times."""
    from tests.files.truth import rotation

    def pose(time):
        return np.concatenate([rotation((0, 1, 0.2), 0.5 * time), [[2 * time], [0], [1]]], 1)

    times = np.arange(0, 1, 0.01)
    track(tmp_path / "groundtruth.txt", times, [pose(time) for time in times])
    rows = np.loadtxt(tmp_path / "groundtruth.txt")
    rows[::2, 4:] *= -1  # the same rotations
    text(tmp_path / "groundtruth.txt", rows)
    from scorereg.files.layouts.trajectory import read_track

    wanted = [0.5, 0.5037, 0.0, 1.005, 1.02, -0.5]
    found = read_track(tmp_path / "groundtruth.txt", wanted)
    for time, there in zip(wanted[:3], found[:3], strict=True):
        np.testing.assert_allclose(np.array(there).reshape(3, 4), pose(time), atol=1e-6)
    np.testing.assert_allclose(np.array(found[3]).reshape(3, 4), pose(0.99), atol=1e-9)  # the last, 15 ms before
    assert found[4:] == [None, None]


def test_icl_nuim_has_y_upwards(tmp_path):
    """Photo and pose agree once y is turned round: a point above the camera is in the upper half of the photo."""
    folder = tum(tmp_path / "living_room_traj2_frei_png")
    (folder / "intrinsics.json").unlink()
    (folder / "groundtruth.txt").unlink()
    flip = np.diag([1.0, -1.0, 1.0])
    theirs = [np.concatenate([flip @ pose[:, :3] @ flip, flip @ pose[:, 3:]], 1) for pose in poses()]
    track(folder / "livingRoom2.gt.freiburg", [i / 30 for i in range(COUNT)], theirs)
    listing = read_tum(folder)
    for view, pose in zip(listing.views, poses(), strict=True):
        np.testing.assert_allclose(view.matrix, pose, atol=1e-9)
    lens = listing.views[0].lens
    assert (lens.focal, lens.center, lens.size) == ((481.2, 480.0), (320.0, 240.0), (640.0, 480.0))
    (folder / "livingRoom2.gt.freiburg").rename(folder / "groundtruth.txt")
    dump(folder / "intrinsics.json", INTRINSICS | {"fl_y": -FOCAL[1]})
    check(read_tum(folder))


def test_the_cameras_of_tum_are_known_with_their_distortion(tmp_path):
    folder = tum(tmp_path / "rgbd_dataset_freiburg1_desk")
    (folder / "intrinsics.json").unlink()
    lens = read_tum(folder).views[0].lens
    assert (lens.model, lens.focal, lens.center) == ("brown", (517.3, 516.5), (319.1, 255.8))
    assert lens.distortion == (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)


def test_calibration_of_eth3d(tmp_path):
    folder = tum(tmp_path / "cables_1")
    (folder / "intrinsics.json").unlink()
    text(folder / "calibration.txt", [[*FOCAL, CENTER[0] - 0.5, CENTER[1] - 0.5]])
    (folder / "associations.txt").rename(folder / "associated.txt")
    assert layout_of(folder) is read_tum
    check(read_tum(folder))


def test_photos_of_tum_alone(tmp_path):
    folder = tum(tmp_path / "mono")
    (folder / "associations.txt").unlink()
    for path in (folder / "depth").iterdir():
        path.unlink()
    (folder / "depth").rmdir()
    (folder / "rgb.txt").write_text("\n".join(f"{i / 30:.6f} rgb/{i}.png" for i in range(COUNT)))
    assert layout_of(folder) is read_tum
    listing = read_tum(folder)
    check(listing)
    assert all(view.depth is None for view in listing.views)


@pytest.mark.parametrize("line", ["x rgb/0.png 0 depth/0.png", "nan rgb/0.png 0 depth/0.png", "0 rgb/0.png", ""])
def test_damaged_associations_are_one_line(tmp_path, line):
    folder = tum(tmp_path)
    (folder / "associations.txt").write_text(line)
    with pytest.raises(ValueError, match=r"associations.txt") as error:
        read_tum(folder)
    assert "\n" not in str(error.value)


def test_replica_without_poses_or_camera(tmp_path):
    folder = replica(tmp_path / "room0")
    (folder / "traj.txt").unlink()
    assert layout_of(folder) is read_replica
    listing = read_replica(folder)
    assert {view.pose for view in listing.views} == {None}
    assert {view.color.name[:5] for view in listing.views} == {"frame"}
    (tmp_path / "cam_params.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"cam_params.json is missing, and the photos have not the 1200x680 pixels"
    ):
        read_replica(folder)


def test_the_camera_of_replica_is_known(tmp_path):
    photo(tmp_path / "results" / "frame000000.jpg", size=(1200, 680))
    depth(tmp_path / "results" / "depth000000.png", size=(1200, 680))
    listing = read_replica(tmp_path)
    (view,) = listing.views
    assert (view.lens.focal, view.lens.center, view.unit) == ((600.0, 600.0), (600.0, 340.0), 1 / 6553.5)
    assert "the camera is taken for Replica's own" in listing.said[0]


def test_poses_of_every_fifth_frame_of_replica(tmp_path):
    folder = replica(tmp_path / "room0")
    for i in (0, 2):
        (folder / "results" / f"frame{i:06}.jpg").unlink()
        (folder / "results" / f"depth{i:06}.png").unlink()
    found = [view.matrix for view in read_replica(folder).views]
    np.testing.assert_allclose(found, [poses()[1], poses()[3]], atol=1e-9)
    text(folder / "traj.txt", [square(pose).reshape(-1) for pose in poses()[:3]])
    with pytest.raises(ValueError, match=r"traj.txt has 3 poses, but there is a frame 3"):
        read_replica(folder)


def test_polycam_before_it_is_optimised(tmp_path):
    check(read_polycam(polycam(tmp_path, "images", "cameras")))
    (tmp_path / "keyframes" / "cameras" / "1002.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"1002.json is missing: .*1002.jpg needs it"):
        read_polycam(tmp_path)


@pytest.mark.parametrize(("colors", "depths"), [("images", "depths"), ("color", "depth"), ("RGB", "Depth")])
def test_pairs_have_other_names_too(tmp_path, colors, depths):
    folder = pairs(tmp_path, colors, depths)
    assert layout_of(folder) is read_pairs
    check(read_pairs(folder))


@pytest.mark.parametrize("suffix", [".npy", ".NPY", ".npz", ".tiff"])
def test_depth_in_floats_is_in_metres(tmp_path, suffix):
    folder = pairs(tmp_path)
    for path in (folder / "depth").iterdir():
        path.unlink()
        value = np.full((HEIGHT, WIDTH), 2.0, np.float32)
        target = path.with_suffix(suffix)
        if suffix == ".npz":
            np.savez(target, value)
        elif suffix == ".tiff":
            Image.fromarray((value * 1000).astype(np.uint16)).save(target)
        else:
            with target.open("wb") as file:
                np.save(file, value)
    listing = read_pairs(folder)
    check(listing)
    assert {view.unit for view in listing.views} == {0.001 if suffix == ".tiff" else 1.0}


def test_pairs_of_numbers_with_different_words(tmp_path):
    for i, pose in enumerate(poses()):
        photo(tmp_path / "rgb" / f"rgb_{i}.png", i)
        depth(tmp_path / "depth" / f"depth_{i}.png")
        text(tmp_path / "traj_w_c.txt", [square(p).reshape(-1) for p in poses()] if pose is not None else [])
    dump(tmp_path / "intrinsics.json", INTRINSICS)
    listing = read_pairs(tmp_path)
    check(listing)
    assert [view.depth.name for view in listing.views] == [f"depth_{i}.png" for i in range(COUNT)]


def test_masks_of_pairs(tmp_path):
    folder = pairs(tmp_path)
    photo(folder / "masks" / "1.png")
    assert [view.mask and view.mask.name for view in read_pairs(folder).views] == [None, "1.png", None, None]


@pytest.mark.parametrize(
    ("table", "focal", "center"),
    [
        ({"fx": 30.0, "fy": 29.0}, (30.0, 29.0), None),
        ({"camera_angle_x": 2 * np.arctan(WIDTH / 2 / 30)}, (30.0, 30.0), None),
        (
            {"width": 24, "height": 16, "intrinsic_matrix": [30, 0, 0, 0, 29, 0, 10.0, 7.0, 1]},
            (30.0, 29.0),
            (10.5, 7.5),
        ),
    ],
)
def test_other_keys_of_intrinsics(tmp_path, table, focal, center):
    folder = pairs(tmp_path)
    dump(folder / "intrinsics.json", table)
    lens = read_pairs(folder).views[0].lens
    np.testing.assert_allclose(lens.focal, focal)
    assert lens.center == center


def test_a_matrix_in_place_of_intrinsics(tmp_path):
    folder = pairs(tmp_path)
    (folder / "intrinsics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"intrinsics.json is missing: rgb/ and depth/ need it for fl_x"):
        read_pairs(folder)
    text(folder / "cam_K.txt", matrix(0.5))
    check(read_pairs(folder))


def test_what_is_no_layout(tmp_path):
    photo(tmp_path / "a.png")
    (tmp_path / "rgb").mkdir()
    assert layout_of(tmp_path) is None


def test_depth_is_preferred_where_it_is_asked_for(tmp_path):
    from tests.files.test_colmap import binary

    folder = pairs(tmp_path)
    binary(folder / "sparse" / "0", ["0.jpg", "1.jpg"])
    assert layout_of(folder).__name__ == "read_colmap"
    assert layout_of(folder, depth=True) is read_pairs


def test_times_in_the_names_of_files_will_do(tmp_path):
    folder = tum(tmp_path / "bonn")
    (folder / "associations.txt").unlink()
    for i in range(COUNT):
        (folder / "rgb" / f"{i}.png").rename(folder / "rgb" / f"{i / 30:.5f}.png")
        (folder / "depth" / f"{i}.png").rename(folder / "depth" / f"{i / 30 + 0.01:.5f}.png")
    assert layout_of(folder) is read_tum
    listing = read_tum(folder)
    check(listing)
    assert listing.views[1].depth.name == "0.04333.png"
    (folder / "rgb" / "a.png").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"rgb.txt is missing: without it, or associations.txt"):
        read_tum(folder)


def test_a_matrix_for_another_size_is_told_by_its_center(tmp_path):
    """Kinect's 640x480 and ScanNet's 1296x968 are known; of others nothing says what the matrix is for."""
    folder = kinect(tmp_path / "a")
    for i in range(COUNT):
        photo(folder / f"frame-{i:06}.color.png", i, (32, 24))
    text(folder / "camera-intrinsics.txt", [[585, 0, 318.2], [0, 586, 241], [0, 0, 1]])
    lens = read_kinect(folder).views[0].lens
    assert (lens.focal, lens.center, lens.size) == ((585.0, 586.0), (318.7, 241.5), (640.0, 480.0))
    text(folder / "camera-intrinsics.txt", [[100, 0, 64], [0, 100, 48], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"center is \(64, 48\), not near the middle of photos of 32x24 pixels"):
        read_kinect(folder)
    scene = scannet(tmp_path / "b")
    for path in (scene / "depth").iterdir():
        path.unlink()
    (scene / "depth").rmdir()
    for i in range(COUNT):
        photo(scene / "color" / f"{i}.jpg", i, (64, 48))
    text(scene / "intrinsic" / "intrinsic_color.txt", [[1170, 0, 647.7], [0, 1170, 483.7], [0, 0, 1]])
    assert read_scannet(scene).views[0].lens.size == (1296.0, 968.0)
    folder = pairs(tmp_path / "c")
    dump(folder / "intrinsics.json", {"fl_x": 120.0, "cx": 48.2, "cy": 33.0})
    with pytest.raises(ValueError, match=r"intrinsics.json: the cameras' center is \(48, 33\), not near the middle"):
        read_pairs(folder)
