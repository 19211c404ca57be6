"""Large photos are reduced as they are read: the same values, within the memory of their own pixels."""

import numpy as np
import pytest
from PIL import Image

from scorereg.data.frames import read
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.resample import reduce_plane, reduce_rows
from scorereg.files.images import read_image
from scorereg.files.rows import photo_rows


def write_photo(path, orientation=1, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 44, len(mode)), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels, mode).save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_are_those_of_the_photo(orientation, tmp_path):
    path = tmp_path / "a.png"
    write_photo(path, orientation)
    for upright in (True, False):
        whole = read_image(path, upright=upright).color
        with photo_rows(path, upright=upright) as found:
            assert found is not None
            size, rows = found
            assert size == whole.shape[:2]
            parts = [rows(slice(start, min(start + 7, size[0]))) for start in range(0, size[0], 7)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("down", "across"), [(0.31, 0.31), (0.5, 0.25), (1.0, 0.4), (0.02, 0.03)])
def test_reducing_by_rows_is_reducing(down, across):
    value = np.random.default_rng(1).uniform(0, 255, (300, 90, 3)).astype(np.float32)
    found = reduce_rows(300, lambda rows: value[rows], down, across, most=11)
    np.testing.assert_allclose(found, reduce_plane(value, down, across), rtol=1e-5)


@pytest.mark.parametrize(("orientation", "mode"), [(1, "RGB"), (6, "RGB"), (1, "RGBA")])
def test_a_large_photo_is_read_as_a_small_one(orientation, mode, tmp_path, monkeypatch):
    """With a depth map of fewer pixels, and alone."""
    photo, depth = tmp_path / "a.png", tmp_path / "d.png"
    write_photo(photo, orientation, mode)
    width, height = (15, 22) if orientation == 6 else (22, 15)
    Image.fromarray(np.full((height, width), 2000, np.uint16)).save(depth)
    both = Frame("room", photo, depth, (20.0, 20.0), size=(width, height))
    alone = Frame("room", photo, None, (20.0, 20.0))
    small = read.read_frame(both).color
    assert read.read_reduced(alone, 10.0) is None, "it is not large"
    monkeypatch.setattr(read, "_LARGE", 100)
    monkeypatch.setattr(read, "_AT_ONCE", 200)
    np.testing.assert_allclose(read.read_frame(both).color, small, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(read.read_reduced(alone, 10.0), small, rtol=1e-5, atol=1e-3)
    assert read.read_reduced(alone, 20.0) is None, "it is not reduced"
