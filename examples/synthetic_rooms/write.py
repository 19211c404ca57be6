"""What is left on disk: frames with `transforms.json`, the room's triangles, and the credits that licences ask for."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from examples.synthetic_rooms.cameras import Shot
from examples.synthetic_rooms.furniture import Model
from examples.synthetic_rooms.room import Room, solids

__all__ = ["Frame", "write_credits", "write_room"]

MILLIMETRE = 0.001


@dataclass(frozen=True, eq=False)
class Frame:
    """A photo with its depth, and how it was taken.

    Args:
        shot: The camera.
        colour: [h, w, 3], 8 bits.
        depth: [h, w], planar, metres, 0 where nothing was hit.
    """

    shot: Shot
    colour: np.ndarray
    depth: np.ndarray


def write_room(folder: Path, room: Room, shots: list[Shot], frames: list[Frame], *, seed: int, mesh: bool) -> None:
    """Write a room's folder under another name and rename it: it is there as a whole or not at all.

    Args:
        folder: To be made; an unfinished one of an earlier run is replaced.
        room: For the triangles and the credits.
        shots: Cameras, where there are no frames.
        frames: Photos with depth.
        seed: That the room was made from.
        mesh: Whether to write `room.ply`, the triangles of all that is solid.

    Raises:
        OSError: If it cannot be written.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    entries = []
    for k, frame in enumerate(frames):
        height, width = frame.depth.shape
        Image.fromarray(frame.colour).save(partial / f"{k:03d}.png")
        units = np.clip(np.rint(frame.depth / MILLIMETRE), 0, 65534).astype(np.uint16)
        Image.fromarray(units).save(partial / f"{k:03d}.depth.png")
        focal = frame.shot.focal(width)
        entries.append({"file_path": f"{k:03d}.png", "depth_file_path": f"{k:03d}.depth.png", "fl_x": focal,
                        "fl_y": focal, "cx": width / 2, "cy": height / 2, "w": width, "h": height,
                        "transform_matrix": frame.shot.pose.tolist()})  # fmt: skip
    if not frames:
        entries = [{"transform_matrix": shot.pose.tolist()} for shot in shots]
    meta = {
        "camera_model": "OPENCV",
        "convention": "world from camera, OpenGL axes (x right, y up, z back); world y up; metres; depth is planar z",
        "depth_unit_scale_factor": MILLIMETRE,
        "seed": seed,
        "kind": room.plan.kind,
        "models": sorted({model_id(model) for model in room.models}),
        "frames": entries,
    }
    if mesh:
        write_ply(partial / "room.ply", *solids(room))
    (partial / "transforms.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    partial.rename(folder)


def write_credits(out: Path, models: list[Model], furniture: Path) -> None:
    """Write `CREDITS.md`, with the authors of all models in the rooms of a folder, and the licences' texts."""
    used: set[str] = set()
    for path in sorted(out.glob("room-*/transforms.json")):
        used |= set(json.loads(path.read_text(encoding="utf-8"))["models"])
    collections: dict[tuple[str, str], set[str]] = {}
    for model in models:
        if model_id(model) in used:
            collections.setdefault((model.collection, model.licence), set()).add(f"{model.name} by {model.creator}")
    lines = ["# Credits", "", "The rooms show 3-D models distributed with Sweet Home 3D (eTeks, Emmanuel Puybaret),",
             "scaled and partly repainted. Their licences are in `licences/`.", ""]  # fmt: skip
    for (name, licence), rows in sorted(collections.items()):
        lines += [f"## {name}", "", licence, "", *(f"- {row}" for row in sorted(rows)), ""]
    (out / "licences").mkdir(exist_ok=True)
    for path in sorted(furniture.glob("*/LICENSE.TXT")):
        shutil.copyfile(path, out / "licences" / f"{path.parent.name}.txt")
    partial = out / "CREDITS.md.partial"
    partial.write_text("\n".join(lines), encoding="utf-8")
    partial.replace(out / "CREDITS.md")


def model_id(model: Model) -> str:
    """Short name of a model that is the same on every machine."""
    return f"{model.path.parts[-3]}/{model.path.parent.name}/{model.path.stem}"


def write_ply(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write triangles as binary PLY."""
    head = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = np.empty(len(faces), [("n", "u1"), ("i", "<i4", 3)])
    rows["n"], rows["i"] = 3, faces
    path.write_bytes(head.encode() + vertices.astype("<f4").tobytes() + rows.tobytes())
