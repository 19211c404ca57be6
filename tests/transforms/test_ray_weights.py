import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.transforms.ray_weights import RayWeights, rebin


def rays(count=3, n=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(count, n, generator=generator, dtype=torch.float64) / n
    edges = 0.4 + torch.rand(count, n + 1, generator=generator, dtype=torch.float64).cumsum(-1)
    return weights, edges


def slowly(weights, edges, new):
    """Overlap of each old interval with each new one, in two loops."""
    out = torch.zeros(len(new) - 1, dtype=torch.float64)
    for j in range(len(new) - 1):
        for i in range(len(weights)):
            overlap = min(edges[i + 1], new[j + 1]) - max(edges[i], new[j])
            out[j] += weights[i] * max(overlap, 0) / (edges[i + 1] - edges[i])
    return out


def test_against_overlaps():
    weights, edges = rays()
    new = torch.tensor([0.1, 0.9, 1.0, 2.2, 2.3, 9.0], dtype=torch.float64)
    expected = torch.stack([slowly(w, e, new) for w, e in zip(weights, edges, strict=True)])
    assert_close(rebin(weights, edges, new), expected)


def test_gradients():
    weights, edges = rays()
    new = torch.tensor([0.1, 0.9, 1.0, 2.2, 2.3, 9.0], dtype=torch.float64)
    for keep in (False, True):
        inputs = [x.clone().requires_grad_() for x in (weights, edges, new)]
        assert torch.autograd.gradcheck(lambda w, e, n, keep=keep: rebin(w, e, n, keep=keep), inputs)


def test_its_own_edges_change_nothing():
    weights, edges = rays()
    assert_close(rebin(weights, edges, edges), weights)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1000), st.floats(0.0, 1.0))
def test_splitting_an_interval_changes_nothing(seed, share):
    weights, edges = rays(1, 4, seed)
    new = torch.tensor([0.5, 1.1, 1.7, 2.0], dtype=torch.float64)
    at = edges[:, 1] + share * (edges[:, 2] - edges[:, 1])
    split_edges = torch.cat([edges[:, :2], at[:, None], edges[:, 2:]], 1)
    parts = weights[:, 1:2] * torch.tensor([share, 1 - share], dtype=torch.float64)
    split = torch.cat([weights[:, :1], parts, weights[:, 2:]], 1)
    assert_close(rebin(split, split_edges, new), rebin(weights, edges, new))


def test_a_point_lies_in_one_interval():
    weights = torch.tensor([[0.0, 0.7, 0.0]])
    edges = torch.tensor([[0.0, 1.5, 1.5, 3.0]])
    assert_close(rebin(weights, edges, torch.tensor([0.0, 1.0, 2.0, 3.0])), torch.tensor([[0.0, 0.7, 0.0]]))
    # on an edge it belongs to the interval before, as a whole; also on the last edge
    assert_close(rebin(weights, edges, torch.tensor([0.0, 1.5, 3.0])), torch.tensor([[0.7, 0.0]]))
    point = rebin(torch.tensor([0.5]), torch.tensor([2.0, 2.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert_close(point, torch.tensor([0.5, 0.0]))


def test_what_lies_outside_is_dropped_or_kept():
    weights, edges = torch.tensor([[0.25, 0.5, 0.25]]), torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    new = torch.tensor([1.0, 1.5, 2.0])
    assert_close(rebin(weights, edges, new), torch.tensor([[0.25, 0.25]]))
    assert_close(rebin(weights, edges, new, keep=True), torch.tensor([[0.5, 0.5]]))
    beyond = torch.tensor([5.0, 6.0])
    assert_close(rebin(weights, edges, beyond), torch.tensor([[0.0]]))
    assert_close(rebin(weights, edges, beyond, keep=True), torch.tensor([[1.0]]))


def test_bins_are_even_in_inverse_depth():
    transform = RayWeights(near=0.5, far=8.0, bins=5)
    step = (1 / transform.edges).diff()
    assert_close(step, torch.full((5,), (1 / 8 - 2) / 5))
    assert_close(transform.edges[[0, -1]], torch.tensor([0.5, 8.0]))


def test_empty_full_and_back():
    transform = RayWeights(bins=4)
    edges = transform.edges.expand(2, -1)
    weights = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    x = transform(weights, edges)
    assert_close(x, torch.tensor([[[-1.0, -1, -1, -1]], [[-1.0, 1, -1, -1]]]))
    some = torch.rand(3, 1, 4, dtype=torch.float64)
    assert_close(transform.decode(transform.encode(some)), some)


def test_slopes_as_documented():
    w = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(RayWeights().encode(w).sum(), w)
    assert_close(slope, torch.tensor([11.05, 1.1], dtype=torch.float64), atol=0.01, rtol=0)


def test_weight_before_near_still_has_a_gradient():
    """A floater right before the camera is what a prior has most to say about."""
    weights = torch.tensor([[0.3, 0.5]], requires_grad=True)
    x = RayWeights(bins=4)(weights, torch.tensor([[0.01, 0.02, 3.0]]))
    assert x[0, 0, 0] > -1
    (gradient,) = torch.autograd.grad(x[0, 0, 0], weights)
    assert gradient[0, 0] > 0


def test_json_and_back():
    transform = RayWeights(near=0.3, far=7, bins=128, softness=0.02)
    assert RayWeights.from_json(transform.to_json()) == transform
    with pytest.raises(ValueError, match="lacks|needs kind"):
        RayWeights.from_json({"kind": "density"})


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: RayWeights(near=2, far=1), "0 < near < far"),
        (lambda: RayWeights(bins=0), "bins >= 1"),
        (lambda: rebin(torch.ones(1, 3), torch.ones(1, 3), torch.ones(2)), "3 weights, 3 edges and 2 new edges"),
        (lambda: RayWeights()(-torch.ones(1, 1), torch.tensor([[1.0, 2.0]])), "smallest given is -1"),
        (lambda: RayWeights()(torch.ones(1, 1), torch.tensor([[2.0, 1.0]])), "do not fall"),
    ],
)
def test_mistakes_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_repr_is_one_line():
    assert repr(RayWeights(far=8)) == "RayWeights(near=0.5, far=8, bins=64, softness=0.01)"
