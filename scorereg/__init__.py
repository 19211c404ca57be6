"""Diffusion priors as regularisers for anything that is optimised by gradient descent.

A denoiser D of a trained diffusion model knows the score of its data, (D(x, sigma) - x) / sigma^2. `ScoreLoss` denoises
the output of a differentiable renderer and sends the score back as a gradient. Symbols and units, in every module:

    b c h w     batch, channels, height, width; a patch is `b c h w` and its channels have names
    x           a patch in prior space: every channel in [-1, 1]
    sigma       noise level in prior-space units, one per patch; x_sigma = x + sigma n, n ~ N(0, I)
    depth       planar z along the optical axis, never the distance along the ray
    pose        world from camera, OpenCV axes: x right, y down, z forward
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scorereg import baselines, estimators, metrics, schedules
from scorereg.cameras import Cameras, Rays
from scorereg.fit import CPU, GPU, Fit, PatchPrior, RayPrior, Recipe, Term, fit_scene, geometric_terms, photo_terms
from scorereg.priors import (
    ChannelPrior,
    GaussianFieldPrior,
    MarginalPrior,
    NetworkPrior,
    Prior,
    PriorCard,
    ProductPrior,
    TemperedPrior,
    TiledPrior,
    as_deepinv,
    load_prior,
    sample,
    score,
    wrap,
)
from scorereg.rendering import Field, HashGrid, Patches, PatchSampler, Render, VoxelGrid, render, surface_depth
from scorereg.restoration import restore, sample_posterior
from scorereg.scenes import Scene, load_scene
from scorereg.score_loss import RenderDenoiser, ScoreLoss
from scorereg.transforms import RGBD, Density, RayWeights, rebin

if TYPE_CHECKING:
    from scorereg.evaluation import evaluate_prior
    from scorereg.training import train_prior

    __version__: str

__all__ = [
    "CPU",
    "GPU",
    "RGBD",
    "Cameras",
    "ChannelPrior",
    "Density",
    "Field",
    "Fit",
    "GaussianFieldPrior",
    "HashGrid",
    "MarginalPrior",
    "NetworkPrior",
    "PatchPrior",
    "PatchSampler",
    "Patches",
    "Prior",
    "PriorCard",
    "ProductPrior",
    "RayPrior",
    "RayWeights",
    "Rays",
    "Recipe",
    "Render",
    "RenderDenoiser",
    "Scene",
    "ScoreLoss",
    "TemperedPrior",
    "Term",
    "TiledPrior",
    "VoxelGrid",
    "as_deepinv",
    "baselines",
    "estimators",
    "evaluate_prior",
    "fit_scene",
    "geometric_terms",
    "load_prior",
    "load_scene",
    "metrics",
    "photo_terms",
    "rebin",
    "render",
    "restore",
    "sample",
    "sample_posterior",
    "schedules",
    "score",
    "surface_depth",
    "train_prior",
    "wrap",
]

_LAZY = {  # imported when first used, as their modules are not needed to use a prior
    "evaluate_prior": "scorereg.evaluation",
    "train_prior": "scorereg.training",
}


def _version() -> str:
    """Return the version of the checkout that this file lies in, else of the installed package, else `0+unknown`."""
    import re
    from importlib import metadata
    from pathlib import Path

    project = Path(__file__).parents[1] / "pyproject.toml"  # of a checkout, also where another version is installed
    text = project.read_text(encoding="utf-8") if project.is_file() else ""
    if own := re.search(r'^name = "scorereg"\nversion = "(.+)"$', text, flags=re.MULTILINE):
        return own[1]
    try:
        return metadata.version("scorereg")
    except metadata.PackageNotFoundError:
        return "0+unknown"


if not TYPE_CHECKING:  # else type checkers would accept any name

    def __getattr__(name: str) -> Any:
        """Return `__version__` or a name of `_LAZY`, computed or imported at first use (PEP 562)."""
        if name == "__version__":
            value = _version()
        elif name in _LAZY:
            value = getattr(import_module(_LAZY[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the public names, the lazy ones included."""
    return sorted({*globals(), *__all__, "__version__"})
