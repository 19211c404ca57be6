"""The weights along a few rays, to look at: where they lie before and after a regulariser."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scorereg._io import write_beside
from scorereg.fit import Fit
from scorereg.rendering import edge_depths, render

__all__ = ["save_rays"]

_JUMP = 1.2  # ratio of neighbouring depths from which a pixel counts as a silhouette


def save_rays(fit: Fit, path: Path, *, count: int = 6) -> None:
    """Write the weights along rays of the first test view: `pixels`, `edges` and `depth` in metres, `weights`.

    Half of the rays pass silhouettes, where the depth is known; the others go anywhere. The same scene gives the same
    rays. Where the depth is not known, all go anywhere, and `depth` is 0.
    """
    scene = fit.scene
    view = scene.test[0] if scene.test else scene.train[0]
    truth = torch.zeros(scene.images.shape[1:3]) if scene.depth is None else scene.depth[view].cpu()
    pixels = _choose(truth, count)
    rows, columns = pixels.unbind(-1)
    rays = scene.cameras.image_rays(view)[rows, columns]
    with torch.no_grad():
        shown = render(
            fit.field, rays, proposal=fit.proposal, near=scene.near, far=scene.far, samples=fit.recipe.samples,
            proposal_samples=fit.recipe.proposal_samples,
        )  # fmt: skip
    edges = edge_depths(shown.edges, scene.near, scene.far)
    weights = shown.weights.cpu().numpy()

    def save(beside: Path) -> None:
        with beside.open("wb") as file:  # by its name, savez would add a suffix
            np.savez(
                file, pixels=pixels.numpy(), depth=truth[rows, columns].numpy(), edges=edges.cpu().numpy(),
                weights=weights,
            )  # fmt: skip

    write_beside(path, save)


def _choose(depth: Tensor, count: int) -> Int[Tensor, "{count} 2"]:
    """Rows and columns: half where the depth jumps to the right, half anywhere; fewer jumps are made up for."""
    generator = torch.Generator().manual_seed(0)
    left, right = depth[:, :-1], depth[:, 1:]
    jumps = ((left > 0) & (right > _JUMP * left)).nonzero()
    jumps = jumps[torch.randperm(len(jumps), generator=generator)[: count // 2]]
    flat = torch.randint(depth.numel(), (count - len(jumps),), generator=generator)
    return torch.cat([jumps, torch.stack([flat // depth.shape[1], flat % depth.shape[1]], -1)])
