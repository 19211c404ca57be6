"""Commands on a trained prior: `inspect`, `sample` and `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate_command", "inspect_command", "sample_command"]


def inspect_command(
    prior: Annotated[str, typer.Argument(help="A shipped prior's name, a folder or a checkpoint.")],
    as_json: Annotated[bool, typer.Option("--json", help="The card as it is on disk.")] = False,
) -> None:
    """Print a prior's card: what it must be used with, where it is from, what was measured."""
    from rich.console import Console

    from scorereg.evaluation.tables import card_table
    from scorereg.priors.load import load_prior

    loaded = load_prior(prior)
    if as_json:
        typer.echo(loaded.card.to_json(), nl=False)
    else:
        Console().print(card_table(loaded.card))


def sample_command(
    prior: Annotated[str, typer.Argument(help="A shipped prior's name, a folder or a checkpoint.")],
    count: Annotated[int, typer.Option("--count", "-n", help="Number of patches.")] = 16,
    out: Annotated[Path, typer.Option(help="The picture, a PNG.")] = Path("samples.png"),
    seed: Annotated[int, typer.Option(help="Seeds the initial noise.")] = 0,
    steps: Annotated[int, typer.Option(help="Noise levels; the prior is called twice for each but the last.")] = 30,
    size: Annotated[int | None, typer.Option(help="Side of a patch in pixels; the card's, if not given.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Draw patches from a prior: colour with disparity (near is bright) beside it."""
    from scorereg.priors.load import load_prior
    from scorereg.priors.sampling import sample, save_grid
    from scorereg.training.settings import check_file

    check_file(out)
    loaded = load_prior(prior, device)
    x = sample(loaded, count, steps=steps, seed=seed, size=None if size is None else (size, size))
    save_grid(out, x, loaded.channels, span=loaded.card.range)
    typer.echo(f"samples: {out}")


def evaluate_command(
    prior: Annotated[str, typer.Argument(help="A shipped prior's name, a folder or a checkpoint.")],
    data: Annotated[list[Path], typer.Argument(help="Folders with RGB-D frames; images, if it knows no depth.")],
    out: Annotated[Path, typer.Option(help="Folder for denoising.json and denoising.png.")] = Path("errors"),
    count: Annotated[int, typer.Option(help="Patches to measure on.")] = 512,
    seed: Annotated[int, typer.Option(help="Seeds patches and noise.")] = 0,
    size: Annotated[int | None, typer.Option(help="Side of a patch in pixels; the card's, if not given.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad frames out, up to 1 %.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Measure a prior's denoising error against the best linear filter, and how far its residual can be believed."""
    from rich.console import Console

    from scorereg.data.bad_frames import Reading
    from scorereg.evaluation.datasets import evaluate_prior
    from scorereg.evaluation.tables import error_table
    from scorereg.priors.load import load_prior

    errors = evaluate_prior(
        load_prior(prior, device), data, out, count=count, seed=seed, size=size, reading=Reading(skip_bad)
    )
    for name, rows in errors.items():
        Console().print(error_table(rows, title=name))
    typer.echo(f"errors: {out / 'denoising.json'}")
