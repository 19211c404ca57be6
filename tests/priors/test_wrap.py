"""`wrap`: what a network is called with and may answer, its range, its errors; denoisers of other libraries."""

import dataclasses
import functools
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, Prior, ScoreLoss, load_prior, score
from scorereg.evaluation import LinearFilter
from scorereg.priors import as_deepinv, linear_betas, wrap

KEPT = [0.99, 0.9, 0.6, 0.2, 0.05]  # sigma 0.1, 0.33, 0.82, 2, 4.36
SIGMA = torch.tensor([0.4, 2.0])
X = torch.linspace(-1, 1, 24).reshape(2, 1, 3, 4)


class Recorder:
    """Keeps what it is called with, and predicts n = z / 2."""

    def __call__(self, z, time, **settings):
        self.z, self.time, self.settings = z, time, settings
        return z / 2


def gray(network, **settings):
    return wrap(network, channels=("gray",), **({"prediction": "epsilon"} | settings))


def test_a_wrapped_network_is_a_prior_with_a_card_and_works_in_the_loss():
    prior = gray(Recorder(), alphas_cumprod=KEPT, size=(3, 4), data_range=(0, 1))
    assert isinstance(prior, Prior)
    assert (prior.card.channels, prior.card.size) == (("gray",), (3, 4))
    assert (prior.card.sigma_min, prior.card.sigma_max) == pytest.approx((2 * math.sqrt(1 / 99), 2 * math.sqrt(19)))
    x = X.clone().requires_grad_()
    ScoreLoss(prior)(x, SIGMA).backward()
    assert_close(x.grad, -score(prior, X, SIGMA) / 2)


def test_data_range_scales_values_and_noise():
    """A denoiser of [0, 1] sees values and levels of [0, 1]."""
    net = Recorder()
    prior = gray(net, prediction="denoised", data_range=(0, 1))
    out = prior.denoise(X, SIGMA)
    assert_close(net.z, (X + 1) / 2)
    assert_close(net.time, SIGMA / 2)
    assert_close(out, 2 * (net.z / 2) - 1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"alphas_cumprod": KEPT}, lambda s: 3.0),
        ({"alphas_cumprod": KEPT, "time": "fraction"}, lambda s: 0.75),
        ({"alphas_cumprod": KEPT, "time": "sigma"}, lambda s: s),
        ({"alphas_cumprod": KEPT, "time": lambda i: (i + 1) / 5}, lambda s: 0.8),
        ({"sigmas": [4.0, 2.0, 1.0]}, lambda s: 1.0),
        ({"prediction": "denoised"}, lambda s: s),
        ({"time": lambda s: s.square()}, lambda s: s * s),
        ({"flow": True}, lambda s: s / (1 + s)),
        ({"flow": True, "time": "fraction"}, lambda s: s / (1 + s)),
        ({"flow": True, "time": lambda t: 1000 * t}, lambda s: 1000 * s / (1 + s)),
        ({"sigma_data": 0.5}, lambda s: math.log(s) / 4),
        ({"sigma_data": 0.5, "time": "sigma"}, lambda s: s),
        ({"alphas_cumprod": [0.2]}, lambda s: 0.0),
    ],
)
def test_time(settings, expected):
    net = Recorder()
    gray(net, **settings).denoise(X, torch.tensor([2.0, 2.0]))
    assert net.time.dtype == torch.float32
    assert net.time.tolist() == pytest.approx([expected(2.0)] * 2)


def test_whole_indices_and_bound_arguments():
    net = Recorder()
    bound = functools.partial(net, label=torch.tensor([7, 7]))
    gray(lambda z, t: bound(z, t.round().long()), alphas_cumprod=KEPT).denoise(X, SIGMA)
    assert net.time.tolist() == [1, 3]
    assert net.settings["label"].tolist() == [7, 7]


@pytest.mark.parametrize(
    "answer",
    [
        lambda out: SimpleNamespace(sample=out),
        lambda out: (out, "state"),
        lambda out: torch.cat([out, 9 + out], dim=1),
        lambda out: SimpleNamespace(sample=torch.cat([out, 9 + out], dim=1)),
    ],
)
def test_answers_of_other_forms(answer):
    plain = gray(lambda z, t: z / 2, alphas_cumprod=KEPT).denoise(X, SIGMA)
    assert_close(gray(lambda z, t: answer(z / 2), alphas_cumprod=KEPT).denoise(X, SIGMA), plain)


def test_network_gets_its_own_dtype_and_time_stays_exact():
    net = nn.Conv2d(1, 1, 1).to(torch.float16)
    seen = []

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net

        def forward(self, z, time):
            seen.append((z.dtype, time.dtype))
            return self.inner(z)

    module = Half()
    for network in (module, functools.partial(module)):
        out = gray(network, alphas_cumprod=KEPT).denoise(X, SIGMA)
        assert out.dtype == torch.float32
    assert gray(module, alphas_cumprod=KEPT).denoise(X.half(), SIGMA).dtype == torch.float16
    assert gray(Recorder(), alphas_cumprod=KEPT, dtype=torch.bfloat16).denoise(X, SIGMA).dtype == torch.float32
    assert seen == [(torch.float16, torch.float32)] * 3


class Timed(nn.Module):
    """A layer that is given a time and leaves it."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, z, t):
        return self.layers(z)


def test_nothing_is_differentiated_moved_or_changed():
    net = nn.Conv2d(1, 1, 1)
    timed = Timed(net)
    prior = gray(timed, alphas_cumprod=KEPT)
    x = X.clone().requires_grad_()
    assert not prior.denoise(x, SIGMA).requires_grad
    assert_close(x.detach(), X, rtol=0, atol=0)
    assert gray(timed, alphas_cumprod=KEPT).half().noise.sigmas.dtype == torch.float64


def test_levels_outside_the_range():
    prior = gray(Recorder(), alphas_cumprod=KEPT)
    for level in (0.05, 5.0):
        with pytest.raises(ValueError, match=r"noise levels from 0\.1005 to 4\.359 .*outside='clamp'"):
            prior.denoise(X, torch.tensor([1.0, level]))
    assert torch.isfinite(prior.denoise(X, torch.tensor([prior.card.sigma_min, prior.card.sigma_max]))).all()


def test_clamped_levels_keep_the_score_below_and_the_patch_above():
    prior = gray(Recorder(), alphas_cumprod=KEPT, outside="clamp", data_range=(0, 1))
    low, high = (torch.full((2,), edge) for edge in (prior.card.sigma_min, prior.card.sigma_max))
    assert_close(score(prior, X, low / 10), score(prior, X, low), rtol=1e-4, atol=1e-5)
    assert_close(prior.denoise(X, high * 10), prior.denoise(X, high))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prediction": "other"}, "no prediction is called 'other'; choose one of epsilon"),
        ({"betas": KEPT, "sigmas": KEPT}, "got betas and sigmas"),
        ({"time": "index"}, "time='index' counts the entries of a table"),
        ({"flow": True, "time": "index"}, "counts the entries of a table"),
        (
            {"time": "step", "alphas_cumprod": KEPT},
            "time is 'index', 'fraction', 'sigma' or a function, but got 'step'",
        ),
        ({"data_range": (1, 0), "betas": linear_betas()}, r"data_range must be \(lowest, highest\)"),
        ({"channels": (), "flow": True}, "needs the names of the network's channels"),
        ({"sigmas": KEPT, "sigma_range": (0.1, 1.0)}, "where there is no table"),
        ({"sigma_range": (2.0, 1.0), "time": "sigma"}, r"sigma_range is \(lowest, highest\)"),
        ({"betas": KEPT}, "`betas` looks like alphas_cumprod: .*Give it as alphas_cumprod="),
        ({"alphas_cumprod": linear_betas()}, "`alphas_cumprod` looks like betas: .*Give it as betas="),
        ({"channels": ("r", "g", "r"), "flow": True}, "channels must be names, each once"),
        ({"outside": "wrap", "flow": True}, "outside is 'error' or 'clamp', but got 'wrap'"),
    ],
)
@pytest.mark.usefixtures("as_user")
def test_mistakes_are_named(settings, says):
    with pytest.raises(ValueError, match=says):
        wrap(Recorder(), **({"prediction": "epsilon", "channels": ("gray",)} | settings))


def test_wrong_patches_and_answers_are_named():
    prior = gray(lambda z, t: z[..., :2], alphas_cumprod=KEPT)
    with pytest.raises(ValueError, match=r"returned shape \(2, 1, 3, 2\) for an input of shape \(2, 1, 3, 4\)"):
        prior.denoise(X, SIGMA)
    with pytest.raises(ValueError, match="a prior of 1 channels"):
        prior.denoise(X.expand(2, 3, 3, 4), SIGMA)


class Edm(nn.Module):
    """What EDM's networks say of themselves; a perfect denoiser of pixels of variance 1/4."""

    img_channels, img_resolution, sigma_min, sigma_max, use_fp16 = 3, 4, 0.0, float("inf"), True

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float16))

    def forward(self, x, sigma, class_labels=None):
        assert x.dtype == torch.float32
        return x * (0.25 / (0.25 + sigma**2))[:, None, None, None]


class Discrete(nn.Module):
    """What k-diffusion's discrete wrappers say of themselves."""

    def __init__(self):
        super().__init__()
        self.inner_model = nn.Identity()
        self.register_buffer("sigmas", torch.tensor([0.03, 1.0, 14.6]))

    def forward(self, x, sigma):
        return x * (0.25 / (0.25 + sigma**2))[:, None, None, None]


def test_denoisers_of_edm_and_k_diffusion():
    x, sigma = torch.randn(2, 3, 4, 4), torch.tensor([0.05, 10.0])
    exact = x * (0.25 / (0.25 + sigma**2))[:, None, None, None]
    edm, discrete = load_prior(Edm()), load_prior(Discrete(), channels=("r", "g", "b"))
    assert_close(edm.denoise(x, sigma), exact)
    assert_close(discrete.denoise(x, sigma), exact)
    assert (edm.channels, edm.card.size, edm.network.training) == (("r", "g", "b"), (4, 4), False)
    assert (discrete.card.sigma_min, discrete.card.sigma_max) == pytest.approx((0.03, 14.6))
    with pytest.raises(ValueError, match=r"knows noise levels from 0\.03 to 14\.6"):
        discrete.denoise(x, sigma * 2)
    with pytest.raises(ValueError, match="the channels of Discrete have no names"):
        load_prior(Discrete())
    with pytest.raises(ValueError, match="Edm has 3 channels, but channels="):
        load_prior(Edm(), channels=("gray",))


def test_a_prior_is_returned_as_it_is():
    prior = GaussianFieldPrior(size=4, channels=("gray",))
    assert load_prior(prior) is prior


@pytest.mark.parametrize("sigma", [0.2, torch.tensor(0.2), torch.tensor([0.2]), torch.full((2, 1, 1, 1), 0.2)], ids=str)
def test_there_and_back_through_the_form_of_deepinv(sigma):
    prior = GaussianFieldPrior(size=4, channels=("gray",))
    denoiser = as_deepinv(prior)
    u = torch.rand(2, 1, 4, 4)
    assert_close(denoiser(u, sigma), (prior.denoise(2 * u - 1, torch.tensor([0.4, 0.4])) + 1) / 2)
    back = wrap(denoiser, prediction="denoised", data_range=(0, 1), channels=("gray",))
    assert_close(back.denoise(u, torch.tensor([0.4, 0.1])), prior.denoise(u, torch.tensor([0.4, 0.1])))


@pytest.mark.filterwarnings("ignore")  # deepinv's own, and those of what it imports
def test_deepinv_itself_takes_and_gives_denoisers():
    """Its ScorePrior is -score; its TV denoiser, wrapped, is called in its own units."""
    deepinv = pytest.importorskip("deepinv")
    prior = GaussianFieldPrior(size=8, channels=("gray",))
    u, level = torch.rand(1, 1, 8, 8), torch.tensor([0.1])
    theirs = deepinv.optim.ScorePrior(denoiser=as_deepinv(prior)).grad(u, 0.1)
    assert_close(theirs, -2 * score(prior, 2 * u - 1, 2 * level), rtol=1e-3, atol=1e-3)
    tv = deepinv.models.TVDenoiser()
    wrapped = wrap(tv, prediction="denoised", data_range=(0, 1), channels=("gray",))
    assert_close(wrapped.denoise(2 * u - 1, 2 * level), 2 * tv(u, level) - 1, rtol=1e-4, atol=1e-4)


class Digits(nn.Module):
    """A network of another project: predicts the noise on digits in [-0.5, 0.5] and takes the time as a fraction."""

    def __init__(self, width: int = 48):
        super().__init__()
        self.register_buffer("frequencies", 2 * math.pi * 1.5 ** torch.arange(8))
        self.time = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, width))
        self.first = nn.Conv2d(1, width, 3, padding=1)
        inner = [part for _ in range(3) for part in (nn.GELU(), nn.Conv2d(width, width, 3, padding=1))]
        self.rest = nn.Sequential(*inner, nn.GELU(), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, z, time):
        phase = time[:, None] * self.frequencies
        time = self.time(torch.cat([phase.sin(), phase.cos()], dim=1))
        return self.rest(self.first(z) + time[:, :, None, None])


def train(network: nn.Module, data: torch.Tensor, kept: torch.Tensor, steps: int) -> None:
    """DDPM's loss, as its authors would have trained it, without this library."""
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(steps):
        x, step = data[torch.randint(len(data), (128,))], torch.randint(len(kept), (128,))
        noise, a = torch.randn_like(x), kept[step][:, None, None, None]
        guess = network(a.sqrt() * x + (1 - a).sqrt() * noise, step / (len(kept) - 1))
        optimizer.zero_grad()
        (guess - noise).square().mean().backward()
        optimizer.step()
        schedule.step()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of scikit-learn
def test_a_foreign_network_denoises_digits_better_than_the_best_linear_filter():
    datasets = pytest.importorskip("sklearn.datasets")
    digits = torch.from_numpy(datasets.load_digits().images).float()[:, None] / 16 - 0.5  # 1797 of 8 x 8
    network, kept = Digits(), (1 - torch.linspace(1e-4, 0.02, 1000)).cumprod(0)
    train(network, digits[:1500], kept, steps=500)

    prior = wrap(network.eval(), prediction="epsilon", alphas_cumprod=kept, time="fraction",
                 data_range=(-0.5, 0.5), channels=("gray",))  # fmt: skip
    x, rival = 2 * digits[1500:], LinearFilter(2 * digits[:1500])
    for level, best in {0.1: 0.95, 0.2: 0.9, 0.5: 0.9, 1.0: 0.9, 2.0: 0.95}.items():
        sigma = torch.full((len(x),), level)
        noised = x + level * torch.randn_like(x)
        ours, theirs = ((d.denoise(noised, sigma) - x).square().mean().item() for d in (prior, rival))
        assert ours < best * theirs, f"at sigma {level}: {ours:.4f} against {theirs:.4f}"


class Cnn(nn.Module):
    """The network that ddpm_mnist.pth belongs to, by the names and shapes in the file."""

    def __init__(self):
        super().__init__()
        widths = (1, 16, 32, 32, 16)
        self.register_buffer("frequencies", torch.zeros(16))
        layers = [nn.Linear(32, 128), nn.Linear(128, 128), nn.Linear(128, 128), nn.Linear(128, 16)]
        self.time_embed = nn.Sequential(*[part for layer in layers for part in (layer, nn.GELU())][:-1])
        blocks = [
            nn.ModuleDict({"net": nn.Sequential(nn.Conv2d(i, o, 7, padding=3), nn.LayerNorm((28, 28)), nn.GELU())})
            for i, o in itertools.pairwise(widths)
        ]
        self.blocks = nn.ModuleList([*blocks, nn.Conv2d(16, 1, 3, padding=1)])

    def forward(self, z, time):
        phase = time[:, None] * self.frequencies
        out = self.blocks[0]["net"](z) + self.time_embed(torch.cat([phase.sin(), phase.cos() - 1], 1))[:, :, None, None]
        for block in self.blocks[1:-1]:
            out = block["net"](out)
        return self.blocks[-1](out)


def test_a_published_checkpoint(data):
    """Against DDPM's own formulas in the checkpoint's own units, [-0.5, 0.5], at steps of its table."""
    state = torch.load(data("ddpm-mnist") / "ddpm_mnist.pth", map_location="cpu", weights_only=True)
    network = Cnn()
    network.load_state_dict({key[3:]: value for key, value in state.items() if key.startswith("gt.")})
    prior = wrap(network.eval(), prediction="epsilon", alphas_cumprod=state["alpha_t"], time="fraction",
                 data_range=(-0.5, 0.5), channels=("gray",))  # fmt: skip
    step = torch.tensor([3, 250, 700])
    kept = state["alpha_t"][step].double()[:, None, None, None]
    z = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        clean = (z - (1 - kept).sqrt() * network(z, step / 1000)) / kept.sqrt()
    x, sigma = 2 * z / kept.sqrt(), 2 * (1 / kept - 1).sqrt().flatten()
    assert_close(prior.denoise(x.float(), sigma.float()).double(), 2 * clean, rtol=1e-4, atol=2e-4)


def test_sides_are_extended_to_multiples():
    """By reflection at the end of each side, in one to three dimensions; what is cut off does not come back."""
    for shape in ((1, 7), (1, 5, 6), (1, 3, 4, 5)):
        seen = []

        def network(z, t, seen=seen):
            seen.append(z)
            return z / 2

        prior = wrap(network, prediction="denoised", channels=("gray",), multiple=4)
        x = torch.randn(2, *shape)
        assert_close(prior.denoise(x, torch.ones(2)), x / 2)
        sides = x.shape[2:]
        assert all(side % 4 == 0 and side - have < 4 for side, have in zip(seen[0].shape[2:], sides, strict=True))
        mirrored = seen[0][..., sides[-1] :]
        whole = seen[0][..., : sides[-1]]
        assert torch.equal(mirrored, whole.flip(-1)[..., 1 : 1 + mirrored.shape[-1]])
    with pytest.raises(ValueError, match=r"multiples of 4, and \(2, 8\) is too small to be extended by reflection"):
        prior.denoise(torch.zeros(1, 1, 2, 8), torch.ones(1))


def test_a_network_that_fails_at_another_size():
    def network(z, t):
        if z.shape[-1] != 8:
            raise RuntimeError("Sizes of tensors must match\nexcept in dimension 1.")
        if z.isnan().any():
            raise RuntimeError("a fault of its own")
        return z

    prior = wrap(network, prediction="denoised", channels=("gray",), size=(8, 8))
    prior.denoise(torch.zeros(1, 1, 8, 8), torch.ones(1))
    says = r"fails on patches of \(20, 20\) pixels \(Sizes of tensors must match\). It was made for patches of \(8, 8\)"
    with pytest.raises(ValueError, match=rf"{says}.*TiledPrior\(prior\), which evaluates 16 tiles"):
        prior.denoise(torch.zeros(1, 1, 20, 20), torch.ones(1))
    with pytest.raises(RuntimeError, match="a fault of its own"):
        prior.denoise(torch.full((1, 1, 8, 8), float("nan")), torch.ones(1))


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm2d(1)])
def test_a_network_in_training_mode_is_evaluated_all_the_same(layer):
    """Its owner's modes are as they were afterwards, those of parts among them."""
    network = Timed(nn.Conv2d(1, 1, 1), layer).train()
    network.layers[0].eval()
    prior = wrap(functools.partial(network), prediction="epsilon", betas=linear_betas(), channels=("gray",))
    x, level = torch.rand(2, 1, 8, 8), torch.ones(2)
    modes = [part.training for part in network.modules()]
    in_training = prior.denoise(x, level)
    assert [part.training for part in network.modules()] == modes
    network.eval()
    assert torch.equal(prior.denoise(x, level), in_training)


def test_a_card_that_contradicts_the_network():
    settings = {"prediction": "epsilon", "betas": linear_betas(), "channels": ("gray",)}
    own = wrap(lambda z, t: z, size=(8, 8), **settings).card
    low, high = own.sigma_min, own.sigma_max

    def given(more=None, **changes):
        return wrap(lambda z, t: z, **(settings | (more or {})), card=dataclasses.replace(own, **changes)).card

    assert given() == own
    assert given(prediction="epsilon", sigma_min=0.1, sigma_max=9.0).sigma_max == 9.0
    rounded = given(sigma_min=low * 0.995, sigma_max=high * 1.005)
    assert (rounded.sigma_min, rounded.sigma_max) == (low, high), "a rounded number is not one more level"
    for changes in ({"sigma_max": 1000.0}, {"sigma_min": 1e-4}):
        with pytest.raises(ValueError, match=r"says noise levels from .* but the network knows 0.01 to 157.4"):
            given(**changes)
    assert given({"outside": "clamp"}, sigma_max=1000.0).sigma_max == 1000.0, "clamped levels are no error"
    with pytest.raises(ValueError, match="knows 0.02 to 314.8"):
        given({"data_range": (0, 1)}, sigma_min=0.01)
    for changes in ({"prediction": "edm"}, {"network": {"predicts": "v_prediction"}}):
        with pytest.raises(ValueError, match=r"prediction='epsilon' contradicts the card of 'function', which says '"):
            given(**changes)
    with pytest.raises(ValueError, match=r"size=\(4, 4\) contradicts the card of 'function', which says \(8, 8\)"):
        given({"size": (4, 4)})
