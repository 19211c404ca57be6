"""Structure from motion by pycolmap, on the CPU: SIFT features, matches of pairs, incremental mapping."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorereg.poses.photos import Copies
from scorereg.poses.waiting import Progress, spoken

__all__ = ["CAMERAS", "MATCHING", "Motion", "import_pycolmap"]

CAMERAS = (
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE", "OPENCV_FISHEYE",
)  # fmt: skip
"""Camera models that a scene can have."""

MATCHING = ("all", "order")
_LONGEST = 1600  # pixels of the longer side at which features are found
_FEW = 2  # photos of the smallest model


def import_pycolmap() -> Any:
    """Return pycolmap, which then prints no log.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import pycolmap  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("poses are found by pycolmap: pip install 'scorereg[colmap]'") from None
    pycolmap.logging.minloglevel = 3  # fatal errors alone
    return pycolmap


@dataclass
class Motion:
    """A search for poses, cameras and points.

    Args:
        copies: The photos; those of one size have one camera.
        work: A folder, in which models appear as `sparse/0`, `1` and so on.
        camera: Name of a model of `CAMERAS`.
        matching: `"all"` matches every pair, `"order"` each photo with the next ten and some further ones.
        seed: Of the random numbers.
    """

    copies: Copies
    work: Path
    camera: str
    matching: str
    seed: int = 0
    colmap: Any = field(default_factory=import_pycolmap)
    progress: Progress = field(default_factory=Progress)

    def run(self, say: Callable[[str], object]) -> dict[str, int]:
        """Search, and return the number of verified matches of each photo with its best partner, by name.

        Args:
            say: Is given lines of progress.

        Raises:
            ValueError: If pycolmap fails.
        """
        token = self.colmap.CancellationToken()
        try:
            return spoken(lambda: self._stages(token), self.progress, say, token.cancel)
        except (RuntimeError, ValueError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"pycolmap failed ({self.progress}): {text}") from None

    @property
    def _database(self) -> Path:
        return self.work / "database.db"

    def _stages(self, token: Any) -> dict[str, int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.colmap.set_random_seed(self.seed)
            for stage in (self._features, self._matches, self._mapping):
                if not token.is_cancelled:
                    stage(token)
            return {} if token.is_cancelled else self._counts()

    def _features(self, token: Any) -> None:
        self.progress.stage, self.progress.total = "features of the photos", len(self.copies.sizes)
        options, cameras = self.colmap.FeatureExtractionOptions(), dict[tuple[int, int], int]()
        options.max_image_size = _LONGEST
        for done, (name, size) in enumerate(self.copies.sizes.items()):
            self.progress.done = done
            if token.is_cancelled:
                return
            reader = self.colmap.ImageReaderOptions()
            reader.camera_model, reader.existing_camera_id = self.camera, cameras.get(size, -1)
            self.colmap.extract_features(
                self._database, self.copies.folder, [name], self.colmap.CameraMode.AUTO, reader, options,
                self.colmap.Device.cpu, token,
            )  # fmt: skip
            with self.colmap.Database.open(self._database) as opened:
                cameras.setdefault(size, opened.read_image_with_name(name).camera_id)

    def _matches(self, token: Any) -> None:
        count = len(self.copies.sizes)
        every = self.matching == "all"
        self.progress.total = 0
        self.progress.stage = f"matches of {count * (count - 1) // 2 if every else 'neighbouring'} pairs"
        match = self.colmap.match_exhaustive if every else self.colmap.match_sequential
        match(self._database, device=self.colmap.Device.cpu, cancellation_token=token)

    def _mapping(self, token: Any) -> None:
        models = self.work / "sparse"
        models.mkdir()
        options = self.colmap.IncrementalPipelineOptions()
        options.min_model_size, options.random_seed = _FEW, self.seed
        self.progress.done, self.progress.total = _FEW, len(self.copies.sizes)
        self.progress.stage = "places of the photos"

        def next_one() -> None:
            self.progress.done += 1

        self.colmap.incremental_mapping(
            self._database, self.copies.folder, models, options, next_image_callback=next_one, cancellation_token=token
        )

    def _counts(self) -> dict[str, int]:
        with self.colmap.Database.open(self._database) as opened:
            names = {image.image_id: image.name for image in opened.read_all_images()}
            pairs, inliers = opened.read_two_view_geometry_num_inliers()
        best = dict.fromkeys(names.values(), 0)
        for pair, count in zip(pairs, inliers, strict=True):
            for image in self.colmap.pair_id_to_image_pair(pair):
                best[names[image]] = max(best[names[image]], count)
        return best
