"""Commands that make training data: `prepare`, `make-rays` and `make-blocks`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["make_blocks_command", "make_rays_command", "prepare_command"]

_HYPERSIM = 77_400  # frames


def prepare_command(
    data: Annotated[list[Path], typer.Argument(help="Folders with frames, or folders of such folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards and manifest.json.")],
    focal: Annotated[float, typer.Option(help="Longest focal length that runs will want, pixels.")] = 180.0,
    d_min: Annotated[float, typer.Option(help="Smallest depth at which disparity is to be 1, metres.")] = 0.5,
    channels: Annotated[str, typer.Option(help="rgbd, rgb, d, or names: rgbd,nx,ny,nz.")] = "rgbd",
    shard_frames: Annotated[int, typer.Option(min=1, help="Frames a shard, at most.")] = 128,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad frames out, up to 1 %.")] = False,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of folders to leave out; repeatable.")] = None,
    depth_factor: Annotated[float, typer.Option(help="Multiplies the depth unit of the data.")] = 1.0,
    licence: Annotated[str, typer.Option(help="Licence of the data, for the cards.")] = "",
    credit: Annotated[list[str] | None, typer.Option(help="Whom to credit on the cards; repeatable.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data; its folder's, if not given.")] = None,
) -> None:
    """Reduce raw RGB-D frames once and pack them into shards to train on; the same command goes on after a stop."""
    from scorereg.data.frames.augment import channel_names
    from scorereg.data.shards.prepare import prepare

    def progress(done: int, total: int, written: int) -> None:
        typer.echo(f"{done} of {total} frames, {written / 1e6:.1f} MB", err=True)

    manifest = prepare(
        data, out, focal=focal, d_min=d_min, channels=channel_names(channels), shard_frames=shard_frames,
        workers=workers, skip_bad=skip_bad, exclude=tuple(exclude or ()), depth_factor=depth_factor, licence=licence,
        credits=tuple(credit or ()), name=name, progress=progress,
    )  # fmt: skip
    skipped = [*manifest.skipped, *(line for shard in manifest.shards for line in shard.skipped)]
    for line in (*manifest.left_out, *skipped):
        typer.echo(f"left out: {line}", err=True)
    each = manifest.bytes / manifest.frames
    typer.echo(
        f"shards: {out}, {len(manifest.shards)} files, {manifest.frames} frames, {manifest.bytes / 1e9:.3g} GB, "
        f"{each / 1e3:.1f} kB a frame; {len(skipped)} frames skipped\n"
        f"at that rate the {_HYPERSIM} frames of Hypersim would be {each * _HYPERSIM / 1e9:.1f} GB"
    )


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
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave unreadable frames out, up to 1 %.")] = False,
) -> None:
    """Make weights along rays out of depth maps, to train a one-dimensional prior on."""
    from scorereg.data.rays.make import make_rays
    from scorereg.transforms.ray_weights import RayWeights

    transform = RayWeights(near=near, far=far, bins=bins)
    counts = make_rays(
        data, out, count=count, seed=seed, transform=transform, licence=licence, credits=tuple(credit or ()),
        skip_bad=skip_bad,
    )  # fmt: skip
    typer.echo(f"arrays: {out}, " + ", ".join(f"{number} {name}" for name, number in counts.items()))


def make_blocks_command(
    data: Annotated[
        list[Path], typer.Argument(help="Meshes, .npy, .binvox, or folders of them or of frames with transforms.json.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for arrays.json, train-*.npy and held-*.npy.")],
    count: Annotated[int, typer.Option("--count", "-n", help="Blocks in all, spread evenly over the sources.")] = 6000,
    seed: Annotated[int, typer.Option(help="Seeds voxel sizes, places and turns.")] = 0,
    size: Annotated[int, typer.Option(help="Voxels along an edge of a block; the networks take multiples of 8.")] = 32,
    voxel: Annotated[tuple[float, float], typer.Option(help="Edge of a grid's voxel, from and to, metres.")] = (
        0.02,
        0.04,
    ),
    factor: Annotated[list[int] | None, typer.Option(help="Voxels of the grid in one of a block; repeatable.")] = None,
    up: Annotated[str, typer.Option(help="Axis that points up: x, y or z; any turns blocks in all ways.")] = "y",
    kind: Annotated[str, typer.Option(help="occupancy or sdf.")] = "occupancy",
    licence: Annotated[str, typer.Option(help="Licence of the data, for the cards.")] = "",
    credit: Annotated[list[str] | None, typer.Option(help="Whom to credit on the cards; repeatable.")] = None,
) -> None:
    """Cut blocks of voxels out of meshes, grids or posed depth maps, to train a three-dimensional prior on."""
    from scorereg.data.blocks.make import BlockMix, make_blocks

    mix = BlockMix(size=size, factors=tuple(factor or (1, 2, 3)), up=up, kind=kind)
    counts = make_blocks(
        data, out, count=count, seed=seed, voxel=voxel, mix=mix, licence=licence, credits=tuple(credit or ()), show=True
    )
    typer.echo(f"arrays: {out}, " + ", ".join(f"{number} {name}" for name, number in counts.items()))
