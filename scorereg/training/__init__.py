"""Training of priors: data to patches, the loop, and what is measured at its end."""

from scorereg.training.export import export_prior, push_prior
from scorereg.training.settings import RECIPES, Settings
from scorereg.training.train import train_prior

__all__ = ["RECIPES", "Settings", "export_prior", "push_prior", "train_prior"]
