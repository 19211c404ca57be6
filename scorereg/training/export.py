"""Export the averaged prior of a run's newest checkpoint: `python -m scorereg.training.export RUN FOLDER [DATA...]`.

With data folders the denoising errors are measured too: each DATA is a set of its own, and the first one that the run
was trained on fits the linear filter.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scorereg.training.report import export_prior

__all__ = ["main"]


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    folder: Annotated[Path, typer.Argument(help="Where the prior goes.")],
) -> None:
    """Export the averaged prior of a run's newest checkpoint, while the run goes on or after it."""
    prior = export_prior(run, folder)
    typer.echo(f"{folder}: step {prior.card.steps} of {prior.card.training['steps']}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        typer.secho(f"export: {error}", fg="red", err=True)
        sys.exit(2)
