"""Structure from motion by pycolmap, on the CPU: SIFT features, matches of pairs, incremental mapping."""

import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorereg._progress import Stage, stage
from scorereg.poses.photos import Copies
from scorereg.poses.waiting import interruptible

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
    doing: str = "starting"

    def run(self) -> dict[str, int]:
        """Search, and return the number of verified matches of each photo with its best partner, by name.

        Raises:
            ValueError: If pycolmap fails.
        """
        token = self.colmap.CancellationToken()
        try:
            return interruptible(lambda: self._stages(token), token.cancel)
        except (RuntimeError, ValueError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(f"pycolmap failed ({self.doing}): {text}") from None

    @property
    def _database(self) -> Path:
        return self.work / "database.db"

    def _stages(self, token: Any) -> dict[str, int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.colmap.set_random_seed(self.seed)
            for part in (self._features, self._matches, self._mapping):
                if not token.is_cancelled:
                    part(token)
            return {} if token.is_cancelled else self._counts()

    def _features(self, token: Any) -> None:
        options, cameras = self.colmap.FeatureExtractionOptions(), dict[tuple[int, int], int]()
        options.max_image_size = _LONGEST
        with self._doing("features of the photos", len(self.copies.sizes)) as progress:
            for name, size in self.copies.sizes.items():
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
                progress.step()

    def _matches(self, token: Any) -> None:
        count = len(self.copies.sizes)
        every = self.matching == "all"
        match = self.colmap.match_exhaustive if every else self.colmap.match_sequential
        with self._doing(f"matches of {count * (count - 1) // 2 if every else 'neighbouring'} pairs"):
            match(self._database, device=self.colmap.Device.cpu, cancellation_token=token)

    def _mapping(self, token: Any) -> None:
        models = self.work / "sparse"
        models.mkdir()
        options = self.colmap.IncrementalPipelineOptions()
        options.min_model_size, options.random_seed = _FEW, self.seed
        with self._doing("places of the photos", len(self.copies.sizes), _FEW) as progress:
            self.colmap.incremental_mapping(
                self._database, self.copies.folder, models, options, next_image_callback=progress.step,
                cancellation_token=token,
            )  # fmt: skip

    def _doing(self, what: str, total: int = 0, done: int = 0) -> AbstractContextManager[Stage]:
        self.doing = what
        return stage(what, total, done=done, announce=True)

    def _counts(self) -> dict[str, int]:
        with self.colmap.Database.open(self._database) as opened:
            names = {image.image_id: image.name for image in opened.read_all_images()}
            pairs, inliers = opened.read_two_view_geometry_num_inliers()
        best = dict.fromkeys(names.values(), 0)
        for pair, count in zip(pairs, inliers, strict=True):
            for image in self.colmap.pair_id_to_image_pair(pair):
                best[names[image]] = max(best[names[image]], count)
        return best
