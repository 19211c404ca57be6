"""`restore` on fields and operators whose answers are known, and what it says of mistakes."""

import time

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, PriorCard, restore, sample_posterior
from scorereg.priors import NetworkPrior, build_network, from_denoiser
from scorereg.restoration.denoising import ImageDenoiser
from scorereg.restoration.problem import Problem
from scorereg.restoration.proximal import proximal_step

SIDE = 8
PRIOR = GaussianFieldPrior(size=SIDE, channels=("gray",), slope=2.0)
MASK = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) > 0.5
QUIET = {"show": False, "noise": 0.1}


def masked(x):
    return x * MASK


def field(count=1, seed=1):
    return PRIOR.sample(count, generator=torch.Generator().manual_seed(seed)).float()


def posterior_mean(y, noise, weight=1.0):
    """The mode of p(y | x) p(x)^weight by dense linear algebra, for `masked`."""
    pixels = torch.eye(SIDE**2, dtype=torch.float64).reshape(-1, 1, SIDE, SIDE)
    covariance = torch.fft.ifft2(PRIOR.power * torch.fft.fft2(pixels)).real.reshape(SIDE**2, SIDE**2)
    precision = weight * torch.linalg.inv(covariance) + torch.diag(MASK.flatten().double()) / noise**2
    right = (masked(y).double() / noise**2).flatten(1)
    return torch.linalg.solve(precision, right.T).T.reshape(y.shape).float()


@pytest.mark.parametrize(
    ("method", "settings", "tolerance"),
    [
        ("hqs", {"weight": 1.0, "steps": 300, "sigma": (1.0, 0.02)}, 0.06),
        ("annealed", {"sigma": (1.0, 0.03), "steps": 300}, 0.06),
        ("red", {"sigma": (0.03, 0.03), "steps": 300}, 0.06),
        ("mean", {"draws": 64, "sigma": (5.0, 0.02), "steps": 40}, 0.1),
    ],
)
def test_methods_find_the_mode_of_a_gaussian(method, settings, tolerance):
    truth = field(2)
    y = masked(truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(2)))
    found = restore(masked, y, PRIOR, method=method, **settings, **QUIET)
    exact = posterior_mean(y, 0.1)
    assert ((found.image - exact).norm() / exact.norm()).item() < tolerance
    assert found.calls == settings["steps"]
    assert len(found.residuals) == (1 if method == "mean" else settings["steps"])


def test_red_diff_comes_near_the_measurement_and_the_field():
    truth = field()
    found = restore(masked, masked(truth), PRIOR, method="red-diff", **QUIET)
    assert ((found.image - truth) * MASK).abs().mean() < 0.1
    assert (found.image - truth).norm() < (masked(truth) - truth).norm()


def test_the_data_step_solves_its_equations():
    """Against a dense solve, with noise by value and a complex measurement."""
    y = torch.fft.fft2(field(2))[..., :5]
    noise = 0.5 + torch.rand(y.shape, generator=torch.Generator().manual_seed(0))
    problem = Problem(lambda x: torch.fft.fft2(x)[..., :5], y, noise, (2, 1, SIDE, SIDE))
    z = field(2, seed=5)
    x = proximal_step(problem, z, 0.3, iterations=200)
    for image, near, given, each in zip(x, z, y, noise, strict=True):
        pixels = torch.eye(SIDE**2).reshape(-1, 1, SIDE, SIDE)
        rows = torch.view_as_real(torch.fft.fft2(pixels)[..., :5] / each).flatten(1).T
        right = rows.T @ torch.view_as_real(given / each).flatten() + near.flatten() / 0.3**2
        exact = torch.linalg.solve(rows.T @ rows + torch.eye(SIDE**2) / 0.3**2, right)
        assert_close(image.flatten(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("measure", "linear"),
    [
        (masked, True),
        (lambda x: x[..., ::2] + 3, True),
        (lambda x: x.mean((1, 2, 3)), True),
        (lambda x: torch.fft.fft2(x), True),
        (lambda x: x.square(), False),
        (lambda x: x.clamp(0, 1), False),
        (lambda x: torch.fft.fft2(x).abs(), False),
    ],
)
def test_linear_operators_are_told(measure, linear):
    y = measure(torch.zeros(2, 1, SIDE, SIDE))
    assert Problem(measure, y, 0.1, (2, 1, SIDE, SIDE)).linear is linear


def test_an_operator_that_is_not_linear_is_inverted():
    truth = field()
    y = (2 * truth).tanh()
    found = restore(lambda x: (2 * x).tanh(), y, PRIOR, noise=0.02, show=False)
    assert (found.image - truth).abs().mean() < 0.05
    assert found.residuals[-1] < 3


def test_images_are_in_the_users_range_and_others_in_prior_space():
    truth = field()
    inside = restore(masked, masked(truth), PRIOR, **QUIET).image
    outside = restore(
        lambda u: masked(2 * u - 1), masked(truth), PRIOR, noise=0.1, data_range=(0, 1), show=False
    ).image  # the same measurement, of images in [0, 1]
    assert_close(outside, (inside + 1) / 2, rtol=1e-3, atol=1e-3)
    photo = masked((truth + 1) / 2)
    byte = restore(masked, 255 * photo, PRIOR, noise=12.75, data_range=(0, 255), show=False)
    unit = restore(masked, photo, PRIOR, noise=0.05, data_range=(0, 1), show=False)
    assert_close(byte.image / 255, unit.image, rtol=1e-3, atol=1e-3)


def test_a_measurement_in_0_1_of_a_prior_on_minus_1_1_is_warned_of():
    with pytest.warns(UserWarning, match=r"y lies in \[.*give data_range=\(0, 1\)"):
        restore(masked, masked(torch.rand(1, 1, SIDE, SIDE)), PRIOR, steps=1, **QUIET)


def test_known_values_stay_to_the_bit():
    truth = field()
    start = torch.where(MASK, truth, 0.0)
    found = restore(lambda x: x.mean((2, 3)), truth.mean((2, 3)), PRIOR, start=start, known=MASK, **QUIET)
    assert torch.equal(found.image[MASK], truth[MASK])
    assert (found.image - truth)[~MASK].square().mean() < truth[~MASK].square().mean()
    for method in ("annealed", "red", "red-diff"):
        found = restore(masked, start, PRIOR, start=start, known=MASK, method=method, steps=3, **QUIET)
        assert torch.equal(found.image[MASK], truth[MASK])
    photo = torch.rand(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2)) / 3  # whose way to [-1, 1] rounds
    found = restore(masked, masked(photo), PRIOR, start=photo, known=MASK, data_range=(0, 1), steps=2, **QUIET)
    assert torch.equal(found.image[MASK], photo[MASK])


def test_it_stops_by_the_discrepancy_image_by_image():
    truth = torch.cat([field(), 0.01 * field(seed=9)])  # the second is explained at once
    y = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(4))
    whole = restore(lambda x: x, y, PRIOR, **QUIET)
    stopped = restore(lambda x: x, y, PRIOR, discrepancy=1.05, **QUIET)
    assert stopped.steps < whole.steps
    assert (stopped.image - y).square().flatten(1).mean(1).sqrt().max() <= 0.1051
    alone = restore(lambda x: x, y[1:], PRIOR, discrepancy=1.05, **QUIET)
    assert_close(stopped.image[1:], alone.image, rtol=1e-3, atol=1e-4)


class Where(nn.Module):
    """A denoiser of patches of 8 pixels that keeps all, and notes the sizes it was given."""

    channels = ("gray",)
    card = PriorCard("where", ("gray",), (8, 8), 0.01, 5.0, depth=None)

    def __init__(self):
        super().__init__()
        self.shapes = []

    def denoise(self, x, sigma):
        self.shapes.append(tuple(x.shape))
        return x


@pytest.mark.parametrize("tiles", ["shifted", "blended"])
@pytest.mark.parametrize("space", [(8, 8), (8, 21), (31, 17)])
def test_larger_images_are_denoised_in_tiles_that_move(tiles, space):
    prior = Where()
    denoiser = ImageDenoiser(prior, space, tiles=tiles)
    x = torch.randn(2, 1, *space, generator=torch.Generator().manual_seed(0))
    for _ in range(8):
        assert_close(denoiser.at(x, 0.1), x)
    assert {shape[2:] for shape in prior.shapes} == {(8, 8)}
    assert denoiser.calls == 8
    if tiles == "shifted" and space == (31, 17):
        assert len({shape[0] for shape in prior.shapes}) > 1, "as many tiles every time would be the same places"
    with pytest.raises(ValueError, match=r"patches of \(8, 8\) pixels, and the image has \(7, 9\)"):
        ImageDenoiser(prior, (7, 9), tiles=tiles)


@pytest.mark.usefixtures("as_user")
def test_measurement_and_prior_of_another_kind_are_refused():
    y = masked(field())
    good = {"measure": masked, "y": y, "prior": PRIOR, **QUIET}

    def says(message, **change):
        with pytest.raises(ValueError, match=message):
            restore(**(good | change))

    says("the text 'rooms-rgbd-24'. Give load_prior", prior="rooms-rgbd-24")
    says("noise is the standard deviation .* must be > 0, but is 0", noise=0)
    says("noise must be a number or a tensor, but is '0.1'", noise="0.1")
    says("measure must be a function of images, but is a NoneType", measure=None)
    says(r"or y\[None\] if it is one image", y=y[0])
    says("noise has the shape", noise=torch.ones(3, 5))
    says("y must be a tensor of floats", y=y.long())
    says("y has values that are NaN", y=y / 0)
    says("y needs a batch first", y=torch.zeros(5))
    says("no method is called 'dpir'; choose one of hqs", method="dpir")
    says("steps must be an integer >= 1", steps=0)
    says("sigma falls", sigma=(0.1, 1.0))
    says("weight is the strength", weight=-1)
    says(r"Give size=\(height, width\)", y=y.flatten(1), measure=lambda x: masked(x).flatten(1))
    says("measure makes", measure=lambda x: x[..., ::2])
    says("measure has no gradient", measure=lambda x: masked(x.detach()))
    says("another answer each time", measure=lambda x: x + 0.1 * torch.randn_like(x))
    says("must return a tensor", measure=lambda x: x.numpy())
    says("known= says which values", known=MASK)
    says("known must be a boolean", known=MASK.float(), start=y)
    says("start must be images of 1 channels", start=torch.zeros(1, 3, 8, 8))
    says("discrepancy is a residual", discrepancy=0)
    says("data_range must rise", data_range=(1, 0))
    says("tiles is one of shifted, blended, none, but is 'shift'", tiles="shift")
    says("rate is the learning rate of Adam and must be > 0, but is 0", rate=0, method="red")
    says("discrepancy is .* but is True", discrepancy=True)
    says("seed must be an integer >= 0, but is 1.5", seed=1.5)
    says("draws must be an integer >= 1, but is 2.5", draws=2.5, method="mean")
    says("linear must be True, False, or None", linear="yes")
    says("start must be images of finite floats", start=y / 0)


@pytest.mark.usefixtures("as_user")
def test_samplers_refuse_what_they_cannot():
    y = field().square()
    for method in ("pigdm", "moment", "langevin"):
        with pytest.raises(ValueError, match="is for linear operators"):
            sample_posterior(lambda x: x.square(), y, PRIOR, method=method, data_range=(-1, 1), **QUIET)
    hard = from_denoiser(lambda x, s: x, channels=("gray",), data_range=(-1, 1))
    hard.denoise = torch.no_grad()(hard.denoise)
    with pytest.raises(ValueError, match="needs the gradient of the denoiser"):
        sample_posterior(masked, masked(field()), hard, method="dps", steps=2, sigma=(1, 0.1), **QUIET)
    for name, value in (("zeta", 2), ("clip", -1), ("weight", 0), ("spread", "a"), ("step", 1.5), ("chunk", 0)):
        with pytest.raises(ValueError, match=f"{name} .*must be .*, but is {value!r}"):
            sample_posterior(masked, masked(field()), PRIOR, **{name: value}, **QUIET)
    with pytest.raises(ValueError, match="levels must be at least two"):
        sample_posterior(masked, masked(field()), PRIOR, levels=torch.tensor([0.1, 1.0]), **QUIET)


def test_draws_repeat_and_differ_and_come_in_chunks():
    y = masked(field())
    first, again = (sample_posterior(masked, y, PRIOR, draws=3, steps=5, **QUIET) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert first.std.min() > 0
    assert first.calls == 5
    parts = sample_posterior(masked, y, PRIOR, draws=3, steps=5, chunk=2, **QUIET)
    assert parts.images.shape == first.images.shape
    assert parts.calls == 10
    other = sample_posterior(masked, y, PRIOR, draws=3, steps=5, seed=1, **QUIET)
    assert not torch.equal(first.images, other.images)


def test_progress_is_said_when_it_takes_long(monkeypatch, capsys):
    monkeypatch.setattr("scorereg._progress.EVERY", 0.05)

    def slow(x):
        time.sleep(0.1)
        return masked(x)

    restore(slow, masked(field()), PRIOR, noise=0.1, steps=2, linear=True)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("hqs, step: 1 of 2, residual ") for line in lines)
    restore(slow, masked(field()), PRIOR, noise=0.1, steps=2, linear=True, show=False)
    assert not capsys.readouterr().err


def test_a_network_in_tiles_restores_and_is_differentiated():
    torch.manual_seed(0)
    card = PriorCard("net", ("gray",), (8, 8), 0.01, 5.0, depth=None)
    network = build_network("tiny", patch_size=8, channels=1, patchify=1)
    prior = NetworkPrior(network, card).eval().requires_grad_(False)
    y = torch.randn(1, 1, 8, 12)
    for method in ("dps", "pigdm", "moment"):
        found = sample_posterior(lambda x: x, y, prior, method=method, steps=3, draws=2, **QUIET)
        assert torch.isfinite(found.images).all()
    assert not prior.denoise(y[..., :8].requires_grad_(), torch.tensor([0.1])).requires_grad, "as before"
