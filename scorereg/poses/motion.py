"""Structure from motion by pycolmap, on the CPU: SIFT features, matches of pairs, incremental mapping."""

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from scorereg.poses.photos import Copies
from scorereg.poses.waiting import spoken

__all__ = ["CAMERAS", "MATCHING", "find_structure", "import_pycolmap"]

CAMERAS = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE", "OPENCV_FISHEYE",
)  # fmt: skip
"""Camera models that a scene can have."""

MATCHING = ("all", "order")
_LONGEST = 1600  # pixels of the longer side at which features are found
_FEW = 2  # photos of the smallest model
_Say = Callable[[str], object]


def import_pycolmap() -> ModuleType:
    """Return pycolmap, which then prints no log.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import pycolmap
    except ImportError:
        raise ValueError("poses are found by pycolmap: pip install 'scorereg[colmap]'") from None
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value if hasattr(pycolmap.logging, "FATAL") else 3
    return pycolmap


def find_structure(copies: Copies, work: Path, *, camera: str, matching: str, seed: int, say: _Say) -> dict[str, int]:
    """Find poses, cameras and points; models are written to `work/sparse/0`, `1` and so on.

    Photos of one size have one camera.

    Args:
        copies: The photos.
        work: An empty folder.
        camera: Name of a model of `CAMERAS`.
        matching: `"all"` matches every pair, `"order"` each photo with the next ten and some further ones.
        seed: Of the random numbers.
        say: Is given lines of progress.

    Returns:
        Number of verified matches of each photo with the others, by name.

    Raises:
        ValueError: If pycolmap is missing, or fails.
    """
    pycolmap = import_pycolmap()
    database, models = work / "database.db", work / "sparse"
    models.mkdir()
    pycolmap.set_random_seed(seed)
    _features(pycolmap, copies, database, camera, say)
    _matches(pycolmap, copies, database, matching, say)
    _mapping(pycolmap, copies, database, models, seed, say)
    return _counts(pycolmap, database)


def _features(pycolmap: ModuleType, copies: Copies, database: Path, camera: str, say: _Say) -> None:
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = _LONGEST
    cameras: dict[tuple[int, int], int] = {}
    for place, (name, size) in enumerate(copies.sizes.items()):
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = camera
        reader.existing_camera_id = cameras.get(size, -1)
        _quiet(pycolmap, lambda token, name=name, reader=reader: pycolmap.extract_features(
            database, copies.folder, [name], pycolmap.CameraMode.AUTO, reader, options, pycolmap.Device.cpu, token,
        ), lambda name=name: f"features of {name}", say)  # fmt: skip
        cameras.setdefault(size, _camera_of(pycolmap, database, name))
        if (place + 1) % 10 == 0 or place + 1 == len(copies.sizes):
            say(f"features of {place + 1} of {len(copies.sizes)} photos")


def _camera_of(pycolmap: ModuleType, database: Path, name: str) -> int:
    with pycolmap.Database.open(database) as opened:
        return opened.read_image_with_name(name).camera_id


def _matches(pycolmap: ModuleType, copies: Copies, database: Path, matching: str, say: _Say) -> None:
    match = pycolmap.match_exhaustive if matching == "all" else pycolmap.match_sequential
    count = len(copies.sizes)
    pairs = f"{count * (count - 1) // 2} pairs of photos" if matching == "all" else f"{count} photos in their order"
    say(f"matching {pairs}")
    _quiet(
        pycolmap, lambda token: match(database, device=pycolmap.Device.cpu, cancellation_token=token),
        lambda: f"matching {pairs}", say,
    )  # fmt: skip


def _mapping(pycolmap: ModuleType, copies: Copies, database: Path, models: Path, seed: int, say: _Say) -> None:
    options = pycolmap.IncrementalPipelineOptions()
    options.min_model_size, options.random_seed = _FEW, seed
    placed = [_FEW]

    def next_one() -> None:
        placed[0] += 1

    say("placing the photos")
    _quiet(
        pycolmap, lambda token: pycolmap.incremental_mapping(
            database, copies.folder, models, options, next_image_callback=next_one, cancellation_token=token
        ),
        lambda: f"placing the photos, {placed[0]} so far", say,
    )  # fmt: skip


def _quiet(pycolmap: ModuleType, call: Callable[..., object], words: Callable[[], str], say: _Say) -> None:
    """Run a call of pycolmap's that can be cancelled; its errors are of one line."""
    token = pycolmap.CancellationToken()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spoken(lambda: call(token), words, say, token.cancel)
    except (RuntimeError, ValueError, TypeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"pycolmap failed at {words()}: {text}") from None


def _counts(pycolmap: ModuleType, database: Path) -> dict[str, int]:
    with pycolmap.Database.open(database) as opened:
        names = {image.image_id: image.name for image in opened.read_all_images()}
        pairs, inliers = opened.read_two_view_geometry_num_inliers()
    best: Counter[str] = Counter(dict.fromkeys(names.values(), 0))
    for pair, count in zip(pairs, inliers, strict=True):
        for image in pycolmap.pair_id_to_image_pair(pair):
            best[names[image]] = max(best[names[image]], count)
    return dict(best)
