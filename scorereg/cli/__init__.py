"""The `scorereg` command."""

from scorereg.cli.command import main
from scorereg.cli.errors import one_line_errors

__all__ = ["main", "one_line_errors"]
