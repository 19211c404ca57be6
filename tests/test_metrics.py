import math
import sys
import types

import pytest
import torch
from torch.testing import assert_close

from scorereg import metrics
from scorereg.metrics import perceptual


def test_psnr_in_closed_form():
    truth = torch.rand(8, 9, 3) * 0.5
    assert metrics.psnr(truth + 0.1, truth) == pytest.approx(20, abs=1e-4)
    assert metrics.psnr(truth, truth) == math.inf
    assert math.isnan(metrics.psnr(truth * math.nan, truth))  # and not the best there is


def test_ssim_of_constant_images_in_closed_form():
    a, b = torch.full((9, 9, 3), 0.2), torch.full((9, 9, 3), 0.6)
    c1 = 0.01**2  # (0.01 * data range)^2; the contrast factor is 1 without variance
    expected = (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)
    assert metrics.ssim(a, b) == pytest.approx(expected, rel=1e-5)
    assert metrics.ssim(a, a) == pytest.approx(1)


def test_ssim_is_over_colour_channels():
    torch.manual_seed(3)
    image = torch.rand(16, 16, 3)
    other = torch.cat([image[..., :2], torch.rand(16, 16, 1)], -1)
    single = metrics.ssim(image[..., 2:], other[..., 2:])
    assert metrics.ssim(image, other) == pytest.approx((2 + single) / 3, rel=1e-6)


def test_average_is_a_geometric_mean():
    assert metrics.average(20.0, 0.75, 0.2) == pytest.approx((0.01 * 0.5 * 0.2) ** (1 / 3))
    assert metrics.average(20.0, 0.75, None) == pytest.approx((0.01 * 0.5) ** 0.5)


@pytest.mark.parametrize("hidden", [0.0, 5.0, math.nan], ids=str)
def test_pixels_that_do_not_count_change_nothing(hidden):
    torch.manual_seed(2)
    truth, mask = torch.rand(20, 24, 3), torch.ones(20, 24, dtype=torch.bool)
    image = (truth + 0.1 * torch.randn(20, 24, 3)).clamp(0, 1)
    mask[:6, :8] = False
    spoilt = torch.where(mask[..., None], image, hidden)
    error = (image - truth).double().square()[mask].mean().item()
    assert metrics.psnr(spoilt, truth, mask) == pytest.approx(-10 * math.log10(error), abs=1e-6)
    means = []  # of the windows by themselves
    for row in range(3, 17):
        for column in range(3, 21):
            inside = slice(row - 3, row + 4), slice(column - 3, column + 4)
            if mask[inside].all():
                means.append(metrics.ssim(image[inside], truth[inside]))
    assert metrics.ssim(spoilt, truth, mask) == pytest.approx(sum(means) / len(means), rel=1e-5)
    assert metrics.windows_count(mask).sum() == len(means)


def test_a_mask_of_all_pixels_is_none():
    torch.manual_seed(2)
    image, truth = torch.rand(2, 15, 18, 3)
    mask = torch.ones(15, 18, dtype=torch.bool)
    assert metrics.psnr(image, truth, mask) == pytest.approx(metrics.psnr(image, truth))
    assert metrics.ssim(image, truth, mask) == pytest.approx(metrics.ssim(image, truth))


def test_lpips_sees_one_grey_in_place_of_what_does_not_count(monkeypatch):
    seen = []

    class Network(torch.nn.Module):
        def forward(self, a, b):
            seen.append((a, b))
            return (a - b).abs().sum()

    monkeypatch.setattr(perceptual, "_network", lambda net: Network())
    mask = torch.rand(9, 9) > 0.5
    image = torch.where(mask[..., None], 0.7, math.nan).expand(9, 9, 3)
    truth = torch.where(mask[..., None], 0.7, 3.0).expand(9, 9, 3)
    assert metrics.lpips(image, truth, net="vgg", mask=mask) == 0
    assert (seen[0][0][..., ~mask] == 0).all()
    assert_close(seen[0][1][..., mask], torch.full((1, 3, int(mask.sum())), 0.4))


@pytest.mark.usefixtures("as_user")
def test_masks_that_cannot_be_are_named():
    a, mask = torch.rand(9, 9, 3), torch.zeros(9, 9, dtype=torch.bool)
    for name in ("psnr", "ssim"):
        with pytest.raises(ValueError, match=rf"{name} needs a pixel that counts"):
            getattr(metrics, name)(a, a, mask)
        with pytest.raises(ValueError, match=rf"{name} needs a mask of the images' \(9, 9\), but got \(9, 8\)"):
            getattr(metrics, name)(a, a, mask[:, :8])
    mask[4] = True
    with pytest.raises(ValueError, match="ssim needs a window of 7x7 pixels that all count"):
        metrics.ssim(a, a, mask)
    with pytest.raises(ValueError, match="ssim needs images of 11x11 pixels"):
        metrics.ssim(a, a, window="gaussian11")
    with pytest.raises(ValueError, match="one of uniform7, gaussian11, but is 'box'"):
        metrics.ssim(a, a, window="box")


def test_depth_error_counts_known_pixels_and_aligns_nothing():
    truth = torch.tensor([[1.0, 2.0], [0.0, 4.0]])
    depth = torch.tensor([[1.5, 2.0], [9.0, 3.0]])
    assert metrics.depth_abs_rel(depth, truth) == pytest.approx((0.5 + 0 + 0.25) / 3)
    assert metrics.depth_abs_rel(2 * truth, truth) == pytest.approx(1)


@pytest.mark.usefixtures("as_user")
def test_mistakes_are_named():
    a, b = torch.zeros(8, 8, 3), torch.zeros(8, 1, 3)
    for name in ("psnr", "ssim"):
        with pytest.raises(ValueError, match=rf"{name} compares .* \(8, 8, 3\) and \(8, 1, 3\)"):
            getattr(metrics, name)(a, b)
    with pytest.raises(ValueError, match="depth_abs_rel compares"):
        metrics.depth_abs_rel(a, b)
    with pytest.raises(ValueError, match="true depth > 0 in at least one pixel"):
        metrics.depth_abs_rel(torch.ones(4), torch.zeros(4))


def gaussian_ssim(a, b):
    """Wang's formula with his window, by a convolution of the valid region."""
    x = torch.arange(-5, 6, dtype=torch.float64)
    g = torch.exp(-x.square() / (2 * 1.5**2))
    kernel = (g[:, None] * g / g.sum() ** 2)[None, None]
    mean = lambda t: torch.nn.functional.conv2d(t.double().permute(2, 0, 1)[:, None], kernel)  # noqa: E731
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a.double() ** 2) - ma**2, mean(b.double() ** 2) - mb**2, mean(a.double() * b.double()) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))[:, 0]


def test_ssim_with_the_window_of_wang():
    torch.manual_seed(4)
    truth = torch.rand(24, 30, 3)
    image = (truth + 0.2 * torch.randn(24, 30, 3)).clamp(0, 1)
    each = gaussian_ssim(image, truth)
    found = metrics.ssim(image, truth, window="gaussian11")
    assert each.shape == (3, 14, 20)
    assert found == pytest.approx(each.mean().item(), abs=1e-9)
    assert abs(found - metrics.ssim(image, truth)) > 1e-3  # why the window is named
    mask = torch.ones(24, 30, dtype=torch.bool)
    mask[:4, :9] = False
    kept = [each[:, i, j] for i in range(14) for j in range(20) if mask[i : i + 11, j : j + 11].all()]
    spoilt = torch.where(mask[..., None], image, 7.0)
    assert metrics.ssim(spoilt, truth, mask, window="gaussian11") == pytest.approx(torch.stack(kept).mean().item())


def test_an_object_on_white():
    image, mask = torch.rand(5, 6, 3), torch.rand(5, 6) > 0.5
    white = metrics.on_white(image, mask)
    assert (white[~mask] == 1).all()
    assert_close(white[mask], image[mask])


def test_lpips_without_its_package_says_what_to_do(monkeypatch):
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    perceptual._network.cache_clear()
    with pytest.raises(ValueError, match="pip install lpips"):
        metrics.lpips(torch.zeros(8, 8, 3), torch.zeros(8, 8, 3), net="alex")


def test_lpips_never_fetches_weights(monkeypatch, tmp_path):
    """With a package and a torchvision in place of the real ones: neither is asked for anything but an address."""
    weights = types.SimpleNamespace(IMAGENET1K_V1=types.SimpleNamespace(url="https://example.org/a/alexnet-0.pth"))
    vision = types.ModuleType("torchvision")
    vision.models = types.SimpleNamespace(AlexNet_Weights=weights)
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    monkeypatch.setattr(perceptual, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    words = metrics.lpips_lacks("alex")
    assert f"{tmp_path}/checkpoints/alexnet-0.pth, which is not there" in words
    assert "weights='DEFAULT'" in words
    assert "https://example.org" in words
    assert "torchvision, which cannot be used" in metrics.lpips_lacks("vgg")  # of an older kind
    perceptual._network.cache_clear()
    with pytest.raises(ValueError, match="not there"):
        metrics.lpips(torch.zeros(8, 8, 3), torch.zeros(8, 8, 3), net="alex")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "alexnet-0.pth").touch()
    assert metrics.lpips_lacks("alex") is None
