import json
import math

import numpy as np
import pytest
from PIL import Image

from scorereg.files import Lens
from scorereg.files.layouts.transforms import has_transforms, read_transforms

WIDTH, HEIGHT = 20, 14
POSE = [[0.0, -1, 0, 3], [1, 0, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]]  # OpenGL's axes
OPENCV = (0, 1, 0, 3, 1, 0, 0, 4, 0, 0, -1, 5)  # the second and third axis turned round
HEAD = {"fl_x": 25.0, "fl_y": 26.0, "cx": 9.0, "cy": 8.0, "w": WIDTH, "h": HEIGHT}


def put(folder, *names, size=(WIDTH, HEIGHT)):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "gray").save(folder / name)


def write(folder, frames=None, file="transforms.json", head=HEAD, **more):
    """A description of two photos, or of other frames; entries that are None are left out."""
    frames = frames or [{"file_path": f"{i}.png"} for i in range(2)]
    frames = [{"transform_matrix": POSE, **frame} for frame in frames]
    table = {**head, "frames": frames, **more}
    (folder / file).write_text(json.dumps({key: value for key, value in table.items() if value is not None}))


def listing(folder, frames=None, **more):
    if not (folder / "0.png").is_file():
        put(folder, "0.png", "1.png")
    write(folder, frames, **more)
    return read_transforms(folder)


def lens(folder, frame=None, **more):
    return listing(folder, [{"file_path": "0.png", **(frame or {})}], **more).views[0].lens


def refused(folder, says, frames=None, **more):
    with pytest.raises(ValueError, match=says) as caught:
        listing(folder, frames, **more)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


# Poses.


@pytest.mark.parametrize(
    "matrix", [POSE, POSE[:3], [x for row in POSE for x in row], [x for row in POSE[:3] for x in row]]
)
def test_a_pose_of_any_form_gets_opencvs_axes(tmp_path, matrix):
    (view,) = listing(tmp_path, [{"file_path": "0.png", "transform_matrix": matrix}]).views
    assert view.pose == OPENCV


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (
            np.transpose(POSE).tolist(),
            r"frame 0.png: the last row .* must be 0 0 0 1, but is \[3.0, 4.0, 5.0, 1.0\]",
        ),
        ([*POSE[:3], [0, 0, 0, math.nan]], "last row"),
        ([*POSE[:3], [0, 0, 0, 2]], "last row"),
        (POSE[:2], r"shape \(2, 4\); write 3 or 4 rows of 4"),
        ([row[:3] for row in POSE[:3]], r"shape \(3, 3\)"),
        ([["a", 0, 0, 0], *POSE[1:]], "not a table of numbers"),
        ([[True, 0, 0, 0], *POSE[1:]], "not a table of numbers"),
        ([[10**400, 0, 0, 0], *POSE[1:]], "not a table of numbers"),
        ({"0": 1}, "not a table of numbers"),
        ([], r"shape \(0, 0\)"),
    ],
)
def test_matrices_that_are_no_pose(tmp_path, matrix, says):
    refused(tmp_path, says, [{"file_path": "0.png", "transform_matrix": matrix}])


def test_a_frame_without_a_pose_is_told(tmp_path):
    found = listing(tmp_path, [{"file_path": "0.png", "transform_matrix": None}, {"file_path": "1.png"}])
    assert [view.pose for view in found.views] == [None, OPENCV]
    assert any("1 of 2 views have no valid pose" in line and "0.png" in line for line in found.said)


# Lenses.


def test_the_lens_of_a_pinhole(tmp_path):
    assert lens(tmp_path) == Lens((25.0, 26.0), (9.0, 8.0), size=(20.0, 14.0))
    assert lens(tmp_path, head={"fl_x": 25.0}) == Lens((25.0, 25.0))
    assert lens(tmp_path, head={"fl_y": 25.0}) == Lens((25.0, 25.0))
    assert lens(tmp_path, head={}) is None


def test_a_frame_has_its_own_numbers(tmp_path):
    found = lens(tmp_path, {"fl_x": 50, "w": 40, "h": 28, "cx": 22, "k1": 0.1})
    assert found == Lens((50.0, 26.0), (22.0, 8.0), (0.1, 0.0, 0.0, 0.0, 0.0), "brown", (40.0, 28.0))


@pytest.mark.parametrize(
    ("head", "focal"),
    [
        ({"camera_angle_x": math.pi / 2}, (10.0, 10.0)),
        ({"camera_angle_y": math.pi / 2}, (7.0, 7.0)),
        ({"camera_angle_x": math.pi / 2, "camera_angle_y": math.pi / 2}, (10.0, 7.0)),
        ({"x_fov": 90}, (10.0, 10.0)),
        ({"camera_angle_x": math.pi / 2, "w": 80, "h": 56}, (40.0, 40.0)),
        ({"camera_angle_x": math.pi / 2, "fl_x": 12.0}, (12.0, 12.0)),
    ],
)
def test_angles_of_view(tmp_path, head, focal):
    assert lens(tmp_path, head=head).focal == pytest.approx(focal)


def test_an_angle_of_a_frame_wins_over_a_focal_length_of_the_file(tmp_path):
    assert lens(tmp_path, {"camera_angle_x": math.pi / 2}, head={"fl_x": 99.0}).focal[0] == pytest.approx(10)


def test_a_side_that_lacks_follows_from_the_photo(tmp_path):
    assert lens(tmp_path, head={"fl_x": 50.0, "w": 40}).size == (40.0, 28.0)
    assert lens(tmp_path, head={"fl_x": 50.0, "h": 7}).size == (10.0, 7.0)
    assert lens(tmp_path, head={"fl_x": 50.0, "cx": 9.0}).center == (9.0, 7.0)


TERMS = {"k1": 0.1, "k2": 0.2, "k3": 0.3, "p1": 0.01, "p2": 0.02}


@pytest.mark.parametrize(
    ("more", "model", "distortion"),
    [
        ({}, "brown", (0.1, 0.2, 0.01, 0.02, 0.3)),
        ({"camera_model": "opencv"}, "brown", (0.1, 0.2, 0.01, 0.02, 0.3)),
        ({"camera_model": "Simple_Radial", "is_fisheye": False}, "brown", (0.1, 0.2, 0.01, 0.02, 0.3)),
        ({"k4": 0.4}, "brown", (0.1, 0.2, 0.01, 0.02, 0.3, 0.0, 0.0, 0.0, 0.4)),
        ({"k4": 0.4, "k5": 0.5, "k6": 0.6, "camera_model": "FULL_OPENCV"}, "brown",
         (0.1, 0.2, 0.01, 0.02, 0.3, 0.4, 0.5, 0.6)),
        ({"k4": 0.4, "p1": 0, "p2": 0, "camera_model": "OPENCV_FISHEYE"}, "fisheye", (0.1, 0.2, 0.3, 0.4)),
        ({"k4": 0.4, "p1": 0, "p2": 0, "is_fisheye": True}, "fisheye", (0.1, 0.2, 0.3, 0.4)),
        ({"p1": 0, "p2": 0, "is_fisheye": True, "camera_model": "OPENCV"}, "fisheye", (0.1, 0.2, 0.3, 0.0)),
        ({"p1": 0, "p2": 0, "camera_model": "fisheye"}, "fisheye", (0.1, 0.2, 0.3, 0.0)),
        ({"distortion_params": [1, 2, 3, 0, 4, 5]}, "brown", (1.0, 2.0, 4.0, 5.0, 3.0)),
        ({"k1": 0, "k2": 0, "k3": 0, "p1": 0, "p2": 0}, "pinhole", ()),
        ({"k1": 0, "k2": 0, "k3": 0, "p1": 0, "p2": 0, "is_fisheye": True}, "fisheye", (0.0, 0.0, 0.0, 0.0)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["file", "frame"])
def test_models_of_a_lens(tmp_path, more, model, distortion, where):
    keys = {**TERMS, **more}
    found = lens(tmp_path, keys) if where == "frame" else lens(tmp_path, **keys)
    assert (found.model, found.distortion) == (model, distortion)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"camera_model": "EQUIRECTANGULAR"}, "frame 0.png: camera_model 'EQUIRECTANGULAR' is neither a pinhole nor"),
        ({"camera_model": "FISHEYE624"}, "camera_model 'FISHEYE624'"),
        ({"camera_model": "ORTHOPHOTO"}, "camera_model 'ORTHOPHOTO'"),
        ({"camera_model": 3}, "camera_model 3"),
        ({"is_fisheye": "yes"}, "`is_fisheye` must be true or false, but is 'yes'"),
        ({"is_fisheye": False, "camera_model": "OPENCV_FISHEYE"}, "but is_fisheye is false"),
        ({"is_fisheye": True, "p1": 0.1}, "`p1` is 0.1, but OpenCV's fisheye has k1 to k4 alone"),
        ({"k5": 0.1}, "`k5` is 0.1, but lens terms beyond k4 are those of camera_model FULL_OPENCV"),
        ({"distortion_params": [1, 2]}, "`distortion_params` must be the six numbers"),
        ({"distortion_params": [1, 2, 3, 4, 5, "a"]}, "`p2` must be a finite number"),
        ({"fl_x": 0}, "must be above 0, but are 0"),
        ({"fl_x": -3, "fl_y": None}, "must be above 0, but are -3"),
        ({"fl_x": "25"}, "`fl_x` must be a finite number, but is '25'"),
        ({"fl_x": True}, "`fl_x` must be a finite number, but is True"),
        ({"fl_x": 1e308}, "`fl_x` must be a finite number, but is 1e"),
        ({"w": -20}, "must be above 0"),
        ({"cx": math.inf}, "`cx` must be a finite number, but is inf"),
        ({"cx": 0.5, "cy": 0.5}, "`cx` 0.5 and `cy` 0.5 are shares of the size"),
        ({"fl_x": None, "fl_y": None, "camera_angle_x": 50}, "`camera_angle_x` is an angle in radians .* not 50"),
        ({"fl_x": None, "fl_y": None, "x_fov": 180}, "`x_fov` is an angle in degrees"),
        ({"rolling_shutter": [0, 0, 1, 0]}, "`rolling_shutter` is set"),
        ({"ftheta_p0": 0.1}, "`ftheta_p0` is set"),
        ({"latlong": True}, "`latlong` is set"),
    ],
)
def test_lenses_that_cannot_be(tmp_path, more, says):
    refused(tmp_path, says, [{"file_path": "0.png"}], **more)
    if next(iter(more)) not in ("fl_x",):
        refused(tmp_path, says, [{"file_path": "0.png", **{k: v for k, v in more.items() if v is not None}}],
                **{k: None for k, v in more.items() if v is None})  # fmt: skip


def test_smaller_copies_have_the_lens_of_the_whole_photo(tmp_path):
    put(tmp_path, "images_4/0.png")
    put(tmp_path, "0.png")
    found = listing(tmp_path, [{"file_path": "images/0.png"}], head={"fl_x": 100.0})
    assert found.views[0].color == tmp_path / "images_4/0.png"
    assert found.views[0].lens.size == (80.0, 56.0)
    assert "smaller copies" in found.said[0]
    assert listing(tmp_path, [{"file_path": "images/0.png"}], w=80, h=56).views[0].lens.size == (80.0, 56.0)


# Frames, their files and lists of them.


def test_photos_are_in_the_order_of_their_names_and_counted_once(tmp_path):
    put(tmp_path, "b.png", "a.png")
    frames = [{"file_path": name} for name in ("b.png", "./a.png", "x/../b.png", "b")]
    found = listing(tmp_path, frames)
    assert [view.color.name for view in found.views] == ["a.png", "b.png"]
    assert found.said == ()


def test_a_photo_listed_twice_in_two_ways_is_refused(tmp_path):
    moved = [[*row[:3], row[3] + (i == 0)] for i, row in enumerate(POSE)]
    refused(tmp_path, "0.png is listed twice, with two poses", [
        {"file_path": "0.png"}, {"file_path": "./0.png", "transform_matrix": moved}])  # fmt: skip
    refused(tmp_path, "0.png is listed twice, with two lenses", [
        {"file_path": "0.png"}, {"file_path": "0", "fl_x": 30.0}])  # fmt: skip


def test_lists_know_photos_by_their_files(tmp_path):
    put(tmp_path, *(f"images/{i}.png" for i in range(5)))
    frames = [{"file_path": f"./images/{i}.png"} for i in range(5)]

    def split(**lists):
        found = listing(tmp_path, frames, **lists)
        return found.train, found.test

    names = [f"images\\{i}.png" for i in range(5)]
    assert split() == (None, None)
    assert split(train_filenames=[names[3], names[1]], test_filenames=[names[0]]) == ((3, 1), (0,))
    assert split(train_filenames=[names[3], names[3]]) == ((3,), (0, 1, 2, 4))
    assert split(test_filenames=[names[0]]) == ((1, 2, 3, 4), (0,))
    assert split(train_filenames=names[:2], val_filenames=names[3:]) == ((0, 1), (3, 4))
    assert split(val_filenames=names[3:], test_filenames=names[2:3]) == ((0, 1), (2,))
    assert split(train_filenames=names, test_filenames=[]) == ((0, 1, 2, 3, 4), ())
    refused(tmp_path, "images/1.png is in both train_filenames", frames, train_filenames=names[:2],
            test_filenames=["./images/1.png"])  # fmt: skip
    refused(tmp_path, "9.png in train_filenames or test_filenames is no frame", frames, train_filenames=["9.png"])


def test_a_list_may_name_frames_that_cannot_be_used(tmp_path):
    put(tmp_path, "0.png", "1.png")
    write(tmp_path, [{"file_path": "0.png"}, {"file_path": "1.png", "transform_matrix": 3}],
          train_filenames=["0.png", "1.png"], test_filenames=[])  # fmt: skip
    bad = []
    found = read_transforms(tmp_path, bad.append)
    assert found.train == (0,)
    assert len(bad) == 1
    assert "1.png: `transform_matrix` is not a table" in str(bad[0])


def test_depth_masks_and_maps(tmp_path):
    put(tmp_path, "0.png", "1.png", "d/0.png", "m/0.png", "n.png", "dynamic_mask_1.png")
    found = listing(tmp_path, [
        {"file_path": "0.png", "depth_path": "d\\0.png", "mask_path": "./m/0.png", "normal_file_path": "n.png"},
        {"file_path": "1.png", "depth_file_path": "gone.png", "near": 1, "far": 2},
    ], integer_depth_scale=0.01)  # fmt: skip
    a, b = found.views
    assert (a.depth, a.mask, a.mask_marks) == (tmp_path / "d/0.png", tmp_path / "m/0.png", "kept")
    assert a.maps == (("normal", tmp_path / "n.png"),)
    assert (a.unit, a.bounds, a.shared, found.metric) == (0.01, None, True, True)
    assert (b.depth, b.mask, b.mask_marks) == (tmp_path / "gone.png", tmp_path / "dynamic_mask_1.png", "left out")
    assert b.bounds == (1.0, 2.0)
    assert found.said == ()
    assert listing(tmp_path, [{"depth_file_path": "d/0.png"}]).views[0].color is None


def test_units_of_depth(tmp_path):
    put(tmp_path, "d.png")

    def unit(**keys):
        return listing(tmp_path, [{"file_path": "0.png", "depth_file_path": "d.png"}], **keys).views[0].unit

    assert unit() == 0.001
    assert unit(depth_unit_scale_factor=0.5) == 0.5
    assert unit(depth_unit_scale_factor=0.5, integer_depth_scale=0.5) == 0.5
    frame = {"file_path": "0.png", "depth_file_path": "d.png", "depth_unit_scale_factor": 0.25}
    assert listing(tmp_path, [frame], depth_unit_scale_factor=0.5).views[0].unit == 0.25
    for keys, says in (
        ({"depth_unit_scale_factor": 0.5, "integer_depth_scale": 0.1}, "differ; leave one out"),
        ({"depth_unit_scale_factor": 0}, "must be a number above 0, but is 0"),
        ({"depth_unit_scale_factor": "mm"}, "`depth_unit_scale_factor` must be a finite number"),
    ):
        refused(tmp_path, says, [{"file_path": "0.png", "depth_file_path": "d.png"}], **keys)
    for off in ({"enable_depth_loading": False}, {"integer_depth_scale": -1.0}):
        found = listing(tmp_path, [{"file_path": "0.png", "depth_file_path": "d.png"}], **off)
        assert (found.views[0].depth, found.metric) == (None, None)


def test_floats_without_a_unit_are_metres_if_they_can_be(tmp_path):
    frames = [{"file_path": "0.png", "depth_file_path": "d.npy"}]
    np.save(tmp_path / "d.npy", np.full((HEIGHT, WIDTH), 2.5, np.float32))
    found = listing(tmp_path, frames)
    assert found.views[0].unit == 1.0
    assert "its floats (median 2.5) are taken for metres" in found.said[0]
    assert listing(tmp_path, frames, depth_unit_scale_factor=0.001).views[0].unit == 0.001
    np.save(tmp_path / "d.npy", np.full((HEIGHT, WIDTH), 2500, np.float32))
    assert listing(tmp_path, frames).views[0].unit == 0.001
    assert listing(tmp_path, frames).said == ()


def test_a_mask_that_is_gone_is_not_the_photo(tmp_path):
    put(tmp_path, "0.png")
    (view,) = listing(tmp_path, [{"file_path": "0.png", "mask_path": "masks/0.png"}]).views
    assert view.mask == tmp_path / "masks/0.png"
    assert not view.mask.is_file()


def test_one_mask_for_all_frames(tmp_path):
    put(tmp_path, "m.png", "own.png")
    found = listing(
        tmp_path, [{"file_path": "0.png"}, {"file_path": "1.png", "mask_path": "own.png"}], mask_path="m.png"
    )
    assert [view.mask.name for view in found.views] == ["m.png", "own.png"]


def test_points_that_are_missing_are_told(tmp_path):
    assert "sparse_pc.ply, its sparse points, is missing" in listing(tmp_path, ply_file_path="sparse_pc.ply").said[0]
    (tmp_path / "sparse_pc.ply").write_text("ply")
    found = listing(
        tmp_path, ply_file_path="./sparse_pc.ply", applied_transform=[[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 2]]
    )
    assert (found.points, found.said) == (tmp_path / "sparse_pc.ply", ())
    assert found.applied == (0, 1, 0, 0, 1, 0, 0, 0, 0, 0, -1, 2)


# Keys.


@pytest.mark.parametrize(
    ("more", "frame", "named"),
    [
        ({"aabb_scale": 16, "scale": 0.3, "offset": [0, 0, 1], "from_na": True, "sharpness": 3,
          "orientation_override": "up", "applied_scale": 2, "auto_scale_poses_override": False, "up": [0, 0, 1]},
         {"sharpness": 40.0, "colmap_im_id": 3, "timestamp": 12.5, "rotation": 0.01, "exposure": 2}, []),
        ({"k7": 0.1, "sk_x": 0.0, "skew": 0, "crop": [0, [0.0]]}, {}, ["k7"]),
        ({"crop": {"x": 1}, "fisheye_crop_radius": 600}, {"shift_x": 0.1}, ["crop", "fisheye_crop_radius", "shift_x"]),
        ({}, {"fg_mask": "a.png", "split": "train"}, ["fg_mask", "split"]),
        ({"frame_convention": "opencv", "unit": "mm"}, {}, ["frame_convention", "unit"]),
        ({"n_frames": 1}, {}, ["n_frames"]),
        ({"n_frames": 50, "pixel_aspect_x": 1}, {}, []),
        ({"s1": 0.1, "white_transparent": True, "black_transparent": False}, {}, ["s1", "white_transparent"]),
    ],
)  # fmt: skip
def test_keys_that_are_not_understood_are_named_once_if_they_matter(tmp_path, more, frame, named):
    found = listing(tmp_path, [{"file_path": f"{i}.png", **frame} for i in range(2)], **more)
    assert len(found.said) == bool(named)
    for key in named:
        assert f"`{key}`" in found.said[0]
    assert "".join(found.said).count("`") == 2 * len(named)


def test_a_scene_that_moves_is_told(tmp_path):
    frames = [{"file_path": f"{i}.png", "time": 0.5 * i} for i in range(2)]
    assert "`time` not read" in listing(tmp_path, frames).said[0]
    assert listing(tmp_path, [{**frame, "time": 0.0} for frame in frames]).said == ()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "`frames` must be a list of at least one"),
        ({"frames": []}, "`frames` must be a list of at least one"),
        ({"frames": {"0": {}}}, "`frames` must be a list of at least one"),
        ({"frames": [3]}, "`frames` must be a list of at least one"),
        ({"frames": [{}]}, "a frame has no `file_path`"),
        ({"frames": [{"file_path": ""}]}, "a frame has no `file_path`"),
        ({"frames": [{"file_path": 3}]}, "`file_path` must be the name of a file, but is 3"),
        ({"frames": [{"file_path": "0.png"}], "metric": "yes"}, "`metric` must be true or false, but is 'yes'"),
        ({"frames": [{"file_path": "0.png"}], "near": 1.0}, "`near` and `far` must both be numbers"),
        ({"frames": [{"file_path": "0.png"}], "near": 3, "far": 1}, "near 3 and far 1 must be 0 < near < far"),
    ],
)
def test_files_that_are_none(tmp_path, table, says):
    (tmp_path / "transforms.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=says):
        read_transforms(tmp_path)


# Blender's files.


def blender(folder, parts=("train", "val", "test"), count=3):
    for part in parts:
        put(folder, *(f"{part}/r_{i}.png" for i in range(count)), f"{part}/r_0_depth_0001.png")
        frames = [{"file_path": f"./{part}/r_{i}", "rotation": 0.1} for i in reversed(range(count))]
        write(folder, frames, f"transforms_{part}.json", head={"camera_angle_x": math.pi / 2})


def test_blenders_files_are_their_own_split(tmp_path):
    blender(tmp_path)
    found = read_transforms(tmp_path)
    names = [view.color.relative_to(tmp_path).as_posix() for view in found.views]
    assert names[:4] == ["train/r_2.png", "train/r_1.png", "train/r_0.png", "val/r_2.png"]
    assert (len(names), found.train, found.test, found.metric) == (9, (0, 1, 2), (6, 7, 8), None)
    assert found.views[0].lens.focal == pytest.approx((10.0, 10.0))
    assert found.said == ()


@pytest.mark.parametrize(("parts", "train", "test"), [
    (("train",), None, None), (("train", "val"), (0, 1, 2), (3, 4, 5)), (("train", "test"), (0, 1, 2), (3, 4, 5)),
])  # fmt: skip
def test_some_of_blenders_files(tmp_path, parts, train, test):
    blender(tmp_path, parts)
    assert has_transforms(tmp_path)
    found = read_transforms(tmp_path)
    assert (found.train, found.test) == (train, test)


def test_blenders_test_photos_that_were_not_rendered(tmp_path):
    blender(tmp_path, ("train", "test"))
    for path in (tmp_path / "test").iterdir():
        path.unlink()
    found = read_transforms(tmp_path)
    assert (len(found.views), found.train) == (3, None)
    assert "transforms_test.json: none of its 3 photos is there" in found.said[0]


def test_two_hundred_test_photos_are_thinned(tmp_path):
    blender(tmp_path, ("train",))
    put(tmp_path, *(f"test/{i:03}.png" for i in range(200)), size=(4, 3))
    write(
        tmp_path, [{"file_path": f"test/{i:03}"} for i in range(200)], "transforms_test.json", {"camera_angle_x": 1.0}
    )
    found = read_transforms(tmp_path)
    assert found.test == tuple(range(3, 203, 8))
    assert "of its 200 held-out photos every 8th is used" in found.said[0]


def test_a_photo_that_blender_both_trains_on_and_holds_out(tmp_path):
    blender(tmp_path, ("train", "test"))
    write(tmp_path, [{"file_path": "train/r_1"}], "transforms_test.json", {"camera_angle_x": 1.5707963267948966})
    with pytest.raises(ValueError, match=r"train/r_1\.png is in both transforms_train\.json and"):
        read_transforms(tmp_path)


def test_transforms_json_is_preferred(tmp_path):
    blender(tmp_path)
    found = listing(tmp_path)
    assert len(found.views) == 2
    assert "transforms_train.json and its kin beside it are not" in found.said[-1]
    assert not has_transforms(tmp_path / "train")
