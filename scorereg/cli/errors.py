"""Errors and warnings of a command: one line each on standard error."""

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NoReturn

import typer

from scorereg._io import is_full, printable, remedy_of
from scorereg._progress import told

__all__ = ["DEBUG", "one_line_errors", "plain_warnings", "run_app"]

# The base class of click's errors, which newer versions of typer bundle and older ones import.
_UsageError: Any = typer.BadParameter.__mro__[2]
DEBUG = "--debug"
_LONGEST = 2000  # letters of a line; names in a stranger's file can be longer
_RENAMED = {
    ("train-prior", "--size"): "--network",
    ("sample", "--size"): "--patch",
    ("evaluate", "--size"): "--patch",
    ("make-blocks", "--size"): "--block",
}


def run_app(app: typer.Typer, name: str) -> NoReturn:
    """Run a typer application under a name and exit with its code; errors and warnings are one line each.

    What takes long says how far it is, every few seconds. The word `--debug`, anywhere in the command line, prints the
    traceback of an error as well.
    """
    debug = DEBUG in sys.argv
    words = [word for word in sys.argv[1:] if word != DEBUG]
    with one_line_errors(name, debug=debug), plain_warnings(name), told(_tell):
        _check_words(words)
        sys.exit(app(words, prog_name=name, standalone_mode=False) or 0)


def _check_words(words: list[str]) -> None:
    """Refuse an empty word, as of a variable that is not set: as a path it would be the current folder."""
    for before, word in pairwise(["the command", *words]):
        if not word or (word.startswith("--") and word.find("=") == len(word) - 1):
            raise ValueError(f"nothing is given after {word[:-1] or before}. Give a value, or leave it out.")


@contextmanager
def one_line_errors(name: str = "scorereg", *, debug: bool = False) -> Iterator[None]:
    """Turn errors into one line on standard error.

    The exit code is 2 for what the user can mend: ValueError, OSError, MemoryError and typer's usage errors. Any other
    error is a fault of the program: exit code 1, and the line asks to report it; an interrupt is 130. Typer raises its
    usage errors only with `standalone_mode=False`, as `run_app` calls it.

    Args:
        name: What the line begins with.
        debug: Print the traceback before the line.
    """
    try:
        yield
    except _UsageError as error:
        if text := _usage(error):
            _say(f"{name}: {text}", "red")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        _say(f"{name}: interrupted", "red")
        sys.exit(130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        text, code = _explained(error)
        _say(f"{name}: {text}", "red")
        sys.exit(code)


def _explained(error: Exception) -> tuple[str, int]:
    """The line of an error, and the exit code."""
    if isinstance(error, ValueError | OSError):
        return _of_system(error) if isinstance(error, OSError) else str(error), 2
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # the latter is torch's
        return "there is not enough memory. Use smaller data, or end other programs.", 2
    if isinstance(error, RecursionError):
        return "a file is nested too deep to be read. Restore the files that were given.", 2
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return f"a fault of the program ({type(error).__name__}: {first}). Please report it with what {DEBUG} prints.", 1


def _of_system(error: OSError) -> str:
    """The line of an error of the system, which may name no file and says nothing of a cure."""
    if error.errno is None or error.strerror is None:
        return str(error)
    name = "" if error.filename is None else os.fsdecode(error.filename)
    if is_full(error):
        return f"{name or 'a file'} cannot be written ({error.strerror}). {remedy_of(error.errno)}"
    return f"{f'{name}: ' if name else ''}{error.strerror}. Look at its name and permissions, and at the disk."


@contextmanager
def plain_warnings(name: str = "scorereg") -> Iterator[None]:
    """Print each warning as one line on standard error."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _say(f"{name}: {message}", "yellow")
        yield


def _say(text: str, color: str) -> None:
    """Print a line; control characters, which may come from a stranger's file, are shown as `?`."""
    line = printable(" ".join(text.split()))
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    typer.secho(line, fg=color, err=True)


def _tell(line: str) -> None:
    typer.echo(printable(line), err=True)


def _usage(error: Any) -> str:
    """Return a usage error in one line, with its cure; an empty text where typer has printed the help already."""
    context = getattr(error, "ctx", None)
    old = getattr(error, "option_name", "")
    if context and (new := _RENAMED.get((context.info_name, old))):
        return f"{old} is called {new} now."
    text = error.format_message()
    end = "" if text.endswith("?") else "."
    return f"{text.rstrip('.')}{end} See {context.command_path} --help." if text and context else text
