import json

import pytest
from PIL import Image

from scorereg.files import Lens
from scorereg.files.layouts.find import layout_of
from scorereg.files.layouts.sdfstudio import read_sdfstudio

POSE = [[0.0, -1, 0, 3], [1, 0, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]]
MATRIX = [[25.0, 0, 9, 0], [0, 26, 8, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def scene(folder, **more):
    for name in ("0_rgb.png", "0_mask.png"):
        Image.new("RGB", (20, 14), "white").save(folder / name)
    frame = {"rgb_path": "0_rgb.png", "camtoworld": POSE, "intrinsics": MATRIX, "foreground_mask": "0_mask.png", **more}
    meta = {"camera_model": "OPENCV", "width": 20, "height": 14, "scene_box": {"near": 0.05}, "frames": [frame]}
    (folder / "meta_data.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("matrix", [MATRIX, [row[:3] for row in MATRIX[:3]]])
def test_frames_of_sdfstudio(tmp_path, matrix):
    assert layout_of(scene(tmp_path, intrinsics=matrix)) is read_sdfstudio
    (view,) = read_sdfstudio(tmp_path).views
    assert view.pose == (0, -1, 0, 3, 1, 0, 0, 4, 0, 0, 1, 5)  # as it is: OpenCV's axes
    assert view.lens == Lens((25.0, 26.0), (9.0, 8.0), size=(20.0, 14.0))
    assert (view.mask, view.object_mask, view.bounds) == (None, tmp_path / "0_mask.png", None)


def test_what_sdfstudio_estimates_is_left_out(tmp_path):
    found = read_sdfstudio(scene(tmp_path, mono_depth_path="0_depth.npy"))
    assert found.views[0].depth is None
    assert "its depth maps are not read" in found.said[0]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"rgb_path": None}, "a frame has no `rgb_path`"),
        ({"camtoworld": [1]}, "0_rgb.png: `camtoworld` is not a table of numbers"),
        ({"intrinsics": None}, "`intrinsics` is not a table of numbers"),
        ({"intrinsics": POSE}, "must be numbers above 0"),
    ],
)
def test_frames_that_are_none(tmp_path, more, says):
    with pytest.raises(ValueError, match=says):
        read_sdfstudio(scene(tmp_path, **more))
