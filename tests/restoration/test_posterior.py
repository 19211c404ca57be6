"""Draws against the posterior of a Gaussian field, which is known in closed form."""

import pytest

from benchmarks.posterior import DRAWS, EXACT, SIDE, Case


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.mark.parametrize("method", EXACT)
def test_exact_samplers_draw_from_the_posterior(case, method):
    found = case.draw(method, **EXACT[method])
    mean, variance, covariance = case.errors(found)
    assert mean < 0.03
    assert variance < 0.1
    assert covariance < 0.15
    assert found.images.shape == (DRAWS, 1, 1, SIDE, SIDE)


def test_the_biased_samplers_are_biased_as_the_docs_say(case):
    """DiffPIR with all noise anew has half the variance, Pi-GDM is near, and DPS of the paper is far off."""
    found = {name: case.draw(name, steps=40, sigma=(5.0, 0.02)) for name in ("diffpir", "pigdm", "dps")}
    exact = case.covariance.diagonal().mean()
    share = {name: (one.images.reshape(DRAWS, -1).var(0).mean() / exact).item() for name, one in found.items()}
    mean = {name: case.errors(one)[0] for name, one in found.items()}
    assert 0.3 < share["diffpir"] < 0.7
    assert mean["diffpir"] < 0.1
    assert 0.8 < share["pigdm"] < 1.0
    assert mean["pigdm"] < 0.12
    assert share["dps"] > 1.5
