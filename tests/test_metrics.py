import builtins
import math

import pytest
import torch
from torch.testing import assert_close

from scorereg import metrics


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

    monkeypatch.setattr(metrics, "_lpips_network", lambda net: Network())
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


def test_lpips_without_its_package_says_what_to_do(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "lpips":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    metrics._lpips_network.cache_clear()
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ValueError, match="pip install lpips"):
        metrics.lpips(torch.zeros(8, 8, 3), torch.zeros(8, 8, 3), net="alex")
