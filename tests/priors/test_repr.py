"""The `repr` of each prior: one line with the channels, sizes and noise levels that a user has to match."""

import pytest
from test_priors_network import Recorder, make_card
from torch import nn

from scorereg import (
    ChannelPrior,
    GaussianFieldPrior,
    MarginalPrior,
    NetworkPrior,
    ProductPrior,
    TemperedPrior,
    TiledPrior,
    load_prior,
    wrap,
)

FIELD = "GaussianFieldPrior(channels=disparity, size=8x8, slope=3, std=0.25)"


def field() -> GaussianFieldPrior:
    return GaussianFieldPrior(8, ("disparity",), std=0.25)


class Deep(nn.Module):
    """A prior without a `repr` of its own: torch's has a line for each layer."""

    channels = ("r", "g")

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def denoise(self, x, sigma):
        return x


class Network(nn.Module):
    """A network of the caller's."""

    def forward(self, z, t):
        return z


@pytest.mark.parametrize(
    ("prior", "line"),
    [
        (field(), FIELD),
        (ProductPrior([field(), field()], [0.5, 2]), f"ProductPrior([{FIELD}, {FIELD}], weights=[0.5, 2.0])"),
        (TemperedPrior(field(), 2), f"TemperedPrior({FIELD}, temperature=2)"),
        (ChannelPrior(field(), ("r", "disparity")), f"ChannelPrior({FIELD}, channels=r disparity)"),
        (
            MarginalPrior(GaussianFieldPrior(8, ("r", "g")), ("g",), draws=3),
            "MarginalPrior(GaussianFieldPrior(channels=r g, size=8x8, slope=3, std=0.5), "
            "channels=g, rounds=1, draws=3)",
        ),
        (TiledPrior(field(), 8), f"TiledPrior({FIELD}, size=8, overlap=None, window=hann)"),
        (
            TiledPrior(field(), (8, 4), overlap=(4, 2), window="flat"),
            f"TiledPrior({FIELD}, size=8x4, overlap=4x2, window=flat)",
        ),
        (
            TemperedPrior(TiledPrior(field(), 8, overlap=2), 0.5),
            f"TemperedPrior(TiledPrior({FIELD}, size=8, overlap=2, window=hann), temperature=0.5)",
        ),
        (TemperedPrior(Deep(), 2), "TemperedPrior(Deep(channels=r g), temperature=2)"),
        (
            wrap(lambda z, t: z, prediction="edm", sigma_data=0.5, sigma_range=(0.01, 80), channels=("l",), size=(64,)),
            "WrappedPrior('function', channels=l, size=64, sigma=0.01..80, prediction=edm)",
        ),
        (
            wrap(Network(), prediction="denoised", channels=("r", "g")),
            "WrappedPrior('Network', channels=r g, sigma=0..inf, prediction=denoised)",
        ),
    ],
    ids=lambda value: value.split("(")[0] if isinstance(value, str) else "",
)
def test_a_prior_is_shown_on_one_line(prior, line):
    assert repr(prior) == line
    assert str(prior) == line


def test_a_network_prior_is_shown_without_its_layers():
    prior = NetworkPrior(Recorder(), make_card(network={"conditional": True}))
    assert repr(prior) == "NetworkPrior('x', channels=r g b disparity, size=8x8, sigma=0.005..5, conditional)"
    shipped = load_prior("rooms-rgbd-24")
    assert repr(shipped) == "NetworkPrior('rooms-rgbd-24', channels=r g b disparity, size=24x24, sigma=0.005..5)"
    assert repr(TiledPrior(shipped)) == f"TiledPrior({shipped!r}, size=24x24, overlap=None, window=hann)"
