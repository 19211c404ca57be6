"""Pixels of a scene: turned, masked, straightened, of several sizes, and what they cost."""

import numpy as np
import pytest
import torch
from PIL import Image
from scene_folders import HEIGHT, WIDTH, edit, frame, photo, poses, transforms
from torch.testing import assert_close

from scorereg.scenes import load_scene
from scorereg.scenes.resize import reduce_mask


def frames(count=4, **more):
    return [frame(pose, f"images/{i:03d}.png", **more) for i, pose in enumerate(poses(count))]


def mask_file(path, left_out):
    """A mask that leaves out the pixels of a slice of rows and one of columns."""
    value = np.full((HEIGHT, WIDTH), 255, np.uint8)
    value[left_out] = 0
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(value).save(path)


BLOCK = np.s_[:4, :6]


def test_masks_take_pixels_out(tmp_path):
    transforms(tmp_path, 4, frames=[f | {"mask_path": f"masks/{i}.png"} for i, f in enumerate(frames())])
    for i in range(4):
        mask_file(tmp_path / f"masks/{i}.png", BLOCK if i else np.s_[:0])
    scene = load_scene(tmp_path)
    expected = torch.ones(4, HEIGHT, WIDTH, dtype=torch.bool)
    expected[1:, :4, :6] = False
    assert torch.equal(scene.masks, expected)
    assert "6.4% of the pixels masked" in scene.describe()  # 3 * 24 of 4 * 280
    edit(tmp_path, lambda table: [entry.pop("mask_path") for entry in table["frames"]])
    assert load_scene(tmp_path).masks is None


def test_a_reduced_pixel_counts_if_all_of_its_do(tmp_path):
    transforms(tmp_path, 4, frames=frames(mask_path="m/a.png"))
    mask_file(tmp_path / "m/a.png", np.s_[:3, :5])
    masks = load_scene(tmp_path, max_size=10).masks
    assert masks.shape == (4, 7, 10)
    assert not masks[:, :2, :3].any()
    assert masks.sum() == 4 * (70 - 6)
    assert reduce_mask(torch.tensor([[True] * 4 + [False]] * 3), 2).tolist() == [[True, True]]


def test_masks_that_count_everything_are_none(tmp_path):
    transforms(tmp_path, 4, frames=frames(mask_path="m/a.png"))
    mask_file(tmp_path / "m/a.png", np.s_[:0])
    scene = load_scene(tmp_path)
    assert scene.masks is None
    assert "masked" not in scene.describe()


def test_a_missing_mask_is_an_error(tmp_path):
    transforms(tmp_path, 4, frames=frames(mask_path="masks/a.png"))
    with pytest.raises(FileNotFoundError, match=r"masks/a\.png is missing"):
        load_scene(tmp_path)


@pytest.mark.usefixtures("as_user")
def test_transparency_is_white_or_a_mask(tmp_path):
    transforms(tmp_path, 4)
    color = np.full((HEIGHT, WIDTH, 4), (255, 0, 255, 255), np.uint8)
    color[BLOCK] = 255, 0, 0, 0
    color[8, 8] = 0, 0, 0, 128
    Image.fromarray(color).save(tmp_path / "images/001.png")
    white = load_scene(tmp_path)
    assert (white.images[1, :4, :6] == 1).all()
    assert white.masks is None
    masks = load_scene(tmp_path, alpha="mask").masks
    assert masks[[0, 2, 3]].all()
    expected = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    expected[:4, :6] = expected[8, 8] = False
    assert torch.equal(masks[1], expected)
    with pytest.raises(ValueError, match=r"alpha \(--alpha\) must be white or mask, but is 'black'"):
        load_scene(tmp_path, alpha="black")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("orientation", "quarters"), [(6, 1), (8, 3)])
def test_a_photo_is_turned_where_its_lens_is_for_the_upright_one(tmp_path, orientation, quarters):
    transforms(tmp_path, 4)
    expected = torch.from_numpy(photo(tmp_path / "images/002.png", 2)).float() / 255
    with Image.open(tmp_path / "images/002.png") as image:
        stored = np.ascontiguousarray(np.rot90(np.asarray(image), quarters))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "images/002.png", exif=exif)
    assert_close(load_scene(tmp_path).images[2], expected)
    without_size = {"w": None, "h": None}
    edit(tmp_path, lambda table: table.update(without_size))  # the center still tells it
    assert_close(load_scene(tmp_path).images[2], expected)


def test_a_photo_is_left_where_its_lens_is_for_the_stored_one(tmp_path):
    transforms(tmp_path, 4)
    expected = photo(tmp_path / "images/002.png", 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(expected).save(tmp_path / "images/002.png", exif=exif)
    assert_close(load_scene(tmp_path).images[2], torch.from_numpy(expected).float() / 255)
    edit(tmp_path, lambda table: table.update(w=None, h=None))
    assert_close(load_scene(tmp_path).images[2], torch.from_numpy(expected).float() / 255)


def test_what_a_lens_does_not_show_does_not_count(tmp_path):
    transforms(tmp_path, 4, k1=0.4)
    masks = load_scene(tmp_path).masks
    assert not masks[:, 0, 0].any()
    assert masks[:, 4:10, 5:15].all()


def test_depth_and_masks_are_straightened_with_their_photo(tmp_path):
    """Photo, depth and mask with one pattern; in each, what is bright stays bright."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 2, (4, 5)), np.ones((4, 4), int))[:HEIGHT, :WIDTH].astype(bool)
    transforms(tmp_path, 1, k1=0.4, frames=frames(1, mask_path="mask.png", depth_file_path="d.png"))
    Image.fromarray((blocks * 255).astype(np.uint8)).save(tmp_path / "images/000.png")
    Image.fromarray((blocks * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray((1000 + 1000 * blocks).astype(np.uint16)).save(tmp_path / "d.png")
    scene = load_scene(tmp_path, 1)
    bright, deep, kept = scene.images[0, ..., 0], scene.depth[0], scene.masks[0]
    assert set(deep.unique().tolist()) == {0.0, 1.0, 2.0}
    seen = deep > 0
    assert torch.equal(kept & seen, (deep == 2))
    sure = seen & ((bright > 0.9) | (bright < 0.1))
    assert sure.float().mean() > 0.3
    assert torch.equal((bright > 0.5)[sure], kept[sure])


def test_depth_of_another_size_is_brought_to_the_photos(tmp_path):
    transforms(tmp_path, 4, frames=frames(depth_file_path="d.png"))
    raw = np.arange(1, 36, dtype=np.uint16).reshape(5, 7)[:, :7] * 1000
    Image.fromarray(raw).save(tmp_path / "d.png")
    depth = load_scene(tmp_path).depth
    assert depth.shape == (4, HEIGHT, WIDTH)
    assert set((depth * 1000).round().unique().tolist()) <= set(raw.reshape(-1).tolist())
    assert depth[0, 0, 0] == 1
    assert depth[0, -1, -1] == 35


def test_photos_of_several_sizes_lie_on_one_canvas(tmp_path):
    """Each in the corner, its own lens and pixels as they are; the rest does not count."""
    several = frames()
    several[2] |= {"w": 12, "h": 16, "cx": 6.0, "cy": 7.0, "fl_x": 15.0, "fl_y": 15.0}
    transforms(tmp_path, 4, frames=several)
    small = photo(tmp_path / "images/002.png", 7, (12, 16))
    with pytest.warns(UserWarning, match="photos of 2 sizes lie on a canvas of 20x16"):
        scene = load_scene(tmp_path)
    assert scene.images.shape == (4, 16, 20, 3)
    assert_close(scene.images[2, :, :12], torch.from_numpy(small).float() / 255)
    assert_close(scene.cameras.focal[2], torch.tensor([15.0, 15.0]))
    assert_close(scene.cameras.center[2], torch.tensor([6.0, 7.0]))
    expected = torch.zeros(4, 16, 20, dtype=torch.bool)
    expected[:, :14] = True
    expected[2] = False
    expected[2, :, :12] = True
    assert torch.equal(scene.masks, expected)


def test_one_lens_without_a_size_is_not_that_of_two_sizes(tmp_path):
    transforms(tmp_path, 4, w=None, h=None)
    photo(tmp_path / "images/002.png", 0, (12, 9))
    with pytest.raises(
        ValueError, match=r"002\.png: 12x9 pixels, but 000\.png has 20x14, and one lens is given for all"
    ):
        load_scene(tmp_path)


def test_a_focal_length_in_shares_of_the_width(tmp_path):
    transforms(tmp_path, 4, w=None, h=None, cx=None, cy=None, fl_x=0.3, fl_y=0.3)
    with pytest.raises(ValueError, match="a focal length of 0.3 pixels for a width of 20 cannot be"):
        load_scene(tmp_path)


def test_numbers_that_float32_does_not_hold(tmp_path):
    transforms(tmp_path, 4, w=1e-30, h=0.7e-30, cx=None, cy=None)
    edit(tmp_path, lambda table: table.update(fl_x=1e20, fl_y=1e20))
    with pytest.raises(ValueError, match=r"frame images/000\.png: `fl_x`.* is no number that can be"):
        load_scene(tmp_path)


def test_large_scenes_are_read_in_part_or_refused(tmp_path, monkeypatch):
    transforms(tmp_path, 20)
    whole = load_scene(tmp_path)
    assert len(whole.images) == 20
    bytes_of_all = whole.images.numel() * 4
    monkeypatch.setattr("scorereg.scenes.capture._MUCH", bytes_of_all - 1)
    part = load_scene(tmp_path)
    assert len(part.images) == len(whole.train) + len(whole.test)
    for name in ("train", "test"):
        old, new = list(getattr(whole, name)), list(getattr(part, name))
        assert [whole.filenames[i] for i in old] == [part.filenames[i] for i in new]
        assert torch.equal(whole.images[old], part.images[new])
        assert torch.equal(whole.cameras.pose[old], part.cameras.pose[new])
    monkeypatch.setattr("scorereg.scenes.capture._MOST", bytes_of_all // 4)
    with pytest.raises(
        ValueError, match=r"6 photos of 20x14 pixels take .* give a max_size \(--max-size\) of at most 18"
    ):
        load_scene(tmp_path)


def test_large_photos_are_reduced_while_they_are_read(tmp_path, monkeypatch):
    transforms(tmp_path, 4)
    late = load_scene(tmp_path, max_size=10).images
    monkeypatch.setattr("scorereg.scenes.pixels._LARGE", 1)
    assert_close(load_scene(tmp_path, max_size=10).images, late)
