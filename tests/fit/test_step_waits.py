"""A step of a fit asks no tensor for its value and copies nothing from the host, so that a GPU need not wait for it."""

import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import scorereg
from scorereg import load_prior, load_scene
from scorereg.fit.fit import _proposal, default_field, default_terms
from scorereg.fit.loop import FitState
from scorereg.fit.recipe import CPU
from scorereg.fit.term import as_terms
from scorereg.ops import GridShape

PACKAGE = Path(scorereg.__file__).parent
GRID = GridShape(levels=3, log2_slots=8, base=4, finest=16)
ROOM = PACKAGE.parent / "examples" / "nerf_fewshot" / "room"

# Operations that make a GPU wait for Python, or Python for a GPU.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "is_nonzero", "equal.default")

# Where a step may wait: what runs on a CPU only, and what is read there on purpose.
ALLOWED = {
    ("_ema.py", "update"): "AveragedModel counts on the host",
    ("fit/loop.py", "step"): "AveragedModel counts on the host",
    ("ops/_gather_patches/eager.py", "gather_eager"): "a GPU runs its kernel",
    ("ops/_gather_patches/eager.py", "shares"): "a GPU runs its kernel",
    ("ops/_gather_patches/eager.py", "_windows"): "a GPU runs its kernel",
    ("transforms/rgbd.py", "_check_render"): "not looked at on a GPU",
    ("score_loss/gradient.py", "_number"): "the loss's one transfer: is its value finite?",
    ("score_loss/arguments.py", "_all"): "a weight that was given as a function is checked",
}  # fmt: skip


class Watch(TorchDispatchMode):
    """Collects the places in the package at which an operation waits: file and function, with the operation."""

    def __init__(self):
        super().__init__()
        self.places = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        if any(wait in name for wait in WAITS) or (func is torch.ops.aten.index.Tensor and _has_mask(args[1])):
            inner = [f for f in traceback.extract_stack() if Path(f.filename).is_relative_to(PACKAGE)][-1]
            where = (Path(inner.filename).relative_to(PACKAGE).as_posix(), inner.name)
            self.places.setdefault(where, f"{name} in line {inner.lineno}: {inner.line}")
        return func(*args, **(kwargs or {}))


def _has_mask(indices):
    return any(x is not None and x.dtype == torch.bool for x in indices)


@pytest.mark.parametrize("regularize", ["none", "geometric", "prior"])
def test_a_step_waits_nowhere_else(regularize):
    scene, recipe = load_scene(ROOM), replace(CPU, steps=40, rays=64)
    prior = load_prior("rooms-rgbd-24") if regularize == "prior" else None
    terms = as_terms(default_terms(prior, regularize=regularize))
    field = default_field(scene, GRID, backend="eager")
    state = FitState(scene, field, _proposal(scene, None, "cpu"), terms, recipe, 0)
    state.step(20)  # what is made once may wait
    with Watch() as watch:
        state.step(21)  # the prior is at work from a half on
        state.step(22)
    assert ("score_loss/gradient.py", "_number") in watch.places or regularize != "prior"
    assert {where: what for where, what in watch.places.items() if where not in ALLOWED} == {}


def test_the_watch_sees_a_wait():
    x = torch.rand(4)
    for wait in (lambda: x.sum().item(), lambda: bool((x > 0).all()), lambda: x[x > 0], lambda: x.new_tensor([1, 2])):
        with Watch() as watch:
            _inside_the_package(wait)
        assert watch.places


def _inside_the_package(wait):
    """Call it from a frame that looks as if it lay in the package."""
    code = compile("def call(f):\n    f()\n", str(PACKAGE / "cameras.py"), "exec")
    space = {}
    exec(code, space)
    space["call"](wait)
