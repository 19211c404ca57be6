"""Types of the options that several commands share, each defined once, with its group in `--help`."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Alpha", "Best", "Channels", "Count", "CpuTime", "Credit", "DataRange", "Depth", "DepthFactor", "Device",
    "Evaluate", "Exclude", "FileVersion", "Frames", "Groups", "Licence", "Log", "MaxSize", "Name",
    "ObjectOnly", "OutFile", "OutFolder", "Patch", "Prediction", "Preset", "PriorChannels", "PriorSource", "Resume",
    "RgbdPrior", "Scale", "Scene", "Seed", "SkipBad", "Steps", "Variant", "Video", "Views", "option",
]  # fmt: skip


def option(group: str, text: str, default: str | bool = True, unit: str | None = None, name: str = "") -> Any:
    """Return a `typer.Option` that `--help` lists in a group.

    Args:
        group: Title of the group.
        text: What the option sets.
        default: The default in words, where the signature has None or False; True shows the signature's value.
        unit: Shown in place of the type.
        name: `--name`, or several separated by spaces; made of the parameter's, if empty.
    """
    return typer.Option(*name.split(), help=text, show_default=default, metavar=unit, rich_help_panel=group)


Alpha = Annotated[str, option("Scene", "Transparency: white, or mask (does not count).", unit="KIND")]
Best = Annotated[bool, option("Run", "The run's checkpoint of smallest held-out error.", "newest", name="--best")]
Channels = Annotated[str, option("Data", "Channels of frames: rgbd, rgb, d, or names: rgb,nx,ny,nz.", unit="NAMES")]
Count = Annotated[int, option("Run", "Number of rays, blocks or patches.", unit="N", name="--count -n")]
CpuTime = Annotated[bool, option("Run", "Count the processor's seconds.", "the clock's", name="--cpu-time")]
Credit = Annotated[list[str] | None, option("Output", "Whom to credit on the card; repeatable.", "none", "TEXT")]
DataRange = Annotated[
    tuple[float, float] | None, option("Prior", "Range of its training data.", "the file's, else -1 1", "LOW HIGH")
]
DepthFactor = Annotated[float, option("Data", "Factor on the depth unit of the frames.", unit="FACTOR")]
Depth = Annotated[
    str, option("Scene", "Weight of the training photos' measured depth (0.1), or off.", unit="WEIGHT", name="--depth")
]
Device = Annotated[str | None, option("Run", "cpu or cuda.", "cuda where there is a GPU, else cpu", "NAME")]
Evaluate = Annotated[list[Path] | None, option("Data", "More data to measure errors on; repeatable.", "none", "FOLDER")]
Exclude = Annotated[list[str] | None, option("Data", "Folders to leave out (ai_037_*); repeatable.", "none", "PATTERN")]
FileVersion = Annotated[
    str | None,
    option("Prior", "Version of denoising-diffusion-pytorch of a checkpoint.", "the file's", "V", "--file-version"),
]
Frames = Annotated[list[Path], typer.Argument(help="Folders with RGB-D frames, or folders of such folders.")]
Groups = Annotated[int | None, option("Prior", "Groups of a checkpoint's group norms.", "8", "N")]
Licence = Annotated[str, option("Output", "Licence for the card.", "the data's, where it is known", "TEXT")]
Log = Annotated[
    list[str] | None,
    option("Output", "Log it as it goes: jsonl, tensorboard or wandb; repeatable.", "none", "KIND", name="--log"),
]
MaxSize = Annotated[int | None, option("Scene", "Longer side to reduce the photos to.", "not reduced", "PIXELS")]
Name = Annotated[str, option("Output", "Name on the card.", unit="NAME")]
ObjectOnly = Annotated[
    bool, option("Scene", "Fit only the object, where the scene has masks of it.", "off", name="--object-only")
]
OutFile = Annotated[Path, option("Output", "File to write.", unit="FILE")]
OutFolder = Annotated[Path, option("Output", "Folder to write to.", unit="FOLDER")]
Patch = Annotated[int | None, option("Run", "Side of a patch.", "the card's", "PIXELS")]
Prediction = Annotated[
    str | None, option("Prior", "What it predicts: epsilon, sample or v_prediction.", "the file's", "NAME")
]
Preset = Annotated[str, option("Optimisation", "cpu, or gpu: more steps, rays and samples.", unit="NAME")]
PriorChannels = Annotated[
    str | None,
    option("Prior", "Its channels, in order: r,g,b.", "the card's, or by their number", "NAMES", "--channels"),
]
PriorSource = Annotated[
    str,
    typer.Argument(
        metavar="PRIOR", help="Shipped name, folder of a prior or a run, checkpoint, or owner/name on the hub."
    ),
]
Resume = Annotated[bool, option("Run", "Continue the run in --out, if there is one.", "off", name="--resume")]
RgbdPrior = Annotated[str, option("Prior", "Prior over RGB-D patches: a shipped name, or a folder.", unit="PRIOR")]
Scale = Annotated[float | None, option("Scene", "Metres per unit of the scene's file.", "estimated", "METRES")]
Scene = Annotated[
    Path,
    typer.Argument(metavar="SCENE", help="Folder with photos and poses: transforms.json, LLFF, COLMAP, others."),
]
Members = Annotated[
    int, option("Optimisation", "Fits from as many seeds, rendered as their mean; K take K times as long.", unit="K")
]
Seed = Annotated[int, option("Run", "Seed of all random numbers.", unit="N")]
SkipBad = Annotated[bool, option("Data", "Leave out bad frames, up to 1 %.", "an error", name="--skip-bad")]
Steps = Annotated[int | None, option("Optimisation", "Optimisation steps.", "the preset's", "N")]
Variant = Annotated[str | None, option("Prior", "Weights of a diffusers folder: fp16.", "plain, or the only", "NAME")]
Video = Annotated[int, option("Output", "Frames of a video along a path; 0 writes none.", unit="N")]
Views = Annotated[int, option("Scene", "Training views; the scene's split decides which.", unit="N")]
