"""Priors: the protocol, a closed form, networks with their cards, adapters, compositions, and the shipped ones."""

from scorereg.priors.adapters import (
    WrappedPrior,
    as_deepinv,
    cosine_betas,
    from_denoiser,
    from_diffusers,
    linear_betas,
    scheduler_settings,
    wrap,
)
from scorereg.priors.base import Prior, score
from scorereg.priors.card import PriorCard
from scorereg.priors.compose import ChannelPrior, MarginalPrior, ProductPrior, TemperedPrior
from scorereg.priors.gaussian import GaussianFieldPrior
from scorereg.priors.load import load_prior, shipped_priors
from scorereg.priors.networks import NetworkPrior, build_network
from scorereg.priors.sampling import sample
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
    "build_network",
    "cosine_betas",
    "from_denoiser",
    "from_diffusers",
    "linear_betas",
    "load_prior",
    "sample",
    "scheduler_settings",
    "score",
    "shipped_priors",
    "wrap",
]
