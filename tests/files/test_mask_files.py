"""Masks of every kind say which pixels count."""

import numpy as np
import pytest
from PIL import Image

from scorereg.files import read_mask
from tests.files.pictures import write_png

SET = np.array([[0, 1, 1, 0], [1, 1, 0, 0]], bool)


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("most", [1, 3, 255])
@pytest.mark.parametrize("suffix", ["png", "bmp", "npy"])
def test_8_bits(tmp_path, most, suffix):
    """Masks of 0 and 1 and labels are as good as those of 0 and 255."""
    path, value = tmp_path / f"a.{suffix}", SET.astype(np.uint8) * most
    if suffix == "npy":
        np.save(path, value)
    else:
        save(path, value)
    assert (read_mask(path) == SET).all()
    assert (read_mask(path, marks="left out") == ~SET).all()


@pytest.mark.parametrize("value", [SET, SET.astype(np.float32), SET * 65535, SET * 1, SET.astype(np.uint16) * 65535])
def test_arrays(tmp_path, value):
    np.save(tmp_path / "a.npy", value)
    assert (read_mask(tmp_path / "a.npy") == SET).all()


def test_1_and_16_bits(tmp_path):
    assert (read_mask(save(tmp_path / "a.png", SET)) == SET).all()
    assert (read_mask(save(tmp_path / "b.png", SET.astype(np.uint16) * 65535)) == SET).all()
    assert (read_mask(save(tmp_path / "c.png", SET.astype(np.uint16))) == SET).all()
    assert (read_mask(save(tmp_path / "d.tif", SET.astype(np.float32))) == SET).all()


def test_noise_of_jpeg_does_not_count(tmp_path):
    large = np.kron(SET, np.ones((9, 9), np.uint8)) * np.uint8(255)
    path = save(tmp_path / "a.jpg", large, quality=60)
    assert 0 < (np.asarray(Image.open(path)) > 0).mean() - SET.mean()
    assert (read_mask(path) == (large > 0)).mean() > 0.99


def test_alpha(tmp_path):
    """Black on transparent ground, as editors save a selection, and white on it."""
    for name, colour in (("a", 0), ("b", 255)):
        rgba = np.dstack([np.full((*SET.shape, 3), colour, np.uint8), SET.astype(np.uint8) * 255])
        assert (read_mask(save(tmp_path / f"{name}.png", rgba)) == SET).all()
    opaque = np.dstack([*[SET.astype(np.uint8) * 255] * 3, np.full(SET.shape, 255, np.uint8)])
    assert (read_mask(save(tmp_path / "c.png", opaque)) == SET).all()
    deep = np.stack([np.zeros(SET.shape), SET * 65535], -1).astype(np.uint16)
    assert (read_mask(write_png(tmp_path / "d.png", deep, 4)) == SET).all()


def test_colours(tmp_path):
    red = np.dstack([SET * 255, SET * 0, SET * 0]).astype(np.uint8)
    assert (read_mask(save(tmp_path / "a.png", red)) == SET).all()
    labels = Image.fromarray(np.array([[0, 1, 2, 0], [8, 2, 0, 0]], np.uint8), "P")
    labels.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * 15, 64, 0, 0])
    labels.save(tmp_path / "b.png")
    assert (read_mask(tmp_path / "b.png") == SET).all()
    Image.fromarray(SET.astype(np.uint8) * 255).convert("P").save(tmp_path / "c.png")
    assert (read_mask(tmp_path / "c.png") == SET).all()


def test_another_size(tmp_path):
    path = save(tmp_path / "a.png", SET.astype(np.uint8) * 255)
    assert (read_mask(path, size=(12, 6)) == np.kron(SET, np.ones((3, 3), bool))).all()
    with pytest.raises(ValueError, match="4x2 pixels, but its photo 4x3"):
        read_mask(path, size=(4, 3))


def test_grey_masks_are_said(tmp_path):
    soft = np.linspace(0, 255, 256, dtype=np.uint8)[None]
    with pytest.warns(UserWarning, match="grey"):
        mask = read_mask(save(tmp_path / "a.png", soft))
    assert mask[0].tolist() == [value > 127 for value in range(256)]


@pytest.mark.parametrize(("value", "marks", "word"), [(0, "kept", "black"), (255, "left out", "white")])
def test_nothing_left(tmp_path, value, marks, word):
    path = save(tmp_path / "a.png", np.full((4, 4), value, np.uint8))
    with pytest.raises(ValueError, match=f"is {word} everywhere, so it leaves no pixel") as error:
        read_mask(path, marks=marks)
    assert str(path) in str(error.value)


def test_what_is_no_mask(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match="a mask has rows and columns"):
        read_mask(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="holds NaN"):
        read_mask(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError, match="is missing"):
        read_mask(tmp_path / "b.png")


def test_a_turned_mask(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = save(tmp_path / "a.png", SET.astype(np.uint8) * 255, exif=exif)
    assert (read_mask(path, size=(2, 4)) == np.rot90(SET, -1)).all()
    assert (read_mask(path, size=(4, 2)) == SET).all()
