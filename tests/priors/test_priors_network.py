"""NetworkPrior: its preconditioning, its folder, diffusers' own reading of that folder, and the errors."""

import json
import shutil
import stat

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import Density, NetworkPrior, PriorCard, RayWeights, load_prior, score
from scorereg.priors import shipped_priors
from scorereg.priors.networks import NETWORK_SIZES, build_network

RGBD = ("r", "g", "b", "disparity")


def make_card(**change) -> PriorCard:
    entries = {
        "name": "x",
        "channels": RGBD,
        "size": (8, 8),
        "sigma_min": 0.005,
        "sigma_max": 5.0,
        "d_min": 0.5,
        "network": {"size": "tiny", "patchify": NETWORK_SIZES["tiny"]["patchify"]},
    }
    return PriorCard(**(entries | change))


@pytest.fixture
def prior() -> NetworkPrior:
    """An untrained network whose last layer is not zero, so that every weight matters."""
    network = build_network("tiny", patch_size=8, channels=4)
    nn.init.normal_(network.get_parameter("conv_out.weight"), std=0.05)
    return NetworkPrior(network, make_card()).eval()


@pytest.fixture
def folder(prior, tmp_path):
    prior.save_pretrained(tmp_path / "p")
    return tmp_path / "p"


class Recorder(nn.Module):
    """Keeps what the network is called with, and answers with a fixed multiple of it."""

    def forward(self, x, noise, return_dict=True):
        self.x, self.noise = x, noise
        return (3 * x,)


def test_preconditioning_is_that_of_the_paper():
    """Karras et al. 2022, table 1, column "Ours", with sigma_data = 1/2."""
    net = Recorder()
    prior = NetworkPrior(net, make_card(network={}))
    x = torch.randn(2, 4, 8, 8)
    sigma = torch.tensor([0.02, 3.0])
    s, wide = sigma.double()[:, None, None, None], x.double()
    out = prior.denoise(x, sigma)
    total = s**2 + 0.25
    assert_close(net.x.double(), wide / total.sqrt(), rtol=1e-6, atol=1e-6)
    assert_close(net.noise, sigma.log() / 4)
    exact = 0.25 / total * wide + s * 0.5 / total.sqrt() * 3 * wide / total.sqrt()
    assert_close(out.double(), exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sigma", [[0.005, 0.005], [0.3, 0.3], [0.005, 5.0]], ids=str)
def test_residual_keeps_its_digits(sigma):
    """F(z) = 3 z in closed form; x - D loses four digits at the lowest level, the residual none."""
    prior = NetworkPrior(Recorder(), make_card(network={"patchify": 2}))
    x, sigma = torch.randn(2, 4, 8, 8), torch.tensor(sigma)
    s = sigma.double()[:, None, None, None]
    exact = s * (s - 1.5) / (s**2 + 0.25) * x.double()
    actual = prior.residual(x, sigma)
    assert_close(actual.double(), exact, rtol=1e-6, atol=1e-9)
    assert_close(x - prior.denoise(x, sigma), actual, rtol=0, atol=1e-6)
    assert_close(score(prior, x, sigma).double(), -exact / s**2, rtol=2e-6, atol=1e-7)


def test_residual_has_no_graph_and_the_dtype_of_x(prior):
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    out = prior.residual(x, torch.tensor([0.1, 0.2], dtype=torch.float64))
    assert out.dtype == torch.float64
    assert not out.requires_grad


@pytest.mark.parametrize("method", ["denoise", "residual"])
@pytest.mark.parametrize(
    ("size", "sigma", "says"),
    [
        (8, [0.1, float("nan")], "finite sigma > 0"),
        (8, [float("nan"), 0.1], "finite sigma > 0"),
        (8, [0.1, -0.1], "finite sigma > 0; the smallest given is -0.1"),
        (8, [0.1, 9.0], "trained for sigma from 0.005 to 5, but got 0.1 to 9"),
        (8, [0.001, 0.1], "trained for sigma from 0.005 to 5, but got 0.001 to 0.1"),
        (6, [0.1, 0.1], r"denoises patches of \(8, 8\) pixels, but got \(6, 6\)"),
    ],
)
def test_both_ways_refuse_what_contradicts_the_card(prior, method, size, sigma, says):
    with pytest.raises(ValueError, match=says):
        getattr(prior, method)(torch.zeros(2, 4, size, size), torch.tensor(sigma))


def test_untrained_network_is_the_best_denoiser_of_independent_pixels():
    prior = NetworkPrior(build_network("tiny", patch_size=8, channels=4), make_card()).eval()
    x = torch.randn(2, 4, 8, 8)
    sigma = torch.tensor([0.1, 2.0])
    gain = 0.25 / (0.25 + sigma[:, None, None, None] ** 2)
    assert_close(prior.denoise(x, sigma), gain * x)


def test_patchified_network_sees_each_pixel_where_it_is():
    """Only the block of pixels that was changed differs before the first layer, and comes back to its place."""
    net = Recorder()
    prior = NetworkPrior(net, make_card(network={"patchify": 2}))
    x = torch.zeros(1, 4, 8, 8)
    x[0, 1, 4, 7] = 1.0
    out = prior.denoise(x, torch.tensor([1.0]))
    assert net.x.shape == (1, 16, 4, 4)
    assert net.x[0, 4:8, 2, 3].abs().sum() == net.x.abs().sum() > 0
    assert out.nonzero().tolist() == [[0, 1, 4, 7]]


def test_denoise_makes_no_graph_and_keeps_the_dtype(prior):
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    out = prior.denoise(x, torch.tensor([0.1, 0.2], dtype=torch.float64))
    assert out.dtype == torch.float64
    assert not out.requires_grad
    assert score(prior, x.detach(), torch.tensor([0.1, 0.2])).shape == x.shape


def test_autocast_changes_little(prior):
    x = torch.randn(4, 4, 8, 8)
    sigma = torch.tensor([0.01, 0.1, 1.0, 4.0])
    exact = prior.denoise(x, sigma)
    prior.autocast = True
    rough = prior.denoise(x, sigma)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert_close(rough, exact, rtol=0.02, atol=0.02)


def test_float32_folder_gives_the_same_prior_back(prior, tmp_path):
    prior.save_pretrained(tmp_path, half=False)
    back = NetworkPrior.load(tmp_path)
    x = torch.randn(2, 4, 8, 8)
    sigma = torch.tensor([0.1, 1.0])
    assert back.card == prior.card
    assert_close(back.denoise(x, sigma), prior.denoise(x, sigma), rtol=0.0, atol=1e-6)
    assert not any(p.requires_grad for p in back.parameters())
    assert not back.training


def test_half_precision_halves_the_file_and_is_computed_in_single(prior, folder, tmp_path):
    prior.save_pretrained(tmp_path / "full", half=False)
    name = "diffusion_pytorch_model.safetensors"
    assert (folder / name).stat().st_size < 0.6 * (tmp_path / "full" / name).stat().st_size
    back = load_prior(folder)
    assert {p.dtype for p in back.parameters()} == {torch.float32}
    x, sigma = torch.randn(2, 4, 8, 8), torch.tensor([0.1, 1.0])
    assert_close(back.denoise(x, sigma), prior.denoise(x, sigma), rtol=5e-3, atol=5e-3)


def test_diffusers_reads_the_folder_by_itself(prior, folder):
    from diffusers import EDMEulerScheduler, UNet2DModel

    network = UNet2DModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    scheduler = EDMEulerScheduler.from_pretrained(folder)
    x, sigma = torch.randn(1, 4, 8, 8), torch.tensor([0.4])
    with torch.no_grad():
        out = network(scheduler.precondition_inputs(x, sigma), scheduler.precondition_noise(sigma)).sample
    assert_close(scheduler.precondition_outputs(x, out, sigma), load_prior(folder).denoise(x, sigma))
    assert_close(scheduler.sigmas[0].item(), prior.card.sigma_max)


def test_saving_replaces_whole_files_and_leaves_nothing_else(prior, folder):
    prior.save_pretrained(folder)
    names = {"card.json", "config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json"}
    assert {p.name for p in folder.iterdir()} == names
    modes = {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()}
    assert len(modes) == 1, "the weights are as readable as the card"


def test_failed_saving_harms_nothing(prior, folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def fail(self):
        raise OSError("disk full")

    monkeypatch.setattr(PriorCard, "to_json", fail)
    with pytest.raises(OSError, match="disk full"):
        prior.save_pretrained(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_saving_where_a_file_is(prior, tmp_path):
    (tmp_path / "f").write_text("mine")
    with pytest.raises(OSError, match=r"f cannot be made \(File exists\)\. Choose another folder"):
        prior.save_pretrained(tmp_path / "f")
    assert (tmp_path / "f").read_text() == "mine"


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("shape", "sigma", "says"),
    [
        ((1, 3, 8, 8), [0.1], r"4 channels \(r, g, b, disparity\) got a patch of shape \(1, 3, 8, 8\)"),
        ((1, 4, 12, 12), [0.1], r"prior 'x' denoises patches of \(8, 8\) pixels, but got \(12, 12\)"),
        ((1, 4, 8, 8), [0.001], r"trained for sigma from 0.005 to 5, but got 0.001 to 0.001"),
        ((2, 4, 8, 8), [0.1, 9.0], r"but got 0.1 to 9\. Keep the schedule"),
        ((2, 4, 8, 8), [0.1], r"one sigma per sample, shape \(2,\)"),
    ],
)
def test_what_contradicts_the_card_is_an_error(prior, shape, sigma, says):
    with pytest.raises(ValueError, match=says):
        prior.denoise(torch.zeros(shape), torch.tensor(sigma))


def test_the_ends_of_the_noise_range_are_in_it(prior):
    prior.denoise(torch.zeros(2, 4, 8, 8), torch.tensor([0.005, 5.0]))


@pytest.mark.parametrize("name", ["card.json", "config.json", "diffusion_pytorch_model.safetensors"])
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing"):
        load_prior(folder)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", b"not json", "config.json is no valid JSON"),
        ("config.json", b'{"down_block_types": ["Nonsense"]}', r"config\.json is not the file that was written"),
        ("diffusion_pytorch_model.safetensors", b"abc", "safetensors is damaged or no safetensors"),
    ],
)
def test_damaged_file_is_named(folder, name, content, says):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=says) as caught:
        load_prior(folder)
    assert "\n" not in str(caught.value)


def test_truncated_weights(folder):
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="safetensors is damaged or no safetensors"):
        load_prior(folder)


def test_weights_of_another_network(folder, tmp_path):
    other = NetworkPrior(build_network("tiny", patch_size=8, channels=3), make_card(channels=("r", "g", "b")))
    other.save_pretrained(tmp_path / "q")
    shutil.copy(tmp_path / "q" / "diffusion_pytorch_model.safetensors", folder)
    with pytest.raises(ValueError, match=r"card\.json was written with other weights"):
        load_prior(folder)


def test_card_with_another_size(folder):
    card = json.loads((folder / "card.json").read_text())
    side = card["size"][0]
    (folder / "card.json").write_text(json.dumps(card | {"size": [2 * side, 2 * side]}))
    with pytest.raises(ValueError, match=rf"`size` is \[{2 * side}, {2 * side}\], was \[{side}, {side}\]"):
        load_prior(folder)


def test_card_of_another_prior(folder):
    card = json.loads((folder / "card.json").read_text()) | {"channels": ["r", "g", "b"]}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r'`channels` is \["r", "g", "b"\], was \["r", "g", "b", "disparity"\]'):
        load_prior(folder)


@pytest.mark.parametrize(
    ("size", "patch", "says"),
    [
        ("huge", 24, "no network is called 'huge'; choose one of tiny, small, folded, base"),
        ("small", 22, "must be a multiple of that"),
    ],
)
def test_network_that_cannot_be_built(size, patch, says):
    with pytest.raises(ValueError, match=says):
        build_network(size, patch_size=patch, channels=4)


def test_shipped_size_fits_and_base_is_the_papers():
    small = build_network("small", patch_size=24, channels=4)
    assert 2 * sum(p.numel() for p in small.parameters()) < 12e6, "half precision must stay below 12 MB"
    with torch.device("meta"):
        base = build_network("base", patch_size=48, channels=4)
    assert 32e6 < sum(p.numel() for p in base.parameters()) < 45e6


@pytest.mark.parametrize("name", shipped_priors())
def test_shipped_prior(name):
    """It denoises, is small enough to be in the package, and its card has all that a user needs."""
    prior = load_prior(name)
    card = prior.card
    assert card.name == name
    assert card.licence
    assert card.credits
    assert card.steps > 0
    assert card.held_out
    assert "held-out" in card.denoising
    from scorereg.priors.load import ZOO

    assert (ZOO / name / "diffusion_pytorch_model.safetensors").stat().st_size <= 12e6
    x = clean(card)
    noisy = x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    denoised = prior.denoise(noisy, torch.full((2,), 0.2))
    assert (denoised - x).square().mean() < 0.25 * (noisy - x).square().mean()


def clean(card):
    """Two patches of what a prior was trained on: a ramp of colours and disparity, a surface on a ray, a floor."""
    if card.channels == RGBD:
        assert card.depth == "planar"
        assert card.d_min
        assert card.focal
        assert "nyu" in card.denoising
        return torch.linspace(-0.8, 0.2, card.size[0]).expand(2, 4, *card.size)
    x = torch.full((2, 1, *card.size), -1.0)
    if card.channels == ("weight",):
        RayWeights.for_card(card)
        x[..., 20] = 1.0
    else:
        Density.for_card(card, voxel=0.05)
        x[:, :, :, :8] = 1.0  # the second axis points up
    return x


@pytest.mark.parametrize(("dtype", "digits"), [(torch.float16, 3e-3), (torch.bfloat16, 3e-2), (torch.float64, 1e-5)])
@pytest.mark.parametrize("name", ["rays-64", "blocks-32"])
def test_a_network_computes_in_the_dtype_of_its_weights(name, dtype, digits):
    prior = load_prior(name)
    x, sigma = torch.linspace(-1, 1, 4096)[None, None], torch.tensor([0.3])
    x = x[..., : prior.card.size[0]] if len(prior.card.size) == 1 else x.reshape(-1)[:1024].reshape(1, 1, 32, 32)
    x = x.expand(1, len(prior.channels), *prior.card.size)
    expected, residual = prior.denoise(x, sigma), prior.residual(x, sigma)
    for autocast in (False, True):
        other = load_prior(name, autocast=autocast).to(dtype)
        assert next(other.network.parameters()).dtype == dtype
        assert other.denoise(x, sigma).dtype == torch.float32
        assert_close(other.denoise(x, sigma), expected, rtol=0.0, atol=digits)
        assert_close(other.residual(x, sigma), residual, rtol=0.0, atol=digits)
        assert other.denoise(x.to(dtype), sigma).dtype == dtype
