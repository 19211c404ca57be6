"""Measurement of priors: denoising error against the best linear filter, tables and pictures."""

from scorereg.evaluation.datasets import evaluate_prior
from scorereg.evaluation.denoising import LinearFilter, denoising_errors, residual_quantiles, save_errors
from scorereg.evaluation.pictures import patch_grid, save_grid
from scorereg.evaluation.tables import card_table, error_table
from scorereg.evaluation.verdict import error_lines

__all__ = [
    "LinearFilter", "card_table", "denoising_errors", "error_lines", "error_table", "evaluate_prior", "patch_grid",
    "residual_quantiles", "save_errors", "save_grid",
]  # fmt: skip
