"""DTU's projections in archives and text files, and MVSNet's cameras, as views."""

import numpy as np
import pytest

from scorereg.files.layouts import layout_of
from scorereg.files.layouts.dtu import read_dtu
from scorereg.files.layouts.dtu_texts import read_projections
from scorereg.files.layouts.mvsnet import read_mvsnet
from scorereg.files.layouts.projection import decompose
from tests.conftest import DATA
from tests.files.truth import CENTER, FOCAL, HEIGHT, WIDTH, check, matrix, photo, poses, text, world_to_camera

SCALE = np.array([[3.0, 0, 0, 5], [0, 3, 0, -2], [0, 0, 3, 1], [0, 0, 0, 1]])


def archive(folder, name="cameras_sphere.npz", count=4, camera=None):
    """A normalised scene: `world_mat` projects millimetres, `scale_mat` brings the scene to them."""
    camera = matrix(0.5) if camera is None else camera
    arrays = {}
    for i, pose in enumerate(poses(count)):
        photo(folder / "image" / f"{i:06}.png", i)
        photo(folder / "mask" / f"{i:03}.png", i)
        world = np.eye(4)
        world[:3] = camera @ world_to_camera(pose)[:3] @ np.linalg.inv(SCALE)
        arrays |= {f"world_mat_{i}": world * (-1) ** i, f"scale_mat_{i}": SCALE}
        arrays |= {f"world_mat_inv_{i}": np.linalg.inv(world)}
    np.savez(folder / name, **arrays)
    return folder


@pytest.mark.parametrize("name", ["cameras_sphere.npz", "cameras.npz", "cameras_large.npz"])
def test_matrices_of_an_archive(tmp_path, name):
    folder = archive(tmp_path, name)
    assert layout_of(folder) is read_dtu
    listing = read_dtu(folder)
    check(listing)
    assert [view.object_mask.name for view in listing.views] == ["000.png", "001.png", "002.png", "003.png"]
    assert [view.mask for view in listing.views] == [None] * 4
    assert "its masks are those of the object" in listing.said[-1]
    assert listing.views[0].lens.size == (WIDTH, HEIGHT)


def test_photos_smaller_than_the_cameras_are_told(tmp_path):
    """DTU's cameras are for 1600x1200, and many copies of the photos are not."""
    camera = np.array([[2892.0, 0, 823.2], [0, 2883.0, 619.07], [0, 0, 1]])
    folder = archive(tmp_path, camera=camera)
    for i in range(4):
        photo(folder / "image" / f"{i:06}.png", i, (40, 30))
    listing = read_dtu(folder)
    assert listing.views[0].lens.size == (1600.0, 1200.0)
    np.testing.assert_allclose(listing.views[0].lens.focal, (2892, 2883))
    np.testing.assert_allclose(listing.views[0].lens.center, (823.7, 619.57))
    assert "for 1600x1200 pixels, scaled to photos of 40x30" in listing.said[0]


def test_cameras_for_another_size_are_refused(tmp_path):
    folder = archive(tmp_path, camera=np.array([[200.0, 0, 61], [0, 200.0, 40], [0, 0, 1]]))
    with pytest.raises(ValueError, match=r"center is \(61, 40\), not near the middle of photos of 24x16 pixels"):
        read_dtu(folder)


def test_a_missing_matrix_or_photo_is_refused(tmp_path):
    folder = archive(tmp_path)
    (folder / "image" / "000003.png").unlink()
    with pytest.raises(ValueError, match=r"has 4 cameras \(world_mat_0, world_mat_1, ...\) for the 3 photos"):
        read_dtu(folder)


def rewrite(folder, change):
    """Change the arrays of an archive."""
    arrays = dict(np.load(folder / "cameras_sphere.npz"))
    change(arrays)
    np.savez(folder / "cameras_sphere.npz", **arrays)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.pop("scale_mat_2"), "has no scale_mat_2, but others"),
        (lambda a: a.update(scale_mat_2=2 * SCALE), "scale_mat_2 differs from scale_mat_0"),
        (lambda a: a.update(scale_mat_2=np.eye(4, dtype=int)), "must be 4x4 floats"),
        (lambda a: a.update(scale_mat_2=np.full((4, 4), "x")), "must be 4x4 floats"),
    ],
)
def test_a_scene_with_two_scales_is_refused(tmp_path, change, says):
    folder = archive(tmp_path)
    rewrite(folder, change)
    with pytest.raises(ValueError, match=says) as error:
        read_dtu(folder)
    assert "\n" not in str(error.value)


def test_cameras_that_are_left_out_are_those_of_photos_that_are(tmp_path):
    folder = archive(tmp_path)
    rewrite(folder, lambda arrays: [arrays.pop(f"{kind}_mat_1") for kind in ("world", "scale")])
    (folder / "image" / "000003.png").unlink()
    with pytest.raises(ValueError, match=r"has no world_mat_1, and its other cameras are not numbered as the photos"):
        read_dtu(folder)
    (folder / "image" / "000001.png").rename(folder / "image" / "000003.png")
    names = [view.color.name for view in read_dtu(folder).views]
    assert names == ["000000.png", "000002.png", "000003.png"]


@pytest.mark.parametrize("world", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(4, dtype=int), np.eye(3)])
def test_damaged_matrices_are_one_line(tmp_path, world):
    folder = archive(tmp_path, count=1)
    np.savez(folder / "cameras_sphere.npz", world_mat_0=world, scale_mat_0=np.eye(4))
    with pytest.raises(ValueError, match=r"cameras_sphere.npz") as error:
        read_dtu(folder)
    assert "\n" not in str(error.value)


def test_no_archive_at_all(tmp_path):
    folder = archive(tmp_path)
    (folder / "cameras_sphere.npz").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ValueError, match="cameras_sphere.npz is no NumPy archive"):
        read_dtu(folder)


def test_a_projection_of_any_scale_is_taken_apart():
    for scale in (1.0, -1.0, 7.5, -1e-4):
        for pose in poses():
            camera, found = decompose(scale * matrix() @ world_to_camera(pose)[:3], "x")
            np.testing.assert_allclose(camera, matrix(), atol=1e-9)
            np.testing.assert_allclose(np.array(found).reshape(3, 4), pose, atol=1e-9)


def test_skewed_pixels_are_refused():
    skewed = matrix() + np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])
    with pytest.raises(ValueError, match="the pixels of this camera are skewed by 1"):
        decompose(skewed @ world_to_camera(poses()[0])[:3], "x")


@pytest.mark.parametrize("where", [".", "cal18", "Calibration/cal18"])
def test_text_files_of_projections(tmp_path, where):
    for i, pose in enumerate(poses()):
        for light in (0, 3, 6):
            photo(tmp_path / f"rect_{i + 1:03}_{light}_r5000.png", i)
        text(tmp_path / where / f"pos_{i + 1:03}.txt", matrix(0.5) @ world_to_camera(pose)[:3])
    assert layout_of(tmp_path) is read_projections
    listing = read_projections(tmp_path)
    check(listing)
    assert listing.views[0].color.name == "rect_001_3_r5000.png"
    assert "several photos of a view; rect_001_3_r5000.png and its like are read" in listing.said[0]


def test_text_files_count_from_1_and_photos_from_0(tmp_path):
    for i, pose in enumerate(poses()):
        photo(tmp_path / "images" / f"{i:06}.png", i)
        text(tmp_path / f"pos_{i + 1:03}.txt", matrix(0.5) @ world_to_camera(pose)[:3])
    listing = read_projections(tmp_path)
    check(listing)
    assert "photos begin with number 0, pos_*.txt with 1; they are paired in order" in listing.said[0]


@pytest.mark.parametrize(
    "masks", ["idrmasks/scan7/mask", "idrmasks/scan7", "masks/scan7", "Rectified/scan7/mask", None]
)
def test_scans_as_they_are_distributed(tmp_path, masks):
    """The scans in Rectified/, the cameras of all of them in Calibration/cal18/, 64 for the 49 photos of most."""
    for i, pose in enumerate(poses(6)):
        text(tmp_path / "Calibration" / "cal18" / f"pos_{i + 1:03}.txt", matrix(0.5) @ world_to_camera(pose)[:3])
    scan = tmp_path / "Rectified" / "scan7"
    for i in range(4):
        photo(scan / f"rect_{i + 1:03}_3_r5000.png", i)
        photo(scan / f"rect_{i + 1:03}_max.png", i)
        if masks and i < 3:  # 49 masks of 64 photos
            photo(tmp_path / masks / f"{i:03}.png", i)
    assert layout_of(scan) is read_projections
    listing = read_projections(scan)
    check(listing)
    assert listing.likely == (425, 937)
    found = [view.object_mask.name if view.object_mask else None for view in listing.views]
    assert found == (["000.png", "001.png", "002.png", None] if masks else [None] * 4)
    assert layout_of(tmp_path / "Rectified") is None


def test_masks_that_belong_to_no_photo_are_told(tmp_path):
    folder = archive(tmp_path)
    for name in ("000.png", "001.png"):
        (folder / "mask" / name).rename(folder / "mask" / f"{name[:-4]}x7.png".replace("00", "9"))
    (folder / "mask" / "002.png").unlink()
    listing = read_dtu(folder)
    assert [view.object_mask for view in listing.views] == [None] * 4
    assert any("its 3 masks are not used, as their names do not agree" in line for line in listing.said)


def test_matrices_with_leading_zeros(tmp_path):
    folder = archive(tmp_path)
    rewrite(folder, lambda a: a.update({f"{kind}_mat_00": a.pop(f"{kind}_mat_0") for kind in ("world", "scale")}))
    check(read_dtu(folder))
    rewrite(folder, lambda a: a.update(world_mat_0=a["world_mat_00"]))
    with pytest.raises(ValueError, match="has world_mat_0 twice"):
        read_dtu(folder)


def mvsnet(folder, photos="images", tail="2.5 0.1 11 3.5", camera=None):
    for i, pose in enumerate(poses()):
        photo(folder / photos / f"{i:08}.jpg", i)
        rows = [world_to_camera(pose), matrix(0.5) if camera is None else camera]
        words = ["extrinsic", *(" ".join(map(repr, row.tolist())) for row in rows[0]), "", "intrinsic"]
        words += [" ".join(map(repr, row.tolist())) for row in rows[1]] + ["", tail, ""]
        (folder / "cams").mkdir(exist_ok=True)
        (folder / "cams" / f"{i:08}_cam.txt").write_text("\n".join(words))
    return folder


@pytest.mark.parametrize("photos", ["images", "blended_images"])
def test_cameras_of_mvsnet(tmp_path, photos):
    folder = mvsnet(tmp_path, photos)
    photo(folder / photos / "00000000_masked.jpg")
    assert layout_of(folder) is read_mvsnet
    listing = read_mvsnet(folder)
    check(listing)
    assert listing.views[0].bounds == (2.5, 3.5)


@pytest.mark.parametrize(("tail", "bounds"), [("425 2.5", (425, 902.5)), ("425.0 2.5 11", (425, 450)), ("", None)])
def test_depths_of_mvsnet(tmp_path, tail, bounds):
    assert read_mvsnet(mvsnet(tmp_path, tail=tail)).views[0].bounds == bounds


def test_training_cameras_of_mvsnet_are_for_a_quarter(tmp_path):
    small = matrix(0.5) / 4
    small[2, 2] = 1
    listing = read_mvsnet(mvsnet(tmp_path, camera=small))
    assert listing.views[0].lens.size == (WIDTH / 4, HEIGHT / 4)
    np.testing.assert_allclose(listing.views[0].lens.focal, np.array(FOCAL) / 4)
    np.testing.assert_allclose(listing.views[0].lens.center, (np.array(CENTER) - 0.5) / 4 + 0.5)


@pytest.mark.parametrize("content", ["", "extrinsic\n1 2 3", "intrinsic\n" + "1 " * 9, "extrinsic x"])
def test_damaged_cameras_of_mvsnet_are_one_line(tmp_path, content):
    folder = mvsnet(tmp_path)
    (folder / "cams" / "00000002_cam.txt").write_text(content)
    with pytest.raises(ValueError, match=r"00000002_cam.txt must hold `extrinsic` with 16 numbers") as error:
        read_mvsnet(folder)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not (DATA / "dtu" / "scan24").is_dir(), reason=f"needs {DATA / 'dtu' / 'scan24'}")
def test_masks_of_scan24_meet_in_space():
    """The body that the masks of some photos carve out of the unit sphere lies within the masks of the others."""
    from PIL import Image

    listing = read_dtu(DATA / "dtu" / "scan24")
    assert len(listing.views) == 49
    axis = np.linspace(-1, 1, 24)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    points = points[np.linalg.norm(points, axis=1) < 1]

    def seen(view):
        """Whether points lie in a photo, and whether in its mask."""
        mask = np.asarray(Image.open(view.object_mask).convert("L")) > 127
        local = (points - view.matrix[:, 3]) @ view.matrix[:, :3]
        pixel = (view.lens.focal * local[:, :2] / local[:, 2:] + view.lens.center) * (400 / 1600)
        inside = (local[:, 2] > 0) & ((pixel >= 0) & (pixel < mask.shape[::-1])).all(1)
        column, row = np.clip(pixel, 0, np.array(mask.shape[::-1]) - 1).astype(int).T
        return inside, mask[row, column]

    for view in listing.views[::2]:
        inside, masked = seen(view)
        points = points[~inside | masked]
    assert len(points) > 100
    inside, masked = (np.concatenate(part) for part in zip(*map(seen, listing.views[1::2]), strict=True))
    assert masked[inside].mean() > 0.98
