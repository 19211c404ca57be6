"""`open_source` for every kind of data, to train on and to measure on; which frames may be left out."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from rgbd_folders import pairs, rooms, transforms
from torch.testing import assert_close

from scorereg._io import read_json
from scorereg.data import BadFrames, PatchSpec, ReadOptions, Source, find_frames, open_source
from scorereg.data.arrays import ArraySource
from scorereg.data.frames import FrameSource, ImageSource
from scorereg.data.frames.split import held_out_names
from scorereg.data.mixed import MixedSource
from scorereg.data.open import kind_of
from scorereg.data.shards import ShardSource

SPEC = PatchSpec(8, focal=(15.0, 30.0))


@pytest.fixture
def photos(tmp_path):
    """Eight images; all pixels of the i-th have the value 30 i."""
    (tmp_path / "photos").mkdir()
    for i in range(8):
        Image.new("RGB", (12 + i, 10), (30 * i,) * 3).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def arrays(tmp_path):
    (tmp_path / "arrays").mkdir()
    for name in ("train", "held"):
        np.save(tmp_path / "arrays" / f"{name}-0.npy", np.zeros((4, 4, 8, 8), np.float32))
    facts = {"channels": ["r", "g", "b", "disparity"], "d_min": 0.5, "depth": "planar"}
    (tmp_path / "arrays" / "arrays.json").write_text(json.dumps(facts))
    return tmp_path / "arrays"


def test_each_kind_is_recognised(scenes, shards, arrays, photos):
    assert [kind_of(where) for where in (scenes, shards, arrays, photos)] == ["frames", "shards", "arrays", "frames"]
    kinds = {(scenes,): FrameSource, (shards,): ShardSource, (arrays,): ArraySource, (arrays, scenes): MixedSource}
    for data, kind in kinds.items():
        source = open_source(list(data), SPEC)
        assert type(source) is kind
        assert isinstance(source, Source)
    assert type(open_source([photos], dataclasses.replace(SPEC, channels="rgb"))) is FrameSource


def test_what_is_only_measured_on_is_in_memory(scenes, shards, arrays, photos):
    rgb = dataclasses.replace(SPEC, channels="rgb")
    assert type(open_source([photos], rgb, to_measure=True)) is ImageSource
    for where in (scenes, shards):
        for spec in (SPEC, rgb):
            assert type(open_source([where], spec, to_measure=True)) is FrameSource
    assert type(open_source([arrays], SPEC, to_measure=True)) is ArraySource


def test_frames_to_measure_on_are_no_more_than_needed(tmp_path, monkeypatch):
    from scorereg.data import open as module

    monkeypatch.setattr(module, "_MOST_FRAMES", 5)
    folder = transforms(tmp_path / "s", 32)
    assert open_source([folder], SPEC, to_measure=True).count == 5
    assert open_source([folder], SPEC).count == 30


def test_without_focal_lengths_the_shortest_is_taken(tmp_path, shards):
    """Of frames at 30 and at 20 pixels; of shards the manifest's."""
    folder = transforms(tmp_path / "s", 4)
    (folder / "transforms.json").write_text((folder / "transforms.json").read_text().replace("30.0", "20.0", 2))
    spec = dataclasses.replace(SPEC, focal=None)
    assert open_source([folder], spec, to_measure=True).about.focal == (20.0, 20.0)
    assert open_source([shards], spec, to_measure=True).about.focal == (30.0, 30.0)


def test_images_are_cut_as_they_are_and_the_last_quarter_is_held_out(photos):
    spec = PatchSpec(8, "gray", range=(0.0, 255.0))
    source = open_source([photos], spec, to_measure=True)
    assert (source.measured, source.about.size, source.about.range) == (("held-out",), (8, 8), (0.0, 255.0))
    values = {name: set(source.plain(name, 40, seed=0)[0].unique().tolist()) for name in ("train", "held-out")}
    assert values == {"train": {30.0 * i for i in range(6)}, "held-out": {180.0, 210.0}}
    x, weight = source.batch(40, seed=1, step=2, slot=3)
    assert set(x.unique().tolist()) == values["train"]
    assert_close(source.batch(40, seed=1, step=2, slot=3)[0], x, rtol=0.0, atol=0.0)
    assert not torch.equal(source.batch(40, seed=1, step=3, slot=3)[0], x)
    assert weight.min() == 1


def test_frames_have_one_range(scenes, shards):
    for where in (scenes, shards):
        with pytest.raises(ValueError, match=r"frames are read into \[-1, 1\], but the prior's range is \(0.0, 1.0\)"):
            open_source([where], dataclasses.replace(SPEC, range=(0.0, 1.0)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"patch_size": 0}, r"patch must be at least 1, but is 0\. Give --patch a number > 0"),
        ({"focal": (180.0, 80.0)}, "focal must be two numbers, 0 < low <= high, but is 180, 80"),
        ({"d_min": -1.0}, "d_min must be > 0, but is -1"),
        ({"depth_factor": 0.0}, "depth_factor must be > 0"),
        ({"depth_range": (0.5, 2.5)}, "depth_range may not exceed 2, but is 2.5"),
        ({"grain": 1.0}, "grain must be at least 0 and below 1"),
        ({"sharpen": 5.0}, "sharpen must be from 0 to 4, but is 5"),
    ],
)
def test_patches_that_cannot_be_cut(change, says):
    with pytest.raises(ValueError, match=says):
        PatchSpec(**change)


def test_frames_left_out_are_reported_once_each():
    bad = BadFrames(ReadOptions(skip_bad=True))
    bad.left_out.append("a scene")
    bad.add(OSError("a file"))
    with pytest.warns(UserWarning, match="left out") as warned:
        bad.report(100)
    lines = ["left out: a scene", "left out: a file", "1 of 100 frames were left out."]
    assert [str(each.message) for each in warned] == lines
    with pytest.raises(ValueError, match="1 of 99 frames cannot be used"):
        bad.report(99)
    with pytest.raises(OSError, match="another"):
        BadFrames().add(OSError("another"))


def test_held_out_names_are_some_and_never_all():
    assert held_out_names(["a", "b"]) == held_out_names(["b", "a"])
    assert len(held_out_names(["a", "b"])) == 1
    many = [f"scene {i}" for i in range(400)]
    assert held_out_names(many) == held_out_names(reversed(many))
    assert 10 < len(held_out_names(many)) < 45
    assert len(held_out_names(sorted(held_out_names(many))[:2])) == 1


def test_the_reader_of_a_frame_is_used_and_not_part_of_a_plan(tmp_path):
    from scorereg.data.frames import Planes, read_frame

    (frame, _) = find_frames([rooms(tmp_path / "s", 2)])
    planes = Planes(metres=np.ones((2, 2), np.float32))
    other = dataclasses.replace(frame, reader=lambda frame, maps: planes)
    assert read_frame(other) is planes
    assert repr(other) == repr(frame)


def test_depth_factor_and_patterns_hold_for_all_frames(tmp_path):
    for name in ("a", "b"):
        pairs(tmp_path / name, 2)
    frames = find_frames([tmp_path], depth_factor=3.0, bad=BadFrames(ReadOptions(exclude=("b",))))
    assert [(f.scene.split("/")[1], f.unit) for f in frames] == [("a", 0.003)] * 2


def test_json_that_is_no_object_is_named(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"x.json must hold one JSON object, not a list\. Do this"):
        read_json(tmp_path / "x.json", "Do this.")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x.json is no valid JSON .*\. Do this"):
        read_json(tmp_path / "x.json", "Do this.")
