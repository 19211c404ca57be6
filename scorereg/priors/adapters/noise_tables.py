"""Tables of noise that a caller gives: as float64 lists, after a check that they are the table they are called."""

import math
import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["check_direction", "noise_table_of", "shown", "warn_of_betas"]

_OWN = {"linear": "linear_betas()", "cosine": "cosine_betas()", "squaredcos_cap_v2": "cosine_betas()"}
_HALF = "Compute the table in float32 or float64, as (1 - betas.double()).cumprod(0)."
_LONG = 10  # entries from which the shape of a table says what it is


def noise_table_of(name: str, value: Any) -> Float[Tensor, " n"]:
    """Return a table as float64 numbers on the CPU.

    Args:
        name: `"betas"`, `"alphas_cumprod"` or `"sigmas"`.
        value: A list, an array or a tensor of numbers >= 0; for the first two at most 1.

    Raises:
        ValueError: If it is anything else, out of its bounds, or turned round, or the table of another name.
    """
    table = _numbers(name, value)
    top = math.inf if name == "sigmas" else 1.0
    if table.ndim != 1 or not len(table) or not bool(((table >= 0) & (table <= top)).all()):
        raise ValueError(f"`{name}` must be a list of numbers from 0 to {top:g}, got {shown(table)}.")
    if name == "betas" and len(table) == 2:
        raise ValueError(
            f"two `betas` are a process of two steps, got {shown(table)}. If they are the ends of a linear "
            "schedule: betas=torch.linspace(first, last, 1000), as scorereg.priors.linear_betas() is."
        )
    _check_digits(name, value, table)
    if name == "sigmas":
        _check_no_products(table)
    else:
        _check_is(name, table)
    return table


def shown(table: Tensor) -> str:
    """Return a table of up to four values, or its shape and ends, for an error."""
    values = table.flatten()
    if values.numel() <= 4:
        return f"{values.tolist()}"
    return f"shape {tuple(table.shape)} from {values[0].item():g} to {values[-1].item():g}"


def check_direction(name: str, levels: Float[Tensor, " n"], table: Float[Tensor, " n"]) -> None:
    """Check that noise rises or falls from entry to entry.

    Raises:
        ValueError: If not.
    """
    steps = levels.diff()
    if not (bool((steps > 0).all()) or bool((steps < 0).all())):
        cure = ""
        if bool((steps >= 0).all()) or bool((steps <= 0).all()):
            equal = int((steps == 0).sum())
            cure = f" {equal} entries equal the one before, as in half precision. {_HALF}" if equal < len(steps) else ""
        raise ValueError(
            f"the noise levels of `{name}` must rise or fall from entry to entry, got {shown(table)}.{cure}"
        )


def warn_of_betas(betas: Any) -> None:
    """Warn of betas that fall from step to step, unlike those of any schedule."""
    table = None if betas is None else _numbers("betas", betas)
    if table is not None and len(table) > 2 and bool((table.diff() < 0).all()):
        warnings.warn(f"`betas` fall, {shown(table)}, unlike any schedule: turned round?", stacklevel=3)


def _numbers(name: str, value: Any) -> Tensor:
    """The values; what is no list of numbers is an error that says which call is meant."""
    if isinstance(value, str):
        own = _OWN.get(value, "linear_betas() or cosine_betas()")
        cure = f"Give the table: betas=scorereg.priors.{own}" if name == "betas" else "Give its values"
        raise ValueError(f"`{name}` must be a list of numbers, but got the text {value!r}. {cure}.")
    if hasattr(value, "config") or hasattr(value, "add_noise"):
        raise ValueError(
            f"`{name}` must be a list of numbers, but got a {type(value).__name__}. Give what it says: "
            "wrap(network, channels=..., **scorereg.priors.scheduler_settings(scheduler))."
        )
    if isinstance(value, int | float):
        cure = f" Give betas=scorereg.priors.linear_betas({value})." if name == "betas" and value > 2 else ""
        raise ValueError(f"`{name}` must be a list of numbers, but got one, {value}.{cure}")
    try:
        table = torch.as_tensor(value)
        if table.is_complex() or table.dtype == torch.bool:
            raise TypeError
        if isinstance(value, list | tuple) and table.is_floating_point():  # Python's numbers have more digits
            table = torch.as_tensor(value, dtype=torch.float64)
        return table.detach().to("cpu", torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"`{name}` must be a list of numbers, but got a {type(value).__name__}.") from None


def _check_digits(name: str, value: Any, table: Tensor) -> None:
    """Refuse a table in half precision whose digits do not tell its entries apart, or from 1."""
    kind = torch.as_tensor(value).dtype
    if kind not in (torch.float16, torch.bfloat16) or name == "betas":
        return
    noise = 1 - table if name == "alphas_cumprod" else table
    least = 10 * torch.finfo(kind).eps if name == "alphas_cumprod" else 0.0
    if bool((table.diff() == 0).any()) or bool(((noise < least) & (noise > 0)).any()):
        raise ValueError(
            f"`{name}` is of {kind}, half precision, which does not tell its entries apart: {shown(table)}. {_HALF}"
        )


def _check_no_products(table: Tensor) -> None:
    """Check that sigmas are no alphas_cumprod: these fall from 1, by more and more at first, and levels by less."""
    drops = -table.diff()
    if len(table) < _LONG or not bool((drops > 0).all()) or not 0.9 < table[0].item() <= 1:
        return
    if drops[0] < 0.5 * drops.max():
        raise ValueError(f"`sigmas` looks like alphas_cumprod: {shown(table)}. Give it as alphas_cumprod=.")


def _check_is(name: str, table: Tensor) -> None:
    """Check that alphas_cumprod fall and are cumulated, and that betas are no alphas."""
    steps = table.diff()
    falls, rises = bool((steps < 0).all()), bool((steps > 0).all())
    ends = shown(table)
    if len(table) < 3:
        return
    if name == "betas":
        if falls and table[0] > 0.9:
            other = "alphas = 1 - betas" if _uncumulated(table) else "alphas_cumprod"
            cure = "Give betas=1 - alphas" if _uncumulated(table) else "Give it as alphas_cumprod="
            raise ValueError(f"`betas` looks like {other}: {ends}. {cure}, or turn it round.")
        return
    if rises and table[0] < 0.1 and table[-1] < 0.9:
        raise ValueError(f"`alphas_cumprod` looks like betas: {ends}. Give it as betas=, or turn it round.")
    if rises:
        raise ValueError(
            f"`alphas_cumprod` is turned round, or is 1 - alphas_cumprod: it rises, {ends}, and its first entry must "
            "have the least noise. Give table.flip(0); if the network counts steps from noise to data, then with "
            "time=lambda i: len(table) - 1 - i."
        )
    if _uncumulated(table):
        raise ValueError(
            f"`alphas_cumprod` looks like alphas = 1 - betas that are not cumulated: {ends}. Give "
            "betas=1 - alphas, or alphas_cumprod=alphas.cumprod(0)."
        )


def _uncumulated(table: Tensor) -> bool:
    """Whether a table that falls from 1 holds alphas and not their products.

    Alphas stay near 1 for most of the steps. The first product is less far from 1 than the second is from it, since
    noise grows from step to step; of alphas the first is farther from 1 than from the second.
    """
    if len(table) < _LONG or table.median() < 0.9:
        return False
    return bool(1 - table[0] > 2 * (1 - table[1] / table[0])) or bool((table == table[0]).all() and table[0] < 1)
