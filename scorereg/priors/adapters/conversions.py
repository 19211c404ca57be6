r"""Conversion of noise families and prediction targets to the residual of a denoiser.

    x = x_0 + sigma n      noised data, variance exploding, in the network's own units
    z = a x = a x_0 + b n  input of the network, b = a sigma
    out                    output of the network
    r = x - D              residual of the denoiser; score = -r / sigma^2

A noise family is `a` as a function of sigma, and the time that the network takes as its second input:

    variance preserving   a = 1 / sqrt(1 + sigma^2) = sqrt(alpha_bar)      index into a table
    variance exploding    a = 1                                            sigma, or index into a table
    EDM                   a = 1 / sqrt(sigma_data^2 + sigma^2)             ln(sigma) / 4
    flow matching         a = 1 / (1 + sigma) = 1 - t                      t = sigma / (1 + sigma)

For each prediction r is linear in x and out, `r = p x + q out`, with coefficients that lose no digits at a small sigma:
x - x_0 is computed only if the network predicts x_0 itself. Coefficients and tables are float64, on the CPU. Sources:
Karras et al. 2022 (arXiv 2206.00364), table 1; Salimans and Ho 2022 (arXiv 2202.00512), appendix D, for v; Liu et al.
2022 (arXiv 2209.03003) for the velocity.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scorereg.priors.adapters.noise_tables import check_direction, noise_table_of, shown
from scorereg.priors.adapters.prediction_names import PREDICTIONS

__all__ = ["Noise", "cosine_betas", "linear_betas", "noise_of", "residual_coefficients"]

_TOLERANCE = 1e-3  # relative tolerance of the range of levels, for rounding


@dataclass(frozen=True, eq=False)
class Noise:
    """A noise family, with the table of its levels if it has one.

    Args:
        family: `"vp"`, `"ve"`, `"edm"` or `"flow"`.
        low: Smallest level, in the network's units.
        high: Largest level.
        sigmas: Table of levels, ascending, float64; None for continuous levels.
        indices: Index of each entry of `sigmas` in the network's own table.
        last: Largest index of the network's table.
        sigma_data: Standard deviation of the data in EDM's preconditioning; 1 for other families.
    """

    family: Literal["vp", "ve", "edm", "flow"]
    low: float = 0.0
    high: float = math.inf
    sigmas: Float[Tensor, " n"] | None = None
    indices: Float[Tensor, " n"] | None = None
    last: int = 0
    sigma_data: float = 1.0

    def scale(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return `a`, the factor from noised data x to the network's input z."""
        if self.family == "ve":
            return torch.ones_like(sigma)
        return 1 / (1 + sigma) if self.family == "flow" else (self.sigma_data**2 + sigma.square()).rsqrt()

    def position(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Return the table index of a level, linear in log sigma between entries; without a table t (flow) or sigma."""
        if self.sigmas is None or self.indices is None:
            return sigma / (1 + sigma) if self.family == "flow" else sigma
        if len(self.sigmas) == 1:
            return self.indices.expand_as(sigma)
        table, level = self.sigmas.log(), sigma.log()
        right = torch.searchsorted(table, level).clamp(1, len(table) - 1)
        share = ((level - table[right - 1]) / (table[right] - table[right - 1])).clamp(0, 1)
        return torch.lerp(self.indices[right - 1], self.indices[right], share)

    def inside(self, sigma: Float[Tensor, " b"], *, clamp: bool, unit: float = 1.0) -> Float[Tensor, " b"]:
        """Return the levels clamped to the network's range, after a check unless `clamp`.

        Args:
            sigma: Levels in the network's units.
            clamp: Accept levels outside the range.
            unit: The network's units per unit of prior space, for the error.

        Raises:
            ValueError: If a level is outside the range by more than rounding, without `clamp`.
        """
        low, high = sigma.min().item(), sigma.max().item()
        if not clamp and (low < self.low * (1 - _TOLERANCE) or high > self.high * (1 + _TOLERANCE)):
            raise ValueError(
                f"the network knows noise levels from {self.low / unit:.4g} to {self.high / unit:.4g} (prior-space "
                f"units), but got {low / unit:.4g} to {high / unit:.4g}. Keep the schedule of sigma within the range, "
                "or pass outside='clamp' to use the nearest level."
            )
        return sigma.clamp(self.low, self.high)


def noise_of(
    *, betas: Any = None, alphas_cumprod: Any = None, sigmas: Any = None, flow: bool = False, sigma_data: Any = None
) -> Noise:
    """Return the noise family given by one of the arguments; without any, variance exploding with continuous levels.

    Table entries without noise (sigma = 0) or without signal (infinite sigma) are excluded from the range.

    Args:
        betas: Variance preserving: variance that each step adds, in [0, 1].
        alphas_cumprod: Variance preserving: cumulative products of 1 - beta, in [0, 1].
        sigmas: Variance exploding: levels >= 0.
        flow: Flow matching, `z = (1 - t) x_0 + t n`.
        sigma_data: EDM, with input `x / sqrt(sigma^2 + sigma_data^2)`.

    Raises:
        ValueError: If more than one is given, or a table is not strictly monotonic within its bounds.
    """
    tables = {"betas": betas, "alphas_cumprod": alphas_cumprod, "sigmas": sigmas}
    given = [name for name, value in (tables | {"sigma_data": sigma_data}).items() if value is not None]
    given += ["flow"] if flow else []
    if len(given) > 1:
        raise ValueError(f"the noise has one description, but got {' and '.join(given)}. Leave out the rest.")
    if not isinstance(flow, bool):
        raise ValueError(f"flow is True or False, but got {flow!r}.")
    if flow:
        return Noise("flow")
    if sigma_data is not None:
        return Noise("edm", sigma_data=_positive(sigma_data))
    if not given:
        return Noise("ve")
    name = given[0]
    table = noise_table_of(name, tables[name])
    levels = table
    if name != "sigmas":
        kept = (1 - table).cumprod(0) if name == "betas" else table
        levels = ((1 - kept) / kept).sqrt()
    order = levels.argsort()
    order = order[(levels[order] > 0) & torch.isfinite(levels[order])]
    if not len(order):
        raise ValueError(f"`{name}` has no level of noise that is above 0 and finite, got {shown(table)}.")
    check_direction(name, levels, table)
    sigmas = levels[order]
    family = "ve" if name == "sigmas" else "vp"
    return Noise(family, sigmas[0].item(), sigmas[-1].item(), sigmas, order.double(), len(table) - 1)


def _positive(sigma_data: Any) -> float:
    try:
        value = float(sigma_data)
    except (TypeError, ValueError, RuntimeError):
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"sigma_data is the standard deviation of the data, a number > 0 like 0.5; got {sigma_data}.")
    return value


def residual_coefficients(
    prediction: str, sigma: Float[Tensor, " b"], noise: Noise
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    r"""Return p and q of $r = x - D = p\,x + q\,\mathrm{out}$.

    | prediction           | out                            | p                     | q                    |
    |----------------------|--------------------------------|-----------------------|----------------------|
    | `epsilon`            | $n$                            | 0                     | $\sigma$             |
    | `score`              | $\nabla_z \log p(z) = -n / b$  | 0                     | $-\sigma b$          |
    | `v_prediction`       | $a' n - b x_0 / s$             | $b^2 / (a'^2 + b^2)$  | $s b / (a'^2 + b^2)$ |
    | `velocity`           | $n - x_0$                      | $b / (a + b)$         | $b / (a + b)$        |
    | `sample`, `denoised` | $x_0$                          | 1                     | -1                   |
    | `edm`                | $(x_0 - c_{skip} x) / c_{out}$ | $b^2 / (a'^2 + b^2)$  | $-s b/ (a'^2 + b^2)$ |

    s is `sigma_data` and a' = s a; in other families than EDM s = 1 and a' = a. n and x_0 stand for their posterior
    means. In float32 the error of r is rounding alone for the first three rows and `edm`. The others contain x_0
    itself, whose rounding leaves an error of about 1e-7 |x| sigma (velocity) or 1e-7 |x| (x_0).

    Args:
        prediction: One of `PREDICTIONS`.
        sigma: Levels in the network's units, float64.
        noise: Noise family of the network.

    Raises:
        ValueError: If the prediction is unknown.
    """
    a, s = noise.scale(sigma), noise.sigma_data
    b = a * sigma
    nothing, one = torch.zeros_like(sigma), torch.ones_like(sigma)
    if prediction == "epsilon":
        return nothing, sigma
    if prediction == "score":
        return nothing, -sigma * b
    if prediction in ("v_prediction", "edm"):
        total = (s * a).square() + b.square()
        return b.square() / total, (s if prediction == "v_prediction" else -s) * b / total
    if prediction == "velocity":
        return b / (a + b), b / (a + b)
    if prediction in ("sample", "denoised"):
        return one, -one
    raise ValueError(f"no prediction is called {prediction!r}; choose one of {', '.join(PREDICTIONS)}.")


def linear_betas(steps: int = 1000, *, start: float = 1e-4, end: float = 0.02) -> Float[Tensor, " n"]:
    """Return the betas of Ho et al. 2020 (DDPM, arXiv 2006.11239), section 4, in float64."""
    return torch.linspace(start, end, steps, dtype=torch.float64)


def cosine_betas(steps: int = 1000, *, offset: float = 0.008, largest: float = 0.999) -> Float[Tensor, " n"]:
    """Return the betas of Nichol and Dhariwal 2021 (arXiv 2102.09672), eq. 17, in float64."""
    time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    kept = ((time + offset) / (1 + offset) * math.pi / 2).cos().square()
    return (1 - kept[1:] / kept[:-1]).clamp(max=largest)
