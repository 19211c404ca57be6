"""Commands on a trained prior: `inspect`, `sample` and `evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scorereg.cli import options as opt
from scorereg.cli.options import option
from scorereg.cli.prior_facts import with_facts
from scorereg.priors.card import CARD_FILE, PriorCard

__all__ = ["evaluate_command", "inspect_command", "sample_command"]


@with_facts
def inspect_command(
    prior: opt.PriorSource,
    best: opt.Best = False,
    as_json: Annotated[bool, option("Output", "Print the card as JSON.", "off", name="--json")] = False,
    *,
    facts: dict[str, Any],
) -> None:
    """Print a prior's card: channels, units and noise levels, network, data and licence, what was assumed, errors."""
    from rich.console import Console

    from scorereg.evaluation.tables import card_table

    card, parameters = _card(prior, best, facts)
    if as_json:
        typer.echo(card.to_json(), nl=False)
    else:
        Console().print(card_table(card, parameters))


@with_facts
def sample_command(
    prior: opt.PriorSource,
    count: opt.Count = 16,
    steps: Annotated[int, option("Run", "Noise levels; each but the last takes two evaluations.", unit="N")] = 30,
    patch: opt.Patch = None,
    best: opt.Best = False,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    out: opt.OutFile = Path("samples.png"),
    *,
    facts: dict[str, Any],
) -> None:
    """Draw patches from a prior and write them as a PNG: colours with disparity (near is bright) beside them."""
    from scorereg._device import choose_device
    from scorereg._io import check_file
    from scorereg.evaluation.pictures import save_grid
    from scorereg.priors.sampling import sample
    from scorereg.training.export import open_prior

    check_file(out)
    loaded = open_prior(prior, choose_device(device), best=best, **facts)
    x = sample(loaded, count, steps=steps, seed=seed, size=None if patch is None else (patch, patch))
    save_grid(out, x, loaded.channels, span=loaded.card.range)
    typer.echo(f"samples: {out}")


@with_facts
def evaluate_command(
    prior: opt.PriorSource,
    data: Annotated[list[Path], typer.Argument(help="Folders of frames, shards or arrays; of images, without depth.")],
    count: opt.Count = 512,
    patch: opt.Patch = None,
    best: opt.Best = False,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    skip_bad: opt.SkipBad = False,
    out: opt.OutFolder = Path("errors"),
    *,
    facts: dict[str, Any],
) -> None:
    """Measure a prior's denoising error beside that of the best linear filter, and the size of its residual.

    Writes denoising.json and, with matplotlib, denoising.png.
    """
    from rich.console import Console

    from scorereg._device import choose_device
    from scorereg.data import ReadOptions
    from scorereg.evaluation import error_lines, error_table, evaluate_prior
    from scorereg.training.export import open_prior

    loaded = open_prior(prior, choose_device(device), best=best, **facts)
    errors = evaluate_prior(loaded, data, out, count=count, seed=seed, size=patch, reading=ReadOptions(skip_bad))
    for name, rows in errors.items():
        Console().print(error_table(rows, title=name))
        typer.echo(error_lines(rows, name)[-1].strip())
    typer.echo(f"errors: {out / 'denoising.json'}")


def _card(source: str, best: bool, facts: dict[str, Any]) -> tuple[PriorCard, int]:
    """Return a prior's card and its number of weights, after all checks; without making the network, if possible."""
    from scorereg.priors.arguments import named_path
    from scorereg.priors.load import ZOO, shipped_priors
    from scorereg.priors.networks.storage import WEIGHTS_FILE, read_description
    from scorereg.training.checkpoint import checkpoints
    from scorereg.training.export import open_prior

    source = named_path(source)
    folder = ZOO / source if source in shipped_priors() else Path(source)
    saved = checkpoints(folder)
    finished = folder / "prior"  # of a run: the newest checkpoint, measured, unless the run went on since
    if saved and (finished / CARD_FILE).is_file() and PriorCard.load(finished).steps == int(saved[-1].stem):
        folder = finished
    if not best and not facts and (folder / CARD_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
        told = read_description(folder)
        if told is not None:
            return told
    prior = open_prior(source, best=best, **facts)
    return prior.card, sum(weight.numel() for weight in prior.parameters())
