r"""Priors made of priors: products, temperatures, and priors of some of a patch's channels.

Each of these is a prior itself, so that they nest. In all of them score = (D - x) / sigma^2, and

    product       D = x + sum_i w_i (D_i - x)               score = sum_i w_i score_i
    temperature   D(x, sigma) = D_1(x, sigma / sqrt(T))
    some channels D = D_1 on those channels, and x on the others: no score there
    marginal      D = D_1(x with its missing channels filled in), without those

Where the parts have cards, the whole has one: what they agree on, and the noise levels that all of them know.
Where a part is conditional, so is the whole: it hands on which values are known, to those parts that take it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.priors.base import Prior, check_known, conditioning_args
from scorereg.priors.card import PriorCard

__all__ = ["ChannelPrior", "MarginalPrior", "ProductPrior", "TemperedPrior", "derived_card"]


class ProductPrior(nn.Module):
    r"""A weighted sum of scores: a product of experts at each noise level.

    $$ \nabla \log \prod_i p_{i,\sigma}(x)^{w_i} = \sum_i w_i \, \frac{D_i(x, \sigma) - x}{\sigma^2} $$

    The noised densities are multiplied, which is not the product of the densities with noise added to it; the two
    meet as sigma goes to 0. Weights that sum to 1 interpolate. A single prior with weight 1 / T is the noised density
    to that power; `TemperedPrior` is the other thing that this may mean.

    Args:
        priors: The parts, of the same channels in the same order; `ChannelPrior` brings them there.
        weights: One finite number each; 1, if not given. Below 0 it drives away from a prior.

    Raises:
        ValueError: If there is no part, numbers do not match, channels differ, or cards contradict each other.
    """

    def __init__(self, priors: Sequence[Prior], weights: Sequence[float | int] | None = None) -> None:
        super().__init__()
        self.priors = tuple(priors)
        self.weights = tuple(float(w) for w in ([1.0] * len(self.priors) if weights is None else weights))
        if not self.priors or len(self.priors) != len(self.weights):
            raise ValueError(
                f"a product needs as many weights as priors, but got {len(weights or ())} and {len(priors)}."
            )
        if not all(abs(w) < float("inf") for w in self.weights):
            raise ValueError(f"the weights of a product must be finite, but are {self.weights}.")
        for part in self.priors[1:]:
            if tuple(part.channels) != tuple(self.priors[0].channels):
                raise ValueError(
                    f"the priors of a product must share their channels, but one knows "
                    f"{', '.join(self.priors[0].channels)} and another {', '.join(part.channels)}. "
                    "ChannelPrior(prior, channels) brings a prior of fewer channels there."
                )
        self.channels = tuple(self.priors[0].channels)
        self.card = _common_card([c for c in (getattr(p, "card", None) for p in self.priors) if c is not None])
        self.conditional = any(getattr(p, "conditional", False) for p in self.priors)
        self.modules_inside = nn.ModuleList(p for p in self.priors if isinstance(p, nn.Module))  # moved with the whole

    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return `x + sum_i w_i (D_i - x)`, and what is known as it is."""
        check_known(self, known)
        out = x
        for prior, weight in zip(self.priors, self.weights, strict=True):
            out = out + weight * (prior.denoise(x, sigma, *conditioning_args(prior, known)) - x)
        return out if known is None else torch.where(known, x, out)


class TemperedPrior(nn.Module):
    r"""A prior raised to the power 1 / T, before noise is added to it.

    $$ D_T(x, \sigma) = D(x, \sigma / \sqrt{T}) $$

    The posterior of p^(1/T) at noise sigma is that of p at noise sigma / sqrt(T), to the power 1 / T. Both have their
    mode at the same place, for every p, and for a Gaussian p also their mean, so that this is exact there: variances
    times T, noise as it is. Otherwise it takes the one mean for the other. (`ProductPrior([prior], [1 / T])` instead
    multiplies the score by 1 / T at each sigma. For a Gaussian that tempers the noise as well: variance
    T (s^2 + sigma^2).)

    Args:
        prior: The prior.
        temperature: T > 0. Below 1 the prior is surer of itself, above 1 it allows more.

    Raises:
        ValueError: If the temperature is not positive and finite.
    """

    def __init__(self, prior: Prior, temperature: float | int) -> None:
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"a temperature must be positive and finite, but is {temperature:g}; 1 changes nothing.")
        self.prior = prior
        self.temperature = float(temperature)
        self.conditional = getattr(prior, "conditional", False)
        self.channels = tuple(prior.channels)
        card, root = getattr(prior, "card", None), self.temperature**0.5
        self.card = card and derived_card(
            card,
            name=f"{card.name} at temperature {temperature:g}",
            sigma_min=card.sigma_min * root,
            sigma_max=card.sigma_max * root,
        )

    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return `D(x, sigma / sqrt(T))`; that level must be in the prior's range."""
        check_known(self, known)
        return self.prior.denoise(x, sigma / self.temperature**0.5, *conditioning_args(self.prior, known))


class ChannelPrior(nn.Module):
    """A prior of some of a patch's channels; the others have no score, `D = x`.

    A prior of depth alone acts so on an RGB-D patch, or two priors, one of colour and one of depth, in a
    `ProductPrior`. Channels are found by name, so this also brings a prior's channels into another order.

    Args:
        prior: The prior of some channels.
        channels: The patch's channels, in order.

    Raises:
        ValueError: If the patch lacks one of the prior's channels, or a name comes twice.
    """

    index: Tensor

    def __init__(self, prior: Prior, channels: Sequence[str]) -> None:
        super().__init__()
        self.prior = prior
        self.channels = tuple(channels)
        self.conditional = getattr(prior, "conditional", False)
        self.register_buffer("index", _places(prior.channels, self.channels, "prior's", "patch"), persistent=False)
        card = getattr(prior, "card", None)
        self.card = card and derived_card(card, channels=self.channels)

    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return the patch with the prior's channels denoised."""
        check_known(self, known)
        mask = None if known is None else known.expand_as(x)[:, self.index]
        return x.index_copy(
            1, self.index, self.prior.denoise(x[:, self.index], sigma, *conditioning_args(self.prior, mask))
        )


class MarginalPrior(nn.Module):
    r"""A prior for patches that lack some of its channels: an RGB-D prior where there is only depth.

    The missing channels y are filled with what the prior makes of them, and noise of the same level on it,

    $$ y \leftarrow D_y(x, y; \sigma) + \sigma n $$

    first `rounds` times, and then once for each of the `draws` whose D_x are averaged. With y drawn from its
    distribution given x that average would be the marginal's posterior mean. Here the mean of the missing channels
    takes the place of a draw of them; for a Gaussian that changes nothing in expectation. The noise is the same at each
    call.

    Where the missing channels are known after all, from a photo for instance, give the whole patch to `ScoreLoss` with
    a mask `known` instead.

    Args:
        prior: The prior of more channels.
        channels: The patch's channels, in order, all of them the prior's.
        rounds: How often the missing channels are denoised before anything counts.
        draws: How many denoised patches are averaged; each costs as much as a round.
        start: Value of the missing channels to begin with, in prior space.
        seed: Seeds the noise.

    Raises:
        ValueError: If the prior lacks a channel, a name comes twice, `rounds` is negative or there is no draw.
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
        super().__init__()
        if rounds < 0 or draws < 1:
            raise ValueError(f"a marginal needs 0 or more rounds and at least 1 draw, but got {rounds} and {draws}.")
        self.prior = prior
        self.channels = tuple(channels)
        self.conditional = getattr(prior, "conditional", False)
        self.rounds, self.draws = rounds, draws
        self.start, self.seed = start, seed
        names = tuple(prior.channels)
        rest = [i for i, name in enumerate(names) if name not in self.channels]
        self.register_buffer("index", _places(self.channels, names, "patch's", "prior"), persistent=False)
        self.register_buffer("missing", torch.tensor(rest, dtype=torch.long), persistent=False)
        card = getattr(prior, "card", None)
        self.card = card and derived_card(card, channels=self.channels)

    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return the mean of the patches that were denoised together with what was filled in."""
        check_known(self, known)
        generator = torch.Generator().manual_seed(self.seed)
        whole = x.new_full((len(x), len(self.prior.channels), *x.shape[2:]), self.start).index_copy(1, self.index, x)
        level = sigma.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        mask = known
        if known is not None:  # what is filled in is not known
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


def derived_card(card: PriorCard, **changes: Any) -> PriorCard:
    """Return a card with changes, and without what was measured on the prior that it was of."""
    return dataclasses.replace(card, denoising={}, residual_quantiles={}, **changes)


def _places(names: Sequence[str], among: Sequence[str], whose: str, where: str) -> Tensor:
    """Index of each name in a longer list."""
    lost = [name for name in names if name not in among]
    if lost or len(set(names)) < len(names) or len(set(among)) < len(among):
        raise ValueError(
            f"each of the {whose} channels ({', '.join(names)}) must be found once in the {where}, "
            f"which has {', '.join(among)}."
        )
    return torch.tensor([list(among).index(name) for name in names])


def _common_card(cards: list[PriorCard]) -> PriorCard | None:
    """The card of priors that are used together on the same patches."""
    if len(cards) < 2:
        return derived_card(cards[0]) if cards else None
    for name in ("size", "range", "depth", "d_min"):
        values = {value for card in cards if (value := getattr(card, name)) is not None}
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
    name = " x ".join(card.name for card in cards)
    return derived_card(cards[0], name=name, sigma_min=low, sigma_max=high, focal=focal, **known)
