"""Cards and measurements as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scorereg._io import printable
from scorereg.evaluation.denoising import groups_of
from scorereg.priors.card import PriorCard

__all__ = ["card_table", "error_table"]


def card_table(card: PriorCard, parameters: int | None = None) -> RenderableType:
    """Return a card as a table, and one more for each of its measurements.

    Args:
        card: The card of a prior.
        parameters: Number of the network's weights; no row, if not given.
    """
    table = Table("field", "value", box=None, show_header=False, pad_edge=False)
    table.columns[0].style = "bold"
    for name, text in _facts(card, parameters).items():
        if text:
            table.add_row(name, _cell(text))
    errors = [error_table(rows, title=f"denoising error, {data}") for data, rows in card.denoising.items()]
    residuals = [_quantile_table(card.residual_quantiles)] if card.residual_quantiles else []
    return Group(table, *errors, *residuals)


def error_table(rows: list[dict[str, Any]], *, title: str) -> Table:
    """Return the rows of `denoising_errors` as a table: a line for each noise level and channel.

    Args:
        rows: Rows of `denoising_errors`, or of a card.
        title: Name of the data.
    """
    table = Table("sigma", "channel", "prior", "linear", "ratio", title=_cell(title), title_justify="left")
    measured = bool(rows) and any(name.endswith("_residual") for name in rows[0])
    for name in ("residual", "expected") if measured else ():
        table.add_column(name)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        groups = groups_of(row)
        for name in groups:
            numbers = [f"{row[name]:.3e}", f"{row[f'{name}_linear']:.3e}", f"{row[f'{name}_ratio']:.2f}"]
            numbers += [f"{row[f'{name}_{what}']:.4f}" for what in ("residual", "expected") if measured]
            first = f"{row['sigma']:g}" if name == groups[0] else ""
            table.add_row(first, _cell(name), *numbers, end_section=name == groups[-1])
    return table


def _facts(card: PriorCard, parameters: int | None) -> dict[str, str]:
    """The card's plain fields, in words."""
    focal = card.focal and f"{card.focal[0]:g} to {card.focal[1]:g} pixels"
    return {
        "name": card.name,
        "channels": ", ".join(card.channels),
        "patch": " x ".join(map(str, card.size)) and " x ".join(map(str, card.size)) + " pixels",
        "sigma": f"{card.sigma_min:g} to {card.sigma_max:g}",
        "range": f"{card.range[0]:g} to {card.range[1]:g}",
        "depth": f"{card.depth or ''}{f', disparity = {card.d_min:g} m / depth' if card.d_min else ''}",
        "focal length": focal or "",
        "network": ", ".join(filter(None, (card.architecture, _pairs(_plain(card.network))))),
        "prediction": card.prediction,
        "parameters": f"{parameters:,}" if parameters else "",
        "assumed": "\n".join(card.assumed),
        "data": card.data,
        "licence": card.licence,
        "credits": "\n".join(card.credits),
        "steps": str(card.steps or ""),
        "training": _pairs(card.training),
        "held out": ", ".join(card.held_out),
        "quantiles on": card.residual_quantiles.get("data", ""),
    }


def _cell(text: str) -> Text:
    """A text as it is: a stranger's card neither sets styles and links nor sends codes to the terminal."""
    return Text("\n".join(printable(line) for line in text.split("\n")))


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _plain(network: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a network but for long lists of numbers, of which it says that they are there."""
    return {name: "measured" if isinstance(value, dict) else value for name, value in network.items()}


def _quantile_table(quantiles: Mapping[str, Any]) -> Table:
    levels = (f"{level:g}" for level in quantiles["levels"])
    table = Table("sigma", *levels, title="RMS(x - D) / sigma, quantiles", title_justify="left")
    for sigma, values in zip(quantiles["sigma"], quantiles["values"], strict=True):
        table.add_row(f"{sigma:g}", *(f"{value:.4f}" for value in values))
    return table
