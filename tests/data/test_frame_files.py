"""Frames to train on, made of any files: sizes, units, lenses and orientations that differ, and what is refused."""

import re
import warnings

import numpy as np
import pytest
from PIL import Image

from scorereg.data import PatchSpec
from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.frames import Frame, load_pyramid, read_frame
from scorereg.data.frames.frame import frame_of
from scorereg.files import Lens, View

WIDTH, HEIGHT = 24, 16
PINHOLE = Lens((30.0, 32.0), size=(24.0, 16.0))


def photo(path, width=WIDTH, height=HEIGHT, **options):
    array = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(array).save(path, **options)
    return array


def depth(path, width=WIDTH, height=HEIGHT):
    array = (1000 + np.arange(width * height).reshape(height, width)).astype(np.uint16)
    Image.fromarray(array).save(path)
    return array


@pytest.fixture
def view(tmp_path):
    photo(tmp_path / "a.png")
    depth(tmp_path / "a.depth.png")
    return View(tmp_path / "a.png", tmp_path / "a.depth.png", lens=PINHOLE)


def test_a_plain_view(view):
    frame = frame_of(view, "s/a")
    assert frame == Frame("s/a", view.color, view.depth, (30.0, 32.0))
    planes = read_frame(frame)
    assert np.array_equal(planes.color, np.asarray(Image.open(view.color)).astype(np.float32)), "whole numbers"
    np.testing.assert_allclose(planes.metres, np.asarray(Image.open(view.depth)) / 1000, rtol=1e-6)


def test_the_representation_is_that_of_older_shards(view):
    """Shards are kept as long as their frames read the same."""
    frame = frame_of(view, "s/a")
    assert repr(frame) == (
        f"Frame(scene='s/a', color={view.color!r}, depth={view.depth!r}, focal=(30.0, 32.0), unit=0.001, maps=(), "
        "lens=None, split=None, resize=False, shared=False)"
    )
    turned = Frame("s/a", view.color, view.depth, (30.0, 32.0), upright=False)
    assert repr(turned) == repr(frame)[:-1] + ", upright=False)"


def test_a_lens_for_another_size(view):
    lens = Lens((120.0, 128.0), size=(96.0, 64.0))
    assert frame_of(View(view.color, view.depth, lens=lens), "s").focal == (30.0, 32.0)
    with pytest.raises(ValueError, match="a.png has 24x16 pixels, but its lens is for 96x96, of other proportions"):
        frame_of(View(view.color, lens=Lens((1.0, 1.0), size=(96.0, 96.0))), "s")
    with pytest.raises(ValueError, match=r"a.depth.png has 24x16 pixels, but its lens is for 96x96"):
        frame_of(View(None, view.depth, lens=Lens((1.0, 1.0), size=(96.0, 96.0))), "s", ("depth",))


@pytest.mark.parametrize("lens", [PINHOLE, Lens((30.0, 32.0))])
def test_the_photo_is_reduced_to_a_smaller_depth_map(view, lens):
    small = depth(view.depth, 12, 8)
    frame = frame_of(View(view.color, view.depth, lens=lens), "s")
    assert frame.focal == (15.0, 16.0)
    planes = read_frame(frame)
    np.testing.assert_allclose(planes.metres, small / 1000, rtol=1e-6)
    whole = np.asarray(Image.open(view.color)).astype(np.float64)
    np.testing.assert_allclose(planes.color, whole.reshape(8, 2, 12, 2, 3).mean((1, 3)), atol=1e-3)
    assert frame_of(View(view.color, view.depth, lens=lens), "s", ("color",)).focal == (30.0, 32.0), "without depth"
    assert read_frame(frame_of(View(view.color, view.depth, lens=lens), "s", ("color",)), ("color",)).size == (16, 24)
    alone = frame_of(View(view.color, view.depth, lens=lens), "s", ("depth",))
    assert alone.focal == (15.0, 16.0)
    assert read_frame(alone, ("depth",)).size == (8, 12)


def test_a_larger_depth_map_gives_its_nearest_pixels(view):
    large = depth(view.depth, 72, 48)
    planes = read_frame(frame_of(view, "s"))
    assert frame_of(view, "s").focal == (30.0, 32.0)
    np.testing.assert_allclose(planes.metres, large[1::3, 1::3] / 1000, rtol=1e-6)


def test_the_lens_of_the_depth_map(view):
    """ScanNet's photos are reduced to the depth maps also where depth is not read."""
    depth(view.depth, 12, 8)
    given = View(view.color, view.depth, lens=Lens((7.0, 8.0)), resize=True)
    for maps in (("color", "depth"), ("color",)):
        frame = frame_of(given, "s", maps)
        assert frame.focal == (7.0, 8.0)
        assert read_frame(frame, maps).size == (8, 12)


def test_depth_of_other_proportions_is_refused(view):
    depth(view.depth, 16, 16)
    with pytest.raises(ValueError, match="a.png has 24x16 pixels, but its depth map 16x16, of other proportions"):
        frame_of(view, "s")


def test_maps_follow_the_photo(tmp_path, view):
    depth(view.depth, 12, 8)
    np.save(tmp_path / "flow.npy", np.full((16, 24, 2), 0.5, np.float32))
    value = np.full((16, 24, 3), 0.25, np.float32)
    value[:2, :2] = np.nan
    np.save(tmp_path / "normal.npy", value)
    maps = ("flow", tmp_path / "flow.npy"), ("normal", tmp_path / "normal.npy")
    planes = read_frame(frame_of(View(view.color, view.depth, maps=maps), "s"), ("color", "depth", "flow", "normal"))
    assert (planes.maps["flow"] == 0.5).all()
    assert np.argwhere(np.isnan(planes.maps["normal"])).tolist() == [[0, 0, k] for k in range(3)]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((16, 24), 255, np.uint8), 1.0),
        (np.full((16, 24), 32768, np.uint16), 2 * 32768 / 65535 - 1),
        (np.full((16, 24), 0.125, np.float32), 0.125),
        (np.full((16, 24, 3), 51, np.uint8), -0.6),
    ],
)
def test_maps_of_pictures(tmp_path, view, image, expected):
    Image.fromarray(image).save(tmp_path / "m.tif")
    frame = frame_of(View(view.color, maps=(("m", tmp_path / "m.tif"),)), "s")
    np.testing.assert_allclose(read_frame(frame, ("m",)).maps["m"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["npy", "npz", "tif", "exr", "pfm"])
def test_depth_of_any_kind(tmp_path, view, kind):
    value = np.full((HEIGHT, WIDTH), 2.5, np.float32)
    value[0, :4] = np.inf, np.nan, 0, -1
    path = tmp_path / f"d.{kind}"
    if kind == "npy":
        np.save(path, value)
    elif kind == "npz":
        np.savez(path, depth=value)
    elif kind == "tif":
        Image.fromarray(value).save(path)
    elif kind == "pfm":
        path.write_bytes(b"Pf\n24 16\n-1\n" + value[::-1].astype("<f4").tobytes())
    else:
        openexr = pytest.importorskip("OpenEXR", reason="pip install 'scorereg[formats]'")
        with openexr.File({"type": openexr.scanlineimage}, {"Z": value}) as file:
            file.write(str(path))
    metres = read_frame(frame_of(View(view.color, path, lens=PINHOLE, unit=1.0), "s")).metres
    assert np.isnan(metres[0, :4]).all()
    assert np.isfinite(metres).sum() == HEIGHT * WIDTH - 4
    assert np.nanmax(metres) == np.nanmin(metres) == 2.5


def test_no_depth_at_all(view):
    Image.fromarray(np.full((HEIGHT, WIDTH), 65535, np.uint16)).save(view.depth)
    with pytest.raises(ValueError, match="a.depth.png has no depth at all.*Leave the frame out"):
        read_frame(frame_of(view, "s"))


def test_transparency_lies_on_white(tmp_path):
    rgba = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    rgba[..., 0] = 255
    rgba[:8, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    color = read_frame(frame_of(View(tmp_path / "a.png"), "s"), ("color",)).color
    assert (color[:8] == [255, 0, 0]).all()
    assert (color[8:] == 255).all()


@pytest.mark.parametrize(("size", "upright"), [((16.0, 24.0), True), ((24.0, 16.0), False), (None, True)])
def test_the_lens_decides_on_exif(tmp_path, size, upright):
    exif = Image.Exif()
    exif[274] = 6
    array = photo(tmp_path / "a.png", exif=exif)
    frame = frame_of(View(tmp_path / "a.png", lens=Lens((30.0, 30.0), size=size)), "s")
    assert frame.focal == (30.0, 30.0)
    expected = np.rot90(array, -1) if upright else array
    assert np.array_equal(read_frame(frame, ("color",)).color, expected)


def test_the_depth_map_says_which_side_is_up(tmp_path):
    exif = Image.Exif()
    exif[274] = 8
    array = photo(tmp_path / "a.png", exif=exif)
    for width, height, upright in ((24, 16, False), (16, 24, True)):
        depth(tmp_path / "a.depth.png", width, height)
        frame = frame_of(View(tmp_path / "a.png", tmp_path / "a.depth.png"), "s")
        assert np.array_equal(read_frame(frame).color, np.rot90(array, 1) if upright else array)


def test_a_photo_on_its_head_is_turned_without_a_word(tmp_path):
    """What a prior learns does not depend on a pose."""
    exif = Image.Exif()
    exif[274] = 3
    array = photo(tmp_path / "a.png", exif=exif)
    with warnings.catch_warnings(action="error"):
        frame = frame_of(View(tmp_path / "a.png", lens=PINHOLE), "s")
    assert np.array_equal(read_frame(frame, ("color",)).color, array[::-1, ::-1])


def bent_view(tmp_path, k1, model="brown"):
    """A ramp of colours and depth, each a function of the ray, as a bent lens shows it."""
    height, width, focal = 60, 80, 60.0
    y, x = np.mgrid[0:height, 0:width]
    u, v = (x + 0.5 - width / 2) / focal, (y + 0.5 - height / 2) / focal
    radius, straight = np.hypot(u, v), np.linspace(0, 3, 20001)
    shown = straight * (1 + k1 * straight**2) if model == "brown" else np.arctan(straight)
    until = len(shown) if (np.diff(shown) > 0).all() else int((np.diff(shown) > 0).argmin())
    factor = np.interp(radius, shown[:until], straight[:until]) / np.maximum(radius, 1e-9)
    u, v = u * factor, v * factor
    color = np.stack([128 + 60 * u, 128 + 60 * v, 0 * u], -1).clip(0, 255).round().astype(np.uint8)
    Image.fromarray(color).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", (3 + u + v).astype(np.float32))
    lens = Lens((focal, focal), distortion=(k1, 0.0, 0.0, 0.0, 0.0) if model == "brown" else (), model=model)
    return View(tmp_path / "a.png", tmp_path / "a.npy", lens=lens, unit=1.0)


@pytest.mark.parametrize(("k1", "model"), [(-0.1, "brown"), (0.3, "brown"), (0.0, "fisheye")])
def test_bent_lenses_are_straightened(tmp_path, k1, model):
    planes = read_frame(frame_of(bent_view(tmp_path, k1, model), "s"))
    rows, columns = planes.size
    y, x = np.mgrid[0:rows, 0:columns]
    u, v = (x + 0.5 - columns / 2) / 60, (y + 0.5 - rows / 2) / 60
    assert (planes.size == (60, 80)) == (k1 <= 0), "a pinhole shows more than a lens of positive k1"
    assert planes.size >= (40, 50)
    np.testing.assert_allclose(planes.color[..., 0], 128 + 60 * u, atol=1.5)
    np.testing.assert_allclose(planes.color[..., 1], 128 + 60 * v, atol=1.5)
    known = np.isfinite(planes.metres)
    assert known.mean() > 0.99
    np.testing.assert_allclose(planes.metres[known], (3 + u + v)[known], atol=0.04)


def test_a_bent_depth_map_alone_has_unknown_sides(tmp_path):
    view = bent_view(tmp_path, 0.3)
    planes = read_frame(frame_of(View(None, view.depth, lens=view.lens, unit=1.0), "s", ("depth",)), ("depth",))
    assert planes.size == (60, 80)
    assert 0.05 < np.isnan(planes.metres).mean() < 0.5
    assert np.isfinite(planes.metres[20:40, 20:60]).all()


def test_a_bent_photo_and_a_smaller_depth_map(tmp_path):
    view = bent_view(tmp_path, 0.3)
    np.save(view.depth, np.load(view.depth)[::2, ::2])
    frame = frame_of(view, "s")
    assert frame.focal == (30.0, 30.0)
    planes = read_frame(frame)
    assert planes.color.shape[:2] == planes.metres.shape
    whole = read_frame(frame_of(view, "s", ("color",)), ("color",))
    assert np.abs(np.array(planes.size) * 2 - whole.size).max() <= 2


def test_a_lens_that_shows_hardly_anything(tmp_path):
    view = bent_view(tmp_path, 20.0)
    with pytest.raises(ValueError, match=r"the lens of .*a.png shows less than half"):
        read_frame(frame_of(view, "s"))


def test_damaged_files_are_reported_when_they_are_read(tmp_path, view):
    frames = [frame_of(view, "s")] * 150
    for name, content in (("b.png", b"<html>"), ("c.png", view.color.read_bytes()[:60])):
        (tmp_path / name).write_bytes(content)
    broken = frame_of(View(tmp_path / "b.png", view.depth, lens=PINHOLE), "s")
    spec = PatchSpec(8, focal=(30.0, 30.0))
    with pytest.raises(ValueError, match="b.png is no picture: it is a web page"):
        load_pyramid([*frames, broken], spec)
    bad = BadFrames(ReadOptions(skip_bad=True))
    load_pyramid([*frames, broken], spec, bad=bad)
    assert len(bad.messages) == 1
    bad.check(151)
    other = frame_of(View(tmp_path / "c.png", view.depth, lens=PINHOLE), "s")
    load_pyramid([*frames, other], spec, bad=bad)
    with pytest.raises(ValueError, match="2 of 151 frames cannot be used"):
        bad.check(151)


def test_warnings_of_a_kind_are_said_once(tmp_path):
    frames = []
    for i in range(3):
        Image.fromarray(np.full((16, 16), 100 + i, np.uint16)).save(tmp_path / f"{i}.png")
        frames.append(frame_of(View(tmp_path / f"{i}.png", lens=Lens((30.0, 30.0))), "s"))
    with pytest.warns(UserWarning, match="16 bits") as heard:
        load_pyramid(frames, PatchSpec(8, "rgb", focal=(30.0, 30.0)))
    (only,) = heard
    assert re.search(
        r"0.png has 16 bits, but its brightest pixel is 100 of 65535.*\(2 files more alike\)$", str(only.message)
    )
