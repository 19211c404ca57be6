"""Callbacks of fits and of training: what they hear, what they write, and that they change nothing."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from training_runs import Waves, quick, small

from scorereg.callbacks import Callback, JsonLines, Run, TensorBoard, WandB, as_callback, begun, logs_of
from scorereg.cameras import Cameras
from scorereg.fit import Recipe, fit_scene, photo_terms
from scorereg.rendering import MLP
from scorereg.scenes import Scene

RECIPE = Recipe(steps=4, rays=16, samples=4, proposal_samples=6)


class Ear(Callback):
    """Hears everything."""

    pictures = True

    def __init__(self):
        self.heard = []

    def begin(self, run):
        self.run = run
        self.heard.append(("begin", run.name, run.steps, run.first))

    def step(self, step):
        self.heard.append(("step", step))

    def values(self, values):
        self.heard.append(("values", values["step"]))

    def picture(self, name, picture, step):
        assert picture.shape[-1] == 3
        assert 0 <= picture.min() <= picture.max() <= 1
        self.heard.append(("picture", name, step))

    def end(self):
        self.heard.append(("end",))


def wall():
    pose = torch.eye(3, 4).repeat(2, 1, 1)
    pose[:, 0, 3] = torch.tensor([0.0, 0.3])
    cameras = Cameras(pose, torch.full((2, 2), 16.0), torch.full((2, 2), 8.0), 16, 16)
    images = torch.linspace(0, 1, 2 * 16 * 16 * 3).reshape(2, 16, 16, 3)
    return Scene("wall", images, cameras, None, (0, 1), (), 1.0, 5.0, 1.0, True, ("0.png", "1.png"))


def fit(**more):
    scene = wall()
    return fit_scene(scene, field=MLP(*scene.ball(), layers=2, width=16), terms=photo_terms(), recipe=RECIPE, **more)


def test_a_fit_tells_its_callbacks_in_order():
    ear = Ear()
    fit(report=ear)
    each = [event for step in range(4) for event in (("step", step), ("values", step))]
    assert ear.heard == [("begin", "wall", 4, 0), *each, ("end",)]
    assert ear.run.settings["rays"] == 16
    assert ear.run.settings["terms"].startswith("photo")


def test_a_fit_that_fails_tells_its_end():
    class Stops(Ear):
        def step(self, step):
            raise ZeroDivisionError

    ear = Stops()
    with pytest.raises(ZeroDivisionError):
        fit(report=ear)
    assert ear.heard[-1] == ("end",)


def test_a_snapshot_is_a_fit_that_further_steps_do_not_change_and_that_changes_nothing():
    class Looks(Ear):
        def step(self, step):
            if step == 1:
                self.shot = self.run.snapshot()
                self.seen = self.shot.image(self.shot.scene.cameras.image_rays(0))[0].clone()

    ear = Looks()
    watched, plain = fit(report=ear), fit()
    rays = watched.scene.cameras.image_rays(0)
    assert torch.equal(watched.image(rays)[0], plain.image(rays)[0]), "to the bit"
    assert torch.equal(ear.shot.image(rays)[0], ear.seen)
    assert not torch.equal(ear.shot.image(rays)[0], plain.image(rays)[0])
    assert [entry["step"] for entry in ear.shot.history] == [0]


def test_what_report_takes():
    heard, ear = [], Ear()
    both = as_callback([heard.append, ear, [heard.append]])
    assert both.pictures
    with begun(both, Run("x", 2)):
        both.values({"step": 0, "loss": 1.0})
        both.picture("p", torch.zeros(2, 2, 3), 0)
    assert heard == [{"step": 0, "loss": 1.0}] * 2
    assert ear.heard == [("begin", "x", 2, 0), ("values", 0), ("picture", "p", 0), ("end",)]
    assert not as_callback(None).pictures
    for wrong in ("jsonl", 3, Ear):
        with pytest.raises(
            ValueError, match=r"report is a Callback, a function of a step's values, or a list of these"
        ):
            as_callback(wrong)


def test_lines_are_there_as_they_come_and_a_resumed_run_has_each_once(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = JsonLines(path)
    with begun(lines, Run("x", 4)):
        for step in range(3):
            lines.values({"step": step})
            assert len(path.read_text().splitlines()) == step + 1
    again = JsonLines(path)
    with begun(again, Run("x", 4, first=2)):
        again.values({"step": 2})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_a_log_is_a_plain_file(make, tmp_path):
    make(tmp_path / "log.jsonl")
    with pytest.raises(OSError, match=r"log\.jsonl is a (pipe, device or socket|folder)"):
        JsonLines(tmp_path / "log.jsonl").begin(Run("room", 4))


def test_training_tells_its_callbacks_and_the_prior_so_far(tmp_path, monkeypatch):
    pytest.importorskip("accelerate", reason="pip install 'scorereg[train]'")
    from scorereg.training import train_prior

    quick(monkeypatch)

    class Looks(Ear):
        def step(self, step):
            super().step(step)
            self.prior = self.run.snapshot()

    ear = Looks()
    train_prior(Waves(), tmp_path / "run", small(steps=2, save_every=2), report=ear)
    assert [event for event in ear.heard if event[0] != "values"] == [
        ("begin", "prior", 2, 0), ("step", 1), ("step", 2), ("picture", "samples", 2), ("end",),
    ]  # fmt: skip
    assert ear.prior.card.steps == 2
    assert not (tmp_path / "run" / "tensorboard").exists()


WANDB = '''
"""A stand-in for wandb: what it is told lies in a file."""
import json, os
def note(*what):
    with open(os.environ["TOLD"], "a") as file: file.write(json.dumps(what) + "\\n")
class Image:
    def __init__(self, array): self.shape = array.shape
class Board:
    def log(self, values, step):
        if "full" in values: raise OSError("no space left")
        note("log", {k: v.shape if isinstance(v, Image) else v for k, v in values.items()}, step)
    def finish(self): note("finish")
def init(**settings):
    if os.environ.get("WANDB_MODE") != "offline": raise RuntimeError("api_key not configured (no-tty)")
    note("init", settings["project"], settings["name"], settings["id"], settings["resume"])
    return Board()
'''


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    yield lambda: [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    sys.modules.pop("wandb", None)


def test_what_wandb_is_told_and_a_resumed_run_is_the_same_one(tmp_path, wandb):
    for first in (0, 2):
        board = WandB(tmp_path)
        with begun(board, Run("room", 4, first, {"lr": 0.1})):
            board.values({"step": first, "loss": 0.5, "denoising": {"0.1": 0.25, "0.2": None}, "best": None})
            board.picture("samples", torch.zeros(2, 3, 3), first)
    init, logged, picture, finished, second, *_ = wandb()
    assert init[:3] == ["init", "scorereg", tmp_path.name]
    assert logged == ["log", {"loss": 0.5, "denoising/0.1": 0.25}, 0]
    assert picture == ["log", {"samples": [2, 3, 3]}, 0]
    assert finished == ["finish"]
    assert second == init, "by the id in wandb-id.txt"
    with begun(WandB(tmp_path), Run("room", 4)):
        pass
    assert wandb()[-2][3] != init[3], "a new run has a new id"


def test_a_fit_sends_no_picture_to_wandb(tmp_path, wandb):
    fit(report=WandB(tmp_path))
    events = wandb()
    assert {event[0] for event in events} == {"init", "log", "finish"}
    assert all(isinstance(value, int | float) for event in events if event[0] == "log" for value in event[1].values())


def test_a_run_goes_on_without_a_writer_that_fails(tmp_path, wandb):
    board = WandB(tmp_path)
    with begun(board, Run("room", 4)):
        with pytest.warns(UserWarning, match=r"wandb in .* cannot be written \(no space left\). It is not told more."):
            board.values({"step": 0, "full": 1.0})
        board.values({"step": 1, "loss": 1.0})
    assert [event[0] for event in wandb()] == ["init"]


def test_wandb_without_an_account_is_one_line(tmp_path, wandb, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    with (
        pytest.raises(ValueError, match=r"--log wandb: wandb does not start \(api_key .*set WANDB_MODE=offline"),
        begun(WandB(tmp_path), Run("room", 4)),
    ):
        pass


def test_what_is_not_installed_or_unknown_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.callbacks.writers.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--log wandb needs wandb, which is not installed: pip install wandb"):
        logs_of(["wandb"], tmp_path)
    with pytest.raises(ValueError, match=r"needs tensorboard, .*: pip install 'scorereg\[train\]'"):
        TensorBoard(tmp_path)
    with pytest.raises(ValueError, match=r"--log must be one of jsonl, tensorboard, wandb, but is 'json'"):
        logs_of(["json"], tmp_path)
    assert logs_of(["jsonl"], tmp_path) == []
    assert [type(log) for log in logs_of(["jsonl"], tmp_path, lines=tmp_path / "a")] == [JsonLines]


def test_the_command_logs_as_it_goes(tmp_path, monkeypatch):
    from scorereg.cli.fit import run_fit

    monkeypatch.setattr("scorereg.fit.fit.default_field", lambda scene, *_, **__: MLP(*scene.ball(), layers=2, width=8))
    room = Path(__file__).parents[2] / "examples" / "nerf_fewshot" / "room"
    run_fit(
        room, tmp_path / "run", max_size=32, regularize="none", steps=2, rays=16, video=0, log=["jsonl"], device="cpu"
    )
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1]
