"""Cameras of renders: where they are, what they look at, their sizes, and those of files."""

import json
from dataclasses import replace

import pytest
import torch
from small_scenes import VIEWS, ball_fit
from torch.testing import assert_close

from scorereg.export import read_shots, resized, shots_of
from scorereg.export.transforms_file import write_cameras

SCENE = ball_fit(scale=2.0, offset=(1e6, -3.0, 0.5)).scene


def test_the_photos_cameras_have_the_photos_names():
    every, train, test = (shots_of(SCENE, kind) for kind in ("all", "train", "test"))
    assert [shot.name for shot in every] == [str(i) for i in range(VIEWS)]
    assert [shot.name for shot in train] == ["0", "2", "4", "6", "8"]
    assert [shot.name for shot in test] == ["1", "3", "5", "7", "9"]
    assert torch.equal(test[1].camera.pose, SCENE.cameras[3].pose)
    assert [shot.name for shot in shots_of(SCENE, "all", 3)] == ["0", "3", "6"]
    assert len(shots_of(SCENE, "test", 50)) == 5


def test_a_photo_is_called_the_same_in_every_kind():
    names = ("a/0.png", "b/0.png", *(f"{i}.png" for i in range(2, VIEWS)))
    scene = replace(SCENE, filenames=names)
    assert shots_of(scene, "train")[0].name == shots_of(scene, "all")[0].name == "a-0"


@pytest.mark.parametrize("kind", ["spiral", "orbit"])
def test_a_path_around_looks_at_what_the_photos_show(kind):
    shots = shots_of(SCENE, kind, 7)
    assert len(shots) == 7
    if kind == "orbit":
        for shot in shots:
            pixel, depth = shot.camera.project(torch.zeros(1, 3))
            assert_close(pixel[0, 0], shot.camera.center[0], atol=0.01, rtol=0)
            assert_close(depth[0, 0], torch.linalg.vector_norm(shot.camera.origins[0]), atol=0.01, rtol=0)
        height = torch.stack([shot.camera.origins[0, 1] for shot in shots])
        assert height.std() < 1e-5


def test_a_path_between_photos_meets_them():
    shots = shots_of(SCENE, "between", 9)
    for i in range(5):
        assert_close(shots[2 * i].camera.pose, SCENE.cameras[2 * i].pose, atol=1e-5, rtol=0)
    assert len(shots_of(SCENE, "between")) == 4 * 24 + 1
    assert len(shots_of(replace(SCENE, train=(3,)), "between", 4)) == 4


def test_another_size_shows_the_same():
    points = torch.rand(20, 3) - 0.5
    shot = shots_of(SCENE, "train")[0]
    for new in (resized([shot], size=24)[0], resized([shot], factor=0.5)[0]):
        assert (new.camera.width, new.camera.height) == (24, 18)
        assert_close(2 * new.camera.project(points)[0], shot.camera.project(points)[0], atol=1e-4, rtol=0)
    assert resized([shot])[0].camera is shot.camera


@pytest.mark.parametrize(
    ("kind", "frames", "says"),
    [
        ("held-out", None, "--cameras must be test, train, all, spiral, orbit, between or a .json file"),
        ("spiral", 0, "--frames is the number"),
    ],
)
def test_cameras_that_cannot_be_are_named(kind, frames, says):
    with pytest.raises(ValueError, match=says):
        shots_of(SCENE, kind, frames)


def test_a_fit_without_held_out_views_says_so():
    with pytest.raises(ValueError, match="the fit has no held-out views. Give --cameras train"):
        shots_of(replace(SCENE, test=()), "test")


@pytest.mark.parametrize("settings", [{"size": 24, "factor": 2.0}, {"size": 0}, {"factor": 0.0}, {"factor": 1e4}])
def test_sizes_that_cannot_be_are_named(settings):
    with pytest.raises(ValueError, match="--s"):
        resized(shots_of(SCENE, "train"), **settings)


def test_cameras_that_were_written_are_read_as_they_were(tmp_path):
    """In the scene's coordinates, with its large offset."""
    shots = resized(shots_of(SCENE, "spiral", 3), size=40)
    write_cameras(shots, SCENE, tmp_path / "cameras.json")
    table = json.loads((tmp_path / "cameras.json").read_text())
    matrix = torch.tensor(table["frames"][1]["transform_matrix"], dtype=torch.float64)
    own = shots[1].camera.pose[0].double()
    assert_close(matrix[:3, 3], own[:, 3] / 2 + torch.tensor([1e6, -3.0, 0.5], dtype=torch.float64), atol=1e-9, rtol=0)
    assert_close(matrix[:3, :3], own[:, :3] * torch.tensor([1.0, -1, -1], dtype=torch.float64))
    for old, new in zip(shots, read_shots(tmp_path / "cameras.json", SCENE), strict=True):
        assert old.name == new.name
        assert_close(old.camera.pose, new.camera.pose, atol=1e-5, rtol=0)
        assert_close(old.camera.focal, new.camera.focal)
        assert_close(old.camera.center, new.camera.center)
        assert (old.camera.width, old.camera.height) == (new.camera.width, new.camera.height)


EYE = torch.eye(4).tolist()


def written(tmp_path, table):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table))
    return path


def test_a_frame_without_a_lens_has_that_of_the_photos(tmp_path):
    shot = read_shots(written(tmp_path, {"frames": [{"transform_matrix": EYE}]}), SCENE)[0]
    assert torch.equal(shot.camera.focal, SCENE.cameras[0].focal)
    assert shot.name == "0000"
    with pytest.warns(UserWarning, match="the lenses of 1 frames are distorted"):
        read_shots(written(tmp_path, {"fl_x": 30, "k1": 0.1, "frames": [{"transform_matrix": EYE}]}), SCENE)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "`frames` must be a list"),
        ({"frames": []}, "`frames` must be a list"),
        ({"frames": [3]}, "`frames` must be a list"),
        ({"frames": [{}]}, "frame 0 .* has no `transform_matrix`"),
        ({"frames": [{"transform_matrix": [[1, 2], [3, 4]]}]}, "transform_matrix"),
        ({"frames": [{"transform_matrix": torch.zeros(4, 4).tolist()}]}, "last row|no rotation"),
        ({"frames": [{"transform_matrix": EYE, "fl_x": -1}]}, "must be above 0"),
        ({"fl_x": 30, "w": 10**9, "h": 3, "frames": [{"transform_matrix": EYE}]}, "a side has 1 to"),
        ({"fl_x": 30, "cx": 1e9, "cy": 4, "frames": [{"transform_matrix": EYE}]}, "cx or cy is 1e"),
        ({"camera_path": [], "fov": 50}, "a path of nerfstudio's viewer"),
    ],
)
def test_files_of_cameras_that_cannot_be_used_are_refused_in_one_line(table, says, tmp_path):
    with pytest.raises(ValueError, match=says) as caught:
        read_shots(written(tmp_path, table), SCENE)
    assert "mine.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_frames_cannot_lead_out_of_the_folder(tmp_path):
    names = ["../../x.png", "a/../b.png", "c\u0000.png"]
    table = {"frames": [{"transform_matrix": EYE, "file_path": name} for name in names]}
    for shot in read_shots(written(tmp_path, table), SCENE):
        assert "/" not in shot.name
        assert shot.name.isprintable()
