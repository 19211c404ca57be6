"""The `scorereg` command: a run from the shell, its exit codes, and one line for each mistake."""

import subprocess
import sys
from pathlib import Path

import pytest
from rgbd_folders import rooms, transforms

from scorereg import cli, load_prior
from scorereg.training import export, report, train_prior

SMALL = ["--patch", "8", "--size", "tiny", "--batch", "2", "--focal", "15", "30", "--no-bf16", "--threads", "1"]


@pytest.fixture
def scenes(tmp_path):
    transforms(tmp_path / "data" / "a", 2)
    rooms(tmp_path / "data" / "b", 2)
    return tmp_path / "data"


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the entry point; return exit code, standard output and standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scorereg", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    from scorereg.training import log

    full, sampler = report.measure, report.sample
    monkeypatch.setattr(report, "measure", lambda prior, sets: full(prior, sets, count=4, fit=8))
    monkeypatch.setattr(report, "sample", lambda prior, count: sampler(prior, 2, steps=2))
    monkeypatch.setattr(log, "_board", lambda out, step: None)


def test_train_and_resume(call, scenes, tmp_path):
    out = tmp_path / "run"
    code, shown, progress = call("train-prior", scenes, "--out", out, "--steps", 1, "--name", "mine", *SMALL)
    assert code == 0
    assert str(out / "prior") in shown
    assert "images/s" in progress
    code, *_ = call("train-prior", scenes, "--out", out, "--steps", 2, "--name", "mine", "--resume", *SMALL)
    assert code == 0
    card = load_prior(out / "prior").card
    assert (card.name, card.steps) == ("mine", 2)


def test_an_interrupted_run_says_how_to_go_on(call, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.training.train_prior", lambda *a, **k: None)
    code, _, said = call("train-prior", scenes, "--out", tmp_path / "run")
    assert code == 130
    assert "interrupted, saved in" in said
    assert "--resume goes on" in said


def one_line(said: str) -> str:
    assert said.count("\n") == 1, said
    return said


def test_mistakes_are_one_line_and_exit_2(call, scenes, tmp_path):
    out = tmp_path / "run"
    code, shown, said = call("train-prior", scenes, "--out", out, "--steps", 0, *SMALL)
    assert (code, shown) == (2, "")
    assert one_line(said).startswith("scorereg: steps must be at least 1")
    code, _, said = call("train-prior", tmp_path / "no\nwhere", "--out", out, "--steps", 1, *SMALL)
    assert code == 2
    assert "no where is no folder" in one_line(said)
    (scenes / "b" / "1.depth.png").unlink()
    code, _, said = call("train-prior", scenes, "--out", out, "--steps", 1, *SMALL)
    assert code == 2
    assert "1.depth.png is missing" in one_line(said)
    assert not (out / "checkpoint.pt").exists()


def test_usage_errors_exit_2(call, scenes):
    code, _, said = call("train-prior", scenes)
    assert code == 2
    assert "--out" in said
    code, _, said = call("nonsense")
    assert code == 2


def test_the_one_command_keeps_its_name(call):
    code, shown, _ = call("--help")
    assert code == 0
    assert "train-prior" in shown


def test_other_faults_keep_their_traceback(monkeypatch, scenes, tmp_path):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("scorereg.training.train_prior", fail)
    monkeypatch.setattr(sys, "argv", ["scorereg", "train-prior", str(scenes), "--out", str(tmp_path / "run")])
    with pytest.raises(RuntimeError, match="a fault of ours"):
        cli.main()


def test_export(scenes, tmp_path, monkeypatch, capsys):
    """Of a run's newest checkpoint, with errors measured where data is named."""
    full = report.measure
    train_prior([scenes], tmp_path / "run", steps=1, patch=8, size="tiny", batch=2, focal=(15.0, 30.0), bf16=False)
    export.main(tmp_path / "run", tmp_path / "snap")
    assert capsys.readouterr().out == f"{tmp_path / 'snap'}: step 1 of 1\n"
    assert load_prior(tmp_path / "snap").card.steps == 1
    monkeypatch.setattr(export, "measure", full)
    export.main(tmp_path / "run", tmp_path / "snap", [scenes], [scenes / "b"])
    assert set(load_prior(tmp_path / "snap").card.denoising) == {"held-out", "b"}
    assert (tmp_path / "snap" / "denoising.json").is_file()
    shown = capsys.readouterr().out
    assert "held-out" in shown
    assert "rgb_ratio" in shown


def test_export_from_the_shell(tmp_path):
    root = Path(cli.__file__).parent.parent
    command = [sys.executable, "-m", "scorereg.training.export", tmp_path, tmp_path / "x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 2
    assert "checkpoint.pt is not there" in one_line(done.stderr)
