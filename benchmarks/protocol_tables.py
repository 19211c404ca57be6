"""A protocol's rows as one table: medians over seeds, means of these over scenes, published figures beside them."""

import statistics
from collections.abc import Sequence
from typing import Any

__all__ = ["FIGURES", "as_latex", "as_markdown", "lines_of"]

FIGURES = {  # columns: their name in rows, the heading, the digits
    "psnr": ("PSNR", 2), "psnr_masked": ("PSNR, object", 2),
    "ssim_uniform7": ("SSIM 7x7", 3), "ssim_uniform7_masked": ("SSIM 7x7, object", 3),
    "ssim_gaussian11": ("SSIM Gaussian 11", 3), "ssim_gaussian11_masked": ("SSIM Gaussian 11, object", 3),
    "lpips": ("LPIPS", 3), "lpips_masked": ("LPIPS, object", 3),
    "average": ("Average", 3), "average_masked": ("Average, object", 3),
    "depth_abs_rel": ("depth error", 3), "color_spread_rank": ("spread rank, color", 2),
    "depth_spread_rank": ("spread rank, depth", 2), "seconds": ("seconds", 0),
}  # fmt: skip
_MEAN = "mean"


def lines_of(rows: Sequence[dict]) -> list[dict]:
    """Medians over the seeds of each scene, kind, number of views and of steps, and their means over scenes."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["views"], row["regularize"], row["steps"], row["scene"]), []).append(row)
    lines: list[dict[str, Any]] = [
        {"scene": scene, "views": views, "regularize": kind, "steps": steps, "seeds": len(group)}
        | {name: _over([row.get(name) for row in group], statistics.median) for name in FIGURES}
        for (views, kind, steps, scene), group in groups.items()
    ]
    order = sorted(lines, key=lambda line: (line["views"], line["steps"], line["scene"]))
    means = []
    for key in dict.fromkeys((line["views"], line["regularize"], line["steps"]) for line in order):
        mine = [line for line in order if (line["views"], line["regularize"], line["steps"]) == key]
        if len(mine) > 1:
            values = {name: _over([line[name] for line in mine], statistics.fmean) for name in FIGURES}
            seeds = min(line["seeds"] for line in mine)
            head = {"scene": f"{_MEAN} of {len(mine)}", "views": key[0], "regularize": key[1], "steps": key[2]}
            means.append(head | {"seeds": seeds} | values)
    return order + means


def as_markdown(report: dict[str, Any]) -> str:
    """The table as Markdown, with the notes below it."""
    head, body = _cells(report)
    width = ["---"] * 3 + ["---:"] * (len(head) - 3)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, width, *body))
    return table + "\n\n" + "\n".join(f"- {note}" for note in report["notes"]) + "\n"


def as_latex(report: dict[str, Any]) -> str:
    """The table as LaTeX, which needs no package; notes are comments."""
    head, body = _cells(report)
    rows = " \\\\\n".join(" & ".join(_escaped(cell) for cell in cells) for cells in body)
    notes = "".join(f"% {note}\n" for note in report["notes"])
    columns = "lll" + "r" * (len(head) - 3)
    titles = " & ".join(_escaped(cell) for cell in head)
    begin, end = f"\\begin{{tabular}}{{{columns}}}\n\\hline", "\\hline\n\\end{tabular}\n"
    return f"{notes}{begin}\n{titles} \\\\\n\\hline\n{rows} \\\\\n{end}"


def _cells(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The heading and the cells of all lines; columns without any figure are left out."""
    lines = report["lines"]
    others = [
        _as_columns(row, masked=any(line["psnr_masked"] is not None for line in lines)) for row in report["published"]
    ]
    shown = [name for name in FIGURES if any(line.get(name) is not None for line in (*lines, *others))]
    head = ["scene", "views", "fit", "steps", "seeds", *(FIGURES[name][0] for name in shown)]
    first = ("scene", "views", "regularize", "steps", "seeds")
    body = [
        [*(str(line[name]) for name in first), *(_number(line[name], FIGURES[name][1]) for name in shown)]
        for line in lines
    ]
    for row, columns in zip(report["published"], others, strict=True):
        cells = [_number(columns.get(name), FIGURES[name][1]) for name in shown]
        body.append(["published", str(row["views"]), row["method"], "", "", *cells])
    return head, body


def _as_columns(row: dict[str, Any], *, masked: bool) -> dict[str, float]:
    """Published figures under the names of columns: of the object where there are masks of it, as in DTU's protocol."""
    names = {"psnr": "psnr", "ssim": "ssim_uniform7", "lpips": "lpips", "average": "average"}
    return {f"{column}_masked" if masked else column: row[name] for name, column in names.items()}


def _over(values: Sequence[float | None], mean: Any) -> float | None:
    """None where one of the values is: a mean over the others would be another figure."""
    return None if None in values else mean(values)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _escaped(text: str) -> str:
    for letter in "\\&%$#_{}":
        text = text.replace(letter, f"\\{letter}" if letter != "\\" else "/")
    return text
