"""`wrap`: any network as a prior, given its prediction target and how its input was noised."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scorereg.priors.adapters.answers import network_answer
from scorereg.priors.adapters.bound import check_bound_loaded
from scorereg.priors.adapters.callables import check_callable
from scorereg.priors.adapters.conversions import Noise, noise_of, residual_coefficients
from scorereg.priors.adapters.failures import Failure, cure_of_failure, extended
from scorereg.priors.adapters.keywords import explained
from scorereg.priors.adapters.noise_tables import warn_of_betas
from scorereg.priors.adapters.wrap_arguments import (
    Time,
    assumed_of,
    card_within,
    check_count,
    check_settings,
    checked_time,
    data_ends,
    ranged,
)
from scorereg.priors.base import check_finite_output, check_patch, evaluating
from scorereg.priors.card import PriorCard
from scorereg.priors.outside import without_graph
from scorereg.priors.weights import check_finite_module

__all__ = ["WrappedPrior", "wrap"]


@explained
def wrap(
    network: Callable[..., Any],
    *,
    prediction: str = "",
    channels: tuple[str, ...] = (),
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
    continuous levels), as for a denoiser `D(x, sigma)`; predictions other than `"denoised"` and `"score"` then need
    `time="sigma"`, which says so.

    Args:
        network: Called as `network(z, t)`, with z of shape (b, c, *space) and t of shape (b,). A module is put into
            evaluation mode for each call, and back; inside a lambda it is as you leave it. Of an object with `.sample`,
            that is used; of a tuple or list, the first item; of twice the channels (mean and learned variance), the
            first half. Bind more arguments by a lambda or `functools.partial`. One that takes a single number as t is
            called for each sample by a lambda:
            `lambda z, t: torch.cat([network(zi[None], ti) for zi, ti in zip(z, t)])`.
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
        card: Card to use instead of one made from these arguments, which it must not contradict.

    Raises:
        TypeError: If there is no such argument.
        ValueError: If the network cannot be called as `network(z, t)`, or an argument is of another type, a table of
            another name, or contradicts another one. `denoise` raises it for a patch of other channels, a level outside
            the range, and an output of another shape or kind.

    Example:
        >>> import torch
        >>> from scorereg import wrap
        >>> prior = wrap(lambda z, t: z, prediction="epsilon", alphas_cumprod=[0.9, 0.5, 0.1], channels=("gray",))
        >>> round(prior.denoise(torch.ones(1, 1, 2, 2), torch.tensor([1.0]))[0, 0, 0, 0].item(), 5)  # 1 - sqrt(0.5)
        0.29289
    """
    noise = noise_of(betas=betas, alphas_cumprod=alphas_cumprod, sigmas=sigmas, flow=flow, sigma_data=sigma_data)
    check_settings(
        prediction, noise, channels=channels, time=time, sigma_range=sigma_range, outside=outside, dtype=dtype,
        size=size, multiple=multiple, card=card,
    )  # fmt: skip
    noise = noise if sigma_range is None else ranged(noise, sigma_range)
    low, high = (-1.0, 1.0) if data_range is None else data_ends(data_range)
    check_callable(network, data_range)
    check_count(network, tuple(channels))
    check_bound_loaded(network)
    module = network.func if isinstance(network, functools.partial) else network
    if isinstance(module, nn.Module):
        check_finite_module(module, type(module).__name__)
    warn_of_betas(betas)
    unit = (high - low) / 2
    if card is not None:
        card = card_within(card, prediction, noise, unit, tuple(size), clamp=outside == "clamp")
    else:
        assumed = assumed_of(network, prediction, noise, tuple(channels), data_range, unit)
        card = PriorCard(
            type(network).__name__, tuple(channels), tuple(size), noise.low / unit, noise.high / unit, depth=None,
            network={"predicts": prediction}, assumed=assumed,
        )  # fmt: skip
    prior = WrappedPrior(network, prediction, noise, time, (float(low), float(high)), outside == "clamp", dtype, card)
    prior.multiple = multiple
    return prior


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
        self._answered = False  # whether it has denoised once
        self.transform: Any = None  # renders to the prior's space, for a latent model

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.card.channels

    @without_graph
    def denoise(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c *space"]:
        """Return the posterior mean of the clean patch, without an autograd graph.

        Raises:
            ValueError: If channels or noise levels are not the network's, or its output has another shape.
        """
        return (x - self.residual(x, sigma)).to(x.dtype)

    @without_graph
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
        out = self._run(extended(a * noised, self.multiple), self._time(level))
        return p * noised + q * out[(..., *(slice(side) for side in x.shape[2:]))]

    def __repr__(self) -> str:
        return f"WrappedPrior({self.card.summary()}, prediction={self.prediction})"

    def _time(self, level: Tensor) -> Any:
        at = self.noise.position(level)
        if callable(self.time):
            return checked_time(self.time(at), len(level))
        if self.time == "sigma":
            return level
        if self.time == "fraction" and self.noise.sigmas is not None:
            return at / self.noise.last
        return level.log() / 4 if self.time is None and self.noise.family == "edm" else at

    def _run(self, z: Tensor, time: Any) -> Tensor:
        """The network's answer; what it raises at another patch size than its own is an error that says so."""
        try:
            return self._predict(z, time)
        except (RuntimeError, AssertionError, IndexError, TypeError, ValueError) as error:
            failure = Failure(error, self._predict, self.network, z, time)
            steps = None if self.noise.sigmas is None else self.noise.last + 1
            cure = cure_of_failure(failure, self.channels, self.card.size, steps, self._kind())
            if cure is None:
                raise
            raise ValueError(
                f"the network of prior {self.card.name!r} fails on patches of {tuple(z.shape[2:])} pixels "
                f"({failure.line}). {cure}."
            ) from error

    def _kind(self) -> torch.dtype | None:
        """Dtype of the network's input: the one given, or that of its weights; None for a network without weights."""
        module = getattr(self.network, "func", self.network)  # the network inside a functools.partial
        weights = module.parameters() if isinstance(module, nn.Module) else iter(())
        return self.dtype or next((value.dtype for value in weights if value.is_floating_point()), None)

    def _predict(self, z: Tensor, time: Any) -> Tensor:
        kind = self._kind() or z.dtype
        if time.is_floating_point():
            time = time.to(torch.promote_types(kind, torch.float32))
        with evaluating(self.network):
            out = network_answer(self.network(z.to(kind), time.to(z.device)), z)
        if not self._answered:  # each check would wait for a GPU
            check_finite_output(out, z, self.card.name)
            self._answered = True
        return out
