"""Foreign networks as priors: diffusers, k-diffusion, lucidrains, latent models, DeepInverse."""
