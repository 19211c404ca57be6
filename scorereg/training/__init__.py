"""Training of priors: settings and recipes, the training loop, and export of the result."""

from scorereg.training.export import export_prior, open_prior, push_prior, save_prior
from scorereg.training.report import measure_folder
from scorereg.training.settings import RECIPES, Settings, recipe_settings
from scorereg.training.train import train_prior

__all__ = [
    "RECIPES", "Settings", "export_prior", "measure_folder", "open_prior", "push_prior", "recipe_settings",
    "save_prior", "train_prior",
]  # fmt: skip
