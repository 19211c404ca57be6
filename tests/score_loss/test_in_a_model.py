"""A ScoreLoss that is part of a model: whatever is done to the model, prior and gradient stay as they were."""

import copy
import io
import pickle
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from scorereg import GaussianFieldPrior, ScoreLoss, estimators, schedules

X = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Denoiser(nn.Module):
    """With weights, running statistics, and dropout where it is in training mode."""

    channels = ("a", "b")

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(2, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.dropout = nn.Dropout(0.5)

    def denoise(self, x, sigma):
        return self.dropout(self.norm(self.layer(x)))


class Model(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.net = nn.Conv2d(2, 2, 1)
        prior = Denoiser().eval()
        self.loss = ScoreLoss(prior, sigma=0.1, **settings)
        self.before = {name: value.clone() for name, value in prior.state_dict().items()}

    def forward(self, x):
        return self.loss(self.net(x))


def formula(prior, x=X):
    """The gradient by its formula, in float32."""
    with torch.no_grad():
        return (x - prior.denoise(x, torch.full((len(x),), 0.1))) / 0.01 / len(x)


def gradient(loss, x=X, **given):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(x, **given), x)
    return found


def check(model):
    """Prior and gradient are what they were."""
    for name, value in model.loss.prior.state_dict().items():
        assert torch.equal(value, model.before[name])
    assert not any(module.training for module in model.loss.prior.modules())
    assert_close(gradient(model.loss), formula(model.loss.prior), rtol=1e-4, atol=1e-5)


def zero_weights(module):
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        nn.init.zeros_(module.weight)


def step_with_decay(model):
    model.loss.prior.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    model(X).backward()
    optimizer.step()


CHANGES = {
    "train": lambda m: m.train(),
    "half": lambda m: m.half(),
    "double": lambda m: m.double(),
    "bfloat16": lambda m: m.to(torch.bfloat16),
    "cpu": lambda m: m.to("cpu"),
    "channels last": lambda m: m.to(memory_format=torch.channels_last),
    "to_empty": lambda m: m.to_empty(device="cpu"),
    "meta and back": lambda m: m.to("meta").to_empty(device="cpu"),
    "share_memory": lambda m: m.share_memory(),
    "apply": lambda m: m.apply(zero_weights),
    "requires_grad": lambda m: m.requires_grad_(False),
    "zero_grad": lambda m: m.zero_grad(),
    "load": lambda m: m.load_state_dict(m.state_dict(), strict=True),
    "load, assign": lambda m: m.load_state_dict(m.state_dict(), strict=True, assign=True),
    "weight decay": step_with_decay,
    "SyncBatchNorm": nn.SyncBatchNorm.convert_sync_batchnorm,
    "spectral norm": lambda m: nn.utils.parametrizations.spectral_norm(m.net),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("settings", [{}, {"channel_weights": [1.0, 1.0]}], ids=str)
def test_what_is_done_to_a_model_is_not_done_to_its_prior(change, settings):
    model = Model(**settings)
    CHANGES[change](model)
    check(model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("normalize", [None, "rms"])
def test_a_model_of_another_precision_trains(dtype, normalize):
    model = Model(normalize=normalize).to(dtype)
    model(X.to(dtype)).backward()
    assert model.net.weight.grad.dtype == dtype
    assert model.net.weight.grad.abs().sum() > 0
    assert_close(model.loss.channel_groups, torch.eye(2), rtol=0, atol=0)


def test_groups_keep_their_digits_in_half_precision():
    prior = GaussianFieldPrior(size=8, channels=("r", "g", "b"))
    model = nn.ModuleList([ScoreLoss(prior, sigma=0.1, normalize="rms")])
    x = torch.randn(1, 3, 8, 8)
    before = gradient(model[0], x)
    assert_close(gradient(model.half()[0], x), before, rtol=0, atol=0)


def test_a_model_lists_nothing_of_its_prior():
    model = Model(control=Denoiser().eval())
    prior = model.loss.prior
    assert {name for name, _ in model.named_parameters()} == {"net.weight", "net.bias"}
    assert set(model.state_dict()) == {"net.weight", "net.bias"}
    assert not list(model.named_buffers())
    assert all(module is not prior for module in model.modules())
    assert "layer.weight" in model.loss.prior.state_dict(), "its weights are there for whom asks for them"
    with pytest.raises(RuntimeError, match=r"Missing key.*net.bias"):
        model.load_state_dict({"net.weight": model.state_dict()["net.weight"]})


def test_a_prior_that_is_replaced_is_held_alike():
    model, other = Model(), Denoiser().eval()
    model.loss.prior = other
    assert model.loss.prior is other
    assert set(model.state_dict()) == {"net.weight", "net.bias"}
    assert_close(gradient(model.loss), formula(other), rtol=1e-4, atol=1e-5)


def test_the_owner_of_a_prior_may_do_what_he_likes():
    model = Model()
    model.loss.prior.train()
    model.eval()
    assert model.loss.prior.dropout.training


def test_denoisers_follow_to_another_device():
    """What a move calls, without such a device; another precision, or a device without memory, is not followed."""
    moved = []

    class Follower(Denoiser):
        def to(self, *args):
            moved.append(args)
            return self

    loss = ScoreLoss(Follower().eval(), sigma=0.1, control=Follower())
    loss.half().to("meta")
    assert moved == []
    there = torch.device("cuda", 0)
    loss._apply(lambda tensor: SimpleNamespace(device=there))
    assert moved == [(there,), (there,)]


@pytest.mark.gpu
def test_a_model_moves_to_the_gpu_with_its_prior():
    model = Model().cuda()
    assert model.loss.prior.layer.weight.is_cuda
    assert_close(gradient(model.loss, X.cuda()).cpu(), formula(model.loss.prior.cpu()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: torch.optim.swa_utils.AveragedModel(m).module],
    ids=["deepcopy", "pickle", "average"],
)
def test_copies_have_a_prior_of_the_same_weights(copied):
    model = copied(Model())
    check(model)
    model.train()
    check(model)


def test_a_saved_model_is_loaded_whole():
    model, file = Model(), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    check(torch.load(file, weights_only=False))


SETTINGS = [
    schedules.constant(0.2),
    schedules.linear(0.1, 0.2, 0, 9),
    schedules.log_linear(0.2, 0.05, 0, 9),
    schedules.cosine(0.2, 0.1, 0, 9),
    schedules.ramp(0.3, 0, 9),
    schedules.diffusionerf(0, 9),
]


@pytest.mark.parametrize("sigma", SETTINGS, ids=repr)
def test_schedules_are_pickled_with_a_loss(sigma):
    loss = ScoreLoss(GaussianFieldPrior(8, ("a", "b")), sigma=sigma)
    again = pickle.loads(pickle.dumps(loss))
    assert again(X, step=4) == loss(X, step=4)
    assert repr(again) == repr(loss)


@pytest.mark.parametrize("name", ["direct", "red", "sds", "sdi", "red_diff"])
def test_estimators_are_pickled(name):
    loss = getattr(estimators, name)(GaussianFieldPrior(8, ("a", "b")), sigma=0.3)
    again = pickle.loads(pickle.dumps(loss))
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    assert again(X, generator=seeds[0]) == loss(X, generator=seeds[1])


def test_an_attached_module_is_pickled_and_copied():
    torch.manual_seed(0)
    module, prior = nn.Conv2d(2, 2, 1), Denoiser().eval()
    ScoreLoss(prior, sigma=0.1).attach(module)
    (0 * module(X)).sum().backward()
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        again.zero_grad()
        (0 * again(X)).sum().backward()
        assert_close(again.weight.grad, module.weight.grad)
    assert module.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.usefixtures("as_user")
@pytest.mark.filterwarnings("ignore")  # of torch's own, as it traces
def test_compiled_models_have_the_same_gradient(backend):
    torch._dynamo.reset()
    model = Model()
    model(X).backward()
    exact = model.net.weight.grad.clone()
    model.zero_grad()
    torch.compile(model, backend=backend)(X).backward()
    assert_close(model.net.weight.grad, exact)
    check(model)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_models_have_the_same_gradient(reentrant):
    model = Model()
    model(X).backward()
    exact = model.net.weight.grad.clone()
    model.zero_grad()
    checkpoint(model, X.clone().requires_grad_(), use_reentrant=reentrant).backward()
    assert_close(model.net.weight.grad, exact)


@pytest.mark.parametrize("way", ["hook", "attach"])
def test_checkpointed_hooks_add_the_gradient(way):
    loss, module = ScoreLoss(Denoiser().eval(), sigma=0.1), nn.Identity()
    run = loss.hook
    if way == "attach":
        loss.attach(module)
        run = module
    x = X.clone().requires_grad_()
    (0 * checkpoint(run, x, use_reentrant=False)).sum().backward()
    assert_close(x.grad, formula(loss.prior), rtol=1e-4, atol=1e-5)


def test_data_parallel_and_functional_calls():
    model = Model()
    model(X).backward()
    exact = model.net.weight.grad.clone()
    model.zero_grad()
    nn.DataParallel(model)(X).backward()
    assert_close(model.net.weight.grad, exact)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    by_function = torch.func.grad(lambda weights: torch.func.functional_call(model, weights, (X,)))(weights)
    assert_close(by_function["net.weight"], exact)


def test_gradients_are_accumulated_and_scaled():
    loss = ScoreLoss(Denoiser().eval(), sigma=0.1)
    x = X.clone().requires_grad_()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD([x], lr=1.0)
    for _ in range(4):
        scaler.scale(loss(x) / 4).backward()
    scaler.unscale_(optimizer)
    assert_close(x.grad, formula(loss.prior), rtol=1e-4, atol=1e-5)


def test_partials_of_settings_are_pickled():
    loss = ScoreLoss(Denoiser().eval(), sigma=0.1, weight=partial(torch.pow, exponent=2))
    assert pickle.loads(pickle.dumps(loss))(X) == loss(X)


def test_weights_of_a_prior_in_an_older_file_are_left_out_with_a_word():
    model = nn.Sequential(nn.Linear(2, 2), ScoreLoss(Denoiser(), sigma=0.3))
    old = {**model.state_dict(), "1.prior.network.weight": torch.ones(2), "1.control.bias": torch.ones(2)}
    with pytest.warns(UserWarning, match="2 weights of a denoiser, such as 1.prior.network.weight, are left out"):
        model.load_state_dict(old)
    with pytest.raises(RuntimeError, match="1.other"):
        model.load_state_dict({**model.state_dict(), "1.other": torch.ones(1)})
