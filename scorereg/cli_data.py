"""Commands that make training data: `scorereg make-rays` and `scorereg make-blocks`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["make_rays_command"]


def make_rays_command(
    data: Annotated[list[Path], typer.Argument(help="Folders with RGB-D frames, or folders of such folders.")],
    out: Annotated[Path, typer.Option(help="Folder for arrays.json, train-*.npy and held-*.npy.")],
    count: Annotated[int, typer.Option("--count", "-n", help="Rays in all, spread evenly over the frames.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Seeds rays, footprints and spreads.")] = 0,
    bins: Annotated[int, typer.Option(help="Bins along a ray, even in inverse depth.")] = 64,
    near: Annotated[float, typer.Option(help="Planar depth at which they begin, metres.")] = 0.5,
    far: Annotated[float, typer.Option(help="Planar depth at which they end, metres.")] = 10.0,
    licence: Annotated[str, typer.Option(help="Licence of the data, for the cards.")] = "",
    credit: Annotated[list[str] | None, typer.Option(help="Whom to credit on the cards; repeatable.")] = None,
) -> None:
    """Make weights along rays out of depth maps, to train a one-dimensional prior on."""
    from scorereg.ray_weights import RayWeights
    from scorereg.training.rays import make_rays

    transform = RayWeights(near=near, far=far, bins=bins)
    counts = make_rays(
        data, out, count=count, seed=seed, transform=transform, licence=licence, credits=tuple(credit or ())
    )
    typer.echo(f"arrays: {out}, " + ", ".join(f"{number} {name}" for name, number in counts.items()))
