"""Keys of `transforms.json` that are not read: those that change what photos mean are refused or told, others not."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scorereg.files.layouts.lens_keys import LENS

__all__ = ["READ", "check_keys", "unread"]

READ = LENS | {
    "frames", "file_path", "transform_matrix", "mask_path", "mask_file_path", "depth_path", "depth_file_path",
    "depth_unit_scale_factor", "integer_depth_scale", "enable_depth_loading", "train_filenames", "val_filenames",
    "test_filenames", "ply_file_path", "applied_transform", "applied_scale", "metric", "near", "far",
}  # fmt: skip
"""Keys that are read, of the file and of a frame."""

_REFUSED = {
    "rolling_shutter": "photos whose rows were taken one after the other cannot be used",
    "transform_matrix_start": "a camera that moves within a photo cannot be used; write `transform_matrix`",
    "transform_matrix_end": "a camera that moves within a photo cannot be used; write `transform_matrix`",
    "is_ftheta": "its lens is no pinhole; undistort the images",
    "ftheta_p0": "its lens is no pinhole; undistort the images",
    "latlong": "it is a panorama, not a pinhole; cut views out of it",
    "is_latlong": "it is a panorama, not a pinhole; cut views out of it",
    "equirectangular": "it is a panorama, not a pinhole; cut views out of it",
    "is_equirectangular": "it is a panorama, not a pinhole; cut views out of it",
    "ortho_scale": "its rays are parallel, those of no pinhole",
    "orthographic": "its rays are parallel, those of no pinhole",
}
_MEANINGFUL = re.compile(
    r"[kpsb]\d+|dist(ortion|_coef|_param)?\w*|skew|sk_[xy]|shift_[xy]|pixel_aspect\w*|xi|tau\w*|projection\w*|ortho\w*"
    r"|coeffs|lens(_type|_model)|(\w+_)?crop\w*|n_frames|sharpness_discard_threshold|(white|black)_transparent|fix_premult"
    r"|(\w+_)?(convention|coordinates?|coordinate_(system|frame)|handedness)|units?|depth_(scale|shift|offset|type)"
    r"|inverse_depth|is_disparity|(\w+_)?masks?(_\w+)?|split|is_(train|val|test|eval)"
)
"""Keys that change what a photo, its lens, pose, depth or part in a fit is."""


def check_keys(table: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], source: Path) -> None:
    """Check that no key names a camera that cannot be one of ours.

    Raises:
        ValueError: If one does; its name and why.
    """
    for entry in (table, *frames):
        for key in _REFUSED.keys() & entry.keys():
            if _set(entry[key]):
                raise ValueError(f"{source}: `{key}` is set: {_REFUSED[key]}.")


def unread(table: Mapping[str, Any], frames: Sequence[Mapping[str, Any]], source: Path) -> tuple[str, ...]:
    """Return one line that names the keys that are not read although they change the meaning; none if there are none.

    A key whose value is false, null, 0 or empty changes nothing, nor does a `time` that is the same in all frames. All
    keys that are not in a list here are taken to be harmless, as `sharpness`, `colmap_im_id` and `aabb_scale` are.
    """
    found = {key for entry in (table, *frames) for key, value in entry.items() if _tells(key, value, len(frames))}
    for key in ("time", "times"):
        if len({str(frame.get(key)) for frame in frames}) > 1:
            found.add(key)
    if not found:
        return ()
    names = ", ".join(f"`{key}`" for key in sorted(found))
    return (f"{source}: {names} not read; what {'it says' if len(found) == 1 else 'they say'} is left out.",)


def _tells(key: str, value: Any, count: int) -> bool:
    if key in READ or not _MEANINGFUL.fullmatch(key.lower()) or key.endswith("_file_path"):
        return False
    if key == "n_frames":
        return isinstance(value, int) and value < count
    return _set(value) and not (key.startswith("pixel_aspect") and value == 1)


def _set(value: Any) -> bool:
    """Whether a value says more than nothing: no false, null, 0, or list of these."""
    return any(_set(item) for item in value) if isinstance(value, list) else bool(value)
