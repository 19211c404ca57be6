"""`scorereg export`: a fit as points, mesh and depth for other programs, or a prior as a folder for diffusers."""

from pathlib import Path
from typing import Annotated

import typer

from scorereg.cli import options as opt
from scorereg.cli.options import option
from scorereg.cli.runs import CamerasOf, Frames, SceneFolder, Size, compile_for_many, load_run, shots_for

__all__ = ["export_command"]

_FIT = "--points, --mesh, --depth and --transforms"


def export_command(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="Folder of a fit; or a prior: shipped name, folder, run, checkpoint, owner/name."
        ),
    ],
    points: Annotated[
        Path | None, option("Output", "Points of a fit, with colours and normals.", "none", "FILE.ply", "--points")
    ] = None,
    mesh: Annotated[
        Path | None, option("Output", "Mesh of a fit: .ply, .obj or .glb.", "none", "FILE", "--mesh")
    ] = None,
    depth: Annotated[
        Path | None, option("Output", "Depth maps of a fit, in the scene's unit.", "none", "FOLDER", "--depth")
    ] = None,
    transforms: Annotated[
        Path | None, option("Output", "A scene with rendered depth: transforms.json.", "none", "FOLDER", "--transforms")
    ] = None,
    cameras: CamerasOf = "all",
    frames: Frames = None,
    scene: SceneFolder = None,
    size: Size = None,
    count: Annotated[int, option("Output", "Most points.", unit="N", name="--count -n")] = 500_000,
    resolution: Annotated[int, option("Output", "Grid points of the mesh's longest side.", unit="N")] = 256,
    voxel: Annotated[
        float | None, option("Output", "Their distance, in place of it.", "by --resolution", "METRES")
    ] = None,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    out: Annotated[Path | None, option("Output", "Folder for a prior.", "none", "FOLDER", "--out")] = None,
    best: opt.Best = False,
    full: Annotated[bool, option("Output", "A prior in single precision.", "half", name="--full")] = False,
    measure: Annotated[
        list[Path] | None, option("Data", "A prior's data, to measure its errors on; repeatable.", "none", "FOLDER")
    ] = None,
    evaluate: opt.Evaluate = None,
    skip_bad: opt.SkipBad = False,
) -> None:
    """Write a fit as points, a mesh, depth maps or a scene; or a prior as a folder that diffusers reads.

    Of a fit: what --points, --mesh, --depth and --transforms name, in the scene's own coordinates. Of a prior: --out, a
    folder in half precision with its card; --evaluate and --skip-bad apply to what --measure measures.
    """
    wanted = any(path is not None for path in (points, mesh, depth, transforms))
    if wanted and (out is not None or best or full or measure or evaluate or skip_bad):
        raise ValueError(f"{_FIT} are of a fit; --out, --best, --full and --measure of a prior. Give those of one.")
    if wanted:
        from scorereg.export import export_fit

        fit = load_run(Path(run), device)
        shots = shots_for(fit, cameras, frames, size, None)
        fit = _with_photos(fit, scene) if transforms is not None else fit
        compile_for_many(fit, sum(shot.camera.width * shot.camera.height for shot in shots))
        lines = export_fit(
            fit, shots, points=points, mesh=mesh, depth=depth, transforms=transforms, count=count,
            resolution=resolution, voxel=voxel, seed=seed,
        )  # fmt: skip
        typer.echo("\n".join(lines))
        return
    if out is None:
        fitted = (Path(run) / "fit.json").is_file()
        cure = f"Give some of {_FIT}" if fitted else "Give --out, the folder to write"
        raise ValueError(
            f"{run} is {'a fit' if fitted else 'taken for a prior'}, and nothing is to be written. {cure}."
        )
    _export_prior(run, out, best=best, full=full, measure=measure, evaluate=evaluate, skip_bad=skip_bad)


def _with_photos(fit, scene: Path | None):
    """The fit with its photos, where they are still there or their folder is named."""
    if scene is None and (fit.scene.source is None or not Path(fit.scene.source.path).exists()):
        line = "the scene is not where it lay, so the exported one has renders in place of photos. --scene names it."
        typer.secho(f"scorereg: {line}", fg="yellow", err=True)
        return fit
    return fit.with_photos(scene)


def _export_prior(
    prior: str,
    out: Path,
    *,
    best: bool,
    full: bool,
    measure: list[Path] | None,
    evaluate: list[Path] | None,
    skip_bad: bool,
) -> None:
    from scorereg.data import ReadOptions
    from scorereg.training import export_prior, measure_folder

    card = export_prior(prior, out, best=best, half=not full).card
    if measure:
        card = measure_folder(out, measure, evaluate or [], half=not full, reading=ReadOptions(skip_bad))
    typer.echo(f"prior: {out}, step {card.steps}")
