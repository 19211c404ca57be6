"""The commands that train a prior and hand it on: `train-prior`, `export` and `push`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["export_command", "push_command", "train_prior_command"]


def train_prior_command(
    data: Annotated[list[Path], typer.Argument(help="Folders of frames, shards or arrays.json; URLs of shards.")],
    out: Annotated[Path, typer.Option(help="The run's folder: checkpoints, metrics, the trained prior.")],
    recipe: Annotated[str, typer.Option(help="edm, or diffusionerf: all settings as in that paper.")] = "edm",
    steps: Annotated[int | None, typer.Option(help="Optimiser steps in all.")] = None,
    patch: Annotated[int | None, typer.Option(help="Side of a patch that is cut out of frames, in pixels.")] = None,
    channels: Annotated[str | None, typer.Option(help="Of frames: rgbd, rgb, d, or names: rgb,nx,ny,nz.")] = None,
    known: Annotated[str | None, typer.Option(help="Channels it can be told clean, such as rgb.")] = None,
    init: Annotated[str | None, typer.Option(help="Prior to begin with: a name or folder.")] = None,
    batch: Annotated[int | None, typer.Option(help="Patches a step, over all processes.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Parts of a batch, one after the other.")] = None,
    size: Annotated[str | None, typer.Option(help="Network: tiny, small or base.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seeds weights, patches and noise.")] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    keep: Annotated[int | None, typer.Option(help="Checkpoints to keep, beside the best.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")] = False,
    name: Annotated[str, typer.Option(help="The prior's name on its card.")] = "prior",
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    focal: Annotated[
        tuple[float, float] | None, typer.Option(help="Focal lengths that frames are reduced to, pixels.")
    ] = None,
    d_min: Annotated[float | None, typer.Option(help="Depth at which disparity is 1, metres.")] = None,
    depth_range: Annotated[tuple[float, float] | None, typer.Option(help="Random factors on a patch's depth.")] = None,
    grain: Annotated[float | None, typer.Option(help="Strongest noise that is part of colours.")] = None,
    sharpen: Annotated[float | None, typer.Option(help="Largest amount by which colours are sharpened.")] = None,
    evaluate: Annotated[list[Path] | None, typer.Option(help="More data, only to measure on; repeatable.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad frames out, up to 1 %.")] = False,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of folders to leave out; repeatable.")] = None,
    depth_factor: Annotated[float | None, typer.Option(help="Multiplies the depth unit of the data.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the card.")] = "",
    credit: Annotated[list[str] | None, typer.Option(help="Whom to credit on the card; repeatable.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16, fp16, or auto: bf16 where it is fast.")] = None,
    compiled: Annotated[bool | None, typer.Option("--compile", help="Compile the network; slow to start.")] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing", help="Half the memory, 1.2 to 1.7 times as long.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare batches.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads; 0 leaves the choice to torch.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where it is there, if not given.")] = None,
) -> None:
    """Train a diffusion prior on frames, shards or arrays. Ctrl-C saves; --resume goes on."""
    import torch

    from scorereg.data.bad_frames import Reading
    from scorereg.training import RECIPES, train_prior

    if recipe not in RECIPES:
        raise ValueError(f"no recipe is called {recipe!r}; choose one of {', '.join(RECIPES)}.")
    if threads > 0:
        torch.set_num_threads(threads)
    given: dict[str, Any] = {
        "steps": steps, "patch": patch, "channels": channels, "known": known, "init": init, "batch": batch,
        "accumulate": accumulate, "size": size,
        "seed": seed, "save_every": save_every, "keep": keep, "lr": lr, "focal": focal, "d_min": d_min,
        "depth_range": depth_range, "grain": grain, "sharpen": sharpen, "depth_factor": depth_factor,
        "precision": precision, "compile": compiled, "checkpointing": checkpointing, "workers": workers,
    }  # fmt: skip
    settings = dataclasses.replace(RECIPES[recipe], **{k: v for k, v in given.items() if v is not None})
    prior = train_prior(
        data, out, settings, resume=resume, name=name, evaluate=evaluate, licence=licence,
        credits=tuple(credit or ()), device=device, show=True, reading=Reading(skip_bad, tuple(exclude or ())),
    )  # fmt: skip
    if prior is None:
        typer.echo(f"interrupted, saved in {out}; the same command with --resume goes on", err=True)
        raise typer.Exit(130)
    typer.echo(f"prior: {prior}\nsamples: {out / 'samples.png'}\nerrors: {out / 'denoising.json'}")


def export_command(
    prior: Annotated[str, typer.Argument(help="Folder of a run, during it or after, or of a prior; or a name.")],
    out: Annotated[Path, typer.Option(help="The prior's new folder.")],
    best: Annotated[bool, typer.Option("--best", help="The run's checkpoint of the smallest held-out error.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Single precision, in place of half.")] = False,
    measure: Annotated[
        list[Path] | None, typer.Option(help="The run's data, to measure its errors on; repeatable.")
    ] = None,
    evaluate: Annotated[list[Path] | None, typer.Option(help="With --measure: more data.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="With --measure: leave bad frames out.")] = False,
) -> None:
    """Write a prior as a folder that diffusers reads, in half precision, with its card."""
    from scorereg.data.bad_frames import Reading
    from scorereg.training import export_prior
    from scorereg.training.report import measure_folder

    card = export_prior(prior, out, best=best, half=not full).card
    if measure:
        card = measure_folder(out, measure, evaluate or [], half=not full, reading=Reading(skip_bad))
    typer.echo(f"prior: {out}, step {card.steps}")


def push_command(
    prior: Annotated[str, typer.Argument(help="Folder of a run or of a prior, or a name.")],
    repository: Annotated[str, typer.Argument(help="owner/name on the hub; made where it is not there yet.")],
    best: Annotated[bool, typer.Option("--best", help="The run's checkpoint of the smallest held-out error.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Visible to its owner only.")] = False,
) -> None:
    """Upload a prior to the hub; load_prior("owner/name") reads it from there."""
    from scorereg.training import push_prior

    typer.echo(f"pushed: {push_prior(prior, repository, best=best, private=private)}")
