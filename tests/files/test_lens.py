import math
import pathlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from scorereg.files.lens import folding_share, is_bent, lens_of_size, undistort
from scorereg.files.plausible import odd_lenses
from scorereg.files.view import Lens

WIDTH, HEIGHT = 90, 70
PINHOLE = Lens((60.0, 62.0), (46.0, 33.0))
LENSES = {
    "brown": replace(PINHOLE, model="brown", distortion=(-0.15, 0.05, 0.004, -0.003, 0.1)),
    "barrel": replace(PINHOLE, model="brown", distortion=(0.25, 0.0, 0.0, 0.0, 0.0)),
    "rational": replace(PINHOLE, model="brown", distortion=(0.3, -0.05, 0.002, 0.001, 0.02, 0.4, 0.05, 0.01)),
    "to the eighth": replace(PINHOLE, model="brown", distortion=(*(0.0,) * 8, 0.1)),
    "fisheye": replace(PINHOLE, model="fisheye", distortion=(0.05, -0.01, 0.002, 0.001)),
    "equidistant": replace(PINHOLE, model="fisheye"),
}


def bend(lens, x, y):
    """Where a lens shows a point of the plane z = 1, written anew."""
    r = math.hypot(x, y)
    if lens.model == "fisheye":
        angle = math.atan(r)
        k = [*lens.distortion, 0, 0, 0, 0]
        s = angle + sum(k[i] * angle ** (3 + 2 * i) for i in range(4))
        return (x * s / r, y * s / r) if r else (0.0, 0.0)
    k1, k2, p1, p2, k3, k4, k5, k6, k = [*lens.distortion, 0, 0, 0, 0][:9]
    s = (1 + k1 * r**2 + k2 * r**4 + k3 * r**6 + k * r**8) / (1 + k4 * r**2 + k5 * r**4 + k6 * r**6)
    return (
        x * s + 2 * p1 * x * y + p2 * (r * r + 2 * x * x),
        y * s + p1 * (r * r + 2 * y * y) + 2 * p2 * x * y,
    )


def smooth(x, y):
    """A picture without edges as a function of direction."""
    return np.stack([np.sin(3 * x), np.cos(4 * y), x * y], -1)


def drawn(lens, function=smooth):
    """The image that the lens draws, each pixel's direction found by a fixed point."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    u, v = (columns - lens.center[0]) / lens.focal[0], (rows - lens.center[1]) / lens.focal[1]
    x, y = u.copy(), v.copy()
    moved = np.vectorize(lambda a, b: bend(lens, a, b))
    for _ in range(80):
        there = moved(x, y)
        x, y = x + 0.7 * (u - there[0]), y + 0.7 * (v - there[1])
    return torch.from_numpy(function(x, y).astype(np.float32)), function(u, v), moved(u, v)


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_a_photo_becomes_that_of_a_pinhole(lens):
    image, expected, there = drawn(lens)
    found, covered = undistort(image, lens)
    places = np.stack([there[0] * 60 + 46, there[1] * 62 + 33], -1)
    inside = ((places >= 0) & (places <= [WIDTH, HEIGHT])).all(-1)
    assert (covered.numpy() == inside).all()
    assert (found - image).abs().max() > 0.05
    sure = ((places >= 1) & (places <= [WIDTH - 1, HEIGHT - 1])).all(-1)
    assert sure.mean() > 0.6
    assert np.abs(found.numpy() - expected)[sure].max() < 3e-3


def test_pixels_that_the_lens_does_not_show_are_told():
    """A lens that enlarges towards the corners has nothing to fill them with; a fisheye covers all."""
    image = torch.rand(HEIGHT, WIDTH, 1)
    assert not undistort(image, LENSES["barrel"])[1][0, 0]
    assert undistort(image, LENSES["barrel"])[1][30:40, 40:50].all()
    assert undistort(image, LENSES["equidistant"])[1].all()


def test_a_lens_that_folds_its_image_covers_nothing_beyond_the_fold():
    """x (1 - r^2 / 2) turns back at r = sqrt(2/3)."""
    lens = Lens((30.0, 30.0), (WIDTH / 2, HEIGHT / 2), (-0.5, 0.0, 0.0, 0.0, 0.0), "brown")
    _, covered = undistort(torch.rand(HEIGHT, WIDTH, 1), lens)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    r = np.hypot(columns - WIDTH / 2, rows - HEIGHT / 2) / 30
    assert (covered.numpy() == (r < math.sqrt(2 / 3))).mean() > 0.999
    pole = replace(lens, distortion=(*(0.0,) * 5, -1.0, 0.0, 0.0))  # the denominator is 0 at r = 1
    assert not undistort(torch.rand(HEIGHT, WIDTH, 1), pole)[1].numpy()[r > 1].any()


def test_large_images_are_the_same_in_parts(monkeypatch):
    image = torch.rand(HEIGHT, WIDTH, 2)
    whole = undistort(image, LENSES["brown"])
    monkeypatch.setattr("scorereg.files.lens._BLOCK", 3 * WIDTH + 1)
    for a, b in zip(undistort(image, LENSES["brown"]), whole, strict=True):
        assert torch.equal(a, b)


def test_depth_is_never_mixed():
    depth = torch.tensor([1.0, 9.0]).repeat(HEIGHT, WIDTH // 2)[..., None]
    found, covered = undistort(depth, LENSES["barrel"], mode="nearest")
    assert set(found.unique().tolist()) == {0.0, 1.0, 9.0}
    assert set(found[..., 0][covered].unique().tolist()) == {1.0, 9.0}


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_opencv_does_the_same(lens):
    cv2 = pytest.importorskip("cv2")
    if len(lens.distortion) > 8:
        pytest.skip("OpenCV has no term of r^8")
    matrix = np.array([[60.0, 0, 45.5], [0, 62.0, 32.5], [0, 0, 1]])  # its first pixel's middle is (0, 0)
    image = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
    terms, size = np.array(lens.distortion or (0.0,) * 4), (WIDTH, HEIGHT)
    fisheye = lens.model == "fisheye"
    maps = (cv2.fisheye.initUndistortRectifyMap if fisheye else cv2.initUndistortRectifyMap)(
        matrix, terms, np.eye(3), matrix, size, cv2.CV_32FC1
    )
    expected = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    found, _ = undistort(torch.from_numpy(image), lens)
    assert np.abs(found.numpy() - expected).max() < 0.05  # OpenCV rounds places to 1/32 pixel
    assert np.abs(found.numpy() - expected).mean() < 0.005


def test_numbers_of_a_lens_follow_the_resolution():
    lens = Lens((400.0, 410.0), (330.0, 250.0), (0.1, 0.0, 0.0, 0.0, 0.0), "brown", (640.0, 480.0))
    half = lens_of_size(lens, 320, 240)
    assert half == Lens((200.0, 205.0), (165.0, 125.0), (0.1, 0.0, 0.0, 0.0, 0.0), "brown", (320.0, 240.0))
    assert lens_of_size(Lens((9.0, 9.0)), 20, 10).center == (10, 5)
    assert lens_of_size(Lens((9.0, 9.0), (1.0, 2.0)), 20, 10).focal == (9.0, 9.0)


def test_a_pinhole_needs_nothing():
    assert not is_bent(PINHOLE)
    assert not is_bent(replace(PINHOLE, model="brown", distortion=(0.0,) * 5))
    assert all(is_bent(lens) for lens in LENSES.values())
    image = torch.rand(HEIGHT, WIDTH, 3)
    same, covered = undistort(image, replace(PINHOLE, model="brown", distortion=(0.0,) * 5))
    assert covered.all()
    assert_close(same, image, rtol=0, atol=1e-4)


def test_a_lens_that_folds_within_its_photo_is_odd():
    file = pathlib.Path("a.png")
    falls = (-1.0, 0.0, 0.0, 0.0, 0.0)  # r (1 - r^2) does, from 0.577 on
    bent = Lens((100.0, 100.0), (80.0, 60.0), falls, "brown", (160.0, 120.0))
    (said,) = odd_lenses([(file, bent)])
    assert "folds the image back from 58 % of the way" in str(said)  # the corner is at radius 1
    assert odd_lenses([(file, replace(bent, distortion=(-0.3, 0.1, 0.0, 0.0, 0.0)))]) == []
    assert folding_share(bent, 160.0, 120.0) == pytest.approx(3**-0.5, abs=1e-3)
