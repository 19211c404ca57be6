"""What tests of operations share: each implementation in turn, and fresh memory that holds what nothing may read."""

import math

import pytest
import torch

POISON = {torch.uint8: 200, torch.long: -7, torch.bool: True}


@pytest.fixture(params=["reference", "triton"])
def backend(request, monkeypatch):
    """Plain torch, then the Triton kernels."""
    if request.param == "triton":
        pytest.importorskip("triton")
    monkeypatch.setenv("SCOREREG_OPS", request.param)
    return request.param


@pytest.fixture
def poison(monkeypatch):
    """Fresh memory holds NaN (of integers an impossible value), so that an element that is not written is seen."""
    for name in ("empty", "empty_like"):
        fresh = getattr(torch, name)
        monkeypatch.setattr(
            torch, name, lambda *a, f=fresh, **kw: (out := f(*a, **kw)).fill_(POISON.get(out.dtype, math.nan))
        )


@pytest.fixture
def deterministic():
    """Algorithms that give the same on every run, or an error."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
