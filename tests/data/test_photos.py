"""Plain folders of images: what is a photo, and what only lies beside photos."""

import warnings

import numpy as np
import pytest
from PIL import Image

from scorereg.data import PatchSpec
from scorereg.data.frames import open_images
from scorereg.data.frames.images import find_images, image_patches

COLOUR = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
DEEP = GREY.astype(np.uint16) * 257


def write(root, **files):
    """Write images: names with two underscores for a slash, one for a dot at the end."""
    for name, array in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = root / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def found(root):
    return [path.relative_to(root).as_posix() for path in find_images(root)]


@pytest.fixture
def quiet():
    with warnings.catch_warnings(action="error"):
        yield


@pytest.mark.usefixtures("quiet")
def test_any_suffix_and_depth(tmp_path):
    write(tmp_path, b_png=COLOUR, a__c_jpg=COLOUR, a__d_tif=GREY)
    (tmp_path / "b.png").rename(tmp_path / "b.PNG")
    (tmp_path / "notes.txt").touch()
    assert found(tmp_path) == ["a/c.jpg", "a/d.tif", "b.PNG"]


@pytest.mark.usefixtures("quiet")
def test_hidden_files_and_folders(tmp_path):
    write(tmp_path, a_png=COLOUR, b_png=COLOUR)
    for name in ("._a.png", ".cache/c.png", "__MACOSX/a.png", "@eaDir/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7 Mac OS X")
    assert found(tmp_path) == ["a.png", "b.png"]


def test_depth_maps_of_16_bits_beside_photos(tmp_path):
    write(tmp_path, r__frame0_jpg=COLOUR, r__frame1_jpg=COLOUR, r__x0_png=DEEP, r__x1_png=DEEP, r__y_tif=DEEP)
    with pytest.warns(UserWarning, match=r"3 of 5 images are left out.*3 of one channel of 16 bits.*first: r/x0.png\)"):
        assert found(tmp_path) == ["r/frame0.jpg", "r/frame1.jpg"]


def test_float_maps_beside_photos(tmp_path):
    write(tmp_path, a_jpg=COLOUR, b_jpg=COLOUR, c_tif=GREY.astype(np.float32))
    with pytest.warns(UserWarning, match="c.tif"):
        assert found(tmp_path) == ["a.jpg", "b.jpg"]


@pytest.mark.usefixtures("quiet")
def test_photos_of_16_bits(tmp_path):
    """Alone, or many beside a few pictures of another kind, they are what the user means."""
    write(tmp_path, a_png=DEEP, b_png=DEEP, c_png=DEEP)
    assert len(found(tmp_path)) == 3
    write(tmp_path, overview_jpg=COLOUR)
    assert len(found(tmp_path)) == 4


@pytest.mark.parametrize("word", ["depth", "Mask", "normals", "semantic", "seg", "label", "disp", "confidence"])
@pytest.mark.parametrize("place", ["{word}/{i}.png", "r/{i}_{word}.png", "r/{word}{i}.png", "{i}-x.{word}.png"])
def test_maps_by_name(tmp_path, word, place):
    names = []
    for i in range(3):
        write(tmp_path, **{f"rgb__{i}_jpg" if "x" not in place else f"rgb__{i}-x_jpg": COLOUR})
        path = tmp_path / place.format(word=word, i=i)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(COLOUR).save(path)
        names.append(path)
    with pytest.warns(UserWarning, match="3 of 6 images are left out as no photos: 3 named like masks, depth"):
        assert [path.parent.name for path in find_images(tmp_path)] == ["rgb"] * 3


def test_grey_maps_of_other_names(tmp_path):
    """Nothing pairs them with photos, but they have one channel where photos have colours."""
    write(tmp_path, IMG1_jpg=COLOUR, IMG2_jpg=COLOUR, masks__left_png=GREY, masks__right_png=GREY)
    with pytest.warns(UserWarning, match="2 named like masks.*first: masks/left.png"):
        assert found(tmp_path) == ["IMG1.jpg", "IMG2.jpg"]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "names",
    [
        ("NORMAL/IM-0115.jpg", "NORMAL/IM-0117.jpg", "PNEUMONIA/person1_bacteria.jpg"),  # X-rays
        ("with_mask/lea.jpg", "without_mask/tom.jpg", "group.jpg"),  # faces
        ("mask_1.png", "mask_2.png"),
        ("depth/a.png", "depth/b.png"),
    ],
)
def test_names_that_mean_something_else(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(GREY if "IM" in name or "person" in name else COLOUR).save(tmp_path / name)
    assert found(tmp_path) == sorted(names)


@pytest.mark.usefixtures("quiet")
def test_words_above_the_folder_do_not_count(tmp_path):
    root = tmp_path / "depth_maps" / "photos"
    write(root, a_png=COLOUR, b_png=COLOUR)
    assert found(root) == ["a.png", "b.png"]


def test_thumbnails(tmp_path):
    write(tmp_path, a_jpg=COLOUR, b_jpg=COLOUR, thumbs__a_jpg=COLOUR, Thumbnails__b_jpg=COLOUR)
    with pytest.warns(UserWarning, match=r"2 thumbnails \(the first: Thumbnails/b.jpg\)"):
        assert found(tmp_path) == ["a.jpg", "b.jpg"]


def test_raw_files_are_said(tmp_path):
    write(tmp_path, a_jpg=COLOUR, b_jpg=COLOUR)
    for name in ("a.NEF", "c.nef"):
        (tmp_path / name).write_bytes(b"MM\0*")
    with pytest.warns(UserWarning, match="2 files of camera RAW are not read"):
        assert found(tmp_path) == ["a.jpg", "b.jpg"]
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).unlink()
    with pytest.raises(ValueError, match="holds 2 files of camera RAW. Develop them"):
        find_images(tmp_path)


@pytest.mark.usefixtures("quiet")
def test_a_photo_counts_once(tmp_path):
    write(tmp_path, data__a_jpg=COLOUR, elsewhere__b_jpg=COLOUR)
    root = tmp_path / "data"
    (root / "c.jpg").symlink_to("a.jpg")
    (root / "linked").symlink_to("../elsewhere")
    (root / "b.jpg").symlink_to("../elsewhere/b.jpg")
    assert found(root) == ["a.jpg", "b.jpg"]


def test_too_few(tmp_path):
    write(tmp_path, a_jpg=COLOUR)
    with pytest.raises(ValueError, match="holds 1 images.*at least two"):
        find_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        find_images(tmp_path / "nowhere")


def test_patches_are_the_files_pixels(tmp_path):
    """16 bits, transparency and a turned photo, as scenes read them."""
    Image.fromarray(np.full((16, 16), 51 * 257, np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((16, 16, 4), np.uint8)).save(tmp_path / "b.png")
    spec = PatchSpec(8, "rgb", range=(0.0, 1.0))
    assert image_patches([tmp_path / "a.png"], 2, spec, generator()).unique().tolist() == [pytest.approx(0.2)]
    with pytest.warns(UserWarning, match="transparent everywhere"):
        assert (image_patches([tmp_path / "b.png"], 1, spec, generator()) == 1).all()
    exif = Image.Exif()
    exif[274] = 6
    wide = np.repeat(COLOUR[:8], 2, 1)
    Image.fromarray(wide).save(tmp_path / "c.png", exif=exif)
    patch = image_patches([tmp_path / "c.png"], 1, PatchSpec(8, "rgb", range=(0.0, 255.0)), generator())[0]
    tall = np.rot90(wide, -1).transpose(2, 0, 1)
    assert any(np.allclose(patch, tall[:, top : top + 8, :], atol=1e-4) for top in range(25))


def test_grey_of_colours(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    patch = image_patches([tmp_path / "a.png"], 1, PatchSpec(16, "gray", range=(0.0, 255.0)), generator())
    np.testing.assert_allclose(patch[0, 0], COLOUR @ [0.299, 0.587, 0.114], atol=1e-3)


def test_the_source_of_a_folder(tmp_path):
    write(tmp_path, a_jpg=COLOUR, b_jpg=COLOUR, depth__a_png=DEEP)
    with pytest.warns(UserWarning, match="1 of 3 images"):
        source = open_images(tmp_path, PatchSpec(8, "rgb"))
    assert [path.name for path in source.sets["train"] + source.sets["held-out"]] == ["a.jpg", "b.jpg"]


def generator():
    import torch

    return torch.Generator().manual_seed(0)
