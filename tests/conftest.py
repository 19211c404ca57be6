"""What every test has: a seed, one thread, and switches for the shape checker."""

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported: its kernels run, slowly, on the CPU

import jaxtyping

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("SCOREREG_DATA", ROOT.parent / "shared" / "data"))


def pytest_configure() -> None:
    torch.set_num_threads(1)  # tests are small, and run in several processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def as_user():
    """Switch the shape checker off, as it is outside the tests: only the library's own errors are left."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def poisoned(monkeypatch):
    """Fill fresh memory with NaN, so that an element that nobody wrote is seen."""
    monkeypatch.setattr(torch, "empty_like", lambda x, **kw: torch.full_like(x, float("nan"), **kw))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    return request.param


@pytest.fixture
def data():
    """A function from the name of a data set to its folder; the test is skipped where the set is not there."""

    def find(name: str) -> Path:
        folder = DATA / name
        if not folder.is_dir():
            pytest.skip(f"data set {name!r} is not in {DATA}; SCOREREG_DATA names the folder")
        return folder

    return find
