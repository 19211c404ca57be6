"""The `scorereg` command, and what a command of one's own needs: shared option types and errors of one line."""

from scorereg.cli.command import main
from scorereg.cli.errors import one_line_errors, run_app

__all__ = ["main", "one_line_errors", "run_app"]
