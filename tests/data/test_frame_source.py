"""Sources of frames: any channels, folders with no more files than needed, bad frames, wrong units."""

import json
import shutil

import pytest
from PIL import Image
from rgbd_folders import pairs, picture, rooms, transforms
from torch.testing import assert_close

from scorereg.data.bad_frames import ReadOptions
from scorereg.data.open import open_source
from scorereg.data.patch_spec import PatchSpec
from scorereg.training.settings import Settings, differences

SPEC = {"patch_size": 8, "focal": (15.0, 30.0)}


def source_of(folder, channels="rgbd", reading=None, **change):
    return open_source([folder], PatchSpec(channels=channels, **SPEC, **change), reading=reading)


@pytest.mark.parametrize(
    ("channels", "gone"), [("d", "rgb"), ("nx,ny,nz", "rgb"), ("d,nz", "rgb"), ("rgb", "depth"), ("g", "depth")]
)
def test_folders_of_one_kind_serve_what_needs_no_other(tmp_path, channels, gone):
    whole = pairs(tmp_path / "s", 6)
    x, weight = source_of(whole, channels).batch(5, seed=1, step=2, slot=0)
    shutil.rmtree(whole / gone)
    source = source_of(whole, channels)
    again = source.batch(5, seed=1, step=2, slot=0)
    assert_close(again, (x, weight), rtol=0.0, atol=0.0)
    assert x.shape == (5, len(source.about.channels), 8, 8)
    has_depth = "disparity" in source.about.channels
    assert (source.about.depth, source.about.d_min) == (("planar", 0.5) if has_depth else (None, None))
    assert source.about.focal == (15.0, 30.0)
    with pytest.raises(ValueError, match=r"s has no (photos|depth maps), which the channels need\. Leave it out, or"):
        source_of(whole)


def test_transforms_may_name_depth_alone(tmp_path):
    folder = transforms(tmp_path / "s", 4)
    text = (folder / "transforms.json").read_text()
    (folder / "transforms.json").write_text(text.replace('"file_path"', '"nothing"'))
    assert source_of(folder, "d").batch(3, seed=0, step=0, slot=0)[0].shape == (3, 1, 8, 8)
    with pytest.raises(ValueError, match="s has no photos, which the channels need"):
        source_of(folder)


def test_images_without_a_camera_are_cut_as_they_are(tmp_path):
    for i in range(5):
        (tmp_path / "deep").mkdir(exist_ok=True)
        Image.fromarray(picture(i, 50 + i, 40)[0]).save(tmp_path / "deep" / f"{i}.png")
    source = source_of(tmp_path, "rgb")
    assert (source.about.focal, source.about.depth) == (None, None)
    x, _ = source.plain("train", 20, seed=0)
    red = ((x[:, 0] + 1) / 2 * 255).round()
    assert set(red.diff(dim=-1).unique().tolist()) == {6.0, -250.0}  # the ramp of `picture`, unreduced
    for channels in ("rgbd", "rgb,nx,ny,nz"):
        with pytest.raises(ValueError, match=r"holds no RGB-D frames.*for --channels rgb, images of any name"):
            source_of(tmp_path, channels)
    Image.new("RGB", (50, 7)).save(tmp_path / "deep" / "low.png")
    with pytest.raises(ValueError, match="low.png of 50x7 pixels and focal length 30 is too small"):
        source_of(tmp_path, "rgb")


def test_normals_need_depth_or_a_map(tmp_path):
    folder = pairs(tmp_path / "s", 4)
    shutil.rmtree(folder / "depth")
    with pytest.raises(ValueError, match="neither a map normal nor depth, which the channels need"):
        source_of(folder, "rgb,nx,ny,nz")


def spoilt(folder, frames: int):
    pairs(folder, frames)
    (folder / "rgb" / "1.jpg").write_bytes(b"nope")
    return folder


def test_bad_frames_are_skipped_and_named(tmp_path):
    folder = spoilt(tmp_path / "s", 201)
    (folder / "depth" / "5.png").unlink()
    with pytest.raises(ValueError, match=r"5.jpg has no depth map"):
        source_of(folder)
    with pytest.warns(UserWarning, match="left out") as warned:
        source = source_of(folder, reading=ReadOptions(skip_bad=True))
    warned = [str(each.message) for each in warned]
    assert warned[0].startswith(f"left out: {folder}/rgb/5.jpg has no depth map")
    assert warned[1].startswith(f"left out: {folder}/rgb/1.jpg cannot be read")
    assert warned[2:] == ["2 of 201 frames were left out."]
    assert source.about.data.endswith("; 2 bad frames were left out")


def test_more_than_one_in_a_hundred_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"1 of 99 frames cannot be used, and only 1 % may be skipped.*rgb/1.jpg"):
        source_of(spoilt(tmp_path / "s", 99), reading=ReadOptions(skip_bad=True))
    for photo in (tmp_path / "s" / "rgb").iterdir():
        photo.write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot be used, and only 1 % may be skipped"):
        source_of(tmp_path / "s", reading=ReadOptions(skip_bad=True))


def test_folders_are_left_out_by_pattern(tmp_path):
    for name in ("a", "b", "c"):
        transforms(tmp_path / "data" / name, 2)
    assert "of 2 scenes" in source_of(tmp_path / "data").about.data
    assert "of 1 scenes" in source_of(tmp_path / "data", reading=ReadOptions(exclude=("b",))).about.data


def test_a_factor_corrects_the_unit_of_training_data(tmp_path):
    right, wrong, other = (rooms(tmp_path / name, 4) for name in ("right", "wrong", "other"))
    text = (wrong / "frames.json").read_text()
    (wrong / "frames.json").write_text(text.replace('"depth_unit_m": 0.001', '"depth_unit_m": 1.0'))
    with pytest.raises(ValueError, match=r"millimetres read as metres.*--depth-factor 0.001"):
        source_of(wrong)
    spec = PatchSpec(**SPEC, depth_factor=0.001)
    corrected = open_source([wrong], spec, [other])
    x = source_of(right).batch(5, seed=1, step=2, slot=0)[0]
    assert_close(corrected.batch(5, seed=1, step=2, slot=0)[0], x, rtol=0.0, atol=2e-4)
    assert corrected.plain("other", 4, seed=0)[0][:, 3].max() < 0.1, "what is only measured on keeps its unit"
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "arrays.json").write_text(json.dumps({"channels": ["weight"]}))
    with pytest.raises(ValueError, match="--depth-factor is for folders of frames"):
        open_source([tmp_path / "lines"], spec)


def test_runs_of_before_the_factor_go_on():
    given = Settings().to_json()
    saved = {name: value for name, value in given.items() if name != "depth_factor"}
    assert not differences(saved, given)
    assert differences(saved, given | {"depth_factor": 0.5}) == ["depth_factor was 1.0, now 0.5"]
