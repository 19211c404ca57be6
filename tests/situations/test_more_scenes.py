"""More scenes as people have them: of apps, of other programs, with numbers that cannot be, or not read at all."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
from PIL import Image

from tests.situations.room import (
    FOCAL,
    HALF,
    HEIGHT,
    POSES,
    RIGHT,
    WIDTH,
    agreement,
    drop,
    opengl,
    photo,
    put,
    save_png,
    write_scene,
)
from tests.situations.test_scene_situations import load

SHOTS = [photo(pose) for pose in POSES]
ANGLE = 2 * np.arctan(WIDTH / 2 / FOCAL)
SITUATIONS = {}


def situation(**expected):
    """A function that writes a scene, and what comes of it.

    `said` is part of the one warning, `refused` of the error; without either nothing is said. `db` is the least
    agreement in dB, 0 for what is warned of and read as it stands. `color` is what was done to the room's colors.
    """

    def register(function):
        SITUATIONS[function.__name__] = (function, expected)
        return function

    return register


@pytest.mark.parametrize("name", SITUATIONS)
def test_situation(name, tmp_path):
    make, expected = SITUATIONS[name]
    path = make(tmp_path / "scene") or tmp_path / "scene"
    if "refused" in expected:
        with pytest.raises((ValueError, OSError), match=expected["refused"]) as caught:
            load(path)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        return
    scene, said = load(path)
    assert len(said) == expected.get("lines", 1 if "said" in expected else 0), said
    assert any(expected.get("said", "") in line for line in said) or not said, said
    assert all("\n" not in line for line in said)
    assert agreement(scene, color=expected.get("color")) >= expected.get("db", 0 if "said" in expected else RIGHT)


def photos(folder, name="images/{}.png", numbers=range(6)):
    for i in numbers:
        path = folder / name.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(*SHOTS[i], path)


def poses(folder):
    folder.mkdir(parents=True)
    for i in range(6):
        np.savetxt(folder / f"{i}.txt", np.vstack([POSES[i], [0, 0, 0, 1]]))


def quaternion(matrix):
    w = np.sqrt(1 + np.trace(matrix)) / 2
    return [w, *((matrix[[2, 0, 1], [1, 2, 0]] - matrix[[1, 2, 0], [2, 0, 1]]) / (4 * w))]


def colmap(folder, *, name="{}.png", model="sparse/0", images="images", camera="PINHOLE 96 72 80 80 48 36", number=1,
           end="", points=200):  # fmt: skip
    """A model in text, with its photos."""
    photos(folder, f"{images}/{name}")
    place = folder / model
    place.mkdir(parents=True)
    (place / "cameras.txt").write_text(f"# Cameras\n{number} {camera}{end}\n")
    lines = ["# Images"]
    for i, pose in enumerate(POSES):
        back = pose[:, :3].T
        numbers = [i + 1, *quaternion(back), *(-back @ pose[:, 3]), number, name.format(i)]
        lines += [" ".join(map(str, numbers)) + end, f"10.0 10.0 -1{end}"]
    (place / "images.txt").write_text("\n".join(lines) + "\n")
    where = np.random.default_rng(0).uniform(-1, 1, (points, 3)) * HALF
    where[:, 2] = HALF[2]
    rows = [f"{i} {x} {y} {z} 1 2 3 0.5 1 0 2 0" for i, (x, y, z) in enumerate(where)]
    (place / "points3D.txt").write_text("\n".join(["# Points", *rows]) + "\n")


def llff(folder, name, factor=1, numbers=range(6)):
    photos(folder, name, numbers)
    rows = []
    for pose in POSES:
        axes = [pose[:, 1], pose[:, 0], -pose[:, 2], pose[:, 3], np.array([HEIGHT, WIDTH, FOCAL]) * factor]
        rows.append([*np.stack(axes, 1).reshape(-1), 0.6, 6.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))


def each(change):
    """A change of the matrix of each frame."""

    def frame(entry, i):
        entry["transform_matrix"] = change(np.array(entry["transform_matrix"]), i).tolist()

    return frame


# Apps and other programs.


@situation()
def nerfcapture(folder):
    own = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": 48.0, "cy": 36.0, "w": WIDTH, "h": HEIGHT}

    def frame(entry, i):
        entry.update(own, file_path=f"images/{i}", depth_path=f"images/{i}.depth.png", timestamp=0.1 * i)

    write_scene(folder, table=lambda t: (drop(*own, "near", "far", "metric")(t), t.update(depth_source="ARKit")),
                frame=frame)  # fmt: skip
    for i, (_, depth) in enumerate(SHOTS):
        Image.fromarray((1000 * depth[::3, ::3]).astype(np.uint16)).save(folder / f"images/{i}.depth.png")


@situation(said="b1")
def metashape_with_affinity(folder):
    write_scene(folder, table=put(b1=0.6, b2=0.1))


@situation()
def spectacular(folder):
    write_scene(folder, frame=put(motion_blur_score=0.3, camera_linear_velocity=[0.0, 0.0, 0.0], colmap_im_id=3))


@situation()
def names_with_spaces_at_the_end(folder):
    write_scene(folder, frame=lambda e, _: e.update(file_path=e["file_path"] + " \n"))


@situation()
def accents_apart_on_disk(folder):
    write_scene(folder, name=unicodedata.normalize("NFD", "Küche é/{}.png"),
                frame=lambda e, _: e.update(file_path=unicodedata.normalize("NFC", e["file_path"])))  # fmt: skip


@situation(said="those of the same name", db=RIGHT)
def addresses_of_the_web(folder):
    write_scene(folder, frame=lambda e, _: e.update(file_path=f"https://example.com/data/{e['file_path']}"))


def blender(folder, name="./train/r_{}", save=save_png, angle=ANGLE):
    frames = []
    for i in range(6):
        (folder / "train").mkdir(parents=True, exist_ok=True)
        save(*SHOTS[i], folder / f"train/r_{i}.png")
        frames.append({"file_path": name.format(i), "transform_matrix": opengl(POSES[i])})
    (folder / "transforms_train.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))


@situation(said="those of the same name", db=RIGHT)
def blender_with_its_own_slashes(folder):
    blender(folder, "//train/r_{}")


def half_white(seen):
    seen = seen.copy()
    seen[:20] = seen[:20] * 128 / 255 + 127 / 255
    return seen


@situation(color=half_white)
def blender_half_transparent(folder):
    def save(color, _, path):
        alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
        alpha[:20] = 128
        Image.fromarray(np.dstack([color, alpha])).save(path)

    blender(folder, save=save)


@situation(refused="radians")
def blender_in_degrees(folder):
    blender(folder, angle=62.0)


@situation(refused="no transforms_train.json")
def blender_without_train(folder):
    blender(folder)
    (folder / "transforms_train.json").rename(folder / "transforms_test.json")


@situation(refused="ns-process-data metashape")
def metashape_xml(folder):
    photos(folder)
    (folder / "cameras.xml").write_text("<document/>")


@situation(refused="ns-process-data realitycapture")
def realitycapture_csv(folder):
    photos(folder)
    (folder / "cameras.csv").write_text("#name,x,y,alt\n")


@situation(refused="ns-process-data record3d")
def record3d(folder):
    photos(folder, "rgbd/{}.png")
    (folder / "metadata.json").write_text("{}")


@situation(refused="splats")
def cameras_of_splats(folder):
    photos(folder)
    (folder / "cameras.json").write_text("[]")


@situation(refused="rename it")
def a_download_with_a_number(folder):
    write_scene(folder)
    (folder / "transforms.json").rename(folder / "transforms (1).json")


@situation(refused="SensReader")
def scannet_sens(folder):
    folder.mkdir()
    (folder / "scene0000_00.sens").write_bytes(b"\4\0\0\0")


@situation()
def nsvf(folder):
    photos(folder, "rgb/{}.png")
    poses(folder / "pose")
    np.savetxt(folder / "intrinsics.txt", [[80, 0, 47.5, 0], [0, 80, 35.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


@situation()
def nsvf_of_five_lines(folder):
    """NSVF's own file: `f cx cy 0`, the grid's middle, near, scale, `height width`."""
    photos(folder, "rgb/{}.png")
    poses(folder / "pose")
    (folder / "intrinsics.txt").write_text("80.0 48.0 36.0 0.\n0. 0. 0.\n0.6\n1.\n72 96\n")


@situation()
def blender_with_an_empty_split(folder):
    blender(folder)
    (folder / "transforms_val.json").write_text(json.dumps({"camera_angle_x": ANGLE, "frames": []}))


@situation(refused="web address")
def photos_on_the_web(folder):
    write_scene(folder, frame=lambda entry, i: entry.update(file_path=f"https://example.org/{i}.png"))


@situation(refused="is a video")
def frames_of_a_video(folder):
    write_scene(folder, frame=put(file_path="clip.MP4"))


# Poses and lenses that cannot be right.


def with_poses(folder, change):
    """`rgb/` and `pose/`, its matrices changed."""
    photos(folder, "rgb/{}.png")
    (folder / "pose").mkdir()
    for i, pose in enumerate(POSES):
        np.savetxt(folder / f"pose/{i}.txt", change(np.vstack([pose, [0, 0, 0, 1]])))
    (folder / "intrinsics.json").write_text(json.dumps({"fl_x": FOCAL}))


@situation(said="camera-to-world in OpenGL's axes")
def pose_files_in_opengl_axes(folder):
    with_poses(folder, lambda m: m * [1, -1, -1, 1])


@situation(said="world-to-camera: write their inverse")
def pose_files_of_world_to_camera(folder):
    with_poses(folder, np.linalg.inv)


@situation(said="world-to-camera in OpenGL's axes")
def pose_files_of_view_matrices(folder):
    with_poses(folder, lambda m: np.linalg.inv(m * [1, -1, -1, 1]))


@situation(said="camera-to-world in OpenGL's axes")
def sdfstudio_in_opengl_axes(folder):
    photos(folder, "{}.png")
    matrix = [[80, 0, 48, 0], [0, 80, 36, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    frames = [{"rgb_path": f"{i}.png", "camtoworld": opengl(POSES[i]), "intrinsics": matrix} for i in range(6)]
    table = {"camera_model": "OPENCV", "height": HEIGHT, "width": WIDTH, "frames": frames}
    (folder / "meta_data.json").write_text(json.dumps(table))


@situation(said="camera-to-world in OpenCV's axes")
def opencv_axes(folder):
    write_scene(folder, frame=each(lambda m, _: m * [1, -1, -1, 1]))


@situation(said="world-to-camera: write their inverse")
def world_to_camera(folder):
    write_scene(folder, frame=each(lambda m, _: np.linalg.inv(m)))


@situation(said="world-to-camera in OpenCV's axes")
def extrinsics_of_opencv(folder):
    write_scene(folder, frame=each(lambda m, _: np.linalg.inv(m * [1, -1, -1, 1])))


@situation(refused="transposed")
def transposed(folder):
    write_scene(folder, frame=each(lambda m, _: m.T))


@situation(refused="pose was lost")
def a_pose_of_zeros(folder):
    write_scene(folder, frame=each(lambda m, i: 0 * m if i == 5 else m))


@situation(refused="mirror")
def left_handed(folder):
    write_scene(folder, frame=each(lambda m, _: m * [1, 1, -1, 1]))


@situation(said="images/3.png is")
def one_camera_far_away(folder):
    def move(matrix, i):
        matrix[0, 3] += 300 * (i == 3)
        return matrix

    write_scene(folder, frame=each(move))


@situation(said="stand at one place")
def one_pose_for_all(folder):
    write_scene(folder, frame=lambda e, _: e.update(transform_matrix=opengl(POSES[0])))


@situation(said="no digits left")
def coordinates_without_digits(folder):
    def move(matrix, _):
        matrix[0, 3] += 1e17
        return matrix

    write_scene(folder, frame=each(move))


@situation(said="near 600", lines=2, db=RIGHT)
def near_and_far_in_millimetres(folder):
    """They are not the poses' unit, and no depths of a room in metres either."""
    write_scene(folder, table=put(near=600.0, far=6000.0))


@situation(said="taken for metres")
def poses_in_millimetres_that_are_metric(folder):
    def grow(matrix, _):
        matrix[:3, 3] *= 1000
        return matrix

    write_scene(folder, table=put(near=600.0, far=6000.0), frame=each(grow))


@situation(refused="near")
def near_is_no_number(folder):
    write_scene(folder, table=put(near=float("nan")))


@situation(said="covers 170x167 degrees")
def focal_length_in_millimetres(folder):
    write_scene(folder, table=put(fl_x=4.25, fl_y=4.25))


@situation(said="covers 0.1x0.075 degrees")
def focal_length_too_long(folder):
    write_scene(folder, table=put(fl_x=55_000.0, fl_y=55_000.0))


@situation(said="nearly equal")
def focal_lengths_apart(folder):
    write_scene(folder, table=put(fl_y=8.0))


@situation(said="5 times that of most")
def one_focal_length_apart(folder):
    write_scene(folder, frame=lambda e, i: e.update(fl_x=5 * FOCAL, fl_y=5 * FOCAL) if i == 2 else None)


@situation()
def two_lenses(folder):
    write_scene(folder, frame=lambda e, i: e.update(fl_x=120.0, fl_y=120.0) if i > 2 else None)
    for i in (3, 4, 5):
        save_png(*photo(POSES[i], focal=120.0), folder / f"images/{i}.png")


@situation(refused="above 0")
def negative_focal_length(folder):
    write_scene(folder, table=put(fl_y=-80.0))


@situation(said="covers")
def distortion_of_another_scale(folder):
    write_scene(folder, table=put(k1=300.0))


@situation(refused="shares of the size")
def principal_point_in_shares(folder):
    write_scene(folder, table=put(cx=0.5, cy=0.5))


@situation(said="another size")
def principal_point_of_the_full_size(folder):
    write_scene(folder, table=lambda t: (drop("w", "h")(t), t.update(fl_x=320.0, fl_y=320.0, cx=192.0, cy=144.0)))


# Photos, masks, depth.


@situation(refused=r"\(2 of 6 are\)")
def some_photos_deleted(folder):
    write_scene(folder)
    for i in (1, 4):
        (folder / f"images/{i}.png").unlink()


@situation(said="16 bits")
def twelve_bits_of_colour(folder):
    tifffile = pytest.importorskip("tifffile")
    write_scene(
        folder, name="{}.tif", save=lambda c, _, p: tifffile.imwrite(p, c.astype(np.uint16) * 16, photometric="rgb")
    )


@situation(said="several pictures", db=RIGHT)
def moving_png(folder):
    def save(color, _, path):
        Image.fromarray(color).save(path, save_all=True, append_images=[Image.fromarray(255 - color)])

    write_scene(folder, save=save)


@situation(refused="empty")
def a_photo_of_no_bytes(folder):
    write_scene(folder)
    (folder / "images/2.png").write_bytes(b"")


@situation(refused="truncated")
def a_jpeg_without_its_end(folder):
    write_scene(folder, name="{}.jpg", save=lambda c, _, p: Image.fromarray(c).save(p, quality=97))
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:-2])


@situation()
def another_suffix(folder):
    write_scene(folder, name="{}.jpg", save=lambda c, _, p: Image.fromarray(c).save(p, format="PNG"))


@situation(refused="format is not known")
def radiance_hdr(folder):
    write_scene(folder, name="{}.hdr", save=lambda c, _, p: p.write_bytes(b"#?RADIANCE\n-Y 72 +X 96\n" + c.tobytes()))


@situation(refused="6x6")
def photos_of_six_pixels(folder):
    write_scene(folder, width=6, height=6, focal=5.0, table=put(fl_x=5.0, fl_y=5.0, cx=3.0, cy=3.0, w=6, h=6))


@situation(said="0.mask.png is not used", db=RIGHT)
def masks_beside_photos(folder):
    write_scene(folder)
    for i in range(6):
        Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(folder / f"images/{i}.mask.png")


@situation()
def masks_in_alpha(folder):
    """Also where the colours of the mask are black."""

    def save(color, _, path):
        color = color.copy()
        color[:30, :40] = (255, 0, 255)
        Image.fromarray(color).save(path)

    write_scene(folder, save=save, frame=lambda e, _: e.update(mask_path="mask.png"))
    mask = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    mask[..., 3] = 255
    mask[:30, :40, 3] = 0
    Image.fromarray(mask).save(folder / "mask.png")


@situation(refused="black everywhere")
def a_mask_of_nothing(folder):
    write_scene(folder, frame=lambda e, _: e.update(mask_path="mask.png"))
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(folder / "mask.png")


def depths(folder, write, suffix=".npy", **entries):
    write_scene(folder, table=put(**entries), frame=lambda e, i: e.update(depth_file_path=f"{i}{suffix}"))
    for i, (_, depth) in enumerate(SHOTS):
        write(folder / f"{i}{suffix}", depth)


@situation(said="no known depth", db=RIGHT)
def negative_depth(folder):
    depths(folder, lambda p, d: np.save(p, -d), depth_unit_scale_factor=1.0)


@situation(refused="Python objects")
def depth_that_is_pickled(folder):
    depths(folder, lambda p, d: np.save(p, np.array({"depth": d}, dtype=object), allow_pickle=True))


@situation(said="unit of depth", db=RIGHT)
def depth_unit_upside_down(folder):
    depths(folder, lambda p, d: Image.fromarray((1000 * d).astype(np.uint16)).save(p), ".png",
           depth_unit_scale_factor=1000.0)  # fmt: skip


# COLMAP and LLFF.


@situation()
def colmap_folders_of_cameras(folder):
    colmap(folder, name="cam{}/image.png")


@situation()
def colmap_spaces_and_numbers(folder):
    colmap(folder, name="my photo {}.png", number=77, end="   ")


@situation()
def colmap_sizes_rounded(folder):
    colmap(folder, images="images_4", camera="PINHOLE 386 290 321.67 322.22 193 145")


@situation()
def colmap_without_points(folder):
    colmap(folder, points=0)


@situation()
def colmap_before_undistortion(folder):
    colmap(folder, model="distorted/sparse/0", images="input")


@situation()
def scannet_plus_plus(folder):
    colmap(folder, model="colmap", images="resized_images")


@situation(refused="not images.txt")
def colmap_cameras_alone(folder):
    colmap(folder)
    (folder / "sparse/0/images.txt").unlink()


@situation(refused="above it is a scene")
def colmap_photos_given(folder):
    colmap(folder)
    return folder / "images"


@situation(said="1 of the 6 photos", db=RIGHT)
def colmap_photo_missing(folder):
    colmap(folder)
    (folder / "images/2.png").unlink()


@situation()
def llff_of_png_and_jpg(folder):
    llff(folder, "images_4/{}.png", 4)
    (folder / "images").mkdir()
    Image.fromarray(SHOTS[0][0]).resize((384, 288)).save(folder / "images/0.JPG")


@situation(refused="7 images for the 6 poses")
def llff_contact_sheet(folder):
    llff(folder, "images/{}.png")
    shutil.copy(folder / "images/3.png", folder / "images/sheet.png")


# Folders and arguments.


@situation(refused="unpack")
def an_archive(folder):
    write_scene(folder)
    return shutil.make_archive(str(folder), "zip", folder)


@situation()
def a_slash_at_the_end(folder):
    write_scene(folder)
    return f"{folder}/"


@situation()
def a_linked_folder(folder):
    write_scene(folder.parent / "real")
    folder.symlink_to(folder.parent / "real")


@situation()
def a_name_of_other_letters(folder):
    write_scene(folder.parent / "my scène 🎥")
    return folder.parent / "my scène 🎥"


@situation(refused="no photo is left for training")
def all_held_out(folder):
    write_scene(folder, table=put(train_filenames=[], test_filenames=[f"images/{i}.png" for i in range(6)]))


@situation(refused="list of at least one frame")
def frames_in_a_table(folder):
    write_scene(folder, table=lambda t: t.update(frames={e["file_path"]: e for e in t["frames"]}))


@situation(refused="not '80.0'|is '80.0'")
def numbers_as_text(folder):
    write_scene(folder, table=put(fl_x="80.0"))
