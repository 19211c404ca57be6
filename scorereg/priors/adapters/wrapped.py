"""`wrap`: any network as a prior, given its prediction target and how its input was noised."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from scorereg.priors.adapters.conversions import PREDICTIONS, Noise, noise_of, residual_coefficients
from scorereg.priors.base import check_patch, tiles_hint
from scorereg.priors.card import PriorCard

__all__ = ["WrappedPrior", "wrap"]

ASSUMED_RANGE = "data in [-1, 1] in training: data_range= says otherwise"

_DROPS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

Time = Literal["index", "fraction", "sigma"] | Callable[[Tensor], Any]


def wrap(
    network: Callable[..., Any],
    *,
    prediction: str,
    channels: tuple[str, ...],
    betas: Any = None,
    alphas_cumprod: Any = None,
    sigmas: Any = None,
    flow: bool = False,
    sigma_data: float | None = None,
    time: Time | None = None,
    data_range: tuple[float | int, float | int] | None = None,
    sigma_range: tuple[float | int, float | int] | None = None,
    outside: Literal["error", "clamp"] = "error",
    dtype: torch.dtype | None = None,
    size: tuple[int, ...] = (),
    multiple: int = 1,
    card: PriorCard | None = None,
) -> "WrappedPrior":
    """Make a prior of any callable `network(z, t)`.

    Prior space is [-1, 1]; data and noise levels are converted to the network's units by `data_range`. Give at most one
    of `betas`, `alphas_cumprod`, `sigmas`, `flow` and `sigma_data`. Without any, z = x (variance exploding with
    continuous levels), as for a denoiser `D(x, sigma)`.

    Args:
        network: Called as `network(z, t)`, with z of shape (b, c, *space) and t of shape (b,). A module should be in
            evaluation mode. Of an object with `.sample`, that is used; of a tuple, the first item; of twice the
            channels (mean and learned variance), the first half. Bind more arguments with `functools.partial`.
        prediction: Output of the network: `"epsilon"` (the noise n), `"sample"` or `"denoised"` (x_0), `"v_prediction"`
            (a n - b x_0), `"velocity"` (n - x_0 = dz/dt of a flow), `"score"` (gradient of log p at z, -n / b), or
            `"edm"` (F of EDM's preconditioning, D = c_skip x + c_out F).
        channels: Channel names, in order.
        betas: Variance preserving: variances that the steps add.
        alphas_cumprod: Variance preserving: cumulative products of 1 - beta; `z = sqrt(abar) x_0 + sqrt(1 - abar) n`.
        sigmas: Variance exploding, with a table: `z = x_0 + sigma n`.
        flow: Flow matching: `z = (1 - t) x_0 + t n`. For the opposite direction of time, pass
            `lambda z, t: -network(z, 1 - t)`.
        sigma_data: EDM: `z = (x_0 + sigma n) / sqrt(sigma^2 + sigma_data^2)`.
        time: The network's t: `"index"` into the table, linear in log sigma between entries; `"fraction"`, which is
            index / (entries - 1), or t of a flow; `"sigma"` in the network's units; or a function of the index (with a
            table), of t (flow) or of sigma. By default the index, t, ln(sigma) / 4 for EDM, or sigma. In float32, as
            half precision cannot hold an index; for a network that needs integers pass
            `lambda z, t: network(z, t.round().long())`.
        data_range: Values of the network's data that are -1 and 1 in prior space; by default -1 and 1.
        sigma_range: Smallest and largest level in the network's units, if there is no table.
        outside: Levels outside the range: `"error"`, or `"clamp"`, which uses the score of the smallest level below the
            range (the density hardly changes there) and the denoised patch of the largest level above it.
        dtype: Dtype of z; by default that of the network's parameters, or of x without parameters. Everything else
            is computed in float32, or float64 for float64 x.
        size: Spatial shape of a training patch, for the card.
        multiple: What the network needs sides to be multiples of; other patches are extended by reflection, and cut.
        card: Card to use instead of one made from these arguments.

    Raises:
        ValueError: If an argument is unknown or contradicts another. `denoise` raises it for a patch of other channels,
            a level outside the range, or an output of another shape.

    Example:
        >>> import torch
        >>> from scorereg import wrap
        >>> prior = wrap(lambda z, t: z, prediction="epsilon", alphas_cumprod=[0.9, 0.5, 0.1], channels=("gray",))
        >>> round(prior.denoise(torch.ones(1, 1, 2, 2), torch.tensor([1.0]))[0, 0, 0, 0].item(), 5)  # 1 - sqrt(0.5)
        0.29289
    """
    if prediction not in PREDICTIONS:
        raise ValueError(f"no prediction is called {prediction!r}; choose one of {', '.join(PREDICTIONS)}.")
    noise = noise_of(betas=betas, alphas_cumprod=alphas_cumprod, sigmas=sigmas, flow=flow, sigma_data=sigma_data)
    if sigma_range is not None:
        if noise.sigmas is not None or not 0 <= sigma_range[0] < sigma_range[1]:
            raise ValueError(
                f"sigma_range is (low, high) where there is no table; got {sigma_range} for {noise.family}."
            )
        noise = Noise(noise.family, float(sigma_range[0]), float(sigma_range[1]), sigma_data=noise.sigma_data)
    low, high = (-1.0, 1.0) if data_range is None else _ends(data_range)
    if time in ("index", "fraction") and noise.sigmas is None and (time, noise.family) != ("fraction", "flow"):
        raise ValueError(f"time={time!r} counts the entries of a table; give betas, alphas_cumprod or sigmas with it.")
    if isinstance(time, str) and time not in ("index", "fraction", "sigma"):
        raise ValueError(f"time is 'index', 'fraction', 'sigma' or a function, but got {time!r}.")
    if outside not in ("error", "clamp"):
        raise ValueError(f"outside is 'error' or 'clamp', but got {outside!r}.")
    if isinstance(channels, str) or not channels:
        raise ValueError("wrap needs the names of the network's channels, like channels=('r', 'g', 'b').")
    if len(set(channels)) < len(tuple(channels)):
        raise ValueError(f"wrap needs each channel's name once, but got channels={tuple(channels)}.")
    _warn_of_training(network)
    if card is None:
        unit = (high - low) / 2
        card = PriorCard(
            type(network).__name__, tuple(channels), tuple(size), noise.low / unit, noise.high / unit, depth=None,
            network={"predicts": prediction}, assumed=(ASSUMED_RANGE,) if data_range is None else (),
        )  # fmt: skip
    prior = WrappedPrior(network, prediction, noise, time, (float(low), float(high)), outside == "clamp", dtype, card)
    prior.multiple = multiple
    return prior


def _warn_of_training(network: Any) -> None:
    """Warn of a module whose dropout or batch statistics are still those of the training."""
    while isinstance(network, functools.partial):
        network = network.func
    for part in network.modules() if isinstance(network, nn.Module) else ():
        drops = isinstance(part, _DROPS) and part.p > 0
        if part.training and (drops or isinstance(part, _BATCH)):
            warnings.warn(
                f"{type(network).__name__} is in training mode, and its {type(part).__name__} then changes the output "
                "from call to call. Put it into evaluation mode: network.eval().",
                stacklevel=3,
            )
            return


def _ends(data_range: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in data_range if not isinstance(end, str))
        if -math.inf < low < high < math.inf:
            return low, high
    except (TypeError, ValueError):
        pass  # the error below covers these too
    raise ValueError(f"data_range must be (lowest, highest), like (0, 1), but got {data_range!r}.")


class WrappedPrior(nn.Module):
    """Prior around a network of another library, made by `wrap`. Its tables stay float64 and on the CPU."""

    def __init__(
        self,
        network: Callable[..., Any],
        prediction: str,
        noise: Noise,
        time: Time | None,
        data_range: tuple[float, float],
        clamp: bool,
        dtype: torch.dtype | None,
        card: PriorCard,
    ) -> None:
        super().__init__()
        self.network = network
        self.prediction = prediction
        self.noise = noise
        self.time = time
        self.middle, self.unit = sum(data_range) / 2, (data_range[1] - data_range[0]) / 2
        self.clamp = clamp
        self.dtype = dtype
        self.card = card
        self.multiple = 1
        self.transform: Any = None  # renders to the prior's space, for a latent model

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.card.channels

    @torch.no_grad()
    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return the posterior mean of the clean patch, without an autograd graph.

        Raises:
            ValueError: If channels or noise levels are not the network's, or its output has another shape.
        """
        return (x - self.residual(x, sigma)).to(x.dtype)

    @torch.no_grad()
    def residual(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return `x - denoise(x, sigma)` without cancellation, for `score` at small sigma."""
        check_patch(self, x, sigma)
        wanted = sigma.detach().to("cpu", torch.float64) * self.unit
        level = self.noise.inside(wanted, clamp=self.clamp, unit=self.unit)
        p, q = residual_coefficients(self.prediction, level, self.noise)
        share = (wanted / level).clamp(max=1).square() / self.unit  # below the range: the score of its lower end
        kind = torch.promote_types(x.dtype, torch.float32)
        factors = torch.stack([self.noise.scale(level), p * share, q * share]).to(x.device, kind)
        a, p, q = factors.reshape(3, -1, *[1] * (x.ndim - 1))
        noised = self.middle + self.unit * x.to(kind)
        out = self._run(_extended(a * noised, self.multiple), self._time(level))
        return p * noised + q * out[(..., *(slice(side) for side in x.shape[2:]))]

    def __repr__(self) -> str:
        return f"WrappedPrior({self.card.summary()}, prediction={self.prediction})"

    def _time(self, level: Tensor) -> Any:
        at = self.noise.position(level)
        if callable(self.time):
            return self.time(at)
        if self.time == "sigma":
            return level
        if self.time == "fraction" and self.noise.sigmas is not None:
            return at / self.noise.last
        return level.log() / 4 if self.time is None and self.noise.family == "edm" else at

    def _run(self, z: Tensor, time: Any) -> Tensor:
        """The network's answer; what it raises at another patch size than its own is an error that says so."""
        try:
            return self._predict(z, time)
        except (RuntimeError, AssertionError) as error:
            size, given = self.card.size, tuple(z.shape[2:])
            if type(error) not in (RuntimeError, AssertionError) or given == size:  # memory that ran out, or a fault
                raise
            line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            made = f"It was made for patches of {size}. " if size else ""
            raise ValueError(
                f"the network of prior {self.card.name!r} fails on patches of {given} pixels ({line}). {made}"
                f"{tiles_hint(size, given)}"
            ) from error

    def _predict(self, z: Tensor, time: Any) -> Tensor:
        kind = self.dtype
        module = getattr(self.network, "func", self.network)  # the network inside a functools.partial
        if kind is None and isinstance(module, nn.Module):
            kind = next((value.dtype for value in module.parameters() if value.is_floating_point()), None)
        kind = kind or z.dtype
        if time.is_floating_point():
            time = time.to(torch.promote_types(kind, torch.float32))
        out = self.network(z.to(kind), time.to(z.device))
        out = getattr(out, "sample", out)
        out = out[0] if isinstance(out, tuple) else out
        if out.ndim == z.ndim and out.shape[1] == 2 * z.shape[1]:
            out = out[:, : z.shape[1]]
        if out.shape != z.shape:
            raise ValueError(
                f"the network returned shape {tuple(out.shape)} for an input of shape {tuple(z.shape)}; a prediction "
                "has the shape of the input, or twice its channels with a learned variance."
            )
        return out.to(z.dtype)


def _extended(z: Float[Tensor, "b c *space"], multiple: int) -> Float[Tensor, "b c *more"]:
    """Extend sides at their ends, by reflection, to multiples of a number."""
    missing = [-side % multiple for side in z.shape[2:]]
    if not any(missing):
        return z
    if any(more >= side for more, side in zip(missing, z.shape[2:], strict=True)):
        raise ValueError(
            f"this network needs sides that are multiples of {multiple}, and {tuple(z.shape[2:])} is too small to be "
            "extended by reflection. Give larger patches."
        )
    return functional.pad(z, [part for more in reversed(missing) for part in (0, more)], mode="reflect")
