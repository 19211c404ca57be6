"""Denoising errors in words: as ratios to the best linear filter's, and where the prior is worse."""

from typing import Any

from scorereg._io import printable
from scorereg.evaluation.denoising import groups_of

__all__ = ["error_lines"]

_EQUAL = 1.005  # a ratio that is printed as 1.00


def error_lines(rows: list[dict[str, Any]], data: str) -> list[str]:
    """Return lines of text: the ratio to the linear filter's squared error at each noise level, and what it means.

    Args:
        rows: Rows of `denoising_errors`, or of a card.
        data: Name of the data.
    """
    lines = [f"squared denoising error on {printable(data)}, as a ratio to the best linear filter's:"]
    names = groups_of(rows[0])
    width = max(map(len, ("sigma", *names)))
    lines.append(f"  {'sigma':{width}} " + " ".join(f"{row['sigma']:>5g}" for row in rows))
    lines += [f"  {printable(n):{width}} " + " ".join(f"{row[n + '_ratio']:>5.2f}" for row in rows) for n in names]
    worse = {n: [f"{row['sigma']:g}" for row in rows if row[f"{n}_ratio"] > _EQUAL] for n in names}
    where = [f"{printable(n)} at sigma {', '.join(levels)}" for n, levels in worse.items() if levels]
    if where:
        found = "; ".join(where)
        lines.append(f"  The prior is worse than a linear filter: {found}. Train it longer, or on more data.")
    else:
        lines.append("  The prior is nowhere worse than a linear filter.")
    return lines
