"""Channel names: what `rgbd` is short for, and which maps of a frame a channel is made of."""

__all__ = ["CHANNELS", "COLOR", "DEPTH", "RGBD", "channel_names", "further", "maps_of"]

COLOR, DEPTH = "color", "depth"
RGBD = ("r", "g", "b", "disparity")
CHANNELS: dict[str, tuple[str, ...]] = {"rgbd": RGBD, "rgb": RGBD[:3], "d": RGBD[3:]}
_MAP = {"r": COLOR, "g": COLOR, "b": COLOR, "disparity": DEPTH, "nx": "normal", "ny": "normal", "nz": "normal"}


def channel_names(channels: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of channels that are given as `"rgbd"`, `"rgb"`, `"d"`, `"rgb,nx,ny,nz"` or one by one.

    Raises:
        ValueError: If there are none, or a name occurs twice.
    """
    words = channels.split(",") if isinstance(channels, str) else channels
    names = tuple(name for word in words for name in CHANNELS.get(word.strip(), (word.strip(),)))
    if not all(names) or not names or len(set(names)) < len(names):
        raise ValueError(
            f"channels must be names that differ, such as rgbd, rgb, d or rgb,nx,ny,nz, but are {channels!r}."
        )
    return names


def maps_of(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the maps that channels are made of, each once.

    `r`, `g`, `b` are of the photo (`"color"`), `disparity` of the depth map (`"depth"`), `nx`, `ny`, `nz` of the map
    `"normal"`. `NAME` is the single value of a map of that name, and `NAME.0`, `NAME.1` ... are the values of a map
    that has several per pixel.
    """
    return tuple(dict.fromkeys(_MAP.get(name, name.split(".")[0]) for name in channels))


def further(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the channels that are neither colour nor disparity."""
    return tuple(name for name in channels if name not in RGBD)
