"""The contact sheet of a fit: some held-out and training views on one picture."""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scorereg.fit.pictures import labelled_grid
from scorereg.fit.views import View

__all__ = ["contact_sheet"]

_MOST, _WIDTH, _NAME = 8, 256, 12  # views of each kind, pixels of a picture, letters of a name


def contact_sheet(held: list[View], trained: list[View], near: float, far: float) -> Float[Tensor, "h w 3"]:
    """Return photo, render and depth of up to eight held-out and eight training views, a view a row.

    Where the true depth of a view is known, it and the error of the rendered depth are beside it; of an ensemble, how
    far its members differ as well.

    Args:
        held: The held-out views.
        trained: The training views.
        near: Depth in metres that is drawn brightest.
        far: Depth that is drawn darkest.
    """
    chosen = [("held out", view) for view in _spread(held)] + [("trained on", view) for view in _spread(trained)]
    truth = any(view.truth is not None for _, view in chosen)
    members = any(view.color_spread is not None for _, view in chosen)
    columns = ["photo", "render", "depth"] + (["true depth", "error (white: 50 %)"] if truth else [])
    columns += ["spread of color", "spread of depth"] if members else []
    rows = [(f"{view.name[-_NAME:]}\n{kind}", _pictures(view, near, far, truth)) for kind, view in chosen]
    return labelled_grid(rows, columns)


def _spread(views: list[View]) -> list[View]:
    count = min(len(views), _MOST)
    return [views[i * len(views) // count] for i in range(count)]


def _pictures(view: View, near: float, far: float, with_truth: bool) -> list[Tensor | None]:
    pictures: list[Tensor | None] = [_reduced(image) for image in view.images(near, far)]
    if with_truth and view.truth is None:
        pictures[3:3] = [None, None]
    return pictures


def _reduced(image: Float[Tensor, "h w 3"]) -> Float[Tensor, "a b 3"]:
    step = max(math.ceil(image.shape[1] / _WIDTH), 1)
    reduced = torch.nn.functional.avg_pool2d(rearrange(image, "h w c -> c h w"), step, ceil_mode=True)
    return rearrange(reduced, "c h w -> h w c")
