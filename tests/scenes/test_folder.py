"""What a folder holds besides a scene, lacks of it, or has instead."""

import json
import warnings

import pytest
from PIL import Image
from scene_folders import HEIGHT, WIDTH, edit, frame, photo, poses, transforms

from scorereg.scenes import load_scene


def heard(folder):
    """Load a scene and return what is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_scene(folder)
    return [str(warning.message) for warning in caught]


def test_photos_that_are_no_frames_are_told(tmp_path):
    transforms(tmp_path, 10)
    edit(tmp_path, lambda table: [table["frames"].pop(i) for i in (7, 2)])
    assert ["2 photos beside its own are no frames of it: 002.png, 007.png." in line for line in heard(tmp_path)] == [
        True
    ]
    edit(tmp_path, lambda table: [table["frames"].pop() for _ in range(5)])  # a part was chosen
    assert heard(tmp_path) == []


def test_files_that_belong_to_photos_are_no_photos(tmp_path):
    transforms(tmp_path, 4)
    for name in ("000_depth_0001", "001.mask", "dynamic_mask_002x", "002-normal", "._003", ".hidden"):
        photo(tmp_path / f"images/{name}.png", 0)
    said = heard(tmp_path)
    assert len(said) == 1
    assert "1 photos beside its own are no frames of it: dynamic_mask_002x.png." in said[0]


def test_views_that_lack_what_others_have_are_told(tmp_path):
    frames = [frame(pose, f"images/{i:03d}.png") for i, pose in enumerate(poses(4))]
    for entry in frames[1:]:
        entry["mask_path"] = "m.png"
    transforms(tmp_path, 4, frames=frames)
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "m.png")
    assert ["1 of 4 views have no mask, 000.png for one." in line for line in heard(tmp_path)] == [True]
    edit(tmp_path, lambda table: [entry.pop("mask_path", None) for entry in table["frames"][:3]])
    assert heard(tmp_path) == []  # one alone is masked


@pytest.mark.parametrize("name", ["001.png", "001.mask.png", "001.png.png", "other.png"])
def test_masks_that_no_frame_names_are_told(tmp_path, name):
    transforms(tmp_path, 4)
    photo(tmp_path / "masks" / name, 0)
    said = heard(tmp_path)
    assert len(said) == (name != "other.png")
    assert not said or "masks: its masks are not used, as no frame names them" in said[0]


@pytest.mark.parametrize(("center", "told"), [((-7.5, 7.0), True), ((9.0, 0.0), True), ((6.0, 9.0), False)])
def test_a_principal_point_at_the_edge_is_told_once(tmp_path, center, told):
    transforms(tmp_path, 4, cx=center[0], cy=center[1])
    said = heard(tmp_path)
    assert len(said) == told
    assert not told or ("principal point" in said[0] and "(3 files more alike)" in said[0])


def test_folders_above_a_scene_name_it(tmp_path):
    (tmp_path / "data/fern").mkdir(parents=True)
    transforms(tmp_path / "data/fern")
    with pytest.raises(FileNotFoundError, match=r"no scene, but .*data/fern below it is one; give that folder"):
        load_scene(tmp_path)


def test_a_layout_without_poses_names_their_file(tmp_path):
    transforms(tmp_path)
    edit(tmp_path, lambda table: [entry.pop("transform_matrix") for entry in table["frames"]])
    with pytest.raises(ValueError, match=r"no poses; a scene needs `transform_matrix` of each frame\. `scorereg poses"):
        load_scene(tmp_path)
    (tmp_path / "transforms.json").unlink()
    entries = [{"image": "images/000.png", "depth": "d.png", "fx": 25.0}]
    (tmp_path / "frames.json").write_text(json.dumps({"frames": entries}))
    with pytest.raises(ValueError, match=r"frames\.json: no poses; a scene needs transforms\.json"):
        load_scene(tmp_path)
