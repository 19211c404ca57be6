"""Draw one place of a held-out view in the truth and in several fits, enlarged, with its errors.

    python -m benchmarks.pictures.crops runs/demo/geometric runs/demo/prior --view 007 --box 0,82,80,60 --out crops.png

Reads what a fit has written into `views/`. Without `--box` the place is the one where the last fit gains most over the
first, so that a picture of it shows a difference and not the mean.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import matplotlib
import numpy as np
import typer
from PIL import Image

from scorereg._io import write_beside
from scorereg.cli import one_line_errors

Box = tuple[int, ...]  # x, y, width, height in pixels
WORST = 0.5  # relative depth error that is white in `views/`


@dataclass(frozen=True, eq=False)
class Shown:
    """One view of one fit, as it was written: colors of bytes (h, w, 3), relative depth error (h, w)."""

    photo: np.ndarray
    rgb: np.ndarray
    error: np.ndarray

    @property
    def squared(self) -> np.ndarray:
        """Squared error of the color, (h, w), for colors in [0, 1]."""
        return np.square((self.rgb.astype(float) - self.photo) / 255).mean(-1)


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of fits of one scene with true depth.")],
    view: Annotated[str, typer.Option(help="Name of a held-out view, without its suffix.")],
    box: Annotated[str | None, typer.Option(help="Place: x,y,width,height in pixels; searched, if not given.")] = None,
    size: Annotated[str, typer.Option(help="Width,height of the place that is searched.")] = "80,60",
    labels: Annotated[str | None, typer.Option(help="Titles of the fits, separated by commas.")] = None,
    out: Annotated[Path, typer.Option(help="The picture, PNG.")] = Path("crops.png"),
) -> None:
    """Draw columns truth and fits; rows the view, the place enlarged, and its errors in color and depth."""
    shown = [read_view(run / "views" / f"{view}.png") for run in runs]
    place = _numbers(box, 4) if box else best_place(shown[0], shown[-1], _numbers(size, 2))
    names = labels.split(",") if labels else [run.name for run in runs]
    write_beside(out, lambda beside: _figure(shown, names, place).savefig(beside, format="png", dpi=100))
    typer.echo(f"{view}, place {','.join(map(str, place))}: {out}")


def read_view(path: Path) -> Shown:
    """Read a picture that `scorereg.fit.views` wrote: photo, color, depth, true depth and depth error, side by side.

    Raises:
        ValueError: If the view has no depth error.
    """
    sheet = np.asarray(Image.open(path).convert("RGB"))
    parts = np.split(sheet, 5, axis=1) if sheet.shape[1] % 5 == 0 else []
    table = (np.asarray(matplotlib.colormaps["inferno"].colors) * 255 + 0.5).astype(int) @ [65536, 256, 1]  # pyright: ignore
    keys = parts[4].astype(int) @ [65536, 256, 1] if parts else np.array([-1])
    if not np.isin(keys, table).all():
        raise ValueError(f"{path} shows no depth error. Give fits of a scene with true depth.")
    order = np.argsort(table)
    level = order[np.searchsorted(table[order], keys)]
    return Shown(parts[0], parts[1], WORST * level / len(table))


def best_place(first: Shown, last: Shown, size: tuple[int, ...]) -> Box:
    """The place of that size where the last fit's squared error of color is farthest below the first's."""
    width, height = size
    total = np.pad((first.squared - last.squared).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    gain = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    y, x = np.unravel_index(gain.argmax(), gain.shape)
    return int(x), int(y), width, height


def _figure(shown: list[Shown], names: list[str], place: Box):
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    matplotlib.use("Agg")
    x, y, width, height = place
    inside = np.s_[y : y + height, x : x + width]
    columns = [
        ("truth", shown[0].photo, None),
        *((name, each.rgb, each) for name, each in zip(names, shown, strict=True)),
    ]
    figure, axes = plt.subplots(4, len(columns), figsize=(2.7 * len(columns), 8.4), squeeze=False, layout="constrained")
    kinds = [("error of the color", "white: 0.3 or more"), ("error of the depth", f"white: {WORST:.0%} or more")]
    for column, (name, rgb, fit) in enumerate(columns):
        axes[0, column].imshow(rgb)
        axes[0, column].add_patch(Rectangle((x, y), width, height, fill=False, edgecolor="red", linewidth=2))
        axes[0, column].set_title(name if fit is None else f"{name}\nview: {_psnr(fit.squared):.1f} dB")
        axes[1, column].imshow(rgb[inside], interpolation="nearest")
        if fit is None:
            for row, (kind, scale) in enumerate(kinds):
                axes[2 + row, 0].text(0.5, 0.5, f"{kind}\n({scale})", ha="center", va="center", fontsize=12)
        else:
            axes[1, column].set_title(f"{_psnr(fit.squared[inside]):.1f} dB here", fontsize=11)
            axes[2, column].imshow(np.sqrt(fit.squared[inside]), cmap="inferno", vmin=0, vmax=0.3)
            axes[3, column].imshow(fit.error[inside], cmap="inferno", vmin=0, vmax=WORST)
            axes[3, column].set_title(f"{fit.error[inside].mean():.1%} on average here", fontsize=11)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    return figure


def _psnr(squared: np.ndarray) -> float:
    return float(-10 * np.log10(squared.mean()))


def _numbers(text: str, count: int) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != count:
        raise ValueError(f"{text} is not {count} whole numbers, separated by commas.")
    return numbers


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
