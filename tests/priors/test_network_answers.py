"""What a wrapped network answers or raises: read as it is meant, or refused with the lambda that mends it."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg.priors import linear_betas, wrap

X, SIGMA = torch.linspace(-1, 1, 24).reshape(2, 1, 3, 4), torch.tensor([0.4, 2.0])
TABLE = torch.randn(1000, generator=torch.Generator().manual_seed(0))


def denoised(network, **settings):
    given = {"prediction": "epsilon", "betas": linear_betas()} | settings
    return wrap(network, channels=("gray",), **given).denoise(X, SIGMA)


def refused(network, says, **settings):
    with pytest.raises(ValueError, match=says) as caught:
        denoised(network, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda z: z.numpy(), r"returned a ndarray of numpy. Make it a tensor: wrap\(lambda z, t: torch.as_tensor"),
        (lambda z: None, "returned None. Its last line has to return"),
        (lambda z: {"out": z}, r"returned a dict with out. .*network\(z, t\)\['out'\]"),
        (lambda z: (None, z), r"a tuple of NoneType, Tensor. .*network\(z, t\)\[1\]"),
        (lambda z: (), "a tuple of nothing"),
        (lambda z: SimpleNamespace(x=z), "returned a SimpleNamespace, and a prediction is a tensor"),
        (lambda z: torch.distributions.Normal(z, 1.0), "returned a Normal, .*.mean of a distribution"),
        (lambda z: z.long(), "returned values of torch.int64; a prediction is of floats"),
        (lambda z: z > 0, "values of torch.bool"),
        (lambda z: z.mean(), r"returned shape \(\) for an input of shape"),
        (lambda z: torch.cat([z] * 3, 1), r"returned shape \(2, 3, 3, 4\)"),
    ],
)
def test_answers_that_are_no_prediction(answer, says):
    refused(lambda z, t: answer(z), says)


def test_lists_and_values_that_are_not_finite():
    assert_close(denoised(lambda z, t: [z / 2, None]), denoised(lambda z, t: z / 2))
    for bad in (float("nan"), float("inf")):
        refused(lambda z, t, bad=bad: torch.full_like(z, bad), "returned NaN or infinity in 24 of 24 values")


INTEGERS = [
    lambda z, t: z * nn.functional.embedding(t, TABLE[:, None])[:, :, None, None],
    lambda z, t: z * TABLE[t][:, None, None, None],
    lambda z, t: z * TABLE.gather(0, t)[:, None, None, None],
    lambda z, t: z * nn.functional.one_hot(t, 1000).sum(1)[:, None, None, None],
]


@pytest.mark.parametrize("network", INTEGERS, ids=["embedding", "index", "gather", "one_hot"])
def test_whole_numbers_as_time(network):
    refused(network, r"It takes whole numbers as time: wrap\(lambda z, t: network\(z, t.round\(\).long\(\)\)")
    assert denoised(lambda z, t: network(z, t.round().long())).isfinite().all(), "the cure cures"


ONE_NUMBER = [lambda z, s: z * float(s) / 9, lambda z, s: z * s.item() / 9, lambda z, s: z / 2 if s > 1 else z]


@pytest.mark.parametrize("network", ONE_NUMBER, ids=["float", "item", "if"])
def test_one_number_as_level(network):
    settings = {"prediction": "denoised", "betas": None}
    refused(network, r"Call it for each sample: wrap\(lambda z, t: torch.cat", **settings)
    cured = denoised(lambda z, t: torch.cat([network(zi[None], ti) for zi, ti in zip(z, t, strict=True)]), **settings)
    assert_close(cured[1:], network(X[1:], SIGMA[1]))


def test_levels_as_images():
    def network(z, t):
        return z * t / 2000

    refused(lambda z, t: z[..., :3] * t, r"network\(z, t.view\(-1, 1, 1, 1\)\)")
    assert denoised(lambda z, t: network(z, t.view(-1, 1, 1, 1))).isfinite().all()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_the_dtype_of_hidden_weights(kind):
    layer = nn.Conv2d(1, 1, 1).to(kind)
    refused(lambda z, t: layer(z), rf"Say the dtype of its weights: wrap\(..., dtype={kind}\)")
    denoised(lambda z, t: layer(z), dtype=kind)


def test_the_dtype_of_the_time():
    class Timed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1).bfloat16()

        def forward(self, z, t):
            return z * self.layer(t[:, None])[:, :, None, None]

    network = Timed()
    refused(network, r"wrap\(lambda z, t: network\(z, t.to\(torch.bfloat16\)\), dtype=torch.bfloat16")
    denoised(lambda z, t: network(z, t.to(torch.bfloat16)), dtype=torch.bfloat16)


def test_faults_of_their_own_are_raised_as_they_are():
    def fault(z, t):
        raise RuntimeError("a fault of its own")

    with pytest.raises(RuntimeError, match="a fault of its own"):
        denoised(fault)
    refused(lambda z, t: z.reshape(7, 7), "Give patches of the size that it was trained on")


@pytest.mark.parametrize("count", [100, 500])
def test_fewer_embeddings_than_steps(count):
    table = nn.Embedding(count, 1)
    times = {"embedding": table, "tensor": lambda i: table.weight[i]}
    sigma = torch.tensor([5.0, 100.0])
    for look in times.values():
        prior = wrap(
            lambda z, t, look=look: z * look(t.round().long())[:, :, None, None],
            prediction="epsilon", betas=linear_betas(), channels=("gray",),
        )  # fmt: skip
        with pytest.raises(
            ValueError, match=rf"has {count} embeddings of time, but the noise table 1000 steps, and t="
        ):
            prior.denoise(X, sigma)
        prior.denoise(X, torch.full((2,), 0.02))
    labels = nn.Embedding(1000, 1)
    other = wrap(lambda z, t: z * labels(t.long() + 1000)[:, :, None, None], prediction="epsilon",
                 betas=linear_betas(), channels=("gray",))  # fmt: skip
    with pytest.raises(IndexError, match="out of range"):
        other.denoise(X, sigma)


def test_another_number_of_channels():
    three, one = nn.Conv2d(3, 3, 1), nn.Conv2d(1, 3, 1)
    says = r"It takes 3 channels, but channels=\('gray',\) names 1. Name those .*conditioned on an image"
    refused(lambda z, t: three(z), says)
    refused(lambda z, t: three(one(z)[:, :2]), "to have 3 channels, but got 2 .* Give patches of")


def test_a_check_of_the_time_without_words():
    def network(z, t):
        if t.is_floating_point():
            raise AssertionError
        return z / 2

    refused(network, r"It takes whole numbers as time: wrap\(lambda z, t: network\(z, t.round\(\).long")

    def told(z, t):
        if t.is_floating_point():
            raise TypeError("timesteps must be integers")
        return z / 2

    refused(told, "It takes whole numbers as time")

    def other(z, t):
        if z.shape[-1] != 7:
            raise AssertionError
        return z

    refused(other, "AssertionError.*Give patches of the size")


class Halving(nn.Module):
    """A network that halves its sides, and doubles them again; with a bridge as a U-Net has."""

    def __init__(self, *, bridge):
        super().__init__()
        self.down, self.up, self.bridge = nn.Conv2d(1, 1, 3, 2, 1), nn.ConvTranspose2d(1, 1, 4, 2, 1), bridge

    def forward(self, z, t):
        out = self.up(self.down(z))
        return torch.cat([z, out], 1).sum(1, keepdim=True) if self.bridge else out


@pytest.mark.parametrize("bridge", [False, True])
def test_sides_that_a_network_does_not_take(bridge):
    refused(Halving(bridge=bridge), r"multiples of 2: wrap\(..., multiple=2\)")
    denoised(Halving(bridge=bridge), multiple=2)


def test_weights_on_two_devices():
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)

        def forward(self, z, t):
            raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices")

    network = Split()
    prior = wrap(network, prediction="denoised", channels=("gray",))
    with pytest.raises(ValueError, match="Put the network and the patches on one device"):
        prior.denoise(X, SIGMA)
    network.second.to("meta")
    with pytest.raises(ValueError, match="Its weights are on cpu and meta. Put all on one device"):
        prior.denoise(X, SIGMA)
