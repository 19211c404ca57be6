"""Renders as files: their units, and what is written where something is missing."""

import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from small_scenes import ball_fit
from torch.testing import assert_close

from scorereg import _io
from scorereg.export import read_shots, render_frames, render_to_folder, resized, shots_of
from scorereg.export.image_files import KINDS, write_depth_png
from scorereg.export.shots import Shot
from scorereg.scenes.scene import SceneSource


@pytest.fixture(scope="module")
def fit():
    return ball_fit()


@pytest.fixture(scope="module")
def shots(fit):
    return resized(shots_of(fit.scene, "test")[:2], size=24)


@pytest.fixture(scope="module")
def out(fit, shots, tmp_path_factory):
    folder = tmp_path_factory.mktemp("renders")
    assert render_to_folder(fit, shots, folder, what=KINDS[:4], fps=None) == []
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_each_kind_is_in_a_folder_of_its_own(out):
    names = {"color": {"1.png", "3.png"}, "opacity": {"1.png", "3.png"}}
    names |= {"normals": {"1.png", "1.npy", "3.png", "3.npy"}}
    for kind, expected in names.items():
        assert {path.name for path in (out / kind).iterdir()} == expected
    assert {"1.png", "1.npy", "3.png", "3.npy"} <= {path.name for path in (out / "depth").iterdir()}
    assert not (out / "video.mp4").exists()


def test_the_numbers_are_those_that_were_rendered(fit, shots, out):
    frame = next(render_frames(fit, shots))
    assert_close(np.load(out / "depth" / "1.npy", allow_pickle=False), frame.depth.numpy())
    millimetres = pixels(out / "depth" / "1.png")
    assert millimetres.dtype == np.uint16
    assert np.abs(millimetres / 1000 - frame.depth.numpy()).max() <= 0.0005 + 1e-6
    assert np.abs(pixels(out / "color" / "1.png") / 255 - frame.rgb.numpy()).max() <= 0.5 / 255 + 1e-6
    assert np.abs(pixels(out / "opacity" / "1.png") / 255 - frame.opacity.numpy()).max() <= 0.5 / 255 + 1e-6
    normals = np.load(out / "normals" / "1.npy", allow_pickle=False)
    known = (normals != 0).any(-1)
    painted = pixels(out / "normals" / "1.png")
    assert np.abs(painted[known] / 255 - (normals[known] + 1) / 2).max() <= 0.5 / 255 + 1e-6
    assert not painted[~known].any()
    towards = frame.camera.origins[0].numpy() - frame.points().numpy()
    assert ((normals * towards).sum(-1)[known] > 0).all()


def test_depth_is_exr_too_where_openexr_is(out):
    openexr = pytest.importorskip("OpenEXR", reason="pip install 'scorereg[formats]'")
    with openexr.File(str(out / "depth" / "1.exr")) as file:
        assert np.array_equal(file.channels()["Z"].pixels, np.load(out / "depth" / "1.npy"))


def test_exr_takes_names_that_are_no_utf8(fit, shots, tmp_path):
    openexr = pytest.importorskip("OpenEXR", reason="pip install 'scorereg[formats]'")
    name = os.fsdecode(b"\xe9")
    render_to_folder(fit, [Shot(name, shots[0].camera)], tmp_path, what=["depth"])
    (tmp_path / "depth" / f"{name}.exr").rename(tmp_path / "plain.exr")
    with openexr.File(str(tmp_path / "plain.exr")) as file:
        assert np.array_equal(file.channels()["Z"].pixels, np.load(tmp_path / "depth" / f"{name}.npy"))


def test_without_openexr_the_rest_is_written(fit, shots, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.export.image_files.find_spec", lambda name: None)
    render_to_folder(fit, shots[:1], tmp_path, what=["depth"])
    assert sorted(path.name for path in (tmp_path / "depth").iterdir()) == ["1.npy", "1.png"]


def test_the_cameras_are_written_beside_and_render_the_same(fit, shots, out):
    again = read_shots(out / "cameras.json", fit.scene)
    assert [shot.name for shot in again] == ["1", "3"]
    for old, new in zip(render_frames(fit, shots), render_frames(fit, again), strict=True):
        assert (old.rgb - new.rgb).abs().max() < 1e-3


def test_a_video_shows_colour_beside_depth_at_the_pictures_size(fit, shots, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    assert render_to_folder(fit, shots, tmp_path, what=["color"], fps=5) == []
    command = [ffmpeg, "-v", "error", "-i", tmp_path / "video.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    video = np.frombuffer(raw, np.uint8).reshape(2, 18, 48, 3)
    frame = next(render_frames(fit, shots))
    assert np.abs(video[0, :, :24] / 255 - frame.rgb.numpy()).mean() < 0.05


def test_without_ffmpeg_the_rest_is_written_and_one_line_told(fit, shots, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    (line,) = render_to_folder(fit, shots, tmp_path, fps=5)
    assert line == "no video.mp4 was written, as there is no ffmpeg. Install it: pip install 'imageio[ffmpeg]'"
    assert len(list((tmp_path / "color").iterdir())) == 2
    assert not (tmp_path / "video.mp4").exists()


def test_pictures_of_two_sizes_make_no_video(fit, shots, tmp_path):
    (line,) = render_to_folder(fit, [shots[0], *resized(shots[1:], size=12)], tmp_path, what=["color"], fps=5)
    assert "no video.mp4 was written, as the pictures have 2 sizes. Give --size" in line


def test_depth_that_does_not_fit_into_16_bits_is_unknown_and_told(tmp_path):
    with pytest.warns(UserWarning, match=r"depth beyond 65\.535 does not fit into a 16-bit PNG, and is 0"):
        write_depth_png(np.array([[1.0, 70.0]]), tmp_path / "a.png", unit=0.001)
    assert pixels(tmp_path / "a.png").tolist() == [[1000, 0]]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"what": ["color", "colour"]},
            "--what must be some of color, depth, opacity, normals, uncertainty, but is color, colour",
        ),
        ({"what": []}, "but is empty"),
        ({"fps": 0}, "--fps must be 1 to 240"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anything_is_made(settings, says, fit, shots, tmp_path):
    with pytest.raises(ValueError, match=says):
        render_to_folder(fit, shots, tmp_path / "out", **settings)
    with pytest.raises(ValueError, match="no camera to render from"):
        render_to_folder(fit, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_run_writes_is_refused(fit, shots, tmp_path):
    with _io.hold_folder(tmp_path), pytest.raises(OSError, match="in use by another run"):
        render_to_folder(fit, shots, tmp_path)


def test_a_render_leaves_nothing_of_the_one_before_and_all_of_others(fit, shots, tmp_path):
    render_to_folder(fit, shots, tmp_path, what=["color", "normals"])
    (tmp_path / "video.mp4").write_bytes(b"")
    (tmp_path / "color" / "mine.png").write_bytes(b"")
    render_to_folder(fit, shots[:1], tmp_path, what=["color"])
    assert sorted(path.name for path in (tmp_path / "color").iterdir()) == ["1.png", "mine.png"]
    assert not list((tmp_path / "normals").iterdir())
    assert not (tmp_path / "video.mp4").exists()
    (tmp_path / "cameras.json").write_text("{")
    render_to_folder(fit, shots[:1], tmp_path, what=["color"])


def test_photos_of_the_scene_are_not_written_over(fit, shots, tmp_path):
    scene = replace(
        fit.scene, source=SceneSource(str(tmp_path), 3), filenames=tuple(f"color/{i}.png" for i in range(10))
    )
    with pytest.raises(ValueError, match="color holds photos of the scene, which could be written over"):
        render_to_folder(replace(fit, scene=scene), shots, tmp_path, what=["color"])
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_a_folder_is_named(fit, shots, tmp_path):
    (tmp_path / "color").write_bytes(b"")
    with pytest.raises(OSError, match="color cannot be written"):
        render_to_folder(fit, shots, tmp_path, what=["color"])


def test_rendering_needs_no_photos(fit, shots):
    blind = replace(fit, scene=replace(fit.scene, images=torch.full_like(fit.scene.images, torch.nan)))
    frame = next(render_frames(blind, shots))
    assert frame.rgb.isfinite().all()
