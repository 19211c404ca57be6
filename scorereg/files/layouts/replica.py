"""Replica as iMAP and NICE-SLAM render it: `results/frameN.jpg`, `results/depthN.png`, `traj.txt`, `cam_params.json`.

`traj.txt` has a line of 16 numbers for each frame: world from camera, in metres. `cam_params.json`, in the folder or
one of the two above it, has `camera`: `w`, `h`, `fx`, `fy`, `cx`, `cy`, and `scale`, units of depth per metre.
"""

import re
from pathlib import Path

from scorereg.files.depth import DEPTH_SUFFIXES
from scorereg.files.images import list_images, read_head
from scorereg.files.layouts.lenses import NoCamera, shifted
from scorereg.files.layouts.parsing import Bad, load_json, number, paired, raise_it
from scorereg.files.layouts.poses import lost_words, read_trajectory
from scorereg.files.view import Lens, Listing, View
from scorereg.files.walk import is_litter

__all__ = ["is_replica", "read_replica"]

_OWN = {"w": 1200, "h": 680, "fx": 600.0, "fy": 600.0, "cx": 599.5, "cy": 339.5, "scale": 6553.5}
_FILE = re.compile(r"(frame|rgb|color|depth)_?(\d+)", re.IGNORECASE)


def is_replica(folder: Path) -> bool:
    """Whether a folder has `results/` with photos `frameN` and depth maps `depthN`, or a trajectory beside them."""
    results = folder / "results"
    if not results.is_dir():
        return False
    kinds = {found[1].lower() for path in results.iterdir() if (found := _FILE.fullmatch(path.stem))}
    return "frame" in kinds and ("depth" in kinds or (folder / "traj.txt").is_file())


def read_replica(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read a scene of Replica; without `traj.txt` its views have no poses.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not hold what it should.
    """
    results = folder / "results"
    colors = {stem: path for path in list_images(results) if (stem := _number(path, "frame"))}
    files = (path for path in sorted(results.iterdir()) if path.suffix.lower() in DEPTH_SUFFIXES)
    depths = {stem: path for path in files if (stem := _number(path, "depth")) and not is_litter(path.name)}
    names = sorted(paired(results, colors, depths, bad) if depths else colors, key=int)
    if not names:
        return Listing(folder, ())
    lens, unit, said = _camera(folder, colors[names[0]])
    poses = read_trajectory(folder / "traj.txt", [int(name) for name in names])
    views = tuple(
        View(colors[name], depths.get(name), lens=lens, pose=pose, unit=unit, shared=True)
        for name, pose in zip(names, poses, strict=True)
    )
    lost = [f"frame{name}" for name, pose in zip(names, poses, strict=True) if pose is None]
    return Listing(folder, views, metric=True, said=(*said, *lost_words(folder, lost, len(names))), axes="opencv")


def _number(path: Path, kind: str) -> str | None:
    found = _FILE.fullmatch(path.stem)
    return found[2] if found and found[1].lower() == kind else None


def _camera(folder: Path, photo: Path) -> tuple[Lens, float, tuple[str, ...]]:
    """The lens, metres per unit of depth, and what has to be said of them."""
    places = [folder, *folder.absolute().parents[:2]]
    path = next((place / "cam_params.json" for place in places if (place / "cam_params.json").is_file()), None)
    if path is None:
        path = folder / "cam_params.json"
        said = (f"{path} is missing: the camera is taken for Replica's own, with depth in units of 1/6553.5 m",)
        if read_head(photo).stored != (_OWN["w"], _OWN["h"]):
            raise NoCamera(
                f"{path} is missing, and the photos have not the 1200x680 pixels of Replica's own camera. Write it: "
                "camera with w, h, fx, fy, cx, cy and scale, the units of depth per metre."
            )
        meta = _OWN
    else:
        meta, said = load_json(path), ()
        meta = meta["camera"] if isinstance(meta.get("camera"), dict) else meta
    w, h, fx, scale = (number(meta.get(key), key, path) for key in ("w", "h", "fx", "scale"))
    fy = number(meta.get("fy", fx), "fy", path)
    cx, cy = (number(meta.get(key, side / 2), key, path) for key, side in (("cx", w), ("cy", h)))
    return Lens((fx, fy), shifted((cx, cy), (w, h)), size=(w, h)), 1 / scale, said
