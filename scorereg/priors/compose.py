r"""Priors composed of other priors: products, tempered priors, and priors of some of a patch's channels.

A composition is a prior itself, so compositions nest. In all of them score = (D - x) / sigma^2, and

    product       D = x + sum_i w_i (D_i - x)               score = sum_i w_i score_i
    tempered      D(x, sigma) = D_1(x, sigma / sqrt(T))
    some channels D = D_1 on those channels, D = x on the others, whose score is 0
    marginal      D = D_1(x with its missing channels filled in), without those

If parts have cards, the composition has one: the values that they share, and the noise levels that all of them cover.
If a part is conditional, so is the composition: the mask of known values goes to the parts that take one.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.priors.base import Prior, check_known, conditioning_args, one_line
from scorereg.priors.card import PriorCard
from scorereg.priors.composition import check_names, check_number, check_prior, check_priors, check_whole

__all__ = ["ChannelPrior", "ComposedPrior", "MarginalPrior", "ProductPrior", "TemperedPrior", "derived_card"]


class ComposedPrior(nn.Module):
    """Base of the compositions: `denoise` checks the mask of known values, and subclasses compute."""

    def __init__(self, parts: Sequence[Prior], channels: Sequence[str], card: PriorCard | None) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.card = card
        self.conditional = any(getattr(part, "conditional", False) for part in parts)

    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return the denoised patch, by the formula of the class.

        Args:
            x: Noised patches in prior space.
            sigma: Noise level of each patch, > 0, in prior-space units.
            known: Values of `x` that have no noise, broadcastable to `x`; only if a part is conditional.

        Raises:
            ValueError: If there is a mask and no part is conditional.
        """
        check_known(self, known)
        return self._denoise(x, sigma, known)

    def _denoise(self, x: Tensor, sigma: Tensor, known: Tensor | None) -> Tensor:
        raise NotImplementedError


class ProductPrior(ComposedPrior):
    r"""A product of experts at each noise level: a weighted sum of scores.

    $$ \nabla \log \prod_i p_{i,\sigma}(x)^{w_i} = \sum_i w_i \, \frac{D_i(x, \sigma) - x}{\sigma^2} $$

    This multiplies the noised densities. Adding noise to the product of the clean densities gives another density; the
    two agree in the limit of sigma to 0. Weights that sum to 1 interpolate between priors. One prior with weight 1 / T
    is the noised density to the power 1 / T; `TemperedPrior` raises the clean density to that power.

    Args:
        priors: Parts, with the same channels in the same order; `ChannelPrior` adds or reorders channels.
        weights: One finite number per part, default 1 each. A negative weight repels from that prior.

    Raises:
        ValueError: If there is no part or one is no prior, the counts differ, a weight is no finite number, channels
            differ, or cards contradict each other.
    """

    def __init__(self, priors: Sequence[Prior], weights: Sequence[float | int] | None = None) -> None:
        weights = [1.0] * (len(priors) if isinstance(priors, list | tuple) else 1) if weights is None else weights
        check_priors(priors, weights)
        for part in priors[1:]:
            if tuple(part.channels) != tuple(priors[0].channels):
                raise ValueError(
                    f"the priors of a product must share their channels, but one knows "
                    f"{', '.join(priors[0].channels)} and another {', '.join(part.channels)}. "
                    "ChannelPrior(prior, channels) extends a prior of fewer channels."
                )
        cards = [card for prior in priors if (card := getattr(prior, "card", None)) is not None]
        super().__init__(priors, priors[0].channels, _common_card(cards))
        self.priors = tuple(priors)
        self.weights = tuple(float(w) for w in weights)
        self.modules_inside = nn.ModuleList(p for p in priors if isinstance(p, nn.Module))  # so that `to` moves them

    def _denoise(self, x: Tensor, sigma: Tensor, known: Tensor | None) -> Tensor:
        out = x
        for prior, weight in zip(self.priors, self.weights, strict=True):
            out = out + weight * (prior.denoise(x, sigma, *conditioning_args(prior, known)) - x)
        return out if known is None else torch.where(known, x, out)

    def __repr__(self) -> str:
        return f"ProductPrior([{', '.join(map(one_line, self.priors))}], weights={list(self.weights)})"


class TemperedPrior(ComposedPrior):
    r"""A prior whose clean density is raised to the power 1 / T.

    $$ D_T(x, \sigma) = D(x, \sigma / \sqrt{T}) $$

    The posterior of $p^{1/T}$ at noise $\sigma$ is the posterior of p at noise $\sigma / \sqrt T$, to the power 1 / T.
    Their modes agree for every p, and for a Gaussian their means too: the formula is then exact, with variances T times
    as large and the noise unchanged. For other densities it takes the mean of one posterior for that of the other.

    `ProductPrior([prior], [1 / T])` instead multiplies the score by 1 / T at each sigma. For a Gaussian that scales the
    noise as well: variance $T (s^2 + \sigma^2)$.

    Args:
        prior: The prior.
        temperature: T > 0. Below 1 the density is narrower, above 1 wider; 1 changes nothing.

    Raises:
        ValueError: If there is no prior, or the temperature is not positive and finite.
    """

    def __init__(self, prior: Prior, temperature: float | int) -> None:
        check_prior(prior, "TemperedPrior")
        check_number(temperature, "a temperature", above=0.0)
        card, root = getattr(prior, "card", None), float(temperature) ** 0.5
        tempered = card and derived_card(
            card,
            name=f"{card.name} at temperature {temperature:g}",
            sigma_min=card.sigma_min * root,
            sigma_max=card.sigma_max * root,
        )
        super().__init__([prior], prior.channels, tempered)
        self.prior = prior
        self.temperature = float(temperature)

    def _denoise(self, x: Tensor, sigma: Tensor, known: Tensor | None) -> Tensor:
        return self.prior.denoise(x, sigma / self.temperature**0.5, *conditioning_args(self.prior, known))

    def __repr__(self) -> str:
        return f"TemperedPrior({one_line(self.prior)}, temperature={self.temperature:g})"


class ChannelPrior(ComposedPrior):
    """A prior of some of a patch's channels; the others are returned as they are, so that their score is 0.

    It applies a depth prior to RGB-D patches, or, inside a `ProductPrior`, one prior of colour and one of depth.
    Channels are found by name, so it also reorders the channels of a prior.

    Args:
        prior: Prior of some of the channels.
        channels: Names of the patch's channels, in order.

    Raises:
        ValueError: If the patch lacks one of the prior's channels, or a name occurs twice.
    """

    index: Tensor

    def __init__(self, prior: Prior, channels: Sequence[str]) -> None:
        check_prior(prior, "ChannelPrior")
        check_names(channels, "ChannelPrior")
        super().__init__([prior], channels, _card_with(prior, channels))
        self.prior = prior
        self.register_buffer("index", _indices(prior.channels, channels, "prior's", "patch"), persistent=False)

    def _denoise(self, x: Tensor, sigma: Tensor, known: Tensor | None) -> Tensor:
        mask = None if known is None else known.expand_as(x)[:, self.index]
        part = self.prior.denoise(x[:, self.index], sigma, *conditioning_args(self.prior, mask))
        return x.index_copy(1, self.index, part)

    def __repr__(self) -> str:
        return f"ChannelPrior({one_line(self.prior)}, channels={' '.join(self.channels)})"


class MarginalPrior(ComposedPrior):
    r"""A prior for patches that lack some of its channels, such as an RGB-D prior for depth alone.

    The missing channels y are filled with their denoised values plus noise of the same level,

    $$ y \leftarrow D_y(x, y; \sigma) + \sigma n $$

    first `rounds` times, then once for each of the `draws` whose D_x are averaged. With y drawn from its distribution
    given x the average would be the posterior mean of the marginal. Here y is the posterior mean instead of a sample,
    which for a Gaussian changes nothing in expectation. The noise is the same at each call.

    If the missing channels are known, from a photo for example, pass the whole patch and a mask `known` to `ScoreLoss`
    instead.

    Args:
        prior: Prior of more channels.
        channels: Names of the patch's channels, in order; each must be one of the prior's.
        rounds: Denoising steps of the missing channels before the average, >= 0.
        draws: Denoised patches in the average, >= 1. Each costs one call of the prior, as each round does.
        start: Initial value of the missing channels, in prior space.
        seed: Seed of the noise.

    Raises:
        ValueError: If the prior lacks a channel, a name occurs twice, `rounds` is negative or `draws` below 1.
    """

    index: Tensor
    missing: Tensor

    def __init__(
        self,
        prior: Prior,
        channels: Sequence[str],
        *,
        rounds: int = 1,
        draws: int = 2,
        start: float = 0.0,
        seed: int = 0,
    ) -> None:
        check_prior(prior, "MarginalPrior")
        check_names(channels, "MarginalPrior")
        for name, value, least in (("rounds", rounds, 0), ("draws", draws, 1), ("seed", seed, 0)):
            check_whole(value, f"`{name}` of a marginal", least)
        check_number(start, "`start` of a marginal")
        super().__init__([prior], channels, _card_with(prior, channels))
        self.prior = prior
        self.rounds, self.draws = rounds, draws
        self.start, self.seed = start, seed
        rest = [i for i, name in enumerate(prior.channels) if name not in channels]
        self.register_buffer("index", _indices(channels, prior.channels, "patch's", "prior"), persistent=False)
        self.register_buffer("missing", torch.tensor(rest, dtype=torch.long), persistent=False)

    def _denoise(self, x: Tensor, sigma: Tensor, known: Tensor | None) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        whole = x.new_full((len(x), len(self.prior.channels), *x.shape[2:]), self.start).index_copy(1, self.index, x)
        level = sigma.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        mask = known
        if known is not None:  # the filled-in channels are not known
            mask = torch.zeros_like(whole, dtype=torch.bool).index_copy(1, self.index, known.expand_as(x))
        total = torch.zeros_like(x)
        for step in range(self.rounds + self.draws):
            filled = whole[:, self.missing]
            noise = torch.randn(filled.shape, generator=generator).to(x)
            noisy = whole.index_copy(1, self.missing, filled + level * noise)
            denoised = self.prior.denoise(noisy, sigma, *conditioning_args(self.prior, mask))
            whole = whole.index_copy(1, self.missing, denoised[:, self.missing])
            total = total + denoised[:, self.index] * (step >= self.rounds)
        return total / self.draws

    def __repr__(self) -> str:
        settings = f"channels={' '.join(self.channels)}, rounds={self.rounds}, draws={self.draws}"
        return f"MarginalPrior({one_line(self.prior)}, {settings})"


def derived_card(card: PriorCard, **changes: Any) -> PriorCard:
    """Return a card with changes, and without the errors that were measured on its prior."""
    return dataclasses.replace(card, denoising={}, residual_quantiles={}, **changes)


def _card_with(prior: Prior, channels: Sequence[str]) -> PriorCard | None:
    card = getattr(prior, "card", None)
    return card and derived_card(card, channels=tuple(channels))


def _indices(names: Sequence[str], among: Sequence[str], whose: str, where: str) -> Tensor:
    """Index of each name in a longer list."""
    lost = [name for name in names if name not in among]
    if lost or len(set(names)) < len(names) or len(set(among)) < len(among):
        raise ValueError(
            f"each of the {whose} channels ({', '.join(names)}) must be found once in the {where}, "
            f"which has {', '.join(among)}."
        )
    return torch.tensor([list(among).index(name) for name in names])


def _common_card(cards: list[PriorCard]) -> PriorCard | None:
    """The card of priors that denoise the same patches; None without cards."""
    if len(cards) < 2:
        return derived_card(cards[0]) if cards else None
    for name in ("size", "range", "depth", "d_min"):
        values = {value for card in cards if (value := getattr(card, name)) not in (None, ())}  # () is unknown
        if len(values) > 1:
            raise ValueError(
                f"priors that are used together must agree on {name}, but their cards say "
                f"{' and '.join(map(str, sorted(values)))}. No patch can be right for both."
            )
    low, high = max(card.sigma_min for card in cards), min(card.sigma_max for card in cards)
    focals = [card.focal for card in cards if card.focal is not None]
    focal = (max(f[0] for f in focals), min(f[1] for f in focals)) if focals else None
    if low >= high or (focal and focal[0] > focal[1]):
        raise ValueError(
            f"priors that are used together must share noise levels and focal lengths, but {cards[0].name!r} and the "
            f"others have sigma from {low:g} to {high:g} and focal {focal} in common."
        )
    known = {name: next((v for c in cards if (v := getattr(c, name)) is not None), None) for name in ("depth", "d_min")}
    known["size"] = next((card.size for card in cards if card.size), ())
    known["assumed"] = tuple(dict.fromkeys(line for card in cards for line in card.assumed))
    name = " x ".join(card.name for card in cards)
    return derived_card(cards[0], name=name, sigma_min=low, sigma_max=high, focal=focal, **known)
