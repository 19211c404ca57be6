"""Reading RGB-D folders: layouts, reduction, crops, held-out scenes, and what each kind of bad input says."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from rgbd_folders import FOCAL, HEIGHT, WIDTH, kinect, pairs, picture, rooms, transforms, write_frame
from torch.testing import assert_close

from scorereg.data.frames.augment import depth_scale, fill_holes, jitter, to_prior_space
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.load import load_pyramid
from scorereg.data.frames.pyramid import RAW_MAX, Crops, Pyramid
from scorereg.data.frames.split import split_scenes
from scorereg.data.patch_spec import PatchSpec

LAYOUTS = {"transforms": transforms, "rooms": rooms, "pairs": pairs, "kinect": kinect}
SPEC = PatchSpec(8, focal=(10.0, 30.0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stored(pyramid: Pyramid, level: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour and raw disparity of one level, as images."""
    start, h, w = (int(v[level]) for v in (pyramid.start, pyramid.height, pyramid.width))
    part = slice(start, start + h * w)
    disparity = pyramid.disparity[part].reshape(h, w).double() / 16383
    return pyramid.color[part].reshape(h, w, 3), disparity


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_read(tmp_path, layout):
    folder = LAYOUTS[layout](tmp_path / "a" / "scene", 3)
    frames = find_frames([tmp_path])
    assert [f.scene for f in frames] == ["a/scene"] * 3
    assert all(f.focal == (FOCAL, FOCAL) and f.unit == 0.001 for f in frames)
    assert frames == find_frames([folder]), "a scene and the root above it give the same"
    pyramid = load_pyramid(frames, SPEC)
    assert len(pyramid.start) == 18


def test_a_root_may_mix_layouts_and_nothing_is_read_twice(tmp_path):
    for name, make in LAYOUTS.items():
        make(tmp_path / name, 2)
    transforms(tmp_path / "rooms" / "inside", 2)  # inside a scene: not searched
    frames = find_frames([tmp_path])
    assert len(frames) == 8
    assert [f.scene.split("/")[1] for f in frames[::2]] == ["kinect", "pairs", "rooms", "transforms"]


def test_unreduced_frame_is_kept_exactly(tmp_path):
    (frame, _) = find_frames([transforms(tmp_path / "s", 2)])
    color, disparity = stored(load_pyramid([frame], PatchSpec(8, focal=(FOCAL, FOCAL))), 0)
    rgb, z = picture(0)
    assert_close(color, torch.from_numpy(rgb))
    assert_close(disparity, torch.from_numpy(500.0 / z), rtol=0.0, atol=0.6 / 16383)


def test_reduction_is_an_area_average(tmp_path):
    """By a whole factor it is the mean of blocks; disparity is averaged, not depth."""
    (frame, _) = find_frames([transforms(tmp_path / "s", 2)])
    color, disparity = stored(load_pyramid([frame], PatchSpec(8, focal=(FOCAL / 2, FOCAL / 2))), 0)
    rgb, z = picture(0)
    blocks = rgb.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    assert np.abs(color.numpy() - blocks).max() <= 0.5
    exact = (500.0 / z).reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean((1, 3))
    assert_close(disparity, torch.from_numpy(exact), rtol=0.0, atol=1e-4)


def test_reduction_by_a_fraction_keeps_a_linear_ramp_linear(tmp_path):
    color = np.repeat(np.linspace(0, 195, 40)[None, :, None], 32, 0).repeat(3, 2).round().astype(np.uint8)
    write_frame(tmp_path / "0.png", tmp_path / "0.depth.png")
    Image.fromarray(color).save(tmp_path / "0.png")
    frame = Frame("s", tmp_path / "0.png", tmp_path / "0.depth.png", (FOCAL, FOCAL), 0.001)
    small, _ = stored(load_pyramid([frame], PatchSpec(8, focal=(21.0, 21.0))), 0)
    assert small.shape == (22, 28, 3)
    centres = (torch.arange(28) + 0.5) * 30 / 21 - 0.5
    assert_close(small[5, :, 0].float(), 5.0 * centres, rtol=0.0, atol=1.0)


def test_missing_depth_takes_no_part_in_the_average(tmp_path):
    write_frame(tmp_path / "0.png", tmp_path / "0.depth.png")
    z = np.full((HEIGHT, WIDTH), 2000, np.uint16)
    z[::2, ::2] = 0  # a quarter of each block
    z[1, 1] = 65535
    z[0:2, 2:4] = 0  # a whole block
    z[4, 1] = z[5, 0] = 0  # three quarters of one
    Image.fromarray(z).save(tmp_path / "0.depth.png")
    frame = Frame("s", tmp_path / "0.png", tmp_path / "0.depth.png", (FOCAL, FOCAL), 0.001)
    _, disparity = stored(load_pyramid([frame], PatchSpec(8, focal=(15.0, 15.0))), 0)
    known = disparity >= 0
    assert (~known).nonzero().tolist() == [[0, 1], [2, 0]]
    assert_close(disparity[known], torch.full((int(known.sum()),), 0.25).double(), rtol=0.0, atol=1e-4)


def test_never_enlarged(tmp_path):
    frames = find_frames([transforms(tmp_path / "s", 2)])
    pyramid = load_pyramid(frames, PatchSpec(8, focal=(20.0, 100.0)))
    assert int(pyramid.width.max()) <= WIDTH
    assert len(pyramid.start) == 2 * 2  # 20 and 27.6 of six goals; the rest lie above 30


def test_crops_are_windows_of_the_stored_images(tmp_path):
    """Each crop is found again in the image that it is from, mirrored or not."""
    frames = find_frames([transforms(tmp_path / "s", 1)])
    pyramid = load_pyramid(frames, PatchSpec(8, focal=(FOCAL, FOCAL)))
    color, disparity = stored(pyramid, 0)
    windows = color.unfold(0, 8, 1).unfold(1, 8, 1).reshape(-1, 3, 8, 8)
    near = disparity.unfold(0, 8, 1).unfold(1, 8, 1).reshape(-1, 8, 8)
    crops = pyramid.crop(64, 8, generator())
    seen = set()
    for rgb, d in zip((crops.color * 255).round().byte(), crops.disparity.double(), strict=True):
        for mirror in (False, True):
            match = (windows == (rgb.flip(-1) if mirror else rgb)).flatten(1).all(1)
            if match.any():
                seen.add(mirror)
                assert_close(near[match.nonzero()[0, 0]], d.flip(-1) if mirror else d, rtol=0.0, atol=1e-6)
                break
        else:
            pytest.fail("a crop is no window of the image")
    assert seen == {False, True}
    assert crops.valid.all()


def test_crops_reach_every_corner_and_repeat_with_the_seed(tmp_path):
    frames = find_frames([transforms(tmp_path / "s", 1)])
    pyramid = load_pyramid(frames, PatchSpec(8, focal=(FOCAL, FOCAL)))
    index, _ = pyramid._pixels(5000, 8, generator(), flip=False)
    assert int(index.min()) == 0
    assert int(index.max()) == WIDTH * HEIGHT - 1
    one, two = (pyramid.crop(16, 8, generator(3)) for _ in range(2))
    assert_close(one.color, two.color, rtol=0.0, atol=0.0)
    assert not torch.equal(one.color, pyramid.crop(16, 8, generator(4)).color)


def test_crops_without_depth_are_rejected():
    disparity = torch.full((32 * 40,), -1, dtype=torch.int16)
    disparity[: 16 * 40] = 8000
    one = torch.tensor([1])
    pyramid = Pyramid(torch.zeros(1280, 3, dtype=torch.uint8), disparity, 0 * one, 32 * one, 40 * one)
    valid = pyramid.crop(200, 8, generator()).valid.float().mean((1, 2))
    assert valid.min() >= 0.5
    assert valid.min() < 1
    empty = Pyramid(pyramid.color, torch.full_like(disparity, -1), pyramid.start, pyramid.height, pyramid.width)
    with pytest.raises(ValueError, match="hardly any patch has depth in half of its pixels"):
        empty.crop(4, 8, generator())


def test_depth_scale_divides_disparity_and_is_log_uniform():
    crops = Crops(torch.rand(4000, 3, 2, 2), torch.full((4000, 2, 2), 0.5), torch.ones(4000, 2, 2, dtype=torch.bool))
    scaled = depth_scale(crops, generator(), low=0.5, high=2.0)
    factor = (0.5 / scaled.disparity[:, 0, 0]).log()
    assert factor.abs().max() <= np.log(2) + 1e-6
    assert factor.mean().abs() < 0.03
    assert factor.var().item() == pytest.approx(np.log(4) ** 2 / 12, rel=0.05)
    assert_close(scaled.color, crops.color)


def test_jitter_stays_in_range_and_varies_by_patch():
    color = torch.rand(1, 3, 4, 4).expand(32, 3, 4, 4)
    varied = jitter(color, generator())
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert varied.mean((1, 2, 3)).std() > 0.02
    assert (varied - color).abs().mean() < 0.15


def test_holes_are_filled_from_their_surroundings():
    value = torch.rand(2, 8, 8)
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    valid[0, :, 3:] = False
    value[0, :, :3] = 0.3
    value[1] = torch.arange(8.0) / 8
    valid[1, 4, 4] = False
    filled = fill_holes(torch.where(valid, value, torch.nan).nan_to_num(9.0), valid)
    assert_close(filled[0], torch.full((8, 8), 0.3))
    assert filled[1, 4, 4].item() == pytest.approx(0.5)
    assert_close(filled[valid], value[valid])


def test_prior_space():
    disparity = torch.tensor([[[0.25, 1.5], [0.0, 0.5]]])
    valid = torch.tensor([[[True, True], [False, True]]])
    x, weight = to_prior_space(Crops(torch.full((1, 3, 2, 2), 0.75), disparity, valid), "rgbd")
    assert_close(x[0, :3], torch.full((3, 2, 2), 0.5))
    assert_close(x[0, 3, valid[0]], torch.tensor([-0.5, 1.0, 0.0]))
    assert_close(weight[0, 3], valid[0].float())
    assert weight[0, :3].all()
    assert [to_prior_space(Crops(torch.rand(1, 3, 2, 2), disparity, valid), c)[0].shape[1] for c in ("rgb", "d")] == [
        3,
        1,
    ]


def frame(scene: str, n: int = 0) -> Frame:
    from pathlib import Path

    return Frame(scene, Path(f"{scene}/{n}.jpg"), Path(f"{scene}/{n}.png"), (FOCAL, FOCAL), 0.001)


def test_held_out_scenes_stay_held_out_when_scenes_are_added():
    names = [f"rooms/{i}" for i in range(200)]
    few = split_scenes([frame(n) for n in names[:100]])
    many = split_scenes([frame(n) for n in names])
    assert 2 <= len(few[2]) <= 14
    assert set(few[2]) == set(many[2]) & set(names[:100])
    for train, held, held_names in (few, many):
        assert {f.scene for f in held} == set(held_names)
        assert not {f.scene for f in train} & set(held_names)


def test_one_or_two_scenes_can_be_split():
    train, held, _ = split_scenes([frame("a/b"), frame("a/c")])
    assert len(train) == len(held) == 1
    train, held, names = split_scenes([frame("a/b", i) for i in range(40)])
    assert (len(train), len(held)) == (38, 2)
    assert names == ("a/b, the last 2 frames",)
    with pytest.raises(ValueError, match="gives one frame only; at least two are needed"):
        split_scenes([frame("a/b")])


def edit(path, change):
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))


BAD = {
    "no folder": (lambda d: d.rmdir(), FileNotFoundError, r"scene is no folder\. Name folders with RGB-D frames"),
    "nothing": (lambda d: None, ValueError, r"scene holds no RGB-D frames\. Expected below it: transforms.json"),
    "lonely photo": (lambda d: (pairs(d), (d / "depth" / "1.png").unlink()), ValueError, r"rgb/1.jpg has no depth map"),
    "lonely depth": (lambda d: (pairs(d), (d / "rgb" / "0.jpg").unlink()), ValueError, r"depth/0.png has no photo"),
    "lonely kinect": (
        lambda d: (kinect(d), (d / "frame-000001.depth.png").unlink()),
        ValueError,
        r"frame-000001.color.jpg has no depth map of the same name.*Add the missing files or remove the lonely",
    ),
    "listed depth is gone": (
        lambda d: (transforms(d), (d / "1.depth.png").unlink()),
        FileNotFoundError,
        r"1.depth.png is missing: photo and depth must come in pairs",
    ),
    "listed photo is gone": (lambda d: (rooms(d), (d / "0.jpg").unlink()), FileNotFoundError, r"0.jpg is missing"),
    "no intrinsics": (
        lambda d: (pairs(d), (d / "intrinsics.json").unlink()),
        FileNotFoundError,
        r"intrinsics.json is missing: rgb/ and depth/ need it",
    ),
    "no matrix": (
        lambda d: (kinect(d), (d / "camera-intrinsics.txt").unlink()),
        FileNotFoundError,
        r"camera-intrinsics.txt is missing",
    ),
    "broken matrix": (
        lambda d: (kinect(d), (d / "camera-intrinsics.txt").write_text("1 0\n")),
        ValueError,
        r"camera-intrinsics.txt must hold a 3x3 camera matrix",
    ),
    "no focal length": (
        lambda d: (pairs(d), edit(d / "intrinsics.json", lambda m: (m.pop("fl_x"), m.pop("fl_y")))),
        ValueError,
        r"intrinsics.json: `fl_x` must be a number > 0, not None",
    ),
    "bad focal length": (
        lambda d: (rooms(d), edit(d / "frames.json", lambda m: m["frames"][1].update(fx=-3))),
        ValueError,
        r"frames.json: `fx` must be a number > 0, not -3",
    ),
    "no depth named": (
        lambda d: (
            transforms(d),
            edit(d / "transforms.json", lambda m: [f.pop("depth_file_path") for f in m["frames"]]),
        ),
        ValueError,
        r"transforms.json names no depth",
    ),
    "no photo named": (
        lambda d: (rooms(d), edit(d / "frames.json", lambda m: m["frames"][0].pop("image"))),
        ValueError,
        r"frames.json: each frame needs `image`, but one has None",
    ),
    "no frames": (
        lambda d: (rooms(d), edit(d / "frames.json", lambda m: m["frames"].clear())),
        ValueError,
        r"frames.json lists no frames",
    ),
    "no JSON": (lambda d: (rooms(d), (d / "frames.json").write_text("{")), ValueError, r"frames.json is no valid JSON"),
    "JSON list": (lambda d: (rooms(d), (d / "frames.json").write_text("[]")), ValueError, r"must hold one JSON object"),
    "depth of another size": (
        lambda d: (rooms(d), Image.new("I;16", (20, 20), 1000).save(d / "1.depth.png")),
        ValueError,
        r"1.jpg has 40x32 pixels, but its depth map 20x20, of other proportions",
    ),
    "depth in colour": (
        lambda d: (rooms(d), Image.new("RGB", (40, 32)).save(d / "1.depth.png")),
        ValueError,
        r"1.depth.png has colours \(RGB\): depth that is encoded as colours is not read",
    ),
    "all-zero depth": (
        lambda d: (rooms(d), Image.new("I;16", (40, 32), 0).save(d / "0.depth.png")),
        ValueError,
        r"0.depth.png has no depth at all: every pixel is 0, 65535 or not finite\. Leave the frame out",
    ),
    "depth of 8 bits": (
        lambda d: (rooms(d), Image.new("L", (40, 32), 200).save(d / "0.depth.png")),
        ValueError,
        r"0.depth.png has 8 bits a pixel, which hold no depth in millimetres\. Write it as 16-bit PNG",
    ),
    "truncated photo": (
        lambda d: (rooms(d), (d / "1.jpg").write_bytes((d / "1.jpg").read_bytes()[:700])),
        ValueError,
        r"1.jpg cannot be read as an image, as it is truncated or corrupt",
    ),
    "truncated depth": (
        lambda d: (rooms(d), (d / "1.depth.png").write_bytes((d / "1.depth.png").read_bytes()[:90])),
        ValueError,
        r"1.depth.png cannot be read as an image, as it is truncated or corrupt",
    ),
    "no image at all": (
        lambda d: (rooms(d), (d / "1.jpg").write_bytes(b"hello")),
        ValueError,
        r"1.jpg cannot be read as an image: its format is not known. Save it as PNG, or leave it out",
    ),
    "too small": (
        lambda d: (rooms(d, 1), write_frame(d / "0.jpg", d / "0.depth.png", width=9, height=7)),
        ValueError,
        r"0.jpg of 9x7 pixels and focal length 30 is too small for 8-pixel patches",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(tmp_path, name):
    spoil, kind, says = BAD[name]
    folder = tmp_path / "scene"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(kind, match=says) as caught:
        load_pyramid(find_frames([folder]), SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "focal"), [("rooms", (180, 260)), ("nyu", (259, 260)), ("kitchen", (585, 586))])
def test_real_folders(data, name, focal):
    frames = find_frames([data(name)])[:3]
    assert focal[0] <= frames[0].focal[0] <= focal[1]
    pyramid = load_pyramid(frames, PatchSpec(24, focal=(80.0, 180.0)))
    crops = pyramid.crop(64, 24, generator())
    metres = 0.5 / crops.disparity[crops.valid]
    assert 0.3 < metres.min()
    assert metres.max() < 20
    assert crops.disparity.max() <= RAW_MAX
