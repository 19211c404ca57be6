"""Fits of a field to photos: the one place where rendering and priors meet."""

from scorereg.fit.fit import CPU, GPU, Extra, Fit, Recipe, Regularize, fit_scene
from scorereg.fit.ray_prior import RayTerm

__all__ = ["CPU", "GPU", "Extra", "Fit", "RayTerm", "Recipe", "Regularize", "fit_scene"]
