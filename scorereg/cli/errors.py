"""How a command says that something is wrong: one line on standard error, never a traceback."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

__all__ = ["one_line_errors", "plain_warnings"]


@contextmanager
def one_line_errors(name: str = "scorereg") -> Iterator[None]:
    """A mistake that the user can mend becomes one line on standard error and exit code 2, never a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.secho(f"{name}: " + " ".join(str(error).split()), fg="red", err=True)
        sys.exit(2)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings as one line each."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: typer.secho(
            "scorereg: " + " ".join(str(message).split()), fg="yellow", err=True
        )
        yield
