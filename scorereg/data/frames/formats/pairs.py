"""Layouts with one camera per folder and files paired by name: NYU, 7-Scenes, ScanNet; photos without a camera."""

from pathlib import Path

from scorereg.data.bad_frames import BadFrames
from scorereg.data.frames.frame import Frame
from scorereg.data.frames.images import find_images
from scorereg.files.layouts.parsing import (
    IMAGES,
    MILLIMETRE,
    load_json,
    number,
    paired,
    read_matrix,
    scene_name,
)

__all__ = ["find_kinect", "find_pairs", "find_photos", "find_scannet"]

_SEVEN_SCENES = (585.0, 585.0)  # its page: "the principle point is (320, 240), the focal length is (585, 585)"


def find_pairs(folder: Path, bad: BadFrames) -> list[Frame]:
    """Find `rgb/NAME.jpg`, `depth/NAME.png`, or one of the two alone; `intrinsics.json`; other folders are maps."""
    path = folder / "intrinsics.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: rgb/ and depth/ need it for fl_x, fl_y and depth_unit_scale_factor."
        )
    meta = load_json(path)
    focal_x = number(meta.get("fl_x"), "fl_x", path)
    focal_y = number(meta.get("fl_y", focal_x), "fl_y", path)
    unit = number(meta.get("depth_unit_scale_factor", MILLIMETRE), "depth_unit_scale_factor", path)
    both = [
        _images(folder / name, kinds) if (folder / name).is_dir() else None
        for name, kinds in (("rgb", IMAGES), ("depth", (".png",)))
    ]
    colors, depths = (each or {} for each in both)
    names = sorted({**colors, **depths}) if None in both else paired(folder, colors, depths, bad.add)
    others = {
        sub.name: _images(sub, (*IMAGES, ".npy"))
        for sub in sorted(folder.iterdir())
        if sub.is_dir() and sub.name not in ("rgb", "depth")
    }
    return [
        Frame(
            scene_name(folder), colors.get(name), depths.get(name), (focal_x, focal_y), unit, shared=True,
            maps=tuple((other, files[name]) for other, files in others.items() if name in files),
        )
        for name in names
    ]  # fmt: skip


def find_photos(root: Path) -> list[Frame]:
    """Find images at or below a folder, without a camera: their focal length is unknown."""
    return [Frame(scene_name(path.parent), path, None, None) for path in find_images(root)]


def find_kinect(folder: Path, bad: BadFrames) -> list[Frame]:
    """Find 7-Scenes: `NAME.color.jpg` or `.png`, `NAME.depth.png`; `camera-intrinsics.txt`, or a folder `seq-NN`."""
    if folder.name.startswith("seq-") and not (folder / "camera-intrinsics.txt").exists():
        focal = _SEVEN_SCENES
    else:
        focal = read_matrix(folder / "camera-intrinsics.txt", "the frames beside it need its 3x3 camera matrix.")
    colors = {p.name.removesuffix(f".color{p.suffix}"): p for p in sorted(folder.glob("*.color.*g"))}
    depths = {p.name.removesuffix(".depth.png"): p for p in folder.glob("*.depth.png")}
    names = paired(folder, colors, depths, bad.add)
    return [Frame(scene_name(folder), colors[n], depths[n], focal, MILLIMETRE, shared=True) for n in names]


def find_scannet(folder: Path, bad: BadFrames) -> list[Frame]:
    """Find exported ScanNet: `color/N.jpg`, `depth/N.png` in millimetres, `intrinsic/intrinsic_depth.txt`.

    Photos are larger than the depth maps and registered to them, so they are reduced to that size, with the depth maps'
    camera. The smaller release `frames_25k` has `intrinsics_depth.txt` in the scene's folder.
    """
    path = folder / "intrinsics_depth.txt"
    if not path.is_file():
        path = folder / "intrinsic" / "intrinsic_depth.txt"
    focal = read_matrix(path, "color/ and depth/ need the camera matrix of the depth maps.")
    colors, depths = _images(folder / "color", IMAGES), _images(folder / "depth", (".png",))
    names = paired(folder, colors, depths, bad.add)
    return [Frame(scene_name(folder), colors[n], depths[n], focal, MILLIMETRE, resize=True, shared=True) for n in names]


def _images(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    return {p.stem: p for p in folder.iterdir() if p.suffix.lower() in suffixes}
