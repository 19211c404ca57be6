"""Training of priors: RGB-D folders to patches, the loop, and what is measured at its end."""

from scorereg.training.report import export_prior
from scorereg.training.train import train_prior

__all__ = ["export_prior", "train_prior"]
