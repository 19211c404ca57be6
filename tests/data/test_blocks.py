"""Voxel blocks from meshes, grids and depth maps: occupancy, distances, places, files and errors."""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from scorereg.cli import main
from scorereg.data.blocks.fusion import View, fuse_depth, read_views
from scorereg.data.blocks.make import REACH, BlockMix, cut_blocks, make_blocks
from scorereg.data.blocks.sources import find_sources, load_grid
from scorereg.data.blocks.voxels import Grid, grid_of_mesh, read_binvox, read_grid, touched

WHOLE = BlockMix(size=8, factors=(1,), anywhere=0.0, open=0.0)


def cube(low=0.0, high=1.0):
    """Vertices and triangles of a closed cube."""
    corners = np.array([[x, y, z] for x in (low, high) for y in (low, high) for z in (low, high)])
    sides = ([0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3])
    faces = np.array([[s[a], s[b], s[c]] for s in sides for a, b, c in ((0, 1, 2), (0, 2, 3))])
    return corners, faces


def write_obj(path, vertices, faces):
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in faces + 1]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_a_closed_mesh_is_filled():
    voxel = 0.05
    grid = grid_of_mesh("cube", *cube(), voxel)
    volume = (grid.solid == 255).sum() * voxel**3
    assert 1.0 <= volume <= (1 + 2 * voxel) ** 3  # the touched voxels stick out by less than one on each side
    assert grid.solid[0, 0, 0] == 0
    assert grid.outside == 0


def test_an_open_mesh_is_a_shell():
    vertices, faces = cube()
    grid = grid_of_mesh("open", vertices, faces[2:], 0.05)  # one side is missing
    middle = np.array(grid.solid.shape) // 2
    assert grid.solid[tuple(middle)] == 0
    assert (grid.solid == 255).sum() > 5 * 18**2


def test_a_room_is_free_within_and_solid_without():
    grid = grid_of_mesh("room", *cube(0.0, 2.0), 0.05, inside=np.array([[1.0, 1.0, 1.0], [50.0, 0.0, 0.0]]))
    assert grid.outside == 255
    assert grid.solid[tuple(np.array(grid.solid.shape) // 2)] == 0
    assert grid.solid[0, 0, 0] == 255
    volume = (grid.solid == 0).sum() * 0.05**3
    assert 1.85**3 <= volume <= 2.0**3
    with pytest.raises(ValueError, match=r"room is 0\.002 m across, less than 4 voxels of 0\.05 m\. See that its unit"):
        grid_of_mesh("room", *cube(0.0, 0.002), 0.05)
    with pytest.raises(ValueError, match="none of the 1 points is in free space"):
        grid_of_mesh("room", *cube(0.0, 2.0), 0.05, inside=np.array([[5.0, 5.0, 5.0]]))


@pytest.mark.parametrize("seed", range(4))
def test_triangles_leave_no_gap(seed):
    """No two free face neighbours have the plane between their centres, within the triangle."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(1, 19, (3, 3))
    out = touched(corners, np.array([[0, 1, 2]]), (20, 20, 20))
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    centres = np.stack(np.meshgrid(*[np.arange(20) + 0.5] * 3, indexing="ij"), -1)
    side = (centres - corners[0]) @ normal
    basis = np.linalg.pinv(np.stack([corners[1] - corners[0], corners[2] - corners[0]], -1))
    crossed = 0
    for axis in range(3):
        a, b = (np.moveaxis(x, axis, 0)[:-1] for x in (side, out)), (np.moveaxis(x, axis, 0)[1:] for x in (side, out))
        (sa, oa), (sb, ob) = a, b
        share = sa / np.where(sa == sb, 1, sa - sb)
        step = np.eye(3)[axis]
        met = np.moveaxis(centres, axis, 0)[:-1] + share[..., None] * step
        u = (met - corners[0]) @ basis.T
        within = (sa * sb < 0) & (u > 0.02).all(-1) & (u.sum(-1) < 0.98)
        assert not (within & ~oa & ~ob).any()
        crossed += within.sum()
    assert crossed > 10


def test_npy_and_binvox(tmp_path):
    rng = np.random.default_rng(0)
    solid = rng.random((4, 5, 5)) < 0.4
    np.save(tmp_path / "a.npy", solid)
    np.save(tmp_path / "b.npy", np.array([[[0.0, 10.0]]], np.float32))
    np.save(tmp_path / "c.npy", np.array([[[0, 255]]], np.uint8))
    np.testing.assert_array_equal(read_grid(tmp_path / "a.npy", 0.1).solid, np.where(solid, 255, 0))
    np.testing.assert_array_equal(read_grid(tmp_path / "b.npy", 0.1).solid, [[[0, round(255 * (1 - np.exp(-1)))]]])
    np.testing.assert_array_equal(read_grid(tmp_path / "c.npy", 0.1).solid, [[[0, 255]]])
    write_binvox(tmp_path / "d.binvox", solid)
    np.testing.assert_array_equal(read_binvox(tmp_path / "d.binvox"), solid)
    np.testing.assert_array_equal(read_grid(tmp_path / "d.binvox", 0.1).solid, np.where(solid, 255, 0))


def write_binvox(path, solid):
    """By the format's description, in loops: x slowest, then z, y fastest."""
    nx, ny, nz = solid.shape
    runs = bytearray()
    for x in range(nx):
        for z in range(nz):
            for y in range(ny):
                runs += bytes([int(solid[x, y, z]), 1])
    head = f"#binvox 1\ndim {nx} {nz} {ny}\ntranslate 0 0 0\nscale 1\ndata\n".encode()
    path.write_bytes(head + bytes(runs))


@pytest.mark.skipif(importlib.util.find_spec("trimesh") is None, reason="trimesh is not installed")
def test_binvox_as_trimesh_reads_it(tmp_path):
    import trimesh

    solid = np.random.default_rng(0).random((5, 5, 5)) < 0.4
    write_binvox(tmp_path / "a.binvox", solid)
    theirs = trimesh.load(tmp_path / "a.binvox", file_type="binvox", axis_order="xzy")
    np.testing.assert_array_equal(theirs.matrix, solid)


def box_view(direction, size=2.0):
    """A camera in the middle of a cubic room of that size, looking along an axis, with exact planar depth."""
    pose = np.zeros((3, 4))
    pose[:, 2] = direction
    pose[:, 1] = np.roll(np.abs(direction), 1)
    pose[:, 0] = np.cross(pose[:, 1], pose[:, 2])
    y, x = (np.mgrid[:60, :60] + 0.5 - 30) / 30  # a right angle wide: it sees one wall
    return View(np.maximum(1, 0 * x + 0 * y).astype(np.float32) * size / 2, (30.0, 30.0), (30.0, 30.0), pose)


def test_fused_depth_of_a_room():
    directions = [s * np.eye(3)[k] for k in range(3) for s in (1, -1)]
    grid = fuse_depth("box", [box_view(d) for d in directions], 0.1)
    assert grid.known is not None
    free, known = grid.solid == 0, grid.known
    assert 0.97 * 1.8**3 <= free.sum() * 0.1**3 <= 1.9**3  # middles at least half a voxel before the walls
    assert (known | (grid.solid == 255)).all()
    assert not known[0, 0, 0]
    one = fuse_depth("half", [box_view(directions[0])], 0.1)
    assert (one.solid == 0).sum() < free.sum() / 3  # one view sees a pyramid


def wall(n=24):
    """Solid below a height."""
    solid = np.zeros((n, n, n), np.uint8)
    solid[:, : n // 2] = 255
    return Grid("wall", solid, 0.05)


def test_blocks_show_the_surface_and_keep_what_is_up():
    blocks = cut_blocks(wall(64), 30, np.random.default_rng(0), mix=WHOLE)
    assert blocks.shape == (30, 8, 8, 8)
    inside = [b for b in blocks if 0 < b.mean() < 255]
    assert len(inside) > 20
    for block in inside:
        assert (np.diff(block.astype(int), axis=1) <= 0).all()  # never solid above free


def test_blocks_may_be_turned_in_all_ways():
    mix = BlockMix(size=8, factors=(1,), anywhere=0.0, up="any")
    blocks = cut_blocks(wall(64), 60, np.random.default_rng(0), mix=mix)
    steps = [tuple(int(np.diff(b.astype(int), axis=k).sum()) for k in range(3)) for b in blocks if 0 < b.mean() < 255]
    assert {np.sign(s).tolist().index(v) for s in steps for v in (1, -1) if v in np.sign(s)} == {0, 1, 2}


def test_several_voxels_make_one():
    solid = np.zeros((48, 48, 48), np.uint8)
    solid[:, :21] = 255
    mix = BlockMix(size=4, factors=(2,), anywhere=0.0)
    blocks = cut_blocks(Grid("x", solid, 0.05), 60, np.random.default_rng(1), mix=mix)
    layers = {tuple(block[1, :, 1].tolist()) for block in blocks}
    assert {(255, 255, 128, 0), (255, 255, 0, 0)} <= layers
    eighths = {round(255 * k / 8) for k in range(9)}  # at the grid's own edges, fewer voxels are solid
    assert {value for layer in layers for value in layer} <= eighths


def test_blocks_are_mostly_open():
    grid = wall(64)
    some, all_of_them = (
        cut_blocks(grid, 300, np.random.default_rng(0), mix=BlockMix(size=8, factors=(1,), anywhere=0.0, open=least))
        for least in (0.5, 0.0)
    )
    closed, before = ((b.reshape(len(b), -1).mean(1) > 255 * 0.5).mean() for b in (some, all_of_them))
    assert 0.35 < before < 0.65
    assert 0.05 < closed < 0.3  # of a block and its like, one in five is kept, the others drawn again: 1 / 6


def test_unknown_blocks_are_left_out():
    grid = wall(32)
    known = np.zeros(grid.solid.shape, bool)
    known[:12] = True
    blocks = cut_blocks(Grid("x", grid.solid, 0.05, 0, known), 20, np.random.default_rng(0), mix=WHOLE)
    assert 0 < len(blocks) <= 20
    known[:] = False
    assert not len(cut_blocks(Grid("x", grid.solid, 0.05, 0, known), 20, np.random.default_rng(0), mix=WHOLE))


def test_a_file_of_signed_distances(tmp_path):
    """A plane between two voxels, and a quarter of a voxel beyond the centre of the next."""
    path = tmp_path / "plane.sdf.npy"
    np.save(path, np.array([[[-0.15, -0.05, 0.05, 0.15]], [[-0.125, -0.025, 0.075, 0.175]]]))
    np.testing.assert_array_equal(read_grid(path, 0.1).solid, [[[255, 255, 0, 0]], [[255, 191, 0, 0]]])
    np.save(path, np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"plane.sdf.npy must hold three axes of finite floats"):
        read_grid(path, 0.1)
    np.save(tmp_path / "plane.npy", np.full((2, 2, 2), -1.0))
    with pytest.raises(ValueError, match=r"negative or not finite.*call it NAME.sdf.npy"):
        read_grid(tmp_path / "plane.npy", 0.1)


def test_distances():
    mix = BlockMix(size=8, factors=(1,), anywhere=0.0, kind="sdf")
    blocks = cut_blocks(wall(64), 50, np.random.default_rng(0), mix=mix)
    block = next(b for b in blocks if b[0, 2, 0] < 127 < b[0, 3, 0])
    expected = np.clip((np.arange(8) - 2.5) / REACH, -1, 1)  # the surface lies between the voxels 2 and 3
    np.testing.assert_allclose(block[0, :, 0] / 255 * 2 - 1, expected, atol=1 / 255)


@pytest.fixture
def sources(tmp_path):
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", np.roll(wall().solid, k, 0))
    return tmp_path


def test_folder(sources, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("blocks")
    counts = make_blocks([sources], tmp_path / "out", count=30, mix=WHOLE, licence="CC0", credits=("me",))
    facts = json.loads((tmp_path / "out" / "arrays.json").read_text())
    train, held = (np.load(tmp_path / "out" / f"{name}-00000.npy") for name in ("train", "held"))
    assert train.shape == (20, 1, 8, 8, 8)
    assert train.dtype == np.uint8
    assert counts == facts["counts"] == {"train": 20, "held": len(held)}
    assert (facts["channels"], facts["licence"], facts["mirror"]) == (["occupancy"], "CC0", [0, 2])
    assert len(facts["held_out"]) == 1
    assert facts["transform"]["kind"] == "density"
    make_blocks([sources], tmp_path / "again", count=30, mix=WHOLE)
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "train-00000.npy"), train)


@pytest.mark.skipif(importlib.util.find_spec("trimesh") is None, reason="trimesh is not installed")
def test_meshes_alone_and_in_rooms(tmp_path):
    write_obj(tmp_path / "chair" / "chair.obj", *cube(0.0, 0.5))
    write_obj(tmp_path / "room" / "room.obj", *cube(0.0, 2.0))
    pose = np.eye(4)
    pose[:3, 3] = 1
    (tmp_path / "room" / "transforms.json").write_text(json.dumps({"frames": [{"transform_matrix": pose.tolist()}]}))
    chair, room = find_sources([tmp_path])
    assert (chair.name, room.kind) == ("chair/chair.obj", "mesh")
    for seed in range(4):  # turned or not
        rng = np.random.default_rng(seed)
        assert load_grid(chair, 0.05, "y", rng).outside == 0
        grid = load_grid(room, 0.05, "y", rng)
        assert grid.outside == 255
        assert 1.7**3 < (grid.solid == 0).sum() * 0.05**3 < 2.05**3


def test_depth_folders(tmp_path):
    directions = [s * np.eye(3)[k] for k in range(3) for s in (1, -1)]
    frames = []
    for k, view in enumerate(box_view(d) for d in directions):
        Image.fromarray((view.depth * 1000).astype(np.uint16)).save(tmp_path / f"{k}.png")
        pose = np.eye(4)
        pose[:3] = view.pose @ np.diag([1, -1, -1, 1])
        frames.append({"depth_file_path": f"{k}.png", "transform_matrix": pose.tolist()})
    meta = {"fl_x": 30, "cx": 30, "cy": 30, "frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(meta))
    views = read_views(tmp_path)
    np.testing.assert_allclose(views[3].pose, box_view(directions[3]).pose)
    (source,) = find_sources([tmp_path])
    grid = load_grid(source, 0.1, "y", np.random.default_rng(0))
    np.testing.assert_array_equal(grid.solid, fuse_depth("x", [box_view(d) for d in directions], 0.1).solid)
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": [{"file_path": "a"}]}))
    with pytest.raises(ValueError, match="names no depth"):
        read_views(tmp_path)
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": [{"depth_file_path": "0.png"}]}))
    with pytest.raises(ValueError, match="transform_matrix"):
        read_views(tmp_path)


def test_command_and_mistakes(sources, tmp_path_factory, monkeypatch, capsys):
    tmp_path = tmp_path_factory.mktemp("blocks")

    def call(*words):
        monkeypatch.setattr("sys.argv", ["scorereg", "make-blocks", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr()

    out = tmp_path / "out"
    code, said = call(sources, "--out", out, "-n", 30, "--block", 8, "--factor", 1, "--kind", "sdf", "--up", "any")
    assert code == 0
    assert "20 train, 10 held" in said.out
    assert json.loads((out / "arrays.json").read_text())["channels"] == ["sdf"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.npy").write_bytes(b"no")
    np.save(tmp_path / "flat.npy", np.zeros((3, 3)))
    (tmp_path / "bad.binvox").write_bytes(b"#binvox 1\ndim 2 2 2\ndata\n\x00\x01")
    for words, says in (
        ([tmp_path / "nowhere"], "is not there"),
        ([tmp_path / "empty"], "nothing to cut blocks from"),
        ([sources / "0.npy"], "is all there is"),
        ([tmp_path / "bad.npy", sources / "0.npy"], "no array of numbers that NumPy can read"),
        ([tmp_path / "flat.npy", sources / "0.npy"], "shape \\(3, 3\\)"),
        ([tmp_path / "bad.binvox", sources / "0.npy"], "1 voxels, but its header promises 8"),
        ([sources, "--up", "w"], "up must be x, y, z or any"),
        ([sources, "--voxel", 2, 1], "smallest voxel <= largest"),
    ):
        code, said = call(*words, "--out", tmp_path / "new", "--block", 8)
        assert code == 2, words
        assert says.replace("\\", "") in said.err
        assert said.err.count("\n") == 1, said.err
