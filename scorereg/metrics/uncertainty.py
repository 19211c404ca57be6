r"""Whether an uncertainty says where the errors are: rank correlation, and the area under the sparsification curve.

AUSE: pixels are left out from the most uncertain on; the mean error of the rest, over that of all, is a curve over the
share left out. Leaving out the largest errors first gives the lowest curve that there can be. The area between the two
is 0 for an uncertainty that orders pixels as their errors do (Ilg 2018).
"""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["ause", "rank_correlation"]

_SHARES = 100  # points of the curves


def rank_correlation(uncertainty: Float[Tensor, " n"], error: Float[Tensor, " n"]) -> float | None:
    """Return Spearman's rank correlation, in [-1, 1]; equal values share their mean rank. None where one is constant.

    Args:
        uncertainty: Of each pixel.
        error: The error of each, >= 0.

    Raises:
        ValueError: If the lengths differ or a value is not finite.
    """
    _check(uncertainty, error)
    a, b = _ranks(uncertainty), _ranks(error)
    a, b = a - a.mean(), b - b.mean()
    scale = (a.square().sum() * b.square().sum()).sqrt()
    return (a * b).sum().div(scale).item() if scale > 0 else None


def ause(uncertainty: Float[Tensor, " n"], error: Float[Tensor, " n"]) -> float | None:
    """Return the area between the sparsification curve and the lowest possible one, >= 0. None without an error.

    With the mean of the errors; pixels of equal uncertainty count with their mean error, so that their order does not
    matter.

    Args:
        uncertainty: Of each pixel.
        error: The error of each, >= 0.

    Raises:
        ValueError: If the lengths differ or a value is not finite.
    """
    _check(uncertainty, error)
    error = error.double()
    if not bool(error.sum() > 0):
        return None
    return (_curve(uncertainty, error) - _curve(error, error)).mean().div(error.mean()).item()


def _curve(order: Tensor, error: Tensor) -> Tensor:
    """Mean error of the pixels that are left when a growing share of those with the largest `order` is left out."""
    _, place, count = order.unique(return_inverse=True, return_counts=True)
    mean = torch.zeros(len(count), dtype=error.dtype, device=error.device).index_add_(0, place, error) / count
    total = mean[place[order.argsort()]].cumsum(0)
    left = (len(error) * (1 - torch.arange(_SHARES, device=error.device) / _SHARES)).ceil().long()
    return total[left - 1] / left


def _ranks(values: Tensor) -> Tensor:
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    return (count.cumsum(0) - (count - 1) / 2).double()[place]


def _check(uncertainty: Tensor, error: Tensor) -> None:
    if uncertainty.shape != error.shape:
        raise ValueError(
            f"uncertainty and error must be of the same pixels, got {len(uncertainty)} and {len(error)} values."
        )
    if not len(error) or not bool(uncertainty.isfinite().all() & error.isfinite().all()):
        raise ValueError("uncertainty and error must be finite, of at least one pixel.")
