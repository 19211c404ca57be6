"""Patches out of images, by windows and by kernel, against the definition in float64, and against what is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from scorereg.ops import gather_patches, gather_patches_reference
from scorereg.ops._gather_patches import eager

EPS = torch.finfo(torch.float32).eps


@pytest.fixture(autouse=True)
def _poison(poison):
    """Every test of this file sees fresh memory filled with NaN."""


def photos(count=3, channels=3, height=19, width=23, dtype=torch.float32, device="cpu"):
    return (0.1 + torch.rand(count, channels, height, width)).to(device, dtype)


def around(centers, size, pitch):
    """Corners of patches that have their middles there."""
    pitch = torch.as_tensor(pitch, dtype=centers.dtype, device=centers.device)
    return centers - (pitch[:, None] if pitch.ndim == 1 else pitch) * size / 2


def check(images, centers, size, pitch=1.0, *, tolerance=1.0, **more):
    """Values, masks and gradients to images and corners of patches around these centers."""
    images, corners = images.detach().requires_grad_(), around(centers, size, pitch).detach().requires_grad_()
    double = pitch.double() if isinstance(pitch, torch.Tensor) else pitch
    exact, exact_known = gather_patches_reference(images.double(), corners.double(), size, double, **more)
    actual, known = gather_patches(images, corners, size, pitch, **more)
    assert actual.dtype == images.dtype
    assert known.equal(exact_known)
    bound = 128 * EPS * tolerance  # a position of 32 pixels is right to 16 EPS, and a slope is up to 1
    assert_close(actual.double(), exact, rtol=bound, atol=bound)
    cotangent = torch.randn_like(exact)
    grads = torch.autograd.grad(actual, [images, corners], cotangent.to(actual.dtype), materialize_grads=True)
    exact_grads = torch.autograd.grad(exact, [images, corners], cotangent, materialize_grads=True)
    for grad, truth in zip(grads, exact_grads, strict=True):
        assert_close(grad, truth, rtol=4 * bound, atol=4 * bound * size)


# none at a whole or half pixel, where slopes have two sides
CENTERS = torch.tensor([[11.37, 9.61], [12.62, 8.09], [0.3, 18.2], [22.1, 0.4], [-3.7, 5.2], [60.0, 9.1]])
FAR = torch.tensor([[1e30, 3.0], [-1e30, 3.0], [math.nan, 3.0], [4.3, math.inf], [4.3, -math.inf], [5.3, 7.4]])
INDEX = torch.tensor([2, 0, 1, 2, 2, 0])
PITCHES = torch.tensor([[0.61, 1.17], [2.43, 0.83], [1.31, 3.29], [4.13, 2.07], [0.37, 0.71], [1.07, 1.93]])


@pytest.mark.parametrize("size", [1, 5, 8])
@pytest.mark.parametrize("pitch", [0.61, 1.0, 3.17])
def test_patches_match_the_definition(size, pitch, backend, device):
    check(photos(device=device), CENTERS.to(device), size, pitch, index=INDEX.to(device))


@pytest.mark.parametrize("channels", [1, 2, 11])
def test_any_number_of_channels(channels, backend, device):
    check(photos(channels=channels, device=device), CENTERS.to(device)[:3], 3, 1.3, index=INDEX.to(device)[:3])


@pytest.mark.parametrize("size", [6, 24])
def test_patches_inside_the_image(size, backend, device):
    """Up to the last place at which a patch fits; 24 x 24 is more than a program."""
    images = photos(height=31, width=37, device=device)
    low, high = size / 2, torch.tensor([36 - size / 2 - 1e-3, 30 - size / 2 - 1e-3])
    centers = torch.stack([torch.tensor([low + 1e-3, low + 1e-3]), high, (high + low) / 2 + 0.127])
    check(images, centers.to(device), size)


@pytest.mark.parametrize("pitch", [0.3, 1.0, 1.9, 6.0])
def test_many_patches_all_over_the_images(pitch, device, monkeypatch):
    """Windows inside, cut off by a border or as large as the image, some at a time."""
    monkeypatch.setattr(eager, "_CHUNK", 5000)
    images = photos(height=47, width=61, device=device)
    centers = torch.rand(40, 2, device=device) * torch.tensor([61.0, 47.0], device=device)
    check(images, centers, 9, pitch, index=torch.randint(3, (40,), device=device), tolerance=4.0)


@pytest.mark.parametrize("center", [[2.1, 9.4], [20.3, 9.4], [11.3, 2.2], [11.3, 17.1]], ids=str)
@pytest.mark.parametrize("pitch", [1.1, 2.57])
def test_a_patch_over_one_border(center, pitch, backend, device):
    check(photos(1, device=device), torch.tensor([center], device=device), 5, pitch)


@pytest.mark.parametrize("pitch", [PITCHES, PITCHES[:, 0]], ids=["x and y", "one number"])
def test_each_patch_has_its_own_pitch(pitch, backend, device):
    check(photos(device=device), CENTERS.to(device), 4, pitch.to(device), index=INDEX.to(device))


def summed_area_means(images, index, low, high):
    """Means over boxes by differences of a table of sums over all pixels above and to the left, in float64."""
    table = torch.nn.functional.pad(images.double(), (1, 0, 1, 0)).cumsum(2).cumsum(3)

    def integral(x, y):  # to (x, y) from the image's corner: bilinear in the table
        j, i = x.floor().long().clamp_max(images.shape[3] - 1), y.floor().long().clamp_max(images.shape[2] - 1)
        u, v = (x - j)[:, None, None, :], (y - i)[:, None, :, None]
        corners = [
            table[index[:, None, None], :, (i + b)[:, :, None], (j + a)[:, None, :]].movedim(-1, 1)
            for b in (0, 1)
            for a in (0, 1)
        ]
        return torch.lerp(torch.lerp(corners[0], corners[1], u), torch.lerp(corners[2], corners[3], u), v)

    (left, top), (right, bottom) = low.unbind(-1), high.unbind(-1)
    box = integral(right, bottom) - integral(left, bottom) - integral(right, top) + integral(left, top)
    return box / ((bottom - top)[:, None, :, None] * (right - left)[:, None, None, :])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_are_means_over_boxes_of_at_least_one_pixel(dtype, device):
    """Against a summed-area table: windows inside photos of 378 x 504, from finer than them to 20 times coarser."""
    images = torch.rand(3, 3, 378, 504, device=device).to(dtype)
    pitch = 0.3 * (20 / 0.3) ** torch.rand(30, 2, device=device).double()
    extent, size, index = torch.tensor([504.0, 378.0]).double().to(device), 12, torch.arange(30, device=device) % 3
    corner = torch.rand(30, 2, device=device).double() * (extent - size * pitch)
    patches, known = gather_patches(images, corner, size, pitch, index=index)
    edges = corner[:, None] + torch.arange(size + 1, device=device)[:, None] * pitch[:, None]
    wider = (1 - pitch[:, None]).clamp_min(0) / 2
    low, high = (edges[:, :-1] - wider).clamp_min(0), torch.minimum(edges[:, 1:] + wider, extent)
    assert known.all()
    tolerance = 1e-6 if dtype == torch.float32 else 1e-9
    assert_close(patches.double(), summed_area_means(images, index, low, high), rtol=0, atol=tolerance)


def test_a_pitch_below_one_is_bilinear(backend, device):
    """As `grid_sample` reads, whose border is the outermost pixel centers' too."""
    images, center = photos(1, device=device), torch.tensor([[20.1, 3.3]], device=device)
    patches, known = gather_patches(images, around(center, 9, 0.7), 9, 0.7)
    offset = 0.7 * (torch.arange(9, device=device) - 4)
    y, x = torch.meshgrid(center[0, 1] + offset, center[0, 0] + offset, indexing="ij")
    grid = torch.stack([2 * x / 23 - 1, 2 * y / 19 - 1], -1)[None]
    expected = torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    assert known.all()
    assert_close(patches, expected, rtol=0, atol=1e-5)


def test_a_whole_pitch_is_a_mean_of_whole_pixels(backend, device):
    images = photos(2, height=24, width=24, device=device)
    patches, known = gather_patches(images, torch.zeros(2, 2, device=device), 8, 3.0)
    assert known.all()
    assert_close(patches, torch.nn.functional.avg_pool2d(images, 3), rtol=0, atol=1e-6)


def test_places_without_an_image(backend, device):
    """Far away, infinite or not a number: 0, unknown, and no gradient to anything."""
    images, centers = photos(device=device).requires_grad_(), FAR.to(device).requires_grad_()
    for pitch in (1.0, 2.3):
        patches, known = gather_patches(images, around(centers, 3, pitch), 3, pitch, index=INDEX.to(device))
        assert not known[:5].any()
        assert known[5].all()
        assert_close(patches[:5], torch.zeros_like(patches[:5]))
        to_images, to_centers = torch.autograd.grad(patches.sum(), [images, centers])
        assert to_images.isfinite().all()
        assert_close(to_centers[:5], torch.zeros(5, 2, device=device))
        assert to_centers[5].isfinite().all()


def test_the_border_belongs_to_the_image(backend, device):
    """On each side, to the last rounding; beyond, nothing is known."""
    images = photos(1, device=device)
    on = torch.tensor([[23.0, 5.2], [0.0, 5.2], [4.3, 19.0], [4.3, 0.0]], device=device)
    inward = torch.tensor([[22.9, 5.2], [0.1, 5.2], [4.3, 18.9], [4.3, 0.1]], device=device)
    beyond = torch.tensor([[23.01, 5.2], [-0.01, 5.2], [4.3, 19.01], [4.3, -0.01]], device=device)
    index = torch.zeros(4, dtype=torch.long, device=device)
    patches, known = gather_patches(images, on - 0.5, 1, index=index)
    assert known.all()
    assert_close(patches, gather_patches(images, inward - 0.5, 1, index=index)[0])  # as at the outermost center
    assert not gather_patches(images, beyond - 0.5, 1, index=index)[1].any()


def test_each_gradient_by_itself(backend, device):
    for pitch in (1.0, 1.3):
        images, centers = photos(1, device=device), torch.tensor([[11.2, 9.4]], device=device)
        both = [images.clone().requires_grad_(), centers.clone().requires_grad_()]
        together = torch.autograd.grad(gather_patches(*both, 4, pitch)[0].square().sum(), both)
        (alone,) = torch.autograd.grad(gather_patches(both[0], centers, 4, pitch)[0].square().sum(), both[:1])
        assert_close(alone, together[0])
        (alone,) = torch.autograd.grad(gather_patches(images, both[1], 4, pitch)[0].square().sum(), both[1:])
        assert_close(alone, together[1])


def test_a_slope_at_a_whole_pixel_lies_between_those_of_its_sides(backend, device):
    images = photos(1, device=device)

    def slope(x):
        center = torch.tensor([[x, 9.4]], device=device, requires_grad=True)
        return torch.autograd.grad(gather_patches(images, center - 0.5, 1)[0].sum(), center)[0][0, 0]

    sides = slope(11.499), slope(11.501)
    assert abs(sides[0] - sides[1]) > 0.1
    assert min(sides) - 1e-4 <= slope(11.5) <= max(sides) + 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("pitch", [1.0, 2.3])
def test_half_storage_is_summed_in_single_precision(dtype, pitch, backend, device):
    images = photos(1, dtype=dtype, device=device)
    centers = torch.tensor([[11.37, 9.61]], device=device).expand(6, 2)  # six gradients on the same texels
    check(images, centers, 4, pitch, index=INDEX.to(device) * 0, tolerance=torch.finfo(dtype).eps / EPS / 8)


@pytest.mark.parametrize("layout", ["channels last", "strided", "transposed"])
@pytest.mark.parametrize("pitch", [1.0, 1.7])
def test_images_in_any_layout(layout, pitch, backend, device):
    images = photos(height=38, width=46, device=device)
    if layout == "channels last":
        images = images.contiguous(memory_format=torch.channels_last)
    images = images[:, :, ::2, 1::2] if layout == "strided" else images
    images = images.transpose(2, 3) if layout == "transposed" else images
    check(images, CENTERS.to(device)[:3], 5, pitch, index=INDEX.to(device)[:3])


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)], ids=["no patches", "no channels"])
def test_nothing(shape, backend, device):
    patches, known = gather_patches(
        photos(device=device)[:, : shape[1]], torch.zeros(shape[0], 2, device=device), 3,
        index=torch.zeros(shape[0], dtype=torch.long, device=device),
    )  # fmt: skip
    assert patches.shape == known.shape == (shape[0], min(shape[1], 3), 3, 3)


@pytest.mark.parametrize("pitch", [0.4, 2.0])
def test_an_image_of_one_pixel(pitch, backend, device):
    images = torch.full((1, 1, 1, 1), 0.7, device=device)
    patches, known = gather_patches(images, around(torch.full((1, 2), 0.5, device=device), 3, pitch), 3, pitch)
    assert known.all() == (pitch == 0.4)
    assert_close(patches[known], torch.full_like(patches[known], 0.7))


def test_whole_pixels_are_copied(backend, device):
    images = photos(device=device)
    patches, known = gather_patches(images, torch.tensor([[4.0, 5.0]], device=device), 4, index=INDEX.to(device)[:1])
    assert known.all()
    assert_close(patches[0], images[2, :, 5:9, 4:8], rtol=0, atol=0)


def test_the_only_image_or_one_for_each_patch(backend, device):
    images, centers = photos(2, device=device), CENTERS.to(device)[:2]
    both, _ = gather_patches(images, centers, 3)
    for k in range(2):
        alone, _ = gather_patches(images[k : k + 1], centers, 3)
        assert_close(both[k], alone[k])


@pytest.mark.parametrize("function", [gather_patches, gather_patches_reference])
@pytest.mark.parametrize("pitch", [0.8, 1.0, 1.7])
def test_gradients_by_differences(function, pitch, monkeypatch):
    monkeypatch.undo()
    images = (0.5 + torch.rand(1, 2, 6, 7, dtype=torch.float64)).requires_grad_()
    centers = torch.tensor([[3.31, 3.12], [2.47, 2.61]], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 0])
    assert torch.autograd.gradcheck(
        lambda i, c: function(i, around(c, 3, pitch), 3, pitch, index=index)[0], (images, centers)
    )


def test_second_derivative_is_refused(backend, device):
    images = photos(1, device=device).requires_grad_()
    loss = gather_patches(images, torch.tensor([[9.3, 8.4]], device=device), 3)[0].square().sum()
    (grad,) = torch.autograd.grad(loss, images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@settings(deadline=None, max_examples=50)
@given(st.floats(-5, 30), st.floats(-5, 30), st.floats(0.2, 1) | st.sampled_from([2, 3]), st.integers(1, 9))
def test_an_affine_image_is_read_exactly(x, y, pitch, size):
    """The mean of a + b x + c y over a box of 1 or of whole pixels is its value in the middle."""
    i, j = torch.meshgrid(torch.arange(21.0).double() + 0.5, torch.arange(25.0).double() + 0.5, indexing="ij")
    images = torch.stack([0.3 + 0.02 * j - 0.01 * i, j, i])[None]
    corner = around(torch.tensor([[x, y]], dtype=torch.float64), size, float(pitch))
    patches, known = gather_patches(images, corner, size, float(pitch))
    offset = pitch * (torch.arange(size).double() - (size - 1) / 2)
    at_y, at_x = torch.meshgrid(y + offset, x + offset, indexing="ij")
    half = max(pitch, 1) / 2
    inner = (at_x >= half) & (at_x <= 25 - half) & (at_y >= half) & (at_y <= 21 - half)
    for channel, expected in enumerate((0.3 + 0.02 * at_x - 0.01 * at_y, at_x, at_y)):
        assert_close(patches[0, channel][inner], expected[inner])
    clear = torch.stack([at_x, 25 - at_x, at_y, 21 - at_y]).abs().amin(0) > 1e-9  # not on the border
    assert known[0, 0][clear].equal(((at_x >= 0) & (at_x <= 25) & (at_y >= 0) & (at_y <= 21))[clear])
    assert (patches[~known] == 0).all()


def test_gathering_and_its_gradient_are_adjoint(backend, device):
    """<G x, y> = <x, G' y>: the gradient to the images is the transpose."""
    x = photos(1, device=device).requires_grad_()
    value, _ = gather_patches(x, torch.tensor([[4.3, 6.9]], device=device).expand(20, 2), 5, 1.2,
                              index=torch.zeros(20, dtype=torch.long, device=device))  # fmt: skip
    y = torch.randn_like(value)
    (back,) = torch.autograd.grad(value, x, y)
    assert_close((value * y).sum(), (x * back).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "needs index, the image of each patch: there are 3 images and 2 patches"),
        ({"size": 0, "index": torch.tensor([0, 1])}, "size >= 1 and pitch > 0, but got 0 and 1.0"),
        ({"pitch": 0.0, "index": torch.tensor([0, 1])}, "size >= 1 and pitch > 0, but got 3 and 0.0"),
    ],
)
def test_mistakes_are_named(more, says):
    with pytest.raises(ValueError, match=says):
        gather_patches(photos(), torch.zeros(2, 2), more.pop("size", 3), **more)
