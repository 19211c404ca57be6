"""Runs of several processes, and runs that are killed: the same weights as of one process that never was."""

import multiprocessing
import os
import random
import socket
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from training_runs import Waves, assert_same, content, quick, run_apart, small

from scorereg.training import train_prior

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def start():
    """A function that begins a run in a new process, forked off one that has everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_runs", "scorereg.training.train", "accelerate"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()

    def begin(out: Path, settings: dict, **environment: str) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=run_apart, args=(out, settings, environment))
        process.start()
        return process

    return begin


def finished(process) -> bool:
    process.join(timeout=900)
    return process.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["edm", "diffusionerf"])
def test_two_processes_get_the_loss_of_one(tmp_path, monkeypatch, start, recipe):
    """Two that share a batch, and one that takes it in two parts: losses, weights and average agree."""
    quick(monkeypatch)
    settings = {"steps": 4, "batch": 8, "recipe": recipe, "lr": 1e-2}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    world["ACCELERATE_USE_CPU"] = "true"
    both = [start(tmp_path / "two", settings, RANK=str(i), LOCAL_RANK=str(i), **world) for i in range(2)]
    assert [finished(process) for process in both] == [True, True]
    train_prior(Waves(), tmp_path / "one", small(**settings, accumulate=2))
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert_close(two["network"], one["network"], rtol=1e-4, atol=1e-5)
    assert_close(two["average"], one["average"], rtol=1e-4, atol=1e-5)
    assert two["step"] == 4
    losses = [(out / "metrics.jsonl").read_text().split('"loss": ')[1].split(",")[0] for out in tmp_path.iterdir()]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)


@pytest.mark.slow
def test_killed_five_times_at_random(tmp_path, start):
    """SIGKILL, at any moment of a step or of the writing of a checkpoint: the weights end the same to the bit."""
    settings = {"steps": 60, "save_every": 3, "keep": 2}
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    began = time.perf_counter()
    assert finished(start(whole, settings))
    took = time.perf_counter() - began
    chance = random.Random(0)
    for _ in range(5):
        process, begun = start(parted, settings), newest(parted)
        while process.is_alive() and newest(parted) == begun:  # until it has gone on for a little
            time.sleep(0.005)
        time.sleep(chance.uniform(0, took / 15))
        assert process.is_alive(), "the run was over too soon"
        process.kill()
        process.join()
    assert finished(start(parted, settings))
    assert_same(content(whole), content(parted))
    assert torch.isfinite(content(whole)["network"]["conv_in.weight"]).all()


def newest(out: Path) -> str:
    return max((path.name for path in (out / "checkpoints").glob("0*.pt")), default="")
