"""Whether a prior is one that a fit can use, asked before the fit begins, and how a saved fit knows it again."""

import hashlib
from typing import Any

from scorereg.fit.recipe import Recipe
from scorereg.priors.card import PriorCard
from scorereg.transforms.rgbd import RGBD

__all__ = ["check_levels", "known_as", "patch_transform"]


def patch_transform(card: PriorCard, recipe: Recipe) -> RGBD:
    """Return the transform from rendered patches to a prior's space.

    Raises:
        ValueError: If the prior is not one over RGB-D patches of cameras, or the recipe's noise levels are not its.
    """
    transform = RGBD.for_card(card)
    if recipe.focal is None and card.focal is None:
        raise ValueError(
            f"the card of the prior {card.name!r} has no focal length, so nothing says what its patches see. "
            "Write `focal` into the card, in pixels."
        )
    check_levels(card, recipe.sigma)
    return transform


def check_levels(card: PriorCard, sigma: tuple[float, float]) -> None:
    """Refuse noise levels that would stop a fit in its midst.

    Raises:
        ValueError: If the prior was not trained for one of them.
    """
    if not card.sigma_min <= min(sigma) <= max(sigma) <= card.sigma_max:
        raise ValueError(
            f"a fit asks the prior {card.name!r} at sigma {sigma[0]:g} to {sigma[1]:g}, but it was trained for "
            f"{card.sigma_min:g} to {card.sigma_max:g}. Choose another prior, or a `sigma` within its range."
        )


def known_as(prior: Any) -> str:
    """A prior's name and a checksum of its card: priors of one name differ in what was measured of them."""
    card = getattr(prior, "card", None)
    if card is None:
        return type(prior).__name__
    return f"{card.name} ({hashlib.sha256(card.to_json().encode()).hexdigest()[:8]})"
