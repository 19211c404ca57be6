r"""Restoration by gradient descent: the likelihood of the measurement and a `ScoreLoss` of the prior, with Adam.

    annealed    gradient of |r|^2 / 2 + weight (-log p_sigma(x))          sigma falls: estimators.direct
    red         the same at the last sigma alone: weight / sigma^2 (x - D(x, sigma)), estimators.red
    red-diff    noise^2 |r|^2 / 2 and weight sigma (eps_hat - n)          sigma falls: estimators.red_diff

Sources: Romano et al. 2017 (RED, arXiv 1611.02862); Mardani et al. 2023 (RED-diff, arXiv 2305.04391).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.estimators import direct, red, red_diff
from scorereg.restoration.denoising import ImageDenoiser
from scorereg.restoration.problem import Problem
from scorereg.score_loss import ScoreLoss

__all__ = ["descend"]


def descend(
    problem: Problem,
    denoiser: ImageDenoiser,
    x: Float[Tensor, "b c *space"],
    levels: Float[Tensor, " n"],
    *,
    method: str,
    weight: float,
    rate: float,
    free: Tensor | None,
    generator: torch.Generator,
    report: Callable[[Tensor], bool],
) -> Float[Tensor, "b c *space"]:
    """Return the image after one step of Adam for each level.

    Args:
        problem: The measurement.
        denoiser: The prior.
        x: Image to start from, in prior space.
        levels: Noise level of each step; `"red"` takes the last one at every step.
        method: `"annealed"`, `"red"` or `"red-diff"`.
        weight: Strength of the prior.
        rate: Learning rate of Adam at the first step, in prior-space units; it falls to a tenth as a cosine.
        free: Values that may move.
        generator: Source of the noise of `"red-diff"`.
        report: Is given the image after each step, and returns whether to stop.
    """
    loss = _loss(denoiser, method, weight)
    share = 1.0 if method != "red-diff" else torch.as_tensor(problem.noise).square().mean().item()
    x = x.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=rate, betas=(0.9, 0.99))
    for step, level in enumerate(levels.tolist()):
        optimizer.param_groups[0]["lr"] = rate * (0.55 + 0.45 * math.cos(math.pi * step / len(levels)))
        level = levels[-1].item() if method == "red" else level
        _, gradient = problem.gradient(x)
        prior = loss.gradient(x.detach(), min(max(level, denoiser.low), denoiser.high), generator=generator)
        total = share * gradient + len(x) * prior
        x.grad = total if free is None else total * free
        optimizer.step()
        if report(x.detach()):
            break
    return x.detach()


def _loss(denoiser: ImageDenoiser, method: str, weight: float) -> ScoreLoss:
    if method == "red-diff":
        return red_diff(denoiser, w=lambda s: weight * s)
    if method == "red":
        return red(denoiser, w=lambda s: weight / s**2)
    return direct(denoiser, w=weight)
