"""Distances between point clouds: chamfer L1 with its two halves, and the parts of space that they are measured in."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Ball", "Chamfer", "ObservedVolume", "chamfer"]

Points = Float[Tensor, "n 3"]
Within = Callable[[Points], Bool[Tensor, " n"]]


class Chamfer(NamedTuple):
    """Chamfer L1 and its halves, in the unit of the points.

    Args:
        accuracy: Mean distance from a point to the nearest reference point.
        completeness: Mean distance from a reference point to the nearest point.
        mean: Mean of the two: the chamfer L1 of the literature of surfaces from photos.
        accuracy_share: Share of the points that are no further than `max_distance`.
        completeness_share: The same of the reference points.
    """

    accuracy: float
    completeness: float
    mean: float
    accuracy_share: float = 1.0
    completeness_share: float = 1.0


@dataclass(frozen=True)
class Ball:
    """The points in a ball, its surface included.

    Args:
        center: Its center.
        radius: Its radius, > 0, in the unit of the points.
    """

    center: tuple[float, float, float]
    radius: float

    def __call__(self, points: Points) -> Bool[Tensor, " n"]:
        center = torch.tensor(self.center, dtype=torch.float64, device=points.device)
        return (points.double() - center).norm(dim=-1) <= self.radius


@dataclass(frozen=True, eq=False)
class ObservedVolume:
    """The points in the set cells of a grid, such as DTU's observation masks; what is outside of the grid is not.

    Args:
        cells: Whether each cell was observed; DTU's `ObsMask`.
        corner: Center of the first cell; DTU's `BB[0]`, in millimetres.
        step: Distance between the centers of neighbouring cells; DTU's `Res`.
    """

    cells: Bool[Tensor, "x y z"]
    corner: tuple[float, float, float]
    step: float

    def __call__(self, points: Points) -> Bool[Tensor, " n"]:
        corner = torch.tensor(self.corner, dtype=torch.float64, device=points.device)
        place = ((points.double() - corner) / self.step).round()
        size = torch.tensor(self.cells.shape, device=points.device)
        inside = ((place >= 0) & (place < size)).all(-1)
        x, y, z = place[inside].long().unbind(-1)
        inside[inside.clone()] = self.cells.to(points.device)[x, y, z]
        return inside


def chamfer(
    points: Float[Tensor, "n 3"],
    reference: Float[Tensor, "m 3"],
    *,
    within: Within | None = None,
    reference_within: Within | None = None,
    max_distance: float = math.inf,
) -> Chamfer:
    r"""Chamfer L1 between a surface's points and those of a reference, with accuracy and completeness.

    Accuracy is the mean over points p of $\min_q |p - q|$, completeness that over reference points q of
    $\min_p |p - q|$, with Euclidean distances, not squared. Both clouds should be about equally dense everywhere, as
    dense places weigh more. Distances are float64.

    Args:
        points: Points of the surface to judge.
        reference: Points of the true surface, in the same unit and coordinates.
        within: Which points are judged, such as a `Ball` or an `ObservedVolume`: where the truth is known. The others
            are still there for reference points to be near to. All, if not given.
        reference_within: Which reference points are to be covered, such as those above DTU's ground plane. All, if not
            given.
        max_distance: Points further away than this are left out of the means, as in DTU's evaluation (20 mm), and told
            in the shares.

    Raises:
        ValueError: If a cloud is empty or not finite, no point is left to judge, all are further away, or scipy is not
            installed.
    """
    if not max_distance > 0:
        raise ValueError(f"chamfer needs max_distance > 0, but got {max_distance}.")
    clouds = {"points": points, "reference": reference}
    for name, cloud in clouds.items():
        if not len(cloud) or not cloud.isfinite().all():
            what = "is empty" if not len(cloud) else "holds numbers that are not finite"
            raise ValueError(f"chamfer needs finite points, but `{name}` {what}.")
    judged, covered = _kept("within", points, within), _kept("reference_within", reference, reference_within)
    a, b, to_b, to_a = (x.detach().cpu().double().numpy() for x in (points, reference, judged, covered))
    halves = []
    for name, cloud, queries in (("points", b, to_b), ("reference", a, to_a)):
        distance = torch.from_numpy(_nearest(cloud, queries))
        near = distance <= max_distance
        if not near.any():
            raise ValueError(
                f"chamfer: all {len(distance)} of `{name}` are more than max_distance={max_distance:g} from the other "
                f"cloud, the nearest {distance.min():.4g}. Are both in one unit and coordinate system?"
            )
        halves.append((distance[near].mean().item(), near.double().mean().item()))
    (accuracy, near), (completeness, covered_share) = halves
    return Chamfer(accuracy, completeness, (accuracy + completeness) / 2, near, covered_share)


def _nearest(cloud: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Distance of each query to the nearest point of the cloud."""
    try:
        from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise ValueError("chamfer needs scipy. Install it: pip install 'scorereg[fit]'.") from error
    return np.asarray(cKDTree(cloud).query(queries)[0])


def _kept(name: str, points: Points, within: Within | None) -> Float[Tensor, "k 3"]:
    if within is None:
        return points
    kept = points[within(points)]
    if not len(kept):
        raise ValueError(f"chamfer: none of the {len(points)} points lies in what `{name}` takes. Check its unit.")
    return kept
