"""Fits of a field to photos, with any list of terms: the one place where rendering and priors meet."""

from scorereg.fit.fit import Regularize, default_field, default_terms, fit_scene
from scorereg.fit.fitted import Fit
from scorereg.fit.measured_depth import MeasuredDepth
from scorereg.fit.paper import (
    PAPER_BACKGROUND,
    PaperDistortion,
    PaperFrustum,
    PaperOpacity,
    on_paper_background,
    paper_terms,
)
from scorereg.fit.patch_prior import PatchPrior
from scorereg.fit.ray_prior import RayPrior
from scorereg.fit.recipe import CPU, GPU, PRESETS, Preset, Recipe
from scorereg.fit.smoothness import Smoothness
from scorereg.fit.term import Batch, FitContext, FunctionTerm, Term
from scorereg.fit.terms import (
    Distortion,
    Frustum,
    Opacity,
    Photo,
    PhotoConsistency,
    UnknownBackground,
    WeightDecay,
    geometric_terms,
    photo_terms,
)

__all__ = [
    "CPU",
    "GPU",
    "PAPER_BACKGROUND",
    "PRESETS",
    "Batch",
    "Distortion",
    "Fit",
    "FitContext",
    "Frustum",
    "FunctionTerm",
    "MeasuredDepth",
    "Opacity",
    "PaperDistortion",
    "PaperFrustum",
    "PaperOpacity",
    "PatchPrior",
    "Photo",
    "PhotoConsistency",
    "Preset",
    "RayPrior",
    "Recipe",
    "Regularize",
    "Smoothness",
    "Term",
    "UnknownBackground",
    "WeightDecay",
    "default_field",
    "default_terms",
    "fit_scene",
    "geometric_terms",
    "on_paper_background",
    "paper_terms",
    "photo_terms",
]
