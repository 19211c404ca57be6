"""Commands on a trained prior: `inspect`, `sample` and `evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scorereg.cli import options as opt
from scorereg.cli.options import option
from scorereg.priors.card import CARD_FILE, PriorCard

__all__ = ["evaluate_command", "inspect_command", "said", "sample_command"]


def inspect_command(
    prior: opt.PriorSource,
    channels: opt.PriorChannels = None,
    prediction: opt.Prediction = None,
    data_range: opt.DataRange = None,
    groups: opt.Groups = None,
    version: opt.FileVersion = None,
    variant: opt.Variant = None,
    best: opt.Best = False,
    as_json: Annotated[bool, option("Output", "Print the card as JSON.", "off", name="--json")] = False,
) -> None:
    """Print a prior's card: channels, units and noise levels, network, data and licence, what was assumed, errors."""
    from rich.console import Console

    from scorereg.evaluation.tables import card_table

    facts = said(channels, data_range, prediction=prediction, groups=groups, version=version, variant=variant)
    card, parameters = _card(prior, best, facts)
    if as_json:
        typer.echo(card.to_json(), nl=False)
    else:
        Console().print(card_table(card, parameters))


def sample_command(
    prior: opt.PriorSource,
    count: opt.Count = 16,
    steps: Annotated[int, option("Run", "Noise levels; each but the last takes two evaluations.", unit="N")] = 30,
    patch: opt.Patch = None,
    channels: opt.PriorChannels = None,
    prediction: opt.Prediction = None,
    data_range: opt.DataRange = None,
    groups: opt.Groups = None,
    version: opt.FileVersion = None,
    variant: opt.Variant = None,
    best: opt.Best = False,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    out: opt.OutFile = Path("samples.png"),
) -> None:
    """Draw patches from a prior and write them as a PNG: colours with disparity (near is bright) beside them."""
    from scorereg._io import check_file
    from scorereg.evaluation.pictures import save_grid
    from scorereg.fit.folder import choose_device
    from scorereg.priors.sampling import sample
    from scorereg.training.export import open_prior

    check_file(out)
    facts = said(channels, data_range, prediction=prediction, groups=groups, version=version, variant=variant)
    loaded = open_prior(prior, choose_device(device), best=best, **facts)
    x = sample(loaded, count, steps=steps, seed=seed, size=None if patch is None else (patch, patch))
    save_grid(out, x, loaded.channels, span=loaded.card.range)
    typer.echo(f"samples: {out}")


def evaluate_command(
    prior: opt.PriorSource,
    data: Annotated[list[Path], typer.Argument(help="Folders of frames, shards or arrays; of images, without depth.")],
    count: opt.Count = 512,
    patch: opt.Patch = None,
    channels: opt.PriorChannels = None,
    prediction: opt.Prediction = None,
    data_range: opt.DataRange = None,
    groups: opt.Groups = None,
    version: opt.FileVersion = None,
    variant: opt.Variant = None,
    best: opt.Best = False,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    skip_bad: opt.SkipBad = False,
    out: opt.OutFolder = Path("errors"),
) -> None:
    """Measure a prior's denoising error beside that of the best linear filter, and the size of its residual.

    Writes denoising.json and, with matplotlib, denoising.png.
    """
    from rich.console import Console

    from scorereg.data import ReadOptions
    from scorereg.evaluation import error_table, evaluate_prior
    from scorereg.fit.folder import choose_device
    from scorereg.training.export import open_prior

    facts = said(channels, data_range, prediction=prediction, groups=groups, version=version, variant=variant)
    loaded = open_prior(prior, choose_device(device), best=best, **facts)
    errors = evaluate_prior(loaded, data, out, count=count, seed=seed, size=patch, reading=ReadOptions(skip_bad))
    for name, rows in errors.items():
        Console().print(error_table(rows, title=name))
    typer.echo(f"errors: {out / 'denoising.json'}")


def said(channels: str | None, data_range: tuple[float, float] | None, **others: Any) -> dict[str, Any]:
    """Return the arguments of `load_prior` out of the options that say what a prior's files do not say."""
    names = None if channels is None else tuple(name.strip() for name in channels.split(",") if name.strip())
    given = {"channels": names, "data_range": data_range, **others}
    return {name: value for name, value in given.items() if value is not None}


def _card(source: str, best: bool, facts: dict[str, Any]) -> tuple[PriorCard, int]:
    """Return a prior's card and its number of weights, without loading the network where a folder has the card."""
    from scorereg.priors.load import ZOO, shipped_priors
    from scorereg.priors.networks.storage import WEIGHTS_FILE
    from scorereg.training.checkpoint import checkpoints
    from scorereg.training.export import open_prior

    folder = ZOO / source if source in shipped_priors() else Path(source)
    saved = checkpoints(folder)
    finished = folder / "prior"  # of a run: the newest checkpoint, measured, unless the run went on since
    if saved and (finished / CARD_FILE).is_file() and PriorCard.load(finished).steps == int(saved[-1].stem):
        folder = finished
    if not best and not facts and (folder / CARD_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
        return PriorCard.load(folder), _count_weights(folder / WEIGHTS_FILE)
    prior = open_prior(source, best=best, **facts)
    return prior.card, sum(weight.numel() for weight in prior.parameters())


def _count_weights(path: Path) -> int:
    """Return the number of values in a safetensors file, from its header."""
    import math

    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read ({error}). Copy the whole prior folder again.") from None
