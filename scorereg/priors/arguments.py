"""Arguments of `load_prior` that a kind of source takes, and an error for the others."""

from collections.abc import Mapping
from typing import Any

__all__ = ["only"]


def only(what: str, given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the arguments of some names that were given, those that are not None.

    Args:
        what: The source, for the error.
        given: All arguments by name.
        names: Those that the source takes.

    Raises:
        ValueError: If another one was given.
    """
    said = {name: value for name, value in given.items() if value is not None}
    for name, value in said.items():
        if name not in names:
            shown = "..." if name == "betas" else repr(value)
            raise ValueError(f"{name}={shown} means nothing for {what}. Leave it out.")
    return said
