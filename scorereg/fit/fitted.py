"""`Fit`: a fitted field with what it was fitted to; rendered, saved and loaded."""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from scorereg._device import check_device
from scorereg._io import check_folder
from scorereg.cameras import Rays
from scorereg.fit.recipe import Recipe
from scorereg.fit.stored_run import read_run, write_fit
from scorereg.ops._hash_encode.op import Backend
from scorereg.rendering.ensemble import Ensemble, Image, mean_image, members_of, spread_of
from scorereg.rendering.field import Field
from scorereg.rendering.volume import DensityFn, render_image
from scorereg.scenes import Scene
from scorereg.scenes.reread import read_photos

__all__ = ["Fit"]

ImageWithSpread = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted field.

    Args:
        scene: What it was fitted to.
        field: With the averaged parameters; an `Ensemble` of several members.
        proposal: Density that tells where to sample; of several members an `Ensemble` or what all share.
        recipe: Numbers of the loop.
        seconds: Time of the steps.
        history: Step, PSNR of the photo rays in dB, and the values of the terms, at some fifty steps.
        terms: Name, class and settings of each term, with name and checksum of its prior.
        seed: Seed of the fit; of an ensemble's first member, the others have those after it.
    """

    scene: Scene
    field: Field
    proposal: DensityFn
    recipe: Recipe
    seconds: float
    history: list[dict[str, float | int]]
    terms: tuple[dict[str, Any], ...] = ()
    seed: int = 0

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        *,
        field: nn.Module | None = None,
        proposal: DensityFn | None = None,
        backend: Backend = "auto",
    ) -> "Fit":
        """Load the fit of a run's folder, which `scorereg fit` or `save` has written. No pickle is read.

        It renders without the scene's files: cameras, near, far and the split are the run's. The photos of
        `scene` are NaN, and its depth and masks None, until `with_photos` reads them.

        Args:
            folder: Folder of the run.
            device: Where to render.
            field: A module like the one that was fitted, which is filled; needed for a class of your own alone.
            proposal: The same of a proposal. Of a proposal that was a function nothing is kept, and the field's own
                density is used where none is given.
            backend: Encoder of a `HashGrid`. `"compiled"` compiles when first used, for ten seconds or more; on a CPU
                `"auto"` does so after a few images, each of which takes three times as long.

        Raises:
            OSError: If the folder or a file of it is missing or cannot be read.
            ValueError: If it is of another version, damaged, or half a run.

        Example:
            >>> from scorereg.fit import Fit
            >>> fit = Fit.load("runs/mine")  # doctest: +SKIP
            >>> rgb, depth, opacity = fit.image(fit.scene.cameras.image_rays(0))  # doctest: +SKIP
        """
        check_device(device)
        run = read_run(Path(folder), device, field=field, proposal=proposal, backend=backend)
        return cls(**vars(run))

    def save(self, folder: Path | str) -> None:
        """Write `fit.json`, `weights.safetensors` and `history.jsonl` into a folder, for `load`.

        Raises:
            OSError: If it cannot be written.
            ValueError: If a weight is not finite.
        """
        check_folder(Path(folder))
        write_fit(self, Path(folder), import_module("scorereg").__version__)

    @property
    def has_photos(self) -> bool:
        """Whether the scene has its photos, and not NaN in their place."""
        return not bool(self.scene.images[:, :1, :1].isnan().any())

    def with_photos(self, path: Path | str | None = None) -> "Fit":
        """Return the fit with photos, masks and depth of its scene read from their folder again.

        Args:
            path: Folder of the scene; where it lay at the time of the fit, if not given.

        Raises:
            OSError: If the folder is not there or a file cannot be read.
            ValueError: If it holds another scene, or it is not known where it lies.
        """
        return replace(self, scene=read_photos(self.scene, path))

    @property
    def members(self) -> "tuple[Fit, ...]":
        """The fits of an ensemble's members; of a single fit, itself."""
        if not isinstance(self.field, Ensemble):
            return (self,)
        fields = members_of(self.field, 1)
        parts = enumerate(zip(fields, members_of(self.proposal, len(fields)), strict=True))
        return tuple(replace(self, field=f, proposal=p, seed=self.seed + k) for k, (f, p) in parts)

    @overload
    def image(self, rays: Rays) -> Image: ...
    @overload
    def image(self, rays: Rays, *, spread: Literal[True]) -> ImageWithSpread: ...
    def image(self, rays: Rays, *, spread: bool = False) -> tuple[Any, ...]:
        """Render rays of shape (h, w): color (h, w, 3), planar depth in metres (h, w), and opacity (h, w).

        Of an ensemble they are the means of its members' renders: `rendering.mean_image`.

        Args:
            rays: The rays.
            spread: Return also how far the members differ in color and in depth, (h, w) each: `rendering.spread_of`.
                They are None for a single fit.
        """
        images = [_image_of(member, rays) for member in self.members]
        mean = mean_image(images)
        if not spread:
            return mean
        return (*mean, *(spread_of(images) if len(images) > 1 else (None, None)))


def _image_of(fit: Fit, rays: Rays) -> Image:
    many = fit.recipe.image_oversampling
    return render_image(
        fit.field,
        rays,
        proposal=fit.proposal,
        near=fit.scene.near,
        far=fit.scene.far,
        samples=many * fit.recipe.samples,
        proposal_samples=many * fit.recipe.proposal_samples,
        background=fit.recipe.background,
    )
