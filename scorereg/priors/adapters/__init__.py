"""Adapters: networks of other libraries as priors, and priors as denoisers of DeepInverse."""

from scorereg.priors.adapters.conversions import cosine_betas, linear_betas
from scorereg.priors.adapters.deepinv import as_deepinv
from scorereg.priors.adapters.diffusers import from_diffusers, load_diffusers, scheduler_settings
from scorereg.priors.adapters.karras import from_denoiser
from scorereg.priors.adapters.latent import Latents, from_text_pipeline
from scorereg.priors.adapters.lucidrains import is_lucidrains, load_lucidrains
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = [
    "Latents",
    "WrappedPrior",
    "as_deepinv",
    "cosine_betas",
    "from_denoiser",
    "from_diffusers",
    "from_text_pipeline",
    "is_lucidrains",
    "linear_betas",
    "load_diffusers",
    "load_lucidrains",
    "scheduler_settings",
    "wrap",
]
