"""Every prediction in every noise family, on data whose denoiser and score are known in closed form."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import score
from scorereg.priors import wrap
from scorereg.priors.adapters.conversions import (
    cosine_betas,
    linear_betas,
    noise_of,
    residual_coefficients,
)
from scorereg.priors.adapters.prediction_names import PREDICTIONS

SIGMAS = torch.logspace(math.log10(0.005), math.log10(20), 25)
SIGMA_DATA = 0.4
TRAINED = [2e-6 * 1.012**i for i in range(1000)]
TABLES = {
    "vp-linear": {"betas": linear_betas(1000, start=4e-6, end=0.02)},
    "vp-cosine": {"betas": cosine_betas(8000)},
    "vp-trained": {"betas": TRAINED},
    "vp-kept": {"alphas_cumprod": np.cumprod(1 - np.asarray(TRAINED)).astype(np.float32)},
    "ve-table": {"sigmas": torch.logspace(-3, 2, 60)},
    "ve-falling": {"sigmas": torch.logspace(2, -3, 60)},
}
FAMILIES = TABLES | {"ve": {}, "edm": {"sigma_data": SIGMA_DATA}, "flow": {"flow": True}}
SAID = {"ve": {"time": "sigma"}}  # without a table it has to be said that the input is x
X0 = ("sample", "denoised")


def levels_of(settings: dict) -> np.ndarray:
    """Levels of a table in float64, from the definition of the table."""
    if "sigmas" in settings:
        return np.asarray(settings["sigmas"], dtype=np.float64)
    kept = settings.get("alphas_cumprod")
    kept = np.cumprod(1 - np.asarray(settings["betas"], np.float64)) if kept is None else kept.astype(np.float64)
    return np.sqrt(1 / kept - 1)


class Exact(nn.Module):
    """A network that predicts perfectly: pixels are independent, each with its mean and variance. Float64 inside."""

    def __init__(self, family: str, prediction: str, kind: torch.dtype, data_range: tuple[float, float]):
        super().__init__()
        self.family, self.prediction = family, prediction
        self.kind = nn.Parameter(torch.zeros((), dtype=kind))
        self.unit, self.middle = (data_range[1] - data_range[0]) / 2, sum(data_range) / 2
        grid = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(1, 2, 5)
        self.mean, self.variance = 0.3 * grid, 0.2 + 0.15 * grid  # in prior space

    def sigma_of(self, time: torch.Tensor) -> torch.Tensor:
        """The level in network units that this network would take the time for."""
        if self.family in TABLES:
            log = np.log(levels_of(TABLES[self.family]))
            return torch.from_numpy(np.exp(np.interp(time.numpy(), np.arange(len(log)), log)))
        return {"ve": time, "edm": (4 * time).exp(), "flow": time / (1 - time)}[self.family]

    def forward(self, z: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        assert z.dtype == self.kind.dtype
        assert time.dtype == torch.promote_types(z.dtype, torch.float32), "an index in half precision is another one"
        s = self.sigma_of(time.double())[:, None, None]
        a = torch.ones_like(s)
        if self.family.startswith("vp"):
            a = 1 / (1 + s**2).sqrt()
        elif self.family != "ve" and not self.family.startswith("ve-"):
            a = 1 / (1 + s) if self.family == "flow" else 1 / (SIGMA_DATA**2 + s**2).sqrt()
        x = z.double() / a
        mean, variance = self.middle + self.unit * self.mean, self.unit**2 * self.variance
        noise, clean = s * (x - mean) / (variance + s**2), (variance * x + s**2 * mean) / (variance + s**2)
        unit = SIGMA_DATA if self.family == "edm" else 1.0
        v = unit * a * noise - s * a * clean / unit
        out = {
            "epsilon": noise,
            "sample": clean,
            "denoised": clean,
            "v_prediction": v,
            "velocity": noise - clean,
            "score": -noise / (s * a),
            "edm": -v,
        }[self.prediction]
        self.out = out.to(z.dtype)
        return self.out


def exact(network: Exact, x: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Denoiser and score in prior space, float64."""
    x, level = x.double(), sigma.double()[:, None, None].square()
    return (
        (network.variance * x + level * network.mean) / (network.variance + level),
        (network.mean - x) / (network.variance + level),
    )


def noised(sigma: torch.Tensor) -> torch.Tensor:
    return 0.5 * torch.randn(len(sigma), 2, 5) + sigma[:, None, None] * torch.randn(len(sigma), 2, 5)


def largest(x: torch.Tensor) -> torch.Tensor:
    return x.double().abs().amax(dim=(1, 2), keepdim=True)


@pytest.mark.parametrize("data_range", [(-1.0, 1.0), (0.0, 1.0), (-2.0, 3.0)], ids=str)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_denoiser_and_score_are_those_of_the_closed_form(family, prediction, data_range):
    network = Exact(family, prediction, torch.float32, data_range)
    prior = wrap(
        network,
        prediction=prediction,
        channels=("u", "v"),
        data_range=data_range,
        **(FAMILIES[family] | SAID.get(family, {})),
    )
    x = noised(SIGMAS)
    denoised, gradient = exact(network, x, SIGMAS)
    error = (prior.denoise(x, SIGMAS) - denoised).abs() / (1 + 0.04 * largest(x))  # which is 80 at a sigma of 20
    assert error.max() < 1e-5

    error = ((score(prior, x, SIGMAS) - gradient).abs() / largest(gradient)).amax(dim=(1, 2))
    level = SIGMAS[:, None, None].double()
    digits = torch.finfo(torch.float32).eps * (1 + abs(network.middle) / network.unit + largest(x)) / largest(gradient)
    lost = {"velocity": digits / level, "sample": digits / level**2, "denoised": digits / level**2}  # x0's own rounding
    assert (error < 1e-5 + lost.get(prediction, 0 * level).flatten()).all()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_networks_lose_no_more_than_their_format(family, prediction, kind):
    network = Exact(family, prediction, kind, (-1.0, 1.0))
    prior = wrap(network, prediction=prediction, channels=("u", "v"), **(FAMILIES[family] | SAID.get(family, {})))
    x = noised(SIGMAS)
    denoised, gradient = exact(network, x, SIGMAS)
    actual, slope = prior.denoise(x, SIGMAS), score(prior, x, SIGMAS)
    assert torch.isfinite(slope).all()
    assert (slope.abs().amax(dim=(1, 2)) > 0).all()

    p, q = (c[:, None, None] for c in residual_coefficients(prediction, SIGMAS.double(), noise_of(**FAMILIES[family])))
    wide = Exact(family, prediction, torch.float64, (-1.0, 1.0))
    settings = FAMILIES[family] | SAID.get(family, {})
    wrap(wide, prediction=prediction, channels=("u", "v"), **settings).denoise(x.double(), SIGMAS.double())
    allowed = 2 * torch.finfo(kind).eps * q.abs() * (largest(wide.out) + (largest(x) if prediction in X0 else 0))
    if prediction in ("v_prediction", "edm", "velocity"):  # the network saw a rounded z, the term in x did not
        allowed = allowed + torch.finfo(kind).eps * p.abs() * largest(x)
    level = SIGMAS[:, None, None].double()
    assert ((actual - denoised).abs() <= allowed + 1e-6 * (1 + largest(x))).all()
    assert (
        (slope - gradient).abs() <= allowed / level**2 + 1e-5 * largest(gradient) + 1e-6 * largest(x) / level**2
    ).all()


def test_float64_patches_are_computed_in_float64():
    network = Exact("ve", "epsilon", torch.float64, (0.0, 1.0))
    prior = wrap(network, prediction="epsilon", channels=("u", "v"), data_range=(0, 1), time="sigma")
    x, sigma = noised(SIGMAS).double(), SIGMAS.double()
    assert_close(score(prior, x, sigma), exact(network, x, sigma)[1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("settings", TABLES.values(), ids=TABLES)
def test_index_is_exact_at_the_entries_and_linear_in_log_sigma_between(settings):
    noise, levels = noise_of(**settings), levels_of(settings)
    at = torch.tensor([0, 1, 17, 33, 58])
    assert_close(noise.position(torch.from_numpy(levels)[at]), at.double(), rtol=0, atol=1e-5)
    between = np.exp(0.25 * np.log(levels[10]) + 0.75 * np.log(levels[11]))
    assert noise.position(torch.tensor([between], dtype=torch.float64)).item() == pytest.approx(10.75, abs=1e-5)
    assert (noise.low, noise.high) == pytest.approx((levels.min(), levels.max()))


def test_entries_without_noise_and_without_data_are_left_out():
    """As after a rescaling to zero terminal signal-to-noise, and where an entry for the clean data comes first."""
    noise = noise_of(alphas_cumprod=[1.0, 0.9, 0.5, 0.1, 0.0])
    assert (noise.low, noise.high) == pytest.approx((math.sqrt(0.1 / 0.9), 3.0))
    assert_close(noise.position(torch.tensor([1.0, 3.0], dtype=torch.float64)), torch.tensor([2.0, 3.0]).double())
    assert noise.last == 4


def test_tables_are_summed_in_float64():
    levels = noise_of(betas=torch.full((1000,), 1e-5, dtype=torch.float64)).sigmas
    steps = torch.arange(1, 1001, dtype=torch.float64)
    assert_close(levels, torch.expm1(-steps * math.log1p(-1e-5)).sqrt(), rtol=1e-11, atol=0)


def test_named_tables_are_those_of_the_papers():
    assert_close(linear_betas()[[0, 500, 999]], torch.tensor([1e-4, 1e-4 + 0.0199 * 500 / 999, 0.02]).double())
    kept = (1 - cosine_betas(1000)).cumprod(0)
    time = torch.tensor([0.25, 0.5, 0.9], dtype=torch.float64)
    curve = ((time + 0.008) / 1.008 * math.pi / 2).cos() ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert_close(kept[[249, 499, 899]], curve)
    assert cosine_betas(1000).max() == 0.999


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"betas": [0.1], "flow": True}, "got betas and flow. Leave out the rest"),
        ({"sigmas": [0.1, 0.3, 0.2]}, "`sigmas` must rise or fall from entry to entry, got .0.1, 0.3, 0.2"),
        ({"betas": [0.1, 1.5]}, "`betas` must be a list of numbers from 0 to 1, got"),
        ({"betas": [0.0, 0.0, 0.1]}, "must rise or fall"),
        ({"alphas_cumprod": [[0.5]]}, "list of numbers"),
        ({"alphas_cumprod": [1.0, math.nan]}, "list of numbers"),
        ({"sigmas": []}, "must be a list of numbers"),
        ({"sigma_data": 0.0}, "sigma_data is the standard deviation of the data"),
    ],
)
def test_tables_that_are_none(given, says):
    with pytest.raises(ValueError, match=says):
        noise_of(**given)


def test_unknown_prediction_lists_the_known():
    with pytest.raises(ValueError, match="no prediction is called 'noise'; choose one of epsilon, sample"):
        residual_coefficients("noise", torch.ones(1, dtype=torch.float64), noise_of())


@pytest.mark.parametrize("name", ["betas", "alphas_cumprod", "sigmas"])
def test_an_empty_table_is_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a list of numbers"):
        noise_of(**{name: []})
