"""The comparison of the estimators: it runs, and completes as its closed form says."""

import json

import pytest
import torch
import typer
from rgbd_folders import rooms
from torch.testing import assert_close
from typer.testing import CliRunner

from benchmarks import estimators
from scorereg.priors.card import PriorCard
from scorereg.priors.networks import NetworkPrior, build_network

NAMES = ["direct, RED", "SDS, SJC, RED-diff", "SJC, not reduced", "SDI", "VSD"]


@pytest.fixture(scope="module")
def prior():
    """Untrained: its denoiser is x / (1 + 4 sigma^2), pixel by pixel."""
    torch.manual_seed(0)
    card = PriorCard(
        name="untrained", channels=("r", "g", "b", "disparity"), size=(8, 8), sigma_min=0.005, sigma_max=2.0,
        d_min=0.5, focal=(20.0, 40.0), network={"patchify": 1},
    )  # fmt: skip
    return NetworkPrior(build_network("tiny", patch_size=8, channels=4), card).eval().requires_grad_(False)


def test_it_prints_cost_and_error_of_each(prior, tmp_path):
    prior.save_pretrained(tmp_path / "prior")
    rooms(tmp_path / "data", frames=4)
    command = typer.Typer()
    command.command()(estimators.main)
    options = ["--prior", str(tmp_path / "prior"), "--count", "3", "--steps", "2", "--share", "0.3", "--json"]
    result = CliRunner().invoke(command, [str(tmp_path / "data"), *options])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [row["estimator"] for row in told["results"]] == NAMES
    assert (told["steps"], told["sigma"], told["share"]) == (2, [0.2, 0.02], 0.3)
    assert told["baseline_rmse"] > 0
    for row in told["results"]:
        assert row["cost"] > 0
        assert 0 < row["error"] < 10  # after two steps of a prior that knows nothing


@pytest.mark.parametrize("name", NAMES)
def test_completing_moves_what_is_not_known_by_the_closed_form(name, prior):
    sigma, steps = 0.5, 3
    known = torch.rand(96, 4, 8, 8) < 0.2
    start = torch.where(known, 0.3, 1.0)
    loss = estimators.contenders(prior, lambda step: sigma)[name]
    done, seconds = estimators.complete(loss, start, known, lambda step: sigma, steps)
    assert len(seconds) == steps
    assert torch.equal(done[known], start[known])
    mean = done[~known].mean()
    keep = 1 / (1 + 4 * sigma**2)
    if name == "SDI":
        flow = (1 + 4 * sigma**2) ** 0.5
        assert_close(mean, torch.tensor((1 - estimators.RATE * (1 - 1 / flow)) ** steps), rtol=0.05, atol=0)
    elif name == "VSD":  # its particles have hardly begun to differ from the prior
        assert_close(mean, torch.tensor(1.0), rtol=0.05, atol=0)
    else:
        assert_close(mean, torch.tensor((1 - estimators.RATE * (1 - keep)) ** steps), rtol=0.02, atol=0)
