"""Make rooms: `python -m examples.synthetic_rooms --rooms 10 --first-seed 0 --out ROOMS --furniture FOLDER`.

A room depends on its seed and the furniture alone. Rooms that are there are kept, so the same command goes on where it
stopped; an unfinished room is made anew.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from examples.synthetic_rooms import render
from examples.synthetic_rooms.cameras import Shot, draw_shot
from examples.synthetic_rooms.furniture import catalogue, unpack
from examples.synthetic_rooms.lights import make_lights
from examples.synthetic_rooms.room import Room, make_room
from examples.synthetic_rooms.write import Frame, write_credits, write_room
from scorereg.cli import one_line_errors

TRIES = 4  # shots a frame that are drawn until one is worth keeping


def main(
    out: Annotated[Path, typer.Option(help="Folder for the rooms, one folder each.")],
    furniture: Annotated[Path, typer.Option(help="Folder with *.sh3f of sweethome3d-furniture, packed or not.")] = Path(
        "/usr/share/sweethome3d"
    ),
    rooms: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first; the others follow.")] = 0,
    frames: Annotated[int, typer.Option(min=0, help="Photos of each; 0 makes triangles alone, without Mitsuba.")] = 8,
    size: Annotated[tuple[int, int], typer.Option(help="Width and height in pixels.")] = (256, 192),
    samples: Annotated[int, typer.Option(min=1, help="Light paths a pixel.")] = 48,
    denoise: Annotated[bool, typer.Option(help="Clean the pictures by Open Image Denoise.")] = True,
    mesh: Annotated[bool, typer.Option(help="Write room.ply, for `scorereg make-blocks`.")] = False,
    variant: Annotated[str, typer.Option(help="Of Mitsuba: llvm_ad_rgb, cuda_ad_rgb or scalar_rgb.")] = "llvm_ad_rgb",
) -> None:
    """Render furnished rooms as RGB-D frames."""
    out.mkdir(parents=True, exist_ok=True)
    folder = unpack(furniture, out / ".furniture")
    models, images = catalogue(folder), pictures(folder)
    if frames:
        render.check_mitsuba(variant, denoise=denoise)
        render.mitsuba().set_variant(variant)
    for seed in range(first_seed, first_seed + rooms):
        target = out / f"room-{seed:05d}"
        if target.exists():
            continue
        rng = np.random.default_rng(seed)
        room = make_room(rng, models, images)
        shots = [draw_shot(rng, room.shell, room.plan) for _ in range(max(TRIES * frames, 12))]
        taken = take(rng, room, shots, frames, size, samples=samples, seed=seed, denoise=denoise) if frames else []
        write_room(target, room, shots, taken, seed=seed, mesh=mesh or not frames)
        write_credits(out, models, folder)
        typer.echo(f"{target}: {room.plan.kind}, {len(room.plan.placed)} models, {len(taken)} frames")


def pictures(folder: Path) -> list[Path]:
    """Picture files among the furniture that can cover walls and floors."""
    found = sorted(path for path in folder.glob("*/*/*/*.jpg") if path.stat().st_size > 8000)
    if not found:
        raise FileNotFoundError(f"{folder} holds no pictures. Unpack the furniture anew.")
    return found


def take(
    rng: np.random.Generator, room: Room, shots: list[Shot], frames: int, size: tuple[int, int], *, samples: int,
    seed: int, denoise: bool,
) -> list[Frame]:  # fmt: skip
    """Take photos, of the shots that see enough: nothing right before the lens, no blank wall."""
    scene = render.make_scene(room.parts, make_lights(rng, room.shell))
    taken: list[Frame] = []
    for k, shot in enumerate(shots):
        if len(taken) == frames:
            break
        depth = render.depth_of(scene, shot, size)
        if not worth_taking(depth):
            continue
        colour = render.photo_of(scene, shot, size, samples=samples, seed=seed * 1000 + k, denoise=denoise)
        taken.append(Frame(shot, render.expose(rng, colour), depth))
    return taken


def worth_taking(depth: np.ndarray) -> bool:
    """Most of it is known and not right before the lens, and it is not one plane."""
    known = depth > 0
    if known.mean() < 0.7 or np.percentile(depth[known], 20) < 0.4:
        return False
    inverse = np.where(known, 1 / np.where(known, depth, 1), 0)
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]]
    design = np.stack([x[known], y[known], np.ones(known.sum())], -1)
    fit = np.linalg.lstsq(design, inverse[known], rcond=None)[0]
    return float(np.std(inverse[known] - design @ fit)) > 0.012


if __name__ == "__main__":
    with one_line_errors("examples.synthetic_rooms"):
        typer.run(main)
