"""Checkpoints of denoising-diffusion-pytorch: networks of every version, what is read from them, and what is refused.

`MEASURED` holds what the package itself answers, version by version, for the weights and the input of `filled`.
"""

import dataclasses
import math
import os
import pickle

import pytest
import torch
from torch.testing import assert_close

from scorereg import load_prior
from scorereg.priors.adapters.lucidrains import is_lucidrains, load_lucidrains
from scorereg.priors.adapters.lucidrains_unet import AttentionShape, Style, Unet

NEW = Style(centered=False, averaged=False, standardized=False, grouped=False, unshuffled=True)
GROUPED = dataclasses.replace(NEW, grouped=True)
FIRST = Style(centered=True, averaged=True, standardized=False, grouped=True, unshuffled=False)
MEASURED = {  # four values of the output, and its RMS
    "0.27.0": (FIRST, (-0.10493, 0.03290, -0.51463, -0.39138, 0.21337)),
    "0.27.12": (FIRST, (-0.10242, 0.02954, -0.50937, -0.39039, 0.21387)),
    "0.31.1": (FIRST, (-0.10245, 0.02937, -0.50940, -0.39027, 0.21387)),
    "1.5.8": (dataclasses.replace(FIRST, unshuffled=True), (-0.09659, 0.04868, -0.48789, -0.40089, 0.21401)),
    "1.7.0": (dataclasses.replace(FIRST, unshuffled=True), (-0.09645, 0.04826, -0.48782, -0.40070, 0.21402)),
    "1.7.2": (dataclasses.replace(FIRST, unshuffled=True), (-0.09885, 0.04810, -0.49612, -0.39849, 0.21350)),
    "1.7.7": (dataclasses.replace(FIRST, unshuffled=True), (-0.09872, 0.04819, -0.49595, -0.39917, 0.21351)),
    "1.8.8": (GROUPED, (0.01637, -0.06607, -0.24166, -0.44088, 0.28583)),
    "1.10.17": (GROUPED, (0.01991, 0.04047, -0.39070, -0.50717, 0.18554)),
    "2.3.4": (NEW, (-0.10664, -0.40671, 0.22767, 0.07925, 0.19916)),
}


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def waves(shape: tuple[int, ...], rate: float, start: float = 0.0) -> torch.Tensor:
    return torch.sin(rate * torch.arange(math.prod(shape), dtype=torch.float64) + start).float().reshape(shape)


def filled(
    version: str, *, inputs: int = 3, outputs: int = 3, dim: int = 8, mults=(1, 2), groups: int = 8
) -> dict[str, torch.Tensor]:
    """Weights of a network under the names of that version, each a wave; scales of norms wave about 1."""
    style = dataclasses.replace(MEASURED[version][0], groups=groups)
    old, memory = numbers(version) < (1, 8), 4 if numbers(version) >= (1, 10) else 0
    full = [not old and i == len(mults) - 1 for i in range(len(mults))] + [True]
    attention = tuple(AttentionShape(kind, 4, 32, memory) for kind in full)
    widths = (dim, *(dim * m for m in mults))
    network = Unet(inputs, outputs, widths=widths, time=(dim, 4 * dim), attention=attention, style=style)
    shapes = {}
    for name, value in network.state_dict().items():
        head, _, tail = name.partition(".2.") if not name.startswith("mid") else name.partition("mid_attn.")
        inside = name.startswith("mid_attn.") or (name[0] in "du" and head.count(".") == 1)
        if old and inside and tail:
            name = name.removesuffix(tail) + ("fn." if tail.startswith("norm.") else "fn.fn.") + tail
        shapes[name] = tuple(value.shape)
    waved = {name: 0.2 * waves(shape, 1.3, i) for i, (name, shape) in enumerate(sorted(shapes.items()))}
    return {name: value + name.endswith((".g", "norm.weight")) for name, value in waved.items()}


def checkpoint(path, version="2.3.4", *, ema=True, weight=None, timesteps=100, step=7, **sizes):
    """A file as the package's Trainer saves it, of a cosine schedule; what is not averaged is all zero."""
    weights = filled(version, **sizes)
    t = torch.linspace(0, 1, timesteps + 1, dtype=torch.float64)
    level = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - level[1:] / level[:-1]).clip(0, 0.999)
    buffers = {"betas": betas.float(), "alphas_cumprod": (1 - betas).cumprod(0).float()}
    snr = buffers["alphas_cumprod"] / (1 - buffers["alphas_cumprod"])
    if numbers(version) < (1, 5):
        buffers["p2_loss_weight"] = torch.ones(timesteps)
    else:
        buffers["loss_weight"] = torch.ones(timesteps) if weight is None else weight(snr)
    averaged = buffers | {f"model.{name}": value for name, value in weights.items()}
    plain = {k: v if ema is False else v.new_zeros(()).expand(v.shape) for k, v in averaged.items()}
    content = {"step": step, "model": plain, "opt": {"state": {}, "param_groups": [{"lr": 1e-4}]}, "scaler": None}
    if ema:
        online = {f"online_model.{name}": value for name, value in plain.items()}
        content["ema"] = online | {f"ema_model.{k}": v for k, v in averaged.items()} | {"initted": torch.tensor(True)}
    if numbers(version) >= (1, 0):
        content["version"] = version
    torch.save(content, path)
    return path


@pytest.mark.parametrize("version", MEASURED)
def test_network_of_each_version(version, tmp_path):
    """Against the package's own answers, closely enough to tell each version from the next."""
    given = {"prediction": "epsilon"} if numbers(version) < (1, 5) else {}
    given |= {"version": version} if numbers(version) < (1, 0) else {}
    prior = load_lucidrains(checkpoint(tmp_path / "model-1.pt", version), **given)
    out = prior.network(waves((1, 3, 8, 8), 0.37), torch.tensor([7]))
    shown = torch.cat([out.flatten()[[0, 50, 100, 150]], out.square().mean().sqrt()[None]])
    assert_close(shown, torch.tensor(MEASURED[version][1]), rtol=0.0, atol=3e-5)


def test_the_model_of_diffusionerf(tmp_path):
    """Its layout, at a quarter of its width."""
    sizes = {"inputs": 4, "outputs": 4, "dim": 16, "mults": (1, 2, 4, 8)}
    path = checkpoint(tmp_path / "released.pt", "0.27.12", timesteps=1000, **sizes)
    prior = load_prior(path, prediction="epsilon", version="0.27.12")
    card = prior.card
    assert prior.channels == ("r", "g", "b", "disparity")
    assert (card.name, card.depth, card.d_min, card.steps) == ("released", "planar", 0.2, 7)
    assert card.architecture == "Unet of denoising-diffusion-pytorch"
    assert card.network == {"predicts": "epsilon", "dim": 16, "mults": [1, 2, 4, 8]}
    assert 0.006 < card.sigma_min < 0.007  # of the cosine schedule's first step
    x, sigma = torch.randn(1, 4, 16, 16), torch.tensor([0.17])
    assert torch.isfinite(prior.denoise(x, sigma)).all()
    told = {"prediction": "epsilon", "version": "0.27.12"}
    assert load_prior(path, d_min=0.5, size=(48, 48), **told).card.d_min == 0.5
    assert "disparity is 1 at 0.2 m" in " ".join(card.assumed)


def test_denoising_is_the_packages_formula(tmp_path):
    """At a level of the table: x_0 = x_t / sqrt(abar) - sqrt(1 / abar - 1) eps, at x_t = sqrt(abar) x."""
    prior = load_lucidrains(checkpoint(tmp_path / "m.pt"))
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    abar = (1 - content["ema"]["ema_model.betas"].double()).cumprod(0)[40]
    x = torch.randn(2, 3, 8, 8)
    sigma = ((1 - abar) / abar).sqrt().float().expand(2)
    eps = prior.network(abar.sqrt().float() * x, torch.full((2,), 40.0))
    assert_close(prior.denoise(x, sigma), x - sigma[0] * eps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize(
    ("prediction", "weight"),
    [
        ("epsilon", lambda snr, kept: kept / snr),
        ("sample", lambda snr, kept: kept),
        ("v_prediction", lambda snr, kept: kept / (snr + 1)),
    ],
)
def test_what_is_predicted_is_told_by_the_loss_weights(prediction, weight, clipped, tmp_path):
    path = checkpoint(tmp_path / "m.pt", weight=lambda snr: weight(snr, snr.clamp(max=5.0) if clipped else snr))
    assert load_lucidrains(path).prediction == prediction
    assert load_lucidrains(path, prediction=prediction).prediction == prediction
    other = "sample" if prediction == "epsilon" else "epsilon"
    with pytest.raises(ValueError, match=f"was trained with prediction='{prediction}', not '{other}'. Leave"):
        load_lucidrains(path, prediction=other)


def test_averaged_weights_are_preferred(tmp_path):
    both, plain = checkpoint(tmp_path / "a.pt"), checkpoint(tmp_path / "b.pt", ema=False)
    one, two = (load_lucidrains(path).network.state_dict() for path in (both, plain))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(value.abs().max() > 0 for value in one.values())


@pytest.mark.parametrize(
    ("inputs", "outputs", "given", "names"),
    [
        (1, 1, None, ("gray",)),
        (3, 3, None, ("r", "g", "b")),
        (6, 3, None, ("r", "g", "b")),  # conditioned on its own estimate
        (3, 6, None, ("r", "g", "b")),  # with a learned variance
        (2, 2, ("a", "b"), ("a", "b")),
    ],
)
def test_channels(inputs, outputs, given, names, tmp_path):
    prior = load_lucidrains(checkpoint(tmp_path / "m.pt", inputs=inputs, outputs=outputs), channels=given)
    assert prior.channels == names
    assert (prior.card.depth, prior.card.d_min) == (None, None)
    x = torch.randn(2, len(names), 8, 8)
    assert prior.denoise(x, torch.tensor([0.1, 1.0])).shape == x.shape


def test_half_of_the_names_is_no_network_of_the_package(tmp_path):
    """A learned variance and an own estimate exclude each other, so that both would be too few names."""
    path = checkpoint(tmp_path / "m.pt", inputs=4, outputs=4)
    with pytest.raises(ValueError, match="4 channels in and 4 out, but 2 were named"):
        load_lucidrains(path, channels=("r", "g"))


def test_a_learned_variance_goes_with_the_noise(tmp_path):
    """The loss of LearnedGaussianDiffusion compares with the noise, though its objective is pred_v by default."""
    path = checkpoint(tmp_path / "m.pt", inputs=3, outputs=6, weight=lambda snr: snr / (snr + 1))
    assert load_lucidrains(path).prediction == "epsilon"
    with pytest.raises(ValueError, match="was trained with prediction='epsilon', not 'sample'"):
        load_lucidrains(path, prediction="sample")


def test_own_estimate_comes_before_the_sample(tmp_path):
    """Weights of the first convolution that belong to the estimate, the first half, make no difference."""
    path = checkpoint(tmp_path / "m.pt", inputs=6, outputs=3)
    prior = load_lucidrains(path)
    x, sigma = torch.randn(1, 3, 8, 8), torch.tensor([0.5])
    before = prior.denoise(x, sigma)
    with torch.no_grad():
        prior.network.init_conv.weight[:, :3] += 1
        assert torch.equal(prior.denoise(x, sigma), before)
        prior.network.init_conv.weight[:, 3:] += 1
    assert not torch.allclose(prior.denoise(x, sigma), before)


class Trap:
    """A pickle that makes a file when it is loaded as pickles usually are."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "model-1.pt"
    content = torch.load(checkpoint(path), weights_only=True)
    torch.save(content | {"opt": Trap(tmp_path / "sprung")}, path)
    with pytest.raises(ValueError, match=r"model-1.pt is no readable checkpoint, .* \(it names \w+\.mkdir"):
        load_prior(path)
    assert not is_lucidrains(path)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ValueError, match="holds code"):
        load_lucidrains(path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "sprung").exists(), "the trap works"


def change(path, **entries):
    content = torch.load(path, weights_only=True)
    for name, value in entries.items():
        name = name.replace("__", ".")
        content["ema"][f"ema_model.model.{name}"] = value
    torch.save(content, path)
    return path


def test_networks_that_are_not_supported(tmp_path):
    path = tmp_path / "m.pt"
    with pytest.raises(FileNotFoundError, match="m.pt is no file"):
        load_lucidrains(path)
    torch.save({"state_dict": {}}, path)
    assert not is_lucidrains(path)
    with pytest.raises(ValueError, match=r"m.pt holds no tensors by name, .* wrap it: scorereg.wrap"):
        load_lucidrains(path)
    torch.save([1, 2], path)
    assert not is_lucidrains(path)
    checkpoint(path)
    assert is_lucidrains(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match="m.pt is no readable checkpoint"):
        load_lucidrains(path)
    change(checkpoint(path), time_mlp__0__weights=torch.zeros(8))
    with pytest.raises(ValueError, match=r"holds a Unet with learned Fourier features, of ElucidatedDiffusion"):
        load_lucidrains(path)
    checkpoint(path, inputs=5, outputs=5)
    with pytest.raises(ValueError, match=r"has 5 channels without names. Name them"):
        load_lucidrains(path)
    with pytest.raises(ValueError, match=r"5 channels in and 5 out, but 2 were named"):
        load_lucidrains(path, channels=("a", "b"))


def test_sides_that_are_no_multiples_are_extended_by_reflection(tmp_path):
    prior = load_lucidrains(checkpoint(tmp_path / "m.pt"))
    x, sigma = torch.randn(2, 3, 7, 8), torch.tensor([0.1, 1.0])
    longer = torch.cat([x, x[:, :, 5:6]], 2)  # row 7 mirrors row 5
    assert_close(prior.denoise(x, sigma), prior.denoise(longer, sigma)[:, :, :7])
    with pytest.raises(ValueError, match=r"multiples of 2, and \(1, 8\) is too small to be extended by reflection"):
        prior.denoise(torch.zeros(1, 3, 1, 8), torch.tensor([0.1]))


def test_a_checkpoint_of_the_package_itself(tmp_path):
    package = pytest.importorskip("denoising_diffusion_pytorch")
    from ema_pytorch import EMA

    unet = package.Unet(dim=16, dim_mults=(1, 2), channels=3)
    diffusion = package.GaussianDiffusion(unet, image_size=16, timesteps=50)
    ema = EMA(diffusion)
    torch.save(
        {"step": 1, "model": diffusion.state_dict(), "ema": ema.state_dict(), "version": "2.0"}, tmp_path / "m.pt"
    )
    prior = load_lucidrains(tmp_path / "m.pt")
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([5, 30])
    with torch.no_grad():
        exact = ema.ema_model.model_predictions(x, t).pred_x_start
    abar = diffusion.alphas_cumprod[t].double()
    sigma = ((1 - abar) / abar).sqrt()
    ours = prior.denoise((x / abar.sqrt()[:, None, None, None]).float(), sigma.float())
    assert_close(ours, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("version", "heads"), [("1.8.8", True), ("2.3.4", False)])
def test_sizes_that_no_tensor_shows_are_told(version, heads, tmp_path):
    """Files with learned keys show the heads; the frequencies of the time are shown by none."""
    checkpoint(tmp_path / "model.pt", version)
    told = " ".join(load_lucidrains(tmp_path / "model.pt", prediction="epsilon").card.assumed)
    assert ("attention heads of 32 channels" in told) == heads
    assert "theta 10000" in told


def test_a_file_in_bfloat16_is_read_with_a_word(tmp_path):
    """Its betas have two digits, which is no contradiction to their products."""
    checkpoint(tmp_path / "whole.pt", weight=torch.ones_like, timesteps=1000)
    content = torch.load(tmp_path / "whole.pt", weights_only=True)
    exact = content["ema"]["ema_model.betas"]
    for part in ("model", "ema"):
        content[part] = {k: v.bfloat16() if v.is_floating_point() else v for k, v in content[part].items()}
    torch.save(content, tmp_path / "half.pt")
    whole = load_lucidrains(tmp_path / "whole.pt", prediction="epsilon")
    with pytest.warns(UserWarning, match="in half precision"):
        half = load_lucidrains(tmp_path / "half.pt", prediction="epsilon")
    told = load_lucidrains(tmp_path / "half.pt", prediction="epsilon", betas=exact.tolist())
    x, sigma = torch.randn(2, 3, 16, 16), torch.tensor([0.1, 1.0])
    truth = whole.denoise(x, sigma)
    for prior in (half, told):
        assert (prior.denoise(x, sigma) - truth).norm() < 0.05 * truth.norm()


@pytest.mark.parametrize(
    "name", ["init_conv.bias", "mid_block1.block1.proj.weight", "final_conv.weight", "init_conv.weight"]
)
def test_a_file_that_lacks_a_weight_is_incomplete(name, tmp_path):
    path = checkpoint(tmp_path / "m.pt")
    content = torch.load(path)
    for part in ("model", "ema"):
        content[part] = {key: value for key, value in content[part].items() if not key.endswith(f"model.{name}")}
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"m.pt (lacks|holds .* without its) {name}.*incomplete.*Copy or download"):
        load_prior(path)


def test_a_version_that_cannot_be(tmp_path):
    def said(path, version):
        torch.save(torch.load(path) | {"version": version}, path)
        return path

    old = next(version for version in MEASURED if (1, 5) <= numbers(version) < (1, 8))
    path = said(checkpoint(tmp_path / "m.pt"), "1.4.0")
    with pytest.raises(
        ValueError, match=r"m.pt is told to be of version 1.4.0 .* versions from 1.8 on. Correct version"
    ):
        load_prior(path)
    path = said(path, "latest")
    with pytest.raises(ValueError, match="m.pt says version 'latest', which is none .* Give the one that wrote it"):
        load_prior(path)
    assert load_prior(path, version="2.3.4").channels == ("r", "g", "b")
    path = said(checkpoint(tmp_path / "old.pt", old), "2.3.4")
    with pytest.raises(ValueError, match=r"old.pt is told to be of version 2.3.4 .* versions until 1.8"):
        load_prior(path)
