"""COLMAP's models, text and binary, as views; lenses of all its camera models; damaged files."""

import struct

import numpy as np
import pytest

from scorereg.files.layouts import layout_of
from scorereg.files.layouts.colmap import read_colmap
from scorereg.files.layouts.colmap_files import read_cameras, read_pictures, read_points
from scorereg.files.layouts.colmap_models import COUNTS, NAMES, lens_of
from tests.files.truth import CENTER, FOCAL, HEIGHT, WIDTH, check, photo, poses, quaternion, world_to_camera

PINHOLE = (1, (*FOCAL, *CENTER))  # number of the model, and its parameters


def facts(names, count=4):
    """Quaternions and translations from the world to the camera."""
    for name, pose in zip(names, poses(count), strict=True):
        inverse = world_to_camera(pose)
        yield name, quaternion(inverse[:3, :3]), inverse[:3, 3]


def binary(model, names, camera=PINHOLE, size=(WIDTH, HEIGHT), points=5):
    """Write a binary model by COLMAP's description of its format."""
    model.mkdir(parents=True, exist_ok=True)
    number, parameters = camera
    head = struct.pack("<QIiQQ", 1, 7, number, *size)
    (model / "cameras.bin").write_bytes(head + struct.pack(f"<{len(parameters)}d", *parameters))
    data = struct.pack("<Q", len(names))
    for i, (name, turn, shift) in enumerate(facts(names, len(names))):
        data += struct.pack("<I4d3dI", i + 3, *turn, *shift, 7) + name.encode() + b"\0"
        data += struct.pack("<Q", i) + b"".join(struct.pack("<2dq", 1.0, 2.0, -1) for _ in range(i))
    (model / "images.bin").write_bytes(data)
    data = struct.pack("<Q", points)
    for i in range(points):
        data += struct.pack("<Q3d3BdQ", i, i, 2 * i, -i, 1, 2, 3, 0.5, i) + struct.pack("<II", 3, 0) * i
    (model / "points3D.bin").write_bytes(data)


def plain(model, names, camera="PINHOLE", parameters=(*FOCAL, *CENTER), observations=True):
    """Write a text model."""
    model.mkdir(parents=True, exist_ok=True)
    words = " ".join(map(repr, parameters))
    (model / "cameras.txt").write_text(f"# Camera list\n7 {camera} {WIDTH} {HEIGHT} {words}\n")
    lines = ["# Image list"]
    for i, (name, turn, shift) in enumerate(facts(names, len(names))):
        lines.append(" ".join(map(repr, (i + 3, *map(float, turn), *map(float, shift), 7))) + f" {name}")
        lines += [" ".join(["1.5 2.5 -1"] * i)] if observations else []
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text(
        "# points\n" + "".join(f"{i} {i} {2 * i} {-i} 1 2 3 0.5 3 0\n" for i in range(5))
    )


def scene(folder, write=binary, where="sparse/0", names=("a.png", "b.png", "c.png", "d.png"), **options):
    for i, name in enumerate(names):
        photo(folder / "images" / name, i)
    write(folder / where, list(names), **options)
    return folder


@pytest.mark.parametrize("where", ["sparse/0", "sparse", "colmap/sparse/0", "."])
@pytest.mark.parametrize("write", [binary, plain])
def test_a_model_is_found_and_read(tmp_path, write, where):
    folder = scene(tmp_path / "s", write, where)
    assert layout_of(folder) is read_colmap
    listing = read_colmap(folder)
    check(listing)
    assert [view.color.name for view in listing.views] == ["a.png", "b.png", "c.png", "d.png"]
    assert listing.said == ()
    assert listing.views[0].lens.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(read_points(listing.points), [[i, 2 * i, -i] for i in range(5)])


def test_a_world_point_is_projected_as_colmap_does(tmp_path):
    """x = K (R X + t), with R of the quaternion in the file."""
    listing = read_colmap(scene(tmp_path))
    point = np.array([0.3, -0.4, 5.0])
    for view, (_, turn, shift) in zip(listing.views, facts("abcd"), strict=True):
        w, x, y, z = turn
        twice = 2 * np.cross([x, y, z], point)
        theirs = point + w * twice + np.cross([x, y, z], twice) + shift  # q X q*
        ours = view.matrix[:, :3].T @ (point - view.matrix[:, 3])
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_the_folder_of_the_model_itself_will_do(tmp_path):
    scene(tmp_path)
    check(read_colmap(tmp_path / "sparse" / "0"))


def test_text_without_lines_of_observations(tmp_path):
    check(read_colmap(scene(tmp_path, plain, observations=False)))


def test_names_with_folders_spaces_and_backslashes(tmp_path):
    names = ("cam 1/a b.png", "cam 1/c.png", "cam2/a b.png", "cam2\\d.png")
    for i, name in enumerate(names):
        photo(tmp_path / "images" / name.replace("\\", "/"), i)
    for write in (binary, plain):
        write(tmp_path / "sparse" / "0", list(names))
        check(read_colmap(tmp_path))
        for end in ("cameras.bin", "images.bin"):
            (tmp_path / "sparse" / "0" / end).unlink(missing_ok=True)


def test_the_smallest_photos_are_taken_with_the_lens_of_the_full_ones(tmp_path):
    scene(tmp_path)
    for name in "abcd":
        photo(tmp_path / "images_2" / f"{name}.png", size=(WIDTH // 2, HEIGHT // 2))
    listing = read_colmap(tmp_path)
    assert {view.color.parent.name for view in listing.views} == {"images_2"}
    assert listing.views[0].lens.size == (WIDTH, HEIGHT)


def test_reduced_photos_of_another_suffix_or_case(tmp_path):
    names = ("a.JPG", "b.JPG", "c.JPG", "d.JPG")
    for name in "abcd":
        photo(tmp_path / "images_4" / f"{name}.png")
    binary(tmp_path / "sparse", list(names))
    assert [view.color.name for view in read_colmap(tmp_path).views] == ["a.png", "b.png", "c.png", "d.png"]


def test_reduced_photos_of_other_names_are_passed_over(tmp_path):
    scene(tmp_path)
    for i in range(4):
        photo(tmp_path / "images_8" / f"image00{i}.png", size=(3, 2))
    assert {view.color.parent.name for view in read_colmap(tmp_path).views} == {"images"}


def test_the_largest_of_several_models_is_said(tmp_path):
    scene(tmp_path, where="sparse/1")
    binary(tmp_path / "sparse" / "0", ["a.png", "b.png"])
    listing = read_colmap(tmp_path)
    check(listing)
    assert listing.source == tmp_path / "sparse" / "1"
    assert "with 4 photos the largest model; beside it are 0 (2)" in listing.said[0]


def test_unregistered_and_missing_photos_are_said(tmp_path):
    scene(tmp_path)
    photo(tmp_path / "images" / "e.png")
    (tmp_path / "images" / "a.png").unlink()
    listing = read_colmap(tmp_path)
    assert [view.color.name for view in listing.views] == ["b.png", "c.png", "d.png"]
    assert any("1 of the 4 photos of the model are missing: a.png" in line for line in listing.said)
    assert any("1 photos are not registered in the model and have no pose: e.png" in line for line in listing.said)


def test_masks_beside_the_photos(tmp_path):
    scene(tmp_path)
    photo(tmp_path / "masks" / "a.png.png")
    photo(tmp_path / "masks" / "b.png")
    masks = [view.mask and view.mask.name for view in read_colmap(tmp_path).views]
    assert masks == ["a.png.png", "b.png", None, None]


def test_photos_nowhere_are_one_line(tmp_path):
    binary(tmp_path / "sparse" / "0", ["a.png"])
    with pytest.raises(FileNotFoundError, match=r"has 1 photos, but none of them, a.png for one, is in .*images"):
        read_colmap(tmp_path)


def distorted(lens, x, y):
    """Pixel of the point (x, y, 1) by OpenCV's formulas."""
    if lens.model == "fisheye":
        r = np.hypot(x, y)
        angle = np.arctan(r)
        k1, k2, k3, k4 = lens.distortion
        bent = angle * (1 + k1 * angle**2 + k2 * angle**4 + k3 * angle**6 + k4 * angle**8)
        x, y = (x * bent / r, y * bent / r) if r else (x, y)
    elif lens.model == "brown":
        k1, k2, p1, p2, k3, k4, k5, k6 = (*lens.distortion, 0, 0, 0)[:8]
        r2 = x * x + y * y
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    return np.array([lens.focal[0] * x + lens.center[0], lens.focal[1] * y + lens.center[1]])


USABLE = {
    "SIMPLE_PINHOLE": (100, 50, 40), "PINHOLE": (100, 90, 50, 40), "SIMPLE_RADIAL": (100, 50, 40, 0.1),
    "RADIAL": (100, 50, 40, 0.1, -0.02), "OPENCV": (100, 90, 50, 40, 0.1, -0.02, 0.003, -0.004),
    "OPENCV_FISHEYE": (100, 90, 50, 40, 0.1, -0.02, 0.01, -0.005),
    "FULL_OPENCV": (100, 90, 50, 40, 0.1, -0.02, 0.003, -0.004, 0.01, 0.02, -0.01, 0.005),
    "SIMPLE_RADIAL_FISHEYE": (100, 50, 40, 0.1), "RADIAL_FISHEYE": (100, 50, 40, 0.1, -0.02),
    "THIN_PRISM_FISHEYE": (100, 90, 50, 40, 0.1, -0.02, 0, 0, 0.01, -0.005, 0, 0),
    "RAD_TAN_THIN_PRISM_FISHEYE": (100, 90, 50, 40, 0.1, -0.02, 0.01, -0.005, *[0] * 8),
    "SIMPLE_FISHEYE": (100, 50, 40), "FISHEYE": (100, 90, 50, 40),
}  # fmt: skip
REFUSED = {
    "FOV": (100, 90, 50, 40, 0.9), "SIMPLE_DIVISION": (100, 50, 40, -0.1), "DIVISION": (100, 90, 50, 40, -0.1),
    "THIN_PRISM_FISHEYE": (100, 90, 50, 40, 0.1, -0.02, 0, 0, 0.01, -0.005, 0.001, 0), "EQUIRECTANGULAR": (100, 50),
    "RAD_TAN_THIN_PRISM_FISHEYE": (100, 90, 50, 40, 0.1, -0.02, 0.01, -0.005, 0.1, *[0] * 7),
    "EUCM": (100, 90, 50, 40, 0.5, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("model", USABLE)
def test_lenses_are_those_of_colmap(tmp_path, model):
    pycolmap = pytest.importorskip("pycolmap", reason="pip install 'scorereg[colmap]'")
    lens = lens_of(model, tuple(map(float, USABLE[model])), (100, 80), tmp_path)
    camera = pycolmap.Camera(model=model, width=100, height=80, params=USABLE[model])
    for x, y in ((0.0, 0.0), (0.2, 0.1), (-0.3, 0.25), (0.1, -0.4)):
        np.testing.assert_allclose(distorted(lens, x, y), camera.img_from_cam(np.array([x, y, 1.0])), atol=1e-9)


@pytest.mark.parametrize("model", REFUSED)
def test_other_lenses_are_refused_by_name(tmp_path, model):
    with pytest.raises(ValueError, match=rf"camera model {model} cannot be used: .*\(colmap image_undistorter\)"):
        lens_of(model, tuple(map(float, REFUSED[model])), (100, 80), tmp_path)


def test_all_models_are_known_by_their_numbers():
    assert set(USABLE) | set(REFUSED) == set(NAMES)
    pycolmap = pytest.importorskip("pycolmap", reason="pip install 'scorereg[colmap]'")
    theirs = {name: int(value) for name, value in pycolmap.CameraModelId.__members__.items() if int(value) >= 0}
    assert theirs == {name: number for number, name in enumerate(NAMES)}
    for name, parameters in (USABLE | REFUSED).items():
        assert len(parameters) == COUNTS[name]


def test_models_that_pycolmap_writes_with_rigs(tmp_path):
    pycolmap = pytest.importorskip("pycolmap", reason="pip install 'scorereg[colmap]'")
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig = 2, 2, 3
    options.num_points3D = 40
    made = pycolmap.synthesize_dataset(options)
    for kind in ("binary", "text"):
        model = tmp_path / kind
        model.mkdir()
        getattr(made, f"write_{kind}")(model)
        end = {"binary": ".bin", "text": ".txt"}[kind]
        pictures = {picture.name: picture for picture in read_pictures(model / f"images{end}")}
        assert set(pictures) == {image.name for image in made.images.values()}
        for image in made.images.values():
            x, y, z, w = image.cam_from_world().rotation.quat
            sign = 1 if pictures[image.name].quaternion[0] * w > 0 else -1
            np.testing.assert_allclose(np.array(pictures[image.name].quaternion) * sign, [w, x, y, z], atol=1e-12)
            np.testing.assert_allclose(pictures[image.name].translation, image.cam_from_world().translation, atol=1e-12)
            assert pictures[image.name].camera == image.camera_id
        cameras = read_cameras(model / f"cameras{end}")
        assert {n: (c.model.name, c.width, c.height) for n, c in made.cameras.items()} == {
            n: (camera.model, *camera.size) for n, camera in cameras.items()
        }
        points = read_points(model / f"points3D{end}")
        theirs = np.array([point.xyz for point in made.points3D.values()])
        np.testing.assert_allclose(np.sort(points, 0), np.sort(theirs, 0), atol=1e-12)


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_binary_file_cut_anywhere_is_one_line(tmp_path, name):
    scene(tmp_path)
    path = tmp_path / "sparse" / "0" / name
    read = {"cameras.bin": read_cameras, "images.bin": read_pictures, "points3D.bin": read_points}[name]
    whole = path.read_bytes()
    for data in (*(whole[:end] for end in range(0, len(whole), 7)), whole + b"\0"):
        path.write_bytes(data)
        with pytest.raises(
            ValueError, match=r"is damaged or no file of COLMAP: .*Copy or export the model again"
        ) as error:
            read(path)
        assert "\n" not in str(error.value)


def test_a_count_that_the_file_cannot_hold_takes_no_memory(tmp_path):
    path = tmp_path / "points3D.bin"
    path.write_bytes(struct.pack("<Q", 1 << 60) + bytes(60))
    with pytest.raises(
        ValueError, match=r"1152921504606846976 entries are announced at byte 0, more than its 68 bytes"
    ):
        read_points(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.replace("PINHOLE", "CAHVOR"), "the camera model CAHVOR is not known"),
        (lambda s: s + "8 PINHOLE 20\n", "not enough values|is damaged"),
        (lambda s: s.replace("30.0", "nan"), "has the parameters"),
        (lambda s: s.replace("30.0 29.0", "30.0"), "PINHOLE has 4 parameters, not 3"),
        (lambda s: s.replace("30.0", "-30.0"), "focal length -30; it must be above 0"),
        (lambda s: s.replace("7 PINHOLE", "8 PINHOLE"), "a.png has camera 7, which the cameras file lacks"),
    ],
)
def test_damaged_cameras_are_one_line(tmp_path, change, says):
    scene(tmp_path, plain)
    path = tmp_path / "sparse" / "0" / "cameras.txt"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=says) as error:
        read_colmap(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["1 nan 0 0 0 1 2 3 7 a.png", "1 0 0 0 0 1 2 3 7 a.png", "1 1 0 0 0 1 2 3 a.png", "x"])
def test_damaged_photos_are_one_line(tmp_path, line):
    scene(tmp_path, plain)
    (tmp_path / "sparse" / "0" / "images.txt").write_text(line + "\n\n")
    with pytest.raises(ValueError, match="images.txt is damaged or no file of COLMAP") as error:
        read_colmap(tmp_path)
    assert "\n" not in str(error.value)


def test_an_empty_model_and_a_photo_listed_twice(tmp_path):
    photo(tmp_path / "images" / "a.png")
    plain(tmp_path / "sparse" / "0", ["a.png", "a.png"])
    with pytest.raises(ValueError, match=r"images.txt has the photo a.png twice"):
        read_colmap(tmp_path)
    plain(tmp_path / "sparse" / "0", [])
    with pytest.raises(ValueError, match=r"has no photos: none was registered"):
        read_colmap(tmp_path)


def test_undistorted_photos_lie_beside_their_model(tmp_path):
    """`colmap image_undistorter` writes dense/images and dense/sparse, with other sizes than images/."""
    scene(tmp_path, where="dense/sparse")
    for name in "abcd":
        photo(tmp_path / "dense" / "images" / f"{name}.png")
    assert {view.color.parent.parent.name for view in read_colmap(tmp_path).views} == {"dense"}


@pytest.mark.parametrize("where", ["sparse", "sparse/0"])
def test_a_folder_within_the_scene_will_do(tmp_path, where, monkeypatch):
    folder = scene(tmp_path / "s")
    check(read_colmap(folder / where))
    monkeypatch.chdir(folder / where)
    from pathlib import Path

    check(read_colmap(Path()))


def test_photos_of_the_folder_above_are_not_taken(tmp_path):
    """Another scene's photos have the same names, as a rule."""
    binary(tmp_path / "s" / "sparse" / "0", ["a.png", "b.png"])
    for name in "ab":
        photo(tmp_path / "images" / f"{name}.png")
    with pytest.raises(FileNotFoundError, match="none of them, a.png for one"):
        read_colmap(tmp_path / "s")


def test_absolute_names_of_another_machine(tmp_path):
    scene(tmp_path)
    binary(tmp_path / "sparse" / "0", [f"/home/other/scene/images/{name}.png" for name in "abcd"])
    check(read_colmap(tmp_path))


def test_a_name_written_in_two_ways_is_the_photo_twice(tmp_path):
    scene(tmp_path)
    binary(tmp_path / "sparse" / "0", ["a.png", "./a.png"])
    with pytest.raises(ValueError, match=r"images.bin has the photo a.png twice"):
        read_colmap(tmp_path)


def test_points_as_ply(tmp_path):
    scene(tmp_path)
    (tmp_path / "sparse" / "0" / "points3D.bin").rename(tmp_path / "sparse" / "0" / "points3D.ply")
    assert read_colmap(tmp_path).points.name == "points3D.ply"
    (tmp_path / "sparse" / "0" / "points3D.ply").unlink()
    assert read_colmap(tmp_path).points is None
