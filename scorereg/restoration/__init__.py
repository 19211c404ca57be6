"""Restoration of images from measurements, and draws from their posterior, with a diffusion prior."""

from scorereg.restoration.posterior import Sampler, sample_posterior
from scorereg.restoration.problem import Measure
from scorereg.restoration.result import Draws, Restored
from scorereg.restoration.run import Method, restore

__all__ = ["Draws", "Measure", "Method", "Restored", "Sampler", "restore", "sample_posterior"]
