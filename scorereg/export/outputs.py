"""`export_fit`: a fit as points, mesh, depth maps and a scene for other programs, in the scene's own coordinates."""

from collections.abc import Sequence
from pathlib import Path

import torch

from scorereg._io import check_file, check_folder, check_names
from scorereg.cameras import Cameras
from scorereg.export.depth_maps import write_depth_maps, write_scene
from scorereg.export.frames import render_frames
from scorereg.export.mesh import check_mesh_packages, mesh_of
from scorereg.export.mesh_files import check_mesh_file, write_mesh
from scorereg.export.points import points_of, write_points
from scorereg.export.shots import Shot, shots_of
from scorereg.export.targets import check_no_photos, check_no_scene
from scorereg.fit import Fit

__all__ = ["export_fit"]


def export_fit(
    fit: Fit,
    shots: Sequence[Shot],
    *,
    points: Path | None = None,
    mesh: Path | None = None,
    depth: Path | None = None,
    transforms: Path | None = None,
    count: int = 500_000,
    resolution: int = 256,
    voxel: float | None = None,
    least: float = 0.01,
    seed: int = 0,
) -> list[str]:
    """Render cameras once, and write what is asked for; scale and offset of the scene are undone.

    Args:
        fit: The fit; with its photos, `transforms` holds those, and else rendered colors.
        shots: The cameras.
        points: PLY file for points with normals and colors.
        mesh: PLY, OBJ or GLB file for a mesh with normals and colors.
        depth: Folder for depth maps.
        transforms: Folder for a scene with rendered depth.
        count: Most points.
        resolution: Grid points of the mesh's longest side.
        voxel: Their distance in metres, in place of it.
        least: Share of all triangles that a connected part of the mesh has at least.
        seed: Seed of which points are kept.

    Returns:
        What was written, one line each.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If nothing is asked for, an argument cannot be used, or there are no points or no surface.
    """
    if not any((points, mesh, depth, transforms)):
        raise ValueError("nothing is to be exported. Give --points, --mesh, --depth or --transforms.")
    if points is not None and points.suffix.lower() != ".ply":
        raise ValueError(f"--points {points} must end with .ply.")
    if count < 1 or resolution < 8 or (voxel is not None and not voxel > 0) or not 0 <= least <= 1:
        raise ValueError(
            f"--count must be at least 1, --resolution 8, --voxel above 0 and --least in [0, 1]; got {count}, "
            f"{resolution}, {voxel} and {least}."
        )
    if mesh is not None:
        check_mesh_file(mesh)
        check_mesh_packages()
    folders = [depth] if transforms is None else [depth, *(transforms / name for name in ("images", "depth", "masks"))]
    check_no_photos(fit.scene, [folder for folder in folders if folder is not None])
    _check_places(points, mesh, depth, transforms)
    frames, scene, told = list(render_frames(fit, shots)), fit.scene, []
    if points is not None or transforms is not None:
        cloud = points_of(frames, count=count, seed=seed)
        if points is not None:
            write_points(cloud, scene, points)
            told.append(f"points: {points}, {len(cloud.points)}")
        if transforms is not None:
            photos, masks, split = _photos_of(fit, shots)
            write_scene(frames, cloud, scene, transforms, photos=photos, masks=masks, split=split)
            shown = sum(frame.name in photos for frame in frames)
            told.append(f"scene: {transforms}, {len(frames)} views, {shown} of them with photos")
    if depth is not None:
        write_depth_maps(frames, scene, depth)
        told.append(f"depth: {depth}, {len(frames)} maps")
    if mesh is not None:
        found = mesh_of(frames, resolution=resolution, voxel=voxel, least=least)
        write_mesh(found, scene, mesh)
        told.append(f"mesh: {mesh}, {len(found.vertices)} vertices, {len(found.faces)} triangles")
    return told


def _check_places(points: Path | None, mesh: Path | None, depth: Path | None, transforms: Path | None) -> None:
    """See that everything can be written, before anything is computed."""
    if points is not None and points == mesh:
        raise ValueError(f"--points and --mesh are both {points}. Name two files.")
    for file in (points, mesh):
        if file is not None:
            check_file(file)
    for folder in (depth, transforms):
        if folder is not None:
            check_folder(folder)
    if transforms is not None:
        check_names(transforms / "transforms.json", transforms / "points.ply")
        check_no_scene(transforms)


def _photos_of(fit: Fit, shots: Sequence[Shot]) -> tuple[dict, dict, dict[str, str]]:
    """Photos, masks and parts of the split by the names of those shots that are cameras of the fit's views."""
    scene, own = fit.scene, {shot.name: (i, shot.camera) for i, shot in enumerate(shots_of(fit.scene, "all"))}
    found = {
        shot.name: own[shot.name][0] for shot in shots if shot.name in own and _same(shot.camera, own[shot.name][1])
    }
    parts = dict.fromkeys(scene.test, "test") | dict.fromkeys(scene.train, "train")
    photos = {name: scene.images[i].cpu() for name, i in found.items()} if fit.has_photos else {}
    masks = {} if scene.masks is None else {name: scene.masks[i].cpu() for name, i in found.items()}
    return photos, masks, {name: parts[i] for name, i in found.items() if i in parts}


def _same(one: Cameras, other: Cameras) -> bool:
    sizes = (one.width, one.height) == (other.width, other.height)
    pairs = ((one.pose, other.pose), (one.focal, other.focal), (one.center, other.center))
    return sizes and all(torch.equal(a, b) for a, b in pairs)
