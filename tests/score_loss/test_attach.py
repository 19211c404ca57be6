"""ScoreLoss.attach and hook: the gradient that they add in a backward pass, its scale and its report."""

import math
import os
import socket
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from scorereg import RGBD, GaussianFieldPrior, ScoreLoss, schedules

NAMES = ("r", "g", "b", "disparity")
PRIOR = GaussianFieldPrior(size=8, channels=NAMES)
LOSS = ScoreLoss(PRIOR, sigma=0.2)


@dataclass(frozen=True)
class Shown:
    rgb: Tensor
    depth: Tensor
    name: str = "shown"


class Renderer(nn.Module):
    """Colours and depth in metres from parameters, in one of the forms that renderers return."""

    def __init__(self, form="dict"):
        super().__init__()
        self.form = form
        self.rgb = nn.Parameter(torch.rand(2, 3, 8, 8))
        self.depth = nn.Parameter(1 + torch.rand(2, 8, 8))

    def forward(self):
        rgb, depth = 1 * self.rgb, 1 * self.depth
        return {
            "dict": {"rgb": rgb, "depth": depth, "extra": [3, None]},
            "tuple": (rgb, (depth, "x")),
            "dataclass": Shown(rgb, depth),
            "tensor": torch.cat([rgb, depth[:, None]], 1),
        }[self.form]


SELECT = {
    "dict": lambda out: RGBD()(out["rgb"], out["depth"]),
    "tuple": lambda out: RGBD()(out[0], out[1][0]),
    "dataclass": lambda out: RGBD()(out.rgb, out.depth),
    "tensor": lambda out: RGBD()(out[:, :3], out[:, 3]),
}
COLOUR = {
    "dict": lambda out: out["rgb"],
    "tuple": lambda out: out[0],
    "dataclass": lambda out: out.rgb,
    "tensor": lambda out: out[:, :3],
}


def gradients(module: nn.Module) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]


def backward(module, run, data):
    module.zero_grad()
    data(run()).backward()
    return gradients(module)


def by_hand(module: nn.Module, loss=LOSS, **kwargs) -> list[Tensor]:
    """The gradient of the loss as a scalar, by autograd."""
    return backward(module, lambda: RGBD()(1 * module.rgb, 1 * module.depth), lambda patch: loss(patch, **kwargs))


# the added gradient


@pytest.mark.parametrize("form", SELECT)
@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_adds_the_losss_gradient_through_select_whatever_the_data(form, factor):
    """Also to depth, which the data say nothing about."""
    module = Renderer(form)

    def data(out):
        return factor * (COLOUR[form](out) - 0.3).square().mean()

    plain, own = backward(module, module, data), by_hand(module)
    handle = LOSS.attach(module, SELECT[form])
    both = backward(module, module, data)
    for one, other, total in zip(plain, own, both, strict=True):
        assert_close(total, one + other, rtol=1e-5, atol=1e-4)
    assert own[1].abs().sum() > 0
    assert handle.calls == 1
    assert handle.value == pytest.approx(LOSS(SELECT[form](module())).item(), rel=1e-5)
    handle.remove()
    assert all(torch.equal(a, b) for a, b in zip(backward(module, module, data), plain, strict=True))
    assert handle.calls == 2  # by the line that took the value


def test_the_output_is_as_it_was_and_may_be_changed_in_place():
    module = Renderer("dataclass")
    before = module()
    LOSS.attach(module, SELECT["dataclass"])
    out = module()
    assert out.name == "shown"
    assert torch.equal(out.rgb, before.rgb)
    assert torch.equal(out.depth, before.depth)
    out.rgb.clamp_(max=0.5)
    out.rgb.sum().backward()


def test_without_select_the_output_is_the_patch():
    module = nn.Conv2d(4, 4, 1)
    x = torch.rand(2, 4, 8, 8)
    own = backward(module, lambda: module(x), LOSS)
    LOSS.attach(module)
    for actual, exact in zip(backward(module, lambda: module(x), lambda y: 0 * y.sum()), own, strict=True):
        assert_close(actual, exact)


def test_known_values_may_come_from_select():
    module, known = Renderer(), RGBD().photo_mask(torch.tensor([True, False]))
    own = by_hand(module, known=known)
    LOSS.attach(module, lambda out: (SELECT["dict"](out), known))
    actual = backward(module, module, lambda out: 0 * out["rgb"].sum())
    for one, other in zip(actual, own, strict=True):
        assert_close(one, other)
    assert actual[0][0].eq(0).all()


def test_nothing_happens_without_a_backward_pass():
    module = Renderer()
    handle = LOSS.attach(module, SELECT["dict"])
    with torch.no_grad():
        module()
    with torch.inference_mode():
        module()
    module.requires_grad_(False)
    module()
    assert handle.calls == 0
    assert math.isnan(handle.value)
    leaf = torch.rand(2, 4, 8, 8, requires_grad=True)
    handle = LOSS.attach(identity := nn.Identity())
    with torch.no_grad():
        identity(leaf)
    assert handle.calls == 0


# steps, accumulation


def test_the_step_is_the_number_of_calls_unless_it_is_set():
    module = Renderer()
    loss = ScoreLoss(PRIOR, sigma=0.2, weight=schedules.ramp(1.0, 0, 10))
    handle = loss.attach(module, SELECT["dict"])
    seen = []
    for step in (None, None, 7, 7, None):
        handle.step = step
        module()
        seen.append(handle.value)
    full = LOSS(RGBD()(module.rgb, module.depth)).item()
    assert seen == pytest.approx([0.0, 0.1 * full, 0.7 * full, 0.7 * full, 0.4 * full], rel=1e-5)


def test_each_backward_pass_adds_it_once():
    module = Renderer()
    own = by_hand(module)
    LOSS.attach(module, SELECT["dict"])
    module.zero_grad()
    for _ in range(3):  # accumulated, each on a call of its own
        out = module()
        (0 * out["rgb"].sum() + 0 * out["depth"].sum() + 0 * out["rgb"].mean()).backward()
    for actual, exact in zip(gradients(module), own, strict=True):
        assert_close(actual, 3 * exact)


# half precision


@pytest.mark.parametrize("by", ["attach", "hook"])
def test_a_grad_scaler_scales_it_like_the_rest(by):
    module = nn.Conv2d(4, 4, 1)
    x = torch.rand(2, 4, 8, 8)
    own = backward(module, lambda: module(x), LOSS)
    plain = backward(module, lambda: module(x), lambda y: y.square().mean())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    before = [p.detach().clone() for p in module.parameters()]
    if by == "attach":
        LOSS.attach(module, scaler=scaler)
    optimiser.zero_grad()
    y = module(x) if by == "attach" else LOSS.hook(module(x), scaler=scaler)
    scaler.scale(y.square().mean()).backward()
    for p, one, other in zip(module.parameters(), plain, own, strict=True):
        assert_close(p.grad, 1024 * (one + other), rtol=1e-5, atol=1e-2)
    scaler.step(optimiser)
    for p, start, one, other in zip(module.parameters(), before, plain, own, strict=True):
        assert_close(p.detach(), start - 0.1 * (one + other), rtol=1e-5, atol=1e-5)


def test_autocast_does_not_reach_it():
    """A weight as small as 1e-9 would be zero in float16; here only the very end is half, after the scale."""
    loss, seen = ScoreLoss(PRIOR, sigma=0.2, weight=1e-9), []

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.x = nn.Parameter(torch.rand(2, 4, 8, 8).half())

        def forward(self):
            return 1 * self.x

    module = Half()
    exact = torch.autograd.grad(loss(leaf := module.x.detach().float().requires_grad_()), leaf)[0]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)

    def select(out):
        seen.append((out.dtype, torch.is_autocast_enabled("cpu")))
        return 1 * out

    loss.attach(module, select, scaler=scaler)
    with torch.autocast("cpu", torch.bfloat16):
        out = module()
        assert out.dtype == torch.float16
        (0 * out.float()).sum().backward()
    assert seen == [(torch.float32, False)]
    assert exact.abs().max() < 1e-7
    assert_close(module.x.grad.float() / 2**20, exact, rtol=1e-3, atol=1e-10)


# a budget


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("scaler", [None, torch.amp.GradScaler("cpu", init_scale=512.0)], ids=["plain", "scaled"])
def test_budget_is_a_share_of_what_arrives(scale, scaler):
    x = torch.randn(2, 4, 8, 8)
    data = scale * torch.randn(2, 4, 8, 8)
    loss = ScoreLoss(PRIOR, sigma=0.2, budget=0.25, channel_weights={"disparity": 2})
    own = torch.autograd.grad(LOSS(leaf := x.clone().requires_grad_()), leaf)[0]
    (loss.hook(leaf, scaler=scaler) * data).sum().backward()
    added = leaf.grad - data
    for i in range(2):
        for group, ratio in ((slice(0, 3), 0.25), (slice(3, 4), 0.5)):
            assert_close(added[i, group].norm(), ratio * data[i, group].norm(), rtol=1e-4, atol=0.0)
            assert_close(added[i, group] / added[i, group].norm(), own[i, group] / own[i, group].norm())


def test_budget_counts_only_what_may_move():
    x, data = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    known = torch.rand(2, 1, 8, 8) < 0.5
    leaf = x.clone().requires_grad_()
    (ScoreLoss(PRIOR, sigma=0.2, budget=1.0).hook(leaf, known=known) * data).sum().backward()
    added = (leaf.grad - data) * ~known
    assert_close(added[:, 3].norm(), (data * ~known)[:, 3].norm())
    assert_close((leaf.grad - data) * known, torch.zeros_like(x))


def test_budget_as_a_function_of_the_step_and_zero():
    prior = CountingPrior()
    loss = ScoreLoss(prior, sigma=0.2, budget=schedules.ramp(1.0, 10, 20))
    leaf = torch.randn(2, 4, 8, 8, requires_grad=True)
    loss.hook(leaf, step=10).sum().backward()
    assert prior.calls == 0
    assert leaf.grad.eq(1).all()
    leaf.grad = None
    loss.hook(leaf, step=15).sum().backward()
    assert_close((leaf.grad - 1)[0, 3].norm(), torch.tensor(4.0))


def test_budget_where_there_is_no_data_adds_nothing():
    leaf = torch.randn(2, 4, 8, 8, requires_grad=True)
    (0 * ScoreLoss(PRIOR, sigma=0.2, budget=1.0).hook(leaf)).sum().backward()
    assert leaf.grad.eq(0).all()


def test_attached_budget_without_select_is_that_of_the_hook():
    module, data = nn.Conv2d(4, 4, 1), torch.randn(2, 4, 8, 8)
    x, loss = torch.rand(2, 4, 8, 8), ScoreLoss(PRIOR, sigma=0.2, budget=0.5)
    hooked = backward(module, lambda: loss.hook(module(x)), lambda y: (y * data).sum())
    loss.attach(module)
    for one, other in zip(backward(module, lambda: module(x), lambda y: (y * data).sum()), hooked, strict=True):
        assert_close(one, other)


def test_attached_budget_with_select_is_by_tensor():
    module, loss = Renderer(), ScoreLoss(PRIOR, sigma=0.2, budget=lambda step: 0.1 * (step + 1))

    def data(out):
        return out["rgb"].square().sum() + 100 * out["depth"].sum()

    plain, own = backward(module, module, data), by_hand(module)
    handle = loss.attach(module, SELECT["dict"])
    handle.step = 2
    for one, total, direction in zip(plain, backward(module, module, data), own, strict=True):
        added = total - one
        assert_close(added.norm(), 0.3 * one.norm(), rtol=1e-3, atol=0.0)
        assert (added * direction).sum() / added.norm() / direction.norm() > 0.99
    assert loss.last is not None
    assert loss.last.ratio == pytest.approx(0.3, rel=1e-4)


def test_the_report_compares_the_two():
    x, data = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    loss = ScoreLoss(PRIOR, sigma=0.2)
    assert loss.last is None
    own = torch.autograd.grad(loss(leaf := x.clone().requires_grad_()), leaf)[0]
    (loss.hook(leaf) * data).sum().backward()
    assert loss.last is not None
    assert loss.last.data_norm == pytest.approx(data.norm().item(), rel=1e-5)
    assert loss.last.prior_norm == pytest.approx(own.norm().item(), rel=1e-5)
    assert loss.last.ratio == pytest.approx((own.norm() / data.norm()).item(), rel=1e-5)
    assert loss.last.cosine == pytest.approx(torch.cosine_similarity(own.flatten(), data.flatten(), 0).item(), abs=1e-5)


def test_a_scalar_has_no_budget():
    with pytest.raises(ValueError, match=r"a scalar does not see. .*loss.hook\(patch\)"):
        ScoreLoss(PRIOR, sigma=0.2, budget=1.0)(torch.zeros(1, 4, 8, 8))


# compiled, in parallel


@pytest.mark.parametrize("order", ["attached to the compiled", "attached, then compiled", "compiled in place"])
def test_compiled_modules(order):
    torch.compiler.reset()
    module = Renderer()

    def data(out):
        return out["rgb"].square().sum()

    plain, own = backward(module, module, data), by_hand(module)
    run: nn.Module = module
    if order == "attached to the compiled":
        run = torch.compile(module, backend="aot_eager")
        handle = LOSS.attach(run, SELECT["dict"])
    else:
        handle = LOSS.attach(module, SELECT["dict"])
        if order == "attached, then compiled":
            run = torch.compile(module, backend="aot_eager")
        else:
            module.compile(backend="aot_eager")
    for _ in range(2):
        for one, other, total in zip(plain, own, backward(module, run, data), strict=True):
            assert_close(total, one + other, rtol=1e-5, atol=1e-4)
    assert handle.calls == 2


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, 4).reshape(4, 1, 1))

    def forward(self, x):
        return self.gain * x


def _worker(rank: int, port: int, x: Tensor, queue) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    module = Scale()
    parallel = nn.parallel.DistributedDataParallel(module)
    outer = LOSS.attach(parallel)
    parallel(x[rank : rank + 1]).square().mean().backward()
    outer.remove()
    first = module.gain.grad.clone()
    parallel.zero_grad()
    LOSS.attach(module, lambda y: 1 * y)
    parallel(x[rank : rank + 1]).square().mean().backward()
    queue.put((rank, first.tolist(), module.gain.grad.tolist()))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_average_it_like_any_gradient():
    x, module = torch.rand(2, 4, 8, 8), Scale()
    (module(x).square().mean() + LOSS(module(x))).backward()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_worker, args=(rank, port, x, queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    for _ in workers:
        _, on_the_wrapper, inside = queue.get()
        assert_close(torch.tensor(on_the_wrapper), module.gain.grad, rtol=1e-5, atol=1e-5)
        assert_close(torch.tensor(inside), module.gain.grad, rtol=1e-5, atol=1e-5)


# mistakes


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("select", "says"),
    [
        (None, "the module returned a dict. Give `select`"),
        (lambda out: out, "`select` returned a dict"),
        (lambda out: SELECT["dict"](out).detach(), "does not depend on the module's output"),
        (lambda out: SELECT["dict"](out)[:, :3], "3 channels, but the prior knows 4"),
    ],
)
def test_mistakes_are_named(select, says):
    module = Renderer()
    LOSS.attach(module, select)
    with pytest.raises(ValueError, match=says):
        module()


class CountingPrior:
    channels = NAMES
    calls = 0

    def denoise(self, x, sigma):
        self.calls += 1
        return x / 2
