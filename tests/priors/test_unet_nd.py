"""The U-Net for lines and volumes, and `NetworkPrior` around it."""

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import NetworkPrior, PriorCard, load_prior
from scorereg.priors.networks import UNetND, build_network
from scorereg.priors.networks.build import network_settings

SHAPES = {1: (16,), 2: (8, 16), 3: (8, 8, 4)}


def network(dimensions: int, **change) -> UNetND:
    settings = {"dimensions": dimensions, "in_channels": 2, "block_out_channels": (8, 16), "add_attention": True}
    net = UNetND(**(settings | change))
    for value in net.parameters():
        nn.init.normal_(value, std=0.1)
    return net


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_shape_level_and_batch(dimensions):
    """Each sample is answered by itself, and as its own level says."""
    net = network(dimensions)
    x, level = torch.randn(3, 2, *SHAPES[dimensions]), torch.tensor([-1.0, 0.0, 0.1])
    (out,) = net(x, level, return_dict=False)
    assert out.shape == x.shape
    assert_close(net(x[1:2], level[1:2])[0], out[1:2], rtol=1e-4, atol=1e-4)
    other = net(x, level + torch.tensor([0.0, 0.05, 0.0]))[0]
    assert_close(other[[0, 2]], out[[0, 2]], rtol=1e-4, atol=1e-4)
    assert (other[1] - out[1]).abs().max() > 1e-3


def test_a_line_is_seen_alike_in_a_picture_and_a_volume():
    """A network whose kernels see only one axis computes the same for one dimension and for three."""
    one, three = network(1, add_attention=False), network(3, add_attention=False)
    line = dict(one.named_parameters())
    with torch.no_grad():
        for name, value in three.named_parameters():
            if value.ndim == 5:
                value.zero_()
                middle = value.shape[-1] // 2
                value[..., middle, middle] = line[name]
            else:
                value.copy_(line[name])
    x = torch.randn(2, 2, 16)
    level = torch.tensor([-0.5, 0.2])
    wide = x[..., None, None].expand(-1, -1, -1, 4, 4)
    assert_close(three(wide, level)[0], one(x, level)[0][..., None, None].expand_as(wide), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_untrained_is_zero_and_every_weight_is_reached(dimensions):
    net = UNetND(dimensions=dimensions, in_channels=2, block_out_channels=(8, 16), add_attention=True)
    x = torch.randn(2, 2, *SHAPES[dimensions])
    assert net(x, torch.zeros(2))[0].abs().max() == 0
    net = network(dimensions)
    net(x, torch.tensor([0.1, 0.2]))[0].square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0] == []


def test_checkpointing_keeps_less_and_computes_the_same():
    net, kept = network(3), []
    x, level = torch.randn(2, 2, 8, 8, 8), torch.tensor([0.1, 0.2])

    def gradients() -> list[torch.Tensor]:
        net.zero_grad()
        held: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: held.append(t.numel()) or t, lambda t: t):
            out = net(x, level)[0]
        kept.append(sum(held))
        out.square().sum().backward()
        return [p.grad.clone() for p in net.parameters()]

    plain = gradients()
    net.enable_gradient_checkpointing()
    assert_close(gradients(), plain)
    assert kept[1] < 0.5 * kept[0]


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
@pytest.mark.parametrize("shape", [(64,), (48, 48), (32, 32, 32)], ids=str)
def test_named_sizes(size, shape):
    with torch.device("meta"):
        net = build_network(size, patch_size=shape, channels=1)
    count = sum(p.numel() for p in net.parameters())
    assert {"tiny": 0.2e6, "small": 1.5e6, "base": 15e6}[size] < count < {"tiny": 3e6, "small": 8e6, "base": 80e6}[size]
    assert network_settings(size, len(shape))["patchify"] in (1, 2)


@pytest.mark.parametrize("shape", [(8,), (4, 8), (4, 4, 8)], ids=str)
def test_folding_in_every_rank(shape):
    """Of the whole patch only one pixel was changed: one block of what the network sees differs, and it comes back."""

    class Recorder(nn.Module):
        def forward(self, x, noise, return_dict=True):
            self.x = x
            return (3 * x,)

    net = Recorder()
    card = PriorCard("x", ("a", "b"), shape, 0.01, 1.0, depth=None, network={"patchify": 2})
    x = torch.zeros(1, 2, *shape)
    at = (0, 1, *[1] * (len(shape) - 1), 6)
    x[at] = 1.0
    out = NetworkPrior(net, card).denoise(x, torch.tensor([1.0]))
    assert net.x.shape == (1, 2 * 2 ** len(shape), *(n // 2 for n in shape))
    assert net.x[0, 2 ** len(shape) :].abs().sum() == net.x.abs().sum() > 0
    assert [tuple(i) for i in out.nonzero().tolist()] == [at]


@pytest.fixture
def folder(tmp_path):
    net = network(1, in_channels=1)
    card = PriorCard("x", ("weight",), (16,), 0.01, 1.0, depth=None)
    NetworkPrior(net, card).save_pretrained(tmp_path / "p")
    return tmp_path / "p"


def test_damaged_configurations_are_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "depth": 3}))
    with pytest.raises(ValueError, match=r"config\.json is not the file that was written .*`depth` is 3"):
        load_prior(folder)
    (folder / "config.json").write_text(json.dumps({**config, "block_out_channels": [8, 24]}))
    with pytest.raises(ValueError, match=r"config\.json is not the file that was written .*`block_out_channels`"):
        load_prior(folder)


def test_a_card_of_another_shape_is_an_error(folder):
    card = json.loads((folder / "card.json").read_text()) | {"channels": ["a", "b"]}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=r'`channels` is \["a", "b"\], was \["weight"\]'):
        load_prior(folder)


@pytest.mark.usefixtures("as_user")
def test_a_patch_of_another_length(folder):
    with pytest.raises(ValueError, match=r"patches of \(16,\) pixels, but got \(12,\)"):
        load_prior(folder).denoise(torch.zeros(1, 1, 12), torch.tensor([0.1]))
