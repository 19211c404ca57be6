r"""Random patches for a prior: rays through small windows of views near the training cameras.

A patch is a pinhole image of p x p pixels with a focal length f of the prior's training patches, in pixels. In a camera
with focal length F its pixels are F / f apart (the pitch). Windows are drawn inside the camera's image; none is
rejected. A patch either keeps a training camera's pose and comes with its photo's colors, or its camera is moved and
turned a little and its colors are unknown.

Depth along the rays is planar with respect to the camera's axis, not the window's, as in the crops of whole images that
priors are trained on.
"""

import math
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scorereg.cameras import Cameras, Rays, interpolate_poses, rotation_matrix
from scorereg.ops import gather_patches

__all__ = ["PatchSampler", "Patches"]

TOUCHED = 1e-5  # share of a footprint that is masked, up to which that is rounding


@dataclass(frozen=True, eq=False)
class Patches:
    """A batch of square windows.

    Args:
        rays: Rays of the pixel centers, in shape (b, p, p): batch, row, column.
        photo: Colors of the photo at the same positions, in [0, 1]; 0 where there is no photo.
        shown: Which pixels have the photo's color: those of patches `from_photo` that touch no masked pixel.
        from_photo: Which patches keep their training camera and come with its photo.
        camera: Training camera from which each patch was drawn, as an index into the sampler's cameras.
        focal: Focal length of each patch in its own pixels.
        cameras: Pinhole camera of each patch, for renderers that project.
        depth: Measured planar depth at the pixels that are `shown`, 0 where unknown; None if the sampler has none.
    """

    rays: Rays
    photo: Float[Tensor, "b 3 p p"]
    shown: Bool[Tensor, "b p p"]
    from_photo: Bool[Tensor, " b"]
    camera: Int[Tensor, " b"]
    focal: Float[Tensor, " b"]
    cameras: Cameras
    depth: Float[Tensor, "b p p"] | None = None

    def __len__(self) -> int:
        return len(self.from_photo)


class PatchSampler:
    """Draw patches from views near the training cameras.

    Args:
        cameras: The training cameras, in metres.
        images: Photos of these cameras.
        size: Rows and columns p of a patch, >= 1.
        focal: Focal length of a patch in its pixels: one number, or a range from which it is drawn log-uniformly,
            without the part at which the window would not fit into the photo.
        translation: Largest shift along each of the camera's axes, in metres; drawn uniformly up to it either way.
        rotation: Largest angle in radians; drawn uniformly from 0 to it, about an axis of uniformly random direction.
        photo_fraction: Probability that a patch keeps its camera and takes its colors from the photo.
        interpolate: Probability that another patch starts from a pose between two random training cameras instead of
            one of them.
        masks: Pixels of the photos that count; the others are never shown. All, if not given.
        depth: Measured planar depth of the photos, 0 where unknown.

    Raises:
        ValueError: If images are not the cameras', a number is out of its range, or the window fits into no photo.
    """

    def __init__(
        self,
        cameras: Cameras,
        images: Float[Tensor, "n h w 3"],
        *,
        size: int = 24,
        focal: tuple[float, float] | float = (80.0, 180.0),
        translation: float = 0.2,
        rotation: float = 0.3,
        photo_fraction: float = 0.25,
        interpolate: float = 0.0,
        masks: Bool[Tensor, "n h w"] | None = None,
        depth: Float[Tensor, "n h w"] | None = None,
    ) -> None:
        low, high = (focal, focal) if isinstance(focal, int | float) else focal
        _check(cameras, images, size, (low, high), translation, rotation, photo_fraction, interpolate)
        _check_maps(cameras, masks=masks, depth=depth)
        self.cameras = cameras
        self.size = size
        self.translation, self.rotation = translation, rotation
        self.photo_fraction, self.interpolate = photo_fraction, interpolate
        self._high = high
        self._low = _fitting_focal(cameras, size).clamp_min(low)
        if self._low.max() > high:
            raise ValueError(
                f"PatchSampler: a patch of {size} pixels needs a focal length of at least {self._low.max():.4g} px to "
                f"fit into every photo, but at most {high:.4g} is allowed; use a smaller size or longer focal lengths."
            )
        if (
            masks is not None
        ):  # a fourth channel is what they leave out: its mean is 0 where a footprint touches none of it
            images = torch.where(masks[..., None], images, 0.0)
            images = torch.cat([images, (~masks)[..., None].to(images)], -1)
        self._photos = rearrange(images, "n h w c -> n c h w").contiguous()
        self._depth = depth

    def sample(self, count: int, generator: torch.Generator | None = None) -> Patches:
        """Draw `count` patches at once.

        The photo's colors are means over footprints (`ops.gather_patches`), so they are free of aliasing.

        Args:
            count: Number of patches, >= 1.
            generator: Random numbers, on any device; torch's own if not given.
        """
        if count < 1:
            raise ValueError(f"PatchSampler draws at least one patch, but count={count}.")
        draw = _Draw(generator, self.cameras.pose.device)
        camera = (draw.uniform(count) * len(self.cameras)).long().clamp_max(len(self.cameras) - 1)
        from_photo = draw.uniform(count) < self.photo_fraction
        focal = self._low[camera] * (self._high / self._low[camera]) ** draw.uniform(count)
        pitch = self.cameras.focal[camera] / focal[:, None]
        corner = draw.uniform(count, 2) * (self.cameras.image_size - self.size * pitch).clamp_min(0)
        edges = corner[:, None] + torch.arange(self.size + 1, device=pitch.device)[:, None] * pitch[:, None]  # b p+1 2
        pose = torch.where(from_photo[:, None, None], self.cameras.pose[camera], self._moved(camera, draw))
        photo, shown = self._shown(from_photo, camera, corner, pitch)
        middle = (edges[:, 1:] + edges[:, :-1]) / 2
        rays = self._rays(pose, camera, middle)
        base = replace(self.cameras[camera], pose=pose)
        windows = base.windows(corner, pitch, width=self.size, height=self.size)
        depth = None if self._depth is None else torch.where(shown, self._measured(self._depth, camera, middle), 0.0)
        return Patches(rays, photo, shown, from_photo, camera, focal, windows, depth)

    def _shown(
        self, from_photo: Bool[Tensor, " b"], camera: Int[Tensor, " b"], corner: Tensor, pitch: Tensor
    ) -> tuple[Float[Tensor, "b 3 p p"], Bool[Tensor, "b p p"]]:
        """Colors of the patches that come from a photo, and at which of their pixels all that was averaged counts."""
        found, _ = gather_patches(self._photos, corner, self.size, pitch, index=camera)  # of all: to choose is to wait
        shown = rearrange(from_photo, "b -> b 1 1").expand(found[:, 0].shape)
        photo = torch.where(shown[:, None], found[:, :3].clamp(0, 1), 0.0)
        return photo, shown & (found[:, 3] <= TOUCHED) if found.shape[1] > 3 else shown

    @staticmethod
    def _measured(
        depth: Float[Tensor, "n h w"], camera: Int[Tensor, " b"], middle: Float[Tensor, "b p 2"]
    ) -> Float[Tensor, "b p p"]:
        """Depth at the pixels of the photo in which those of the patches have their centers."""
        x = middle[:, None, :, 0].long().clamp(0, depth.shape[2] - 1)
        y = middle[:, :, None, 1].long().clamp(0, depth.shape[1] - 1)
        return depth[camera[:, None, None], y, x]

    def _moved(self, camera: Int[Tensor, " b"], draw: "_Draw") -> Float[Tensor, "b 3 4"]:
        """Poses near the given cameras, moved and turned along the camera's own axes."""
        count = len(camera)
        pose = self.cameras.pose[camera]
        if self.interpolate > 0:
            other = (draw.uniform(count) * len(self.cameras)).long().clamp_max(len(self.cameras) - 1)
            between = interpolate_poses(pose, self.cameras.pose[other], draw.uniform(count))
            pose = torch.where(draw.uniform(count)[:, None, None] < self.interpolate, between, pose)
        shift = self.translation * (2 * draw.uniform(count, 3) - 1)
        axis = torch.nn.functional.normalize(draw.normal(count, 3), dim=-1)
        turn = rotation_matrix(axis * (self.rotation * draw.uniform(count))[:, None])
        origin = pose[:, :, 3:] + pose[:, :, :3] @ shift[..., None]
        return torch.cat([pose[:, :, :3] @ turn, origin], -1)

    def _rays(self, pose: Float[Tensor, "b 3 4"], camera: Int[Tensor, " b"], middle: Float[Tensor, "b p 2"]) -> Rays:
        """Rays of the windows whose pixel centers have these x and y."""
        x = middle[:, None, :, 0].expand(-1, self.size, -1)
        y = middle[:, :, None, 1].expand(-1, -1, self.size)
        index = torch.arange(len(pose), device=pose.device)[:, None, None].expand(x.shape)
        return replace(self.cameras[camera], pose=pose).rays(index, torch.stack([x, y], -1))


class _Draw:
    """Random numbers drawn on the generator's device and moved to the cameras'."""

    def __init__(self, generator: torch.Generator | None, device: torch.device) -> None:
        self.generator, self.device = generator, device
        self.source = device if generator is None else generator.device

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.source).to(self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.source).to(self.device)


def _fitting_focal(cameras: Cameras, size: int) -> Float[Tensor, " n"]:
    """The focal length at which a window of `size` pixels spans each camera's image in its tighter direction."""
    across = cameras.focal / cameras.image_size
    return size * across.amax(1)


def _check(
    cameras: Cameras,
    images: Tensor,
    size: int,
    focal: tuple[float, float],
    translation: float,
    rotation: float,
    photo_fraction: float,
    interpolate: float,
) -> None:
    if not len(cameras):
        raise ValueError("PatchSampler needs at least one camera, but the set given is empty.")
    expected = (len(cameras), cameras.height, cameras.width, 3)
    if tuple(images.shape) != expected:
        raise ValueError(
            f"PatchSampler: images of shape {tuple(images.shape)} for cameras that expect {expected}; "
            "pass the photos of the same views, for example scene.images[list(scene.train)]."
        )
    if size < 1 or not 0 < focal[0] <= focal[1] < math.inf:
        raise ValueError(f"PatchSampler needs size >= 1 and 0 < focal low <= high; got size={size}, focal={focal}.")
    if not (0 <= translation < math.inf and 0 <= rotation <= math.pi):
        raise ValueError(
            "PatchSampler needs a translation of at least 0 metres and a rotation of 0 to pi radians; "
            f"got {translation} and {rotation}."
        )
    if not (0 <= photo_fraction <= 1 and 0 <= interpolate <= 1):
        raise ValueError(
            "PatchSampler: photo_fraction and interpolate are probabilities in [0, 1]; "
            f"got {photo_fraction}, {interpolate}."
        )


def _check_maps(cameras: Cameras, **maps: Tensor | None) -> None:
    expected = (len(cameras), cameras.height, cameras.width)
    for name, given in maps.items():
        if given is not None and tuple(given.shape) != expected:
            raise ValueError(
                f"PatchSampler: {name} of shape {tuple(given.shape)} for cameras that expect {expected}; pass those of "
                f"the same views, for example scene.{name}[list(scene.train)]."
            )
