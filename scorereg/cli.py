"""The `scorereg` command. Every command is one library call and what it prints."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from scorereg.cli_data import make_blocks_command, make_rays_command

__all__ = ["app", "main", "one_line_errors"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _root() -> None:
    """Diffusion priors as regularisers for anything that is optimised by gradient descent."""


@app.command("train-prior")
def train_prior_command(
    data: Annotated[list[Path], typer.Argument(help="Folders with RGB-D frames, or folders of such folders.")],
    out: Annotated[Path, typer.Option(help="The run's folder: checkpoints, metrics, the trained prior.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps in all.")] = 20_000,
    patch: Annotated[int, typer.Option(help="Side of a patch, in pixels.")] = 24,
    channels: Annotated[str, typer.Option(help="rgbd, rgb or d.")] = "rgbd",
    batch: Annotated[int, typer.Option(help="Patches a step.")] = 48,
    size: Annotated[str, typer.Option(help="Network: tiny, small or base.")] = "small",
    seed: Annotated[int, typer.Option(help="Seeds weights, patches and noise.")] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    name: Annotated[str, typer.Option(help="The prior's name on its card.")] = "prior",
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 4e-4,
    focal: Annotated[tuple[float, float], typer.Option(help="Focal lengths that frames are reduced to, pixels.")] = (
        80,
        180,
    ),
    d_min: Annotated[float, typer.Option(help="Depth at which disparity is 1, metres.")] = 0.5,
    depth_range: Annotated[tuple[float, float], typer.Option(help="Random factors on a patch's depth.")] = (0.6, 1.6),
    evaluate: Annotated[
        list[Path] | None, typer.Option(help="More RGB-D folders, only to measure on; repeatable.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the card.")] = "",
    credit: Annotated[list[str] | None, typer.Option(help="Whom to credit on the card; repeatable.")] = None,
    bf16: Annotated[bool | None, typer.Option(help="bfloat16 in the network; where it is fast, if not given.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads; 0 leaves the choice to torch.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where it is there, if not given.")] = None,
) -> None:
    """Train a diffusion prior on RGB-D frames. Ctrl-C saves; --resume goes on."""
    import torch

    from scorereg.training import train_prior

    if threads > 0:
        torch.set_num_threads(threads)
    prior = train_prior(
        data, out, steps=steps, patch=patch, channels=channels, batch=batch, size=size, seed=seed,
        save_every=save_every, resume=resume, name=name, lr=lr, focal=focal, d_min=d_min, depth_range=depth_range,
        evaluate=evaluate, licence=licence, credits=tuple(credit or ()), bf16=bf16, device=device, show=True,
    )  # fmt: skip
    if prior is None:
        typer.echo(f"interrupted, saved in {out}; the same command with --resume goes on", err=True)
        raise typer.Exit(130)
    typer.echo(f"prior: {prior}\nsamples: {out / 'samples.png'}\nerrors: {out / 'denoising.json'}")


@app.command("inspect")
def inspect_command(
    prior: Annotated[str, typer.Argument(help="A shipped prior's name, a folder or a checkpoint.")],
    as_json: Annotated[bool, typer.Option("--json", help="The card as it is on disk.")] = False,
) -> None:
    """Print a prior's card: what it must be used with, where it is from, what was measured."""
    from rich.console import Console

    from scorereg.priors.load import load_prior
    from scorereg.tables import prior_table

    loaded = load_prior(prior)
    if as_json:
        typer.echo(loaded.card.to_json(), nl=False)
    else:
        Console().print(prior_table(loaded))


@app.command("sample")
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
    from scorereg.sampling import sample, save_grid
    from scorereg.training.settings import check_file

    check_file(out)
    loaded = load_prior(prior, device)
    x = sample(loaded, count, steps=steps, seed=seed, size=None if size is None else (size, size))
    save_grid(out, x, loaded.channels, span=loaded.card.range)
    typer.echo(f"samples: {out}")


@app.command("evaluate")
def evaluate_command(
    prior: Annotated[str, typer.Argument(help="A shipped prior's name, a folder or a checkpoint.")],
    data: Annotated[list[Path], typer.Argument(help="Folders with RGB-D frames; images, if it knows no depth.")],
    out: Annotated[Path, typer.Option(help="Folder for denoising.json and denoising.png.")],
    count: Annotated[int, typer.Option(help="Patches to measure on.")] = 512,
    seed: Annotated[int, typer.Option(help="Seeds patches and noise.")] = 0,
    size: Annotated[int | None, typer.Option(help="Side of a patch in pixels; the card's, if not given.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Measure a prior's denoising error against the best linear filter, and how far its residual can be believed."""
    from rich.console import Console

    from scorereg.priors.load import load_prior
    from scorereg.tables import error_table
    from scorereg.training.evaluate import evaluate_prior

    for name, rows in evaluate_prior(load_prior(prior, device), data, out, count=count, seed=seed, size=size).items():
        Console().print(error_table(rows, title=name))
    typer.echo(f"errors: {out / 'denoising.json'}")


app.command("make-rays")(make_rays_command)
app.command("make-blocks")(make_blocks_command)


@contextmanager
def one_line_errors(name: str = "scorereg") -> Iterator[None]:
    """A mistake that the user can mend becomes one line on standard error and exit code 2, never a traceback."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.secho(f"{name}: " + " ".join(str(error).split()), fg="red", err=True)
        sys.exit(2)


def main() -> None:
    """Entry point of the `scorereg` command."""
    with one_line_errors():
        app()


if __name__ == "__main__":
    main()
