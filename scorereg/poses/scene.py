"""`find_poses`: a folder of photos becomes a scene, with `transforms.json`, sparse points and copies of the photos."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scorereg._io import check_folder, hold_folder
from scorereg._progress import told
from scorereg.files.layouts.colmap_files import read_cameras, read_pictures, read_points
from scorereg.files.names import real_path
from scorereg.poses.motion import CAMERAS, MATCHING, Motion, import_pycolmap
from scorereg.poses.photos import Copies, copy_photos, heads_of
from scorereg.poses.write import POINTS, write_points, write_transforms

__all__ = ["Found", "find_poses"]

_CAMERA = "SIMPLE_RADIAL"  # has the least that a photo's lens needs, which few photos can tell
_SCENE = "transforms.json"
_PHOTOS = ("images", "photos")  # the second where the photos themselves lie in the first
_ADVICE = (
    "Photos need sharp texture and 60 to 80 % overlap with their neighbours, from places apart (not turned on the "
    "spot), with one lens and zoom, of things that do not move. Add photos between those that do not match."
)


@dataclass(frozen=True)
class Found:
    """What was found.

    Args:
        out: Folder of the scene.
        posed: Names of the photos that have a pose.
        lost: Those that have none, with the reason in words.
        points: Number of sparse points.
    """

    out: Path
    posed: tuple[str, ...]
    lost: dict[str, str]
    points: int

    def advice(self) -> str:
        """What to do about the photos without a pose, in one line; empty if there are none."""
        if not self.lost:
            return ""
        some = "; ".join(f"{name} ({why})" for name, why in list(self.lost.items())[:5])
        more = f"; and {len(self.lost) - 5} more" if len(self.lost) > 5 else ""
        return f"{len(self.lost)} photos have no pose and are no part of the scene: {some}{more}. {_ADVICE}"


def find_poses(
    photos: Path,
    out: Path,
    *,
    camera: str = _CAMERA,
    matching: str = "all",
    max_size: int | None = None,
    seed: int = 0,
    say: Callable[[str], object] = lambda line: None,
) -> Found:
    """Find the poses of photos by structure from motion, and write them as a scene.

    The scene is in a unit of its own, has the cameras' distortion among its keys, and holds copies of the photos:
    upright, and not undistorted. It appears when all is done; until then everything lies in a hidden folder in `out`,
    which is removed also after an error.

    Args:
        photos: Folder of photos; it is read only.
        out: Folder of the scene; must hold no scene yet.
        camera: COLMAP's camera model, the same for all photos of one size.
        matching: `"all"` matches every pair, `"order"` only neighbours in the order of the names, as of a film.
        max_size: Longest side in pixels, to which copies are reduced by a whole factor; not reduced, if None.
        seed: Of the random numbers.
        say: Is given lines of progress, one at least every ten seconds.

    Raises:
        OSError: If a photo cannot be read, or the scene not be written.
        ValueError: If an argument or a photo is not usable, pycolmap is missing, or fewer than two photos get a pose.
    """
    folder = _PHOTOS[real_path(out / _PHOTOS[0]) == real_path(photos)]
    _check(photos, out, folder, camera, matching, max_size)
    with told(say):
        return _find_poses(photos, out, folder, camera, matching, max_size, seed)


def _find_poses(
    photos: Path, out: Path, folder: str, camera: str, matching: str, max_size: int | None, seed: int
) -> Found:
    heads = heads_of(photos)
    import_pycolmap()
    with _work_folder(out) as work:
        (work / folder).mkdir()
        copies = copy_photos(heads, work / folder, max_size=max_size)
        counts = Motion(copies, work, camera, matching, seed).run()
        return _written(copies, work, out, counts, camera)


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """A hidden folder in `out`, which is removed at the end; after an error `out` as well, if it is new."""
    fresh = not out.exists()
    check_folder(out)
    try:
        with hold_folder(out):
            for left in out.glob(".poses-*"):  # of a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=".poses-", dir=out) as name:
                yield Path(name)
    except BaseException:
        if fresh and not any(out.iterdir()):
            out.rmdir()
        raise


def _check(photos: Path, out: Path, folder: str, camera: str, matching: str, max_size: int | None) -> None:
    for name, given, known in (("--camera", camera, CAMERAS), ("--match", matching, MATCHING)):
        if given not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, but is {given!r}.")
    if max_size is not None and max_size < 64:
        raise ValueError(f"--max-size must be at least 64 pixels, but is {max_size}.")
    for name in (_SCENE, folder, POINTS):
        if (out / name).exists():
            raise ValueError(f"{out / name} is there already, and nothing is overwritten. Choose another --out.")
    if real_path(out) == real_path(photos):
        raise ValueError(f"{out} is the folder of the photos, which is left as it is. Choose another --out.")


def _written(copies: Copies, work: Path, out: Path, counts: dict[str, int], camera: str) -> Found:
    """Write the largest model and move everything to its place, the description last."""
    models = sorted(path for path in (work / "sparse").iterdir() if (path / "images.bin").is_file())
    pictures = {path: read_pictures(path / "images.bin") for path in models}
    best = max(models, key=lambda path: len(pictures[path]), default=None)
    posed = {picture.name for picture in pictures[best]} if best else set()
    if best is None or len(posed) < 2:
        most = max(counts.values(), default=0)
        lens = "" if camera == _CAMERA else f" --camera {camera} may be wrong for this lens; try {_CAMERA}."
        raise ValueError(
            f"no two of the {len(copies.sizes)} photos could be placed: the best pair has {most} matches that agree "
            f"with a camera's motion.{lens} {_ADVICE}"
        )
    elsewhere = {picture.name for path in models if path != best for picture in pictures[path]} - posed
    lost = {name: _why(copy, counts, elsewhere) for name, copy in copies.names.items() if copy not in posed}
    points = read_points(best / "points3D.bin")
    write_points(work / POINTS, points)
    write_transforms(work / _SCENE, pictures[best], read_cameras(best / "cameras.bin"), copies.folder.name)
    for name in lost:
        (copies.folder / copies.names[name]).unlink()
    for name in (copies.folder.name, POINTS, _SCENE):
        shutil.move(work / name, out / name)
    kept = tuple(name for name, copy in copies.names.items() if copy in posed)
    return Found(out, kept, lost, len(points))


def _why(copy: str, counts: dict[str, int], elsewhere: set[str]) -> str:
    if copy in elsewhere:
        return "placed with others, but apart from the rest"
    return f"{counts[copy]} matches with its best partner" if counts.get(copy) else "no matches with any other"
