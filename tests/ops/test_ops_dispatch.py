"""Which implementation runs, and what is said where it cannot."""

import importlib.util

import pytest
import torch

from scorereg.ops import distortion
from scorereg.ops.dispatch import use_triton

installed = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")


def test_a_cpu_tensor_goes_to_torch(monkeypatch):
    monkeypatch.delenv("SCOREREG_OPS", raising=False)
    assert not use_triton(torch.zeros(1))


@installed
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_interpreter_runs_where_it_is_asked_for(dtype, monkeypatch):
    monkeypatch.setenv("SCOREREG_OPS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert use_triton(torch.zeros(1), torch.zeros(1, dtype=dtype))


@pytest.mark.gpu
def test_a_gpu_tensor_goes_to_the_kernel(monkeypatch):
    monkeypatch.delenv("SCOREREG_OPS", raising=False)
    one = torch.zeros(1, device="cuda")
    assert use_triton(one)
    assert not use_triton(one.double())
    assert not use_triton(one, one.cpu())
    monkeypatch.setenv("SCOREREG_OPS", "reference")
    assert not use_triton(one)


@pytest.mark.parametrize("mode", ["no interpreter", "float64", "no triton"])
def test_a_kernel_that_cannot_run_says_so(mode, monkeypatch):
    monkeypatch.setenv("SCOREREG_OPS", "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0" if mode == "no interpreter" else "1")
    if mode == "no triton":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    given = torch.zeros(1, dtype=torch.float64 if mode == "float64" else torch.float32)
    with pytest.raises(RuntimeError, match=r"needs Triton .* got torch.float\d\d on cpu. Unset it"):
        use_triton(given)


def test_another_choice_is_refused(monkeypatch):
    monkeypatch.setenv("SCOREREG_OPS", "numba")
    with pytest.raises(ValueError, match="must be auto, reference or triton, but is 'numba'"):
        use_triton(torch.zeros(1))


def test_an_operation_without_a_kernel_does_not_ask(monkeypatch):
    monkeypatch.setenv("SCOREREG_OPS", "triton")
    distortion(torch.ones(2, dtype=torch.float64), torch.arange(3.0).double())
