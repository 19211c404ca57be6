"""What a prior has learned, measured: denoising error against the best linear filter, tables and pictures."""

from scorereg.evaluation.datasets import evaluate_prior
from scorereg.evaluation.denoising import LinearFilter, denoising_errors, residual_quantiles, save_errors

__all__ = ["LinearFilter", "denoising_errors", "evaluate_prior", "residual_quantiles", "save_errors"]
