"""The `scorereg` command. Each command is one library call and prints its result."""

from importlib import import_module
from typing import Annotated

import typer

from scorereg.cli.data import make_blocks_command, make_rays_command, prepare_command
from scorereg.cli.errors import DEBUG, run_app
from scorereg.cli.export import export_command
from scorereg.cli.fit import fit_command
from scorereg.cli.poses import poses_command
from scorereg.cli.prior import evaluate_command, inspect_command, sample_command
from scorereg.cli.runs import eval_command, render_command
from scorereg.cli.train import push_command, train_prior_command
from scorereg.cli.view import view_command

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool | None) -> bool:
    if wanted:
        typer.echo(f"scorereg {import_module('scorereg').__version__}")
        raise typer.Exit
    return False


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Print the traceback of an error too; anywhere in the line.")
    ] = False,
) -> None:
    """Diffusion priors as regularisers for anything that is optimised by gradient descent."""


# Group in `--help`, name, function and examples, in the order in which they are used.
for _group, _name, _command, *_examples in (
    ("Fit a scene", "fit", fit_command, "fit SCENE --views 3 --out runs/mine", "fit SCENE --regularize geometric"),
    ("Fit a scene", "poses", poses_command, "poses PHOTOS --out SCENE", "poses FILM --out SCENE --match order"),
    (
        "Use a fit", "render", render_command,
        "render runs/mine --out renders",
        "render runs/mine --out film --cameras spiral",
    ),
    (
        "Use a fit", "export", export_command,
        "export runs/mine --points room.ply --mesh room.glb",
        "export runs/prior --out my-prior --best",
    ),
    ("Use a fit", "eval", eval_command, "eval runs/mine"),
    ("Use a fit", "view", view_command, "view runs/mine", "view runs/geometric runs/prior --port 9000"),
    ("Look at a prior", "inspect", inspect_command, "inspect rooms-rgbd-24", "inspect runs/mine --best --json"),
    ("Look at a prior", "sample", sample_command, "sample rooms-rgbd-24 -n 16 --out grid.png"),
    ("Look at a prior", "evaluate", evaluate_command, "evaluate rooms-rgbd-24 NYU MY-ROOMS --out errors"),
    ("Make training data", "prepare", prepare_command, "prepare RAW --out SHARDS --workers 8 --licence 'CC BY-SA 3.0'"),
    ("Make training data", "make-rays", make_rays_command, "make-rays ROOMS --out rays -n 40000"),
    ("Make training data", "make-blocks", make_blocks_command, "make-blocks ROOMS --out blocks -n 6000 --block 32"),
    (
        "Train a prior", "train-prior", train_prior_command,
        "train-prior DATA --out runs/mine --resume",
        "train-prior DATA --out runs/mine --init rooms-rgbd-24 --steps 2000 --lr 1e-4",
    ),
    ("Train a prior", "push", push_command, "push runs/mine me/my-prior"),
):  # fmt: skip
    _epilog = "\n\n".join(f"Example: scorereg {example}" for example in _examples)
    app.command(_name, rich_help_panel=_group, epilog=_epilog)(_command)


def main() -> None:
    """Entry point of the `scorereg` command."""
    run_app(app, "scorereg")
