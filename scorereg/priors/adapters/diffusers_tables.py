"""Noise tables of a scheduler of diffusers in memory: whether what it was changed to is one noise."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["check_tables"]

_SHARE, _LEAST = 1e-2, 1e-6  # of float32 products, and of the 2^-24 that stands for no signal


def check_tables(scheduler: Any) -> None:
    """Check that `betas` and `alphas_cumprod` of a scheduler are of one noise: the latter the products of 1 - beta.

    A table that was set in memory, in one of the two alone, leaves the other as it was: a network's training takes
    `alphas_cumprod` (`add_noise`), and which of the two was meant is not known.

    Args:
        scheduler: One with a table of noise.

    Raises:
        ValueError: If the two contradict each other.
    """
    betas, kept = (_table(getattr(scheduler, name, None)) for name in ("betas", "alphas_cumprod"))
    if betas is None or kept is None:
        return
    name = type(scheduler).__name__
    if len(betas) != len(kept):
        words = f"betas has {len(betas)} entries and alphas_cumprod {len(kept)}"
    else:
        products = (1 - betas).cumprod(0)
        off = (products - kept).abs() / (torch.maximum(products, kept) * _SHARE + _LEAST)
        if not bool((off > 1).any()):
            return
        worst = int((products - kept).abs().argmax())
        words = (
            f"at step {worst} the products of 1 - betas are {products[worst]:.4g}, but alphas_cumprod {kept[worst]:.4g}"
        )
    raise ValueError(
        f"betas and alphas_cumprod of this {name} contradict each other: {words}. Give the one of the "
        "training: scheduler.alphas_cumprod = (1 - scheduler.betas).cumprod(0) if betas is right; else "
        "scorereg.wrap(unet, alphas_cumprod=scheduler.alphas_cumprod, prediction=..., channels=...)."
    )


def _table(values: Any) -> Tensor | None:
    """The values in float64, on the CPU; None if they are no table."""
    return values.detach().to("cpu", torch.float64) if isinstance(values, Tensor) and values.ndim == 1 else None
