"""Hypersim, in small HDF5 files of the true layout: distance to depth, tone mapping, lenses, the published split."""

import numpy as np
import pytest
from torch.testing import assert_close

from scorereg.data.bad_frames import BadFrames, ReadOptions
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.hypersim import CAMERAS, SPLIT, is_tilted, planar_depth, tone_map
from scorereg.data.frames.load import load_pyramid
from scorereg.data.frames.read import read_frame
from scorereg.data.frames.split import split_scenes
from scorereg.data.patch_spec import PatchSpec

h5py = pytest.importorskip("h5py")

WIDTH, HEIGHT = 32, 24
USUAL = (
    0.5773502886169104,
    0.0,
    0.0,
    0.0,
    0.4330127164626828,
    0.0,
    0.0,
    0.0,
    -1.0,
)  # in the authors' table: ai_001_001, ai_038_002
TILTED = (0.6501238075331314, 0.0, 0.0, 0.0, 0.43483397310392735, 0.0, 0.0, -0.22060419015836272, -1.1260474290333964)


def cameras(folder, lenses):
    names = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
    lines = [",".join(["scene_name", "settings_output_img_width", *names])]
    lines += [",".join([scene, "1024.0", *map(str, lens)]) for scene, lens in lenses.items()]
    (folder / CAMERAS).write_text("\n".join(lines) + "\n")


def scene(root, name, *, frames=(0, 1), camera="cam_00", wall=2.0):
    """A wall `wall` metres in front of the camera, as the authors store it: distances along rays."""
    images = root / name / "images"
    for i in frames:
        u, v = np.meshgrid((np.arange(WIDTH) + 0.5) / WIDTH * 2 - 1, 1 - (np.arange(HEIGHT) + 0.5) / HEIGHT * 2)
        ray = np.stack([USUAL[0] * u, USUAL[4] * v, -np.ones_like(u)], -1)
        parts = {
            "geometry": {
                "depth_meters": (wall * np.linalg.norm(ray, axis=-1)).astype(np.float16),
                "render_entity_id": np.ones((HEIGHT, WIDTH), np.int32),
                "normal_cam": np.broadcast_to([0.0, 0.6, 0.8], (HEIGHT, WIDTH, 3)).astype(np.float16),
            },
            "final": {"color": np.linspace(0, 3, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.float16)},
        }
        for kind, files in parts.items():
            folder = images / f"scene_{camera}_{kind}_hdf5"
            folder.mkdir(parents=True, exist_ok=True)
            for what, value in files.items():
                with h5py.File(folder / f"frame.{i:04}.{what}.hdf5", "w") as file:
                    file.create_dataset("dataset", data=value, compression="gzip")
    return images


def test_a_wall_in_front_of_the_camera_has_one_depth(tmp_path):
    scene(tmp_path, "ai_001_001")
    cameras(tmp_path, {"ai_001_001": USUAL})
    frames = find_frames([tmp_path])
    assert [f.color.name for f in frames] == ["frame.0000.color.hdf5", "frame.0001.color.hdf5"]
    assert frames[0].scene == f"{tmp_path.name}/ai_001_001"
    assert frames[0].focal == pytest.approx((886.81, 886.81), abs=0.01)  # 60 degrees across 1024 pixels
    planes = read_frame(frames[0], ("color", "depth", "normal"))
    assert np.abs(planes.metres - 2).max() < 2e-3  # float16
    assert np.ptp(planes.metres) < 4e-3
    assert planes.color.shape == (HEIGHT, WIDTH, 3)
    assert_close(planes.maps["normal"][3, 4], np.array([0, -0.6, -0.8], np.float32), rtol=0.0, atol=1e-3)


def test_planar_depth_is_measured_along_the_normal_of_the_image_plane():
    """Points on a plane through the lens that is parallel to the image plane, tilted or not, have one depth."""
    for lens in (USUAL, TILTED, (0.58, 0.0, 0.14, 0.0, 0.43, -0.1, 0.0, 0.0, -1.0)):
        matrix = np.array(lens).reshape(3, 3)
        normal = np.cross(matrix[:, 0], matrix[:, 1])
        normal /= np.linalg.norm(normal)
        u, v = np.meshgrid((np.arange(WIDTH) + 0.5) / WIDTH * 2 - 1, 1 - (np.arange(HEIGHT) + 0.5) / HEIGHT * 2)
        ray = np.stack([u, v, np.ones_like(u)], -1) @ matrix.T
        point = ray * (3.0 / np.abs(ray @ normal))[..., None]
        depth = planar_depth(np.linalg.norm(point, axis=-1), lens)
        assert np.abs(depth - 3).max() < 1e-6


def test_tilted_lenses_are_left_out_and_said_so(tmp_path):
    assert is_tilted(TILTED)
    assert not is_tilted(USUAL)
    assert not is_tilted((0.58, 0.0, 0.14, 0.0, 0.43, -0.1, 0.0, 0.004, -1.0))  # shifted, which changes no depth
    for name in ("ai_001_001", "ai_038_002"):
        scene(tmp_path, name)
    cameras(tmp_path, {"ai_001_001": USUAL, "ai_038_002": TILTED})
    bad = BadFrames()
    assert {f.scene.split("/")[1] for f in find_frames([tmp_path], bad=bad)} == {"ai_001_001"}
    assert bad.left_out == [f"{tmp_path.name}/ai_038_002: its lens is tilted"]
    with pytest.raises(ValueError, match=r"no RGB-D frames \(.*ai_038_002: its lens is tilted\)"):
        find_frames([tmp_path / "ai_038_002"])
    with pytest.raises(ValueError, match="holds no RGB-D frames"):
        find_frames([tmp_path], bad=BadFrames(ReadOptions(exclude=("ai_001*", "ai_038*"))))


def test_the_table_of_cameras_is_required(tmp_path):
    scene(tmp_path, "ai_001_001")
    with pytest.raises(FileNotFoundError, match=rf"{CAMERAS} is missing. Each scene has its own lens"):
        find_frames([tmp_path])
    cameras(tmp_path, {"ai_002_001": USUAL})
    with pytest.raises(ValueError, match="does not know the scene ai_001_001"):
        find_frames([tmp_path])


def test_the_published_split_is_kept(tmp_path):
    root = tmp_path / "scenes"
    for name in ("ai_001_001", "ai_001_002", "ai_001_003"):
        scene(root, name)
    cameras(tmp_path, dict.fromkeys(("ai_001_001", "ai_001_002", "ai_001_003"), USUAL))
    rows = ["scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"]
    for name, part in (("ai_001_001", "train"), ("ai_001_002", "val"), ("ai_001_003", "test")):
        rows += [f"{name},cam_00,0,True,,{part}", f"{name},cam_00,1,False,CONTENT FLAGGED FOR REMOVAL,"]
    (tmp_path / "evermotion_dataset" / "analysis").mkdir(parents=True)
    (tmp_path / "evermotion_dataset" / "analysis" / SPLIT).write_text("\n".join(rows) + "\n")
    frames = find_frames([root])
    assert [(f.scene, f.split) for f in frames] == [
        ("scenes/ai_001_001", "train"), ("scenes/ai_001_002", "val"), ("scenes/ai_001_003", "test")
    ]  # fmt: skip
    train, held, names = split_scenes(frames)
    assert [f.scene for f in train] == ["scenes/ai_001_001"]
    assert [f.scene for f in held] == ["scenes/ai_001_002"]
    assert names == ("scenes/ai_001_002",)


def test_tone_mapping_puts_the_ninetieth_percentile_at_four_fifths():
    radiance = np.random.default_rng(0).exponential(5, (50, 50, 1)).astype(np.float32).repeat(3, 2)
    entity = np.ones((50, 50), np.int32)
    entity[:10] = -1
    radiance[:10] = 1e4  # a window: nothing was hit there, and it is not counted
    radiance[20, 20] = np.nan
    mapped = tone_map(radiance, entity)
    assert mapped[20, 20].max() == 0
    hit = mapped[10:, :, 0]
    assert np.percentile(hit, 90) == pytest.approx(0.8, abs=1e-3)
    assert mapped[:10].min() == 1
    i, j = np.unravel_index(np.argsort(hit.ravel())[[200, 900]], hit.shape)
    ratio = radiance[10:, :, 0][i, j]
    assert hit[i[1], j[1]] / hit[i[0], j[0]] == pytest.approx((ratio[1] / ratio[0]) ** (1 / 2.2), rel=1e-4)
    orange = np.broadcast_to(np.array([1, 0.2, 0.1], np.float32), (4, 4, 3))  # of brightness .3 + .118 + .011
    assert tone_map(orange, np.ones((4, 4)))[0, 0, 1] == pytest.approx(0.8 * (0.2 / 0.429) ** (1 / 2.2), rel=1e-4)
    assert tone_map(np.full((4, 4, 3), 0.25), np.full((4, 4), -1)) == pytest.approx(0.25 ** (1 / 2.2))
    assert tone_map(np.full((4, 4, 3), 1e-6), np.ones((4, 4))).max() == 0


def spoil(path, value):
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset", data=value)


def test_pixels_without_depth_are_unknown(tmp_path):
    images = scene(tmp_path, "ai_001_001", frames=(0,))
    cameras(tmp_path, {"ai_001_001": USUAL})
    path = images / "scene_cam_00_geometry_hdf5" / "frame.0000.depth_meters.hdf5"
    distance = np.full((HEIGHT, WIDTH), 2, np.float16)
    distance[0, :3] = np.nan, np.inf, 0
    spoil(path, distance)
    (frame,) = find_frames([tmp_path])
    metres = read_frame(frame).metres
    assert np.isnan(metres).sum() == 3
    assert np.isnan(metres[0, :3]).all()


@pytest.mark.parametrize(
    ("what", "value", "says"),
    [
        ("depth_meters", np.full((HEIGHT, WIDTH), np.nan), "has no depth at all: no pixel is finite"),
        ("depth_meters", np.ones((4, 4)), "all must have one size"),
        ("color", np.zeros((HEIGHT, WIDTH, 3)), "is black: no light"),
        ("color", np.zeros((HEIGHT, WIDTH)), "3 dimensions were expected"),
        ("color", None, "cannot be read as HDF5"),
    ],
)
def test_invalid_frames_are_named(tmp_path, what, value, says):
    images = scene(tmp_path, "ai_001_001", frames=(0,))
    cameras(tmp_path, {"ai_001_001": USUAL})
    path = images / f"scene_cam_00_{'final' if what == 'color' else 'geometry'}_hdf5" / f"frame.0000.{what}.hdf5"
    path.write_bytes(b"hello") if value is None else spoil(path, value)
    with pytest.raises((OSError, ValueError), match=says):
        load_pyramid(find_frames([tmp_path]), PatchSpec(8, focal=(100.0, 800.0)))
