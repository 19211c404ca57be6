"""What is exported, read back by other libraries, in the scene's own coordinates."""

import json
import os
import shutil
import struct
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_scenes import RADIUS, VIEWS, ball_fit
from torch.testing import assert_close

from scorereg import load_scene
from scorereg.export import export_fit, points_of, render_frames, shots_of
from scorereg.export.ply import write_ply
from scorereg.scenes.scene import SceneSource

SCALE, OFFSET = 2.0, (1e5, -20.0, 3.0)


@pytest.fixture(scope="module")
def fit():
    return ball_fit(scale=SCALE, offset=OFFSET)


@pytest.fixture(scope="module")
def out(fit, tmp_path_factory):
    """All exports of one fit."""
    folder = tmp_path_factory.mktemp("out")
    shots = shots_of(fit.scene, "all")
    told = []
    for name in ("m.ply", "m.obj", "m.glb"):
        if name != "m.ply":
            pytest.importorskip("trimesh")
        more = {"points": folder / "p.ply", "depth": folder / "depth"} if name == "m.ply" else {}
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            told += export_fit(fit, shots, mesh=folder / name, resolution=32, count=3000, **more)
        assert len(heard) == (name == "m.glb")
    assert "offset stands in the matrix of its node" in str(heard[0].message)
    assert [line.partition(":")[0] for line in told] == ["points", "depth", "mesh", "mesh", "mesh"]
    return folder


def distances(points):
    """From the ball's surface, in units of the file."""
    return np.abs(np.linalg.norm(points - np.array(OFFSET), axis=1) - RADIUS / SCALE)


def test_points_are_read_by_plyfile(out):
    plyfile = pytest.importorskip("plyfile")
    vertex = plyfile.PlyData.read(out / "p.ply")["vertex"]
    points = np.stack([vertex[axis] for axis in "xyz"], 1)
    normals = np.stack([vertex[f"n{axis}"] for axis in "xyz"], 1)
    assert points.dtype == np.float64  # the offset is large
    assert len(points) == 3000
    assert distances(points).mean() < 0.01
    outward = (points - np.array(OFFSET)) / np.linalg.norm(points - np.array(OFFSET), axis=1, keepdims=True)
    assert np.median((normals * outward).sum(1)) > 0.998
    color = np.stack([vertex[name] for name in ("red", "green", "blue")], 1)
    assert np.abs(color / 255 - (outward / 2 + 0.5)).mean() < 0.02


@pytest.mark.parametrize("name", ["m.ply", "m.obj", "m.glb"])
def test_a_mesh_is_read_by_trimesh(name, out):
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.load(out / name, process=False, force="mesh")
    vertices = np.asarray(mesh.vertices)
    assert distances(vertices).mean() < 0.02
    outward = (vertices - np.array(OFFSET)) / np.linalg.norm(vertices - np.array(OFFSET), axis=1, keepdims=True)
    assert (np.asarray(mesh.vertex_normals) * outward).sum(1).mean() > 0.97
    centers = mesh.triangles_center - np.array(OFFSET)
    assert ((mesh.face_normals * centers).sum(1) > 0).mean() > 0.99
    color = mesh.visual.vertex_colors[:, :3] / 255
    assert np.abs(color - (outward / 2 + 0.5)).mean() < 0.03


def test_the_three_kinds_hold_one_mesh(out):
    trimesh = pytest.importorskip("trimesh")
    one, *others = (trimesh.load(out / name, process=False, force="mesh") for name in ("m.ply", "m.obj", "m.glb"))
    for other in others:
        assert_close(np.asarray(other.vertices), np.asarray(one.vertices), atol=1e-5, rtol=0)
        assert np.array_equal(other.faces, one.faces)


def test_points_of_an_ordinary_scene_are_float(tmp_path):
    points = np.random.default_rng(0).normal(size=(5, 3))
    write_ply(tmp_path / "a.ply", points, normals=points, colors=np.zeros((5, 3), np.uint8))
    assert "property float x" in (tmp_path / "a.ply").read_bytes()[:200].decode("latin-1")


def test_depth_maps_are_in_the_scenes_unit(fit, out):
    frame = next(render_frames(fit, shots_of(fit.scene, "train")))
    depth = np.load(out / "depth" / "0.npy", allow_pickle=False)
    assert_close(depth, frame.depth.numpy() / SCALE)
    with Image.open(out / "depth" / "0.png") as image:
        steps = np.asarray(image)
    assert steps.dtype == np.uint16
    assert np.abs(steps / 1000 - depth).max() <= 0.0005 + 1e-6
    assert ((steps == 0) == (depth == 0)).all()
    assert len(list((out / "depth").iterdir())) == 2 * VIEWS


@pytest.fixture(scope="module")
def exported(fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    export_fit(fit, shots_of(fit.scene, "all"), transforms=folder, count=2000)
    return folder


def test_the_exported_scene_is_read_as_the_one_that_was_fitted(fit, exported):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = load_scene(exported, 5, scale=SCALE)
    own = fit.scene
    assert (read.train, read.test) == (own.train, own.test)
    assert_close(read.near, own.near)
    assert_close(read.far, own.far)
    for name in ("focal", "center"):
        assert_close(getattr(read.cameras, name), getattr(own.cameras, name))
    place = read.cameras.origins.double() / SCALE + torch.tensor(read.offset, dtype=torch.float64)
    expected = own.cameras.origins.double() / SCALE + torch.tensor(OFFSET, dtype=torch.float64)
    assert_close(place, expected, atol=1e-5, rtol=0)
    assert_close(read.cameras.pose[..., :3], own.cameras.pose[..., :3], atol=1e-5, rtol=0)
    assert (read.images - own.images).abs().max() <= 0.5 / 255 + 1e-6
    assert read.depth is not None
    for i, frame in enumerate(render_frames(fit, shots_of(own, "all"))):
        assert (read.depth[i] - frame.depth).abs().max() <= 0.0005 * SCALE + 1e-5


def test_it_has_what_nerfstudio_asks_for(exported):
    """Keys of its nerfstudio-data parser: one lens, three lists or none, and depth in thousandths of the unit."""
    table = json.loads((exported / "transforms.json").read_text())
    assert {"fl_x", "fl_y", "cx", "cy", "w", "h", "camera_model", "ply_file_path"} <= table.keys()
    assert {f"{part}_filenames" for part in ("train", "val", "test")} <= table.keys()
    assert table["camera_model"] == "OPENCV"
    listed = [entry["file_path"] for entry in table["frames"]]
    assert set(listed) == {*table["train_filenames"], *table["test_filenames"]}
    for entry in table["frames"]:
        assert np.array(entry["transform_matrix"]).shape == (4, 4)
        assert (exported / entry["file_path"]).is_file()
        assert (exported / entry["depth_file_path"]).is_file()
    assert table["metric"] is False


def test_views_of_other_cameras_have_renders_and_those_of_masks_have_masks(fit, tmp_path):
    masks = torch.ones(VIEWS, 36, 48, dtype=torch.bool)
    masks[:, :5] = False
    masked = replace(fit, scene=replace(fit.scene, masks=masks, test=()))
    export_fit(masked, shots_of(fit.scene, "all")[:2], transforms=tmp_path / "a")
    with Image.open(tmp_path / "a" / "masks" / "1.png") as image:
        assert np.array_equal(np.asarray(image) > 0, masks[1].numpy())
    assert "train_filenames" not in json.loads((tmp_path / "a" / "transforms.json").read_text())
    moved = replace(fit.scene.cameras[0], pose=fit.scene.cameras.pose[5:6])
    shots = [replace(shots_of(fit.scene, "all")[0], camera=moved)]  # has the name of a photo, and shows another place
    export_fit(masked, shots, transforms=tmp_path / "b")
    assert not (tmp_path / "b" / "masks").exists()
    frame = next(render_frames(fit, shots))
    with Image.open(tmp_path / "b" / "images" / "0.png") as image:
        assert np.abs(np.asarray(image) / 255 - frame.rgb.numpy()).max() < 0.003


def test_a_scene_of_others_is_not_written_over(fit, exported, tmp_path):
    shots = shots_of(fit.scene, "all")[:1]
    (tmp_path / "transforms.json").write_text('{"frames": []}')
    with pytest.raises(
        ValueError, match=r"transforms.json is of a scene that was not exported by scorereg. Name another"
    ):
        export_fit(fit, shots, transforms=tmp_path)
    assert (tmp_path / "transforms.json").read_text() == '{"frames": []}'
    shutil.copy(exported / "transforms.json", tmp_path)
    export_fit(fit, shots, transforms=tmp_path)
    scene = replace(fit.scene, source=SceneSource(str(tmp_path), 3))
    with pytest.raises(ValueError, match="holds photos of the scene, which could be written over. Name another folder"):
        export_fit(replace(fit, scene=scene), shots, depth=tmp_path)


def test_sparse_points_of_the_scene_are_those_of_the_fit(fit, exported):
    cloud = points_of(render_frames(fit, shots_of(fit.scene, "all")), count=2000)
    head = (exported / "points.ply").read_bytes().partition(b"end_header\n")
    x = struct.unpack_from("<d", head[2])[0]
    assert_close(x, cloud.points[0, 0].item() / SCALE + OFFSET[0])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "nothing is to be exported. Give --points"),
        ({"points": "p.xyz"}, "p.xyz must end with .ply"),
        ({"mesh": "m.stl"}, "m.stl must end with .ply, .obj, .glb"),
        ({"points": "a.ply", "mesh": "a.ply"}, "are both .*a.ply. Name two files"),
        ({"points": "p.ply", "count": 0}, "--count must be at least 1"),
        ({"mesh": "m.ply", "voxel": -1.0}, "--voxel above 0"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is_rendered(given, says, fit, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.export.outputs.render_frames", lambda *_: pytest.fail("rendered"))
    named = {key: tmp_path / value if isinstance(value, str) else value for key, value in given.items()}
    with pytest.raises(ValueError, match=says) as caught:
        export_fit(fit, shots_of(fit.scene, "all"), **named)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("package", "mesh", "says"), [("trimesh", "m.glb", "trimesh"), ("skimage", "m.ply", "scikit")])
def test_a_package_that_is_missing_is_named(package, mesh, says, fit, tmp_path, monkeypatch):
    for place in ("mesh", "mesh_files"):
        monkeypatch.setattr(f"scorereg.export.{place}.find_spec", lambda name: None if name == package else True)
    with pytest.raises(ValueError, match=rf"{says}.*scorereg\[export\]"):
        export_fit(fit, shots_of(fit.scene, "all"), mesh=tmp_path / mesh)


def test_a_full_disk_leaves_no_half_file(fit, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"p\.ply cannot be written \(No space left on device\)\. The disk is full"):
        export_fit(fit, shots_of(fit.scene, "train")[:1], points=tmp_path / "p.ply")
    assert not list(tmp_path.iterdir())
