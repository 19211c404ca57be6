"""Commands that make training data: `prepare`, `make-rays` and `make-blocks`."""

from pathlib import Path
from typing import Annotated

import typer

from scorereg._io import printable
from scorereg.cli import options as opt
from scorereg.cli.options import option

__all__ = ["make_blocks_command", "make_rays_command", "prepare_command"]

_HYPERSIM = 77_400  # frames


def prepare_command(
    data: opt.Frames,
    out: opt.OutFolder,
    focal: Annotated[float, option("Data", "Longest focal length that runs will ask for.", unit="PIXELS")] = 180.0,
    d_min: Annotated[float, option("Data", "Smallest depth at which disparity can be 1.", unit="METRES")] = 0.5,
    channels: opt.Channels = "rgbd",
    depth_factor: opt.DepthFactor = 1.0,
    skip_bad: opt.SkipBad = False,
    exclude: opt.Exclude = None,
    shard_frames: Annotated[int, typer.Option(min=1, help="Most frames in a shard.", rich_help_panel="Output")] = 128,
    licence: opt.Licence = "",
    credit: opt.Credit = None,
    name: Annotated[str | None, option("Output", "Name of the data.", "its folder's", "NAME")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.", rich_help_panel="Run")] = 1,
) -> None:
    """Reduce raw RGB-D frames and pack them into shards to train on; the same command continues after a stop.

    Writes the shards and manifest.json.
    """
    from scorereg.data import ReadOptions, channel_names, prepare

    def progress(done: int, total: int, written: int) -> None:
        typer.echo(f"{done} of {total} frames, {written / 1e6:.1f} MB", err=True)

    try:
        manifest = prepare(
            data, out, focal=focal, d_min=d_min, channels=channel_names(channels), depth_factor=depth_factor,
            reading=ReadOptions(skip_bad, tuple(exclude or ())), shard_frames=shard_frames, workers=workers,
            licence=licence, credits=tuple(credit or ()), name=name, progress=progress,
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo(f"interrupted; the same command goes on with {out}", err=True)
        raise typer.Exit(130) from None
    skipped = [*manifest.skipped, *(line for shard in manifest.shards for line in shard.skipped)]
    for line in (*manifest.left_out, *skipped):
        typer.echo(printable(f"left out: {line}"), err=True)
    each = manifest.bytes / manifest.frames
    typer.echo(
        f"shards: {out}, {len(manifest.shards)} files, {manifest.frames} frames, {manifest.bytes / 1e9:.3g} GB, "
        f"{each / 1e3:.1f} kB a frame; {len(skipped)} frames skipped\n"
        f"at that rate the {_HYPERSIM} frames of Hypersim would be {each * _HYPERSIM / 1e9:.1f} GB"
    )


def make_rays_command(
    data: opt.Frames,
    out: opt.OutFolder,
    skip_bad: opt.SkipBad = False,
    bins: Annotated[int, option("Data", "Bins along a ray, even in inverse depth.", unit="N")] = 64,
    near: Annotated[float, option("Data", "Planar depth at which they begin.", unit="METRES")] = 0.5,
    far: Annotated[float, option("Data", "Planar depth at which they end.", unit="METRES")] = 10.0,
    licence: opt.Licence = "",
    credit: opt.Credit = None,
    count: opt.Count = 40_000,
    seed: opt.Seed = 0,
) -> None:
    """Make weights along rays out of depth maps, to train a one-dimensional prior on.

    Rays are spread evenly over the frames. Writes arrays.json, train-*.npy and held-*.npy.
    """
    from scorereg.data import ReadOptions, make_rays
    from scorereg.transforms.ray_weights import RayWeights

    transform = RayWeights(near=near, far=far, bins=bins)
    counts = make_rays(
        data, out, count=count, seed=seed, transform=transform, licence=licence, credits=tuple(credit or ()),
        reading=ReadOptions(skip_bad),
    )  # fmt: skip
    _print_counts(out, counts)


def make_blocks_command(
    data: Annotated[
        list[Path], typer.Argument(help="Meshes, .npy, .binvox, or folders of them or of frames with transforms.json.")
    ],
    out: opt.OutFolder,
    licence: opt.Licence = "",
    credit: opt.Credit = None,
    block: Annotated[int, option("Data", "Edge of a block; the networks take multiples of 8.", unit="VOXELS")] = 32,
    voxel: Annotated[
        tuple[float, float], option("Data", "Smallest and largest edge of a grid's voxel.", unit="METRES METRES")
    ] = (0.02, 0.04),
    factor: Annotated[
        list[int] | None, option("Data", "Grid voxels along an edge of a block's voxel; repeatable.", "1, 2, 3", "N")
    ] = None,
    up: Annotated[
        str, option("Data", "Axis that points up: x, y or z; any: blocks turned in all ways.", unit="AXIS")
    ] = "y",
    kind: Annotated[str, option("Data", "occupancy or sdf.", unit="KIND")] = "occupancy",
    count: opt.Count = 6000,
    seed: opt.Seed = 0,
) -> None:
    """Cut blocks of voxels out of meshes, grids or posed depth maps, to train a three-dimensional prior on.

    Blocks are spread evenly over the sources. Writes arrays.json, train-*.npy and held-*.npy.
    """
    from scorereg.data import BlockMix, make_blocks

    mix = BlockMix(size=block, factors=tuple(factor or (1, 2, 3)), up=up, kind=kind)
    counts = make_blocks(
        data, out, count=count, seed=seed, voxel=voxel, mix=mix, licence=licence, credits=tuple(credit or ()), show=True
    )
    _print_counts(out, counts)


def _print_counts(out: Path, counts: dict[str, int]) -> None:
    typer.echo(f"arrays: {out}, " + ", ".join(f"{number} {name}" for name, number in counts.items()))
