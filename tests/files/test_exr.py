"""EXR photos: linear light with sRGB's curve, alpha, layers and windows."""

import numpy as np
import pytest

from scorereg.files import read_head, read_image

openexr = pytest.importorskip("OpenEXR", reason="pip install 'scorereg[formats]'")

LIGHT = np.array([[0.0, 0.001, 0.0031308], [0.18, 0.5, 1.0], [1.5, np.inf, -0.2]], np.float32)
SHOWN = np.array([[0.0, 0.01292, 0.04045], [0.46135, 0.73536, 1.0], [1.0, 1.0, 0.0]])  # by the standard's table


def write(path, parts, *, compression=None, **header):
    window = {key: tuple(np.array(v, np.int32) for v in value) for key, value in header.items()}
    facts = {"compression": compression or openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage, **window}
    parts = parts if isinstance(parts, list) else [parts]
    pieces = [
        openexr.Part(dict(facts), {k: np.ascontiguousarray(v) for k, v in part.items()}, f"part{i}")
        for i, part in enumerate(parts)
    ]
    with openexr.File(pieces) as file:
        file.write(str(path))
    return path


def rgb(value, prefix=""):
    return {f"{prefix}R": value, f"{prefix}G": value.T.copy(), f"{prefix}B": np.zeros_like(value)}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_curve(tmp_path, dtype):
    path = write(tmp_path / "a.exr", rgb(LIGHT.astype(dtype)))
    head, photo = read_head(path), read_image(path)
    assert (head.kind, head.stored, head.bits, head.grey) == ("exr", (3, 3), 32, False)
    np.testing.assert_allclose(photo.color, np.stack([SHOWN, SHOWN.T, 0 * SHOWN], -1), atol=5e-4)
    assert photo.color.dtype == np.float32
    assert photo.alpha is None


def test_grey(tmp_path):
    path = write(tmp_path / "a.exr", {"Y": LIGHT})
    assert read_head(path).grey
    np.testing.assert_allclose(read_image(path).color, np.repeat(SHOWN[..., None], 3, 2), atol=1e-4)


def test_alpha_is_premultiplied(tmp_path):
    """Half a grey of 0.5 before white, mixed as in pictures whose colours have the curve."""
    alpha = np.array([[1.0, 0.5, 0.0]], np.float32)
    light = 0.5 * alpha
    photo = read_image(write(tmp_path / "a.exr", {"R": light, "G": light, "B": light, "A": alpha}))
    np.testing.assert_allclose(photo.alpha, alpha)
    np.testing.assert_allclose(photo.color[0, :, 1], [0.73536, 0.73536 / 2 + 0.5, 1], atol=1e-4)


def test_reduction(tmp_path):
    value = np.random.default_rng(0).random((5, 7)).astype(np.float32)
    path = write(tmp_path / "a.exr", {"Y": value})
    whole, small = read_image(path).color, read_image(path, step=2).color
    np.testing.assert_allclose(small, whole[:4, :6].reshape(2, 2, 3, 2, 3).mean((1, 3)), atol=1e-6)


def test_layers(tmp_path):
    """Blender's names; depth beside colours; a second part."""
    dark = np.full((3, 3), 0.01, np.float32)
    layers = {**rgb(LIGHT, "ViewLayer.Combined."), **rgb(dark, "ViewLayer.Normal."), "ViewLayer.Depth.Z": dark}
    expected = np.stack([SHOWN, SHOWN.T, 0 * SHOWN], -1)
    np.testing.assert_allclose(read_image(write(tmp_path / "a.exr", layers)).color, expected, atol=1e-4)
    np.testing.assert_allclose(
        read_image(write(tmp_path / "b.exr", {**rgb(LIGHT), "Z": dark})).color, expected, atol=1e-4
    )
    np.testing.assert_allclose(
        read_image(write(tmp_path / "c.exr", [{"Z": dark}, rgb(LIGHT)])).color, expected, atol=1e-4
    )
    with pytest.raises(ValueError, match=r"holds the channels diffuse.B, .*of several layers. Save the picture alone"):
        read_image(write(tmp_path / "d.exr", {**rgb(LIGHT, "diffuse."), **rgb(dark, "glossy.")}))
    with pytest.raises(ValueError, match="holds the channels X, Y, Z, but a photo needs R, G and B"):
        read_image(write(tmp_path / "e.exr", {"X": dark, "Y": dark, "Z": dark}))


def test_the_display_window(tmp_path):
    """A render of a part of the picture: the rest is black, as the writer left it."""
    path = write(tmp_path / "a.exr", {"Y": LIGHT}, dataWindow=((1, 1), (3, 3)), displayWindow=((0, 0), (4, 2)))
    assert read_head(path).stored == (5, 3)
    color = read_image(path).color[..., 0]
    np.testing.assert_allclose(color[1:, 1:4], SHOWN[:2], atol=1e-4)
    assert not color[0].any()
    assert not color[:, 4].any()


def test_what_is_refused(tmp_path):
    value = LIGHT.copy()
    value[1, 1] = np.nan
    with pytest.raises(ValueError, match="holds NaN"):
        read_image(write(tmp_path / "a.exr", rgb(value)))
    path = write(tmp_path / "b.exr", rgb(np.random.default_rng(0).random((64, 64)).astype(np.float32)))
    for cut in (10, 200, 2000):
        (tmp_path / "c.exr").write_bytes(path.read_bytes()[:cut])
        with pytest.raises(ValueError, match=r"c.exr cannot be read as EXR, as it is truncated") as error:
            read_image(tmp_path / "c.exr")
        assert "\n" not in str(error.value)


def test_too_bright_is_said(tmp_path):
    with pytest.warns(UserWarning, match="100% of its values above 1"):
        read_image(write(tmp_path / "a.exr", {"Y": np.full((3, 3), 100, np.float32)}))


def test_a_header_that_claims_too_much(tmp_path):
    path = write(tmp_path / "a.exr", {"Y": LIGHT})
    data = bytearray(path.read_bytes())
    for name in (b"dataWindow\0box2i\0", b"displayWindow\0box2i\0"):
        place = data.index(name) + len(name) + 4
        data[place : place + 16] = np.array([0, 0, 99999, 99999], "<i4").tobytes()
    path.write_bytes(data)
    for read in (read_head, read_image):
        with pytest.raises(ValueError, match="100000x100000 pixels; pictures of up to 256|cannot be read as EXR"):
            read(path)
