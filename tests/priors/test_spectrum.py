"""The spectrum of patches, and the linear denoiser that a network starts from."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from scorereg.priors.card import PriorCard
from scorereg.priors.networks import NetworkPrior, build_network
from scorereg.priors.networks.spectrum import SPECTRUM, LinearDenoiser, Spectrum, linear_denoiser, measure_spectrum


def field(count, size, slope=1.5, channels=2, seed=0):
    """Patches whose cosine coefficients are independent, with variances that fall with the distance of their index."""
    generator = torch.Generator().manual_seed(seed)
    grids = torch.meshgrid(*(torch.arange(n) / n for n in size), indexing="ij")
    distance = torch.stack([g.square() for g in grids]).sum(0).sqrt().clamp_min(1 / max(size))
    std = 0.05 * distance**-slope
    z = torch.randn(count, channels, *size, generator=generator, dtype=torch.float64) * std
    mix = torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)[:channels, :channels] if channels > 1 else None
    z[:, 0] *= 3
    x = torch.from_numpy(idct(z.numpy()))
    x = x if mix is None else torch.einsum("kc,bk...->bc...", mix, x)
    return (x + 0.1).float()


def idct(z):
    from scipy.fft import idctn

    return idctn(z, axes=tuple(range(2, z.ndim)), norm="ortho")


def best_linear(x, noisy, sigma):
    """The best linear denoiser from the full covariance of all values, in float64."""
    flat = x.double().flatten(1)
    mean = flat.mean(0)
    covariance = (flat - mean).T @ (flat - mean) / len(flat)
    gain = torch.linalg.solve(covariance + sigma**2 * torch.eye(len(mean), dtype=torch.float64), covariance)
    return ((noisy.double().flatten(1) - mean) @ gain + mean).reshape(noisy.shape)


@pytest.mark.parametrize("size", [(16,), (8, 8), (6, 10), (4, 4, 6)])
@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_is_the_best_linear_denoiser_of_a_stationary_field(size, sigma):
    x, other = field(4000, size), field(1000, size, seed=1)
    noisy = other + sigma * torch.randn(other.shape, generator=torch.Generator().manual_seed(2))
    linear = LinearDenoiser(measure_spectrum(x), size)
    level = torch.full((len(other),), sigma)
    ours = (noisy - linear(noisy, level) - other).square().mean((0, *range(2, other.ndim)))
    full = best_linear(x, noisy, sigma) if math.prod(size) * 2 < 150 else None
    if full is not None:
        assert ours.mean() < 1.05 * (full - other).square().mean()
    told = linear.error(level)[0].flatten()
    assert torch.allclose(told.square(), ours, rtol=0.08)


def test_the_transform_is_the_cosine_transform():
    x = torch.randn(2, 1, 6, 10, generator=torch.Generator().manual_seed(0))
    flat = Spectrum((0.0,), ((1.0,),), (0.0,), (0.1, 1.0), ((0.0,),) * 2, (((0.0,),) * 3,) * 2)
    linear = LinearDenoiser(flat, (6, 10))
    expected = dctn(x.numpy(), axes=(2, 3), norm="ortho")
    assert np.allclose(linear._transform(x).numpy(), expected, atol=1e-5)
    assert torch.allclose(linear._transform(linear._transform(x), inverse=True), x, atol=1e-5)


def test_a_level_for_each_patch():
    x = field(3, (8, 8))
    linear = LinearDenoiser(measure_spectrum(field(500, (8, 8))), (8, 8))
    levels = torch.tensor([0.01, 0.2, 4.0])
    together = linear(x, levels)
    for i in range(3):
        assert torch.allclose(together[i], linear(x[i : i + 1], levels[i : i + 1])[0], atol=1e-5)


def test_survives_json():
    spectrum = measure_spectrum(field(200, (8, 8)))
    assert Spectrum.from_json(json.loads(json.dumps(spectrum.to_json()))) == spectrum
    assert len(json.dumps(spectrum.to_json())) < 3000


def test_unknown_values_take_no_part():
    x, size = field(500, (8, 8)), (8, 8)
    weight = torch.ones_like(x)
    weight[::2, 1, :, :2] = 0
    spoiled = torch.where(weight > 0, x, torch.full_like(x, 1e4))
    spectrum = measure_spectrum(spoiled, weight)
    assert max(abs(a - b) for a, b in zip(spectrum.mean, measure_spectrum(x).mean, strict=True)) < 0.05
    assert LinearDenoiser(spectrum, size).variance.max() < 1e3


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.1]},
        {"place": [0.5, 0.2]},
        {"constant": [float("nan"), 0.0]},
        {"basis": [[1.0, 0.0]]},
        {"more": 1},
        {"radial": [[1e30, 0.0]]},
    ],
)
def test_what_is_no_spectrum_is_refused(change):
    entries = measure_spectrum(field(100, (8, 8))).to_json()
    with pytest.raises(ValueError, match="a spectrum has"):
        Spectrum.from_json(entries | change)


def test_one_patch_is_too_few():
    with pytest.raises(ValueError, match="two patches"):
        measure_spectrum(field(1, (8, 8)))


def card(spectrum=None, **more):
    network = {"size": "tiny", "patchify": 1, **({} if spectrum is None else {SPECTRUM: spectrum.to_json()})}
    return PriorCard(
        name="p", channels=("a", "b"), size=(8, 8), sigma_min=0.01, sigma_max=5.0, prediction="edm", network=network,
        architecture="diffusers UNet2DModel", **more,
    )  # fmt: skip


def prior(spectrum):
    torch.manual_seed(0)
    network = build_network("tiny", patch_size=8, channels=2, patchify=1, inputs=2)
    return NetworkPrior(network, card(spectrum)).eval()


def test_an_untrained_prior_is_the_linear_denoiser():
    spectrum = measure_spectrum(field(500, (8, 8)))
    start, x = prior(spectrum), field(4, (8, 8), seed=3)
    torch.nn.init.zeros_(start.network.get_parameter("conv_out.weight"))
    level = torch.full((4,), 0.2)
    removed = linear_denoiser(start.card)(x, level)
    assert torch.allclose(start.denoise(x, level), x - removed, atol=1e-6)
    assert torch.allclose(start.residual(x, level), removed, atol=1e-6)


def test_residual_and_denoise_agree_once_it_is_trained():
    start, x = prior(measure_spectrum(field(500, (8, 8)))), field(4, (8, 8), seed=3)
    torch.nn.init.normal_(start.network.get_parameter("conv_out.weight"))
    level = torch.tensor([0.02, 0.1, 0.5, 2.0])
    assert torch.allclose(start.residual(x, level), x - start.denoise(x, level), atol=1e-5)
    assert not torch.allclose(start.residual(x, level), linear_denoiser(start.card)(x, level), atol=1e-3)


def test_folder_keeps_the_spectrum_and_has_no_scheduler(tmp_path):
    first = prior(measure_spectrum(field(500, (8, 8))))
    (tmp_path / "scheduler_config.json").write_text("{}")
    first.save_pretrained(tmp_path, half=False)
    assert not (tmp_path / "scheduler_config.json").exists()  # diffusers would take the output for another's
    second, x = NetworkPrior.load(tmp_path), field(2, (8, 8), seed=4)
    assert torch.equal(second.denoise(x, torch.full((2,), 0.1)), first.denoise(x, torch.full((2,), 0.1)))


def test_an_edited_spectrum_is_refused(tmp_path):
    prior(measure_spectrum(field(500, (8, 8)))).save_pretrained(tmp_path)
    path = tmp_path / "card.json"
    entries = json.loads(path.read_text())
    entries["network"][SPECTRUM]["mean"][0] += 0.1
    path.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=r"card\.json"):
        NetworkPrior.load(tmp_path)


def test_a_spectrum_of_other_channels_is_refused():
    spectrum = measure_spectrum(field(100, (8, 8), channels=1))
    with pytest.raises(ValueError, match="spectrum of 1 channels"):
        linear_denoiser(dataclasses.replace(card(spectrum)))


def test_a_linear_denoiser_keeps_its_digits_in_a_prior_of_half_precision():
    spectrum = Spectrum((0.1,), ((1.0,),), (0.3,), (0.1, 1.0), ((0.7,),) * 2, (((0.2,),) * 3,) * 2)
    linear, x, sigma = (
        LinearDenoiser(spectrum, (4, 4)),
        torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4),
        torch.tensor([0.3]),
    )
    expected = linear(x, sigma)
    halved = torch.nn.Sequential(linear, torch.nn.Linear(1, 1)).half()
    assert halved[1].weight.dtype == torch.float16
    assert torch.equal(halved[0](x, sigma), expected)
    assert halved.to("meta")[0].mean.is_meta
