"""Tiling: windows that sum to one, exactness where it must hold, and against the untiled prior where it may."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compose import CARD, White
from torch.testing import assert_close

from scorereg import GaussianFieldPrior
from scorereg.priors.base import tiles_hint
from scorereg.priors.tile import TiledPrior


class Counting(White):
    """Notes what it is asked, and answers with the patch."""

    def __init__(self):
        super().__init__()
        self.shapes, self.sigmas = [], []

    def denoise(self, x, sigma):
        self.shapes.append(tuple(x.shape))
        self.sigmas += sigma.tolist()
        return x


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_exact_for_a_pixelwise_prior(data):
    """In one, two and three dimensions, for any size, overlap and window: no seam, no border, no mixed-up samples."""
    space = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    size = [data.draw(st.integers(1, length)) for length in space]
    overlap = [data.draw(st.integers(0, side - 1)) for side in size]
    window = data.draw(st.sampled_from(["hann", "triangle", "flat"]))
    chunk = data.draw(st.integers(1, 50))
    prior = TiledPrior(White(0.3, 0.2), size, overlap=overlap, window=window, chunk=chunk)
    x = torch.randn(2, 1, *space, dtype=torch.float64)
    sigma = torch.tensor([0.1, 0.7], dtype=torch.float64)
    assert_close(prior.denoise(x, sigma), White(0.3, 0.2).denoise(x, sigma))


def test_tiles_cover_with_the_overlap_and_come_in_chunks():
    seen = Counting()
    x = torch.randn(2, 1, 20, 11)
    assert_close(TiledPrior(seen, 8, overlap=3, chunk=5).denoise(x, torch.tensor([0.1, 0.2])), x)
    tiles = 2 * 4 * 2  # rows at 0 4 8 12, as 20 = 8 + 2.4 steps of 5; columns at 0 3
    assert seen.shapes == [(5, 1, 8, 8)] * 3 + [(1, 1, 8, 8)]
    assert sum(shape[0] for shape in seen.shapes) == tiles
    assert_close(torch.tensor(seen.sigmas), torch.tensor([0.1] * 8 + [0.2] * 8))


def test_one_tile_is_the_prior_itself():
    field = GaussianFieldPrior(8, ("d",))
    x, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 0.5, 1.0])
    assert_close(TiledPrior(field, 8).denoise(x, sigma), field.denoise(x, sigma))


def test_tiles_of_a_smooth_field_come_near_the_whole():
    """A stationary prior on an image of four tiles' length: close to the prior of that size, closer with overlap."""
    whole = GaussianFieldPrior(32, ("d",), slope=2.0)
    part = GaussianFieldPrior(16, ("d",), slope=2.0)
    x = whole.sample(8).float()
    noisy, sigma = x + 0.3 * torch.randn(x.shape), torch.full((8,), 0.3)
    exact = (whole.denoise(noisy, sigma) - x).square().mean()
    apart, half = (
        (TiledPrior(part, 16, overlap=n, window=w).denoise(noisy, sigma) - x).square().mean()
        for n, w in ((0, "flat"), (8, "hann"))
    )
    assert exact < half < apart
    assert half < 1.1 * exact


def test_seams_are_smooth():
    """Tiles that disagree by one step are blended over the overlap, without a jump."""

    class Own(White):
        def denoise(self, x, sigma):
            return torch.arange(len(x), dtype=x.dtype)[:, None, None].expand_as(x).clone()

    line = TiledPrior(Own(), 16, overlap=8).denoise(torch.zeros(1, 1, 24), torch.ones(1))[0, 0]
    assert_close(line[:8], torch.zeros(8))
    assert_close(line[16:], torch.ones(8))
    assert 0 < line.diff().max() < 0.25


def test_gradients_pass_and_x_is_left_alone():
    x = torch.randn(1, 1, 10, 10, dtype=torch.float64, requires_grad=True)
    prior = TiledPrior(White(0.25), 4, overlap=1)
    (grad,) = torch.autograd.grad(prior.denoise(x, torch.ones(1, dtype=torch.float64)).sum(), x)
    assert_close(grad, torch.full_like(grad, 0.2))


@pytest.mark.parametrize("space", [(21,), (13, 17), (9, 7, 8)], ids=str)
def test_tiles_are_put_together_by_the_kernel_where_it_runs(space, monkeypatch):
    pytest.importorskip("triton")

    class Own(White):
        def denoise(self, x, sigma):
            return x + torch.arange(len(x), dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))

    prior, x = TiledPrior(Own(), 5, overlap=2), torch.randn(3, 2, *space)[1:, 1:]  # not all of its memory
    plain = prior.denoise(x.contiguous(), torch.ones(2))
    assert_close(prior.denoise(x, torch.ones(2)), plain, rtol=0, atol=0)
    monkeypatch.setenv("SCOREREG_OPS", "triton")
    monkeypatch.setattr("scorereg.ops._scatter_patches.op._Scatter", None)
    assert_close(prior.denoise(x, torch.ones(2)), plain)


def test_gradients_are_those_of_differences():
    prior = TiledPrior(White(0.25, 0.3), (3, 4), overlap=(2, 1))
    x = torch.randn(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([0.2, 0.8], dtype=torch.float64)
    weight = torch.randn(2, 1, 6, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: prior.denoise(x, sigma).square() * weight, x)


def test_size_comes_from_the_card():
    prior = TiledPrior(White(card=dataclasses.replace(CARD, size=(4, 6))))
    assert prior.size == (4, 6)
    assert prior.card is not None
    assert not prior.card.residual_quantiles
    x = torch.randn(1, 1, 9, 9)
    assert prior.denoise(x, torch.ones(1)).shape == x.shape


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("settings", "space", "says"),
    [
        ({}, (9,), r"White has no card with the size of its patches\. Give size"),
        ({"size": 4, "overlap": 4}, (9,), "tiles of 4 pixels cannot overlap by 4"),
        (
            {"size": 4, "overlap": -1},
            (9,),
            "`overlap` of TiledPrior, pixels along a side, must be a whole number, 0 or more, but is -1",
        ),
        ({"size": 0}, (9,), "`size` of TiledPrior, pixels along a side, must be a whole number, 1 or more, but is 0"),
        ({"size": 4, "window": "box"}, (9,), "one of hann, triangle, flat, but got 'box'"),
        ({"size": 4, "chunk": 0}, (9,), "`chunk` of TiledPrior must be a whole number, 1 or more, but is 0"),
        ({"size": 4}, (3, 9), r"tiles of \(4, 4\) pixels do not fit into a sample of \(3, 9\)"),
        ({"size": (4, 4)}, (9,), "1 spatial dimensions needs a tile size and an overlap for each"),
    ],
)
def test_mistakes_are_named(settings, space, says):
    with pytest.raises(ValueError, match=says):
        TiledPrior(White(), **settings).denoise(torch.zeros(1, 1, *space), torch.ones(1))


def test_errors_of_size_say_what_tiles_cost():
    """As many calls as a `TiledPrior` of the same sides makes."""

    class Counting:
        channels, calls = ("gray",), 0

        def denoise(self, x, sigma):
            self.calls += len(x)
            return x

    for size, shape in (((8, 8), (20, 8)), ((8, 8), (21, 33)), ((5,), (17,)), ((4, 6, 8), (9, 9, 9))):
        counting = Counting()
        TiledPrior(counting, size).denoise(torch.zeros(1, 1, *shape), torch.ones(1))
        assert f"TiledPrior(prior), which evaluates {counting.calls} tiles" in tiles_hint(size, shape)
    assert "a smaller patch cannot be denoised" in tiles_hint((8, 8), (20, 7))
    assert "TiledPrior" not in tiles_hint((), (8, 8))
