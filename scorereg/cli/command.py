"""The `scorereg` command. Every command is one library call and what it prints."""

import typer

from scorereg.cli.data import make_blocks_command, make_rays_command, prepare_command
from scorereg.cli.errors import one_line_errors, plain_warnings
from scorereg.cli.prior import evaluate_command, inspect_command, sample_command
from scorereg.cli.train import export_command, push_command, train_prior_command

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _root() -> None:
    """Diffusion priors as regularisers for anything that is optimised by gradient descent."""


app.command("train-prior")(train_prior_command)
app.command("export")(export_command)
app.command("push")(push_command)


app.command("inspect")(inspect_command)
app.command("sample")(sample_command)
app.command("evaluate")(evaluate_command)
app.command("make-rays")(make_rays_command)
app.command("make-blocks")(make_blocks_command)
app.command("prepare")(prepare_command)


def main() -> None:
    """Entry point of the `scorereg` command."""
    with one_line_errors(), plain_warnings():
        app()
