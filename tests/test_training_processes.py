"""Runs of several processes, and runs that are killed: the same weights as of one process that never was."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from training_runs import Waves, assert_same, content, quick, small

from scorereg.training import train_prior

pytest.importorskip("accelerate")
HERE = Path(__file__).parent

SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from training_runs import Waves, small
from scorereg.sampling import sample
from scorereg.training import log, report, train_prior
from pathlib import Path
log._board = lambda out, step: None
full = report.measure
report.measure = lambda prior, source: full(prior, source, count=8, fit=32)
report.sample = lambda prior, count: sample(prior, 4, steps=2)
train_prior(Waves(), Path(sys.argv[1]), small(**eval(sys.argv[2])), resume=True, device="cpu")
"""


def start(out: Path, settings: dict, **environment: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    command = [sys.executable, "-c", SCRIPT, str(out), repr(settings)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["edm", "diffusionerf"])
def test_two_processes_get_the_loss_of_one(tmp_path, monkeypatch, recipe):
    """Two that share a batch, and one that takes it in two parts: losses, weights and average agree."""
    quick(monkeypatch)
    settings = {"steps": 4, "batch": 8, "recipe": recipe, "lr": 1e-2}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [
        start(tmp_path / "two", settings, ACCELERATE_USE_CPU="true", RANK=str(i), LOCAL_RANK=str(i), **world)
        for i in range(2)
    ]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    train_prior(Waves(), tmp_path / "one", small(**settings, accumulate=2))
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert_close(two["network"], one["network"], rtol=1e-4, atol=1e-5)
    assert_close(two["average"], one["average"], rtol=1e-4, atol=1e-5)
    assert two["step"] == 4
    losses = [(out / "metrics.jsonl").read_text().split('"loss": ')[1].split(",")[0] for out in tmp_path.iterdir()]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)


@pytest.mark.slow
def test_killed_five_times_at_random(tmp_path):
    """SIGKILL, at any moment of a step or of the writing of a checkpoint: the weights end the same to the bit."""
    settings = {"steps": 60, "save_every": 3, "keep": 2}
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    began = time.perf_counter()
    assert start(whole, settings).wait(timeout=300) == 0
    took = time.perf_counter() - began
    chance, kills = random.Random(0), 0
    while kills < 5:
        process = start(parted, settings)
        begun = sorted((parted / "checkpoints").glob("0*.pt"))
        deadline = time.perf_counter() + took
        while process.poll() is None and time.perf_counter() < deadline:  # until it has gone on for a little
            if sorted((parted / "checkpoints").glob("0*.pt")) != begun:
                break
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        else:
            break
        process.wait()
    assert kills == 5, "the run was over too soon"
    assert start(parted, settings).wait(timeout=300) == 0
    assert_same(content(whole), content(parted))
    assert torch.isfinite(content(whole)["network"]["conv_in.weight"]).all()
