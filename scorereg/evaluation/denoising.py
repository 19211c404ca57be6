r"""Denoising error of a prior, beside that of the best stationary linear filter, and the size of its residual.

The baseline is the Wiener filter of other patches of the same data: per frequency, across all channels jointly,

    D(x)(f) = C(f) (C(f) + sigma^2 I)^-1 (x - mean)(f) + mean,   C(f) the channels' covariance at frequency f.

The residual `x_sigma - D` is the score times `-sigma^2`, and all that a `ScoreLoss` uses. The error of the posterior
mean is uncorrelated with everything that can be computed from `x_sigma`, so that for each value

    E (x_sigma - D)^2 = sigma^2 - E (D - x)^2          as  x_sigma - x = (x_sigma - D) + (D - x).

On data where a prior's residual is larger it removes too much, where it is smaller too little.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from scorereg._io import write_beside
from scorereg._progress import steps
from scorereg.priors.base import Prior
from scorereg.priors.sampling import device_of

__all__ = ["SIGMAS", "LinearFilter", "denoising_errors", "residual_quantiles", "save_errors"]

SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

_LEAST = 1e-12  # error that ratios are taken to: the filter has none where all data have one colour


class LinearFilter:
    """The best linear denoiser that is stationary on a torus, the Wiener filter.

    Args:
        x: Clean patches to fit mean and spectrum to.
    """

    def __init__(self, x: Float[Tensor, "b c *space"]) -> None:
        self.space = tuple(range(2, x.ndim))
        self.mean = x.mean(dim=(0, *self.space), keepdim=True)[0].double()
        spectrum = self._spectrum(x)
        power: Complex[Tensor, "*space c c"] = torch.einsum("bc...,bd...->...cd", spectrum, spectrum.conj()) / len(x)
        self.power, self.basis = torch.linalg.eigh(power)

    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return the filtered patches."""
        gain = self.power / (self.power + sigma.double().reshape(-1, *[1] * (x.ndim - 1)).square())
        inside = torch.einsum("...cd,bc...->b...d", self.basis.conj(), self._spectrum(x)) * gain
        out = torch.fft.ifftn(torch.einsum("...cd,b...d->bc...", self.basis, inside), dim=self.space, norm="ortho")
        return (out.real + self.mean).to(x.dtype)

    def _spectrum(self, x: Float[Tensor, "b c *space"]) -> Complex[Tensor, "b c *space"]:
        return torch.fft.fftn(x.double() - self.mean, dim=self.space, norm="ortho")


@torch.no_grad()
def denoising_errors(
    prior: Prior,
    linear: LinearFilter,
    x: Float[Tensor, "b c *space"],
    weight: Float[Tensor, "b c *space"] | None = None,
    *,
    sigmas: Sequence[float] = SIGMAS,
    separate: bool = False,
    seed: int = 0,
    chunk: int = 64,
    name: str = "",
) -> list[dict[str, Any]]:
    """Measure a prior's mean squared denoising error, the linear filter's on the same noise, and the prior's residual.

    Args:
        prior: The prior.
        linear: The filter, fitted to other patches.
        x: Clean patches that neither was fitted to.
        weight: 0 where a value is unknown; everything is known, if not given.
        sigmas: Noise levels; those beyond the range of the prior's card are left out.
        separate: Measure each channel by itself, in place of r, g and b together.
        seed: Seed of the noise.
        chunk: Patches at a time.
        name: What progress says of the patches.

    Returns:
        A row per noise level: `sigma`, then for each channel (r, g and b together are `rgb`) `NAME`, the prior's error;
        `NAME_linear`, the filter's; `NAME_ratio` of the two, below 1 where the prior is better; `NAME_residual`, the
        mean of `(x_sigma - D)^2 / sigma^2`; and `NAME_expected`, the value of the residual if D were the posterior mean
        of these data, computed with the noise that was drawn in place of its expectation.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.ones_like(x) if weight is None else weight
    rows, levels = [], _within(sigmas, prior)
    for sigma in steps(f"measuring the denoising error{name}, noise levels", levels):
        noisy = x + sigma * torch.randn(x.shape, generator=generator)
        learned, filtered = _denoise(prior, noisy, sigma, chunk), linear.denoise(noisy, torch.full((len(x),), sigma))
        row: dict[str, Any] = {"sigma": sigma}
        for group, index in _groups(prior.channels, separate=separate).items():
            ours, theirs, residual, noise = (
                _mean_square(difference[:, index], weight[:, index])
                for difference in (learned - x, filtered - x, noisy - learned, noisy - x)
            )
            ratio = round(ours / max(theirs, _LEAST), 4)
            row |= {group: ours, f"{group}_linear": theirs, f"{group}_ratio": ratio}
            row |= {f"{group}_residual": residual / sigma**2, f"{group}_expected": (noise - ours) / sigma**2}
        rows.append(row)
    return rows


@torch.no_grad()
def residual_quantiles(
    prior: Prior,
    x: Float[Tensor, "b c *space"],
    *,
    sigmas: Sequence[float] = SIGMAS,
    levels: Sequence[float] = (0.5, 0.9, 0.99),
    chunk: int = 64,
) -> dict[str, Any]:
    """Measure quantiles over clean patches of the residual `RMS(x - D(x, sigma)) / sigma`.

    No noise is added: this is the residual of a `ScoreLoss` without `perturb` for a perfect render.

    Args:
        prior: The prior.
        x: Clean patches that the prior was not trained on.
        sigmas: Noise levels; those beyond the range of the prior's card are left out.
        levels: The quantiles, in (0, 1).
        chunk: Patches at a time.

    Returns:
        `sigma` and `levels`, lists, and `values`, a list per sigma with a number per level.
    """
    kept = _within(sigmas, prior)
    wanted = torch.tensor(list(levels), dtype=torch.float64)
    each = steps("measuring residuals of clean patches, noise levels", kept)
    rms = [(x - _denoise(prior, x, s, chunk)).double().square().flatten(1).mean(1).sqrt() / s for s in each]
    return {"sigma": kept, "levels": list(levels), "values": [r.quantile(wanted).tolist() for r in rms]}


def save_errors(folder: Path, errors: dict[str, list[dict[str, Any]]]) -> None:
    """Write `denoising.json`, and `denoising.png` where matplotlib is installed.

    Args:
        folder: An existing folder.
        errors: Rows of `denoising_errors`, by the name of the data.
    """
    text = json.dumps(errors, indent=2) + "\n"
    write_beside(folder / "denoising.json", lambda path: path.write_text(text, encoding="utf-8"))
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(4.5 * len(errors), 6.4), layout="constrained")
    for column, (name, rows) in zip(figure.subplots(2, len(errors), squeeze=False).T, errors.items(), strict=True):
        _plot(column, rows)
        column[0].set_title(name)
    write_beside(folder / "denoising.png", lambda path: figure.savefig(path, format="png", dpi=110))


def groups_of(row: dict[str, Any]) -> list[str]:
    """Return the names of the channels or groups in a row of `denoising_errors`."""
    return [name.removesuffix("_ratio") for name in row if name.endswith("_ratio")]


def _plot(axes: Any, rows: list[dict[str, Any]]) -> None:
    at = [row["sigma"] for row in rows]
    colors = {"rgb": "tab:orange", "disparity": "tab:blue", "r": "tab:red", "g": "tab:green", "b": "tab:purple"}
    for group in groups_of(rows[0]):
        color = colors.get(group, "0.3")
        axes[0].loglog(at, [row[group] for row in rows], color=color, marker="o", label=f"{group}, prior")
        axes[0].loglog(at, [row[f"{group}_linear"] for row in rows], color=color, ls="--", label=f"{group}, linear")
        axes[1].semilogx(at, [row[f"{group}_residual"] for row in rows], color=color, marker="o", label=group)
        axes[1].semilogx(at, [row[f"{group}_expected"] for row in rows], color=color, ls="--", label="expected")
    axes[0].set(ylabel="mean squared error")
    axes[1].set(xlabel="sigma", ylabel="squared residual / sigma^2")
    for each in axes:
        each.legend(fontsize="small")


def _within(sigmas: Sequence[float], prior: Prior) -> list[float]:
    card = getattr(prior, "card", None)
    return [s for s in sigmas if card is None or card.sigma_min <= s <= card.sigma_max]


def _groups(channels: Sequence[str], *, separate: bool) -> dict[str, list[int]]:
    """Return the indices of the channels that are measured together, by name."""
    together = [] if separate else [i for i, name in enumerate(channels) if name in ("r", "g", "b")]
    alone = {name: [i] for i, name in enumerate(channels) if i not in together}
    return ({"rgb": together} if together else {}) | alone


def _denoise(prior: Prior, x: Tensor, sigma: float, chunk: int) -> Tensor:
    device = device_of(prior)
    parts = [part.to(device) for part in x.split(chunk)]
    return torch.cat([prior.denoise(part, part.new_full((len(part),), sigma)).to(x.device) for part in parts])


def _mean_square(difference: Tensor, weight: Tensor) -> float:
    return ((difference.square() * weight).sum() / weight.sum()).item()
