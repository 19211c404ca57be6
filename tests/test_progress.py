"""Lines of progress: which stage, how far, when; who is told; and that no command is silent for long."""

import sys
import time

import numpy as np
import pytest
import typer
from PIL import Image

from scorereg import _progress
from scorereg._progress import Stage, bar, hushed, stage, steps, told


@pytest.fixture
def said(monkeypatch):
    monkeypatch.setattr(_progress, "EVERY", 0.1)
    return []


def slowly(items, seconds=0.15):
    for item in items:
        time.sleep(seconds)
        yield item


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_a_line_says_what_how_far_how_long_and_how_long_yet(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    one = Stage("reading", 10, done=2)
    assert str(one) == "reading: 2 of 10"
    now[0] += 30
    assert str(one) == "reading: 2 of 10, 30 s", "nothing was done yet that would tell the speed"
    one.step("loss 0.5")
    one.step()
    assert str(one) == "reading: 4 of 10, loss 0.5, 30 s, about 90 s left"
    now[0] += 270
    assert str(one) == "reading: 4 of 10, loss 0.5, 5 min, about 15 min left"
    now[0] += 6900
    assert str(Stage("x")) == "x"
    assert str(one) == "reading: 4 of 10, loss 0.5, 2.0 h, about 6.0 h left"


def test_work_is_silent_by_itself_and_said_where_someone_listens(said, capsys):
    assert list(steps("a", slowly(range(2)), 2)) == [0, 1]
    assert capsys.readouterr().err == ""
    with told(said.append):
        assert list(steps("a", slowly(range(4)), 4)) == [0, 1, 2, 3]
    assert said
    assert all(line.startswith("a: ") and " of 4" in line for line in said)
    count = len(said)
    list(steps("a", slowly(range(2)), 2))
    assert len(said) == count, "nobody listens any more"


def test_also_within_a_single_long_step_and_of_work_that_counts_nothing(said):
    with told(said.append, idle="at work"):
        time.sleep(0.35)
        with stage("one"):
            time.sleep(0.35)
    assert said[0].startswith("at work, ")
    assert said[-1] == "one"


def test_the_innermost_stage_is_said_and_short_ones_only_if_announced(said, monkeypatch):
    monkeypatch.setattr(_progress, "EVERY", 30.0)
    with told(said.append), stage("outer"):
        with stage("short"):
            time.sleep(0.25)
        with stage("inner", announce=True):
            time.sleep(0.25)
    assert said == ["inner"]


def test_an_inner_listener_takes_over_and_hushed_work_is_not_said(said):
    inner = []
    with told(said.append):
        with told(inner.append), stage("a"):
            time.sleep(0.3)
        with hushed(), stage("b"):
            time.sleep(0.3)
        with stage("c"):
            time.sleep(0.3)
    assert set(inner) == {"a"}
    assert set(said) == {"c"}


def test_the_pause_is_counted_from_the_last_line_of_an_inner_listener(said):
    times = []
    with told(said.append):
        began = time.monotonic()
        with told(lambda line: times.append(time.monotonic())), stage("inner"):
            until(lambda: times)
        watch = _progress._heard.get()
        assert began < watch.said <= times[-1]


def test_long_stages_are_said_less_often_until_they_are_called_something_else(said, monkeypatch):
    monkeypatch.setattr(_progress, "_FIRST", 0.0)
    monkeypatch.setattr(_progress, "_LATER", 1e6)
    with told(said.append), stage("a") as own:
        time.sleep(0.3)
        assert said == []
        monkeypatch.setattr(_progress, "_FIRST", 60.0)
        own.say(what="b")
        until(lambda: said)
    assert said[0] == "b"


def test_a_bar_is_a_stage_without_a_terminal_and_drawn_on_one(said, monkeypatch, capsys):
    with told(said.append), bar("fit", 4) as shown:
        time.sleep(0.15)
        shown.step("PSNR 20")
        time.sleep(0.15)
    assert said[-1] == "fit: 1 of 4, PSNR 20"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with told(said.append), bar("drawn", 4) as shown:
        shown.step("PSNR 21")
        shown.say("", "rendering")
        time.sleep(0.3)
    assert not any("drawn" in line for line in said)
    assert "rendering" in capsys.readouterr().err


def test_every_command_says_something(said, monkeypatch, capsys):
    """Whatever takes long in it: here a command of nothing but a wait."""
    from scorereg.cli import run_app

    app = typer.Typer()
    app.command()(lambda: time.sleep(0.5))
    monkeypatch.setattr(sys, "argv", ["own"])
    with pytest.raises(SystemExit):
        run_app(app, "own")
    assert "at work, " in capsys.readouterr().err


@pytest.fixture
def frames(tmp_path):
    """Two scenes of two RGB-D frames, and their cameras."""
    import json

    for scene in ("a", "b"):
        folder = tmp_path / "rooms" / scene
        folder.mkdir(parents=True)
        entries = []
        for i in range(2):
            generator = np.random.default_rng(i)
            Image.fromarray(generator.integers(0, 255, (48, 64, 3), np.uint8)).save(folder / f"{i}.png")
            Image.fromarray(np.full((48, 64), 2000 + i, np.uint16)).save(folder / f"{i}_depth.png")
            pose = np.eye(4)
            pose[0, 3] = 0.1 * i
            entries.append(
                {"file_path": f"{i}.png", "depth_file_path": f"{i}_depth.png", "transform_matrix": pose.tolist()}
            )
        about = {"fl_x": 80.0, "fl_y": 80.0, "cx": 32.0, "cy": 24.0, "w": 64, "h": 48, "frames": entries}
        (folder / "transforms.json").write_text(json.dumps(about))
    return tmp_path / "rooms"


def slow_reader(monkeypatch, module, name):
    """Reading a file takes longer than the pause between lines."""
    there = sys.modules[module]
    fast = getattr(there, name)

    def slow(*given, **settings):
        time.sleep(0.12)
        return fast(*given, **settings)

    monkeypatch.setattr(there, name, slow)


def frame_source(frames, out):
    from scorereg.data.bad_frames import ReadOptions
    from scorereg.data.frames.source import open_frames
    from scorereg.data.patch_spec import PatchSpec

    open_frames([frames], PatchSpec(24, focal=(40.0, 80.0)), ReadOptions())


def rays(frames, out):
    from scorereg.data import make_rays

    make_rays([frames], out, count=64)


def shards(frames, out):
    from scorereg.data import prepare

    prepare([frames], out, focal=80.0, shard_frames=4)


def scene(frames, out):
    from scorereg.scenes import load_scene

    load_scene(frames / "a", 2)


READS = {
    "reading frames": (frame_source, "scorereg.data.frames.load", "read_frame"),
    "rays of frames": (rays, "scorereg.data.rays.make", "read_frame"),
    "frames of ": (shards, "scorereg.data.shards.write", "read_frame"),
    "reading photos": (scene, "scorereg.scenes.capture", "read_picture"),
}


@pytest.mark.parametrize("what", READS)
@pytest.mark.filterwarnings("ignore")
def test_reading_says_how_far_it_is(what, frames, tmp_path, said, monkeypatch):
    call, module, name = READS[what]
    __import__(module)
    slow_reader(monkeypatch, module, name)
    with told(said.append):
        call(frames, tmp_path / "out")
    assert any(line.startswith(what) and " of " in line for line in said), said


def test_sampling_and_measuring_say_how_far_they_are(said):
    import torch

    from scorereg import GaussianFieldPrior, sample
    from scorereg.evaluation.denoising import LinearFilter, denoising_errors, residual_quantiles

    class Slow(GaussianFieldPrior):
        def denoise(self, x, sigma):
            time.sleep(0.06)
            return super().denoise(x, sigma)

    prior, x = Slow(size=8, channels=("gray",)), torch.rand(4, 1, 8, 8)
    with told(said.append):
        sample(prior, 2, size=(8, 8), sigmas=(0.01, 5.0), steps=4)
        denoising_errors(prior, LinearFilter(x), x, sigmas=(0.1, 0.2, 0.5), name=" on rooms", chunk=2)
        residual_quantiles(prior, x, sigmas=(0.1, 0.2, 0.5), chunk=2)
    for what in ("drawing samples: ", "measuring the denoising error on rooms, noise levels: ", "measuring residuals"):
        assert any(line.startswith(what) for line in said), (what, said)
