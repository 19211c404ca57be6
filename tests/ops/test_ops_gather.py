"""Patches out of images, by windows and by kernel, against the definition in float64, and against what is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.ops import gather_patches, gather_patches_reference
from scorereg.ops._gather_patches import windows as gather_windows
from scorereg.transforms import RGBD

EPS = torch.finfo(torch.float32).eps


@pytest.fixture(params=["reference", "triton"])
def backend(request, monkeypatch):
    if request.param == "triton":
        pytest.importorskip("triton")
    monkeypatch.setenv("SCOREREG_OPS", request.param)
    return request.param


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Fresh memory holds NaN (and a byte that is no truth value), so that an element that nobody wrote is seen."""
    for name in ("empty", "empty_like"):
        fresh = getattr(torch, name)

        def filled(*a, fresh=fresh, **kw):
            out = fresh(*a, **kw)
            return out.fill_(math.nan) if out.is_floating_point() else out

        monkeypatch.setattr(torch, name, filled)


def photos(count=3, channels=4, height=19, width=23, dtype=torch.float32, device="cpu"):
    images = 0.1 + torch.rand(count, channels, height, width)
    images[:, -1] *= torch.rand(count, height, width) > 0.05  # depths that nobody measured
    return images.to(device, dtype)


def check(images, centers, size, *given, tolerance=1.0, **more):
    """Values, masks and gradients to images and centers."""
    images, centers = images.detach().requires_grad_(), centers.detach().requires_grad_()
    double = [g.double() if isinstance(g, torch.Tensor) else g for g in given]
    exact, exact_known = gather_patches_reference(images.double(), centers.double(), size, *double, **more)
    actual, known = gather_patches(images, centers, size, *given, **more)
    assert actual.dtype == images.dtype
    assert known.equal(exact_known)
    bound = 512 * EPS * tolerance  # a position of 32 pixels is right to 16 EPS, and a disparity has slopes beyond 1
    assert_close(actual.double(), exact, rtol=bound, atol=bound)
    cotangent = torch.randn_like(exact)
    wanted = [images, centers] if "nearest" not in given else [images]
    grads = torch.autograd.grad(actual, wanted, cotangent.to(actual.dtype), materialize_grads=True)
    exact_grads = torch.autograd.grad(exact, wanted, cotangent, materialize_grads=True)
    for grad, truth in zip(grads, exact_grads, strict=True):
        assert_close(grad, truth, rtol=4 * bound, atol=4 * bound * size)


# none at a whole or half pixel, where slopes have two sides
CENTERS = torch.tensor([[11.37, 9.61], [12.62, 8.09], [0.3, 18.2], [22.1, 0.4], [-3.7, 5.2], [60.0, 9.1]])
FAR = torch.tensor([[1e30, 3.0], [-1e30, 3.0], [math.nan, 3.0], [4.3, math.inf], [4.3, -math.inf], [5.3, 7.4]])
INDEX = torch.tensor([2, 0, 1, 2, 2, 0])


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("place", [(1.0, None), (1.7, 0.4), (0.6, -2.0)], ids=str)
def test_patches_match_the_definition(size, place, backend, device):
    check(photos(device=device), CENTERS.to(device), size, *place, index=INDEX.to(device))


@pytest.mark.parametrize("size", [6, 24])
def test_shifted_patches_inside_the_image(size, backend, device):
    """The fast path, up to the last place at which a patch fits."""
    images = photos(height=31, width=37, device=device)
    low, high = size / 2, torch.tensor([36 - size / 2 - 1e-3, 30 - size / 2 - 1e-3])
    centers = torch.stack([torch.tensor([low + 1e-3, low + 1e-3]), high, (high + low) / 2 + 0.127])
    check(images, centers.to(device), size)


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.9, 6.0])
def test_many_patches_all_over_the_images(scale, device, monkeypatch):
    """Windows inside, cut off by a border or as large as the image, some at a time; at 6 whole images."""
    monkeypatch.setattr(gather_windows, "_CHUNK", 5000)
    images = photos(height=47, width=61, device=device)
    centers = torch.rand(40, 2, device=device) * torch.tensor([61.0, 47.0], device=device)
    turn = 6 * torch.rand(40, device=device)
    check(images, centers, 9, scale, turn, index=torch.randint(3, (40,), device=device), tolerance=4.0)


@pytest.mark.parametrize("center", [[2.1, 9.4], [20.3, 9.4], [11.3, 2.2], [11.3, 17.1]], ids=str)
def test_a_patch_over_one_border(center, backend, device):
    check(photos(1, device=device), torch.tensor([center], device=device), 5, 1.1, 0.3)


def test_each_patch_has_its_own_scale_and_turn(backend, device):
    scale, turn = torch.rand(6, device=device) + 0.5, 6 * torch.rand(6, device=device)
    check(photos(device=device), CENTERS.to(device), 4, scale, turn, index=INDEX.to(device))


@pytest.mark.parametrize("d_min", [0.5, 0.05])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("place", [(1.0, None), (1.3, 0.4)], ids=str)
def test_prior_space_in_the_same_pass(d_min, mode, place, backend, device):
    check(photos(device=device), CENTERS.to(device), 5, *place, mode, index=INDEX.to(device), d_min=d_min)


@pytest.mark.parametrize("place", [(1.0, None), (1.3, 0.4)], ids=str)
def test_nearest(place, backend, device):
    check(photos(device=device), CENTERS.to(device), 5, *place, "nearest", index=INDEX.to(device))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_places_without_an_image(mode, backend, device):
    """Far away, infinite or not a number: 0, unknown, and no gradient to anything."""
    images, centers = photos(device=device).requires_grad_(), FAR.to(device).requires_grad_()
    patches, known = gather_patches(images, centers, 3, 1.0, None, mode, index=INDEX.to(device))
    assert not known[:5].any()
    assert known[5].all()
    assert_close(patches[:5], torch.zeros_like(patches[:5]))
    grads = torch.autograd.grad(patches.sum(), [images, centers] if mode == "bilinear" else [images])
    assert all(grad.isfinite().all() for grad in grads)
    assert images.grad is None


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_the_border_belongs_to_the_image(mode, backend, device):
    """On each side, to the last rounding; beyond, nothing is known."""
    images = photos(1, device=device)
    on = torch.tensor([[23.0, 5.2], [0.0, 5.2], [4.3, 19.0], [4.3, 0.0]], device=device)
    inward = torch.tensor([[22.9, 5.2], [0.1, 5.2], [4.3, 18.9], [4.3, 0.1]], device=device)
    beyond = torch.tensor([[23.01, 5.2], [-0.01, 5.2], [4.3, 19.01], [4.3, -0.01]], device=device)
    index = torch.zeros(4, dtype=torch.long, device=device)
    patches, known = gather_patches(images, on, 1, mode=mode, index=index)
    assert known.all()
    assert_close(patches, gather_patches(images, inward, 1, mode=mode, index=index)[0])  # as at the outermost centre
    assert not gather_patches(images, beyond, 1, mode=mode, index=index)[1].any()


def test_each_gradient_by_itself(backend, device):
    for place in ((1.0, None), (1.3, 0.2)):
        images, centers = photos(1, device=device), torch.tensor([[11.2, 9.4]], device=device)
        both = [images.clone().requires_grad_(), centers.clone().requires_grad_()]
        together = torch.autograd.grad(gather_patches(*both, 4, *place)[0].square().sum(), both)
        (alone,) = torch.autograd.grad(gather_patches(both[0], centers, 4, *place)[0].square().sum(), both[:1])
        assert_close(alone, together[0])
        (alone,) = torch.autograd.grad(gather_patches(images, both[1], 4, *place)[0].square().sum(), both[1:])
        assert_close(alone, together[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("place", [(1.0, None), (1.3, 0.4)], ids=str)
def test_half_storage_is_summed_in_single_precision(dtype, place, backend, device):
    images = photos(1, dtype=dtype, device=device)
    centers = torch.tensor([[11.37, 9.61]], device=device).expand(6, 2)  # six gradients on the same texels
    check(images, centers, 4, *place, tolerance=torch.finfo(dtype).eps / EPS / 256)


@pytest.mark.parametrize("layout", ["channels last", "strided", "transposed"])
@pytest.mark.parametrize("place", [(1.0, None), (1.3, 0.4)], ids=str)
def test_images_in_any_layout(layout, place, backend, device):
    images = photos(channels=4, height=38, width=46, device=device)
    if layout == "channels last":
        images = images.contiguous(memory_format=torch.channels_last)
    images = images[:, :, ::2, 1::2] if layout == "strided" else images
    images = images.transpose(2, 3) if layout == "transposed" else images
    check(images, CENTERS.to(device)[:3], 5, *place, index=INDEX.to(device)[:3])


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)], ids=["no patches", "no channels"])
def test_nothing(shape, backend, device):
    patches, known = gather_patches(
        photos(channels=4, device=device)[:, : shape[1]], torch.zeros(shape[0], 2, device=device), 3,
        index=torch.zeros(shape[0], dtype=torch.long, device=device),
    )  # fmt: skip
    assert patches.shape == known.shape == (shape[0], min(shape[1], 4), 3, 3)


def test_an_image_of_one_pixel(backend, device):
    images = torch.full((1, 1, 1, 1), 0.7, device=device)
    patches, known = gather_patches(images, torch.tensor([[0.5, 0.5]], device=device), 3, 0.4)
    assert known.all()
    assert_close(patches, torch.full((1, 1, 3, 3), 0.7, device=device))


def test_whole_pixels_are_copied(backend, device):
    images = photos(device=device)
    patches, known = gather_patches(images, torch.tensor([[6.0, 7.0]], device=device), 4, index=INDEX.to(device)[:1])
    assert known.all()
    assert_close(patches[0], images[2, :, 5:9, 4:8], rtol=0, atol=0)


def test_turning_by_a_quarter(backend, device):
    images = photos(device=device)
    center = torch.tensor([[10.0, 9.0]], device=device)
    straight, _ = gather_patches(images[:1], center, 6)
    turned, _ = gather_patches(images[:1], center, 6, 1.0, math.pi / 2)
    assert_close(turned, straight.rot90(1, (2, 3)), rtol=1e-4, atol=1e-4)  # the patch's x axis lies along y


def test_prior_space_is_the_transform(backend, device):
    images = 0.2 + torch.rand(1, 4, 20, 20, device=device)
    center = torch.tensor([[9.3, 10.8]], device=device, requires_grad=True)
    plain, _ = gather_patches(images, center, 7)
    fused, known = gather_patches(images, center, 7, d_min=0.6)
    transformed = RGBD(d_min=0.6)(plain[:, :3], plain[:, 3])
    assert known.all()
    assert_close(fused, transformed, rtol=1e-5, atol=1e-5)
    (grad,), (expected,) = (torch.autograd.grad(x.sum(), center) for x in (fused, transformed))
    assert_close(grad, expected, rtol=1e-4, atol=1e-3)  # also below d_min


@pytest.mark.parametrize("function", [gather_patches, gather_patches_reference])
@pytest.mark.parametrize("place", [(1.0, None), (1.3, 0.4)], ids=str)
@pytest.mark.parametrize("d_min", [None, 0.05])
def test_gradients_by_differences(function, place, d_min, monkeypatch):
    monkeypatch.undo()
    images = (0.5 + torch.rand(1, 2, 6, 7, dtype=torch.float64)).requires_grad_()
    centers = torch.tensor([[3.31, 3.12], [2.47, 2.61]], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 0])
    assert torch.autograd.gradcheck(
        lambda i, c: function(i, c, 3, *place, index=index, d_min=d_min)[0], (images, centers)
    )


def test_second_derivative_is_refused(backend, device):
    images = photos(1, device=device).requires_grad_()
    loss = gather_patches(images, torch.tensor([[9.3, 8.4]], device=device), 3)[0].square().sum()
    (grad,) = torch.autograd.grad(loss, images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@settings(deadline=None, max_examples=50)
@given(st.floats(-5, 30), st.floats(-5, 30), st.floats(0.2, 3), st.floats(-4, 4), st.integers(1, 9))
def test_an_affine_image_is_read_exactly(x, y, scale, turn, size):
    """Bilinear reading of a + b x + c y is exact, wherever all four neighbours are."""
    i, j = torch.meshgrid(torch.arange(21.0).double() + 0.5, torch.arange(25.0).double() + 0.5, indexing="ij")
    images = torch.stack([0.3 + 0.02 * j - 0.01 * i, j, i])[None]
    patches, known = gather_patches(images, torch.tensor([[x, y]]).double(), size, scale, turn)
    inner = (patches[:, 1] > 0.51) & (patches[:, 1] < 24.49) & (patches[:, 2] > 0.51) & (patches[:, 2] < 20.49)
    expected = 0.3 + 0.02 * patches[:, 1] - 0.01 * patches[:, 2]
    assert_close(patches[:, 0][inner], expected[inner])
    assert (patches[~known] == 0).all()


def test_gathering_and_its_gradient_are_adjoint(backend, device):
    """<G x, y> = <x, G' y>: the gradient to the images is the transpose."""
    x = photos(1, device=device).requires_grad_()
    value, _ = gather_patches(x, torch.tensor([[7.3, 9.9]], device=device).expand(20, 2), 5, 1.2, 0.3,
                              index=torch.zeros(20, dtype=torch.long, device=device))  # fmt: skip
    y = torch.randn_like(value)
    (back,) = torch.autograd.grad(value, x, y)
    assert_close((value * y).sum(), (x * back).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "needs index, the image of each patch: there are 3 images and 2 patches"),
        ({"size": 0, "index": torch.tensor([0, 1])}, "size >= 1, mode .* but got 0"),
        ({"mode": "cubic", "index": torch.tensor([0, 1])}, "but got 3, 'cubic'"),
        ({"d_min": 0.0, "index": torch.tensor([0, 1])}, "d_min > 0 or none"),
    ],
)
def test_mistakes_are_named(more, says):
    with pytest.raises(ValueError, match=says):
        gather_patches(photos(), torch.zeros(2, 2), more.pop("size", 3), **more)
