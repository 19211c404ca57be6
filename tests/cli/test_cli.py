"""The `scorereg` command: a run from the shell, its exit codes, and one line for each mistake."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer
from rgbd_folders import rooms, transforms
from training_runs import quick, small

import scorereg
from scorereg import load_prior
from scorereg.cli import main, one_line_errors, run_app
from scorereg.training import train_prior

SMALL = [
    "--patch",
    "8",
    "--network",
    "tiny",
    "--batch",
    "2",
    "--focal",
    "15",
    "30",
    "--precision",
    "fp32",
    "--threads",
    "1",
]


@pytest.fixture
def scenes(tmp_path):
    transforms(tmp_path / "data" / "a", 2)
    rooms(tmp_path / "data" / "b", 2)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    quick(monkeypatch)


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


@pytest.mark.filterwarnings("default")
def test_an_interrupted_run_says_how_to_go_on(call, scenes, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.training.train_prior", lambda *a, **k: warnings.warn("a\nb", stacklevel=2))
    code, _, said = call("train-prior", scenes, "--out", tmp_path / "run")
    assert code == 130
    assert said.startswith("scorereg: a b\ninterrupted, saved in")
    assert "--resume goes on" in said


def test_mistakes_are_one_line_and_exit_2(refused, scenes, tmp_path):
    out = tmp_path / "run"
    assert refused("train-prior", scenes, "--out", out, "--steps", 0, *SMALL).startswith(
        "scorereg: steps must be at least 1"
    )
    assert "no where is no folder" in refused("train-prior", tmp_path / "no\nwhere", "--out", out, "--steps", 1, *SMALL)
    (scenes / "b" / "1.depth.png").unlink()
    assert "1.depth.png is missing" in refused("train-prior", scenes, "--out", out, "--steps", 1, *SMALL)
    assert not (out / "checkpoints").exists()
    assert "no recipe is called 'magic'; choose one of edm, diffusionerf" in refused(
        "train-prior", scenes, "--out", out, "--recipe", "magic"
    )


def test_usage_errors_are_one_line_and_exit_2(refused, scenes):
    assert "Missing option '--out'. See scorereg train-prior --help." in refused("train-prior", scenes)
    assert refused("nonsense").startswith("scorereg: No such command 'nonsense'. See scorereg --help.")
    assert "No such option: --sed" in refused("sample", "x", "--sed", 3)
    assert "Invalid value for '--steps'" in refused("sample", "x", "--steps", "many")
    assert "Missing argument 'PRIOR'" in refused("inspect")


@pytest.mark.parametrize(
    ("command", "new"),
    [("train-prior", "--network"), ("sample", "--patch"), ("evaluate", "--patch"), ("make-blocks", "--block")],
)
def test_the_old_size_names_its_successor(command, new, refused):
    assert refused(command, "x", "--size", 8) == f"scorereg: --size is called {new} now.\n"


def test_an_application_of_ones_own(monkeypatch, capsys):
    """Under its own name, with its return code, and no traceback of what typer refuses."""
    own = typer.Typer()

    @own.command()
    def work(steps: int = 3) -> None:
        raise typer.Exit(steps)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["own", *words])
        with pytest.raises(SystemExit) as caught:
            run_app(own, "mine")
        return caught.value.code, capsys.readouterr().err

    assert run() == (3, "")
    assert run("--size", "3") == (2, "mine: No such option: --size (Possible options: --steps). See mine --help.\n")
    with pytest.raises(SystemExit), one_line_errors("mine"):
        raise OSError("no\nroom")
    assert capsys.readouterr().err == "mine: no room\n"


def test_other_faults_keep_their_traceback(monkeypatch, scenes, tmp_path):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("scorereg.training.train_prior", fail)
    monkeypatch.setattr(sys, "argv", ["scorereg", "train-prior", str(scenes), "--out", str(tmp_path / "run")])
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main()


def test_a_recipe_and_what_is_changed_of_it(call, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("scorereg.training.train_prior", lambda *a, **k: given.append(a) or tmp_path)
    code, *_ = call("train-prior", "DATA", "--out", tmp_path, "--recipe", "diffusionerf", "--batch", 8, "--compile")
    assert code == 0
    ((data, out, settings),) = given
    assert (data, out) == ([Path("DATA")], tmp_path)
    assert (settings.steps, settings.batch, settings.lr, settings.ema) == (650_000, 8, 1e-4, 0.995)
    assert (settings.compile, settings.checkpointing) == (True, False)


def test_export(call, refused, scenes, tmp_path):
    """Of a run's newest checkpoint or its best, with errors measured where data is named."""
    train_prior([scenes], tmp_path / "run", small(steps=1, batch=2))
    code, shown, _ = call("export", tmp_path / "run", "--out", tmp_path / "snap", "--best")
    assert (code, shown) == (0, f"prior: {tmp_path / 'snap'}, step 1\n")
    assert load_prior(tmp_path / "snap").card.steps == 1
    words = ("--measure", scenes, "--evaluate", scenes / "b", "--full")
    assert call("export", tmp_path / "run", "--out", tmp_path / "more", *words)[0] == 0
    assert set(load_prior(tmp_path / "more").card.denoising) == {"held-out", "b"}
    assert (tmp_path / "more" / "denoising.json").is_file()
    weights = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "more" / weights).stat().st_size > 1.9 * (tmp_path / "snap" / weights).stat().st_size
    assert "nothing" in refused("export", tmp_path / "nothing", "--out", tmp_path / "x")


def test_push(call, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("scorereg.training.push_prior", lambda *a, **k: given.append((a, k)) or "https://x/y")
    code, shown, _ = call("push", "runs/a", "me/mine", "--private")
    assert (code, shown) == (0, "pushed: https://x/y\n")
    assert given == [(("runs/a", "me/mine"), {"best": False, "private": True})]


def test_from_the_shell(tmp_path):
    root = Path(scorereg.__file__).parent.parent
    command = [sys.executable, "-m", "scorereg.cli", "export", tmp_path, "--out", tmp_path / "x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "card.json is missing" in done.stderr
