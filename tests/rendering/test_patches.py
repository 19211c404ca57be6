import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from scorereg.cameras import Cameras, rotation_matrix
from scorereg.rendering.patches import PatchSampler
from scorereg.scenes import load_scene

WIDTH, HEIGHT = 96, 72


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def cameras():
    pose = torch.cat([rotation_matrix(0.4 * torch.randn(3, 3)), torch.randn(3, 3, 1)], -1)
    focal = torch.tensor([[70.0, 80.0], [110.0, 100.0], [200.0, 200.0]])
    return Cameras(pose, focal, torch.tensor([[47.0, 37.0], [48.0, 36.0], [50.0, 35.0]]), WIDTH, HEIGHT)


@pytest.fixture
def images():
    """Smooth functions of the pixel position, another one in each photo."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([smooth(torch.stack([x, y], -1), i) for i in range(3)])


def smooth(pixel, seed):
    x, y = (pixel / torch.tensor([WIDTH, HEIGHT])).unbind(-1)
    return torch.stack([0.3 + 0.2 * (seed + 1) * x, 0.8 - 0.6 * y, 0.5 + 0.3 * (3 * x + y + seed).sin()], -1)


def positions(patches, cameras):
    """Where the rays of known patches meet their photo."""
    index = patches.camera[:, None, None].expand(patches.rays.shape)
    return cameras.project(patches.rays.points(torch.ones(*patches.rays.shape, 1))[..., 0, :], index)[0]


def turned(patches, cameras):
    """The camera-from-base rotation and shift of each patch, from its rays alone."""
    base = cameras.pose[patches.camera]
    shift = (base[..., :3].mT @ (patches.rays.origins[:, 0, 0] - base[..., 3])[..., None])[..., 0]
    p = patches.rays.shape[1]
    corner = patches.rays.directions[:, [0, 0, p - 1], [0, p - 1, 0]]  # b 3 xyz
    return shift, corner


def test_known_patches_are_the_photo_at_their_rays(cameras, images):
    sampler = PatchSampler(cameras, images, size=8, photo_fraction=1.0)
    patches = sampler.sample(200, generator())
    pixel = positions(patches, cameras)
    for i in range(3):
        mine = patches.camera == i
        expected = smooth(pixel[mine], i).permute(0, 3, 1, 2)
        # a mean over the footprint differs from the middle by the curvature; within half a pixel of the border the
        # bilinear photo is constant
        assert_close(patches.photo[mine], expected, rtol=0, atol=4e-3)
    assert patches.from_photo.all()
    assert_close(patches.rays.origins, cameras.origins[patches.camera][:, None, None].expand(200, 8, 8, 3))


def test_a_patch_over_the_whole_photo_is_its_block_mean():
    photo = torch.rand(1, 24, 24, 3)
    camera = Cameras(torch.eye(3, 4)[None], torch.full((1, 2), 30.0), torch.full((1, 2), 12.0), 24, 24)
    sampler = PatchSampler(camera, photo, size=8, focal=10.0, photo_fraction=1.0)
    patches = sampler.sample(2, generator())
    blocks = photo[0].reshape(8, 3, 8, 3, 3).mean((1, 3)).permute(2, 0, 1)
    assert_close(patches.photo, blocks.expand(2, 3, 8, 8), rtol=0, atol=1e-5)
    middle = torch.arange(8) * 3 + 1.5
    assert_close(positions(patches, camera)[0, 5, :, 0], middle)
    assert_close(positions(patches, camera)[0, :, 5, 1], middle)


def test_a_patch_finer_than_the_photo_is_bilinear():
    photo = torch.rand(1, 16, 20, 3)
    camera = Cameras(torch.eye(3, 4)[None], torch.full((1, 2), 30.0), torch.tensor([[10.0, 8.0]]), 20, 16)
    sampler = PatchSampler(camera, photo, size=6, focal=90.0, photo_fraction=1.0)
    patches = sampler.sample(20, generator())
    pixel = positions(patches, camera)
    grid = 2 * pixel / torch.tensor([20.0, 16.0]) - 1
    image = photo.permute(0, 3, 1, 2).expand(20, -1, -1, -1)
    expected = torch.nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
    inner = ((pixel > 0.5) & (pixel < torch.tensor([19.5, 15.5]))).all(-1)[:, None].expand_as(expected)
    assert_close(patches.photo[inner], expected[inner], rtol=0, atol=1e-5)


def test_photos_are_gathered_by_the_kernel_where_it_runs(cameras, images, monkeypatch):
    pytest.importorskip("triton")
    sampler = PatchSampler(cameras, images, size=8, focal=(60.0, 180.0), photo_fraction=0.5)
    plain = sampler.sample(4, generator(1))
    monkeypatch.setenv("SCOREREG_OPS", "triton")
    monkeypatch.setattr("scorereg.ops._gather_patches.eager._Windows", None)
    by_kernel = sampler.sample(4, generator(1))
    assert 0 < plain.from_photo.sum() < 4
    assert_close(by_kernel.photo, plain.photo, rtol=0, atol=1e-6)


@pytest.mark.parametrize("photo_fraction", [0.0, 1.0])
def test_a_patchs_camera_sees_its_rays(cameras, images, photo_fraction):
    patches = PatchSampler(cameras, images, size=6, photo_fraction=photo_fraction).sample(20, generator())
    assert (patches.cameras.width, patches.cameras.height) == (6, 6)
    for k in range(20):
        rays = patches.cameras.image_rays(k)
        assert_close(rays.origins, patches.rays.origins[k])
        assert_close(rays.directions, patches.rays.directions[k])


@pytest.mark.parametrize("size", [1, 8, 24])
def test_whole_patches_lie_inside_the_photo_and_reach_its_corners(cameras, images, size):
    patches = PatchSampler(cameras, images, size=size, photo_fraction=1.0, focal=(40.0, 180.0)).sample(
        3000, generator()
    )
    pixel = positions(patches, cameras)
    half = cameras.focal[patches.camera] / patches.focal[:, None] / 2
    low, high = pixel.amin((1, 2)) - half, pixel.amax((1, 2)) + half
    size_of_photo = torch.tensor([WIDTH, HEIGHT])
    assert (low > -1e-3).all()
    assert (high < size_of_photo + 1e-3).all()
    assert (low.amin(0) < 0.03 * size_of_photo).all()
    assert (high.amax(0) > 0.97 * size_of_photo).all()


def test_places_are_uniform_over_what_fits(cameras, images):
    sampler = PatchSampler(cameras, images, size=8, focal=100.0, photo_fraction=1.0)
    patches = sampler.sample(4000, generator())
    mine = patches.camera == 0
    room = torch.tensor([WIDTH, HEIGHT]) - 8 * cameras.focal[0] / 100
    place = (positions(patches, cameras)[mine].mean((1, 2)) - 4 * cameras.focal[0] / 100) / room
    assert_close(place.mean(0), torch.full((2,), 0.5), rtol=0, atol=0.03)
    assert_close(place.var(0), torch.full((2,), 1 / 12), rtol=0, atol=0.008)


def test_focal_lengths_are_log_uniform_and_pixels_as_far_apart_as_they_say(cameras, images):
    patches = PatchSampler(cameras, images, size=8, focal=(80.0, 180.0)).sample(4000, generator())
    share = (patches.focal / 80).log() / math.log(180 / 80)
    assert 0 <= share.min() < 0.01
    assert 0.99 < share.max() <= 1
    assert share.mean().item() == pytest.approx(0.5, abs=0.02)
    known = patches.from_photo
    step = positions(patches, cameras)[known, 0].diff(dim=1)[..., 0]
    pitch = cameras.focal[patches.camera, 0] / patches.focal
    assert_close(step, pitch[known, None].expand_as(step), rtol=0, atol=2e-3)


def test_focal_lengths_that_do_not_fit_are_not_drawn(cameras, images):
    patches = PatchSampler(cameras, images, size=48, focal=(50.0, 140.0)).sample(1000, generator())
    least = 48 * torch.tensor([80 / 72, 110 / 96, 200 / 72]).float()
    least[1] = 48 * 100 / 72
    for i in range(3):
        focal = patches.focal[patches.camera == i]
        assert focal.min() >= least[i] - 1e-3
        assert focal.min() < 1.02 * least[i]
        assert focal.max() > 0.98 * 140


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_share_of_known_patches(cameras, images, share):
    patches = PatchSampler(cameras, images, size=4, photo_fraction=share).sample(4000, generator())
    found = patches.from_photo.float().mean().item()
    assert found == share if share in (0, 1) else found == pytest.approx(share, abs=0.03)
    assert not patches.photo[~patches.from_photo].any()


def test_shifts_fill_a_cube_in_the_cameras_axes(cameras, images):
    sampler = PatchSampler(cameras, images, size=4, translation=0.5, rotation=0.0, photo_fraction=0.0)
    patches = sampler.sample(4000, generator())
    shift, _ = turned(patches, cameras)
    assert shift.abs().max() <= 0.5 + 1e-5
    assert (shift.abs().amax(0) > 0.49).all()
    assert_close(shift.mean(0), torch.zeros(3), rtol=0, atol=0.02)
    assert_close(shift.square().mean(0), torch.full((3,), 0.25 / 3), rtol=0, atol=0.005)
    assert_close(patches.rays.origins, patches.rays.origins[:, :1, :1].expand(-1, 4, 4, -1))


def test_turns_have_uniform_angles_and_never_exceed_the_named_one(cameras, images):
    one = cameras[0]
    camera = Cameras(torch.eye(3, 4)[None], one.focal, one.center, WIDTH, HEIGHT)
    sampler = PatchSampler(camera, images[:1], size=4, translation=0.0, rotation=0.7, photo_fraction=0.0)
    pose = sampler._moved(torch.zeros(5000, dtype=torch.long), draw_of(generator()))
    trace = pose[:, :, :3].diagonal(dim1=1, dim2=2).sum(-1)
    angle = ((trace - 1) / 2).clamp(-1, 1).acos()
    assert 0.69 < angle.max() <= 0.7 + 1e-3
    assert angle.mean().item() == pytest.approx(0.35, abs=0.01)
    axis = torch.stack(
        [pose[:, 2, 1] - pose[:, 1, 2], pose[:, 0, 2] - pose[:, 2, 0], pose[:, 1, 0] - pose[:, 0, 1]], -1
    )
    axis = torch.nn.functional.normalize(axis[angle > 0.05], dim=-1)
    assert_close(axis.mean(0), torch.zeros(3), rtol=0, atol=0.03)
    assert_close(axis.T @ axis / len(axis), torch.eye(3) / 3, rtol=0, atol=0.02)
    assert_close(pose[:, :, 3], torch.zeros(5000, 3))


def draw_of(source):
    from scorereg.rendering.patches import _Draw

    return _Draw(source, torch.device("cpu"))


def test_rays_turn_with_the_camera_and_keep_planar_depth(cameras, images):
    """Angles between a patch's rays are those in its base camera; some unit forward axis sees depth 1 everywhere."""
    patches = PatchSampler(cameras, images, size=6, photo_fraction=0.0, rotation=0.5).sample(50, generator())
    directions = patches.rays.directions.flatten(1, 2).double()
    forward = torch.linalg.lstsq(directions, torch.ones(50, 36, 1).double()).solution[..., 0]
    assert_close(directions @ forward[..., None], torch.ones(50, 36, 1).double(), rtol=0, atol=1e-4)
    assert_close(forward.norm(dim=-1), torch.ones(50).double(), rtol=0, atol=2e-3)
    turn = (forward.float() * cameras.pose[patches.camera][..., 2]).sum(-1).clamp(-1, 1).acos()
    assert 0.1 < turn.max() <= 0.5 + 2e-3


def test_poses_between_cameras(cameras, images):
    sampler = PatchSampler(
        cameras, images, size=4, translation=0.0, rotation=0.0, photo_fraction=0.5, interpolate=1.0, focal=100.0
    )
    patches = sampler.sample(600, generator())
    origin = patches.rays.origins[:, 0, 0]
    base = cameras.origins[patches.camera]
    assert_close(origin[patches.from_photo], base[patches.from_photo])
    free = origin[~patches.from_photo]
    ends = cameras.origins
    gaps = []
    for i in range(3):
        for j in range(3):
            along = ends[j] - ends[i]
            t = ((free - ends[i]) @ along / along.square().sum().clamp_min(1e-9)).clamp(0, 1)
            gaps.append((ends[i] + t[:, None] * along - free).norm(dim=-1))
    assert torch.stack(gaps).amin(0).max() < 1e-4  # on an edge of the triangle of cameras
    assert ((free[:, None] - ends).norm(dim=-1).amin(1) > 0.05).float().mean() > 0.3  # and not at its corners


def test_every_camera_is_drawn_equally(cameras, images):
    patches = PatchSampler(cameras, images, size=4).sample(3000, generator())
    assert_close(patches.camera.bincount(minlength=3) / 3000, torch.full((3,), 1 / 3), rtol=0, atol=0.03)


def test_a_seed_repeats_and_shapes_are_as_named(cameras, images):
    sampler = PatchSampler(cameras, images, size=24, focal=(100.0, 180.0))
    a, b, c = (sampler.sample(7, generator(s)) for s in (1, 1, 2))
    assert a.rays.shape == (7, 24, 24)
    assert a.photo.shape == (7, 3, 24, 24)
    assert len(a) == 7
    assert torch.equal(a.rays.directions, b.rays.directions)
    assert torch.equal(a.photo, b.photo)
    assert not torch.equal(a.rays.directions, c.rays.directions)


def test_known_photos_agree_with_a_neighbouring_view_by_depth(data):
    """A patch of a real room, warped by the true depth, finds its own colours in another photo."""
    scene = load_scene(data("rooms-eval") / "room-01001")
    assert scene.depth is not None
    a, b = scene.train[0], scene.train[1]
    sampler = PatchSampler(scene.cameras[a], scene.images[a][None], photo_fraction=1.0)
    patches = sampler.sample(100, generator())
    pixel = positions(patches, scene.cameras[a])
    x, y = pixel.floor().long().unbind(-1)
    points = patches.rays.points(scene.depth[a][y, x][..., None])[..., 0, :]
    there, z = scene.cameras.project(points, torch.full(x.shape, b))
    inside = ((there > 1) & (there < torch.tensor([319.0, 239.0]))).all(-1)
    u, v = torch.where(inside[..., None], there, 1.0).floor().long().unbind(-1)
    visible = inside & ((scene.depth[b][v, u] - z).abs() < 0.02 * z)
    photo = patches.photo.permute(0, 2, 3, 1)
    error = (scene.images[b][v, u] - photo).abs().mean(-1)[visible].mean()
    still = (scene.images[b][y, x] - photo).abs().mean(-1)[visible].mean()
    assert visible.float().mean() > 0.3
    assert error < 0.35 * still


@pytest.mark.parametrize("focal", [(20.0, 40.0), (80.0, 180.0)], ids=["coarse", "fine"])
def test_no_pixel_is_shown_whose_footprint_touches_a_masked_one(cameras, images, focal):
    masks = torch.rand(3, HEIGHT, WIDTH, generator=generator(5)) > 0.01
    settings = {"size": 6, "focal": (max(focal[0], 17.0), focal[1]), "photo_fraction": 0.7}
    cameras = replace(cameras, focal=torch.full((3, 2), 70.0))
    plain = PatchSampler(cameras, images, **settings).sample(40, generator())
    spoilt = torch.where(masks[..., None], images, torch.nan)
    patches = PatchSampler(cameras, spoilt, masks=masks, **settings).sample(40, generator())
    pixel, pitch = positions(patches, cameras), 70.0 / patches.focal
    expected = torch.zeros_like(patches.shown)
    for k in range(40):  # every footprint by itself: at least one pixel wide, cut off at the border
        half = max(float(pitch[k]), 1.0) / 2
        for i in range(6):
            for j in range(6):
                x, y = pixel[k, i, j].tolist()
                rows, columns = (
                    slice(max(math.floor(y - half + 1e-3), 0), math.ceil(y + half - 1e-3)),
                    slice(max(math.floor(x - half + 1e-3), 0), math.ceil(x + half - 1e-3)),
                )
                expected[k, i, j] = patches.from_photo[k] & masks[patches.camera[k], rows, columns].all()
    assert torch.equal(patches.shown, expected)
    assert 0.1 < patches.shown.float().mean() < 0.7
    assert torch.equal(patches.from_photo, plain.from_photo)
    shown = patches.shown[:, None].expand_as(patches.photo)
    assert_close(patches.photo[shown], plain.photo[shown], rtol=0, atol=1e-5)
    assert torch.equal(plain.shown, plain.from_photo[:, None, None].expand_as(plain.shown))
    assert patches.depth is None


def test_measured_depth_is_that_of_the_pixel_in_which_a_ray_lies(cameras, images):
    depth = 1 + torch.rand(3, HEIGHT, WIDTH, generator=generator(5))
    masks = torch.ones_like(depth, dtype=torch.bool)
    masks[:, :, : WIDTH // 2] = False
    settings = {"size": 6, "focal": (60.0, 180.0), "photo_fraction": 0.7, "depth": depth}
    patches = PatchSampler(cameras, images, masks=masks, **settings).sample(50, generator())
    column, row = positions(patches, cameras).floor().long().unbind(-1)
    expected = depth[patches.camera[:, None, None], row.clamp(0, HEIGHT - 1), column.clamp(0, WIDTH - 1)]
    known = patches.depth > 0
    assert torch.equal(known, patches.shown)
    assert 0.1 < known.float().mean() < 0.6
    assert (patches.depth[known] == expected[known]).float().mean() > 0.999  # the rest lies on a pixel's edge


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"size": 0}, "size >= 1 and 0 < focal low <= high; got size=0"),
        ({"focal": (180.0, 80.0)}, r"0 < focal low <= high; got size=24, focal=\(180.0, 80.0\)"),
        ({"focal": 0.0}, "0 < focal low"),
        ({"translation": -0.1}, "translation of at least 0 metres .* got -0.1"),
        ({"rotation": 4.0}, "rotation of 0 to pi radians; got 0.2 and 4.0"),
        ({"photo_fraction": 1.1}, r"probabilities in \[0, 1\]; got 1.1"),
        ({"interpolate": math.nan}, "probabilities"),
        ({"size": 72}, "a patch of 72 pixels needs a focal length of at least 200 px to fit .* at most 180"),
        (
            {"masks": torch.ones(3, WIDTH, HEIGHT) > 0},
            r"masks of shape \(3, 96, 72\) for cameras that expect \(3, 72, 96\)",
        ),
        ({"depth": torch.ones(2, HEIGHT, WIDTH)}, r"depth of shape .* for example scene.depth\[list\(scene.train\)\]"),
        ({"images": torch.zeros(2, HEIGHT, WIDTH, 3)}, r"images of shape \(2, 72, 96, 3\) .* expect \(3, 72, 96, 3\)"),
    ],
)
def test_mistakes_are_named(cameras, images, change, match):
    arguments = {"images": images, **change}
    with pytest.raises(ValueError, match=match):
        PatchSampler(cameras, arguments.pop("images"), **arguments)


@pytest.mark.usefixtures("as_user")
def test_empty_sets_are_named(cameras, images):
    with pytest.raises(ValueError, match="at least one camera"):
        PatchSampler(cameras[[]], images[:0])
    with pytest.raises(ValueError, match="count=0"):
        PatchSampler(cameras, images).sample(0)
