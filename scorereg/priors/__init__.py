"""Priors: the protocol, a closed form, networks with their cards, and the shipped ones."""

from scorereg.priors.adapters.deepinv import as_deepinv
from scorereg.priors.adapters.diffusers import from_diffusers, scheduler_settings
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap
from scorereg.priors.base import Prior, score
from scorereg.priors.card import PriorCard
from scorereg.priors.compose import ChannelPrior, MarginalPrior, ProductPrior, TemperedPrior
from scorereg.priors.gaussian import GaussianFieldPrior
from scorereg.priors.load import load_prior, shipped_priors
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.tile import TiledPrior

__all__ = [
    "ChannelPrior",
    "GaussianFieldPrior",
    "MarginalPrior",
    "NetworkPrior",
    "Prior",
    "PriorCard",
    "ProductPrior",
    "TemperedPrior",
    "TiledPrior",
    "WrappedPrior",
    "as_deepinv",
    "from_diffusers",
    "load_prior",
    "scheduler_settings",
    "score",
    "shipped_priors",
    "wrap",
]
