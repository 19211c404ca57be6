"""The `scorereg` command: a run from the shell, its exit codes, and one line for each mistake."""

import subprocess
import sys
import warnings
from dataclasses import fields, replace
from pathlib import Path

import pytest
import typer
from rgbd_folders import rooms, transforms
from training_runs import quick, small

import scorereg
from scorereg import PriorCard, load_prior
from scorereg.cli import main, one_line_errors, run_app
from scorereg.data import BlockMix, ReadOptions
from scorereg.training import RECIPES, Settings, train_prior

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
    code, shown, _ = call("train-prior", scenes, "--out", out, "--steps", 1, "--name", "mine", *SMALL)
    assert code == 0
    assert str(out / "prior") in shown
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
    assert refused("frobnicate").startswith("scorereg: No such command 'frobnicate'. See scorereg --help.")
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
    for words in (["--steps", ""], ["--steps="]):
        assert run(*words) == (2, "mine: nothing is given after --steps. Give a value, or leave it out.\n")
    assert run("--steps", "4") == (4, "")
    assert run("--size", "3") == (2, "mine: No such option: --size (Possible options: --steps). See mine --help.\n")
    with pytest.raises(SystemExit), one_line_errors("mine"):
        raise OSError("no\nroom")
    assert capsys.readouterr().err == "mine: no room\n"


def test_other_faults_are_one_line_that_asks_to_report_them(monkeypatch, capsys, scenes, tmp_path):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault\nof ours")

    def run(*more):
        words = ["scorereg", "train-prior", str(scenes), "--out", str(tmp_path / "run"), *more]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 1
        return capsys.readouterr().err

    monkeypatch.setattr("scorereg.training.train_prior", fail)
    line = "scorereg: a fault of the program (RuntimeError: a fault). Please report it with what --debug prints.\n"
    assert run() == line
    long = run("--debug")
    assert long.startswith("Traceback")
    assert long.endswith(line)


def test_lack_of_memory_is_no_fault_of_the_program(capsys):
    with pytest.raises(SystemExit) as caught, one_line_errors("mine"):
        raise MemoryError
    assert caught.value.code == 2
    assert capsys.readouterr().err == "mine: there is not enough memory. Use smaller data, or end other programs.\n"


def test_control_characters_of_a_strangers_file_do_not_reach_the_terminal(capsys):
    with pytest.raises(SystemExit), one_line_errors("mine"):
        raise ValueError("a\x1b[2Jb\x07c\rd")
    assert capsys.readouterr().err == "mine: a?[2Jb?c d\n"


def test_every_option_reaches_the_settings(call, tmp_path, monkeypatch):
    """Those that are given replace the recipe's, and no others."""
    given = []
    monkeypatch.setattr("scorereg.training.train_prior", lambda *a, **k: given.append((a, k)) or tmp_path)
    (tmp_path / "card.json").write_text(PriorCard("x", ("r",), (8, 8), 0.01, 1.0).to_json())
    settings = {
        "steps": 7, "batch": 8, "accumulate": 2, "channels": "rgb", "known": "r", "init": "other", "seed": 3, "lr": 0.5,
        "save_every": 4, "keep": 5, "d_min": 0.3, "grain": 0.1, "sharpen": 1.5, "depth_factor": 2.0, "workers": 1,
        "precision": "bf16",
    }  # fmt: skip
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    words += ["--network", "tiny", "--patch", 16, "--focal", 20, 40, "--depth-range", 0.5, 1.5]
    words += ["--compile", "--checkpointing", "--no-linear"]
    assert call("train-prior", "DATA", "--out", tmp_path, *words)[0] == 0
    pairs = {"focal": (20.0, 40.0), "depth_range": (0.5, 1.5)}
    expected = Settings(
        network_size="tiny", patch_size=16, compile=True, checkpointing=True, linear=False, **settings, **pairs
    )
    assert given[0][0] == ([Path("DATA")], tmp_path, expected)
    left = {
        field.name for field in fields(Settings) if getattr(expected, field.name) == getattr(Settings(), field.name)
    }
    assert left == {"recipe", "schedule", "weight_decay", "clip", "ema", "sigma", "sigma_mean", "sigma_std"}
    words = ["--name", "mine", "--licence", "CC0", "--credit", "A", "--credit", "B", "--skip-bad", "--exclude", "x*"]
    words += ["--evaluate", "MORE", "--device", "cpu", "--resume", "--recipe", "diffusionerf"]
    words += ["--batch", 8]
    assert call("train-prior", "DATA", "--out", tmp_path, *words)[0] == 0
    arguments, named = given[1]
    assert arguments[2] == replace(RECIPES["diffusionerf"], batch=8)
    assert (arguments[2].steps, arguments[2].lr, arguments[2].ema) == (650_000, 1e-4, 0.995)
    assert named == {
        "name": "mine", "licence": "CC0", "credits": ("A", "B"), "reading": ReadOptions(True, ("x*",)),
        "evaluate": [Path("MORE")], "device": "cpu", "resume": True, "show": True, "report": None,
    }  # fmt: skip


def test_every_option_reaches_the_data(call, tmp_path, monkeypatch):
    given = []
    for name in ("prepare", "make_rays", "make_blocks"):
        monkeypatch.setattr(f"scorereg.data.{name}", lambda *a, **k: given.append((a, k)) or {"train": 1})
    card = {"licence": "CC0", "credits": ("A", "B")}
    common = ["DATA", "--out", tmp_path, "--licence", "CC0", "--credit", "A", "--credit", "B"]
    many = ["-n", 5, "--seed", 3]
    words = ["--bins", 8, "--near", 0.25, "--far", 4, "--skip-bad"]
    assert call("make-rays", *common, *many, *words)[:2] == (0, f"arrays: {tmp_path}, 1 train\n")
    transform = given[0][1].pop("transform")
    assert (transform.bins, transform.near, transform.far) == (8, 0.25, 4.0)
    assert given.pop() == (
        ([Path("DATA")], tmp_path),
        {"count": 5, "seed": 3, "reading": ReadOptions(True), **card},
    )
    words = ["--block", 16, "--voxel", 1, 2, "--factor", 2, "--factor", 3, "--up", "z", "--kind", "sdf"]
    assert call("make-blocks", *common, *many, *words)[0] == 0
    mix = BlockMix(size=16, factors=(2, 3), up="z", kind="sdf")
    assert given.pop()[1] == {"count": 5, "seed": 3, "voxel": (1.0, 2.0), "mix": mix, "show": True, **card}
    words = ["--focal", 90, "--d-min", 0.25, "--channels", "rgb", "--depth-factor", 2, "--skip-bad", "--exclude", "x*"]
    # what is returned here is no manifest
    assert call("prepare", *common, *words, "--shard-frames", 9, "--workers", 2, "--name", "mine")[0] == 1
    named = given.pop()[1]
    assert callable(named.pop("progress"))
    assert named == {
        "focal": 90.0, "d_min": 0.25, "channels": ("r", "g", "b"), "depth_factor": 2.0, "shard_frames": 9,
        "reading": ReadOptions(True, ("x*",)), "workers": 2, "name": "mine", **card,
    }  # fmt: skip


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
    assert "is an empty folder" in done.stderr
