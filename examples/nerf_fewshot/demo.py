"""The main job in one command: a small room from three photos, fitted in three ways, in one table and one picture."""

import time
from pathlib import Path
from typing import Annotated

import typer
from torch import Tensor

from scorereg.cli import one_line_errors
from scorereg.cli.fit import run_fit_views
from scorereg.fit import Regularize
from scorereg.fit.pictures import labelled_grid, paint_depth, paint_error, save
from scorereg.fit.views import View
from scorereg.metrics import depth_abs_rel

ROOM = Path(__file__).parent / "room"
KINDS: dict[Regularize, str] = {
    "none": "photos\nalone",
    "geometric": "geometric\nterms",
    "prior": "geometric\nand prior",
}


def main(
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/demo"),
    steps: Annotated[int | None, typer.Option(help="Optimisation steps of each fit.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the fields, the rays and the patches.")] = 0,
) -> dict[str, dict]:
    """Fit the bundled room with no regulariser, with the geometric terms, and with the prior beside them."""
    from scorereg.scenes import load_scene

    began = time.monotonic()
    metrics, views = {}, {}
    for kind in KINDS:
        metrics[kind], views[kind] = run_fit_views(
            ROOM, out / kind, regularize=kind, steps=steps, seed=seed, video=15 if kind == "prior" else 0
        )
    scene = load_scene(ROOM)
    save(_picture(views, scene.near, scene.far), out / "demo.png")
    typer.echo(_table(metrics))
    typer.echo(f"{time.monotonic() - began:.0f} s in all; picture: {out / 'demo.png'}")
    return metrics


def _table(metrics: dict[str, dict]) -> str:
    lines = [f"{'regularize':<12}{'PSNR dB':>9}{'SSIM':>8}{'depth abs-rel':>15}{'seconds':>9}"]
    for kind, m in metrics.items():
        lines.append(f"{kind:<12}{m['psnr']:9.2f}{m['ssim']:8.3f}{m['depth_abs_rel']:15.3f}{m['seconds']:9.0f}")
    return "\n".join(lines)


def _picture(views: dict[Regularize, list[View]], near: float, far: float) -> Tensor:
    """The test view whose depth errors lie in the middle; rows truth and kinds, columns colour, depth, error."""
    count = len(views["none"])
    ranked = sorted(range(count), key=lambda i: sum(depth_abs_rel(v[i].depth, _truth(v[i])) for v in views.values()))
    index = ranked[count // 2]
    truth = _truth(views["none"][index])
    rows: list[tuple[str, list[Tensor | None]]] = [
        ("truth", [views["none"][index].photo, paint_depth(truth, near, far), None])
    ]
    for kind, label in KINDS.items():
        view = views[kind][index]
        rows.append((label, [view.rgb, paint_depth(view.depth, near, far), paint_error(view.depth, truth)]))
    return labelled_grid(rows, ["colour", "depth", "depth error (white: 50 % or more)"])


def _truth(view: View) -> Tensor:
    if view.truth is None:
        raise ValueError(f"The demo compares with true depth, and {view.name} has none. Restore {ROOM}.")
    return view.truth


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
