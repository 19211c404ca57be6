"""What a folder holds that is not read as it is, and how it becomes something that is."""

import re
from pathlib import Path

from scorereg.files.walk import is_litter

__all__ = ["foreign_words"]

_NERFSTUDIO = "which is not read as it is: `ns-process-data {}` of nerfstudio makes transforms.json of it"
_CURES = (
    (r"transforms_(test|val)\.json", "but no transforms_train.json beside it: add that, or name it transforms.json"),
    (r"transforms?\b.*\.json", "which has not the name transforms.json: rename it"),
    (r"cameras\.xml", _NERFSTUDIO.format("metashape")),
    (r".*\.r3d", _NERFSTUDIO.format("record3d")),
    (r"cameras\.json", "which is what splats are saved with, and is not read: give the folder that they were made of"),
    (r".*\.(out|nvm|rd\.out)", "which is not read: convert it to COLMAP's model, or export that"),
    (r"database\.db", "but no model beside it: run `colmap mapper`, or scorereg poses on the photos"),
    (r".*\.sens", "which is not read: export color/, depth/, pose/ and intrinsic/ with ScanNet's SensReader"),
    (r".*\.mat", "which is not read: save its photos as rgb/NAME.png and depth/NAME.png (16 bits, millimetres), with "
                 "intrinsics.json"),
    (r".*\.(bag|db3|mcap|svo|svo2|oni|klg)", "which is not read: export its pictures as rgb/NAME.png and depth/NAME.png"
                                             ", with intrinsics.json"),
    (r".*\.(zip|tar|tgz|tar\.\w+|7z|rar)", "which is an archive: unpack it"),
    (r".*\.(mp4|mov|m4v|avi|mkv|webm|insv|360)", "which is a video: save pictures of it, by ffmpeg -i VIDEO -r 2 "
                                                 "photos/%05d.png for one"),
    (r".*\.(parquet|arrow|tfrecord|lmdb|mdb|h5|hdf5|npz|npy)", "which is not read: save the pictures one by one, as "
                                                               "NAME.png"),
    (r".*\.csv", _NERFSTUDIO.format("realitycapture")),
)  # fmt: skip
_MODEL = ("cameras.bin", "cameras.txt")


def foreign_words(folder: Path) -> str | None:
    """Return a part of a sentence that names a file of a folder of no known layout, and what to do with it.

    The folder's own files are looked at, and those of a folder `sparse/0` or `sparse` in it; None if all are unknown.
    """
    names = sorted(path.name for path in folder.iterdir() if not is_litter(path.name) and path.is_file())
    for place in (folder, folder / "sparse/0", folder / "sparse"):
        if (found := next((name for name in _MODEL if (place / name).is_file()), None)) is not None:
            return f"{place / found} is there, but not {found.replace('cameras', 'images')}: copy the whole model"
    if "metadata.json" in names and (folder / "rgbd").is_dir():
        return f"{folder / 'metadata.json'} is there, {_NERFSTUDIO.format('record3d')} out of the .r3d file"
    for pattern, cure in _CURES:
        found = next((name for name in names if re.fullmatch(pattern, name, re.IGNORECASE)), None)
        if found is not None:
            return f"{folder / found} is there, {cure}"
    return None
