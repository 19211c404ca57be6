"""`torch.compile(fullgraph=True)`: the loss is one graph; what cannot be one says why."""

import pytest
import torch
from test_uses import LOSS, PRIOR, Network, X
from torch import nn
from torch.testing import assert_close

from scorereg import GaussianFieldPrior, ScoreLoss

pytestmark = [pytest.mark.usefixtures("as_user"), pytest.mark.filterwarnings("ignore")]  # torch's own, as it traces
STEPS = ScoreLoss(PRIOR, sigma=lambda step: 0.1 + step, weight=torch.square, channel_weights={"r": 0.5})
RMS = ScoreLoss(GaussianFieldPrior(size=8, channels=PRIOR.channels), sigma=0.1, normalize="rms")
USES = {
    "part of a sum": lambda x: x.square().sum() + 2 * LOSS(x),
    "hook": lambda x: LOSS.hook(x).square().sum(),
    "level of each patch": lambda x: LOSS(x, torch.tensor([0.1, 0.2])),
    "functions of the step": lambda x: STEPS(x, step=1),
    "rms of another prior": lambda x: RMS(x),
}


def compiled(function, **options):
    torch.compiler.reset()
    return torch.compile(function, backend="aot_eager", **{"fullgraph": True, **options})


def gradient(function, x=X):
    x = x.clone().requires_grad_()
    function(x).backward()
    return x.grad


@pytest.mark.parametrize("use", USES)
def test_one_graph_has_the_same_gradient(use):
    assert_close(gradient(compiled(USES[use])), gradient(USES[use]))


def test_a_patch_that_is_not_finite_is_an_error_of_the_graph():
    x = X.clone()
    x[1, 0, 0, 0] = torch.nan
    with pytest.raises(RuntimeError, match="a patch or what the prior returned is not finite"):
        gradient(compiled(LOSS), x)
    assert torch.is_grad_enabled()


def test_skipped_patches_are_counted_in_the_graph():
    x, loss = X.clone(), ScoreLoss(PRIOR, sigma=0.1, on_nonfinite="skip")
    x[1, 0, 0, 0] = torch.nan
    found = gradient(compiled(loss), x)
    assert loss.skipped == 1
    assert (found[1] == 0).all()
    assert_close(found[0], gradient(LOSS)[0])


def test_a_level_out_of_range_is_an_error_of_the_graph():
    with pytest.raises(RuntimeError, match="sigma is out of range"):
        gradient(compiled(lambda x: LOSS(x, torch.tensor([0.1, -0.2]))))


def test_what_cannot_be_one_graph_says_why():
    budget, attached = ScoreLoss(PRIOR, sigma=0.1, budget=0.5), nn.Identity()
    LOSS.attach(attached)
    for function, says in {
        lambda x: budget.hook(x).square().sum(): "looks at the data's gradient, which one graph cannot hold",
        lambda x: attached(x).square().sum(): r"runs beside the graph; compile without fullgraph=True",
    }.items():
        with pytest.raises(torch._dynamo.exc.Unsupported, match=says):
            gradient(compiled(function))
        assert_close(gradient(compiled(function, fullgraph=False)), gradient(function))


def test_torchscript_is_refused():
    with pytest.raises(ValueError, match="ScoreLoss cannot be scripted"):
        torch.jit.script(nn.Sequential(nn.Identity(), LOSS))


def test_a_value_that_leads_nowhere_says_so_when_it_is_differentiated():
    value = LOSS(X)
    assert_close(value.detach(), LOSS(X.clone().requires_grad_()).detach())
    photo = X.clone().requires_grad_()
    with pytest.warns(UserWarning, match="does not require grad, so its gradient reaches nothing"):
        (photo.sum() + value).backward()
    assert_close(photo.grad, torch.ones_like(X))
    with torch.no_grad():
        assert not LOSS(X).requires_grad


def test_patches_of_more_dimensions_than_the_convolutions():
    with pytest.raises(ValueError, match="3 spatial dimensions, but the convolutions of Network take 2"):
        ScoreLoss(Network(), sigma=0.1)(X[:, :, None])
