"""Read frames into memory: a `Pyramid` for each set."""

from scorereg._progress import steps
from scorereg.data.bad_frames import BadFrames
from scorereg.data.frames.build import PyramidBuilder, maps_to_read
from scorereg.data.frames.depth_unit import DepthRange
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.pyramid import Pyramid
from scorereg.data.frames.read import read_frame
from scorereg.data.patch_spec import PatchSpec
from scorereg.files.said import gathered

__all__ = ["load_pyramid", "load_pyramids"]


def load_pyramid(frames: list[Frame], spec: PatchSpec, *, levels: int = 6, bad: BadFrames | None = None) -> Pyramid:
    """Read frames and reduce each to several focal lengths, evenly spaced in their logarithm.

    No frame is enlarged, so one with a short focal length has fewer levels.

    Args:
        frames: The frames.
        spec: Patch size, channels, focal lengths and `d_min`.
        levels: Number of focal lengths.
        bad: Collects bad frames; an error is raised for the first, if not given.

    Raises:
        OSError: If an image cannot be read.
        ValueError: If a photo and its depth map differ in size, a depth map is empty, a frame is too small, or depth
            cannot be in metres.
    """
    bad = bad or BadFrames()
    builder, ranges = PyramidBuilder(spec, levels=levels), DepthRange()
    with gathered():
        for frame in steps("reading frames", frames):
            try:
                _add(builder, ranges, frame, spec)
            except (OSError, ValueError) as error:
                bad.add(error)
    ranges.check()
    if builder.empty:
        bad.check(len(frames))
    return builder.build()


def _add(builder: PyramidBuilder, ranges: DepthRange, frame: Frame, spec: PatchSpec) -> None:
    """Read a frame; its maps, which may be large, are gone when the next one is read."""
    planes = read_frame(frame, maps_to_read(frame, spec.names))
    builder.add(frame, planes)
    ranges.add(frame.scene, planes.metres)


def load_pyramids(parts: dict[str, list[Frame]], spec: PatchSpec, bad: BadFrames) -> dict[str, Pyramid]:
    """Read the frames of several sets, and warn of all that were left out.

    Args:
        parts: Frames of the sets, by name.
        spec: As for `load_pyramid`.
        bad: Bad frames found so far.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If frames are not usable, or more than 1 % are bad.
    """
    total = sum(len(part) for part in parts.values()) + len(bad.messages)
    sets = {name: load_pyramid(part, spec, bad=bad) for name, part in parts.items()}
    bad.report(total, stacklevel=4)
    return sets
