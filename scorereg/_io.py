"""Files that are whole or not there."""

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["write_beside"]


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a path beside `path`, then rename it into place: `path` is never half written.

    Raises:
        OSError: If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        write(beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())  # the name must not be there before the content, should the power fail
        beside.replace(path)
    except RuntimeError as error:  # torch.save reports a full or forbidden disk so
        raise OSError(
            f"{path} cannot be written ({str(error).splitlines()[0]}). Free some space or choose another folder."
        ) from None
    finally:
        beside.unlink(missing_ok=True)
