"""The benchmark of the operations: what it prints, and that what it compares computes the same."""

import json
import sys

import pytest
import torch
import typer
from torch.testing import assert_close
from typer.testing import CliRunner

from benchmarks import ops, ops_hash, ops_patches, ops_rays
from benchmarks.ops_case import Case, void
from scorereg.ops import composite, distortion, gather_patches, scatter_patches


def work(times):
    x = torch.rand(64, 64)
    return lambda: void([x @ x for _ in range(times)])


@pytest.fixture
def told(monkeypatch):
    """What is printed as JSON with one case of known cost."""
    case = Case("composite", "a case", {"ours": work(50), "slower": work(200)}, repeats=9, bytes=10**6)
    monkeypatch.setattr(ops, "_copy_bandwidth", lambda device: 2e10)
    monkeypatch.setattr(ops_patches, "cases", lambda device: iter([case]))
    monkeypatch.setattr(ops_rays, "cases", lambda device: iter([]))
    monkeypatch.setattr(ops_hash, "rows", lambda device: [])
    command = typer.Typer()
    command.command()(ops.main)
    result = CliRunner().invoke(command, ["--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_one_object_is_printed_last(told):
    assert {"device", "driver", "torch", "triton", "rows"} <= set(told)
    assert (told["torch"], told["copy_gb_per_s"], told["driver"]) == (torch.__version__, 20.0, None)
    (row,) = told["rows"]
    assert (row["op"], row["case"], row["against"]) == ("composite", "a case", "slower")
    assert 1.5 < row["ratio"] < 12  # other / ours: 4, but for the noise of other work
    assert row["bandwidth_share"] == pytest.approx(1e6 / (row["ours_ms"] * 1e-3) / 2e10, rel=0.1, abs=1e-3)


def test_the_driver_is_what_the_gpu_says(monkeypatch):
    said = "import sys; print('595.12.3' if 'driver_version' in sys.argv[1] else '')"
    run = ops.subprocess.run
    monkeypatch.setattr(
        ops.subprocess, "run", lambda words, **more: run([sys.executable, "-c", said, *words[1:]], **more)
    )
    assert ops._driver("cuda") == "595.12.3"


def test_rivals_compute_the_same():
    tau, rgb, depth, edges = ops_rays._rays("cpu", 5, 9)
    shown = composite(tau, rgb, depth, edges[:, :-1], edges[:, 1:])
    ours = (shown.rgb, shown.depth, shown.inverse_depth, shown.opacity, shown.distortion)
    for one, other in zip(ours, ops_rays._unfused(tau, rgb, depth, edges), strict=True):
        assert_close(one, other)
    assert_close(distortion(shown.weights, edges), ops_rays._linear(shown.weights, edges))


def test_rivals_show_the_same_patches(monkeypatch):
    monkeypatch.setattr(ops_patches, "_WIDTH", 60)
    monkeypatch.setattr(ops_patches, "_HEIGHT", 50)
    images, index = torch.rand(3, 3, 50, 60), torch.tensor([0, 0, 1, 1, 2, 2])
    corners = 5 + 10 * torch.rand(6, 2)
    ours, _ = gather_patches(images, corners, 9, index=index)
    assert_close(ops_patches._grid_sample(images, corners, 9), ours, rtol=0, atol=1e-5)
    assert_close(ops_patches._unfold(images, corners, 9, index), ours, rtol=0, atol=1e-5)
    coarse, _ = gather_patches(images, corners, 9, 3.3, index=index)
    assert_close(ops_patches._summed_areas(images, corners, 9, 3.3, index), coarse, rtol=0, atol=1e-5)
    patches, corners, window = torch.randn(8, 2, 5, 5), torch.randint(0, 8, (8, 2)), torch.rand(5, 5)
    ours, _ = scatter_patches(patches, corners, (12, 12), window=window)
    assert_close(ops_patches._index_add(patches, corners, 12, window), ours, rtol=0, atol=1e-5)


def test_nerfacc_computes_the_same():
    pytest.importorskip("nerfacc")
    tau, rgb, depth, edges = ops_rays._rays("cpu", 5, 9)
    for one, other in zip(
        ops_rays._nerfacc(tau, rgb, depth, edges), ops_rays._unfused(tau, rgb, depth, edges), strict=True
    ):
        assert_close(one, other)
