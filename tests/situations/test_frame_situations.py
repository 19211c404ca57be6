"""Folders of frames as people have them, read for training: colours, metres and focal lengths, or one clear line."""

import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from scorereg.data import ReadOptions
from scorereg.data.bad_frames import BadFrames
from scorereg.data.frames import find_frames, read_frame
from tests.situations import room
from tests.situations.room import FOCAL, HEIGHT, WIDTH

RGB, RGBD = ("r", "g", "b"), ("r", "g", "b", "disparity")
SHOTS = [room.photo(pose) for pose in room.POSES]


def png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def millimetres(depth):
    return (1000 * depth).round().astype(np.uint16)


def pairs(folder, *, count=6, color=lambda path, i: png(path, SHOTS[i][0]), suffix=".png", depth=None):
    """`rgb/` and `depth/` with intrinsics.json."""
    for i in range(count):
        (folder / "rgb").mkdir(parents=True, exist_ok=True)
        (folder / "depth").mkdir(exist_ok=True)
        color(folder / f"rgb/{i}.png", i)
        (depth or (lambda p, d: png(p, millimetres(d))))(folder / f"depth/{i}{suffix}", SHOTS[i][1])
    meta = {"fl_x": FOCAL, "fl_y": FOCAL, "depth_unit_scale_factor": 0.001 if depth is None else 1.0}
    (folder / "intrinsics.json").write_text(json.dumps(meta))
    return folder


def listed(folder, *, table=None, frame=None, lens=None, photo=None, **more):
    """transforms.json with depth."""
    entries = []
    for i in range(6):
        color = SHOTS[i][0] if lens is None else room.photo(room.POSES[i], lens=lens)[0]
        (photo or png)(folder / f"{i}.png", color)
        png(folder / f"{i}.depth.png", millimetres(SHOTS[i][1]))
        entries.append({"file_path": f"{i}.png", "depth_file_path": f"{i}.depth.png",
                        "transform_matrix": room.opengl(room.POSES[i]), **(frame or {})})  # fmt: skip
    head = {"fl_x": FOCAL, "fl_y": FOCAL, "w": WIDTH, "h": HEIGHT} if table is None else table
    (folder / "transforms.json").write_text(json.dumps({**head, **more, "frames": entries}))
    return folder


def check(folder, channels=RGBD, *, count=6, focal=FOCAL, said=None, step=1, color=True):
    """Every frame is one of the room's photos, with its depth and focal length, `step` times reduced."""
    bad = BadFrames(ReadOptions())
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        frames = find_frames([folder], channels=channels, bad=bad)
        shots = [read_frame(frame) for frame in frames]
    lines = [str(w.message) for w in heard] + bad.left_out
    assert any(said in line for line in lines) if said else not lines, lines
    assert len(frames) == count
    seen = set()
    for frame, planes in zip(frames, shots, strict=True):
        gaps = [np.abs(_reduced(c.astype(float), step) - planes.color).mean() for c, _ in SHOTS] if color else [0]
        best = int(np.argmin(gaps)) if color else int(frame.file.stem.split(".")[0])
        seen.add(best)
        assert gaps[best if color else 0] < 3
        if "disparity" in channels:
            truth = SHOTS[best][1][step // 2 :: step, step // 2 :: step]
            gap = np.abs(planes.metres / truth - 1)
            assert np.nanmedian(gap) < 2e-3
            assert np.isnan(planes.metres).mean() < 0.5
        if focal is None:
            assert frame.focal is None
        else:
            assert frame.focal == pytest.approx((focal, focal), rel=1e-3)
    assert len(seen) == count
    return shots


def _reduced(image, step):
    return image.reshape(HEIGHT // step, step, WIDTH // step, step, 3).mean((1, 3))


def test_plain_layouts(tmp_path):
    check(pairs(tmp_path / "a"))
    check(listed(tmp_path / "b"))


def test_transparent_pixels_are_white(tmp_path):
    def cutout(path, i):
        alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        alpha[:30] = 0
        return png(path, np.concatenate([SHOTS[i][0], alpha], -1))

    pairs(tmp_path, color=cutout)
    for frame in find_frames([tmp_path], channels=RGBD):
        planes = read_frame(frame)
        assert (planes.color[:30] == 255).all()
        assert np.abs(planes.color[30:] - SHOTS[int(frame.file.stem)][0][30:]).max() <= 1


def test_photos_of_a_replica_folder(tmp_path):
    for i in range(6):
        png(tmp_path / f"room0/results/frame{i:06}.jpg", SHOTS[i][0])
        png(tmp_path / f"room0/results/depth{i:06}.png", (6553.5 * SHOTS[i][1]).round().astype(np.uint16))
    frames = find_frames([tmp_path], channels=RGB)
    assert [frame.color.name for frame in frames] == [f"frame{i:06}.jpg" for i in range(6)]


@pytest.mark.parametrize("name", ["{}_depth.png", "{}_mask.png", "masks/{}.png", "normals/{}.png", "{}.depth.png"])
def test_what_is_no_photo_is_left_out_with_a_word(name, tmp_path):
    for i in range(6):
        png(tmp_path / f"{i}.png", SHOTS[i][0])
        png(tmp_path / name.format(i), millimetres(SHOTS[i][1]) if "depth" in name else SHOTS[i][0])
    check(tmp_path, RGB, focal=None, said="6")


def test_a_folder_of_grey_photos_of_16_bits_is_photos(tmp_path):
    for i in range(6):
        png(tmp_path / f"{i}.png", (SHOTS[i][0] @ [0.299, 0.587, 0.114] * 257).astype(np.uint16))
    frames = find_frames([tmp_path], channels=RGB)
    assert len(frames) == 6
    for frame in frames:
        color = read_frame(frame).color
        assert 60 < color.mean() < 180
        assert color.std() > 20


def test_a_lens_of_the_full_size(tmp_path):
    table = {"fl_x": 4 * FOCAL, "fl_y": 4 * FOCAL, "w": 4 * WIDTH, "h": 4 * HEIGHT}
    check(listed(tmp_path, table=table))


def test_blenders_keys(tmp_path):
    angle = 2 * np.arctan(WIDTH / 2 / FOCAL)
    listed(tmp_path, table={"camera_angle_x": angle})
    text = (tmp_path / "transforms.json").read_text()
    for i in range(6):
        text = text.replace(f'"file_path": "{i}.png"', f'"file_path": "./{i}"')
    (tmp_path / "transforms.json").write_bytes(b"\xef\xbb\xbf" + text.replace(", ", ",\r\n").encode())
    check(tmp_path)


def test_links_are_followed_once(tmp_path):
    pairs(tmp_path / "elsewhere/one", count=6)
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "one").symlink_to(tmp_path / "elsewhere/one")
    (data / "deep/again").symlink_to(tmp_path / "elsewhere/one")
    (data / "deep/round").symlink_to(data)
    assert len(find_frames([data], channels=RGBD)) == 6
    check(data)


def test_linked_photos(tmp_path):
    pairs(tmp_path / "a")
    (tmp_path / "b/rgb").mkdir(parents=True)
    (tmp_path / "b/depth").mkdir()
    shutil.copy(tmp_path / "a/intrinsics.json", tmp_path / "b")
    for path in (tmp_path / "a").rglob("*.png"):
        (tmp_path / "b" / path.relative_to(tmp_path / "a")).symlink_to(path)
    check(tmp_path / "b")


def test_files_of_other_systems_are_left_out(tmp_path):
    pairs(tmp_path)
    for name in ("rgb/._0.png", "depth/._0.png", "rgb/.0.png", "rgb/Thumbs.db", "._intrinsics.json"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    png(tmp_path / "__MACOSX/rgb/._0.png", SHOTS[0][0])
    check(tmp_path)


def test_capital_suffixes(tmp_path):
    pairs(tmp_path)
    for path in [*(tmp_path / "rgb").iterdir(), *(tmp_path / "depth").iterdir()]:
        path.rename(path.with_suffix(".PNG"))
    check(tmp_path)


def _tiff(path, depth):
    Image.fromarray(depth.astype(np.float32)).save(path)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".npy", lambda p, d: np.save(p, d.astype(np.float32))),
        (".npz", lambda p, d: np.savez(p, depth=d)),
        (".tiff", _tiff),
    ],
)
def test_depth_of_other_kinds(suffix, write, tmp_path):
    check(pairs(tmp_path, suffix=suffix, depth=write))


def test_infinite_depth_is_unknown(tmp_path):
    def write(path, depth):
        depth = depth.astype(np.float32)
        depth[:10], depth[10:12] = np.inf, np.nan
        Image.fromarray(depth).save(path)

    for planes in check(pairs(tmp_path, suffix=".tif", depth=write)):
        assert np.isnan(planes.metres[:12]).all()
        assert np.isfinite(planes.metres[12:]).all()


def test_depth_that_is_smaller_than_the_photo(tmp_path):
    """The photo is reduced to it, with its focal length: depth is not invented."""
    pairs(tmp_path, depth=lambda p, d: png(p, millimetres(d[2::4, 2::4])))
    (tmp_path / "intrinsics.json").write_text(json.dumps({"fl_x": FOCAL, "w": WIDTH, "h": HEIGHT}))
    check(tmp_path, focal=FOCAL / 4, step=4)


def test_a_bent_lens_is_straightened(tmp_path):
    lens = {"k1": -0.2, "k2": 0.05, "p1": 0.0, "p2": 0.0}
    frames = find_frames([listed(tmp_path, lens=room.brown(**lens), **lens)], channels=RGBD)
    for frame in frames:
        gap = np.abs(read_frame(frame).color - SHOTS[int(frame.file.stem)][0].astype(float))
        assert gap[6:-6, 6:-6].mean() < 3


@pytest.mark.parametrize("name", ["depth/{}.png", "./depth/{}.png", "Depth/{}.png", "kinect_depth/{}.png"])
@pytest.mark.parametrize("first", ["photo", "depth"])
def test_associations_of_tum_in_either_order(name, first, tmp_path):
    folder = tmp_path / "rgbd_dataset_freiburg1_xyz"
    lines = []
    for i in range(6):
        png(folder / f"rgb/{i}.png", SHOTS[i][0])
        png(folder / name.format(i), (5000 * SHOTS[i][1]).round().astype(np.uint16))
        both = [f"{i}.0 rgb/{i}.png", f"{i}.01 {name.format(i)}"]
        lines.append(" ".join(both if first == "photo" else both[::-1]))
    (folder / "associations.txt").write_text("\n".join(lines) + "\n")
    (folder / "intrinsics.json").write_text(json.dumps({"fl_x": FOCAL, "fl_y": FOCAL}))
    check(folder)


def test_photos_turned_by_their_exif(tmp_path):
    def turned(path, color):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.ascontiguousarray(np.rot90(color))).save(path, exif=exif)

    check(listed(tmp_path, photo=turned))


@pytest.mark.parametrize(
    ("write", "pattern"),
    [
        (lambda p, d: png(p, (d * 40).astype(np.uint8)), "8 bits|uint8"),
        (lambda p, d: png(p, np.repeat((d * 40).astype(np.uint8)[..., None], 3, -1)), "channel|shape"),
        (lambda p, d: png(p, np.zeros(d.shape, np.uint16)), "no depth"),
        (lambda p, d: p.write_bytes(b"<html>"), "0.png"),
        (lambda p, d: png(p, millimetres(d[:, :50])), "size|proportion"),
    ],
)
def test_depth_that_is_none_is_refused_in_one_line(write, pattern, tmp_path):
    pairs(tmp_path, depth=write)
    with pytest.raises((ValueError, OSError), match=pattern) as caught:
        [read_frame(frame) for frame in find_frames([tmp_path], channels=RGBD)]
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
