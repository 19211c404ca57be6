"""Scenes as people have them: what is read shows the room from its cameras, the rest is refused in one line."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from scorereg.scenes import load_scene
from tests.situations import room
from tests.situations.room import FOCAL, HEIGHT, RIGHT, WIDTH, agreement, brown, drop, fisheye, put, write_scene

READ = {}
REFUSED = {}


def read(function):
    """A situation that is read right: the function writes it and returns what the test is to do with it."""
    READ[function.__name__] = function
    return function


def refused(pattern):
    """A situation that is refused in one line, which matches a pattern."""

    def register(function):
        REFUSED[function.__name__] = (function, pattern)
        return function

    return register


def saver(mode=None, **options):
    """Write the photo by Pillow in another mode or with options of its format."""

    def save(color, _, path):
        image = Image.fromarray(color)
        (image.convert(mode) if mode else image).save(path, **options)

    return save


def load(path, **settings):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        scene = load_scene(path, **settings)
    return scene, [str(w.message) for w in heard]


@pytest.mark.parametrize("name", READ)
def test_read_right(name, tmp_path):
    given = READ[name](tmp_path / "scene") or {}
    settings, measure = given.get("load", {}), given.get("measure", {})
    scene, said = load(given.get("path", tmp_path / "scene"), **settings)
    assert agreement(scene, **measure) > given.get("least", RIGHT), scene.describe()
    assert any(given["said"] in line for line in said) if "said" in given else not said, said
    if "train" in given:
        assert (len(scene.train), len(scene.test)) == given["train"]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name, tmp_path):
    make, pattern = REFUSED[name]
    given = make(tmp_path / "scene") or {}
    with pytest.raises((ValueError, OSError), match=pattern) as caught:
        load(given.get("path", tmp_path / "scene"), **given.get("load", {}))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


# Photos.


@read
def plain(folder):
    write_scene(folder)


@read
def jpeg_with_capital_suffix(folder):
    write_scene(folder, name="images/{}.JPG", save=saver(format="JPEG", quality=97, subsampling=0))


@read
def palette(folder):
    def save(color, _, path):
        Image.fromarray(color // 32 * 32).convert("P", palette=Image.Palette.ADAPTIVE).save(path)

    write_scene(folder, save=save)
    return {"least": 20}


@read
def grey(folder):
    write_scene(folder, save=saver("L"))
    return {"measure": {"gray": True}}


@read
def grey_of_16_bits(folder):
    def save(color, _, path):
        gray = (color @ [0.299, 0.587, 0.114] * 257).round().astype(np.uint16)
        Image.fromarray(gray).save(path)

    write_scene(folder, save=save)
    return {"measure": {"gray": True}}


@read
def tiff_of_16_bits_and_three_channels(folder):
    tifffile = pytest.importorskip("tifffile")
    write_scene(
        folder, name="{}.tif", save=lambda c, _, p: tifffile.imwrite(p, c.astype(np.uint16) * 257, photometric="rgb")
    )


@read
def float_tiff(folder):
    def save(color, _, path):
        Image.fromarray((color @ [0.299, 0.587, 0.114] / 255).astype(np.float32)).save(path)

    write_scene(folder, name="{}.tiff", save=save)
    return {"measure": {"gray": True}}


@read
def cmyk_jpeg(folder):
    write_scene(folder, name="{}.jpg", save=saver("CMYK", quality=97, subsampling=0))


@read
def webp_and_bmp(folder):
    write_scene(folder, name="{}.bmp", save=saver())


@read
def cutouts_over_hidden_colour(folder):
    """Where they are transparent they are white, as their viewers show them."""

    def save(color, _, path):
        alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        color = color.copy()
        alpha[:20], color[:20] = 0, (255, 0, 255)
        Image.fromarray(np.concatenate([color, alpha], -1)).save(path)

    def white(seen):
        seen = seen.copy()
        seen[:20] = 1
        return seen

    write_scene(folder, save=save)
    return {"measure": {"color": white}}


@read
def cutouts_as_masks(folder):
    cutouts_over_hidden_colour(folder)
    return {"load": {"alpha": "mask"}}


def turned(orientation, *, upright):
    """Photos stored sideways with a tag; the file's w and h are those of the upright or of the stored photo."""

    def save(color, _, path):
        back = {3: 2, 6: 1, 8: 3}[orientation]  # quarter turns against the clock, from upright to stored
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.rot90(color, back) if upright else color
        Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=97, subsampling=0)

    return save


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photos_are_turned_by_their_exif_where_the_lens_is_that_of_the_upright_photo(orientation, tmp_path):
    write_scene(tmp_path, name="{}.jpg", save=turned(orientation, upright=True))
    scene, said = load(tmp_path)
    assert agreement(scene) > RIGHT
    assert orientation != 3 or said  # a half turn is not told by the size


@pytest.mark.parametrize("orientation", [6, 8])
def test_photos_are_left_as_stored_where_the_lens_is_that_of_the_stored_photo(orientation, tmp_path):
    write_scene(tmp_path, name="{}.jpg", save=turned(orientation, upright=False))
    assert agreement(load(tmp_path)[0]) > RIGHT


@read
def two_hundred_megapixels(folder):
    """A telephone's photo: the room, enlarged without smoothing, so that means over its pixels are the room again."""
    write_scene(folder, table=lambda t: t.update(frames=t["frames"][2:3]))
    with Image.open(folder / "images/2.png") as image:
        image.resize((170 * WIDTH, 170 * HEIGHT), Image.Resampling.NEAREST).save(
            folder / "images/2.png", compress_level=1
        )
    return {"load": {"views": 1, "max_size": WIDTH}, "train": (1, 0)}


# Lens and size.


@read
def brown_lens(folder):
    write_scene(folder, lens=brown(-0.2, 0.05, 0.01, -0.01), table=put(k1=-0.2, k2=0.05, p1=0.01, p2=-0.01))


@read
def fisheye_of_instant_ngp(folder):
    write_scene(folder, lens=fisheye(0.05, -0.01), table=put(is_fisheye=True, k1=0.05, k2=-0.01, k3=0.0, k4=0.0))


@read
def fisheye_of_nerfstudio(folder):
    write_scene(folder, lens=fisheye(0.05), table=put(camera_model="OPENCV_FISHEYE", k1=0.05))


@read
def fisheye_named_in_each_frame(folder):
    write_scene(folder, lens=fisheye(0.05), frame=put(camera_model="opencv_fisheye", k1=0.05))


@read
def full_size_lens_and_reduced_files(folder):
    write_scene(folder, table=put(w=4 * WIDTH, h=4 * HEIGHT, fl_x=4 * FOCAL, fl_y=4 * FOCAL, cx=192, cy=144))


@read
def angle_across(folder):
    angle = 2 * np.arctan(WIDTH / (2 * FOCAL))
    write_scene(folder, table=lambda t: (drop("fl_x", "fl_y", "cx", "cy", "w", "h")(t), t.update(camera_angle_x=angle)))


@read
def angle_down_alone(folder):
    angle = 2 * np.arctan(HEIGHT / (2 * FOCAL))
    write_scene(folder, table=lambda t: (drop("fl_x", "fl_y", "cx", "cy", "w", "h")(t), t.update(camera_angle_y=angle)))


@read
def lens_in_each_frame(folder):
    write_scene(
        folder, table=drop("fl_x", "fl_y", "cx", "cy", "w", "h"),
        frame=put(fl_x=FOCAL, fl_y=FOCAL, cx=WIDTH / 2, cy=HEIGHT / 2, w=WIDTH, h=HEIGHT),
    )  # fmt: skip


@refused("EQUIRECTANGULAR|equirectangular")
def panorama(folder):
    write_scene(folder, table=put(camera_model="EQUIRECTANGULAR"))


@refused("latlong")
def panorama_of_instant_ngp(folder):
    write_scene(folder, table=put(is_latlong=True, latlong=True))


@refused("rolling_shutter")
def rolling_shutter(folder):
    write_scene(folder, table=put(rolling_shutter=[0.1, 0.0, 0.0, 0.0]))


@refused("w|h|size|shape")
def size_of_another_shape(folder):
    write_scene(folder, table=put(w=100, h=100))


@refused("fl_x")
def no_focal_length(folder):
    write_scene(folder, table=drop("fl_x", "fl_y"))


@refused("fl_x")
def focal_length_beyond_float32(folder):
    write_scene(folder, table=put(fl_x=1e308, fl_y=1e308))


# Poses.


@read
def utm_coordinates(folder):
    shift = np.array([432_817.3, 5_411_902.7, 231.4])
    _shifted(folder, shift)
    return {"measure": {"shift": shift}}


@read
def earth_centred_coordinates(folder):
    shift = np.array([4_075_532.1, 931_735.3, 4_801_629.6])
    _shifted(folder, shift)
    return {"measure": {"shift": shift}}


def _shifted(folder, shift):
    def move(entry, _):
        for row, add in zip(entry["transform_matrix"], shift, strict=False):
            row[3] += add

    write_scene(folder, frame=move)


@read
def three_rows(folder):
    write_scene(folder, frame=lambda e, _: e.update(transform_matrix=e["transform_matrix"][:3]))


@refused("rotation")
def scaled_rotation(folder):
    def scale(entry, i):
        if i == 2:
            for row in entry["transform_matrix"][:3]:
                row[:3] = [3 * v for v in row[:3]]

    write_scene(folder, frame=scale)


@refused("NaN")
def pose_without_numbers(folder):
    write_scene(folder, frame=lambda e, i: e["transform_matrix"][0].__setitem__(0, float("nan") if i == 3 else 1.0))


# Names of files.


@read
def backslashes(folder):
    write_scene(folder, frame=lambda e, _: e.update(file_path=".\\" + e["file_path"].replace("/", "\\")))


@read
def split_with_and_without_dot(folder):
    write_scene(
        folder, frame=lambda e, _: e.update(file_path="./" + e["file_path"]),
        table=put(train_filenames=[f"images/{i}.png" for i in (1, 2, 4)], test_filenames=["images/0.png"]),
    )  # fmt: skip
    return {"train": (3, 1)}


@read
def a_photo_listed_twice(folder):
    write_scene(folder, table=lambda t: t["frames"].append({**t["frames"][0], "file_path": "./images/../images/0.png"}))
    return {"train": (3, 1)}


@read
def absolute_names(folder):
    write_scene(folder, frame=lambda e, _: e.update(file_path=str(folder / e["file_path"])))


@read
def absolute_names_of_another_machine(folder):
    write_scene(folder, frame=lambda e, _: e.update(file_path="C:\\Users\\me\\scene\\" + e["file_path"]))
    return {"said": ""}


@read
def photos_in_another_folder(folder):
    write_scene(folder)
    shutil.move(folder / "images", folder.parent / "photos")
    table = json.loads((folder / "transforms.json").read_text())
    for i, entry in enumerate(table["frames"]):
        entry["file_path"] = str(folder.parent / f"photos/{i}.png")
    (folder / "transforms.json").write_text(json.dumps(table))


@read
def no_suffix(folder):
    write_scene(folder, frame=lambda e, _: e.update(file_path=e["file_path"].removesuffix(".png")))


@read
def a_relative_scene_with_absolute_names(folder):
    absolute_names(folder)
    return {"path": os.path.relpath(folder)}


@read
def spaces_percents_and_other_letters(folder):
    write_scene(folder, name="Fotos Küche 50%/Bild {}.png")


@read
def hidden_files_beside(folder):
    write_scene(folder)
    for i in range(6):
        (folder / f"images/._{i}.png").write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    (folder / ".DS_Store").write_bytes(b"\0")


@refused("3.png")
def a_missing_photo(folder):
    write_scene(folder)
    (folder / "images/3.png").unlink()


@refused("3.png")
def a_web_page_in_place_of_a_photo(folder):
    write_scene(folder)
    (folder / "images/3.png").write_text("<!DOCTYPE html><html>404</html>")


# The file.


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_of_json(encoding, tmp_path):
    write_scene(tmp_path, name="Küche {}.png")
    text = (tmp_path / "transforms.json").read_text(encoding="utf-8").replace(", ", ",\r\n")
    bom = "\ufeff" if encoding[-2:] in ("le", "be") else ""
    (tmp_path / "transforms.json").write_bytes((bom + text).encode(encoding))
    assert agreement(load(tmp_path)[0]) > RIGHT


@refused("transforms.json")
def json_cut_off(folder):
    write_scene(folder)
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text[: len(text) // 2])


@refused("transforms.json")
def json_nested_too_deep(folder):
    write_scene(folder)
    (folder / "transforms.json").write_text("[" * 100_000)


@refused("transforms.json")
def the_same_key_twice(folder):
    write_scene(folder)
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text.replace('"fl_x": 80.0', '"fl_x": 80.0, "fl_x": 90.0'))


@read
def a_missing_point_cloud(folder):
    write_scene(folder, table=put(ply_file_path="sparse_pc.ply"))
    return {"said": "sparse_pc.ply"}


@read
def blender_synthetic(folder):
    angle = 2 * np.arctan(WIDTH / (2 * FOCAL))
    for part, numbers in (("train", (1, 2, 4)), ("val", (3,)), ("test", (0, 5))):
        frames = []
        for i in numbers:
            path = folder / part / f"r_{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            color, depth = room.photo(room.POSES[i])
            Image.fromarray(np.dstack([color, np.full((HEIGHT, WIDTH), 255, np.uint8)])).save(path)
            shown = (depth * 20).clip(0, 255).astype(np.uint8)
            Image.fromarray(shown).save(path.with_name(f"r_{i}_depth_0001.png"))
            frames.append({"file_path": f"./{part}/r_{i}", "rotation": 0.01,
                           "transform_matrix": room.opengl(room.POSES[i])})  # fmt: skip
        table = {"camera_angle_x": angle, "frames": frames}
        (folder / f"transforms_{part}.json").write_text(json.dumps(table))
    return {"train": (3, 2)}


# Masks and depth.


def masked(folder, where, *, value):
    """A magenta block, which a file marks."""

    def save(color, _, path):
        color = color.copy()
        color[:30, :40] = (255, 0, 255)
        Image.fromarray(color).save(path)

    write_scene(folder, save=save, frame=None if where is None else where)
    mask = np.full((HEIGHT, WIDTH), 255 - value, np.uint8)
    mask[:30, :40] = value
    return mask


@read
def mask_path(folder):
    mask = masked(folder, lambda e, i: e.update(mask_path=f"masks/{i}.png"), value=0)
    (folder / "masks").mkdir()
    for i in range(6):
        Image.fromarray(mask).save(folder / f"masks/{i}.png")


@read
def masks_of_another_size_and_of_ones(folder):
    mask = masked(folder, lambda e, i: e.update(mask_path=f"masks/{i}.png"), value=0)
    (folder / "masks").mkdir()
    for i in range(6):
        Image.fromarray(np.repeat(np.repeat(mask // 255, 2, 0), 2, 1)).save(folder / f"masks/{i}.png")


@read
def dynamic_masks_of_instant_ngp(folder):
    mask = masked(folder, None, value=255)
    for i in range(6):
        Image.fromarray(mask).save(folder / f"images/dynamic_mask_{i}.png")


def with_depth(folder, suffix, write, **entries):
    """Depth maps beside the photos, in metres times `unit`."""
    made = {}

    def save(color, depth, path):
        Image.fromarray(color).save(path)
        made[path.stem] = depth

    def name(entry, i):
        entry["depth_file_path"] = f"depth/{i}{suffix}"

    write_scene(folder, save=save, frame=name, table=put(**entries))
    (folder / "depth").mkdir()
    for stem, depth in made.items():
        write(folder / f"depth/{stem}{suffix}", depth)
    return made


def _npz(path, depth):
    np.savez_compressed(path, depth=depth.astype(np.float32))


def _pfm(path, depth):
    path.write_bytes(b"Pf\n%d %d\n-1.0\n" % depth.shape[::-1] + np.ascontiguousarray(depth[::-1], "<f4").tobytes())


DEPTHS = {
    "16-bit png": (".png", 0.001, lambda p, d: Image.fromarray((1000 * d).round().astype(np.uint16)).save(p)),
    "16-bit tiff": (".tif", 0.001, lambda p, d: Image.fromarray((1000 * d).round().astype(np.uint16)).save(p)),
    "float tiff": (".tiff", 1.0, lambda p, d: Image.fromarray(d.astype(np.float32)).save(p)),
    "npy of doubles": (".npy", 1.0, lambda p, d: np.save(p, d)),
    "npy of halves": (".npy", 1.0, lambda p, d: np.save(p, d.astype(np.float16))),
    "npy, big-endian": (".npy", 1.0, lambda p, d: np.save(p, d.astype(">f4"))),
    "npy, one channel": (".npy", 1.0, lambda p, d: np.save(p, d[..., None])),
    "npz": (".npz", 1.0, _npz),
    "pfm": (".pfm", 1.0, _pfm),
    "a quarter of the size": (
        ".png", 0.001, lambda p, d: Image.fromarray((1000 * d[2::4, 2::4]).round().astype(np.uint16)).save(p)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DEPTHS)
def test_depth_of_every_kind(kind, tmp_path):
    suffix, unit, write = DEPTHS[kind]
    made = with_depth(tmp_path, suffix, write, depth_unit_scale_factor=unit)
    scene = load(tmp_path)[0]
    assert agreement(scene) > RIGHT
    for i, name in enumerate(scene.filenames):
        truth = made[name.removeprefix("images/").removesuffix(".png")]
        gap = np.abs(scene.depth[i].numpy() / truth - 1)
        # the nearest of few values is some pixels off
        assert np.quantile(gap, 0.9) < (0.06 if kind == "a quarter of the size" else 2e-3)


def test_infinite_depth_is_unknown(tmp_path):
    def write(path, depth):
        depth = depth.astype(np.float32)
        depth[:10], depth[10:12], depth[12:14] = np.inf, np.nan, -1
        Image.fromarray(depth).save(path)

    with_depth(tmp_path, ".tif", write, depth_unit_scale_factor=1.0)
    depth = load(tmp_path)[0].depth.numpy()
    assert not depth[:, :14].any()
    assert np.isfinite(depth).all()
    assert (depth[:, 14:] > 0).all()


# How many.


@pytest.mark.parametrize(("count", "views"), [(3, 3), (2, 2), (1, 1), (6, 1), (6, 2), (6, 6), (6, 5)])
def test_as_few_photos_as_there_are(count, views, tmp_path):
    write_scene(tmp_path, count=count, table=drop("near", "far"))
    scene, _ = load(tmp_path, views=views)
    assert agreement(scene) > RIGHT
    assert len(scene.train) == views
    assert bool(scene.test) == (views < count)
    assert 0 < scene.near < 2.5 < scene.far


@refused("7|views")
def more_views_than_photos(folder):
    write_scene(folder)
    return {"load": {"views": 7}}


# Folders.


@refused("poses")
def photos_alone(folder):
    write_scene(folder)
    (folder / "transforms.json").unlink()


@refused("fern")
def the_folder_above(folder):
    """The line names the scene that lies below."""
    write_scene(folder / "fern")


@refused("folder")
def a_file(folder):
    write_scene(folder)
    return {"path": folder / "transforms.json"}


@refused("scene")
def an_archive(folder):
    write_scene(folder)
    return {"path": shutil.make_archive(str(folder), "zip", folder)}


@refused("scene")
def an_empty_folder(folder):
    folder.mkdir()
