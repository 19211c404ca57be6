"""A batch in pieces has the loss and the gradient of the whole."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close
from training_runs import Waves, small

from scorereg.training.card import make_card
from scorereg.training.checkpoint import new_state
from scorereg.training.step import MICRO_BATCH, micro_batches, train_step


def batch(count, *, known=False):
    generator = torch.Generator().manual_seed(count)
    x = torch.rand(count, 1, 8, 8, generator=generator)
    weight = (torch.rand(x.shape, generator=generator) < torch.rand(count, 1, 1, 1, generator=generator)).float()
    weight[-1] = 0  # nothing is known of the last patch
    level = 0.1 + torch.rand(count, generator=generator)
    parts = (x, weight, torch.randn(x.shape, generator=generator), level)
    return (*parts, torch.rand(x.shape, generator=generator) < 0.5) if known else parts


def mean_error(x, weight, noise, level, known=None):
    weight = weight if known is None else weight * ~known
    return ((x - noise).square() * level[:, None, None, None] * weight).sum() / weight.sum().clamp_min(1)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(("count", "size", "sizes"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 1, [1, 1, 1])])
def test_the_pieces_losses_add_up_to_the_whole(count, size, sizes, known):
    whole = batch(count, known=known)
    cut = micro_batches(whole, size)
    assert [len(piece[0]) for piece, _ in cut] == sizes
    assert_close(sum(share * mean_error(*piece) for piece, share in cut), mean_error(*whole))
    for before, after in zip(whole, zip(*(piece for piece, _ in cut), strict=True), strict=True):
        assert torch.equal(torch.cat(after), before)


def test_a_batch_that_is_small_stays_whole():
    whole = batch(5)
    [(piece, share)] = micro_batches(whole, 5)
    assert piece is whole
    assert share == 1.0


@pytest.mark.parametrize("recipe", ["edm", "diffusionerf"])
def test_a_step_in_pieces_is_that_of_the_whole(recipe):
    most = []

    def step(checkpointing):
        settings = small(batch=2 * MICRO_BATCH + 3, checkpointing=checkpointing, recipe=recipe)
        state = new_state(make_card("x", settings, Waves().about), settings)
        seen = state.loss.register_forward_pre_hook(lambda _, inputs: most.append(len(inputs[0])))
        parts = [batch(settings.batch)]
        if recipe == "diffusionerf":
            parts = [(*parts[0][:3], torch.arange(settings.batch).float())]
        alone = SimpleNamespace(no_sync=lambda _: nullcontext(), reduce=lambda x, _: x, process_index=0)
        metrics = train_step(state, state.loss, parts, alone)
        seen.remove()
        return metrics, [p.grad.clone() for p in state.loss.network.parameters()]

    (metrics, gradients), (metrics_cut, gradients_cut) = step(False), step(True)
    assert most == [19, 8, 8, 3]
    assert_close(metrics_cut.loss, metrics.loss, rtol=1e-5, atol=0.0)
    assert_close(metrics_cut.gradient, metrics.gradient, rtol=1e-4, atol=0.0)
    scale = max(g.abs().max() for g in gradients)
    for a, b in zip(gradients_cut, gradients, strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-5 * scale.item())
