"""Scenes of DTU's two layouts: the object's masks, chosen views, and poses that agree with what photos show."""

import numpy as np
import pytest
import torch
from PIL import Image

from scorereg.files.layouts.dtu import read_dtu
from scorereg.files.lens import lens_of_size
from scorereg.scenes import load_scene
from tests.files.truth import matrix, photo, poses, rotation, text, world_to_camera

pytestmark = pytest.mark.filterwarnings("ignore")  # what is told of sizes and masks; noise does not tell near and far


def dome(count):
    """World-from-camera, 3x4, of cameras that look at the origin from 3 to 3.5 away."""
    parts = []
    for i in range(count):
        turn = rotation((0.2, 1.0, 0.1 * (i % 7)), 0.3 + 0.02 * i)
        parts.append(np.concatenate([turn, -(3 + 0.5 * i / count) * turn[:, 2:]], 1))
    return parts


def scan(folder, count=9):
    """An archive of photos of noise; the object is their upper part."""
    arrays, scale = {}, np.diag([3.0, 3, 3, 1])
    for i, pose in enumerate(dome(count)):
        photo(folder / "image" / f"{i:06}.png", i)
        mask = np.zeros((16, 24), np.uint8)
        mask[:6] = 255
        photo(folder / "mask" / f"{i:03}.png")
        Image.fromarray(mask).save(folder / "mask" / f"{i:03}.png")
        world = matrix(0.5) @ world_to_camera(pose)[:3] @ np.linalg.inv(scale)
        arrays |= {f"world_mat_{i}": np.concatenate([world, [[0, 0, 0, 1]]]), f"scale_mat_{i}": scale}
    np.savez(folder / "cameras_sphere.npz", **arrays)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return scan(tmp_path_factory.mktemp("dtu"))


def test_the_object_s_masks_leave_no_pixel_out(folder):
    scene = load_scene(folder, 2)
    assert scene.masks is None
    assert scene.objects is not None
    assert scene.objects[:, :6].all()
    assert not scene.objects[:, 6:].any()
    assert "the object on 37.5% of the pixels" in scene.describe()
    assert scene.to("cpu").objects is not None


def test_a_photo_that_does_not_show_the_object(tmp_path):
    Image.new("L", (24, 16)).save(scan(tmp_path) / "mask" / "004.png")
    objects = load_scene(tmp_path, 2).objects
    assert objects.flatten(1).any(1).tolist() == [True] * 4 + [False] + [True] * 4


def test_the_object_alone_is_fitted_where_that_is_asked_for(folder):
    scene = load_scene(folder, 2, object_only=True)
    assert torch.equal(scene.masks, load_scene(folder, 2).objects)


@pytest.mark.filterwarnings("default")
def test_near_and_far_of_photos_that_tell_none(folder, tmp_path):
    """Noise matches nowhere. The unit sphere is before all cameras; in millimetres all scans have one range."""
    for path, near, far in ((folder, 3 - 1, 3 + 0.5 * 8 / 9 + 3), (texts(tmp_path), 425, 937)):
        with pytest.warns(UserWarning, match="do not tell near and far, so they are those of its layout"):
            scene = load_scene(path, 3)
        assert [scene.near / scene.scale, scene.far / scene.scale] == pytest.approx([0.9 * near, 1.1 * far], rel=1e-4)


def test_chosen_views(folder):
    scene = load_scene(folder, split=((5, 2), (0, 7)))
    assert (scene.train, scene.test) == ((5, 2), (0, 7))
    for split, says in (
        (((1, 9), ()), "names photo 9 .* there are 9 photos. Is one missing"),
        (((1, -1), ()), "names photo -1"),
        (((1, 2), (2,)), "names photo 2 .* twice"),
        (((), (2,)), "at least 1 training view"),
    ):
        with pytest.raises(ValueError, match=says):
            load_scene(folder, split=split)


def texts(tmp_path):
    for i, pose in enumerate(poses()):
        photo(tmp_path / "image" / f"rect_{i + 1:03}_3_r5000.png", i)
        photo(tmp_path / "mask" / f"{i:03}.png", i)
        Image.new("L", (24, 16), 255).save(tmp_path / "mask" / f"{i:03}.png")
        text(tmp_path / "cal18" / f"pos_{i + 1:03}.txt", matrix(0.5) @ world_to_camera(pose)[:3])
    return tmp_path


def test_text_files_with_masks_of_the_object(tmp_path):
    scene = load_scene(texts(tmp_path), 2)
    assert scene.masks is None
    assert scene.objects.all()
    assert [name[-18:-12] for name in scene.filenames[:2]] == ["ct_001", "ct_002"]


def test_photos_of_scan24_lie_on_their_epipolar_lines(data):
    """Corners matched by their looks, which know no pose; with the pose of another photo hardly one does."""
    from skimage.feature import ORB, match_descriptors

    views = read_dtu(data("dtu/scan24")).views
    found = []
    for view in views[22:24]:
        orb = ORB(n_keypoints=300)
        orb.detect_and_extract(np.asarray(Image.open(view.color).convert("L")))
        found.append((orb.keypoints[:, ::-1] + 0.5, orb.descriptors))
    pairs = match_descriptors(found[0][1], found[1][1], cross_check=True, max_ratio=0.8)
    a, b = (np.concatenate([points[pairs[:, i]], np.ones((len(pairs), 1))], 1) for i, (points, _) in enumerate(found))
    assert len(pairs) > 30
    assert _on_lines(views[22], views[23], a, b) > 0.7
    assert _on_lines(views[22], views[25], a, b) < 0.1


def _on_lines(first, second, a, b):
    """Share of pairs whose second point is within a pixel and a half of the line of the first."""
    k = []
    for lens in (lens_of_size(view.lens, 400, 300) for view in (first, second)):
        k.append(np.array([[lens.focal[0], 0, lens.center[0]], [0, lens.focal[1], lens.center[1]], [0, 0, 1]]))
    r0, r1 = first.matrix[:, :3], second.matrix[:, :3]
    x, y, z = r1.T @ (first.matrix[:, 3] - second.matrix[:, 3])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    lines = a @ (np.linalg.inv(k[1]).T @ cross @ r1.T @ r0 @ np.linalg.inv(k[0])).T
    return (np.abs((lines * b).sum(1)) / np.linalg.norm(lines[:, :2], axis=1) < 1.5).mean()
