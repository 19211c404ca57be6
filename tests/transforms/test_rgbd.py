"""RGBD: its values, its gradients, and what contradicts a card."""

import pytest
import torch
from torch.testing import assert_close

from scorereg import RGBD, PriorCard

CARD = PriorCard(
    name="test", channels=("r", "g", "b", "disparity"), size=(8, 8), sigma_min=0.01, sigma_max=1.0, d_min=0.2
)


def render(h=3, w=5, b=2):
    return torch.rand(b, 3, h, w), 0.5 + 4 * torch.rand(b, h, w)


def test_values_are_the_formula():
    rgb, depth = render()
    depth[0, 0] = torch.tensor([-3.0, 0.0, 0.1, 0.7, 1e6])
    patch = RGBD(d_min=0.7)(rgb, depth)
    assert_close(patch[:, :3], 2 * rgb - 1)
    assert_close(patch[:, 3], 2 * (0.7 / depth.clamp(min=0.7)) - 1, rtol=0, atol=0)
    assert patch.abs().max() <= 1


def test_inverse_undoes_it():
    rgb, depth = render()
    back, z = RGBD(d_min=0.3).inverse(RGBD(d_min=0.3)(rgb, depth))
    assert_close(back, rgb)
    assert_close(z, depth)


def test_inverse_is_bounded_where_nothing_is():
    patch = torch.full((1, 4, 1, 1), -1.2)  # a denoised patch may step over the edge
    _, depth = RGBD(d_min=0.5).inverse(patch)
    assert_close(depth, torch.full((1, 1, 1), 500.0))


def test_gradient_is_the_formulas_and_does_not_die_near_the_camera():
    depth = torch.tensor([[[-1.0, 0.0, 0.1, 0.5, 0.6, 2.0]]], dtype=torch.float64, requires_grad=True)
    rgb = torch.rand(1, 3, 1, 6, dtype=torch.float64, requires_grad=True)
    RGBD(d_min=0.5)(rgb, depth).sum().backward()
    assert depth.grad is not None
    assert rgb.grad is not None
    assert_close(rgb.grad, torch.full_like(rgb, 2.0))
    at = torch.tensor([0.5, 0.5, 0.5, 0.5, 0.6, 2.0], dtype=torch.float64)
    assert_close(depth.grad[0, 0], -2 * 0.5 / at.square())


def test_gradient_beyond_d_min_against_finite_differences():
    rgb, depth = render(2, 2, 1)
    inputs = (rgb.double().requires_grad_(), depth.double().requires_grad_())
    assert torch.autograd.gradcheck(RGBD(d_min=0.4), inputs)


def test_photo_mask_masks_the_colours_of_photo_patches():
    mask = RGBD().photo_mask(torch.tensor([True, False]))
    assert mask.shape == (2, 4, 1, 1)
    assert mask.flatten().tolist() == [True, True, True, False] + [False] * 4


def test_photo_mask_is_of_single_pixels_and_of_known_depth():
    photo = torch.tensor([[[True, False]], [[False, True]]])
    depth = torch.tensor([[[True, False]], [[False, False]]])
    mask = RGBD().photo_mask(photo)
    assert mask.shape == (2, 4, 1, 2)
    assert torch.equal(mask[:, :3], photo[:, None].expand(2, 3, 1, 2))
    assert not mask[:, 3].any()
    both = RGBD().photo_mask(photo, depth)
    assert torch.equal(both[:, :3], mask[:, :3])
    assert torch.equal(both[:, 3], depth)
    assert torch.equal(RGBD().photo_mask(torch.tensor([True, False]), depth)[:, 3], depth)


def test_for_card_takes_its_d_min():
    assert RGBD.for_card(CARD) == RGBD(d_min=0.2)
    assert RGBD.for_card(PriorCard.from_json(CARD.to_json())) == RGBD(d_min=0.2)  # JSON has lists, not tuples


def changed(**fields):
    return PriorCard(**(vars(CARD) | fields))


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (CARD, r"d_min 0.5, but the prior 'test' was trained with 0.2. Use RGBD.for_card\(card\)"),
        (changed(d_min=None), "d_min 0.5, but .* None. Complete the card"),
        (
            changed(d_min=0.5, depth="ray"),
            "depth 'planar', but the prior 'test' was trained with 'ray'. Choose a prior",
        ),
        (changed(d_min=0.5, channels=("disparity", "r", "g", "b")), "channels .*another transform"),
        (changed(d_min=0.5, range=(0.0, 1.0)), r"range \(-1.0, 1.0\), but .* \(0.0, 1.0\)"),
    ],
)
def test_a_card_that_contradicts_is_an_error(card, says):
    with pytest.raises(ValueError, match=says):
        RGBD(d_min=0.5).check(card)


def test_for_card_refuses_other_channels():
    with pytest.raises(ValueError, match="channels"):
        RGBD.for_card(changed(channels=("r", "g", "b"), d_min=None, depth=None))


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("rgb", "depth", "says"),
    [
        (torch.zeros(2, 8, 8, 3), torch.zeros(2, 8, 8), r"got \(2, 8, 8, 3\) and \(2, 8, 8\). Colours come second"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(1, 8, 8), r"rgb of shape \(b, 3, h, w\) and depth of shape \(b, h, w\)"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, 8, 8), r"got \(2, 3, 8, 8\) and \(2, 2, 8, 8\)"),
    ],
)
def test_wrong_shapes_are_named(rgb, depth, says):
    with pytest.raises(ValueError, match=says):
        RGBD()(rgb, depth)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_depth_that_is_not_finite_is_named(bad):
    rgb, depth = render(b=3)
    depth[1, 2, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite, in patch 1 of 3.*far depth"):
        RGBD()(rgb, depth)


@pytest.mark.parametrize("d_min", [0.0, -1.0, float("nan"), float("inf")])
def test_d_min_must_be_a_depth(d_min):
    with pytest.raises(ValueError, match="d_min > 0"):
        RGBD(d_min=d_min)


@pytest.mark.usefixtures("as_user")
def test_inverse_needs_four_channels():
    with pytest.raises(ValueError, match=r"\(b, 4, h, w\), got \(1, 3, 8, 8\)"):
        RGBD().inverse(torch.zeros(1, 3, 8, 8))


def test_repr_is_one_line():
    assert repr(RGBD(d_min=0.2)) == "RGBD(d_min=0.2)"


def test_depth_with_a_channel_of_its_own_is_the_same_depth():
    rgb, depth = render()
    assert torch.equal(RGBD()(rgb, depth[:, None]), RGBD()(rgb, depth))
    rgb, depth = rgb.requires_grad_(), depth[:, None].clone().requires_grad_()
    RGBD()(rgb, depth).sum().backward()
    assert depth.grad is not None
    assert depth.grad.shape == (2, 1, 3, 5)
