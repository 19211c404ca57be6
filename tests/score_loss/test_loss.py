"""ScoreLoss against closed forms, among them every row of the table in its docstring."""

from functools import partial

import pytest
import torch
from einops import rearrange, repeat
from torch import nn
from torch.testing import assert_close

from scorereg import RGBD, GaussianFieldPrior, ScoreLoss, load_prior, schedules, score
from scorereg.score_loss.arguments import level_of, renamed_arguments

RGBD_NAMES = ("r", "g", "b", "disparity")
PRIOR = GaussianFieldPrior(size=8, channels=RGBD_NAMES).double()
SIGMA = torch.tensor([0.05, 0.3, 2.0], dtype=torch.float64)


class Shrink:
    """D(x) = x / 2, in any number of spatial dimensions; counts its calls and keeps the last one."""

    def __init__(self, channels=("a", "b")):
        self.channels = channels
        self.calls = 0

    def denoise(self, x, sigma):
        self.calls += 1
        self.last = (x.clone(), sigma.clone())
        return x / 2


def patches(*shape, dtype=torch.float64):
    return torch.randn(*(shape or (3, 4, 8, 8)), dtype=dtype)


def gradient(loss, patch, *args, **kwargs):
    x = patch.clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(x, *args, **kwargs), x)
    return result


def residual(patch, sigma=SIGMA):
    return patch - PRIOR.denoise(patch, sigma)


# the table


def test_gradient_is_minus_the_score():
    """Against autograd of the exact log density of the noised field."""
    x = patches().requires_grad_()
    (exact,) = torch.autograd.grad(PRIOR.log_density(x, SIGMA).sum(), x)
    assert_close(3 * gradient(ScoreLoss(PRIOR), x.detach(), SIGMA), -exact)
    assert_close(3 * gradient(ScoreLoss(PRIOR), x.detach(), SIGMA), -score(PRIOR, x.detach(), SIGMA))


def test_red_is_the_weight_square():
    x = patches()
    assert_close(3 * gradient(ScoreLoss(PRIOR, weight=torch.square), x, SIGMA), residual(x))


def test_sds_is_noise_and_a_weight():
    x, w = patches(), lambda s: 1 / (1 + s)
    seed = torch.Generator().manual_seed(5)
    n = torch.randn(x.shape, dtype=x.dtype, generator=seed)
    sigma = rearrange(SIGMA, "b -> b 1 1 1")
    eps_hat = (x + sigma * n - PRIOR.denoise(x + sigma * n, SIGMA)) / sigma
    loss = ScoreLoss(PRIOR, perturb=True, weight=lambda s: s * w(s))
    actual = gradient(loss, x, SIGMA, generator=torch.Generator().manual_seed(5))
    assert_close(3 * actual, w(sigma) * (eps_hat - n))


def test_value_is_the_formula():
    x = patches()
    expected = (2.5 * residual(x).square().sum(dim=(1, 2, 3)) / (2 * SIGMA.square())).mean()
    assert_close(ScoreLoss(PRIOR, weight=2.5)(x, SIGMA), expected)


def test_value_falls_as_the_patch_becomes_likelier():
    x = patches().requires_grad_()
    loss, sigma = ScoreLoss(PRIOR, sigma=0.5), 0.5
    before = loss(x)
    (g,) = torch.autograd.grad(before, x)
    assert loss(x - 3 * sigma**2 * g) < before / 2


def test_a_whole_fit_finds_the_exact_posterior_mean():
    """Denoising by gradient descent: the Wiener filter in closed form, where the filter is that of the noised prior."""
    prior, sigma, noise = PRIOR, 0.2, 0.4
    seen = prior.sample(2) + noise * patches(2, 4, 8, 8)
    x = torch.zeros_like(seen, requires_grad=True)
    loss = ScoreLoss(prior, sigma=sigma)
    for _ in range(400):
        (g,) = torch.autograd.grad((x - seen).square().sum() / (2 * noise**2) / 2 + loss(x), x)
        x = (x - 2 * 0.03 * g).detach().requires_grad_()
    power = prior.power + sigma**2
    assert_close(x.detach(), torch.fft.ifft2(power / (power + noise**2) * torch.fft.fft2(seen)).real, rtol=0, atol=1e-4)


@pytest.mark.parametrize("space", [(7,), (5, 3), (2, 3, 4)], ids=str)
def test_spatial_dimensions_are_free(space):
    x, prior = patches(2, 2, *space), Shrink()
    sigma = torch.tensor([0.5, 2.0], dtype=torch.float64)
    g = gradient(ScoreLoss(prior, normalize=None), x, sigma)
    assert_close(2 * g, (x / 2) / sigma.square().reshape(-1, *[1] * (1 + len(space))))
    assert_close(gradient(ScoreLoss(prior, normalize="rms"), x, sigma).square().mean(), x.new_tensor(0.25))


# no gradient to the prior


def test_nothing_runs_backward_through_the_prior():
    class Trainable(nn.Module):
        channels = ("a",)

        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

        def denoise(self, x, sigma):
            return self.gain * x

    prior, x = Trainable(), patches(2, 1, 4, 4).requires_grad_()
    ScoreLoss(prior, sigma=1.0)(x).backward()
    assert prior.gain.grad is None
    assert x.grad is not None
    assert_close(x.grad, x.detach() / 4)  # not (1 - gain)^2 x, which backward through the prior would give


def test_prior_is_evaluated_without_a_graph():
    class Watching(Shrink):
        def denoise(self, x, sigma):
            assert not torch.is_grad_enabled()
            assert not x.requires_grad
            return super().denoise(x, sigma)

    x = patches(2, 2, 4, 4).requires_grad_()
    ScoreLoss(Watching(), sigma=1.0)(x).backward()


def test_gradient_scales_with_what_arrives():
    x = patches().requires_grad_()
    (actual,) = torch.autograd.grad(-3 * ScoreLoss(PRIOR)(x, SIGMA), x)
    assert_close(actual, -3 * gradient(ScoreLoss(PRIOR), x.detach(), SIGMA))


def test_patch_is_not_changed():
    x = patches()
    before = x.clone()
    ScoreLoss(PRIOR, perturb=True, normalize="rms")(x, SIGMA, known=torch.ones(3, 1, 8, 8, dtype=torch.bool))
    assert_close(x, before, rtol=0, atol=0)


def test_second_derivative_is_refused():
    x = patches().requires_grad_()
    for loss in (ScoreLoss(PRIOR)(x, SIGMA).square(), ScoreLoss(PRIOR).hook(x, SIGMA).square().sum().square()):
        (g,) = torch.autograd.grad(loss, x, create_graph=True)
        with pytest.raises(ValueError, match="has no derivative: double backward"):
            g.sum().backward()


def test_works_without_a_graph():
    with torch.no_grad():
        value = ScoreLoss(PRIOR)(patches(), SIGMA)
    assert not value.requires_grad


# sigma and weight


def test_sigma_may_be_a_number_a_tensor_or_a_function_of_the_step():
    x = patches()
    expected = gradient(ScoreLoss(PRIOR), x, torch.full((3,), 0.3, dtype=torch.float64))
    assert_close(gradient(ScoreLoss(PRIOR, sigma=0.3), x), expected)
    assert_close(gradient(ScoreLoss(PRIOR, sigma=9.0), x, 0.3), expected)  # the call's goes first
    assert_close(gradient(ScoreLoss(PRIOR), x, torch.tensor(0.3, dtype=torch.float64)), expected)
    assert_close(gradient(ScoreLoss(PRIOR, sigma=lambda step: 0.1 * step), x, step=3), expected)
    assert_close(gradient(ScoreLoss(PRIOR, sigma=schedules.linear(0, 1, 0, 10)), x, step=3), expected)
    by_patch = ScoreLoss(PRIOR, sigma=lambda step: SIGMA * step)
    assert_close(gradient(by_patch, x, step=2), gradient(ScoreLoss(PRIOR), x, 2 * SIGMA))


def of_sigma_with_a_default(s, power=2):
    return s**power


class OfBoth:
    def __call__(self, step, sigma):
        return step * sigma


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (0.7, torch.full((3,), 0.7)),
        (torch.square, SIGMA.square()),
        (torch.ones_like, torch.ones(3)),
        (lambda s: s, SIGMA),
        (lambda sigma: 4, torch.full((3,), 4.0)),
        (of_sigma_with_a_default, SIGMA.square()),
        (lambda s, step=None: s if step is None else step * s, 7 * SIGMA),
        (nn.Identity(), SIGMA),
        (lambda step: 2 * step, torch.full((3,), 14.0)),
        (lambda step=None: step, torch.full((3,), 7.0)),
        (schedules.ramp(1.0, 0, 10), torch.full((3,), 0.7)),
        (lambda sigma, step: step * sigma, 7 * SIGMA),
        (lambda s, *, step: step * s, 7 * SIGMA),
        (lambda step, *, sigma: step * sigma, 7 * SIGMA),
        (OfBoth(), 7 * SIGMA),
        (lambda step: torch.tensor([1.0, 2.0, 3.0]) * step, torch.tensor([7.0, 14.0, 21.0])),
    ],
)
def test_weight_may_be_a_function_of_sigma_and_of_the_step(weight, expected):
    x = patches()
    factor = rearrange(expected.double(), "b -> b 1 1 1")
    actual = gradient(ScoreLoss(PRIOR, weight=weight), x, SIGMA, step=7)
    assert_close(actual, factor * gradient(ScoreLoss(PRIOR), x, SIGMA))


@pytest.mark.parametrize("schedule", ["constant", "linear", "log_linear", "cosine", "ramp", "diffusionerf"])
def test_every_schedule_is_taken_as_one_of_the_step(schedule):
    arguments = {"constant": (2,), "ramp": (1, 0, 10), "diffusionerf": ()}.get(schedule, (1, 2, 0, 10))
    at = getattr(schedules, schedule)(*arguments)
    x = patches()
    assert_close(ScoreLoss(PRIOR, weight=at)(x, SIGMA, step=4), at(4) * ScoreLoss(PRIOR)(x, SIGMA))


def test_a_weight_of_zero_does_not_evaluate_the_prior():
    prior = Shrink()
    loss = ScoreLoss(prior, sigma=0.1, weight=schedules.ramp(1.0, 10, 20))
    x = patches(2, 2, 4, 4)
    assert_close(gradient(loss, x, step=10), torch.zeros_like(x))
    assert loss(x, step=10) == 0
    assert prior.calls == 0
    assert gradient(loss, x, step=11).abs().sum() > 0
    assert prior.calls == 1


def test_channel_weights_by_order_and_by_name():
    x = patches()
    plain = gradient(ScoreLoss(PRIOR), x, SIGMA)
    factor = torch.tensor([0.5, 0.5, 0.5, 3.0], dtype=torch.float64).reshape(4, 1, 1)
    for given in ([0.5, 0.5, 0.5, 3], {"rgb": 0.5, "disparity": 3}, {"r": 0.5, "g": 0.5, "b": 0.5, "disparity": 3.0}):
        assert_close(gradient(ScoreLoss(PRIOR, channel_weights=given), x, SIGMA), factor * plain)
    only = gradient(ScoreLoss(PRIOR, channel_weights={"g": 2}), x, SIGMA)
    assert_close(only, plain * torch.tensor([1.0, 2, 1, 1], dtype=torch.float64).reshape(4, 1, 1))
    value = ScoreLoss(PRIOR, channel_weights=[0.5, 0.5, 0.5, 3])(x, SIGMA)
    expected = (factor * residual(x).square()).sum(dim=(1, 2, 3)) / (2 * SIGMA.square())
    assert_close(value, expected.mean())


# known values


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (3, 4, 8, 8), (1, 1, 8, 8), (3, 4, 1, 1), (3, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("normalize", [None, "rms"])
def test_known_values_do_not_move_and_the_others_do_as_before(shape, normalize):
    x, known = patches(), torch.rand(shape) < 0.5
    everywhere = known.expand_as(x)
    plain = gradient(ScoreLoss(PRIOR), x, SIGMA)
    actual = gradient(ScoreLoss(PRIOR, normalize=normalize), x, SIGMA, known=known)
    assert actual[everywhere].eq(0).all()
    if normalize is None:
        assert_close(actual[~everywhere], plain[~everywhere])  # so what is known still informs the denoiser
        expected = (residual(x).square() * ~everywhere).sum(dim=(1, 2, 3)) / (2 * SIGMA.square())
        assert_close(ScoreLoss(PRIOR)(x, SIGMA, known=known), expected.mean())


def test_photo_patches_of_the_paper_move_only_depth():
    x = patches()
    known = RGBD().photo_mask(torch.tensor([True, False, True]))
    actual, plain = gradient(ScoreLoss(PRIOR), x, SIGMA, known=known), gradient(ScoreLoss(PRIOR), x, SIGMA)
    assert actual[[0, 2], :3].eq(0).all()
    assert_close(actual[:, 3], plain[:, 3])
    assert_close(actual[1], plain[1])


@pytest.mark.parametrize("noise", ["fresh", "given"])
def test_known_values_get_the_same_noise(noise):
    """A denoiser with one level for all values would take noise-free ones for features."""
    x, prior = patches(2, 2, 4, 4), Shrink()
    known = torch.rand(2, 2, 4, 4) < 0.5  # by pixel and by channel
    n = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(5))
    sigma = torch.tensor([0.1, 2.0], dtype=torch.float64)
    perturb = True if noise == "fresh" else (lambda x, sigma: n)
    loss = ScoreLoss(prior, perturb=perturb, weight=lambda s: s)
    g = 2 * gradient(loss, x, sigma, known=known, generator=torch.Generator().manual_seed(5))
    level = rearrange(sigma, "b -> b 1 1 1")
    noised = x + level * n
    assert_close(prior.last[0], noised)
    assert_close(g, torch.where(known, 0.0, (x - noised / 2) / level))


def test_noise_that_is_given_knows_patch_and_level():
    x, seen = patches(), []

    def noise(patch, sigma):
        seen.append((patch, sigma))
        return patch[:, :1]

    with pytest.raises(ValueError, match=r"given as `perturb` must return the shape of x, \(3, 4, 8, 8\)"):
        ScoreLoss(PRIOR, perturb=noise)(x, SIGMA)
    assert_close(seen[0][0], x)
    assert_close(seen[0][1], SIGMA)


def test_control_takes_the_place_of_the_patch():
    x, n = patches(2, 2, 4, 4), patches(2, 2, 4, 4)

    class Third(Shrink):
        def denoise(self, x, sigma):
            return x / 3

    g = gradient(ScoreLoss(Shrink(), sigma=1.0, perturb=lambda x, sigma: n, control=Third()), x)
    assert_close(2 * g, (x + n) / 3 - (x + n) / 2)


@pytest.mark.parametrize(
    "settings", [{}, {"perturb": True}, {"perturb": True, "control": Shrink()}], ids=["plain", "noise", "control"]
)
def test_the_residual_of_a_prior_is_used_where_it_has_one(settings):
    """At sigma 0.005 a residual by D has lost digits in float32; here D would be off by far more."""

    class Precise(Shrink):
        def residual(self, x, sigma):
            return x / 2

        def denoise(self, x, sigma):
            raise AssertionError

    x = patches(2, 2, 4, 4)
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    exact = gradient(ScoreLoss(Shrink(), sigma=0.1, **settings), x, generator=seeds[0])
    assert_close(gradient(ScoreLoss(Precise(), sigma=0.1, **settings), x, generator=seeds[1]), exact)


# a gradient budget


def rms_of(g):
    return g.square().mean().sqrt()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_rms_gives_each_patch_and_group_its_budget(scale):
    x = scale * patches()
    g = 3 * gradient(ScoreLoss(PRIOR, normalize="rms", weight=0.2, channel_weights={"disparity": 5}), x, SIGMA)
    r = residual(x)
    for i in range(3):
        assert_close(rms_of(g[i, :3]), g.new_tensor(0.2))
        assert_close(rms_of(g[i, 3]), g.new_tensor(1.0))
        assert_close(g[i, :3] / g[i, 0, 0, 0], r[i, :3] / r[i, 0, 0, 0])  # one scale for r, g and b


def test_rms_counts_only_what_may_move():
    x, known = patches(), torch.rand(3, 1, 8, 8) < 0.7
    g = 3 * gradient(ScoreLoss(PRIOR, normalize="rms"), x, SIGMA, known=known)
    free = repeat(~known, "b 1 h w -> b c h w", c=4)
    for i in range(3):
        assert_close(rms_of(g[i, :3][free[i, :3]]), g.new_tensor(1.0))
        assert_close(rms_of(g[i, 3][free[i, 3]]), g.new_tensor(1.0))


def test_rms_of_colours_where_one_of_them_is_known():
    x, known = patches(), torch.zeros(3, 4, 1, 1, dtype=torch.bool)
    known[:, 1] = True
    g = 3 * gradient(ScoreLoss(PRIOR, normalize="rms"), x, SIGMA, known=known)
    assert_close(rms_of(g[0, [0, 2]]), g.new_tensor(1.0))


def test_rms_leaves_nothing_at_nothing():
    zero, known = torch.zeros(2, 4, 8, 8), torch.ones(2, 1, 1, 1, dtype=torch.bool)
    loss = ScoreLoss(PRIOR, sigma=0.1, normalize="rms")
    assert gradient(loss, zero).eq(0).all()
    assert loss(zero) == 0
    assert gradient(loss, patches(2, 4, 8, 8), known=known).eq(0).all()


@pytest.mark.parametrize("size", [1e-19, 1e-21, 1e-23, 1e-30, 1e-40])
def test_rms_of_next_to_nothing_never_blows_up(size):
    """Squares of such numbers are zero in float32, and would make any residual infinitely large."""
    x = size * torch.randn(2, 2, 4, 4)
    g = gradient(ScoreLoss(Shrink(), sigma=0.1, normalize="rms"), x)
    assert g.isfinite().all()
    assert rms_of(2 * g) < 1.001


def test_rms_value_is_the_size_of_the_residual():
    x = patches(2, 2, 4, 4)
    loss = ScoreLoss(Shrink(), sigma=0.1, normalize="rms")
    expected = 16 / 2 * (x / 2).square().mean(dim=(2, 3)).sqrt().sum(dim=1).mean()
    assert_close(loss(x), expected)


# the hook


@pytest.mark.parametrize("normalize", [None, "rms"])
def test_hook_is_the_identity_and_adds_the_losss_gradient_once(normalize):
    x, loss = patches(), ScoreLoss(PRIOR, normalize=normalize, weight=0.3)
    known = torch.rand(3, 1, 8, 8) < 0.5
    own = gradient(loss, x, SIGMA, known=known)
    leaf = x.clone().requires_grad_()
    y = loss.hook(leaf, SIGMA, known=known)
    assert_close(y, x, rtol=0, atol=0)
    (y.square().sum() + 10 * y.sum() + y[0].sum()).backward()  # used three times
    assert leaf.grad is not None
    downstream = 2 * x + 10
    downstream[0] += 1
    assert_close(leaf.grad, downstream + own)


def test_hook_takes_what_the_loss_takes():
    x = patches()
    loss = ScoreLoss(PRIOR, sigma=schedules.linear(1, 2, 0, 10), weight=lambda step: step, perturb=True)
    seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
    leaf = x.clone().requires_grad_()
    (0 * loss.hook(leaf, step=5, generator=seeds[0])).sum().backward()
    assert_close(leaf.grad, gradient(loss, x, step=5, generator=seeds[1]))


def test_hook_inside_a_renderer_does_the_chain_rule():
    depth = (1 + torch.rand(2, 8, 8, dtype=torch.float64)).requires_grad_()
    rgb = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    loss = ScoreLoss(PRIOR, sigma=0.2)
    (by_loss,) = torch.autograd.grad(loss(RGBD()(rgb, depth)), depth)
    (by_hook,) = torch.autograd.grad(0 * loss.hook(RGBD()(rgb, depth)).sum(), depth)
    assert_close(by_hook, by_loss)
    assert by_loss.abs().sum() > 0


# precision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("normalize", [None, "rms"])
def test_half_precision_is_computed_in_single(dtype, normalize):
    prior = GaussianFieldPrior(size=8, channels=RGBD_NAMES)
    loss = ScoreLoss(prior, sigma=0.05, normalize=normalize)
    x = patches(dtype=torch.float32).to(dtype)
    exact = gradient(loss, x.float())
    g = gradient(loss, x)
    assert g.dtype == dtype
    assert_close(g, exact.to(dtype), rtol=0, atol=0)
    leaf = x.clone().requires_grad_()
    hooked = loss.hook(leaf)
    assert hooked.dtype == dtype
    (0 * hooked).sum().backward()
    assert_close(leaf.grad, exact.to(dtype), rtol=0, atol=0)
    assert loss(x).dtype == torch.float32


@pytest.mark.parametrize("normalize", [None, "rms"])
def test_autocast_does_not_reach_it(normalize):
    class Mixing(nn.Conv2d):
        channels = RGBD_NAMES

        def denoise(self, x, sigma):
            return self(x)

    loss = ScoreLoss(Mixing(4, 4, 3, padding=1), sigma=0.05, normalize=normalize)
    x = patches(dtype=torch.float32)
    exact = gradient(loss, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(gradient(loss, x), exact, rtol=0, atol=0)


# mistakes


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("shape", "sigma", "says"),
    [
        ((1, 3, 8, 8), [0.1], r"shape \(1, 3, 8, 8\), so 3 channels, but the prior knows 4: r, g, b, disparity"),
        ((1, 4, 8, 8), [0.1, 0.2], r"one sigma per patch, shape \(1,\), but got shape \(2,\)"),
        ((2, 4, 8, 8), [[0.1], [0.2]], r"shape \(2,\), but got shape \(2, 1\)"),
        ((1, 4, 8, 8), [0.0], r"sigma > 0; the smallest given is 0"),
        ((2, 4, 8, 8), [0.1, -2.0], r"sigma > 0; the smallest given is -2"),
        ((2, 4, 8, 8), [0.1, float("nan")], "finite sigma, but one of those given is nan"),
        ((2, 4, 8, 8), [0.1, float("inf")], "finite sigma, but one of those given is inf"),
        ((4, 8), [0.1], r"batch of at least one patch, .* got shape \(4, 8\)"),
        ((0, 4, 8, 8), [], r"at least one patch, .* got shape \(0, 4, 8, 8\)"),
    ],
)
def test_wrong_inputs_are_named(shape, sigma, says):
    with pytest.raises(ValueError, match=says):
        ScoreLoss(PRIOR)(torch.zeros(shape), torch.tensor(sigma))


@pytest.mark.parametrize("call", [ScoreLoss.forward, ScoreLoss.hook])
def test_a_missing_step_is_named(call):
    x = patches()
    with pytest.raises(ValueError, match="`sigma` of this ScoreLoss is a function of the step"):
        call(ScoreLoss(PRIOR, sigma=schedules.constant(0.1)), x)
    with pytest.raises(ValueError, match=r"`weight` of this ScoreLoss is a function of the step: .*step=step"):
        call(ScoreLoss(PRIOR, sigma=0.1, weight=schedules.constant(0.1)), x)


@pytest.mark.parametrize("sigma", [0, -0.1, float("nan")])
def test_sigma_as_a_number_is_checked_at_once(sigma):
    with pytest.raises(ValueError, match="sigma"):
        ScoreLoss(PRIOR, sigma=sigma)
    with pytest.raises(ValueError, match="sigma"):
        ScoreLoss(PRIOR)(patches(), sigma)
    with pytest.raises(ValueError, match="sigma"):
        ScoreLoss(PRIOR, sigma=lambda step: sigma)(patches(), step=0)


@pytest.mark.parametrize("where", ["forward", "hook"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "settings", [{}, {"normalize": "rms"}, {"weight": 0.0}, {"channel_weights": [1, 1, 1, 0]}], ids=str
)
def test_a_patch_that_is_not_finite_is_named(where, bad, settings):
    x = patches()
    x[1, 3, 2, 5] = bad
    loss = ScoreLoss(PRIOR, sigma=0.1, **settings)
    known = torch.ones(3, 4, 8, 8, dtype=torch.bool)  # even where it may not move, it would spoil the denoiser
    for mask in (None, known):
        with pytest.raises(
            ValueError, match=r"not finite at step 7: 1 of 768 values, the first in patch 1, channel 'disp"
        ):
            getattr(loss, where)(x, step=7, known=mask)
    with pytest.raises(ValueError, match="not finite: 1 of"):
        getattr(loss, where)(x)


def test_a_prior_that_breaks_is_named():
    class Broken(Shrink):
        def denoise(self, x, sigma):
            return torch.full_like(x, float("nan"))

    class Wrong(Shrink):
        def denoise(self, x, sigma):
            return x[:, :1]

    x = patches(2, 2, 4, 4)
    with pytest.raises(ValueError, match="The prior returned a patch that is not finite at step 3: 64 of 64"):
        ScoreLoss(Broken(), sigma=0.1)(x, step=3)
    with pytest.raises(ValueError, match=r"must return the shape of x, \(2, 2, 4, 4\), but it returned \(2, 1, 4, 4\)"):
        ScoreLoss(Wrong(), sigma=0.1)(x)
    with pytest.raises(ValueError, match="too large"):
        ScoreLoss(Shrink(), sigma=0.1)(torch.full((1, 2, 4, 4), 1e30))


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("known", "says"),
    [
        (torch.ones(3, dtype=torch.bool), r"got torch.bool of shape \(3,\). To mark whole patches: rearrange"),
        (torch.ones(8, 8, dtype=torch.bool), r"size that of the patch, \(3, 4, 8, 8\), or 1"),
        (torch.ones(3, 2, 8, 8, dtype=torch.bool), r"of shape \(3, 2, 8, 8\)"),
        (torch.ones(3, 1, 8, 8), "boolean mask .* got torch.float32"),
    ],
)
def test_masks_that_do_not_fit_are_named(known, says):
    with pytest.raises(ValueError, match=says):
        ScoreLoss(PRIOR)(patches(), SIGMA, known=known)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prior": "rooms-rgbd-24"}, r"needs a prior, .* got the name 'rooms-rgbd-24'. .*load_prior"),
        ({"weight": -1.0}, "weight >= 0, and finite, but got -1"),
        ({"weight": float("nan")}, "weight >= 0, and finite, but got nan"),
        ({"channel_weights": [1.0, 2.0]}, "2 channel_weights, but the prior knows 4 channels: r, g, b, disparity"),
        ({"channel_weights": {"depth": 1.0}}, "channel_weights for depth, but the prior knows r, g, b, disparity"),
        ({"channel_weights": {"g": -1.0}}, "channel_weights of g >= 0, and finite, but got -1"),
        ({"normalize": "max"}, "normalize='rms', but got 'max'"),
        ({"budget": -1.0}, "budget >= 0, and finite, but got -1"),
        ({"budget": 0.1, "normalize": "rms"}, "a budget in place of `weight` and `normalize`"),
        ({"budget": 0.1, "weight": 0.5}, "a budget in place of `weight` and `normalize`"),
        ({"control": GaussianFieldPrior(size=8, channels=("a",))}, "the prior's channels, r, g, b, disparity, but got"),
        ({"control": "particles"}, "`control` to be a denoiser .* but got str of none"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(settings, says):
    with pytest.raises(ValueError, match=says):
        ScoreLoss(**({"prior": PRIOR} | settings))


def test_weights_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"one weight per patch, shape \(3,\), but .* returned shape \(3, 1\)"):
        ScoreLoss(PRIOR, weight=lambda s: s[:, None])(patches(), SIGMA)
    with pytest.raises(ValueError, match="weight >= 0"):
        ScoreLoss(PRIOR, weight=lambda step: -step)(patches(), SIGMA, step=1)
    with pytest.raises(ValueError, match=r"function given as `weight` returned -"):
        ScoreLoss(PRIOR, weight=lambda s: -s)(patches(), SIGMA)
    with pytest.raises(ValueError, match=r"function given as `weight` returned nan to nan"):
        ScoreLoss(PRIOR, weight=lambda s: s * float("nan"))(patches(), SIGMA)


@pytest.mark.parametrize("sigma", ["0.1", [0.1, 0.1, 0.1], {}], ids=str)
def test_a_sigma_that_is_no_number_is_named(sigma):
    with pytest.raises(ValueError, match=f"sigma as a number, but got a {type(sigma).__name__}"):
        level_of(sigma, None, patches(), None)  # as callers without type checks have it


def test_misspelt_settings_are_refused():
    with pytest.raises(TypeError, match="weigth"):
        ScoreLoss(PRIOR, weigth=1.0)  # pyright: ignore[reportCallIssue]


# names


def test_against_is_the_deprecated_name_of_control():
    with pytest.warns(DeprecationWarning, match="`against` is deprecated: it is called `control` now"):
        loss = ScoreLoss(PRIOR, against=PRIOR)  # pyright: ignore[reportCallIssue]
    assert loss.control is PRIOR
    with pytest.raises(ValueError, match="both `control` and `against`, its old name"):
        ScoreLoss(PRIOR, control=PRIOR, against=PRIOR)  # pyright: ignore[reportCallIssue]


def test_deprecated_names_change_nothing_else():
    @renamed_arguments(old="new")
    def same(first, new):
        return first, new

    with pytest.warns(DeprecationWarning, match="`old` is deprecated: it is called `new` now"):
        assert same(1, old=2) == (1, 2)  # pyright: ignore[reportCallIssue]
    assert same(1, 2) == same(1, new=2) == (1, 2)


def weight_of_mine(sigma):
    return sigma


SETTINGS = {
    "": {},
    ", sigma=0.1, on_nonfinite='skip'": {"sigma": 0.1, "weight": 1, "on_nonfinite": "skip"},
    ", weight=square, channel_weights=[0.1, 0.1, 0.1, 1]": {"weight": torch.square, "channel_weights": {"rgb": 0.1}},
    ", weight=weight_of_mine, normalize='rms'": {"weight": weight_of_mine, "normalize": "rms"},
    ", weight=weight_of_mine": {"weight": partial(weight_of_mine)},
    ", perturb=True, control=Shrink": {"perturb": True, "control": Shrink(RGBD_NAMES)},
    ", weight=Identity": {"weight": nn.Identity()},
    ", sigma=log_linear(0.2, 0.02, 0, 99), budget=ramp(1, 0, 9)": {
        "sigma": schedules.log_linear(0.2, 0.02, 0, 99),
        "budget": schedules.ramp(1, 0, 9),
    },
}


@pytest.mark.parametrize("says", SETTINGS)
def test_repr_is_one_line_of_what_was_given(says):
    assert repr(ScoreLoss(PRIOR, **SETTINGS[says])) == f"ScoreLoss(GaussianFieldPrior{says})"


def test_repr_names_a_prior_with_a_card():
    loss = ScoreLoss(load_prior("rooms-rgbd-24"), gate=0.99)
    assert repr(loss) == "ScoreLoss(rooms-rgbd-24, gate=0.99)"
    assert repr(nn.Sequential(loss)) == "Sequential(\n  (0): ScoreLoss(rooms-rgbd-24, gate=0.99)\n)"


@pytest.mark.gpu
def test_follows_its_patch_to_the_gpu():
    prior = GaussianFieldPrior(size=8, channels=RGBD_NAMES)
    settings = {"normalize": "rms", "channel_weights": {"rgb": 0.5}}
    x = patches(dtype=torch.float32)
    on_cpu = gradient(ScoreLoss(prior, **settings), x, SIGMA.float())
    on_gpu = gradient(ScoreLoss(prior.cuda(), **settings), x.cuda(), SIGMA.float())
    assert_close(on_gpu.cpu(), on_cpu, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("sigma", [torch.tensor([0.1, 0.2]), [0.1, 0.2]], ids=["tensor", "list"])
def test_levels_of_patches_are_for_the_call(sigma):
    with pytest.raises(ValueError, match=r"One per patch is for the call: loss\(patch, torch\.as_tensor\(sigma\)\)"):
        ScoreLoss(GaussianFieldPrior(size=8, channels=("r",)), sigma=sigma)
