"""Unusual patches: skipped if not finite, and gated if far from the prior's training data."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from scorereg import ScoreLoss, load_prior

CARD = SimpleNamespace(
    sigma_min=0.01,
    sigma_max=2.0,
    residual_quantiles={"sigma": [0.1, 1.0], "levels": [0.5, 0.9], "values": [[1.0, 2.0], [3.0, 6.0]]},
)


class Half:
    """D(x) = x / 2, so the residual is x / 2; with a card."""

    channels = ("a", "b")

    def __init__(self, card=CARD):
        self.card = card

    def denoise(self, x, sigma):
        return x / 2


def gradient(loss, patch, *args, **kwargs):
    x = patch.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(x, *args, **kwargs), x)
    return result


def of_size(*sizes):
    """Patches whose residual has these root mean squares."""
    x = torch.randn(len(sizes), 2, 4, 4, dtype=torch.float64)
    rms = x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return 2 * x / rms * torch.tensor(sizes, dtype=torch.float64).reshape(-1, 1, 1, 1)


# the gate


@pytest.mark.parametrize(
    ("sigma", "level", "usual"),
    [
        (0.1, 0.5, 1.0),
        (1.0, 0.9, 6.0),
        (0.1, 0.7, 1.5),
        (10**-0.5, 0.9, 4.0),  # halfway in log sigma
        (0.02, 0.9, 2.0),
        (2.0, 0.5, 3.0),
    ],
)
@pytest.mark.parametrize(
    "settings", [{}, {"normalize": "rms"}, {"weight": torch.square}], ids=["plain", "rms", "squared"]
)
def test_gate_weakens_with_the_square_beyond_the_quantile(sigma, level, usual, settings):
    x = of_size(0.5 * usual * sigma, 0.999 * usual * sigma, 2 * usual * sigma, 10 * usual * sigma)
    plain, gated = (ScoreLoss(Half(), sigma=sigma, **settings, **gate) for gate in ({}, {"gate": level}))
    factor = torch.tensor([1, 1, 1 / 4, 1 / 100], dtype=torch.float64).reshape(4, 1, 1, 1)
    assert_close(gradient(gated, x), factor * gradient(plain, x))
    each = torch.stack([plain(x[i : i + 1]) for i in range(4)])
    assert_close(gated(x), (factor.flatten() * each).mean())


def test_gate_at_levels_of_each_patch_and_behind_a_mask():
    x, sigma = of_size(2.0, 2.0), torch.tensor([0.1, 1.0], dtype=torch.float64)
    known = torch.rand(2, 1, 4, 4) < 0.5
    plain = gradient(ScoreLoss(Half()), x, sigma, known=known)
    gated = gradient(ScoreLoss(Half(), gate=0.5), x, sigma, known=known)
    assert_close(gated[0], plain[0] / 400)  # r = 20 where 1 is usual: of the whole patch, known or not
    assert_close(gated[1], plain[1])


def test_gate_leaves_a_perfect_patch_alone():
    assert gradient(ScoreLoss(Half(), sigma=0.1, gate=0.5), torch.zeros(1, 2, 4, 4)).eq(0).all()


@pytest.mark.parametrize("perturbed", [{"perturb": True}, {"control": Half()}])
def test_gate_needs_clean_residuals(perturbed):
    with pytest.raises(ValueError, match="an estimator without noise: perturb=False"):
        ScoreLoss(Half(), gate=0.5, **perturbed)


def test_gate_needs_a_card_with_quantiles():
    for prior in (Half(SimpleNamespace(sigma_min=0.01, sigma_max=2.0)), Half(None)):
        with pytest.raises(ValueError, match=r"card records residual_quantiles, which this one does not"):
            ScoreLoss(prior, gate=0.5)
    with pytest.raises(ValueError, match=r"gate from 0.5 to 0.9, as measured; got 0.99"):
        ScoreLoss(Half(), gate=0.99)


# the noise range


def test_sigma_outside_the_cards_range_is_named():
    says = r"sigma 3, but the prior was trained for 0.01 to 2. Keep the schedule"
    x = torch.zeros(2, 2, 4, 4)
    with pytest.raises(ValueError, match=says):
        ScoreLoss(Half(), sigma=3)
    with pytest.raises(ValueError, match=says):
        ScoreLoss(Half())(x, 3)
    with pytest.raises(ValueError, match=says):
        ScoreLoss(Half(), sigma=lambda step: 3.0)(x, step=1)
    with pytest.raises(ValueError, match=says):
        ScoreLoss(Half())(x, torch.tensor([0.1, 3.0]))
    with pytest.raises(ValueError, match=r"sigma 0.001"):
        ScoreLoss(Half())(x, torch.tensor([0.1, 0.001]))
    ScoreLoss(Half(None))(x, torch.tensor([1e-6, 1e3]))
    ScoreLoss(Half())(x, torch.tensor([0.01, 2.0]))  # rounded in float32, and within


def test_range_of_the_shipped_prior():
    prior = load_prior("rooms-rgbd-24")
    with pytest.raises(ValueError, match=f"trained for {prior.card.sigma_min:g} to {prior.card.sigma_max:g}"):
        ScoreLoss(prior, sigma=100.0)


# skipping


@pytest.mark.parametrize("where", ["loss", "hook", "gradient"])
@pytest.mark.parametrize("settings", [{}, {"normalize": "rms"}, {"weight": 0.0}, {"perturb": True}], ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_patches_are_skipped_and_counted(where, settings, bad):
    x = torch.randn(4, 2, 4, 4)
    clean = x.clone()
    x[1, 0, 2, 3] = bad
    x[3] = bad
    loss = ScoreLoss(Half(), sigma=0.5, on_nonfinite="skip", **settings)

    def run(patch):
        generator = torch.Generator().manual_seed(0)
        if where == "loss":
            return gradient(loss, patch, generator=generator)
        if where == "gradient":
            return loss.gradient(patch, generator=generator)
        leaf = patch.clone().requires_grad_()
        loss.hook(leaf, generator=generator).backward(torch.zeros_like(leaf))
        return leaf.grad

    exact = run(clean)
    assert loss.skipped == 0
    actual = run(x)
    assert loss.skipped == 2
    assert_close(actual[[0, 2]], exact[[0, 2]], rtol=0, atol=0)
    assert actual[[1, 3]].eq(0).all()
    run(x)
    assert loss.skipped == 4


def test_value_leaves_them_out():
    x = torch.randn(3, 2, 4, 4)
    loss = ScoreLoss(Half(), sigma=0.5, on_nonfinite="skip")
    each = [loss(x[i : i + 1]) for i in range(3)]
    x[1] = float("nan")
    assert_close(loss(x), (each[0] + each[2]) / 3)
    assert loss(torch.full_like(x, float("nan"))) == 0
    assert loss.skipped == 4


def test_a_prior_that_breaks_on_one_patch_is_skipped_there():
    class Breaks(Half):
        def denoise(self, x, sigma):
            return torch.where(x.amax(dim=(1, 2, 3), keepdim=True) > 10, float("nan"), x / 2)

    x = torch.zeros(2, 2, 4, 4)
    x[1] = 11
    loss = ScoreLoss(Breaks(), sigma=0.5, on_nonfinite="skip")
    assert gradient(loss, x).eq(0).all()
    assert loss.skipped == 1


@pytest.mark.usefixtures("as_user")
def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match="on_nonfinite='raise' and 'skip', but got 'ignore'"):
        ScoreLoss(Half(), on_nonfinite="ignore")
