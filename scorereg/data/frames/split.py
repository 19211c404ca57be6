"""Which frames are trained on, and which are held out."""

import zlib
from collections.abc import Iterable

from scorereg.data.frames.frame import Frame

__all__ = ["held_out_names", "split_scenes"]


def held_out_names(names: Iterable[str]) -> set[str]:
    """Return the names to hold out, about one in sixteen: at least one, and never all.

    A name is chosen by its checksum alone, so that the choice stays the same when others are added.
    """
    order = {name: zlib.crc32(name.encode()) for name in sorted(set(names))}
    held = {name for name, value in order.items() if value % 16 == 0}
    return held if 0 < len(held) < len(order) else {min(order, key=lambda name: order[name])}


def split_scenes(frames: list[Frame]) -> tuple[list[Frame], list[Frame], tuple[str, ...]]:
    """Split frames into training and held-out ones, about one scene in sixteen, chosen by its name.

    Of a single scene the last sixteenth of its frames is held out. A split that the data were published with is kept:
    `"val"` is held out, and `"test"` is on neither side.

    Returns:
        Training frames, held-out frames, and the names of the held-out scenes.

    Raises:
        ValueError: If there is only one frame.
    """
    if len(frames) < 2:
        raise ValueError(f"{frames[0].file.parent} gives one frame only; at least two are needed, one to be held out.")
    if any(frame.split for frame in frames):
        return _published(frames)
    scenes = {frame.scene for frame in frames}
    if len(scenes) == 1:
        kept = max(len(frames) // 16, 1)
        return frames[:-kept], frames[-kept:], (f"{frames[0].scene}, the last {kept} frames",)
    held = held_out_names(scenes)
    train = [frame for frame in frames if frame.scene not in held]
    return train, [frame for frame in frames if frame.scene in held], tuple(sorted(held))


def _published(frames: list[Frame]) -> tuple[list[Frame], list[Frame], tuple[str, ...]]:
    """Split frames as the data were published; frames without a split are trained on."""
    train = [frame for frame in frames if frame.split in (None, "train")]
    held = [frame for frame in frames if frame.split == "val"]
    if not train or not held:
        raise ValueError(
            f"of the split that was published with the data, {len(train)} frames are for training and {len(held)} for "
            "validation here; both are needed. Add scenes."
        )
    return train, held, tuple(sorted({frame.scene for frame in held}))
