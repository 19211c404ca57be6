"""`scorereg render`, `eval` and `export` on a run, as a user calls them."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from small_scenes import write_room

from scorereg.fit import Fit, Recipe, photo_terms
from scorereg.fit.folder import fit_to_folder, make_run_folder
from scorereg.rendering import MLP
from scorereg.scenes import load_scene

RECIPE = Recipe(steps=5, rays=32, samples=6, proposal_samples=8)


@pytest.fixture(autouse=True)
def _without_progress(monkeypatch):
    monkeypatch.setattr("scorereg._progress.EVERY", 1e6)  # whose lines come where the machine is slow


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A run of a room, and the room."""
    folder = tmp_path_factory.mktemp("fitted")
    scene = load_scene(write_room(folder / "room"), 2)
    make_run_folder(folder / "run")
    field = MLP(*scene.ball(), layers=2, width=16)
    with torch.no_grad():
        field.density.bias.fill_(3.0)  # so that something is opaque
    facts = {"regularize": "none"}
    fit_to_folder(scene, folder / "run", terms=photo_terms(), recipe=RECIPE, facts=facts, field=field)
    return folder


@pytest.fixture
def run(fitted, tmp_path):
    return shutil.copytree(fitted / "run", tmp_path / "run")


def test_a_fit_leaves_pictures_of_training_views_and_a_contact_sheet(fitted):
    names = sorted(path.name for path in (fitted / "run" / "views").iterdir())
    assert names == ["2.png", "3.png", "train-0.png", "train-1.png"]
    with Image.open(fitted / "run" / "contact.png") as sheet:
        assert sheet.height > 4 * 24


def test_render_writes_what_is_asked_for(call, run, tmp_path):
    code, said, told = call("render", run, "--out", tmp_path / "r", "--what", "color,opacity", "--size", "16")
    assert (code, told) == (0, "")
    assert said == f"renders: {tmp_path / 'r'}, 2 views of color, opacity\n"
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["cameras.json", "color", "opacity"]
    with Image.open(tmp_path / "r" / "color" / "2.png") as image:
        assert image.size == (16, 12)


def test_render_follows_the_cameras_of_a_file(call, run, tmp_path):
    call("render", run, "--out", tmp_path / "a", "--cameras", "train", "--what", "depth")
    code, _, _ = call(
        "render", run, "--out", tmp_path / "b", "--cameras", tmp_path / "a" / "cameras.json", "--what", "depth"
    )
    assert code == 0
    one, other = (np.load(tmp_path / name / "depth" / "0.npy") for name in "ab")
    assert np.abs(one - other).max() < 1e-3


def test_a_path_is_a_film(call, run, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    code, _, _ = call("render", run, "--out", tmp_path / "r", "--cameras", "spiral", "--frames", 3, "--what", "color")
    assert code == 0
    assert (tmp_path / "r" / "video.mp4").stat().st_size > 500
    call("render", run, "--out", tmp_path / "s", "--cameras", "spiral", "--frames", 3, "--no-video")
    assert not (tmp_path / "s" / "video.mp4").exists()


def test_eval_agrees_with_the_fit(call, run):
    code, said, told = call("eval", run)
    assert (code, told) == (0, "")
    before, after = (json.loads((run / name).read_text()) for name in ("metrics.json", "eval.json"))
    for name in ("psnr", "ssim", "depth_abs_rel"):
        assert after[name] == pytest.approx(before[name], abs=1e-4)
    assert [view["view"] for view in after["views"]] == ["2.png", "3.png"]
    assert said.splitlines()[0].split() == ["view", "PSNR", "dB", "SSIM", "depth", "abs-rel"]
    assert said.splitlines()[3].split()[:2] == ["mean", f"{after['psnr']:.2f}"]


def test_eval_tells_what_differs(call, run):
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"psnr": 50.0}))
    code, _, told = call("eval", run)
    assert code == 0
    assert "metrics.json has other numbers: psnr was 50.0, now" in told


def test_eval_of_a_scene_that_was_moved(call, run, fitted, tmp_path):
    table = json.loads((run / "fit.json").read_text())
    table["scene"]["path"] = str(tmp_path / "gone")
    (run / "fit.json").write_text(json.dumps(table))
    code, _, told = call("eval", run)
    assert code == 2
    assert "gone, the scene of the run, is not there. Give its folder: --scene." in told
    assert call("eval", run, "--scene", fitted / "room", "--out", tmp_path / "e.json")[0] == 0
    assert (tmp_path / "e.json").is_file()
    assert call("render", run, "--out", tmp_path / "r", "--what", "color")[0] == 0, "photos are not needed"
    code, said, told = call("export", run, "--transforms", tmp_path / "scene")
    assert code == 0
    assert "renders in place of photos. --scene names it" in told
    assert "4 views, 0 of them with photos" in said


def test_eval_without_held_out_views(call, tmp_path):
    from dataclasses import replace

    scene = replace(load_scene(write_room(tmp_path / "room"), 2), test=())
    make_run_folder(tmp_path / "run")
    field = MLP(*scene.ball(), layers=1, width=8)
    facts = {"regularize": "none"}
    fit_to_folder(scene, tmp_path / "run", terms=photo_terms(), recipe=RECIPE, facts=facts, field=field)
    assert sorted(path.name for path in (tmp_path / "run" / "views").iterdir()) == ["train-0.png", "train-1.png"]
    code, _, told = call("eval", tmp_path / "run")
    assert code == 2
    assert "no view was held out of the fit, so there is nothing to measure it on" in told


def test_export_writes_all_kinds(call, run, tmp_path):
    code, said, _ = call(
        "export", run, "--points", tmp_path / "p.ply", "--depth", tmp_path / "d", "--transforms", tmp_path / "s",
        "--count", 100, "--frames", 2,
    )  # fmt: skip
    assert code == 0
    assert [line.partition(":")[0] for line in said.splitlines()] == ["points", "scene", "depth"]
    assert "2 views, 2 of them with photos" in said
    assert load_scene(tmp_path / "s", 1).cameras.width == 32


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["export", "RUN"], "is a fit, and nothing is to be written. Give some of --points"),
        (["export", "RUN", "--points", "p.ply", "--best"], "--out, --best, --full and --measure of a prior"),
        (["export", "rooms-rgbd-24"], "is taken for a prior, and nothing is to be written. Give --out"),
        (["export", "RUN", "--out", "x"], "is of scorereg fit: the field of a scene, and no prior"),
        (["export", "RUN", "--mesh", "m.stl"], "m.stl must end with .ply, .obj, .glb"),
        (["export", "rooms-rgbd-24", "--points", "p.ply"], "rooms-rgbd-24 is not there; give the folder of a run"),
        (["render", "RUN"], "Missing option '--out'"),
        (["render", "RUN", "--out", "x", "--cameras", "none.json"], "none.json is missing"),
        (["render", "RUN", "--out", "x", "--cameras", "around"], "--cameras must be test, train, all"),
        (["render", "RUN", "--out", "x", "--size", "8", "--scale", "2"], "Give one of them"),
        (["render", "RUN", "--out", "x", "--what", "colour"], "--what must be some of color"),
        (["render", "nowhere", "--out", "x"], "nowhere is not there; give the folder of a run"),
        (["eval", "nowhere"], "nowhere is not there; give the folder of a run"),
    ],
)
def test_a_mistake_is_one_line(words, says, call, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, told = call(*(run if word == "RUN" else word for word in words))
    assert code == 2
    assert says in told
    assert len(told.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_a_run_that_is_damaged_is_one_line(call, run, tmp_path):
    weights = run / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    for words in (
        ["eval", run],
        ["render", run, "--out", tmp_path / "x"],
        ["export", run, "--points", tmp_path / "p.ply"],
    ):
        code, _, told = call(*words)
        assert code == 2
        assert "weights.safetensors is damaged" in told
        assert len(told.strip().splitlines()) == 1


def test_a_run_is_loaded_in_python_as_on_the_command_line(run):
    fit = Fit.load(run)
    assert fit.scene.test == (2, 3)
    assert fit.with_photos().scene.depth is not None
