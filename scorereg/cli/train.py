"""Commands that train a prior and upload it: `train-prior` and `push`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scorereg.cli import options as opt
from scorereg.cli.options import option

__all__ = ["push_command", "train_prior_command"]


def train_prior_command(
    data: Annotated[list[Path], typer.Argument(help="Folders of frames, shards or arrays.json; URLs of shards.")],
    out: opt.OutFolder,
    name: opt.Name = "prior",
    licence: opt.Licence = "",
    credit: opt.Credit = None,
    log: Annotated[
        list[str] | None,
        option("Output", "jsonl (always), tensorboard, wandb; repeatable.", "tensorboard, if there", "KIND", "--log"),
    ] = None,
    save_every: Annotated[
        int | None, option("Output", "Steps between checkpoints.", "edm: 500, diffusionerf: 5000", "N")
    ] = None,
    keep: Annotated[int, option("Output", "Checkpoints to keep beside the best.", unit="N")] = 3,
    channels: opt.Channels = "rgbd",
    patch: Annotated[
        int | None, option("Data", "Side of a patch cut out of frames.", "edm: 24, diffusionerf: 48", "PIXELS")
    ] = None,
    focal: Annotated[
        tuple[float, float] | None,
        option("Data", "Focal lengths to reduce frames to.", "edm: 80 180, diffusionerf: 175 175", "PIXELS PIXELS"),
    ] = None,
    d_min: Annotated[
        float | None, option("Data", "Depth at which disparity is 1.", "edm: 0.5, diffusionerf: 0.2", "METRES")
    ] = None,
    depth_range: Annotated[
        tuple[float, float] | None,
        option("Data", "Range of a random factor on depth.", "edm: 0.6 1.6, diffusionerf: 1 1", "LOW HIGH"),
    ] = None,
    depth_factor: opt.DepthFactor = 1.0,
    skip_bad: opt.SkipBad = False,
    exclude: opt.Exclude = None,
    evaluate: opt.Evaluate = None,
    sha256: Annotated[
        str | None, option("Data", "SHA-256 that the manifest behind the URL must have.", "any", "HASH")
    ] = None,
    network: Annotated[
        str | None, option("Network", "tiny, small, folded or base.", "edm: small, diffusionerf: base", "SIZE")
    ] = None,
    known: Annotated[str, option("Network", "Channels that can be given clean: rgb.", "none", "NAMES")] = "",
    linear: Annotated[
        bool,
        option("Network", "Start from the data's best linear denoiser; edm only.", "on", name="--linear/--no-linear"),
    ] = True,
    init: Annotated[str, option("Network", "Prior whose weights to start from.", "random weights", "PRIOR")] = "",
    recipe: Annotated[
        str, option("Optimisation", "edm, or diffusionerf: the settings of that paper.", unit="NAME")
    ] = "edm",
    steps: Annotated[
        int | None, option("Optimisation", "Steps in all.", "edm: 20000, diffusionerf: 650000", "N")
    ] = None,
    batch: Annotated[
        int | None, option("Optimisation", "Patches a step, over all processes.", "edm: 48, diffusionerf: 32", "N")
    ] = None,
    lr: Annotated[
        float | None,
        option("Optimisation", "Peak rate; edm's tiny 0.002, base 0.0001.", "edm: 0.001, diffusionerf: 0.0001", "LR"),
    ] = None,
    grain: Annotated[float, option("Noise", "Largest deviation of noise in clean colours.", unit="SIGMA")] = 0.0,
    sharpen: Annotated[float, option("Noise", "Largest sharpening of clean colours.", unit="AMOUNT")] = 0.0,
    resume: opt.Resume = False,
    seed: opt.Seed = 0,
    accumulate: Annotated[int, option("Run", "Parts that a batch is computed in, to save memory.", unit="N")] = 1,
    checkpointing: Annotated[
        bool, option("Run", "Half the memory, 1.2 to 1.7 times the time.", "off", name="--checkpointing")
    ] = False,
    precision: Annotated[str, option("Run", "fp32, bf16, fp16, or auto: bf16 where it is fast.", unit="NAME")] = "auto",
    compiled: Annotated[bool, option("Run", "Compile the network; slow to start.", "off", name="--compile")] = False,
    workers: Annotated[
        int | None, option("Run", "Processes that prepare batches.", "up to 8 with CUDA, else 0", "N")
    ] = None,
    threads: Annotated[int, option("Run", "CPU threads; 0 leaves the choice to torch.", unit="N")] = 0,
    device: opt.Device = None,
) -> None:
    """Train a diffusion prior on frames, shards or arrays. Ctrl-C saves; --resume continues.

    Writes checkpoints, metrics.jsonl and, at the end, prior/, samples.png and denoising.json.
    """
    import torch

    from scorereg.callbacks import logs_of
    from scorereg.data import ReadOptions, pinned
    from scorereg.evaluation import error_lines
    from scorereg.priors import PriorCard
    from scorereg.training import recipe_settings, train_prior

    if threads > 0:
        torch.set_num_threads(threads)
    given: dict[str, Any] = {
        "steps": steps, "patch_size": patch, "channels": channels, "known": known, "linear": linear, "init": init,
        "batch": batch, "accumulate": accumulate, "network_size": network, "seed": seed, "save_every": save_every,
        "keep": keep, "lr": lr, "focal": focal, "d_min": d_min, "depth_range": depth_range, "grain": grain,
        "sharpen": sharpen, "depth_factor": depth_factor, "precision": precision, "compile": compiled,
        "checkpointing": checkpointing, "workers": workers,
    }  # fmt: skip
    settings = recipe_settings(recipe, **{k: v for k, v in given.items() if v is not None})
    data = data if sha256 is None else pinned(data, sha256)
    report = None if log is None else logs_of(log, out)
    prior = train_prior(
        data, out, settings, resume=resume, name=name, evaluate=evaluate, licence=licence,
        credits=tuple(credit or ()), device=device, show=True, reading=ReadOptions(skip_bad, tuple(exclude or ())),
        report=report,
    )  # fmt: skip
    if prior is None:
        typer.echo(f"interrupted, saved in {out}; the same command with --resume goes on", err=True)
        raise typer.Exit(130)
    for data_name, rows in PriorCard.load(prior).denoising.items():
        typer.echo("\n".join(error_lines(rows, data_name)))
    typer.echo(f"prior: {prior}\nsamples: {out / 'samples.png'}\nerrors: {out / 'denoising.json'}")


def push_command(
    prior: opt.PriorSource,
    repository: Annotated[str, typer.Argument(help="owner/name on the hub; made where it does not exist.")],
    best: opt.Best = False,
    private: Annotated[bool, option("Output", "Visible to its owner only.", "off", name="--private")] = False,
) -> None:
    """Upload a prior to the hub; load_prior("owner/name") reads it from there."""
    from scorereg.training import push_prior

    typer.echo(f"pushed: {push_prior(prior, repository, best=best, private=private)}")
