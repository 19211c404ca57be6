r"""Pinhole cameras and their rays.

Conventions:

    axes        OpenCV: x to the right, y down, z forward; a pose is world-from-camera, `X_world = R X_camera + o`
    pixel       (x, y), measured from the image's upper left corner: the first pixel's center is at (0.5, 0.5)
    depth       planar: the camera's z, never the distance along the ray
    length      the unit of the poses, metres in a loaded `Scene`

A ray's direction has camera-z exactly 1, so the point at parameter t has planar depth t.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Cameras", "Rays", "interpolate_poses", "rotation_matrix"]


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays `origins + t * directions`, with t the planar depth.

    Args:
        origins: Camera centers, in world coordinates.
        directions: In world coordinates, with component 1 along the camera's z; not unit vectors.
    """

    origins: Float[Tensor, "*r 3"]
    directions: Float[Tensor, "*r 3"]

    @property
    def shape(self) -> torch.Size:
        """Shape of the set of rays, without the axis of coordinates."""
        return self.origins.shape[:-1]

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, index) -> "Rays":
        """Index the axes of `shape` as those of a tensor, without `...`."""
        index = index if isinstance(index, tuple) else (index,)
        full = (*index, Ellipsis, slice(None))
        return Rays(self.origins[full], self.directions[full])

    def reshape(self, *shape: int) -> "Rays":
        """The same rays in another shape."""
        return Rays(self.origins.reshape(*shape, 3), self.directions.reshape(*shape, 3))

    def flatten(self) -> "Rays":
        """The same rays in one axis."""
        return self.reshape(self.shape.numel())

    def to(self, device: torch.device | str) -> "Rays":
        """The same rays on another device."""
        return Rays(self.origins.to(device), self.directions.to(device))

    def points(self, depth: Float[Tensor, "*r s"]) -> Float[Tensor, "*r s 3"]:
        """World points at s planar depths on each ray. Differentiable."""
        return self.origins[..., None, :] + depth[..., None] * self.directions[..., None, :]


@dataclass(frozen=True, eq=False)
class Cameras:
    """A set of n pinhole cameras that share an image size.

    Args:
        pose: World-from-camera: the rotation's three columns (right, down, forward) and the camera's center.
        focal: fx, fy, in pixels.
        center: cx, cy, in pixels; the middle of the image is (width / 2, height / 2).
        width: Width of the image, in pixels.
        height: Height of the image, in pixels.
    """

    pose: Float[Tensor, "n 3 4"]
    focal: Float[Tensor, "n 2"]
    center: Float[Tensor, "n 2"]
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "Cameras":
        """A subset of the cameras; an int gives a set of one."""
        if isinstance(index, int):
            index = [index]
        elif not isinstance(index, slice | Tensor):
            index = list(index)
        return replace(self, pose=self.pose[index], focal=self.focal[index], center=self.center[index])

    def windows(
        self, corner: Float[Tensor, "n 2"], pitch: Float[Tensor, "n 2"] | float, *, width: int, height: int
    ) -> "Cameras":
        """Cameras whose images are windows of these cameras' images: crops, with pixels of another size.

        Args:
            corner: The window's upper left corner (x, y), in pixels of the whole image; it may lie outside.
            pitch: Distance of the window's pixels, in pixels of the whole image: 1 is a plain crop.
            width: Width of the window, in its own pixels.
            height: Height of the window, in its own pixels.
        """
        return Cameras(self.pose, self.focal / pitch, (self.center - corner) / pitch, width, height)

    def to(self, device: torch.device | str) -> "Cameras":
        """The same cameras on another device."""
        return replace(self, pose=self.pose.to(device), focal=self.focal.to(device), center=self.center.to(device))

    @property
    def origins(self) -> Float[Tensor, "n 3"]:
        """The cameras' centers, in world coordinates."""
        return self.pose[:, :, 3]

    @property
    def image_size(self) -> Float[Tensor, " 2"]:
        """Width and height in pixels, filled on the cameras' device: a copy from the host makes a GPU wait."""
        return torch.stack([self.focal.new_full((), self.width), self.focal.new_full((), self.height)])

    def rays(self, index: Int[Tensor, "*r"], pixel: Float[Tensor, "*r 2"]) -> Rays:
        """Rays through pixel positions. Differentiable to `pixel` and to the cameras.

        Args:
            index: Camera of each ray.
            pixel: Position (x, y); the center of the pixel in column j and row i is (j + 0.5, i + 0.5).
        """
        xy = (pixel - self.center[index]) / self.focal[index]
        local = torch.cat([xy, torch.ones_like(xy[..., :1])], -1)
        pose = self.pose[index]
        return Rays(pose[..., 3], einsum(pose[..., :3], local, "... i j, ... j -> ... i"))

    def image_rays(self, index: int) -> Rays:
        """Rays of all pixel centers of one camera, in shape (height, width)."""
        y, x = torch.meshgrid(torch.arange(self.height) + 0.5, torch.arange(self.width) + 0.5, indexing="ij")
        pixel = torch.stack([x, y], -1).to(self.pose)
        return self.rays(torch.full(pixel.shape[:2], index, device=pixel.device), pixel)

    def project(
        self, points: Float[Tensor, "*p 3"], index: Int[Tensor, "*p"] | None = None
    ) -> tuple[Float[Tensor, "*q 2"], Float[Tensor, "*q"]]:
        """Pixel positions and planar depths of world points. Differentiable to both.

        Args:
            points: World coordinates.
            index: Camera of each point. If not given, every point is projected into every camera, and both results have
                a leading axis of the n cameras.

        Returns:
            (x, y) in pixels, and the camera's z. Positions are finite, but have no meaning where z is not positive: the
            point is behind that camera.
        """
        if index is None:
            pose, focal, center = (self._over_points(x, points.ndim - 1) for x in (self.pose, self.focal, self.center))
        else:
            pose, focal, center = self.pose[index], self.focal[index], self.center[index]
        local = einsum(pose[..., :3], points - pose[..., 3], "... i j, ... i -> ... j")
        z = local[..., 2]
        safe = torch.where(z.abs() < 1e-6, torch.full_like(z, 1e-6), z)
        return center + focal * local[..., :2] / safe[..., None], z

    def visible(self, points: Float[Tensor, "*p 3"], *, near: float = 0.0, margin: float = 0.0) -> Bool[Tensor, "n *p"]:
        """Whether each point is in each camera's frustum: deeper than `near`, and `margin` pixels inside the image."""
        pixel, z = self.project(points)
        return ((pixel >= margin) & (pixel <= self.image_size - margin)).all(-1) & (z > near)

    @staticmethod
    def _over_points(x: Tensor, axes: int) -> Tensor:
        return x.reshape(len(x), *[1] * axes, *x.shape[1:])


def rotation_matrix(vector: Float[Tensor, "*r 3"]) -> Float[Tensor, "*r 3 3"]:
    """Rotation about `vector` by its length in radians (Rodrigues' formula)."""
    angle = vector.norm(dim=-1)[..., None, None]
    x, y, z = (vector / angle[..., 0].clamp_min(1e-12)).unbind(-1)
    o = torch.zeros_like(x)
    cross = rearrange(torch.stack([o, -z, y, z, o, -x, -y, x, o], -1), "... (i j) -> ... i j", i=3)
    return torch.eye(3).to(vector) + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)


def interpolate_poses(
    start: Float[Tensor, "*r 3 4"], end: Float[Tensor, "*r 3 4"], share: Float[Tensor, "*r"]
) -> Float[Tensor, "*r 3 4"]:
    """Interpolate from `start` (share 0) to `end` (share 1): centers linearly, rotations spherically (slerp)."""
    q0, q1 = _quaternion(start[..., :3]), _quaternion(end[..., :3])
    cosine = (q0 * q1).sum(-1, keepdim=True)
    q1, cosine = torch.where(cosine < 0, -q1, q1), cosine.abs()
    angle = torch.atan2((q1 - cosine * q0).norm(dim=-1, keepdim=True), cosine)
    t = share[..., None]
    # sin(t a) / sin(a) is t at a = 0
    small = angle < 1e-4
    sine = torch.where(small, torch.ones_like(angle), angle.sin())
    w0 = torch.where(small, 1 - t, ((1 - t) * angle).sin() / sine)
    w1 = torch.where(small, t, (t * angle).sin() / sine)
    origin = torch.lerp(start[..., 3], end[..., 3], t)
    return torch.cat([_matrix(w0 * q0 + w1 * q1), origin[..., None]], -1)


def _quaternion(rotation: Float[Tensor, "*r 3 3"]) -> Float[Tensor, "*r 4"]:
    """Unit quaternion (w, x, y, z) up to sign: the best conditioned row of 4 q q^T, which is linear in the matrix."""
    a, b, c, d, e, f, g, h, i = rearrange(rotation, "... i j -> ... (i j)").unbind(-1)
    rows = [1 + a + e + i, h - f, c - g, d - b]
    rows += [h - f, 1 + a - e - i, b + d, c + g]
    rows += [c - g, b + d, 1 - a + e - i, f + h]
    rows += [d - b, c + g, f + h, 1 - a - e + i]
    outer = rearrange(torch.stack(rows, -1), "... (i j) -> ... i j", i=4)
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4))[..., 0, :]
    return torch.nn.functional.normalize(row, dim=-1)


def _matrix(quaternion: Float[Tensor, "*r 4"]) -> Float[Tensor, "*r 3 3"]:
    w, x, y, z = torch.nn.functional.normalize(quaternion, dim=-1).unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return rearrange(torch.stack(rows, -1), "... (i j) -> ... i j", i=3)
