"""The examples of files that a user has to write, as the page of what can be read shows them, are read."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from scorereg.data.frames import find_frames, read_frame
from scorereg.scenes import load_scene
from tests.conftest import ROOT
from tests.situations import room

PAGE = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")


def examples(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.fixture
def intrinsics():
    (found,) = [text for text in examples("json") if "frames" not in text]
    return found


def pair(folder, number, meta):
    """A photo and its depth map, with the lens of the example."""
    size = {"width": meta["w"] // 8, "height": meta["h"] // 8, "focal": meta["fl_x"] / 8}
    color, depth = room.photo(room.POSES[number], **size)
    for name, image in (("rgb", color), ("depth", (1000 * depth).round().astype(np.uint16))):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{number}.png")
    return depth


def test_intrinsics(tmp_path, intrinsics):
    """The photos are eight times smaller than the lens is for."""
    (tmp_path / "intrinsics.json").write_text(intrinsics)
    meta = json.loads(intrinsics)
    truth = [pair(tmp_path, number, meta) for number in range(2)]
    for frame, depth in zip(find_frames([tmp_path]), truth, strict=True):
        assert frame.focal == pytest.approx((meta["fl_x"] / 8, meta["fl_y"] / 8))
        assert np.abs(read_frame(frame).metres - depth).max() < 1e-3


def test_poses(tmp_path, intrinsics):
    meta = json.loads(intrinsics)
    (tmp_path / "intrinsics.json").write_text(intrinsics)
    (shown,) = [text for text in examples("text") if text.count("\n") == 4]
    example = np.array([[float(v) for v in line.split()] for line in shown.splitlines()])
    assert np.abs(example[:3, :3] @ example[:3, :3].T - np.eye(3)).max() < 0.01
    (tmp_path / "pose").mkdir()
    for number in range(4):
        pair(tmp_path, number, meta)
        matrix = np.vstack([room.POSES[number], example[3]])
        lines = ("  ".join(f"{v:.6f}" for v in row) for row in matrix)
        (tmp_path / f"pose/{number}.txt").write_text("\n".join(lines))
    assert room.agreement(load_scene(tmp_path, 3)) > room.RIGHT


def test_transforms(tmp_path):
    (text,) = [text for text in examples("json") if "frames" in text]
    table = json.loads(text)
    (frame,) = table["frames"]
    table["frames"] = []
    size = {"width": table["w"] // 8, "height": table["h"] // 8, "focal": table["fl_x"] / 8}
    for number in range(4):
        color, depth = room.photo(room.POSES[number], **size)
        mask = np.full(depth.shape, 255, np.uint8)
        mask[:10], color[:10] = 0, (255, 0, 255)
        files = {key: frame[key].replace("0", str(number)) for key in frame if key.endswith("_path")}
        images = {"file_path": color, "mask_path": mask, "depth_file_path": (1000 * depth).round().astype(np.uint16)}
        for key, name in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.fromarray(images[key]).save(tmp_path / name)
        table["frames"].append({**files, "transform_matrix": room.opengl(room.POSES[number])})
    (tmp_path / "transforms.json").write_text(json.dumps(table))
    scene = load_scene(tmp_path, 3)
    assert room.agreement(scene) > room.RIGHT
    assert (scene.near, scene.far, scene.scale) == pytest.approx((0.9 * table["near"], 1.1 * table["far"], 1))
    assert not scene.masks[:, :10].any()
    assert scene.masks[:, 10:].all()
