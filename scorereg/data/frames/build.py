"""Reduce frames to several focal lengths and collect them in a `Pyramid`."""

import numpy as np
import torch

from scorereg.data.channels import DEPTH, further, maps_of
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.normals import normals_of
from scorereg.data.frames.pyramid import EXTRA_STEPS, RAW_MAX, STEPS, Pyramid
from scorereg.data.frames.resample import as_bytes, reduce_known, reduce_plane
from scorereg.data.patch_spec import PatchSpec

__all__ = ["PyramidBuilder", "maps_to_read"]


class PyramidBuilder:
    """Collects frames, one after the other, for a `Pyramid`.

    Args:
        spec: Patch size, channels, focal lengths and `d_min`.
        levels: Number of focal lengths, evenly spaced in their logarithm.
    """

    def __init__(self, spec: PatchSpec, *, levels: int = 6) -> None:
        if spec.focal is None:
            raise ValueError("frames are reduced to focal lengths, but focal is None. Give two numbers, in pixels.")
        self.size, self.focal, self.d_min, self.channels = spec.patch_size, spec.focal, spec.d_min, spec.names
        self.goals = np.geomspace(*spec.focal, levels if spec.focal[1] > spec.focal[0] else 1).tolist()
        self._parts: dict[str, list[np.ndarray]] = {"color": [], "disparity": [], "extra": []}
        self._shapes: list[tuple[int, int]] = []

    def add(self, frame: Frame, planes: Planes, goals: list[float] | None = None) -> None:
        """Add a frame at every focal length that does not enlarge it; one of unknown focal length as it is.

        Args:
            frame: The frame.
            planes: Its maps.
            goals: Focal lengths, in pixels; those of the spec, if not given.

        Raises:
            ValueError: If the frame is too small for a patch at each of them.
        """
        found = False
        raw = None if planes.metres is None else np.minimum(self.d_min / planes.metres, np.float32(RAW_MAX))
        shortest = min(frame.focal or (self.focal[1],) * 2)
        for goal in (self.goals if goals is None else goals) if frame.focal else self.goals[-1:]:
            if goal > shortest * 1.001:
                continue
            down, across = frame.factors(goal)
            rows, columns = int(planes.size[0] * down + 1e-6), int(planes.size[1] * across + 1e-6)
            if min(rows, columns) >= self.size:
                self._add_level(planes, raw, down, across, goal)
                self._shapes.append((rows, columns))
                found = True
        if not found:
            raise ValueError(
                f"{frame.file} of {planes.size[1]}x{planes.size[0]} pixels and focal length {shortest:.0f} is "
                f"too small for {self.size}-pixel patches at focal lengths from {self.focal[0]:g}. Leave it out or "
                "lower --focal."
            )

    def _add_level(self, planes: Planes, raw: np.ndarray | None, down: float, across: float, goal: float) -> None:
        if planes.color is not None:
            color = as_bytes(reduce_plane(planes.color, down, across))
            self._parts["color"].append(color.reshape(-1, 3))
        near = None if raw is None else reduce_known(raw, down, across)
        if near is not None and "disparity" in self.channels:
            steps = np.where(np.isfinite(near), np.rint(near * STEPS), -1).astype(np.int16)
            self._parts["disparity"].append(steps.reshape(-1))
        names = further(self.channels)
        if names:
            values = [self._extra(planes, near, name, down, across, goal) for name in names]
            stacked = np.stack(values, -1).reshape(-1, len(names))
            steps = np.where(np.isfinite(stacked), np.rint(stacked * EXTRA_STEPS), -EXTRA_STEPS - 1)
            self._parts["extra"].append(steps.astype(np.int16))

    def _extra(
        self, planes: Planes, near: np.ndarray | None, name: str, down: float, across: float, goal: float
    ) -> np.ndarray:
        (which,) = maps_of((name,))
        if which not in planes.maps:
            assert near is not None, "only normals can be computed, from depth"
            return normals_of(near, (goal, goal))[..., "xyz".index(name[1])]
        value = planes.maps[which]
        part = "xyz".index(name[1]) if which == "normal" else int(name.partition(".")[2] or 0)
        if part >= value.shape[2]:
            raise ValueError(f"channel {name} is value {part} of the map {which}, which has {value.shape[2]} only.")
        return np.clip(reduce_known(np.ascontiguousarray(value[..., part]), down, across), -1, 1)

    @property
    def empty(self) -> bool:
        """Whether no frame was added yet."""
        return not self._shapes

    def build(self) -> Pyramid:
        """Return the pyramid of all frames that were added.

        Raises:
            ValueError: If there are none.
        """
        if not self._shapes:
            raise ValueError("no frame could be used. Name other folders of frames.")
        height, width = torch.tensor(self._shapes).unbind(1)
        sizes = height * width
        start = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)[:-1]])
        color, disparity, extra = (self._joined(name) for name in ("color", "disparity", "extra"))
        if color is None:
            color = torch.zeros(1, 3, dtype=torch.uint8).expand(int(sizes.sum()), 3)
        if disparity is None:
            disparity = torch.full((1,), -1, dtype=torch.int16).expand(int(sizes.sum()))
        return Pyramid(color, disparity, start, height, width, self.channels, extra)

    def _joined(self, name: str) -> torch.Tensor | None:
        parts = self._parts[name]
        return torch.from_numpy(np.concatenate(parts)) if parts else None


def maps_to_read(frame: Frame, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the maps of a frame that channels need; depth among them where normals have to be computed from it."""
    names = maps_of(channels)
    computed = "normal" in names and "normal" not in dict(frame.maps)
    return tuple(dict.fromkeys((*names, DEPTH))) if computed else names
