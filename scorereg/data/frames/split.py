"""Which frames are trained on, and which are held out."""

import zlib

from scorereg.data.frames.frame import Frame

__all__ = ["split_scenes"]


def split_scenes(frames: list[Frame]) -> tuple[list[Frame], list[Frame], tuple[str, ...]]:
    """Split frames into training and held-out ones, about one scene in sixteen.

    A scene's side depends on its name alone, so that the split stays as it is when scenes are added. Of a single
    scene the last sixteenth of its frames is held out. Where the data's authors published a split, it is kept:
    `"val"` is held out, and `"test"` is on neither side.

    Returns:
        Training frames, held-out frames, and the names of the held-out scenes.

    Raises:
        ValueError: If there is but one frame.
    """
    if len(frames) < 2:
        raise ValueError(f"{frames[0].file.parent} gives one frame only; at least two are needed, one to be held out.")
    if any(frame.split for frame in frames):
        return _published(frames)
    order = {name: zlib.crc32(name.encode()) for name in sorted({frame.scene for frame in frames})}
    if len(order) == 1:
        kept = max(len(frames) // 16, 1)
        return frames[:-kept], frames[-kept:], (f"{frames[0].scene}, the last {kept} frames",)
    held = {name for name, value in order.items() if value % 16 == 0}
    if not held or len(held) == len(order):
        held = {min(order, key=lambda name: order[name])}
    train = [frame for frame in frames if frame.scene not in held]
    return train, [frame for frame in frames if frame.scene in held], tuple(sorted(held))


def _published(frames: list[Frame]) -> tuple[list[Frame], list[Frame], tuple[str, ...]]:
    """The split of the data's authors; frames without one are trained on."""
    train = [frame for frame in frames if frame.split in (None, "train")]
    held = [frame for frame in frames if frame.split == "val"]
    if not train or not held:
        raise ValueError(
            f"of the split that was published with the data, {len(train)} frames are for training and {len(held)} for "
            "validation here; both are needed. Add scenes."
        )
    return train, held, tuple(sorted({frame.scene for frame in held}))
