"""Uses of ScoreLoss beyond a plain call: each has the gradient of the formula, or ends in one line with a cure."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.testing import assert_close

from scorereg import ScoreLoss, load_prior, schedules

pytestmark = pytest.mark.usefixtures("as_user")
NAMES = ("r", "g", "b", "disparity")
X = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


class Network(nn.Module):
    """A plain module as a prior, without any care for types, as users write it."""

    channels = NAMES

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 3, padding=1)

    def denoise(self, x, sigma):
        return self.layer(x)


torch.manual_seed(0)
PRIOR = Network().eval()
LOSS = ScoreLoss(PRIOR, sigma=0.1)


def formula(x=X, prior=PRIOR):
    with torch.no_grad():
        return (x - prior.denoise(x, torch.full((len(x),), 0.1))) / 0.01 / len(x)


def near(found, expected=None, **tolerance):
    expected = formula() if expected is None else expected
    assert_close(found.float(), expected, **(tolerance or {"rtol": 1e-4, "atol": 1e-4}))


# ways to a derivative

# torch's forward mode compiles decompositions when it is first used
forward_mode = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


def test_functional_derivatives():
    near(torch.func.grad(LOSS)(X))
    near(torch.func.grad_and_value(LOSS)(X)[0])
    near(torch.func.jacrev(LOSS)(X))
    near(torch.func.vjp(LOSS, X)[1](torch.ones(()))[0])
    near(torch.func.grad(lambda x: 0 * LOSS.hook(x).sum())(X))
    near(torch.autograd.functional.jacobian(LOSS, X))
    x = X.clone().requires_grad_()
    (batched,) = torch.autograd.grad(LOSS(x), x, torch.tensor([1.0, 2.0]), is_grads_batched=True)
    near(batched[1], 2 * formula())


@forward_mode
def test_directional_derivatives():
    direction = torch.randn(X.shape)
    expected = (formula() * direction).sum()
    assert_close(torch.func.jvp(LOSS, (X,), (direction,))[1], expected)
    near(torch.func.jacfwd(LOSS)(X))
    with forward_ad.dual_level():
        value = LOSS(forward_ad.make_dual(X, direction))
        assert_close(forward_ad.unpack_dual(value).tangent, expected)


def hessian_vector_product(loss, x):
    torch.autograd.functional.hvp(loss, x, x)


def gradient_penalty(loss, x):
    x = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss(x), x, create_graph=True)
    near(first.detach())
    first.square().sum().backward()


@forward_mode
@pytest.mark.parametrize(
    "use",
    [
        gradient_penalty,
        hessian_vector_product,
        lambda loss, x: torch.func.hessian(loss)(x),
        lambda loss, x: gradient_penalty(lambda x: 0 * loss.hook(x).sum(), x),
    ],
)
def test_second_derivatives_are_refused_and_never_zero_in_silence(use):
    with pytest.raises(ValueError, match="has no derivative: double backward, Hessians and create_graph"):
        use(LOSS, X)


def test_a_graph_for_second_derivatives_harms_nobody_who_does_not_ask_for_them():
    x = X.clone().requires_grad_()
    (first,) = torch.autograd.grad(LOSS(x) + 0 * x.sum(), x, create_graph=True)
    near(first.detach())


class Lists:
    """A prior that looks at its levels first, as networks do."""

    channels = LOSS.prior.channels

    def denoise(self, x, sigma):
        return x * sigma.tolist()[0]


@pytest.mark.parametrize(
    "use",
    [
        lambda: torch.func.vmap(lambda x: LOSS(x[None]))(X),
        lambda: torch.func.vmap(lambda x: LOSS.hook(x[None]))(X),
        lambda: torch.func.vmap(torch.func.grad(lambda x: LOSS(x[None])))(X),
        lambda: torch.func.vmap(lambda x, s: LOSS(x[None], s[None]))(X, torch.tensor([0.1, 0.2])),
        lambda: torch.func.vmap(lambda x: ScoreLoss(Lists(), sigma=0.1)(x[None]))(X),
    ],
)
def test_vmap_is_refused_in_one_line(use):
    with pytest.raises(ValueError, match=r"cannot run under torch.vmap .* takes batches by itself"):
        use()


@forward_mode
def test_forward_mode_through_a_hook_would_leave_the_prior_out():
    with forward_ad.dual_level(), pytest.raises(ValueError, match="exists in backward passes only"):
        LOSS.hook(forward_ad.make_dual(X.clone().requires_grad_(), X))


def test_attached_modules_inside_torch_func_are_refused():
    module = nn.Conv2d(4, 4, 1)
    LOSS.attach(module)
    weights = {name: value.detach() for name, value in module.named_parameters()}
    with pytest.raises(ValueError, match=r"not inside torch.func"):
        torch.func.grad(lambda w: torch.func.functional_call(module, w, (X,)).sum())(weights)


# modes


def test_modes_without_a_graph():
    with torch.inference_mode():
        made = X.clone()
        assert not LOSS(made).requires_grad
        LOSS.hook(made)
    assert_close(LOSS(made), LOSS(X))
    near(LOSS.gradient(made))
    with torch.no_grad():
        assert not LOSS(X.clone().requires_grad_()).requires_grad


def test_default_type_and_device_do_not_matter():
    x = X.clone().requires_grad_()
    torch.set_default_dtype(torch.float64)
    try:
        near(torch.autograd.grad(ScoreLoss(PRIOR, sigma=0.1, channel_weights=[1, 1, 1, 1])(x), x)[0])
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        loss = ScoreLoss(PRIOR, sigma=0.1, channel_weights=[1, 1, 1, 1], normalize=None)
        near(torch.autograd.grad(loss(x), x)[0])


def test_saved_tensors_may_be_moved_away_and_back():
    x = X.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy().copy(), torch.from_numpy):
        LOSS(x).backward()
    near(x.grad)


def test_an_export_is_refused_in_one_line():
    with pytest.raises(ValueError, match="cannot be exported; export the model without it"):
        torch.export.export(ScoreLoss(PRIOR, sigma=0.1), (X,))


def test_a_hook_that_cannot_add_anything_says_so():
    with pytest.warns(UserWarning, match="does not require grad, so nothing can be added"):
        LOSS.hook(X)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        LOSS.hook(X)


# patches


@pytest.mark.parametrize(
    "patch",
    [
        X.contiguous(memory_format=torch.channels_last),
        X.transpose(2, 3),
        X.flip(3),
        X[:1].expand(3, 4, 8, 8),
        torch.rand(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))[..., ::2, ::2],
        nn.Parameter(X.clone()),
    ],
    ids=["channels last", "transposed", "flipped", "expanded", "strided", "parameter"],
)
def test_any_memory_layout(patch):
    x = patch.detach().requires_grad_()
    (found,) = torch.autograd.grad(LOSS(x), x)
    assert found.shape == x.shape
    near(found, formula(x.detach().clone(memory_format=torch.contiguous_format)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_any_precision_with_a_network_of_single_precision(dtype):
    x = X.to(dtype).requires_grad_()
    (found,) = torch.autograd.grad(LOSS(x), x)
    assert found.dtype == dtype
    near(found, formula(x.detach().float()), rtol=1e-2, atol=1e-1)


def test_patches_that_are_changed_in_place():
    x = X.clone().requires_grad_()
    whole = 1 * x
    part = whole[:1]
    part.mul_(0.5)
    LOSS(whole).backward()
    seen = X.clone()
    seen[:1] *= 0.5
    expected = formula(seen)
    expected[:1] *= 0.5
    near(x.grad, expected)
    later = X.clone().requires_grad_()
    value = LOSS(later)
    with torch.no_grad():
        later.zero_()  # as an optimizer does
    value.backward()
    near(later.grad)


UNUSABLE = {
    "array": (X.numpy(), r"as a torch tensor .* but got a ndarray. .* call loss.gradient\(array\)"),
    "list": (X.tolist(), "but got a list"),
    "none": (None, "but got a NoneType"),
    "text": ("photo.png", "but got a str"),
    "dict": ({"rgb": X}, "but got a dict"),
    "sparse": (X.to_sparse(), r"sparse_coo tensor. Give patch.to_dense\(\)"),
    "meta": (X.to("meta"), "on the meta device"),
    "integers": ((X * 100).int(), "floating-point numbers, but got torch.int32"),
    "bytes": ((X.abs() * 100).byte(), r"torch.uint8. .* patch / 127.5 - 1"),
    "complex": (X.to(torch.complex64), "torch.complex64"),
    "bool": (X > 0, "torch.bool"),
    "number": (torch.tensor(1.0), r"shape \(\)"),
    "no patch": (X[:0], "at least one patch"),
    "no pixel": (X[..., :0], r"shape \(2, 4, 8, 0\)"),
    "one patch": (X[0], r"patch\[None\]"),
    "last": (torch.rand(2, 8, 8, 4), r"Channels come second, not last: rearrange\(patch, 'b h w c -> b c h w'\)"),
    "last, one": (torch.rand(8, 8, 4), r"rearrange\(patch, 'h w c -> 1 c h w'\)"),
    "colours": (torch.rand(2, 3, 8, 8), "so 3 channels, but the prior knows 4"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
@pytest.mark.parametrize("way", ["forward", "hook"])
def test_what_is_no_patch_is_named_with_a_cure(kind, way):
    patch, says = UNUSABLE[kind]
    with pytest.raises(ValueError, match=says) as caught:
        getattr(LOSS, way)(patch)
    assert "\n" not in str(caught.value)


def test_tensors_of_other_storage_are_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that these are prototypes
        nested = torch.nested.nested_tensor([X[0], X[1][:, :6]])
        coded = torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)
        rows = X[0, 0].to_sparse_csr()
    for patch, says in ((nested, "nested tensor. Give patches of one size"), (coded, r"patch.dequantize\(\)"),
                        (rows, "sparse_csr"), (X.to_mkldnn(), "_mkldnn tensor")):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            LOSS(patch)


# arguments


class Returns:
    channels = NAMES

    def __init__(self, make):
        self.make = make

    def denoise(self, x, sigma):
        return self.make(x)


MISTAKES = {
    "known as array": (lambda: LOSS(X, known=np.zeros((2, 1, 8, 8), bool)), "got a ndarray. Make it a tensor"),
    "known as list": (lambda: LOSS(X, known=[True, False]), "got a list. Make it a tensor"),
    "known without channels": (lambda: LOSS(X, known=torch.zeros(2, 8, 8) > 1), r"in all channels: known\[:, None\]"),
    "known on meta": (lambda: LOSS(X, known=(X > 2).to("meta")), "meta device"),
    "sigma as list": (lambda: LOSS(X, [0.1, 0.2]), r"got a list: .* One per patch is for the call: loss.patch, "),
    "sigma as array": (lambda: LOSS(X, np.array([0.1, 0.2])), "got a ndarray"),
    "sigma as bool": (lambda: LOSS(X, True), "sigma as a number, but got a bool"),
    "complex sigma": (lambda: LOSS(X, torch.tensor([0.1 + 0j] * 2)), "a tensor that is complex"),
    "sigma on meta": (lambda: LOSS(X, torch.full((2,), 0.1, device="meta")), "on the meta device"),
    "sigma to learn": (lambda: LOSS(X, torch.tensor(0.1, requires_grad=True)), r"no gradient to sigma.*sigma.detach"),
    "weight to learn": (lambda: ScoreLoss(PRIOR, weight=nn.Parameter(torch.tensor(1.0))), "no gradient to weight"),
    "step as text": (lambda: ScoreLoss(PRIOR, sigma=schedules.linear(1, 2, 0, 9))(X, step="3"), "step as a number"),
    "seed": (lambda: ScoreLoss(PRIOR, sigma=0.1, perturb=True)(X, generator=0), r"For a seed: torch.Generator\(\)"),
    "scaler": (lambda: LOSS.hook(X, scaler=2.0), "GradScaler of the training, but it is a float"),
    "perturb": (lambda: ScoreLoss(PRIOR, perturb="yes"), "perturb=True, False or a function"),
    "noise of none": (lambda: ScoreLoss(PRIOR, sigma=0.1, perturb=lambda x, s: None)(X), "it returned a NoneType"),
    "one factor": (lambda: ScoreLoss(PRIOR, channel_weights=0.5), "one number for each of r, g, b, disparity"),
    "class": (lambda: ScoreLoss(Network), r"got the class Network, and not an object of it"),
    "tuple of prior": (lambda: ScoreLoss(Returns(lambda x: (x,)), sigma=0.1)(X), "it returned a tuple"),
    "array of prior": (lambda: ScoreLoss(Returns(lambda x: x.numpy()), sigma=0.1)(X), "it returned a ndarray"),
    "complex prior": (lambda: ScoreLoss(Returns(torch.fft.fft2), sigma=0.1)(X), "it returned torch.complex64"),
    "prior in place": (lambda: ScoreLoss(Returns(lambda x: x.mul_(0.5)), sigma=0.1)(X.clone()), "changed x in place"),
    "half prior": (lambda: ScoreLoss(Network().half(), sigma=0.1)(X), "weights of Network are torch.float16"),
    "double prior": (lambda: ScoreLoss(Network().double(), sigma=0.1)(X), "float64, but the patch is torch.float32"),
    "meta prior": (lambda: ScoreLoss(Network().to("meta"), sigma=0.1)(X), "on the meta device, and have no values"),
    "no module": (lambda: LOSS.attach(lambda x: x), r"needs a torch.nn.Module, .* patch = loss.hook\(patch\)"),
    "name of an entry": (lambda: LOSS.attach(nn.Identity(), select="rgb"), r"select=lambda out: out\['rgb'\]"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_arguments_that_cannot_be_meant_are_named(mistake):
    use, says = MISTAKES[mistake]
    with pytest.raises(ValueError, match=says) as caught:
        use()
    assert "\n" not in str(caught.value)


def test_errors_of_the_prior_itself_are_left_alone():
    def broken(x):
        raise RuntimeError("my own")

    with pytest.raises(RuntimeError, match="my own"):
        ScoreLoss(Returns(broken), sigma=0.1)(X)


def test_a_shipped_prior_in_a_model_that_becomes_half():
    torch.manual_seed(0)
    model = nn.ModuleDict({"loss": ScoreLoss(load_prior("rooms-rgbd-24"), sigma=0.1)})
    x = torch.rand(1, 4, 24, 24)
    before = model["loss"].gradient(x)
    model.train().half()
    assert torch.equal(model["loss"].gradient(x), before)
