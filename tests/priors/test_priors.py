"""Priors: the closed form against itself and against autograd, the score, the card, and how a prior is found."""

import json
import math

import pytest
import torch
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, Prior, PriorCard, load_prior, score
from scorereg.priors import shipped_priors, wrap

NAMES = ("r", "disparity")
PRIOR = GaussianFieldPrior(size=6, channels=NAMES, slope=2.5, std=0.4)
CARD = PriorCard(name="x", channels=NAMES, size=(8, 8), sigma_min=0.01, sigma_max=2.0, focal=(80.0, 180.0), d_min=0.5)


def dense_covariance() -> torch.Tensor:
    """Covariance of the field over all pixel pairs, from the definition: the spectrum's inverse transform."""
    correlation = torch.fft.ifft2(PRIOR.power).real
    place = torch.cartesian_prod(torch.arange(6), torch.arange(6))
    shift = (place[:, None] - place[None]) % 6
    return correlation[shift[..., 0], shift[..., 1]]


def test_gaussian_denoiser_is_the_posterior_mean():
    x = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    sigma = torch.tensor([0.01, 0.3, 4.0], dtype=torch.float64)
    covariance = dense_covariance()
    for i, level in enumerate(sigma):
        gain = covariance @ torch.linalg.inv(covariance + level**2 * torch.eye(36, dtype=torch.float64))
        exact = (x[i].flatten(1) @ gain.T).reshape(2, 6, 6)
        assert_close(PRIOR.denoise(x, sigma)[i], exact)


def test_gaussian_pixels_have_the_standard_deviation_asked_for():
    assert_close(dense_covariance().diagonal(), torch.full((36,), 0.4**2, dtype=torch.float64))
    drawn = PRIOR.sample(4000, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (4000, 2, 6, 6)
    assert drawn.std().item() == pytest.approx(0.4, rel=0.02)
    spectrum = torch.fft.fft2(drawn, norm="ortho").abs().square().mean((0, 1))
    assert_close(spectrum, PRIOR.power, rtol=0.12, atol=0.0)


@pytest.mark.parametrize("level", [0.014, 0.2, 3.0])
def test_score_is_the_gradient_of_the_log_density(level):
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    sigma = torch.full((2,), level, dtype=torch.float64)
    (exact,) = torch.autograd.grad(PRIOR.log_density(x, sigma).sum(), x)
    assert_close(score(PRIOR, x.detach(), sigma), exact, rtol=1e-9, atol=1e-9)


def test_log_density_is_that_of_the_dense_gaussian():
    x = torch.randn(2, 2, 6, 6, dtype=torch.float64)
    sigma = torch.tensor([0.1, 0.7], dtype=torch.float64)
    for i, level in enumerate(sigma):
        covariance = dense_covariance() + level**2 * torch.eye(36, dtype=torch.float64)
        flat = x[i].flatten(1)
        exact = -0.5 * (flat @ torch.linalg.inv(covariance) * flat).sum()
        assert_close(PRIOR.log_density(x, sigma)[i], exact)


def test_the_smallest_sigma_is_not_lost_in_single_precision():
    x = torch.randn(1, 2, 6, 6)
    sigma = torch.tensor([0.014])
    exact = score(PRIOR, x.double(), sigma.double())
    scale = exact.abs().max().item()
    assert_close(score(PRIOR, x, sigma).double(), exact, rtol=0.0, atol=2e-4 * scale)


def test_denoise_leaves_its_input_alone():
    x = torch.randn(1, 2, 6, 6)
    before = x.clone()
    PRIOR.denoise(x, torch.tensor([0.3]))
    assert_close(x, before, rtol=0.0, atol=0.0)


def test_space_may_have_any_number_of_dimensions():
    class Line:
        channels = ("weight",)

        def denoise(self, x, sigma):
            return x * 0

    assert isinstance(Line(), Prior)
    x = torch.randn(2, 1, 5)
    sigma = torch.tensor([0.5, 2.0])
    assert_close(score(Line(), x, sigma), -x / torch.tensor([0.25, 4.0])[:, None, None])


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("channels", "sigma", "says"),
    [
        (3, [0.1], r"2 channels \(r, disparity\) got a patch of shape \(1, 3, 6, 6\)"),
        (2, [0.1, 0.2], r"one sigma per sample, shape \(1,\), but got shape \(2,\)"),
        (2, [0.0], r"sigma > 0; the smallest given is 0"),
        (2, [math.nan], r"finite sigma > 0; the smallest given is nan"),
    ],
)
def test_score_names_mistakes(channels, sigma, says):
    with pytest.raises(ValueError, match=says):
        score(PRIOR, torch.zeros(1, channels, 6, 6), torch.tensor(sigma))


@pytest.mark.parametrize("shape", [(9, 9), (6, 1)], ids=str)
def test_gaussian_refuses_patches_of_another_size(shape):
    """A patch with one pixel along an axis would broadcast to the whole field."""
    x = torch.zeros(2, len(NAMES), *shape)
    for method in (PRIOR.denoise, PRIOR.log_density):
        with pytest.raises(ValueError, match=r"needs patches of 6x6 pixels, shape \(b, c, h, w\), but got"):
            method(x, torch.full((2,), 0.1))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": 0}, "`size` of a Gaussian field, .* must be a whole number, 1 or more, but is 0"),
        ({"size": (4, 4)}, "`size` of a Gaussian field"),
        ({"size": 4.5}, "`size` of a Gaussian field"),
        ({"channels": ()}, "needs the names of channels in a list"),
        ({"channels": "rgb"}, "needs the names of channels in a list"),
        ({"channels": ("r", "r")}, "each channel's name once"),
        ({"std": 0.0}, "`std` of a Gaussian field must be a finite number above 0, but is 0"),
        ({"std": math.inf}, "`std` of a Gaussian field"),
        ({"slope": math.nan}, "`slope` of a Gaussian field must be a finite number, but is nan"),
    ],
)
@pytest.mark.usefixtures("as_user")
def test_gaussian_names_mistakes(wrong, says):
    with pytest.raises(ValueError, match=says):
        GaussianFieldPrior(**({"size": 4, "channels": NAMES} | wrong))


def test_gaussian_refuses_other_channels_and_levels():
    x = torch.zeros(2, len(NAMES), 6, 6)
    with pytest.raises(ValueError, match="got a patch of shape"):
        PRIOR.denoise(x[:, :1], torch.ones(2))
    with pytest.raises(ValueError, match="finite sigma > 0"):
        PRIOR.denoise(x, torch.tensor([0.5, -1.0]))


def test_card_survives_a_round_trip():
    card = PriorCard(
        name="y",
        channels=("r", "g", "b", "disparity"),
        size=(24, 24),
        sigma_min=0.005,
        sigma_max=5.0,
        focal=(80.0, 180.0),
        d_min=0.5,
        network={"size": "small"},
        credits=("A", "B"),
        held_out=("rooms/1",),
        steps=7,
        denoising={"held-out": [{"sigma": 0.1, "rgb": 0.01}]},
        residual_quantiles={"sigma": [0.1, 1.0], "levels": [0.5], "values": [[0.2], [0.1]], "data": "held-out"},
    )
    assert PriorCard.from_json(card.to_json()) == card
    bare = PriorCard(name="z", channels=("weight",), size=(64,), sigma_min=0.1, sigma_max=1.0, depth=None)
    assert PriorCard.from_json(bare.to_json()) == bare


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"channels": None}, r"lacks channels\. A card needs name, channels, size"),
        ({"colour": 3}, r"unknown fields colour"),
        ({"channels": "rgbd"}, r"`channels` cannot be 'rgbd'"),
        ({"sigma_min": 3.0, "sigma_max": 0.1}, r"`sigma_min` is 3, above `sigma_max`, 0.1. Correct the one"),
        ({"channels": []}, r"`channels` cannot be \[\]"),
        ({"size": [24.5, 24]}, r"`size` cannot be"),
        ({"size": [0, 24]}, r"`size` cannot be"),
        ({"sigma_min": -1}, r"`sigma_min` cannot be -1"),
        ({"d_min": "half"}, r"`d_min` cannot be 'half'"),
        ({"focal": [200, 100]}, r"`focal` cannot be \[200, 100\]"),
        ({"focal": [1, 2, 3]}, r"`focal` cannot be"),
        ({"network": []}, r"`network` cannot be"),
        ({"steps": -1}, r"`steps` cannot be -1"),
        ({"name": None, "sigma_max": None}, r"lacks name, sigma_max"),
        ({"data": 3}, r"`data` cannot be 3"),
        ({"residual_quantiles": [1]}, r"`residual_quantiles` cannot be \[1\]"),
        ({"residual_quantiles": {"sigma": [1]}}, r"`residual_quantiles` cannot be"),
        ({"residual_quantiles": {"sigma": [1, 2], "levels": [0.5], "values": [[1]]}}, r"`residual_quantiles` cannot"),
        ({"residual_quantiles": {"sigma": [2, 1], "levels": [0.5], "values": [[1], [1]]}}, r"`residual_quantiles` can"),
        ({"residual_quantiles": {"sigma": [1], "levels": [99], "values": [[1]]}}, r"`residual_quantiles` cannot"),
    ],
)
def test_card_names_file_and_fault(tmp_path, change, says):
    entries = json.loads(CARD.to_json()) | change
    entries = {k: v for k, v in entries.items() if v is not None or k in ("depth", "d_min")}
    (tmp_path / "card.json").write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=says) as caught:
        PriorCard.load(tmp_path)
    assert str(tmp_path / "card.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "no valid JSON"), (b"[]", "must hold one JSON object, not a list"), (b"\xff\xfe\x00", "no text in utf-16")],
)
def test_card_that_is_no_card(tmp_path, content, says):
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        PriorCard.load(tmp_path)


def test_missing_card_and_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="is an empty folder"):
        load_prior(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"holds no prior, but notes.txt. A prior's folder has card.json"):
        load_prior(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"card\.json is missing.*Copy the whole folder again"):
        PriorCard.load(tmp_path)
    with pytest.raises(ValueError, match=r"no prior is called 'nowhere'.*Shipped are: "):
        load_prior("nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is empty"):
        load_prior(tmp_path / "file")


def test_unknown_name_lists_the_shipped_ones(monkeypatch, tmp_path):
    for name in ("b-prior", "a-prior"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "card.json").write_text("{}")
    monkeypatch.setattr("scorereg.priors.load.ZOO", tmp_path)
    assert shipped_priors() == ("a-prior", "b-prior")
    with pytest.raises(ValueError, match=r"Shipped are: a-prior, b-prior\."):
        load_prior("c-prior")


@pytest.mark.usefixtures("as_user")
def test_what_can_only_be_a_mistake_is_one_line(tmp_path):
    prior = load_prior("rooms-rgbd-24")
    x = torch.zeros(1, 4, 24, 24)
    with pytest.raises(ValueError, match=r"one sigma per sample, shape \(1,\), but got a float"):
        prior.denoise(x, 0.5)
    with pytest.raises(ValueError, match=r"patches of floats in its range, but got torch.uint8"):
        prior.denoise(x.byte(), torch.tensor([0.5]))
    wrong = {
        "gpu": "one that torch knows",
        "cuda:0": "NVIDIA GPU",
        "meta": "cannot be computed on",
        None: "torch knows",
    }
    for device, says in wrong.items():
        if device != "cuda:0" or not torch.cuda.is_available():
            with pytest.raises(ValueError, match=says):
                load_prior("rooms-rgbd-24", device)
    with pytest.raises(ValueError, match="name of the prior is empty"):
        load_prior("")
    with pytest.raises(FileNotFoundError, match="is an empty folder"):
        load_prior(tmp_path)
    with pytest.raises(ValueError, match="names of the network's channels"):
        wrap(lambda z, t: z, prediction="denoised", channels="gray")
