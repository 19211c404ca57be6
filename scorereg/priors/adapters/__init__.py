"""Adapters: networks of other libraries as priors, and priors as denoisers of DeepInverse.

`load_prior` imports two more when it needs them: `lucidrains` (checkpoints of denoising-diffusion-pytorch) and `latent`
(text-conditioned models).
"""

from scorereg.priors.adapters.conversions import cosine_betas, linear_betas
from scorereg.priors.adapters.deepinv import as_deepinv
from scorereg.priors.adapters.diffusers import from_diffusers
from scorereg.priors.adapters.diffusers_folder import load_diffusers
from scorereg.priors.adapters.karras import from_denoiser
from scorereg.priors.adapters.schedulers import scheduler_settings
from scorereg.priors.adapters.wrapped import WrappedPrior, wrap

__all__ = [
    "WrappedPrior",
    "as_deepinv",
    "cosine_betas",
    "from_denoiser",
    "from_diffusers",
    "linear_betas",
    "load_diffusers",
    "scheduler_settings",
    "wrap",
]
