"""Draws against the posterior of a Gaussian field, which is known in closed form."""

import pytest
import torch

from scorereg import GaussianFieldPrior, sample_posterior

SIDE, NOISE, DRAWS = 6, 0.1, 2000


class Case:
    """Some pixels of a field, and the exact mean and covariance of the whole field given them."""

    def __init__(self):
        self.prior = GaussianFieldPrior(size=SIDE, channels=("gray",), slope=3.0)
        generator = torch.Generator().manual_seed(3)
        self.mask = torch.rand(SIDE, SIDE, generator=generator) > 0.3
        self.truth = 2 * self.prior.sample(1, generator=generator)  # so that the mean is well above its own error
        clean = self.measure(self.truth)
        self.y = clean + NOISE * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        pixels = torch.eye(SIDE**2, dtype=torch.float64).reshape(-1, 1, SIDE, SIDE)
        operator = self.measure(pixels).T
        field = torch.fft.ifft2(self.prior.power * torch.fft.fft2(pixels)).real.reshape(SIDE**2, SIDE**2)
        self.covariance = torch.linalg.inv(torch.linalg.inv(field) + operator.T @ operator / NOISE**2)
        self.mean = self.covariance @ operator.T @ self.y[0] / NOISE**2

    def measure(self, x):
        return 2 * x[:, 0, self.mask]

    def draw(self, method, draws=DRAWS, **settings):
        settings = {"noise": NOISE, "size": (SIDE, SIDE), "show": False, **settings}
        return sample_posterior(self.measure, self.y, self.prior, method=method, draws=draws, **settings)

    def errors(self, found):
        """Relative error of the mean, and of the pixels' variances on average and of the whole covariance."""
        x = found.images.reshape(len(found.images), -1)
        mean = (x.mean(0) - self.mean).norm() / self.mean.norm()
        variance = (x.var(0) / self.covariance.diagonal() - 1).abs().mean()
        return mean.item(), variance.item(), ((x.T.cov() - self.covariance).norm() / self.covariance.norm()).item()


@pytest.fixture(scope="module")
def case():
    return Case()


def geometric(first, last, count):
    """Falling levels with a last one of 0."""
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    return torch.cat([first ** (1 - share) * last**share, torch.zeros(1, dtype=torch.float64)])


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("langevin", {"levels": geometric(1.0, 0.05, 30), "inner": 8, "step": 1.0}),
        ("moment", {"steps": 120, "sigma": (5.0, 0.01)}),
    ],
)
def test_exact_samplers_draw_from_the_posterior(case, method, settings):
    found = case.draw(method, **settings)
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
