"""ScanNet (Dai et al. 2017), exported: `color/N.jpg`, `depth/N.png` in millimetres, `pose/N.txt`, `intrinsic/`.

Photos are larger than the depth maps and registered to them, so they are reduced to that size, with the depth maps'
camera. Poses are 4x4 matrices, world from camera, in metres; those of frames whose tracking was lost are -inf. The
smaller release `frames_25k` has `intrinsics_depth.txt` in the scene's folder.
"""

from pathlib import Path

from scorereg.files.depth import DEPTH_SUFFIXES
from scorereg.files.layouts.folders import by_stem, named, natural, size_of_first
from scorereg.files.layouts.lenses import read_lens
from scorereg.files.layouts.parsing import MILLIMETRE, Bad, paired, raise_it
from scorereg.files.layouts.poses import lost_words, read_pose
from scorereg.files.view import Listing, View

__all__ = ["read_scannet"]

_COLOR, _DEPTH = (1296.0, 968.0), (640.0, 480.0)  # sizes of the data set


def read_scannet(folder: Path, bad: Bad = raise_it) -> Listing:
    """Read a scene of ScanNet; without depth maps, photos with the camera of `intrinsic_color.txt`.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file does not hold what it should.
    """
    colors = by_stem(named(folder, ("color",)) or folder)
    depth = named(folder, ("depth",))
    depths = by_stem(depth, DEPTH_SUFFIXES) if depth else {}
    kind = "depth" if depths else "color"
    files = [folder / f"intrinsics_{kind}.txt", folder / f"intrinsic_{kind}.txt",
             folder / "intrinsic" / f"intrinsic_{kind}.txt"]  # fmt: skip
    path = next((path for path in files if path.is_file()), files[-1])
    needs = f"color/ and depth/ need the camera matrix of the {'depth maps' if depths else 'photos'}."
    photo = size_of_first((), depths.values()) if depths else size_of_first(colors.values())
    lens = read_lens(path, needs, photo, others=[_DEPTH if depths else _COLOR])
    names = sorted(paired(folder, colors, depths, bad) if depths else colors, key=natural)
    poses = {name: read_pose((named(folder, ("pose", "poses")) or folder) / f"{name}.txt") for name in names}
    views = tuple(
        View(
            colors[name], depths.get(name), lens=lens, pose=poses[name], unit=MILLIMETRE, resize=bool(depths),
            shared=True,
        )
        for name in names
    )  # fmt: skip
    lost = [name for name in names if poses[name] is None]
    return Listing(folder, views, metric=True, said=lost_words(folder, lost, len(names)), axes="opencv")
