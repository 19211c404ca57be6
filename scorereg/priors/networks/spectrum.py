r"""The best linear denoiser of stationary patches, from a spectrum of few numbers: where a network starts from.

Patches of a stationary process have uncorrelated coefficients in the cosine transform (DCT-II, orthonormal) of each
axis, up to their edges. With a basis U of the channels and the variance l of each coefficient f of each channel k in
it, the best linear estimate of a patch x from y = x + sigma n, and the mean squared error of its channel c, are

    y - D(y) = U^T C^T g C U (y - m),     g = sigma^2 / (l + sigma^2),     m the mean of each channel,
    e_c^2    = mean over f of sum over k of U_kc^2 l g

Variances of natural images fall as a power of the frequency, and more slowly along the axes. So the logarithm of the
variance is stored as a sum: of a function of the distance from zero of a coefficient's place, its index over the sides
of the patch, and of a function of the place along each axis, with a value of its own for index 0. Each is given at a
few points, and interpolated linearly in the logarithm of the place. On photos of rooms, 24 pixels wide, that is within
1 % of the error of the filter with a variance of its own for each coefficient.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.card import PriorCard

__all__ = ["SPECTRUM", "LinearDenoiser", "Spectrum", "inputs_of", "linear_denoiser", "measure_spectrum"]

SPECTRUM = "spectrum"
"""Entry of `network` on a card that holds the spectrum."""

_POINTS = 8
_RIDGE = 1e-3
_MOST = 1e4  # no number of a spectrum is larger
_LEAST = 1e-8  # variance that no coefficient is below: values of 8 bits in [-1, 1] have 5e-6


@dataclass(frozen=True)
class Spectrum:
    """Mean and spectrum of patches, as a card stores them.

    Args:
        mean: Mean of each channel.
        basis: A row of weights of the channels for each channel of the basis; orthonormal up to rounding.
        constant: Natural logarithm of the variance of the constant coefficient, for each channel of the basis.
        place: The points, rising; 1 is an index that is the patch's side.
        radial: Summand for the distance from zero: a row for each point, with a number for each channel of the basis.
        axes: Summand for the place along each spatial axis: rows as in `radial`, after one for index 0.
    """

    mean: tuple[float, ...]
    basis: tuple[tuple[float, ...], ...]
    constant: tuple[float, ...]
    place: tuple[float, ...]
    radial: tuple[tuple[float, ...], ...]
    axes: tuple[tuple[tuple[float, ...], ...], ...]

    def __post_init__(self) -> None:
        try:
            tensors = {name: torch.tensor(value) for name, value in dataclasses.asdict(self).items()}
        except (TypeError, ValueError, RuntimeError):
            tensors = {}
        count, points, axes = len(self.mean), len(self.place), len(self.axes)
        expected = {
            "mean": (count,), "basis": (count, count), "constant": (count,), "place": (points,),
            "radial": (points, count), "axes": (axes, points + 1, count),
        }  # fmt: skip
        good = (
            tensors and all(tensors[name].shape == shape for name, shape in expected.items()) and count and points > 1
        )
        if not good or not all((x.abs() < _MOST).all() for x in tensors.values()) or not _rises(tensors["place"]):
            raise ValueError(
                f"a spectrum has finite numbers for each channel, point and axis, but those of this one do not belong "
                f"to its {count} channels, {points} points and {axes} axes. Restore the card that came with the prior."
            )

    @classmethod
    def from_json(cls, entries: Any) -> "Spectrum":
        """Read a spectrum from a card's entry.

        Raises:
            ValueError: If it is none.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(entries, dict) or set(entries) != names:
            raise ValueError(f"a spectrum has the entries {', '.join(sorted(names))}. Restore the prior's card.")
        return cls(**{name: _as_tuples(value) for name, value in entries.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a card."""
        return {name: _as_lists(value) for name, value in dataclasses.asdict(self).items()}


class LinearDenoiser(nn.Module):
    """The best linear denoiser of patches with a spectrum.

    Args:
        spectrum: The spectrum.
        size: Spatial shape of the patches.

    Example:
        >>> flat = Spectrum((0.0,), ((1.0,),), (0.0,), (0.1, 1.0), ((0.0,),) * 2, (((0.0,),) * 3,) * 2)  # variance 1
        >>> linear = LinearDenoiser(flat, (4, 4))
        >>> round(linear(torch.ones(1, 1, 4, 4), torch.tensor([1.0])).mean().item(), 4)  # sigma^2 / (1 + sigma^2)
        0.5
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor

    def __init__(self, spectrum: Spectrum, size: tuple[int, ...]) -> None:
        super().__init__()
        self.dimensions = len(size)
        left, _, right = torch.linalg.svd(torch.tensor(spectrum.basis, dtype=torch.float64))
        log = _summands(size, spectrum.place) @ torch.tensor([*spectrum.radial, *sum(spectrum.axes, ())]).double()
        log[0] = torch.tensor(spectrum.constant, dtype=torch.float64)
        self.register_buffer("mean", torch.tensor(spectrum.mean), persistent=False)
        self.register_buffer("basis", (left @ right).float(), persistent=False)
        self.register_buffer("variance", log.exp().float().T.reshape(-1, *size).contiguous(), persistent=False)
        for axis, side in enumerate(size):
            self.register_buffer(f"cosine{axis}", cosines(side).float(), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Apply a change of a prior's tensors; these follow to another device, and stay float32."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in self._buffers.items():
            old = before[name]
            if value is not None and old is not None and value.dtype != old.dtype:
                self._buffers[name] = old.to(value.device)
        return self

    def forward(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return what the denoiser removes from noised patches: `x - D(x)`."""
        inside = self._transform(self._mix(x - self.mean.reshape(-1, *[1] * self.dimensions), self.basis))
        return self._mix(self._transform(self._gain(sigma) * inside, inverse=True), self.basis.T)

    def error(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *ones"]:
        """Return the root mean square of the denoiser's error in each channel."""
        squared = (self.variance * self._gain(sigma)).flatten(2).mean(2) @ self.basis.square()
        return squared.sqrt().reshape(*squared.shape, *[1] * self.dimensions)

    def _gain(self, sigma: Tensor) -> Tensor:
        squared = sigma.to(self.variance).reshape(-1, *[1] * self.variance.ndim).square()
        return squared / (self.variance + squared)

    def _mix(self, x: Tensor, rows: Tensor) -> Tensor:
        return (rows @ x.flatten(2)).reshape(x.shape)

    def _transform(self, x: Tensor, *, inverse: bool = False) -> Tensor:
        """The orthonormal cosine transform along each spatial axis, or its inverse."""
        rows = [getattr(self, f"cosine{axis}") for axis in range(self.dimensions)]
        return _along_axes(x, [matrix.T for matrix in rows] if inverse else rows)


def linear_denoiser(card: PriorCard) -> LinearDenoiser | None:
    """Return the linear denoiser of the spectrum on a card; None where the card has none.

    Raises:
        ValueError: If the spectrum is none, or one of other channels.
    """
    if (entries := card.network.get(SPECTRUM)) is None:
        return None
    spectrum = Spectrum.from_json(entries)
    if len(spectrum.mean) != len(card.channels):
        raise ValueError(
            f"the card of prior {card.name!r} has a spectrum of {len(spectrum.mean)} channels, but names "
            f"{len(card.channels)}. Restore the card that came with the prior."
        )
    return LinearDenoiser(spectrum, card.size)


def inputs_of(card: PriorCard) -> int:
    """Return how many tensors with the patch's channels the network of a card takes."""
    return 1 + (SPECTRUM in card.network) + bool(card.network.get("conditional", False))


def measure_spectrum(x: Float[Tensor, "b c *space"], weight: Float[Tensor, "b c *space"] | None = None) -> Spectrum:
    """Measure the spectrum of clean patches.

    Args:
        x: The patches, at least two.
        weight: 0 where a value is unknown: the mean of its patch and channel stands there.

    Raises:
        ValueError: If there are fewer than two patches, or a value is not finite.
    """
    if len(x) < 2 or not x.isfinite().all():
        raise ValueError(f"a spectrum is measured on two patches at least, of finite values; these are {len(x)}.")
    x = _filled(x.double(), weight)
    size = tuple(x.shape[2:])
    mean = x.transpose(0, 1).flatten(1).mean(1)
    x = _along_axes(x, [cosines(side) for side in size]).flatten(2).permute(2, 0, 1)  # f b c
    x[0] -= mean * math.sqrt(math.prod(size))
    covariance = x.mT @ x / x.shape[1]
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1).clamp_min(_LEAST)
    _, basis = torch.linalg.eigh((covariance / trace[:, None, None]).mean(0))  # all frequencies alike
    variance = (basis.T @ covariance @ basis).diagonal(dim1=1, dim2=2).clamp_min(_LEAST)
    place = torch.logspace(-math.log10(max(*size, 2)), math.log10(math.sqrt(len(size))), _POINTS, dtype=torch.float64)
    place = place.mul(1e6).round().div(1e6)
    sums, log = _summands(size, place.tolist()), variance.log()
    ridge = _RIDGE * torch.eye(sums.shape[1], dtype=torch.float64)  # one summand can stand for another
    found = torch.linalg.solve(sums[1:].T @ sums[1:] + ridge, sums[1:].T @ (log[1:] - log.mean(0)))
    found[:_POINTS] += log.mean(0)
    values = (mean, basis.T, log[0], place, found[:_POINTS], found[_POINTS:].unflatten(0, (len(size), -1)))
    return Spectrum(*(_as_tuples(value.mul(1e6).round().div(1e6).tolist()) for value in values))


def cosines(side: int) -> Float[Tensor, "{side} {side}"]:
    """Return the orthonormal cosine transform of a line, a row per frequency, in float64."""
    k, n = torch.arange(side, dtype=torch.float64)[:, None], torch.arange(side, dtype=torch.float64)[None]
    rows = torch.cos(math.pi * (n + 0.5) * k / side) * math.sqrt(2 / side)
    rows[0] /= math.sqrt(2)
    return rows


def _along_axes(x: Float[Tensor, "b c *space"], rows: Sequence[Tensor]) -> Float[Tensor, "b c *space"]:
    """The product of each spatial axis with a matrix of its own."""
    for axis, matrix in enumerate(rows, start=2):
        x = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return x


def _filled(x: Tensor, weight: Tensor | None) -> Tensor:
    """The patches with the mean of what is known of a patch's channel, or of all patches, where a value is unknown."""
    if weight is None:
        return x
    known = (weight > 0).to(x)
    axes = tuple(range(2, x.ndim))
    everywhere = (x * known).sum((0, *axes), keepdim=True) / known.sum((0, *axes), keepdim=True).clamp_min(1)
    total = known.sum(axes, keepdim=True)
    own = torch.where(total > 0, (x * known).sum(axes, keepdim=True) / total.clamp_min(1), everywhere)
    return torch.where(known > 0, x, own)


def _summands(size: tuple[int, ...], points: Sequence[float]) -> Float[Tensor, "f s"]:
    """Shares of the points in the logarithm of the variance of each coefficient: of `radial`, then of each axis."""
    grids = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) / n for n in size), indexing="ij")
    places = [grid.flatten() for grid in grids]
    distance = torch.stack(places).square().sum(0).sqrt()
    zero = [(place == 0).double()[:, None] for place in places]
    along = [
        torch.cat([none, (1 - none) * _shares(place, points)], 1) for place, none in zip(places, zero, strict=True)
    ]
    return torch.cat([_shares(distance, points), *along], 1)


def _shares(place: Float[Tensor, " f"], points: Sequence[float]) -> Float[Tensor, "f p"]:
    """Shares of the two points about each place, linear in its logarithm; beyond both ends those of the last point."""
    log = torch.tensor(points, dtype=torch.float64).log()
    at = place.clamp_min(points[0]).log().clamp(log[0], log[-1])
    above = torch.searchsorted(log, at).clamp(1, len(points) - 1)
    share = (at - log[above - 1]) / (log[above] - log[above - 1])
    out = torch.zeros(len(place), len(points), dtype=torch.float64)
    return out.scatter_(1, above[:, None] - 1, 1 - share[:, None]).scatter_(1, above[:, None], share[:, None])


def _rises(place: Tensor) -> bool:
    return bool(place[0] > 0) and bool((place.diff() > 0).all())


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _as_lists(value: Any) -> Any:
    return [_as_lists(v) for v in value] if isinstance(value, list | tuple) else value
