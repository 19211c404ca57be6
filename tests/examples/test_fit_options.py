"""The command `fit` with masks, measured depth and few photos."""

import json

import numpy as np
import pytest
from PIL import Image
from test_examples import HEIGHT, TINY, TRAIN, WIDTH, fit, read, write_scene

from scorereg.fit import PRESETS


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """Dense levels alone in place of the preset, so that nothing is compiled."""
    monkeypatch.setitem(PRESETS, "cpu", TINY)


def history(out):
    return [json.loads(line) for line in (out / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def test_measured_depth_is_used_with_a_weight_and_said(tmp_path):
    scene = write_scene(tmp_path / "wall")
    result = fit(scene, tmp_path / "off", "--regularize", "geometric")
    assert "measured depth of the training photos is not used (--depth fits it)" in result.stderr
    assert (read(tmp_path / "off")["depth"], read(tmp_path / "off")["depth_pixels"]) == (None, None)
    result = fit(scene, tmp_path / "on", "--regularize", "geometric", "--depth", "0.2")
    assert "measured depth is fitted, known at 100.0% of the training photos' pixels" in result.stderr
    assert (read(tmp_path / "on")["depth"], read(tmp_path / "on")["depth_pixels"]) == (0.2, 1.0)
    assert "depth" in history(tmp_path / "on")[0]
    assert "depth" not in history(tmp_path / "off")[0]
    assert read(tmp_path / "on")["masked"] is None


def test_test_views_depth_changes_no_fit(tmp_path):
    fields = []
    for name, metres in (("a", 2000), ("b", 1200)):
        scene = write_scene(tmp_path / name)
        for index in (0, 3):
            Image.fromarray(np.full((HEIGHT, WIDTH), metres, np.uint16)).save(scene / f"depth-{index}.png")
        fit(scene, tmp_path / f"run-{name}", "--regularize", "geometric", "--depth", "0.1")
        fields.append(read(tmp_path / f"run-{name}"))
    assert fields[0]["psnr"] == fields[1]["psnr"]
    assert fields[0]["depth_abs_rel"] != fields[1]["depth_abs_rel"]


@pytest.mark.parametrize(
    ("depth", "options", "says"),
    [
        (False, ["--depth", "0.1"], "wall: the training photos have no measured depth, so there is none to fit"),
        (True, ["--depth", "much"], "--depth must be a weight above 0, such as 0.1, or off, but is 'much'"),
        (True, ["--depth", "0"], "--depth must be a weight above 0, such as 0.1, or off, but is '0'"),
        (True, ["--depth", "nan"], "--depth must be a weight above 0, such as 0.1, or off, but is 'nan'"),
    ],
)
def test_depth_that_cannot_be_is_named(depth, options, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        fit(write_scene(tmp_path / "wall", depth=depth), tmp_path / "run", "--regularize", "geometric", *options)


@pytest.mark.parametrize("views", ["1", "2"])
@pytest.mark.parametrize("regularize", ["none", "geometric"])
def test_one_view_or_two_are_fitted(views, regularize, tmp_path):
    scene = write_scene(tmp_path / "wall")
    result = fit(scene, tmp_path / "run", "--regularize", regularize, "--views", views)
    assert len(read(tmp_path / "run")["train"]) == int(views)
    alone = views == "1" and regularize == "geometric"
    assert ("there is no stereo term" in result.stderr) == alone
    assert 0 < read(tmp_path / "run")["psnr"] < 40


def test_pictures_are_of_training_views_where_none_is_held_out(tmp_path):
    scene = write_scene(tmp_path / "wall", train_filenames=TRAIN, test_filenames=[])
    result = fit(scene, tmp_path / "run", "--regularize", "none")
    metrics = read(tmp_path / "run")
    assert (metrics["psnr"], metrics["ssim"], metrics["views"], metrics["test"]) == (None, None, [], [])
    assert "no view was held out, so nothing is measured; pictures of training views" in result.stdout
    pictures = sorted(path.name for path in (tmp_path / "run" / "views").iterdir())
    assert pictures == ["train-1.png", "train-2.png", "train-4.png"]
    fit(scene, tmp_path / "run", "--regularize", "none")
    assert len(list((tmp_path / "run" / "views").iterdir())) == 3
