"""Any network as a prior: `wrap` says in its arguments what the network predicts and how its input was noised."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.adapters.conversions import PREDICTIONS, Noise, noise_of, residual_coefficients
from scorereg.priors.base import check_patch
from scorereg.priors.card import PriorCard

__all__ = ["WrappedPrior", "wrap"]

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
    data_range: tuple[float | int, float | int] = (-1.0, 1.0),
    sigma_range: tuple[float | int, float | int] | None = None,
    outside: Literal["error", "clamp"] = "error",
    dtype: torch.dtype | None = None,
    size: tuple[int, ...] = (),
    card: PriorCard | None = None,
) -> "WrappedPrior":
    """Make a prior of any callable `network(z, t)`.

    Prior space is [-1, 1]; the network's data, and with them its noise levels, are scaled to `data_range`. The noise is
    described by at most one of `betas`, `alphas_cumprod`, `sigmas`, `flow` and `sigma_data`; with none of them the
    network is fed x as it is (variance exploding, continuous levels), which is what a denoiser `D(x, sigma)` wants.

    Args:
        network: Called as `network(z, t)`, z of shape (b, c, *space), t of shape (b,). A module should be in evaluation
            mode. It may return an object with `.sample`, or a tuple of which the first counts; twice the channels are
            a mean and a learned variance, which is dropped. More arguments: `functools.partial(network, label=...)`.
        prediction: What it returns: `"epsilon"` (the noise n), `"sample"` or `"denoised"` (x_0), `"v_prediction"`
            (a n - b x_0), `"velocity"` (n - x_0, so dz/dt of a flow), `"score"` (the gradient of log p at z, -n / b),
            or `"edm"` (the F inside EDM's preconditioning, of which D = c_skip x + c_out F).
        channels: Channel names, in order.
        betas: Variance preserving: the variances that the steps add.
        alphas_cumprod: Variance preserving: their products; `z = sqrt(abar) x_0 + sqrt(1 - abar) n`.
        sigmas: Variance exploding, with a table: `z = x_0 + sigma n`.
        flow: Flow matching: `z = (1 - t) x_0 + t n`. For the other direction of time give
            `lambda z, t: -network(z, 1 - t)`.
        sigma_data: EDM: `z = (x_0 + sigma n) / sqrt(sigma^2 + sigma_data^2)`.
        time: What the network is told: `"index"` into the table, between two entries linear in log sigma;
            `"fraction"`, index / (entries - 1), or t of a flow; `"sigma"` in the network's units; or a function of the
            index (with a table), of t (flow) or of sigma. By default the index, t, ln(sigma) / 4 for EDM, or sigma.
            Numbers are float32, as an index is not exact in half precision; a network that looks up whole ones needs
            `lambda z, t: network(z, t.round().long())`.
        data_range: Smallest and largest value of the network's data, -1 and 1 in prior space.
        sigma_range: Levels that the network knows, in its own units, where no table says so.
        outside: `"error"`, or `"clamp"`: below the range the score of its lower end is used, as the density hardly
            changes any more; above it the denoised patch of the upper end.
        dtype: What z is cast to; by default the dtype of the network's parameters, and of x where it has none. All
            else is computed in float32, or float64 for float64 x.
        size: Spatial shape of a training patch, for the card.
        card: A card, in place of the one that is made of these arguments.

    Raises:
        ValueError: If an argument is unknown or contradicts another; `denoise` raises it for a patch of other channels,
            a level outside the range, or a network that returns another shape.

    Example:
        >>> import torch
        >>> from scorereg.priors import wrap
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
    low, high = data_range
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"data_range must be (lowest, highest), like (0, 1), but got {data_range}.")
    if time in ("index", "fraction") and noise.sigmas is None and (time, noise.family) != ("fraction", "flow"):
        raise ValueError(f"time={time!r} counts the entries of a table; give betas, alphas_cumprod or sigmas with it.")
    if isinstance(time, str) and time not in ("index", "fraction", "sigma"):
        raise ValueError(f"time is 'index', 'fraction', 'sigma' or a function, but got {time!r}.")
    if outside not in ("error", "clamp"):
        raise ValueError(f"outside is 'error' or 'clamp', but got {outside!r}.")
    if not channels:
        raise ValueError("wrap needs the names of the network's channels, like channels=('r', 'g', 'b').")
    if card is None:
        unit = (high - low) / 2
        name = type(network).__name__
        card = PriorCard(name, tuple(channels), tuple(size), noise.low / unit, noise.high / unit, depth=None)
    return WrappedPrior(network, prediction, noise, time, (float(low), float(high)), outside == "clamp", dtype, card)


class WrappedPrior(nn.Module):
    """A foreign network as a prior; `wrap` makes one. Its tables stay float64 and on the CPU wherever it moves."""

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
        self.transform: Any = None  # brings renders into the prior's space, where that is none of pixels

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.card.channels

    @torch.no_grad()
    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return the posterior mean of the clean patch, without an autograd graph.

        Raises:
            ValueError: If channels or noise levels are not the network's, or it returns another shape.
        """
        return (x - self.residual(x, sigma)).to(x.dtype)

    @torch.no_grad()
    def residual(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return `x - denoise(x, sigma)` before it is rounded; `score` uses it, and keeps its digits at small sigma."""
        check_patch(self, x, sigma)
        asked = sigma.detach().to("cpu", torch.float64) * self.unit
        level = self.noise.inside(asked, clamp=self.clamp, unit=self.unit)
        p, q = residual_coefficients(self.prediction, level, self.noise)
        share = (asked / level).clamp(max=1).square() / self.unit  # below the range: the score of its lower end
        kind = torch.promote_types(x.dtype, torch.float32)
        factors = torch.stack([self.noise.scale(level), p * share, q * share]).to(x.device, kind)
        a, p, q = factors.reshape(3, -1, *[1] * (x.ndim - 1))
        noised = self.middle + self.unit * x.to(kind)
        return p * noised + q * self._ask(a * noised, self._time(level))

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

    def _ask(self, z: Tensor, time: Any) -> Tensor:
        kind = self.dtype
        module = getattr(self.network, "func", self.network)  # what functools.partial holds
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
