"""From frames on disk to a `Pyramid`: read, checked, reduced to several focal lengths, quantised."""

import numpy as np
import torch

from scorereg.data.bad_frames import BadFrames
from scorereg.data.channels import DEPTH, maps_of
from scorereg.data.frames.depth_unit import DepthRange
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.normals import normals_of
from scorereg.data.frames.pyramid import EXTRA_STEPS, RAW_MAX, RGBD, STEPS, Crops, Pyramid, further
from scorereg.data.frames.read import read_frame
from scorereg.data.frames.resample import reduce_known, reduce_plane

__all__ = ["RAW_MAX", "Crops", "Pyramid", "PyramidBuilder", "load_pyramid"]


class PyramidBuilder:
    """Collects frames, one after the other, and makes them a `Pyramid`.

    Args:
        size: Smallest side of a level, in pixels.
        focal: Shortest and longest focal length of a level, in pixels.
        d_min: Depth at which disparity is 1, in metres.
        levels: Number of focal lengths, evenly spaced in their logarithm.
        channels: What to keep.
    """

    def __init__(
        self, *, size: int, focal: tuple[float, float], d_min: float, levels: int = 6, channels: tuple[str, ...] = RGBD
    ) -> None:
        self.size, self.focal, self.d_min, self.channels = size, focal, d_min, channels
        self.goals = np.geomspace(*focal, levels if focal[1] > focal[0] else 1).tolist()
        self.maps = maps_of(channels)
        self._parts: dict[str, list[np.ndarray]] = {"color": [], "disparity": [], "extra": []}
        self._shapes: list[tuple[int, int]] = []

    def add(self, frame: Frame, planes: Planes, goals: list[float] | None = None) -> None:
        """Add a frame at every focal length, or at those of `goals`, that does not enlarge it.

        One whose focal length nobody knows is added as it is.

        Raises:
            ValueError: If it is too small for a patch at each of them.
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
            color = np.rint(reduce_plane(planes.color, down, across)).astype(np.uint8)
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
            assert near is not None, "only normals can be made, and of depth"
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
        """Return the pyramid of all frames so far.

        Raises:
            ValueError: If there are none.
        """
        if not self._shapes:
            raise ValueError("no frame could be used. Mend the data.")
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


def load_pyramid(
    frames: list[Frame],
    *,
    size: int,
    focal: tuple[float, float],
    d_min: float,
    levels: int = 6,
    channels: tuple[str, ...] = RGBD,
    faults: BadFrames | None = None,
) -> Pyramid:
    """Read frames and reduce each to focal lengths between `focal[0]` and `focal[1]` pixels.

    Focal lengths are spaced evenly in their logarithm; a frame is never enlarged, so one with a short focal length
    gives fewer levels.

    Args:
        frames: The frames.
        size: Side of the patches to come, in pixels.
        focal: Shortest and longest focal length, in pixels.
        d_min: Depth at which disparity is 1, in metres.
        levels: Number of focal lengths.
        channels: What to keep: `r`, `g`, `b`, `disparity`, `nx`, `ny`, `nz`, or names of further maps.
        faults: Counts bad frames, where these are to be skipped; without it they are an error.

    Raises:
        OSError: If an image cannot be read.
        ValueError: If a photo and its depth map differ in size, a depth map is empty, a frame is too small, or depth
            cannot be in metres.
    """
    faults = faults or BadFrames()
    builder = PyramidBuilder(size=size, focal=focal, d_min=d_min, levels=levels, channels=channels)
    ranges = DepthRange()
    for frame in frames:
        try:
            planes = read_frame(frame, maps_to_read(frame, channels))
            builder.add(frame, planes)
        except (OSError, ValueError) as error:
            faults.add(error)
            continue
        if planes.metres is not None:
            ranges.see(frame.scene, float(np.nanmedian(planes.metres)))
    ranges.check()
    if builder.empty:
        faults.check(len(frames))
    return builder.build()


def maps_to_read(frame: Frame, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the maps of a frame that some channels need: depth as well, where normals are to be made of it."""
    names = maps_of(channels)
    made = "normal" in names and "normal" not in dict(frame.maps)
    return tuple(dict.fromkeys((*names, DEPTH))) if made else names
