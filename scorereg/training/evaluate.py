r"""How well a prior denoises, against the best stationary linear filter.

The rival is the Wiener filter of the training patches: per frequency, across all channels jointly,

    D(x)(f) = C(f) (C(f) + sigma^2 I)^-1 (x - mean)(f) + mean,   C(f) the channels' covariance at frequency f.
"""

import json
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Complex, Float
from torch import Tensor

from scorereg.priors.network import NetworkPrior
from scorereg.training.augment import to_prior_space
from scorereg.training.data import Pyramid

__all__ = ["SIGMAS", "LinearFilter", "denoising_errors", "plain_patches", "save_errors"]

SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class LinearFilter:
    """The best stationary linear denoiser of some patches, on a torus.

    Args:
        x: Clean patches to be fitted to.
    """

    def __init__(self, x: Float[Tensor, "b c h w"]) -> None:
        self.mean: Float[Tensor, "c 1 1"] = x.mean(dim=(0, 2, 3))[:, None, None].double()
        spectrum = torch.fft.fft2(x.double() - self.mean, norm="ortho")
        power: Complex[Tensor, "h w c c"] = torch.einsum("bchw,bdhw->hwcd", spectrum, spectrum.conj()) / len(x)
        self.power, self.basis = torch.linalg.eigh(power)

    def denoise(self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Return the filtered patches."""
        gain = self.power / (self.power + rearrange(sigma.double(), "b -> b 1 1 1").square())
        spectrum = torch.fft.fft2(x.double() - self.mean, norm="ortho")
        inside = torch.einsum("hwcd,bchw->bhwd", self.basis.conj(), spectrum) * gain
        return (torch.fft.ifft2(torch.einsum("hwcd,bhwd->bchw", self.basis, inside), norm="ortho").real + self.mean).to(
            x.dtype
        )


def plain_patches(
    pyramid: Pyramid, count: int, *, size: int, channels: str, seed: int
) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
    """Return patches in prior space without jitter or change of depth scale, and weights, 0 where depth is unknown."""
    crops = pyramid.crop(count, size, torch.Generator().manual_seed(seed), flip=False)
    return to_prior_space(crops, channels)


def denoising_errors(
    prior: NetworkPrior,
    linear: LinearFilter,
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "b c h w"],
    *,
    sigmas: tuple[float, ...] = SIGMAS,
    seed: int = 0,
    chunk: int = 64,
) -> list[dict[str, Any]]:
    """Measure the mean squared denoising error of a prior and of its linear rival, on the same noise.

    Args:
        prior: The prior.
        linear: The rival, fitted to training patches.
        x: Clean patches that neither has seen.
        weight: 0 where a channel is unknown.
        sigmas: Noise levels; those beyond the card's range are left out.
        seed: Seeds the noise.
        chunk: Patches at a time.

    Returns:
        A row a noise level: `sigma`, then for `rgb` and `disparity` the error of the prior and of the `linear` filter,
        and their ratio; below 1 the prior is better.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(prior.parameters()).device
    groups = {"rgb": [i for i, c in enumerate(prior.channels) if c in "rgb"]}
    groups |= {c: [i] for i, c in enumerate(prior.channels) if c not in "rgb"}
    rows = []
    for sigma in (s for s in sigmas if prior.card.sigma_min <= s <= prior.card.sigma_max):
        noisy = x + sigma * torch.randn(x.shape, generator=generator)
        level = torch.full((len(x),), sigma)
        pairs = zip(noisy.split(chunk), level.split(chunk), strict=True)
        learned = torch.cat([prior.denoise(a.to(device), s.to(device)).cpu() for a, s in pairs])
        rival = linear.denoise(noisy, level)
        row: dict[str, Any] = {"sigma": sigma}
        for name, index in groups.items():
            if index:
                ours, theirs = (_error(d, x, weight, index) for d in (learned, rival))
                row |= {name: ours, f"{name}_linear": theirs, f"{name}_ratio": round(ours / theirs, 4)}
        rows.append(row)
    return rows


def save_errors(folder: Path, errors: dict[str, list[dict[str, Any]]]) -> None:
    """Write `denoising.json`, and `denoising.png` where matplotlib is installed."""
    (folder / "denoising.json").write_text(json.dumps(errors, indent=2) + "\n", encoding="utf-8")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(4.5 * len(errors), 3.6), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(1, len(errors), squeeze=False)[0], errors.items(), strict=True):
        for group, color in (("rgb", "tab:orange"), ("disparity", "tab:blue")):
            if group in rows[0]:
                at = [row["sigma"] for row in rows]
                axes.loglog(at, [row[group] for row in rows], color=color, marker="o", label=f"{group}, prior")
                axes.loglog(
                    at, [row[f"{group}_linear"] for row in rows], color=color, ls="--", label=f"{group}, linear filter"
                )
        axes.set(title=name, xlabel="sigma", ylabel="mean squared error")
        axes.legend()
    figure.savefig(folder / "denoising.png", dpi=110)


def _error(denoised: Tensor, x: Tensor, weight: Tensor, index: list[int]) -> float:
    part = weight[:, index]
    return ((denoised - x)[:, index].square() * part).sum().item() / part.sum().item()
