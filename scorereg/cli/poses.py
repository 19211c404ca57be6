"""`scorereg poses`: poses of photos that have none."""

from pathlib import Path
from typing import Annotated

import typer

from scorereg._io import printable
from scorereg.cli import options as opt
from scorereg.cli.options import option

__all__ = ["poses_command"]


def poses_command(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of photos of one scene; it is read only.")],
    out: Annotated[Path, option("Output", "Folder of the scene to write.", unit="FOLDER")],
    camera: Annotated[
        str,
        option(
            "Scene",
            "COLMAP's camera model, one for all photos of a size; OPENCV_FISHEYE for wide lenses.",
            unit="MODEL",
        ),
    ] = "SIMPLE_RADIAL",
    match: Annotated[
        str, option("Scene", "all: every pair of photos; order: neighbours by name, for films.", unit="KIND")
    ] = "all",
    max_size: opt.MaxSize = None,
    seed: opt.Seed = 0,
) -> None:
    """Find the poses of photos by structure from motion, and write a scene for fit; needs the extra colmap.

    Writes transforms.json, sparse_pc.ply and images: copies of the photos, upright, their distortion not removed.
    """  # fmt: skip
    from scorereg.poses import find_poses

    try:
        found = find_poses(
            photos, out, camera=camera, matching=match, max_size=max_size, seed=seed,
            say=lambda line: typer.echo(printable(line), err=True),
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("interrupted, nothing was written", err=True)
        raise typer.Exit(130) from None
    if found.lost:
        typer.secho(printable(f"scorereg: {found.advice()}"), fg="yellow", err=True)
    total = len(found.posed) + len(found.lost)
    typer.echo(f"scene: {out}, {len(found.posed)} of {total} photos with poses, {found.points} points")
