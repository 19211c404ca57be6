"""Export the averaged prior of a run's newest checkpoint, while the run goes on or after it.

    python -m scorereg.training.export RUN FOLDER [DATA... [--evaluate FRAMES]]

With the DATA of the run its denoising errors are measured too, on the held-out scenes and on FRAMES.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from scorereg.evaluation import save_errors
from scorereg.training.layouts import find_frames
from scorereg.training.report import export_prior, measure
from scorereg.training.sets import load_sets, split_scenes

__all__ = ["main"]


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    folder: Annotated[Path, typer.Argument(help="Where the prior goes.")],
    data: Annotated[list[Path] | None, typer.Argument(help="The run's RGB-D folders, to measure errors with.")] = None,
    evaluate: Annotated[list[Path] | None, typer.Option(help="Further RGB-D folders to measure on.")] = None,
) -> None:
    """Export the averaged prior of a run's newest checkpoint, while the run goes on or after it."""
    prior = export_prior(run, folder)
    if data:
        train, held, _ = split_scenes(find_frames(data))
        prior = measure(prior, load_sets(train, held, evaluate or [], prior.card.training))
        prior.save_pretrained(folder)
        save_errors(folder, prior.card.denoising)
    typer.echo(f"{folder}: step {prior.card.steps} of {prior.card.training['steps']}")
    for name, rows in prior.card.denoising.items():
        for row in rows:
            typer.echo(
                f"{name:>12} {json.dumps({k: v for k, v in row.items() if k == 'sigma' or k.endswith('_ratio')})}"
            )


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        typer.secho(f"export: {error}", fg="red", err=True)
        sys.exit(2)
