"""A fit for other programs: renders from any camera, points, meshes, depth maps and cameras."""

from scorereg.export.camera_file import read_shots
from scorereg.export.frames import Frame, render_frames
from scorereg.export.mesh import Mesh, mesh_of
from scorereg.export.mesh_files import write_mesh
from scorereg.export.normals import depth_normals
from scorereg.export.outputs import export_fit
from scorereg.export.points import PointCloud, points_of, write_points
from scorereg.export.render import render_to_folder
from scorereg.export.shots import Shot, resized, shots_of
from scorereg.export.splats import write_splats

__all__ = [
    "Frame",
    "Mesh",
    "PointCloud",
    "Shot",
    "depth_normals",
    "export_fit",
    "mesh_of",
    "points_of",
    "read_shots",
    "render_frames",
    "render_to_folder",
    "resized",
    "shots_of",
    "write_mesh",
    "write_points",
    "write_splats",
]
