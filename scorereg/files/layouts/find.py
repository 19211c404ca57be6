"""Which layout a folder has, by what it holds; the first that fits is taken.

transforms.json                     nerfstudio, instant-ngp, Blender and their kin
frames.json                         rendered rooms
meta_data.json                      SDFStudio
poses_bounds.npy                    LLFF; where COLMAP's model lies beside it, too
sparse/0/cameras.bin                COLMAP, text or binary, in any of the usual places
cameras_sphere.npz                  DTU as IDR and NeuS have it
cams/00000000_cam.txt               MVSNet
pos_001.txt                         DTU's own projections
keyframes/corrected_cameras/        Polycam's raw data
rgb.txt and depth.txt               TUM RGB-D, or associations.txt
results/frame000000.jpg             Replica of iMAP and NICE-SLAM
rgb/ and depth/                     one camera in intrinsics.json; or color, images; or one of the two alone
color/ and depth/                   ScanNet, with intrinsic/intrinsic_depth.txt
NAME.color.jpg and NAME.depth.png   7-Scenes
"""

from collections.abc import Callable
from pathlib import Path

from scorereg.files.layouts.colmap import has_model, read_colmap
from scorereg.files.layouts.dtu import is_dtu, read_dtu
from scorereg.files.layouts.dtu_texts import has_projections, read_projections
from scorereg.files.layouts.folders import COLOR_FOLDERS, DEPTH_FOLDERS
from scorereg.files.layouts.intrinsics import INTRINSICS, MATRICES
from scorereg.files.layouts.kinect import CAMERA, is_color, read_kinect
from scorereg.files.layouts.llff import POSES, read_llff
from scorereg.files.layouts.mvsnet import is_mvsnet, read_mvsnet
from scorereg.files.layouts.pairs import read_pairs
from scorereg.files.layouts.parsing import Bad
from scorereg.files.layouts.polycam import is_polycam, read_polycam
from scorereg.files.layouts.replica import is_replica, read_replica
from scorereg.files.layouts.rooms import ROOMS, read_rooms
from scorereg.files.layouts.scannet import read_scannet
from scorereg.files.layouts.sdfstudio import META, read_sdfstudio
from scorereg.files.layouts.transforms import has_transforms, read_transforms
from scorereg.files.layouts.tum import is_tum, read_tum
from scorereg.files.view import Listing
from scorereg.files.walk import is_litter

__all__ = ["Reader", "layout_of"]

Reader = Callable[[Path, Bad], Listing]


def layout_of(folder: Path, *, depth: bool = False) -> Reader | None:
    """Return the reader of a folder's layout; None if it has none that is known.

    Args:
        folder: The folder.
        depth: Prefer a layout with depth maps where there are two: `rgb/` and `depth/` to COLMAP's model beside them.

    Raises:
        OSError: If the folder cannot be listed.
    """
    inside = [path for path in sorted(folder.iterdir()) if not is_litter(path.name)]
    files = {path.name for path in inside if path.is_file()}
    folders = {path.name.lower() for path in inside if path.is_dir()}
    if has_transforms(folder):
        return read_transforms
    for name, reader in ((ROOMS, read_rooms), (META, read_sdfstudio)):
        if name in files:
            return reader
    plain, deep = _of_photos(folder, files), _with_depth(folder, files, folders)
    return (deep or plain if depth else plain or deep) or _in_folders(files, folders)


def _of_photos(folder: Path, files: set[str]) -> Reader | None:
    """The layouts of photos with poses that have no depth maps."""
    if POSES in files:
        return read_llff
    if has_model(folder):
        return read_colmap
    if is_dtu(files):
        return read_dtu
    if is_mvsnet(folder):
        return read_mvsnet
    return read_projections if has_projections(folder) else None


def _with_depth(folder: Path, files: set[str], folders: set[str]) -> Reader | None:
    """The layouts that have depth maps, as a rule."""
    if is_polycam(folder):
        return read_polycam
    if is_tum(files, folders):
        return read_tum
    if is_replica(folder):
        return read_replica
    return _in_folders(files, folders) if folders & set(DEPTH_FOLDERS) else None


def _in_folders(files: set[str], folders: set[str]) -> Reader | None:
    """The layouts of photos and depth maps in folders of their own, or in one."""
    intrinsics = INTRINSICS in files
    if "color" in folders and not intrinsics and ("depth" in folders or {"pose", "intrinsic"} <= folders):
        return read_scannet
    colors, depths = folders & set(COLOR_FOLDERS), folders & set(DEPTH_FOLDERS)
    matrix = bool(files & set(MATRICES)) and bool(folders & {"pose", "poses"})
    if (colors and depths) or (intrinsics and (colors or depths)) or (matrix and colors):
        return read_pairs
    if CAMERA in files or any(is_color(name) for name in files):
        return read_kinect
    return None
