"""Errors, residuals and their quantiles against closed forms of a Gaussian field; the linear filter."""

import json
import math

import pytest
import torch
from torch.testing import assert_close
from training_runs import Waves

from scorereg import GaussianFieldPrior, PriorCard
from scorereg.evaluation import LinearFilter, denoising_errors, evaluate_prior, residual_quantiles, save_errors


def test_linear_filter_is_the_wiener_filter_of_a_gaussian_field():
    field = GaussianFieldPrior(size=8, channels=("a",), slope=2.0)
    linear = LinearFilter(field.sample(20_000, generator=torch.Generator().manual_seed(0)))
    x = field.sample(16, generator=torch.Generator().manual_seed(1)) + 0.3
    linear.mean += 0.3
    sigma = torch.full((16,), 0.4, dtype=torch.float64)
    exact = field.denoise(x - 0.3, sigma) + 0.3
    assert_close(linear.denoise(x, sigma), exact, rtol=0.0, atol=0.03)


def test_linear_filter_uses_what_channels_share():
    """Two equal channels with independent noise: the best filter halves the noise power that one channel has."""
    field = GaussianFieldPrior(size=8, channels=("a",), slope=2.0)
    clean = field.sample(10_000, generator=torch.Generator().manual_seed(0))
    both = torch.cat([clean, -clean], 1)
    x = both[:64] + 0.4 * torch.randn(64, 2, 8, 8, dtype=torch.float64)
    sigma = torch.full((64,), 0.4, dtype=torch.float64)
    mean = (x[:, :1] - x[:, 1:]) / 2
    exact = field.denoise(mean, sigma / math.sqrt(2))
    assert_close(LinearFilter(both).denoise(x, sigma), torch.cat([exact, -exact], 1), rtol=0.0, atol=0.03)


class Exact(GaussianFieldPrior):
    """The closed form with a card, to measure by the same means as a network."""

    def __init__(self, size: int, channels: tuple[str, ...]) -> None:
        super().__init__(size, channels)
        self.card = PriorCard(name="g", channels=channels, size=(size, size), sigma_min=0.01, sigma_max=5.0)
        self.none = torch.nn.Parameter(torch.zeros(()))


@pytest.mark.usefixtures("as_user")
def test_errors_of_the_exact_denoiser_are_the_linear_ones():
    prior = Exact(8, ("r", "g", "b", "disparity"))
    x = prior.sample(8192, generator=torch.Generator().manual_seed(0))
    held = prior.sample(256, generator=torch.Generator().manual_seed(1)).float()
    weight = torch.ones_like(held)
    weight[:, 3, :4] = 0
    rows = denoising_errors(prior, LinearFilter(x), held, weight, sigmas=(0.001, 0.1, 0.5))
    assert [row["sigma"] for row in rows] == [0.1, 0.5], "levels beyond the card's range are left out"
    for row in rows:
        noise = row["sigma"] ** 2
        power = prior.power
        expected = (power * noise / (power + noise)).mean().item()
        assert row["rgb"] == pytest.approx(expected, rel=0.05)
        assert row["disparity"] == pytest.approx(expected, rel=0.1)
        assert row["rgb_ratio"] == pytest.approx(1.0, abs=0.02)
        assert row["rgb"] != row["disparity"]


@pytest.mark.usefixtures("as_user")
def test_data_of_one_colour_have_a_ratio():
    """The filter makes no error there."""
    x = torch.full((4, 1, 8, 8), 0.25)
    (row,) = denoising_errors(Exact(8, ("a",)), LinearFilter(x), x, sigmas=(0.1,))
    assert row["a_linear"] == 0
    assert math.isfinite(row["a_ratio"])


@pytest.mark.usefixtures("as_user")
def test_unknown_depth_is_not_measured():
    prior = Exact(8, ("r", "g", "b", "disparity"))
    x = prior.sample(32, generator=torch.Generator().manual_seed(0)).float()
    weight = torch.ones_like(x)
    weight[:, 3, 4:] = 0
    linear = LinearFilter(x)

    class Lower(Exact):
        def denoise(self, x, sigma):
            out = super().denoise(x, sigma)
            out[:, 3, 4:] += 100.0
            return out

    right = denoising_errors(prior, linear, x, weight)
    wrong = denoising_errors(Lower(8, prior.channels), linear, x, weight)
    assert [r["disparity"] for r in right] == [r["disparity"] for r in wrong]


@pytest.mark.usefixtures("as_user")
def test_residual_of_the_exact_denoiser_is_as_expected():
    """E |x_sigma - D|^2 = n sigma^2 - mse, and both in closed form: sigma^2 - mse = mean of sigma^4 / (S + sigma^2)."""
    prior = Exact(8, ("a",))
    x = prior.sample(8192, generator=torch.Generator().manual_seed(1)).float()
    for row in denoising_errors(prior, LinearFilter(x), x, sigmas=(0.05, 0.3, 1.0)):
        noise = row["sigma"] ** 2
        exact = (noise / (prior.power + noise)).mean().item()
        assert row["a_residual"] == pytest.approx(exact, rel=0.01)
        assert row["a_expected"] == pytest.approx(row["a_residual"], rel=0.01)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(("gain", "sign"), [(0.8, 1), (1.2, -1)])
def test_a_denoiser_that_removes_too_much_has_a_residual_above_the_expected(gain, sign):
    """With D = g x and the right g* = S / (S + sigma^2): the difference is 2 (1 - g) (g* - g) (S + sigma^2)."""

    class White(Exact):
        def denoise(self, x, sigma):
            return 0.5 * gain * x

    prior = White(8, ("a",))
    x = 0.5 * torch.randn(4096, 1, 8, 8)
    (row,) = denoising_errors(prior, LinearFilter(x), x, sigmas=(0.5,), seed=5)
    excess = 2 * (1 - 0.5 * gain) * (0.5 - 0.5 * gain) * 0.5 / 0.25
    assert row["a_residual"] - row["a_expected"] == pytest.approx(excess, rel=0.05)
    assert sign * excess > 0


def test_each_channel_by_itself():
    prior = GaussianFieldPrior(8, ("r", "g", "b", "disparity"))
    x = prior.sample(16).float()
    together, separate = (
        denoising_errors(prior, LinearFilter(x), x, sigmas=(0.1,), separate=apart)[0] for apart in (False, True)
    )
    assert together["rgb"] == pytest.approx(sum(separate[c] for c in "rgb") / 3, rel=1e-5)
    assert together["disparity"] == separate["disparity"]
    assert "rgb" not in separate


@pytest.mark.usefixtures("as_user")
def test_quantiles_of_the_clean_residual():
    """White data: x - D = x sigma^2 / (s^2 + sigma^2), so the quantiles are those of a patch's RMS."""

    class White(Exact):
        def denoise(self, x, sigma):
            return x * 0.25 / (0.25 + sigma[:, None, None, None] ** 2)

    prior = White(8, ("a", "b"))
    x = 0.5 * torch.randn(1001, 2, 8, 8)
    measured = residual_quantiles(prior, x, sigmas=(0.001, 0.1, 0.5), levels=(0.5, 0.9))
    assert measured["sigma"] == [0.1, 0.5], "levels beyond the card's range are left out"
    rms = x.square().mean((1, 2, 3)).sqrt().sort().values
    for sigma, values in zip(measured["sigma"], measured["values"], strict=True):
        assert values == pytest.approx([(rms[i] * sigma / (0.25 + sigma**2)).item() for i in (500, 900)], rel=1e-5)
    card = PriorCard(**{**prior.card.__dict__, "residual_quantiles": measured})
    assert PriorCard.from_json(card.to_json()) == card


def test_errors_are_written_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    prior = GaussianFieldPrior(8, ("r", "g", "b", "depth"))
    x = prior.sample(8).float()
    rows = denoising_errors(prior, LinearFilter(x), x, sigmas=(0.1, 0.5), separate=True)
    save_errors(tmp_path, {"one": rows, "two": rows})
    assert '"depth_expected"' in (tmp_path / "denoising.json").read_text()
    assert (tmp_path / "denoising.png").stat().st_size > 10_000


def test_a_source_is_measured_on_set_by_set(tmp_path):
    """Each set of `measured`, against the filter of the training patches; what it returns is written."""
    field = GaussianFieldPrior(8, ("disparity",))

    class Field(Waves):
        measured = ("held-out", "other")

        def plain(self, name, count, *, seed):
            scale = 2.0 if name == "other" else 1.0
            x = scale * field.sample(count, generator=torch.Generator().manual_seed(seed)).float()
            return x, torch.ones_like(x)

    errors = evaluate_prior(field, Field(), tmp_path, count=256, fit=4096, sigmas=(0.1,))
    assert list(errors) == ["held-out", "other"]
    assert errors["held-out"][0]["disparity_ratio"] == pytest.approx(1, abs=0.03)
    assert errors["other"][0]["disparity"] > errors["held-out"][0]["disparity"]
    assert json.loads((tmp_path / "denoising.json").read_text()) == errors
    with pytest.raises(ValueError, match="held-out holds disparity, but the prior knows a"):
        evaluate_prior(GaussianFieldPrior(8, ("a",)), Field(), tmp_path)
    with pytest.raises(ValueError, match="disparity of frames needs the d_min of a card"):
        evaluate_prior(field, [tmp_path], tmp_path, size=8)
    with pytest.raises(ValueError, match="no card says how large this GaussianFieldPrior's patches are. Give --patch"):
        evaluate_prior(field, [tmp_path], tmp_path)
