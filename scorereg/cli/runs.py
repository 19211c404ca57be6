"""Commands on the run of a fit: `render` and `eval`, and what `export` and these share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scorereg.cli import options as opt
from scorereg.cli.options import option

__all__ = [
    "CamerasOf",
    "Frames",
    "Run",
    "SceneFolder",
    "Size",
    "Zoom",
    "compile_for_many",
    "eval_command",
    "load_run",
    "render_command",
    "shots_for",
]

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a fit: the --out of `scorereg fit`.")]
CamerasOf = Annotated[
    str,
    option("Scene", "test, train, all, spiral, orbit, between, or a transforms.json.", unit="KIND", name="--cameras"),
]
Frames = Annotated[
    int | None,
    option(
        "Scene", "Number of cameras; of photos, spread evenly.", "all; 24 of a path, or between two", "N", "--frames"
    ),
]
Size = Annotated[int | None, option("Output", "Longer side of the pictures.", "the photos'", "PIXELS", "--size")]
Zoom = Annotated[
    float | None, option("Output", "Factor on the pictures' size, in place of it.", "1", "FACTOR", "--scale")
]
SceneFolder = Annotated[
    Path | None, option("Scene", "Folder of the scene, if it was moved.", "where it lay", "FOLDER", "--scene")
]

_FEW = 4 * 256 * 192  # pixels from which on compiling pays


def render_command(
    run: Run,
    out: opt.OutFolder,
    cameras: CamerasOf = "test",
    frames: Frames = None,
    size: Size = None,
    scale: Zoom = None,
    what: Annotated[
        list[str] | None,
        option(
            "Output", "color, depth, opacity, normals, uncertainty; repeatable, or with commas.", "color,depth", "KINDS"
        ),
    ] = None,
    video: Annotated[
        bool | None, option("Output", "mp4 of colour beside depth.", "of a path", name="--video/--no-video")
    ] = None,
    fps: Annotated[int, option("Output", "Frames a second of the video.", unit="N")] = 24,
    device: opt.Device = None,
) -> None:
    """Render a fit from its photos' cameras, along a path, or from those of a file.

    Writes KIND/NAME.png (depth also as .npy in metres, and EXR), cameras.json and, of a path, video.mp4.
    """
    from scorereg.export import render_to_folder
    from scorereg.export.shots import PATHS

    fit = load_run(run, device)
    shots = shots_for(fit, cameras, frames, size, scale)
    kinds = [word.strip() for words in what or ["color", "depth"] for word in words.split(",") if word.strip()]
    moving = cameras in PATHS if video is None else video
    compile_for_many(fit, sum(shot.camera.width * shot.camera.height for shot in shots))
    for line in render_to_folder(fit, shots, out, what=kinds, fps=fps if moving else None):
        typer.secho(f"scorereg: {line}", fg="yellow", err=True)
    typer.echo(f"renders: {out}, {len(shots)} views of {', '.join(kinds)}")


def eval_command(
    run: Run,
    scene: SceneFolder = None,
    out: Annotated[Path | None, option("Output", "File to write.", "RUN/eval.json", "FILE")] = None,
    device: opt.Device = None,
) -> None:
    """Measure a fit on its held-out photos again: PSNR, SSIM, LPIPS where installed, depth error where known."""
    from scorereg._io import check_file
    from scorereg.fit.measure import compare_metrics, measure_fit, view_lines, write_measured

    file = run / "eval.json" if out is None else out
    fit = load_run(run, device).with_photos(scene)
    check_file(file)
    compile_for_many(fit, len(fit.scene.test) * fit.scene.cameras.width * fit.scene.cameras.height)
    measured = measure_fit(fit)
    write_measured(measured, file)
    for line in view_lines(measured):
        typer.echo(line)
    if differ := compare_metrics(measured, run / "metrics.json"):
        typer.secho(f"scorereg: {differ}", fg="yellow", err=True)
    typer.echo(f"metrics: {file}")


def load_run(run: Path, device: str | None) -> Any:
    """Load the fit of a folder on the device that an option names."""
    from scorereg._device import choose_device
    from scorereg.fit import Fit

    return Fit.load(run, choose_device(device))


def shots_for(fit: Any, cameras: str, frames: int | None, size: int | None, scale: float | None) -> Any:
    """Return the cameras that options name."""
    from scorereg.export import read_shots, resized, shots_of

    if cameras.lower().endswith(".json"):
        if frames is not None:
            raise ValueError("--frames is the number of cameras of a kind, and a file has its own. Leave it out.")
        return resized(read_shots(Path(cameras), fit.scene), size, scale)
    return resized(shots_of(fit.scene, cameras, frames), size, scale)


def compile_for_many(fit: Any, pixels: int) -> None:
    """Compile the encoder at once where there are many pixels to render, and not after the first images."""
    for module in fit.field.modules() if pixels >= _FEW else ():
        if hasattr(module, "delay_compiling"):
            module.delay_compiling(0)
