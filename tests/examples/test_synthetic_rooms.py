"""Rooms without Mitsuba and without the real furniture: a catalogue of two models is written here."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from examples.synthetic_rooms import __main__ as command
from examples.synthetic_rooms import render
from examples.synthetic_rooms.cameras import Shot, draw_shot
from examples.synthetic_rooms.furniture import catalogue, read_model, unpack
from examples.synthetic_rooms.layout import make_plan
from examples.synthetic_rooms.lights import Lights, make_lights
from examples.synthetic_rooms.parts import Material, box, lathe, quad, turned
from examples.synthetic_rooms.room import make_room, solids
from examples.synthetic_rooms.shell import make_shell
from scorereg.cli import one_line_errors
from scorereg.data.blocks.voxels import grid_of_mesh

CATALOGUE = """
name=Tests
license=CC0
name#1=Table
category#1=Living room
model#1=/t/table/table.obj
width#1=100
depth#1=60
height#1=70
dropOnTopElevation#1=70
creator#1=Ada
name#2=Bowl
category#2=Kitchen
model#2=/t/bowl/bowl.obj
width#2=20
depth#2=20
height#2=10
creator#2=Bob
name#3=Chair
category#3=Living room
model#3=/t/table/table.obj
width#3=45
depth#3=45
height#3=90
creator#3=Ada
name#4=Garage
category#4=Exterior
model#4=/t/table/table.obj
width#4=45
depth#4=45
height#4=90
"""
OBJ = """mtllib table.mtl
v 0 0 0
v 2 0 0
v 2 4 0
v 0 0 3
vt 0.25 0.75
usemtl wood
f 1/1 2/1 3/1
f 1//1 2//1 4//1
usemtl none
f -4 -3 -2 -1
"""
MTL = "newmtl wood\nKd 0.5 0.5 0.5\nNs 100\n"


@pytest.fixture
def furniture(tmp_path):
    folder = tmp_path / "furniture" / "Tests"
    for name in ("table", "bowl"):
        (folder / "t" / name).mkdir(parents=True)
        (folder / "t" / name / f"{name}.obj").write_text(OBJ)
        (folder / "t" / name / "table.mtl").write_text(MTL)
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    Image.fromarray(noise).save(folder / "t" / "table" / "wood.jpg", quality=95)
    (folder / "PluginFurnitureCatalog.properties").write_text(CATALOGUE, encoding="latin-1")
    (folder / "LICENSE.TXT").write_text("CC0")
    return folder.parent


def test_models_come_at_their_size(furniture):
    models = catalogue(furniture)
    assert [m.name for m in models] == ["Table", "Bowl", "Chair"]  # none for outdoors
    wood, plain = read_model(models[0])
    points = np.concatenate([wood.vertices, plain.vertices])
    np.testing.assert_allclose(points.min(0), [-0.5, 0, -0.3], atol=1e-12)
    np.testing.assert_allclose(points.max(0), [0.5, 0.7, 0.3], atol=1e-12)
    assert (len(wood.faces), len(plain.faces)) == (2, 2)  # a polygon of four is two
    assert wood.material.gloss is not None
    assert wood.material.colour == pytest.approx((0.5**2.2,) * 3)
    np.testing.assert_allclose(wood.uv[wood.faces[0]], [[0.25, 0.25]] * 3)  # v runs down
    assert models[0].top == 0.7
    assert models[1].small


def test_archives_are_unpacked_once(furniture, tmp_path):
    (tmp_path / "sweethome3d" / "furniture").mkdir(parents=True)  # where the Debian package has them
    with zipfile.ZipFile(tmp_path / "sweethome3d" / "furniture" / "Tests.sh3f", "w") as file:
        for path in (furniture / "Tests").rglob("*"):
            file.write(path, path.relative_to(furniture / "Tests"))
    for _ in range(2):
        assert len(catalogue(unpack(tmp_path / "sweethome3d", tmp_path / "cache"))) == 3
    with pytest.raises(OSError, match="apt-get download sweethome3d-furniture"):
        unpack(tmp_path / "cache" / "Tests" / "t", tmp_path / "cache")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.sh3f").write_bytes(b"no zip")
    with pytest.raises(OSError, match=r"a.sh3f is damaged"):
        unpack(tmp_path / "broken", tmp_path / "new")


def images(furniture):
    return sorted(furniture.rglob("*.jpg"))


@pytest.mark.parametrize("seed", range(6))
def test_shells_are_closed_around_their_floor(furniture, seed):
    shell = make_shell(np.random.default_rng(seed), images(furniture))
    for wall in shell.walls:
        for u in np.linspace(0.1, wall.length - 0.1, 5):
            x, _, z = wall.at(u, 0, 0.05)
            assert shell.holds(x, x, z, z)
            x, _, z = wall.at(u, 0, -0.05)
            assert not shell.holds(x, x, z, z)
    starts = np.array([wall.start for wall in shell.walls])
    ends = np.array([wall.start + wall.length * wall.along for wall in shell.walls])
    np.testing.assert_allclose(np.roll(ends, 1, 0), starts, atol=1e-12)


def test_shapes_vary(furniture):
    shells = [make_shell(np.random.default_rng(seed), images(furniture)) for seed in range(16)]
    assert 1 < sum(shell.cut is not None for shell in shells) < 12
    assert 1 < sum(shell.ceiling[1:] != (0, 0) for shell in shells) < 10
    assert sum(bool(shell.windows) for shell in shells) > 5


@pytest.mark.parametrize("seed", range(6))
def test_furniture_stands_apart_on_the_floor(furniture, seed):
    rng = np.random.default_rng(seed)
    shell = make_shell(rng, images(furniture))
    plan = make_plan(rng, shell, [m for m in catalogue(furniture) if m.name == "Table"])
    assert plan.placed
    for k, placed in enumerate(plan.placed):
        a = placed.rectangle
        assert shell.holds(*a)
        assert placed.base + placed.model.size[1] < shell.lowest(*a)
        for other in plan.placed[:k]:
            b = other.rectangle
            assert a[1] <= b[0] or a[0] >= b[1] or a[3] <= b[2] or a[2] >= b[3]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rooms_are_closed_and_cameras_stand_in_the_open(furniture, seed):
    """What the cameras can reach is the room and no more, windows or not."""
    rng = np.random.default_rng(seed)
    room = make_room(rng, catalogue(furniture), images(furniture))
    shots = [draw_shot(rng, room.shell, room.plan) for _ in range(12)]
    positions = np.array([shot.pose[:3, 3] for shot in shots])
    assert all(room.shell.holds(x, x, z, z) and 0 < y < room.shell.height(x, z) for x, y, z in positions)
    grid = grid_of_mesh("room", *solids(room), 0.06, inside=positions)
    w, d = room.shell.size
    assert (grid.solid == 0).sum() * 0.06**3 < w * d * 3.8
    for shot in shots:
        turn = shot.pose[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) > 0
        assert turn[1, 1] > 0.3  # up is up


def test_there_is_always_light(furniture):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        lights = make_lights(rng, make_shell(rng, images(furniture)))
        assert lights.panels or lights.bulbs or lights.sun


def test_bodies():
    part = turned(box(np.zeros(3), np.array([1.0, 2.0, 3.0]), Material()), 90, (10, 0, 0))
    np.testing.assert_allclose([part.vertices.min(0), part.vertices.max(0)], [[10, 0, -1], [13, 2, 0]], atol=1e-12)
    corners = part.vertices[part.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert abs((normal * corners[:, 0]).sum() / 6) == pytest.approx(6.0)  # its volume: all faces look the same way
    ball = lathe(np.sin(np.linspace(0, np.pi, 30)), -np.cos(np.linspace(0, np.pi, 30)), Material(), slices=60)
    np.testing.assert_allclose(np.linalg.norm(ball.vertices, axis=1), 1)


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["synthetic_rooms", *map(str, words)])
    with pytest.raises(SystemExit) as caught, one_line_errors("synthetic_rooms"):
        command.typer.run(command.main)
    return caught.value.code or 0


def test_rooms_without_pictures(furniture, tmp_path, monkeypatch, capsys):
    out = tmp_path / "rooms"
    words = ("--rooms", 2, "--first-seed", 5, "--frames", 0, "--out", out, "--furniture", furniture)
    assert run(monkeypatch, *words) == 0
    assert sorted(p.name for p in out.iterdir()) == ["CREDITS.md", "licences", "room-00005", "room-00006"]
    meta = json.loads((out / "room-00005" / "transforms.json").read_text())
    assert len(meta["frames"]) == 12
    assert meta["seed"] == 5
    credits = (out / "CREDITS.md").read_text()
    assert "Table by Ada" in credits
    before = (out / "room-00005" / "room.ply").read_bytes()
    assert before.startswith(b"ply\nformat binary_little_endian")
    (out / "room-00006" / "room.ply").unlink()
    (out / "room-00006").rename(out / "room-00006.partial")  # as an interrupted run leaves it
    capsys.readouterr()
    assert run(monkeypatch, *words) == 0
    assert "room-00006: " in capsys.readouterr().out
    assert (out / "room-00006" / "room.ply").exists()
    assert not (out / "room-00006.partial").exists()


def test_mistakes_are_one_line(furniture, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "--out", tmp_path / "out", "--furniture", tmp_path) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "apt-get download sweethome3d-furniture" in said

    for missing, says in (("import mitsuba", "not installed"), ("set_variant", "DRJIT_LIBLLVM_PATH"),
                          ("pyoidn", "--no-denoise")):  # fmt: skip

        def fails(words, missing=missing, **_):
            last = words[-1]
            found = last == missing if missing.startswith("import") else missing in last
            return subprocess.CompletedProcess(words, returncode=int(found))

        monkeypatch.setattr(subprocess, "run", fails)
        assert run(monkeypatch, "--out", tmp_path / "out", "--furniture", furniture) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert says in said


def test_photos_worth_taking():
    x = np.mgrid[:24, :32][1] / 24
    blank = 1 / (0.3 + 0.1 * x)  # one plane has an inverse depth that is linear in the image
    assert not command.worth_taking(blank)
    things = blank.copy()
    things[8:16, 8:20] = 1.0
    assert command.worth_taking(things)
    assert not command.worth_taking(np.where(x < 0.7, 0, things))  # mostly sky
    assert not command.worth_taking(0.1 * things)  # right before the lens


def test_depth_and_colour_of_a_wall():
    """Planar depth at the pixels' centres, x to the right and y up, in the variant that needs no compiler."""
    mitsuba = pytest.importorskip("mitsuba")
    mitsuba.set_variant("scalar_rgb")
    corners = np.array([[0, 0, -2], [9, 0, -2], [9, 9, -2], [0, 9, -2]], float)
    lights = Lights([], [], [], [], ((0.0, 0.0, -1.0), (3.0, 3.0, 3.0)), (0.0, 0.0, 0.0))
    scene = render.make_scene([quad(corners, Material((0.8, 0.1, 0.1)))], lights)
    shot = Shot(np.eye(4), 90.0)  # 8 pixels wide: a focal length of 4
    depth = render.depth_of(scene, shot, (8, 6))
    expected = np.zeros((6, 8))
    expected[:3, 4:] = 2
    np.testing.assert_allclose(depth, expected, rtol=1e-6)
    colour = render.photo_of(scene, shot, (8, 6), samples=200, seed=0, denoise=False)
    assert colour.shape == (6, 8, 3)
    assert colour[:3, 4:, 0].mean() == pytest.approx(0.8 * 3 / np.pi, rel=0.1)
    np.testing.assert_allclose(colour[:3, 4:, 1:], colour[:3, 4:, :1].repeat(2, -1) / 8, rtol=0.02)
    assert (colour[3:] == 0).all()
    picture = render.expose(np.random.default_rng(0), colour)
    assert picture.dtype == np.uint8
