"""The benchmark of the examples beyond patches: what it runs, what it leaves out, and what it says."""

import json
import time

import pytest

from benchmarks import beyond


@pytest.fixture
def runs(monkeypatch):
    """The runs that were asked for, of an example that takes no time: its PSNR says what it was."""
    asked = []

    def run(scene, out, *, regularize, seed, steps, cpu_time):
        asked.append((scene.name, regularize, seed, steps))
        metrics = {
            "scene": scene.name, "regularize": regularize, "seed": seed, "device": "cpu", "views": [],
            "psnr": {"none": 10.0, "tv": 20.0}[regularize] + seed**2, "ssim": 0.5, "depth_abs_rel": None,
            "seconds": time.process_time() if cpu_time else time.monotonic(), "floater_mass": 1.0, "floater_share": 0.1,
        }  # fmt: skip
        out.mkdir(parents=True)
        (out / "metrics.json").write_text(json.dumps(metrics))
        return metrics

    monkeypatch.setitem(beyond.RUNS, "voxel_grid", run)
    return asked


def test_runs_what_is_missing_and_takes_medians(runs, tmp_path):
    scenes, results = [tmp_path / "a", tmp_path / "b"], tmp_path / "results.json"
    for seeds in (1, 3):
        beyond.main("voxel_grid", scenes, kinds="none,tv", seeds=seeds, out=tmp_path / "runs", results=results)
    assert len(runs) == len(set(runs)) == 12
    report = json.loads(results.read_text())
    assert len(report["rows"]) == 12
    assert "views" not in report["rows"][0]
    mean = report["table"][-1]
    assert (mean["scene"], mean["regularize"], mean["seeds"], mean["psnr"]) == ("mean", "tv", 3, 21.0)
    assert mean["floater_mass"] == pytest.approx(1.0)
    assert mean["depth_abs_rel"] is None


def test_runs_of_other_steps_are_others(runs, tmp_path):
    for steps in (None, 7, 7):
        beyond.main("voxel_grid", [tmp_path / "a"], kinds="tv", seeds=1, steps=steps, out=tmp_path / "runs")
    assert runs == [("a", "tv", 0, None), ("a", "tv", 0, 7)]


def test_cpu_time_is_the_process_s(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "process_time", lambda: -1.0)
    for cpu_time, out in ((True, "cpu"), (False, "clock")):
        beyond.main("voxel_grid", [tmp_path / "a"], kinds="tv", seeds=1, cpu_time=cpu_time, out=tmp_path / out)
        seconds = json.loads((tmp_path / out / "voxel_grid/a/tv-0/metrics.json").read_text())["seconds"]
        assert (seconds == -1.0) == cpu_time


def test_an_unknown_example_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"one of ray_weights, voxel_grid, own_renderer.splats, but is 'mesh'"):
        beyond.main("mesh", [tmp_path])
