"""Compositing, by closed form and by kernel, against the definition in float64 with torch's own gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.ops import composite, composite_reference

EPS = torch.finfo(torch.float32).eps
NAMES = ("weights", "rgb", "depth", "inverse_depth", "opacity", "distortion")


@pytest.fixture(autouse=True)
def _poison(poison):
    """Every test of this file sees fresh memory filled with NaN."""


def samples(shape, channels=3, scale=None, dtype=torch.float32, device="cpu"):
    """Optical depth, colours, depth, starts and ends, whose middles rise along the last axis.

    Unless a scale of the optical depth is given, some light gets through to the end, so that every sample matters.
    """
    scale = 3 / max(shape[-1], 1) if scale is None else scale
    starts = torch.arange(shape[-1]).expand(shape) / 128  # half precision holds them, and holds them apart
    given = (scale * torch.rand(shape), torch.rand(*shape, channels), 0.5 + torch.rand(shape), starts, starts + 1 / 64)
    return [x.to(device, dtype).requires_grad_() for x in given]


def check(given, offsets=None, tolerance=1.0, wanted=NAMES):
    exact = composite_reference(*(x.double() for x in given), offsets=offsets)
    actual = composite(*given, offsets=offsets)
    exact_values, values = ([getattr(c, name) for name in wanted] for c in (exact, actual))
    cotangents = [torch.randn_like(x) for x in exact_values]
    grads = torch.autograd.grad(
        values, given, [c.to(v.dtype) for c, v in zip(cotangents, values, strict=True)], materialize_grads=True
    )
    exact_grads = torch.autograd.grad(exact_values, given, cotangents, materialize_grads=True)
    bound = tolerance * 32 * EPS
    for name, value, truth in zip(wanted, values, exact_values, strict=True):
        assert_close(value.double(), truth, rtol=bound, atol=bound, msg=lambda m, n=name: f"{n}: {m}")
    for name, value, truth in zip(("tau", "rgb", "depth", "starts", "ends"), grads, exact_grads, strict=True):
        assert value.dtype == truth.dtype
        assert_close(value, truth, rtol=bound, atol=4 * bound, msg=lambda m, n=name: f"d{n}: {m}")


@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (2, 2, 64), (2, 300), (0, 16), (4, 0), (7,)], ids=str)
def test_dense_rays_match_the_definition(shape, backend, device):
    check(samples(shape, device=device))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(channels, backend, device):
    check(samples((2, 9), channels, device=device))


@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0], ids="tau~{:g}".format)  # empty space, fog, wall
def test_empty_space_fog_and_walls(scale, backend, device):
    check(samples((2, 33), scale=scale, device=device))


@pytest.mark.parametrize("counts", [[7], [0, 5, 0, 0, 63, 1, 0], [270, 3], [0, 0]], ids=str)
def test_packed_rays_match_the_definition(counts, backend, device):
    offsets = torch.tensor([0, *counts]).cumsum(0).to(device)
    check(samples((sum(counts),), device=device), offsets)


def test_packed_rays_are_apart(backend, device):
    """What one ray holds, be it not finite, is nothing to its neighbours."""
    given = [x.detach() for x in samples((12,), device=device)]
    offsets = torch.tensor([0, 4, 8, 12], device=device)
    before = composite(*given, offsets=offsets)
    given[0][5] = math.nan
    after = composite(*given, offsets=offsets)
    assert after.opacity[1].isnan()
    assert_close(after.rgb[[0, 2]], before.rgb[[0, 2]], rtol=0, atol=0)
    assert_close(after.distortion[[0, 2]], before.distortion[[0, 2]], rtol=0, atol=0)


def test_no_packed_rays(backend, device):
    given = samples((0,), device=device)
    actual = composite(*given, offsets=torch.tensor([0], device=device))
    assert actual.rgb.shape == (0, 3)
    assert actual.depth.shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_each_output_has_its_own_gradient(name, backend, device):
    check(samples((2, 17), device=device), wanted=(name,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_storage_is_summed_in_single_precision(dtype, backend, device):
    given = samples((2, 70), dtype=dtype, device=device)
    check(given, tolerance=torch.finfo(dtype).eps / EPS / 16)  # of what is stored
    shown, exact = composite(*given), composite_reference(*(x.double() for x in given))
    assert shown.weights.dtype == dtype
    assert shown.rgb.dtype == shown.depth.dtype == torch.float32
    assert_close(shown.depth.double(), exact.depth, rtol=1e-5, atol=1e-6)


def test_samples_that_do_not_lie_in_a_row(backend, device):
    given = samples((40, 6), device=device)
    turned = [x.detach().transpose(0, 1)[1:, ::2].requires_grad_() for x in given[:3]]
    edges = torch.rand(5, 21, device=device).sort(-1).values  # starts and ends are views of one tensor
    check([*turned, edges[:, :-1].requires_grad_(), edges[:, 1:].requires_grad_()])


@pytest.mark.parametrize("wall", [1e3, 1e8])
def test_fog_before_a_wall_is_not_forgotten(wall, backend, device):
    given = samples((1, 5), device=device)
    given[0] = torch.tensor([[0.1, 0.02, wall, 0.0, wall]], device=device, requires_grad=True)
    check(given)


def test_thin_fog_keeps_its_digits(backend, device):
    """1 - exp(-tau) as it is written has none left at 1e-7."""
    _, *others = samples((1, 7), device=device)
    tau = torch.tensor([[1e-7, 1e-5, 1e-3, 0.05, 0.099, 0.101, 0.5]], device=device)
    exact = composite_reference(*(x.double() for x in (tau, *others)))
    assert_close(composite(tau, *others).weights.double(), exact.weights, rtol=16 * EPS, atol=0)


def test_second_derivative_is_refused(backend, device):
    tau, *others = samples((2, 4), device=device)
    (grad,) = torch.autograd.grad(composite(tau, *others).depth.square().sum(), tau, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("offsets", [None, [0, 0, 5]], ids=["dense", "packed"])
@pytest.mark.parametrize("function", [composite, composite_reference])
def test_gradients_by_differences(function, offsets, monkeypatch):
    monkeypatch.undo()  # gradcheck's own fresh memory
    given = samples((5,) if offsets else (2, 5), 2, 1.0, torch.float64)
    offsets = None if offsets is None else torch.tensor(offsets)

    def outputs(*given):
        shown = function(*given, offsets=offsets)
        return tuple(getattr(shown, name) for name in NAMES)

    assert torch.autograd.gradcheck(outputs, given)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 20), min_size=1, max_size=12), st.data())
def test_splitting_a_sample_changes_nothing(taus, data):
    """Two halves of an interval, of the same colour and depth, show what the whole does."""
    k, share = data.draw(st.integers(0, len(taus) - 1)), data.draw(st.floats(0, 1))

    def shown(taus):
        rgb = torch.linspace(0, 1, 3, dtype=torch.float64).expand(len(taus), 3)
        flat = torch.full((len(taus),), 2.0, dtype=torch.float64)
        return composite(torch.tensor(taus, dtype=torch.float64), rgb, flat, flat, flat)

    whole = shown(taus)
    parts = shown([*taus[:k], share * taus[k], (1 - share) * taus[k], *taus[k + 1 :]])
    for name in NAMES[1:]:
        assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-9, atol=1e-12)
    assert_close(whole.opacity, -torch.expm1(-torch.tensor(sum(taus)).double()), rtol=1e-6, atol=1e-9)
    assert_close(whole.depth, 2 * whole.opacity)
    assert_close(whole.inverse_depth, whole.opacity / 2)


@pytest.mark.usefixtures("as_user")
def test_offsets_of_dense_rays_are_refused():
    with pytest.raises(ValueError, match=r"offsets belong to packed samples in one axis, but tau has shape \(2, 4\)"):
        composite(*samples((2, 4)), offsets=torch.tensor([0, 8]))
