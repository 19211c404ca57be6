"""Poses of photos: copies, progress, what is written, what is refused; and the whole on a small textured room."""

import _thread
import json
import signal
import sys
import time

import numpy as np
import pytest
from PIL import Image

from scorereg._progress import steps, told
from scorereg.files.layouts.colmap_files import Camera, Picture
from scorereg.files.layouts.transforms import read_transforms
from scorereg.poses import find_poses
from scorereg.poses.photos import copy_photos, heads_of
from scorereg.poses.waiting import interruptible
from scorereg.poses.write import POINTS, write_points, write_transforms
from scorereg.scenes.ply import read_ply
from tests.files.truth import check, photo, poses, quaternion, rotation, world_to_camera

SIDE = (240, 180)


def test_copies_are_upright_small_and_plain(tmp_path):
    """Bytes are kept where they can be; a photo on its side is turned, a large one reduced by a whole factor."""
    source, target = tmp_path / "photos", tmp_path / "out"
    target.mkdir()
    photo(source / "a.png", 0, (100, 80))
    photo(source / "b.JPG", 1, (100, 80))
    turned = Image.new("RGB", (100, 80), "red")
    turned.paste("blue", (0, 0, 50, 80))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned.save(source / "c.jpg", exif=exif)
    photo(source / "c.png", 2, (300, 200))
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    copies = copy_photos(heads_of(source), target, max_size=150)
    assert copies.names == {"a.png": "a.png", "b.JPG": "b.JPG", "c.jpg": "c_jpg.png", "c.png": "c.png"}
    assert copies.sizes == {"a.png": (100, 80), "b.JPG": (100, 80), "c_jpg.png": (80, 100), "c.png": (150, 100)}
    assert (target / "a.png").read_bytes() == before["a.png"]
    assert (target / "b.JPG").read_bytes() == before["b.JPG"]
    red, _, blue = Image.open(target / "c_jpg.png").getpixel((40, 10))
    assert blue > 200 > 50 > red  # its left is the top now
    full = np.asarray(Image.open(source / "c.png"), np.float32)
    means = full.reshape(100, 2, 150, 2, 3).mean((1, 3))
    assert np.abs(np.asarray(Image.open(target / "c.png"), np.float32) - means).max() <= 0.51
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


def test_errors_come_through_and_ctrl_c_stops_the_work():
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 / 0, lambda: None)
    ended = []

    def work():
        _thread.interrupt_main()
        while "stop" not in ended:
            time.sleep(0.01)
        time.sleep(0.2)
        ended.append("end")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            interruptible(work, lambda: ended.append("stop"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == ["stop", "end"], "it is waited for"


def test_progress_of_the_work_in_the_thread_is_heard(monkeypatch):
    monkeypatch.setattr("scorereg._progress.EVERY", 0.2)
    said = []

    def work():
        for _ in steps("photos", range(3)):
            time.sleep(0.2)
        return 7

    with told(said.append):
        assert interruptible(work, lambda: None) == 7
    assert any(line.startswith("photos: ") for line in said)


@pytest.mark.parametrize(
    ("model", "parameters", "kind"),
    [
        ("SIMPLE_RADIAL", (30.0, 12.0, 8.0, 0.1), "brown"),
        ("OPENCV_FISHEYE", (30.0, 29.0, 12.7, 7.6, 0.1, 0.2, 0.3, 0.4), "fisheye"),
        ("FULL_OPENCV", (30.0, 29.0, 12.7, 7.6, 0.1, 0.2, 0.01, 0.02, 0.3, 0.4, 0.5, 0.6), "brown"),
        ("PINHOLE", (30.0, 29.0, 12.7, 7.6), "pinhole"),
    ],
)
def test_what_is_written_is_read_back(tmp_path, model, parameters, kind):
    pictures = []
    for i, pose in enumerate(poses()):
        photo(tmp_path / "images" / f"{i}.png", i)
        back = world_to_camera(pose)
        pictures.append(Picture(f"{i}.png", 7, tuple(quaternion(back[:3, :3])), tuple(back[:3, 3])))
    camera = Camera(model, (24, 16), parameters)
    write_transforms(tmp_path / "transforms.json", pictures, {7: camera}, "images")
    points = np.arange(30.0).reshape(10, 3)
    write_points(tmp_path / POINTS, points)
    listing = read_transforms(tmp_path)
    assert listing.said == ()
    if kind == "pinhole":
        check(listing)
    for view, pose in zip(listing.views, poses(), strict=True):
        np.testing.assert_allclose(view.matrix, pose, atol=1e-9)
        assert view.lens.model == kind
        assert view.lens.distortion == camera.lens(tmp_path).distortion
        assert view.lens.size == (24, 16)
    np.testing.assert_allclose(np.asarray(read_ply(listing.points)), points)


def test_photos_of_several_sizes_have_their_own_lens(tmp_path):
    pictures = [Picture(f"{name}.png", i, (1.0, 0.0, 0.0, 0.0), (0.0,) * 3) for i, name in enumerate("ab")]
    lenses = {0: ((24, 16), (30.0, 29.0, 12.0, 8.0)), 1: ((8, 4), (9.0, 9.0, 4.0, 2.0))}
    cameras = {number: Camera("PINHOLE", *lens) for number, lens in lenses.items()}
    write_transforms(tmp_path / "transforms.json", pictures, cameras, "images")
    table = json.loads((tmp_path / "transforms.json").read_text())
    assert "fl_x" not in table
    assert [frame["w"] for frame in table["frames"]] == [24, 8]


@pytest.fixture
def four(tmp_path):
    for i in range(4):
        photo(tmp_path / "photos" / f"{i}.png", i, (64, 64))
    return tmp_path / "photos"


REFUSED = {
    "no folder": (lambda p, o: (p / "none", o, {}), r"none is no folder"),
    "one photo": (
        lambda p, o: ([(p / f"{i}.png").unlink() for i in range(3)] and p, o, {}),
        r"holds 1 photos. Poses need",
    ),
    "no photo": (lambda p, o: (p.parent, o, {}), r"holds no photos. Poses need at least two; name their own folder"),
    "no picture": (
        lambda p, o: ((p / "4.png").write_bytes(b"hello") and p, o, {}),
        r"4.png cannot be read as an image",
    ),
    "same folder": (lambda p, o: (p, p, {}), r"photos is the folder of the photos, which is left as it is"),
    "scene there": (
        lambda p, o: (o.mkdir(), (o / "transforms.json").touch(), (p, o, {}))[-1],
        r"nothing is overwritten",
    ),
    "photos there": (lambda p, o: ((o / "images").mkdir(parents=True), (p, o, {}))[-1], r"images is there already"),
    "camera": (lambda p, o: (p, o, {"camera": "FOV"}), r"--camera must be one of SIMPLE_PINHOLE, .* but is 'FOV'"),
    "matching": (lambda p, o: (p, o, {"matching": "none"}), r"--match must be one of all, order, but is 'none'"),
    "size": (lambda p, o: (p, o, {"max_size": 10}), r"--max-size must be at least 64 pixels, but is 10"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_one_line(four, tmp_path, name):
    make, says = REFUSED[name]
    photos, out, options = make(four, tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ValueError, OSError), match=says) as error:
        find_poses(photos, out, **options)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_without_pycolmap_the_extra_is_named(four, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ValueError, match=r"poses are found by pycolmap: pip install 'scorereg\[colmap\]'"):
        find_poses(four, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_photos_that_share_nothing_are_one_line_of_the_command(four, tmp_path, capsys, monkeypatch):
    pytest.importorskip("pycolmap", reason="pip install 'scorereg[colmap]'")
    from scorereg.cli import main

    monkeypatch.setattr(sys, "argv", ["scorereg", "poses", str(four), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("scorereg: no two of the 4 photos could be placed: the best pair has 0 matches")
    assert "60 to 80 % overlap" in said[-1]
    assert not (tmp_path / "out").exists()


def texture(seed):
    """Noise of all sizes, 512x512."""
    generator = np.random.default_rng(seed)
    total = np.zeros((512, 512))
    for size in (8, 32, 128, 512):
        part = Image.fromarray(generator.random((size, size)).astype(np.float32)).resize((512, 512), Image.BICUBIC)
        total += np.asarray(part) * (1 if size < 512 else 0.4)
    return (total - total.min()) / np.ptp(total)


def room(pose, focal):
    """A photo of a floor, a ceiling and three walls, four samples a pixel."""
    width, height = 2 * SIDE[0], 2 * SIDE[1]
    v, u = np.mgrid[0:height, 0:width] + 0.5
    rays = (
        np.stack([(u - width / 2) / (2 * focal), (v - height / 2) / (2 * focal), np.ones_like(u)], -1) @ pose[:, :3].T
    )
    nearest, shade = np.full(u.shape, np.inf), np.zeros(u.shape)
    for seed, (axis, place) in enumerate(((1, 1.5), (1, -1.5), (2, 5.0), (0, 2.5), (0, -2.5))):
        with np.errstate(divide="ignore"):
            distance = (place - pose[axis, 3]) / rays[..., axis]
        x, y = ((pose[k, 3] + distance * rays[..., k]) * 100 % 512 for k in range(3) if k != axis)
        hit = (distance > 0) & (distance < nearest)
        x, y = (np.where(np.isfinite(part), part, 0).astype(int) % 512 for part in (x, y))
        shade, nearest = np.where(hit, texture(seed)[y, x], shade), np.where(hit, distance, nearest)
    small = shade.reshape(SIDE[1], 2, SIDE[0], 2).mean((1, 3))
    return Image.fromarray((255 * small).round().astype(np.uint8)).convert("RGB")


@pytest.mark.slow
def test_poses_of_a_textured_room_are_found(tmp_path, capsys):
    """Up to a similarity, as photos alone tell no scale: places within 1 % of their extent, and half a degree."""
    pytest.importorskip("pycolmap", reason="pip install 'scorereg[colmap]'")
    from scorereg.scenes import load_scene

    truth = {}
    (tmp_path / "photos").mkdir()
    for i in range(8):
        turn = rotation((0.1, 1, 0), 0.08 * (i - 3.5)) @ rotation((1, 0, 0), 0.05 * (-1) ** i)
        truth[f"{i}.png"] = np.concatenate([turn, [[0.25 * (i - 3.5)], [0.2 * (i % 3 - 1)], [0.1 * i]]], 1)
        room(truth[f"{i}.png"], 200.0).save(tmp_path / "photos" / f"{i}.png")
    photo(tmp_path / "photos" / "other.png", 5, SIDE)
    lines = []
    found = find_poses(tmp_path / "photos", tmp_path / "scene", say=lines.append)
    assert found.posed == tuple(truth)
    assert list(found.lost) == ["other.png"]
    assert "1 photos have no pose and are no part of the scene: other.png (" in found.advice()
    assert any(line.startswith("matches of 36 pairs") for line in lines)
    assert sorted(path.name for path in (tmp_path / "scene").iterdir()) == ["images", POINTS, "transforms.json"]
    views = read_transforms(tmp_path / "scene").views
    ours, theirs = np.stack([view.matrix for view in views]), np.stack(list(truth.values()))
    a, b = ours[:, :, 3] - ours[:, :, 3].mean(0), theirs[:, :, 3] - theirs[:, :, 3].mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.linalg.det(u @ v)])
    turn, scale = u @ sign @ v, (s * np.diag(sign)).sum() / (a**2).sum()
    assert np.linalg.norm(scale * a @ turn.T - b, axis=1).max() < 0.01 * np.ptp(b)
    cosine = [(np.trace((turn @ one[:, :3]).T @ two[:, :3]) - 1) / 2 for one, two in zip(ours, theirs, strict=True)]
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5
    assert views[0].lens.focal[0] == pytest.approx(200, rel=0.02)
    assert load_scene(tmp_path / "scene", views=3).images.shape == (8, SIDE[1], SIDE[0], 3)
