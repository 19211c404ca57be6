"""Channel names: what `rgbd` stands for, and which maps of a frame a channel is made of."""

__all__ = ["CHANNELS", "COLOR", "DEPTH", "channel_names", "maps_of"]

COLOR, DEPTH = "color", "depth"
CHANNELS: dict[str, tuple[str, ...]] = {
    "rgbd": ("r", "g", "b", "disparity"),
    "rgb": ("r", "g", "b"),
    "d": ("disparity",),
}
_MAP = {"r": COLOR, "g": COLOR, "b": COLOR, "disparity": DEPTH, "nx": "normal", "ny": "normal", "nz": "normal"}


def channel_names(channels: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of channels that are given as `"rgbd"`, `"rgb"`, `"d"`, `"rgb,nx,ny,nz"` or one by one.

    Raises:
        ValueError: If there are none, or one is there twice.
    """
    words = channels.split(",") if isinstance(channels, str) else channels
    names = tuple(name for word in words for name in CHANNELS.get(word.strip(), (word.strip(),)))
    if not all(names) or not names or len(set(names)) < len(names):
        raise ValueError(
            f"channels must be names that differ, such as rgbd, rgb, d or rgb,nx,ny,nz, but are {channels!r}."
        )
    return names


def maps_of(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the maps that some channels are made of.

    `r`, `g`, `b` are colour, `disparity` is depth, `nx`, `ny`, `nz` are the map `normal`; `NAME` is the one value of a
    map of that name, and `NAME.0`, `NAME.1` ... its values where it has several.
    """
    return tuple(dict.fromkeys(_MAP.get(name, name.split(".")[0]) for name in channels))
