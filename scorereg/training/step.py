"""One optimizer step, on one process or several; loss or gradient that is not finite; lack of memory."""

import math
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from scorereg.training.batches import Batch
from scorereg.training.checkpoint import State
from scorereg.training.losses import loss_weights
from scorereg.training.optimizer import learning_rate
from scorereg.training.settings import Settings

__all__ = [
    "MICRO_BATCH", "NotFiniteError", "StepMetrics", "is_out_of_memory", "largest_part", "micro_batch_size",
    "micro_batches", "train_step",
]  # fmt: skip

MICRO_BATCH = 8  # patches; their activations in the paper's network are small beside its weights and moments


class StepMetrics(NamedTuple):
    """Loss of a step, and norm of its gradient before clipping."""

    loss: float
    gradient: float


class NotFiniteError(ValueError):
    """A loss or gradient is not finite; the weights are those before the step.

    Args:
        message: What is not finite, and where.
        part: The first part of this process's batch whose loss is not finite; 0 if only the gradient is not, and None
            if it is another process's loss.
    """

    def __init__(self, message: str, part: int | None = 0) -> None:
        super().__init__(message)
        self.part = part


def train_step(state: State, model: nn.Module, parts: list[Batch], accelerator: Any) -> StepMetrics:
    """Take one step.

    The gradient is the mean over the parts of a batch and over the processes, so that it does not depend on how a batch
    is divided.

    Args:
        state: The run; changed in place.
        model: `state.loss`, prepared by `accelerate`.
        parts: This process's share of the batch.
        accelerator: `accelerate.Accelerator`.

    Raises:
        NotFiniteError: If the loss or the gradient is not finite; nothing was updated then.
    """
    settings, parameters = state.settings, list(state.loss.network.parameters())
    model.train()
    state.optimizer.zero_grad(set_to_none=True)
    losses = _add_gradients(state, model, parts, accelerator)
    loss = accelerator.reduce(torch.stack(losses).mean(), "mean").item()
    state.scaler.unscale_(state.optimizer)
    limit = settings.clip or torch.inf
    gradient = nn.utils.clip_grad_norm_(parameters, limit, foreach=True).item()
    good = [bool(value.isfinite()) for value in losses]
    if not math.isfinite(loss) or (not math.isfinite(gradient) and not state.scaler.is_enabled()):
        elsewhere = all(good) and not math.isfinite(loss)
        part = None if elsewhere else 0 if all(good) else good.index(False)
        mine = "" if all(good) else f", part {part} of process {accelerator.process_index}"
        where = ", of another process" if elsewhere else mine
        what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient has norm {gradient}"
        message = f"the {what} at step {state.step}, in batch {state.step}{where} (seed {settings.seed})"
        raise NotFiniteError(message, part)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.step, settings)
    state.scaler.step(state.optimizer)  # skips a step whose gradient overflowed in fp16
    state.scaler.update()
    state.step += 1
    state.average.update_parameters(state.loss.network)
    return StepMetrics(loss, gradient)


def micro_batch_size(settings: Settings) -> int:
    """Return the most patches that go through the network at a time."""
    return MICRO_BATCH if settings.checkpointing else settings.batch


def micro_batches(part: Batch, size: int) -> list[tuple[Batch, Tensor | float]]:
    """Divide a batch into micro-batches, each with its share of the loss.

    A loss is sum(error weight) / sum(weight). With the share of the weights of each micro-batch, sum(share loss) is the
    loss of the whole batch, and its gradient the whole's, up to rounding.

    Args:
        part: Patches, weights, noise, levels and, for a conditional prior, the mask of known values.
        size: Most patches of a micro-batch.
    """
    if len(part[0]) <= size:
        return [(part, 1.0)]
    cut = list(zip(*(value.split(size) for value in part), strict=True))
    sums = torch.stack([loss_weights(weight, *known).sum() for _, weight, _, _, *known in cut])
    return list(zip(cut, sums.clamp_min(1) / sums.sum().clamp_min(1), strict=True))


def _add_gradients(state: State, model: nn.Module, parts: list[Batch], accelerator: Any) -> list[Tensor]:
    """Run forward and backward over all parts; returns the loss of each part."""
    size = micro_batch_size(state.settings)
    cut = [(i, piece, share) for i, part in enumerate(parts) for piece, share in micro_batches(part, size)]
    losses: list[Any] = [0.0] * len(parts)
    for n, (i, piece, share) in enumerate(cut):
        with nullcontext() if n == len(cut) - 1 else accelerator.no_sync(model):
            loss = share * model(*piece)
            state.scaler.scale(loss / len(parts)).backward()
        losses[i] = losses[i] + loss.detach()
    return losses


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error means too little memory; torch's CPU allocator has no type of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def largest_part(state: State, part: Batch) -> int:
    """Return how many patches fit into memory, forward and backward, by halving; 0 if not even one does."""
    count = len(part[0])
    while count := count // 2:
        state.optimizer.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            state.loss(*(each[:count] for each in part)).backward()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            state.optimizer.zero_grad(set_to_none=True)
            return count
    return 0
