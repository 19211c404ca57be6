"""Depth maps of every kind become metres with NaN where unknown, or are refused in one line."""

import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from scorereg.files import read_depth
from scorereg.files.depth import depth_size
from tests.files.pictures import write_png, write_tiff

MILLIMETRES = np.array([[0, 1000, 65535], [2500, 1, 65534]])
METRES = np.array([[np.nan, 1.0, np.nan], [2.5, 0.001, 65.534]])
FLOATS = np.array([[np.nan, np.inf, -np.inf, 0], [-1, 1.5, 1e10, 0.25]])
KNOWN = np.array([[np.nan, np.nan, np.nan, np.nan], [np.nan, 1.5, np.nan, 0.25]])


def same(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def refused(path, words, **options):
    with pytest.raises(ValueError, match=words) as error:
        read_depth(path, 1.0, **options)
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint32", "int64", ">u2", ">i4"])
def test_integer_arrays(tmp_path, dtype):
    np.save(tmp_path / "a.npy", MILLIMETRES.astype(dtype))
    same(read_depth(tmp_path / "a.npy", 0.001), METRES)
    assert depth_size(tmp_path / "a.npy") == (3, 2)


def test_negative_and_largest_integers_are_unknown(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[-5, 2**31 - 1, 7]], np.int32))
    same(read_depth(tmp_path / "a.npy", 1.0), [[np.nan, np.nan, 7]])
    np.save(tmp_path / "a.npy", np.array([[32767, 7]], np.int16))
    same(read_depth(tmp_path / "a.npy", 1.0), [[np.nan, 7]])


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", ">f8"])
def test_float_arrays(tmp_path, dtype):
    np.save(tmp_path / "a.npy", FLOATS.astype(dtype))
    same(read_depth(tmp_path / "a.npy", 1.0), KNOWN)
    same(read_depth(tmp_path / "a.npy", 0.5), KNOWN / 2)


def test_half_floats_and_65535(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.5, np.inf, 2.25]], np.float16))
    same(read_depth(tmp_path / "a.npy", 1.0), [[1.5, np.nan, 2.25]])
    np.save(tmp_path / "a.npy", np.array([[65535.0]]))  # saturation is a matter of integers
    same(read_depth(tmp_path / "a.npy", 1.0), [[65535]])


def test_numbers_too_large_or_small_for_float32_are_unknown(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1e8, 1e-45, 2.0]]))
    same(read_depth(tmp_path / "a.npy", 1e-3), [[1e5, np.nan, 2e-3]])
    same(read_depth(tmp_path / "a.npy", 1e35), [[np.nan, 1e-10, 2e35]])


@pytest.mark.parametrize("shape", [(2, 3, 1), (1, 2, 3), (1, 1, 2, 3)])
def test_axes_of_one(tmp_path, shape):
    np.save(tmp_path / "a.npy", MILLIMETRES.astype(np.uint16).reshape(shape))
    same(read_depth(tmp_path / "a.npy", 0.001), METRES)


def test_columns_first(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(MILLIMETRES.astype(np.uint16)))
    same(read_depth(tmp_path / "a.npy", 0.001), METRES)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), np.uint8), np.zeros((2, 3), bool), np.zeros((2, 3), complex), np.zeros((2, 3, 3)),
        np.zeros(6), np.array("depth"), np.zeros((2, 3), [("depth", "f4")]),
    ],
)  # fmt: skip
def test_arrays_that_are_no_depth(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    refused(tmp_path / "a.npy", "one channel, rows and columns")


def test_objects_are_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[print]], object), allow_pickle=True)
    refused(tmp_path / "a.npy", "Python objects, which are not read")
    np.savez(tmp_path / "a.npz", np.array([[print]], object))
    refused(tmp_path / "a.npz", "Python objects, which are not read")


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text = text.ljust(118 - 1) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(99999999999, 3)", "(-1, 4)", "(2, 'x')", "(2, 3"])
def test_headers_that_lie(tmp_path, shape):
    """Nothing is allocated for what the file is too short for."""
    (tmp_path / "a.npy").write_bytes(header(shape) + bytes(24))
    refused(tmp_path / "a.npy", "truncated|no array of numbers")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("depth.npy", header(shape) + bytes(24))
    refused(tmp_path / "a.npz", "truncated|no array of numbers")


def test_deeply_nested_header(tmp_path):
    (tmp_path / "a.npy").write_bytes(header("(" * 90))
    refused(tmp_path / "a.npy", "no array of numbers")


@pytest.mark.parametrize("names", [["anything"], ["depth", "confidence"], ["arr_0", "arr_1"]])
def test_archives(tmp_path, names):
    others = {name: np.zeros((5, 5)) for name in names[1:]}
    np.savez_compressed(tmp_path / "a.npz", **{names[0]: MILLIMETRES.astype(np.uint16), **others})
    same(read_depth(tmp_path / "a.npz", 0.001), METRES)


def test_archives_that_do_not_say_which(tmp_path):
    np.savez(tmp_path / "a.npz", left=FLOATS, right=FLOATS)
    refused(tmp_path / "a.npz", "holds left, right; depth is one array, or the one named depth or arr_0")
    np.savez(tmp_path / "b.npz")
    refused(tmp_path / "b.npz", "no arrays")


def test_damaged_archives(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", depth=np.random.default_rng(0).random((30, 30)))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    (tmp_path / "b.npz").write_bytes(data[: len(data) // 2])
    refused(tmp_path / "b.npz", "no NumPy archive, or is truncated")
    data[len(data) // 2] ^= 255
    (tmp_path / "c.npz").write_bytes(data)
    refused(tmp_path / "c.npz", "damaged")


def test_an_archive_of_zeros_is_no_bomb(tmp_path):
    """The size that a member claims is held against what deflate can pack."""
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", header("(9, 9)"))
    data = bytearray(inside.getvalue())
    place = data.rindex(b"PK\1\2")
    data[place + 24 : place + 28] = struct.pack("<I", 2**31)
    (tmp_path / "a.npz").write_bytes(data)
    refused(tmp_path / "a.npz", "which cannot be")


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_pictures_of_16_bits(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", MILLIMETRES.astype(np.uint16))
    same(read_depth(path, 0.001), METRES)
    assert depth_size(path) == (3, 2)


def test_tiff_of_other_types(tmp_path):
    same(read_depth(save(tmp_path / "a.tif", FLOATS.astype(np.float32), compression="tiff_lzw"), 1.0), KNOWN)
    same(read_depth(save(tmp_path / "b.tif", MILLIMETRES.astype(np.int32)), 0.001), METRES)
    signed = write_tiff(
        tmp_path / "c.tif", np.array([[-3, 32767, 9]], np.int16), {258: (16,), 262: (1,), 277: (1,), 339: (2,)}
    )
    same(read_depth(signed, 1.0), [[np.nan, np.nan, 9]])


@pytest.mark.parametrize("most", [4000, 65535])
def test_pgm_is_not_stretched(tmp_path, most):
    """Pillow scales a PGM so that the header's largest number becomes 65535."""
    value = np.array([[1000, 0, 4000]])
    (tmp_path / "a.pgm").write_bytes(f"P5\n# made by hand\n3 1\n{most}\n".encode() + value.astype(">u2").tobytes())
    same(read_depth(tmp_path / "a.pgm", 0.001), [[1, np.nan, 4]])
    (tmp_path / "b.pgm").write_bytes(f"P2\n3 1\n{most}\n1000 0\n4000\n".encode())
    same(read_depth(tmp_path / "b.pgm", 0.001), [[1, np.nan, 4]])
    (tmp_path / "c.pgm").write_bytes(f"P5\n3 1\n{most}\n".encode() + bytes(5))
    refused(tmp_path / "c.pgm", "truncated: 3x1 pixels")


@pytest.mark.parametrize(("scale", "order"), [("-1.0", "<f4"), ("1", ">f4"), ("-0.003922", "<f4")])
def test_pfm(tmp_path, scale, order):
    path = tmp_path / "a.pfm"
    path.write_bytes(f"Pf\n4 2\n{scale}\n".encode() + FLOATS[::-1].astype(order).tobytes())
    same(read_depth(path, 1.0), KNOWN)
    assert depth_size(path) == (4, 2)
    path.write_bytes(path.read_bytes()[:-3])
    refused(path, "truncated: 4x2 pixels, but 7 values")


def test_pfm_that_is_none(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"PF\n1 1\n-1\n" + bytes(12))
    refused(tmp_path / "a.pfm", "three channels")
    for data in (b"Pf\nx y\n", b"Pf\n1e9 4\n-1\n", b"Pf\n99999999 99999999\n-1\n"):
        (tmp_path / "a.pfm").write_bytes(data + bytes(40))
        refused(tmp_path / "a.pfm", "header|numbers|megapixels")
    (tmp_path / "a.pfm").write_bytes(b"something else")
    refused(tmp_path / "a.pfm", "does not begin as a .pfm")


def test_8_bits_and_colours_are_refused(tmp_path):
    refused(save(tmp_path / "a.png", np.full((4, 4), 9, np.uint8)), "8 bits a pixel.*16-bit PNG, .npy")
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 255\n\1\2")
    refused(tmp_path / "a.pgm", "integers of at least 16 bits")
    refused(save(tmp_path / "b.png", np.zeros((4, 4, 3), np.uint8)), "encoded as colours is not read")
    refused(write_png(tmp_path / "c.png", np.zeros((4, 4, 3), np.uint16), 2), "encoded as colours is not read")
    refused(write_png(tmp_path / "d.png", np.zeros((4, 4, 2), np.uint16), 4), "encoded as colours is not read")


def test_other_files_are_not_called_corrupt(tmp_path):
    """The line names what is read."""
    (tmp_path / "a.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    refused(tmp_path / "a.mat", "16-bit PNG, .npy, .npz, .exr, .pfm")


def test_flipped_bits(tmp_path):
    path = save(tmp_path / "a.png", np.arange(4096, dtype=np.uint16).reshape(64, 64), compress_level=0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(path, "a checksum is wrong")


def test_another_size_by_nearest_neighbour(tmp_path):
    small = np.array([[1, 2], [3, 4]], np.uint16)
    path = save(tmp_path / "a.png", small)
    same(read_depth(path, 1.0, size=(6, 6)), np.kron(small, np.ones((3, 3))))
    same(read_depth(path, 1.0, size=(2, 2)), small)
    large = np.arange(1, 37, dtype=np.uint16).reshape(6, 6)  # the pixel below the middle of each new one
    same(read_depth(save(tmp_path / "c.png", large), 1.0, size=(2, 2)), [[8, 11], [26, 29]])
    refused(path, "2x2 pixels, but its photo 4x3, of other proportions", size=(4, 3))


def test_units(tmp_path):
    np.save(tmp_path / "a.npy", FLOATS)
    for unit in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="a number above 0"):
            read_depth(tmp_path / "a.npy", float(unit))


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.npy is missing"):
        read_depth(tmp_path / "none.npy", 1.0)


def exr(path, channels, **header):
    openexr = pytest.importorskip("OpenEXR", reason="pip install 'scorereg[formats]'")
    window = {key: tuple(np.array(v, np.int32) for v in value) for key, value in header.items()}
    facts = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage, **window}
    with openexr.File(facts, {name: np.ascontiguousarray(v) for name, v in channels.items()}) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize("name", ["Z", "Y", "R", "ViewLayer.Depth.Z", "depth", "anything", "Depth.V"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exr(tmp_path, name, dtype):
    value = np.where(FLOATS == 1e10, np.inf, FLOATS).astype(dtype)
    path = exr(tmp_path / "a.exr", {name: value})
    same(read_depth(path, 2.0), 2 * KNOWN)
    assert depth_size(path) == (4, 2)


def test_exr_of_several_channels(tmp_path):
    value, colour = FLOATS.astype(np.float32), np.random.default_rng(0).random((2, 4)).astype(np.float32)
    same(read_depth(exr(tmp_path / "a.exr", {"R": colour, "G": colour, "B": colour * 2, "Z": value}), 1.0), KNOWN)
    same(read_depth(exr(tmp_path / "b.exr", {"R": value, "G": value, "B": value}), 1.0), KNOWN)
    refused(exr(tmp_path / "c.exr", {"R": colour, "G": colour, "B": colour * 2}), "encoded as colours is not read")
    refused(exr(tmp_path / "d.exr", {"u": colour, "v": colour}), "holds the channels u, v")
    (tmp_path / "e.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:200])
    refused(tmp_path / "e.exr", "cannot be read as EXR")


def test_the_window_of_exr(tmp_path):
    value = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    path = exr(tmp_path / "a.exr", {"Z": value}, dataWindow=((1, 2), (3, 3)), displayWindow=((0, 0), (2, 4)))
    expected = np.full((5, 3), np.nan)
    expected[2:4, 1:] = value[:, :2]
    same(read_depth(path, 1.0), expected)
