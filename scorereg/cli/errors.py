"""Errors and warnings of a command: one line each on standard error."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

__all__ = ["one_line_errors", "plain_warnings", "run_app"]

# The base class of click's errors, which newer versions of typer bundle and older ones import.
_UsageError: Any = typer.BadParameter.__mro__[2]
_RENAMED = {
    ("train-prior", "--size"): "--network",
    ("sample", "--size"): "--patch",
    ("evaluate", "--size"): "--patch",
    ("make-blocks", "--size"): "--block",
}


def run_app(app: typer.Typer, name: str) -> NoReturn:
    """Run a typer application under a name and exit with its code; errors and warnings are one line each."""
    with one_line_errors(name), plain_warnings(name):
        sys.exit(app(prog_name=name, standalone_mode=False) or 0)


@contextmanager
def one_line_errors(name: str = "scorereg") -> Iterator[None]:
    """Turn ValueError, OSError and typer's usage errors into one line on standard error and exit code 2.

    Other exceptions are faults of the program and keep their traceback. Typer raises its usage errors only with
    `standalone_mode=False`, as `run_app` calls it.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        _say(f"{name}: {error}", "red")
        sys.exit(2)
    except _UsageError as error:
        if text := _usage(error):
            _say(f"{name}: {text}", "red")
        sys.exit(2)


@contextmanager
def plain_warnings(name: str = "scorereg") -> Iterator[None]:
    """Print each warning as one line on standard error."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _say(f"{name}: {message}", "yellow")
        yield


def _say(text: str, color: str) -> None:
    typer.secho(" ".join(text.split()), fg=color, err=True)


def _usage(error: Any) -> str:
    """Return a usage error in one line, with its cure; an empty text where typer has printed the help already."""
    context = getattr(error, "ctx", None)
    old = getattr(error, "option_name", "")
    if context and (new := _RENAMED.get((context.info_name, old))):
        return f"{old} is called {new} now."
    text = error.format_message()
    return f"{text.rstrip('.')}. See {context.command_path} --help." if text and context else text
