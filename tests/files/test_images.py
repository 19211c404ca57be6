"""Photos of every kind become the colours that a viewer shows, or are refused in one line."""

import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from scorereg.files import list_images, orient, read_head, read_image
from tests.files.pictures import chunk, write_blank, write_png, write_tiff

RAMP = np.linspace(0, 65535, 20).round().astype(np.uint16).reshape(4, 5)


def colours(height=8, width=12):
    generator = np.random.default_rng(height * width)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_colours_are_divided_by_255(tmp_path):
    array = colours()
    photo = read_image(save(tmp_path / "a.png", array))
    np.testing.assert_allclose(photo.color, array / 255, atol=1e-7)
    assert photo.color.dtype == np.float32
    assert photo.alpha is None


@pytest.mark.parametrize("suffix", ["bmp", "webp", "tif", "jp2", "ppm", "tga", "gif"])
def test_formats_without_loss(tmp_path, suffix):
    array = np.repeat(colours()[..., :1] // 2 * 2, 3, 2)
    options = {"webp": {"lossless": True}, "jp2": {"irreversible": False}}.get(suffix, {})
    photo = read_image(save(tmp_path / f"a.{suffix}", array, **options))
    np.testing.assert_allclose(photo.color, array / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RAMP).save(path)
    head, photo = read_head(path), read_image(path)
    assert (head.bits, head.grey) == (16, True)
    np.testing.assert_allclose(photo.color, np.repeat(RAMP[..., None] / 65535, 3, 2), atol=1e-6)


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_16_bit_colour_keeps_8(tmp_path, kind):
    channels = {2: 3, 4: 2, 6: 4}[kind]
    value = np.stack([RAMP] * channels, -1)
    if channels in (2, 4):
        value[..., -1] = 65535 // 2
    path = write_png(tmp_path / "a.png", value, kind)
    assert read_head(path).bits == 16
    photo = read_image(path)
    share = 1.0 if channels == 3 else 0.5
    np.testing.assert_allclose(photo.color[..., 1], RAMP / 65535 * share + 1 - share, atol=2 / 255)
    assert (photo.alpha is None) == (channels == 3)


def test_16_bit_grey_with_a_transparent_value(tmp_path):
    path = write_png(tmp_path / "a.png", RAMP, 0, extra=chunk(b"tRNS", struct.pack(">H", int(RAMP[1, 2]))))
    photo = read_image(path)
    assert photo.alpha is not None
    assert np.argwhere(photo.alpha == 0).tolist() == [[1, 2]]
    assert photo.color[1, 2].tolist() == [1, 1, 1]
    np.testing.assert_allclose(photo.color[3], np.repeat(RAMP[3, :, None] / 65535, 3, 1), atol=1e-6)


def test_16_bit_colour_with_a_transparent_value(tmp_path):
    value = np.stack([RAMP] * 3, -1)
    key = chunk(b"tRNS", struct.pack(">HHH", *[int(RAMP[2, 3])] * 3))
    photo = read_image(write_png(tmp_path / "a.png", value, 2, extra=key))
    assert photo.alpha is not None
    assert np.argwhere(photo.alpha == 0).tolist() == [[2, 3]]


@pytest.mark.parametrize(("bits", "full"), [(1, 1), (2, 3), (4, 15), (8, 255)])
def test_grey_of_few_bits_with_a_transparent_value(tmp_path, bits, full):
    """The key counts in the file's own bits."""
    from tests.files.pictures import write_rows

    values = [0, full, 0, full] if bits == 1 else [0, 1, full - 1, full]
    packed = sum(value << (bits * (3 - i)) for i, value in enumerate(values)) << max(0, 8 - 4 * bits)
    row = b"\0" + packed.to_bytes(max(4 * bits // 8, 1))
    key = chunk(b"tRNS", struct.pack(">H", full))
    photo = read_image(write_rows(tmp_path / "a.png", row, (4, 1), 0, bits, key))
    expected = [float(value != full) for value in values]
    assert photo.alpha is not None
    assert photo.alpha[0].tolist() == expected
    np.testing.assert_allclose(photo.color[0, :, 0], [v / full if v != full else 1 for v in values], atol=1e-6)


def test_white_is_zero_in_16_bits(tmp_path):
    """TIFF may say that 0 is white; Pillow heeds it in 8 bits only."""
    path = write_tiff(tmp_path / "a.tif", RAMP, {258: (16,), 262: (0,), 277: (1,)})
    np.testing.assert_allclose(read_image(path).color[..., 0], 1 - RAMP / 65535, atol=1e-6)


def test_12_bits(tmp_path):
    """Two numbers in three bytes; white is 4095."""
    value = np.array([[0, 1, 2048, 4095]])
    packed = np.array([[0, 0, 1, 0x80, 0x0F, 0xFF]], np.uint8)
    path = write_tiff(tmp_path / "a.tif", packed, {256: (4,), 258: (12,), 262: (1,), 277: (1,)})
    np.testing.assert_allclose(read_image(path).color[..., 0], value / 4095, atol=1e-6)


@pytest.mark.parametrize("kind", ["float colours", "64 bits"])
def test_tiff_of_a_kind_that_is_not_read(tmp_path, kind):
    """It is whole, so it is not called corrupt."""
    value = np.zeros((4, 5, 3), np.float32) if kind == "float colours" else np.zeros((4, 5), np.int64)
    bits, count = ((32,) * 3, 3) if value.ndim == 3 else ((64,), 1)
    tags = {258: bits, 262: (2 if count == 3 else 1,), 277: (count,), 339: ((3,) * 3 if count == 3 else (2,))}
    path = write_tiff(tmp_path / "a.tif", value, tags)
    for read in (read_head, read_image):
        with pytest.raises(ValueError, match="is of a kind that is not read.*8 or 16 bits, as PNG or TIFF"):
            read(path)


def test_big_endian_16_bits(tmp_path):
    Image.fromarray(RAMP.astype(">u2")).save(tmp_path / "a.tif")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").color[..., 0], RAMP / 65535, atol=1e-6)


def test_dark_16_bits_are_said(tmp_path):
    Image.fromarray(RAMP // 64).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="1023 of 65535"):
        photo = read_image(tmp_path / "a.png")
    assert photo.color.max() == pytest.approx(1023 / 65535)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_lies_on_white(tmp_path, mode):
    array = np.dstack([np.repeat(colours()[..., :1], 3, 2), colours()[..., 1]])
    image = Image.fromarray(array, "RGBA")
    if mode in ("P", "PA"):
        array[..., 3] = np.where(array[..., 3] > 127, 255, 0)
        array[..., :3] = array[..., :3] // 128 * 255
        image = Image.fromarray(array, "RGBA")
        image = image.quantize(8) if mode == "P" else image.quantize(8).convert("PA")
        array = np.asarray(image.convert("RGBA"))
    elif mode == "LA":
        image = image.convert("LA")
    path = tmp_path / ("a.tif" if mode == "PA" else "a.png")
    try:
        image.save(path)
    except OSError:
        pytest.skip(f"Pillow writes no {mode}")
    photo = read_image(path)
    alpha = array[..., 3:] / 255
    assert photo.alpha is not None
    np.testing.assert_allclose(photo.alpha, alpha[..., 0], atol=1e-6)
    np.testing.assert_allclose(photo.color, array[..., :3] / 255 * alpha + 1 - alpha, atol=1e-6)


def test_a_transparent_colour(tmp_path):
    array = colours()
    array[2, 3] = 255, 0, 255
    photo = read_image(save(tmp_path / "a.png", array, transparency=(255, 0, 255)))
    assert photo.alpha is not None
    assert np.argwhere(photo.alpha == 0).tolist() == [[2, 3]]
    assert photo.color[2, 3].tolist() == [1, 1, 1]


def test_opaque_alpha_is_none(tmp_path):
    array = np.dstack([colours(), np.full((8, 12), 255, np.uint8)])
    assert read_image(save(tmp_path / "a.png", array)).alpha is None


def test_all_transparent_is_said(tmp_path):
    array = np.dstack([colours(), np.zeros((8, 12), np.uint8)])
    with pytest.warns(UserWarning, match="transparent everywhere"):
        photo = read_image(save(tmp_path / "a.png", array))
    assert (photo.color == 1).all()


def test_floats_are_in_0_to_1(tmp_path):
    value = np.linspace(0, 1, 20, dtype=np.float32).reshape(4, 5)
    photo = read_image(save(tmp_path / "a.tif", value))
    np.testing.assert_allclose(photo.color[..., 2], value, atol=1e-7)
    with pytest.raises(ValueError, match="from 0 to 255") as error:
        read_image(save(tmp_path / "b.tif", value * 255))
    one_line(error)
    value[0, 0] = np.nan
    with pytest.raises(ValueError, match="holds NaN"):
        read_image(save(tmp_path / "c.tif", value))


def test_long_integers_are_refused(tmp_path):
    Image.fromarray(RAMP.astype(np.int32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="whose white is not known"):
        read_image(tmp_path / "a.tif")


def test_pgm_of_10_bits(tmp_path):
    """The header says what white is."""
    value = (RAMP // 64).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 5 4 1023\n" + value.tobytes())
    np.testing.assert_allclose(read_image(tmp_path / "a.pgm").color[..., 0], value / 1023, atol=1e-5)


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg"), ("LAB", "tif")])
def test_other_spaces(tmp_path, mode, suffix):
    red = {"CMYK": (0, 255, 255, 0), "YCbCr": (76, 85, 255), "LAB": (136, 208, 195)}[mode]
    Image.new(mode, (16, 16), red).save(tmp_path / f"a.{suffix}")
    color = read_image(tmp_path / f"a.{suffix}").color
    np.testing.assert_allclose(color.mean((0, 1)), [1, 0, 0], atol=0.05)


@pytest.mark.parametrize("mode", ["1", "P", "L"])
def test_few_colours(tmp_path, mode):
    array = np.repeat(colours()[..., :1] // 128 * 255, 3, 2)
    Image.fromarray(array).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png").color, array / 255, atol=1e-6)


TURNS = {  # where the stored first pixel lies in the upright picture: row from below, column from the right
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
def test_orientation(tmp_path, orientation, suffix):
    array = np.kron(colours(3, 5), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    path = save(tmp_path / f"a.{suffix}", array, exif=exif, **options)
    upright = TURNS[orientation](array)
    head = read_head(path)
    assert head.stored == (80, 48)
    assert head.upright == upright.shape[1::-1]
    assert head.turned == (orientation != 1)
    tolerance = 0.05 if suffix == "jpg" else 1e-6
    np.testing.assert_allclose(read_image(path).color, upright / 255, atol=tolerance)
    np.testing.assert_allclose(read_image(path, upright=False).color, array / 255, atol=tolerance)


@pytest.mark.parametrize("where", ["before", "after", "text"])
def test_exif_anywhere_in_a_png(tmp_path, where, monkeypatch):
    """Its size and orientation are read without decoding it."""
    array = colours(48, 64)
    exif = Image.Exif()
    exif[274] = 6
    data = save(tmp_path / "plain.png", array).read_bytes()
    block = chunk(b"eXIf", exif.tobytes()[6:])
    if where == "text":
        lines = exif.tobytes().hex()
        block = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(lines) // 2, lines.encode()))
    place = len(data) - 12 if where == "after" else 33
    (tmp_path / "a.png").write_bytes(data[:place] + block + data[place:])
    assert read_head(tmp_path / "a.png").upright == (48, 64)
    np.testing.assert_allclose(read_image(tmp_path / "a.png").color, np.rot90(array, -1) / 255, atol=1e-6)
    if where != "text":
        from PIL import ImageFile

        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
        assert read_head(tmp_path / "a.png").orientation == 6
        assert read_head(tmp_path / "plain.png").orientation == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bit_tiff(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / "a.tif", RAMP, exif=exif)
    upright = TURNS[orientation](RAMP) / 65535
    np.testing.assert_allclose(read_image(path).color[..., 0], upright, atol=1e-6)
    np.testing.assert_allclose(read_image(path, upright=False).color[..., 0], RAMP / 65535, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_reduction_cuts_the_result(tmp_path, orientation, upright, suffix, monkeypatch):
    """Blocks begin at the first pixel of the result, however it is stored; strips change nothing."""
    from scorereg.files import images

    monkeypatch.setattr(images, "_STRIP", 30)
    array = np.dstack([colours(11, 14), colours(14, 11)[..., 0].T])
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / f"a.{suffix}", array, exif=exif)
    value = (TURNS[orientation](array) if upright else array) / 255
    alpha = value[..., 3:]
    value = np.concatenate([value[..., :3] * alpha + 1 - alpha, alpha], -1)
    height, width = value.shape[0] // 3, value.shape[1] // 3
    expected = value[: height * 3, : width * 3].reshape(height, 3, width, 3, 4).mean((1, 3))
    photo = read_image(path, upright=upright, step=3)
    np.testing.assert_allclose(photo.color, expected[..., :3], atol=1e-6)
    assert photo.alpha is not None
    np.testing.assert_allclose(photo.alpha, expected[..., 3], atol=1e-6)


def test_orient_follows_the_lens(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = save(tmp_path / "a.jpg", colours(48, 64), exif=exif)
    head = read_head(path)
    assert orient(path, head, (48, 64))
    assert orient(path, head, (480, 640))
    assert not orient(path, head, (64, 48))
    assert orient(path, head, None)
    with pytest.raises(ValueError, match=r"64x48 pixels \(48x64 upright\), but its lens is for 50x50"):
        orient(path, head, (50, 50))


@pytest.mark.parametrize(("orientation", "shape"), [(3, (48, 64)), (6, (64, 64))])
def test_orient_says_what_no_size_can_tell(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / "a.jpg", colours(*shape), exif=exif)
    with pytest.warns(UserWarning, match=f"orientation {orientation}"):
        assert orient(path, read_head(path), shape[::-1])


def test_only_the_first_picture(tmp_path):
    first, second = Image.fromarray(colours()), Image.fromarray(255 - colours())
    for name in ("a.png", "a.tif", "a.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[second], lossless=True)
        with pytest.warns(UserWarning, match="several pictures; the first is read"):
            photo = read_image(tmp_path / name)
        np.testing.assert_allclose(photo.color, colours() / 255, atol=1e-6)


def test_large_pictures(tmp_path):
    """Pillow's limit of 89 (or 179) million pixels does not hold, ours does, and nobody else's setting is changed."""
    limit = Image.MAX_IMAGE_PIXELS
    path = write_blank(tmp_path / "large.png", (20000, 12800))
    with warnings.catch_warnings(action="error"):
        assert read_head(path).stored == (20000, 12800)
    too_large = write_blank(tmp_path / "larger.png", (20000, 12801))
    for read in (read_head, read_image):
        with pytest.raises(ValueError, match="20000x12801 pixels; pictures of up to 256 megapixels") as error:
            read(too_large)
        one_line(error)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.slow
def test_200_megapixels_reduced_in_strips(tmp_path):
    import resource

    path = write_blank(tmp_path / "large.png", (16320, 12240))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    photo = read_image(path, step=60)
    assert photo.color.shape == (204, 272, 3)
    assert (photo.color == 1).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 450_000  # kB; the pixels have 200 MB


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>not found</html>", "it is a web page"),
        (b"\n<svg xmlns='x'/>", r"a drawing \(SVG\)"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x18ftypisom" + bytes(30), "a film"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"hello", "its format is not known"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "truncated or corrupt"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera RAW"),
    ],
)
def test_what_is_no_picture(tmp_path, content, words):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_head, read_image):
        with pytest.raises(ValueError, match=words) as error:
            read(path)
        assert str(path) in one_line(error)


@pytest.mark.parametrize("name", ["a.dng", "a.NEF", "a.cr2", "a.arw"])
def test_raw_is_developed_first(tmp_path, name):
    Image.fromarray(colours()).save(tmp_path / "preview.tif")  # such files begin as TIFF does
    (tmp_path / "preview.tif").rename(tmp_path / name)
    with pytest.raises(ValueError, match="camera RAW.*Develop it"):
        read_image(tmp_path / name)


def test_a_dng_called_tiff(tmp_path):
    path = write_tiff(tmp_path / "a.tif", RAMP, {258: (16,), 262: (1,), 277: (1,), 50706: (1, 4)})
    with pytest.raises(ValueError, match="camera RAW"):
        read_image(path)


def test_the_name_does_not_matter(tmp_path):
    save(tmp_path / "a.jpg", colours()).rename(tmp_path / "b.png")
    assert read_head(tmp_path / "b.png").kind == "jpeg"
    assert read_image(tmp_path / "b.png").color.shape == (8, 12, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_truncated(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}", colours(64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="truncated or corrupt") as error:
        read_image(path)
    assert str(path) in one_line(error)


def test_flipped_bits_of_png_are_found(tmp_path):
    """Stored blocks of deflate hold pixels as they are: only the checksum knows."""
    path = save(tmp_path / "a.png", colours(64, 64), compress_level=0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    with pytest.raises(ValueError, match="a checksum is wrong"):
        read_image(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.png is missing"):
        read_image(tmp_path / "none.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match="a link to a file that is not there"):
        read_head(tmp_path / "link.png")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_image(tmp_path)


def test_the_photos_of_a_folder(tmp_path):
    for name in ("b.JPG", "a.png", "._a.png", ".hidden.png", "Thumbs.db", "notes.txt", "c.HEIC"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.HEIC"]


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="pip install 'scorereg[formats]'")
    array = np.kron(colours(3, 5), np.ones((16, 16, 1), np.uint8))
    heif.from_pillow(Image.fromarray(array)).save(tmp_path / "a.heic", quality=100)
    head = read_head(tmp_path / "a.heic")
    assert (head.kind, head.stored, head.turned) == ("heif", (80, 48), False)
    assert np.abs(read_image(tmp_path / "a.heic").color - array / 255).mean() < 0.03
    (tmp_path / "a.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:300])
    with pytest.raises(ValueError, match="truncated or corrupt"):
        read_image(tmp_path / "a.heic")


def test_a_turned_heic_is_upright(tmp_path):
    """The decoder turns it, so EXIF's word does not count again."""
    heif = pytest.importorskip("pillow_heif", reason="pip install 'scorereg[formats]'")
    array = np.kron(colours(3, 5), np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    picture = heif.from_pillow(Image.fromarray(array))
    picture.info["exif"] = exif.tobytes()
    picture.save(tmp_path / "a.heic", quality=100)
    assert read_head(tmp_path / "a.heic").upright == (48, 80)
    color = read_image(tmp_path / "a.heic").color
    assert np.abs(color - np.rot90(array, -1) / 255).mean() < 0.03


@pytest.mark.parametrize(
    ("package", "start"), [("pillow_heif", b"\0\0\0\x18ftypheic"), ("OpenEXR", b"\x76\x2f\x31\x01")]
)
def test_what_to_install(tmp_path, monkeypatch, package, start):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    (tmp_path / "a").write_bytes(start + bytes(50))
    for read in (read_head, read_image):
        with pytest.raises(ValueError, match=r"pip install 'scorereg\[formats\]'") as error:
            read(tmp_path / "a")
        one_line(error)
