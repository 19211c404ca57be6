"""Cameras of the browser, the pace of rendering, pictures in pieces, the thread that draws, and a prior's score."""

import math
import time
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from scorereg.cameras import Cameras, rotation_matrix
from scorereg.priors import PriorCard
from scorereg.transforms import RGBD
from scorereg.viewer import PriorLens
from scorereg.viewer.camera import browser_camera, fov_of, quaternion_of, rotation_of, smaller, up_of, window_around
from scorereg.viewer.canvas import Wanted, draw
from scorereg.viewer.layers import LAYERS, Maps
from scorereg.viewer.loop import RenderLoop
from scorereg.viewer.pace import Pace
from scorereg.viewer.parts import frustum_size, start_of
from tests.viewer.walls import Wall, scene


def handle(rotation=None, *, position=(0.0, 0.0, 0.0), fov=math.pi / 2, aspect=2.0):
    wxyz = (1.0, 0.0, 0.0, 0.0) if rotation is None else quaternion_of(rotation)
    return SimpleNamespace(wxyz=wxyz, position=position, fov=fov, aspect=aspect)


def test_quaternions_are_rotations_and_back():
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    turns = torch.cat([rotation_matrix(2 * vectors), rotation_matrix(math.pi * torch.eye(3)), torch.eye(3)[None]])
    for turn in turns:
        w, x, y, z = quaternion_of(turn)
        assert w >= 0
        assert w * w + x * x + y * y + z * z == pytest.approx(1)
        assert_close(rotation_of((2 * w, 2 * x, 2 * y, 2 * z)), turn, atol=1e-5, rtol=0)


def test_a_browsers_camera_shows_what_its_field_of_view_says():
    turn = rotation_matrix(torch.tensor([0.3, -0.5, 0.2]))
    camera = browser_camera(handle(turn, position=(1.0, 2.0, 3.0)), 64)
    assert (camera.width, camera.height) == (64, 32)
    rays = camera.image_rays(0)
    assert_close(rays.origins[0, 0], torch.tensor([1.0, 2.0, 3.0]))
    up = rays.directions[0, 0] + (rays.directions[0, 0] - rays.directions[1, 0]) / 2  # the upper edge
    local = turn.T @ up
    assert local[1].item() == pytest.approx(-1, abs=1e-5), "half of 90 degrees upwards, y down"
    assert local[2].item() == pytest.approx(1, abs=1e-5)
    assert fov_of(camera) == pytest.approx(math.pi / 2)
    tall = browser_camera(handle(aspect=0.5), 64)
    assert (tall.width, tall.height) == (32, 64)
    half = smaller(camera, 4)
    assert (half.width, half.height) == (16, 8)
    assert_close(half.image_rays(0).directions.mean((0, 1)), rays.directions.mean((0, 1)))


def test_the_window_around_a_place_looks_there():
    camera = browser_camera(handle(), 64)
    window = window_around(camera, (0.75, 0.25), size=8, focal=200.0)
    middle = window.image_rays(0).directions.mean((0, 1))
    whole = camera.rays(torch.tensor([0]), torch.tensor([[48.0, 8.0]])).directions[0]
    assert_close(middle, whole, atol=1e-5, rtol=0)
    step = window.image_rays(0).directions[0, 1] - window.image_rays(0).directions[0, 0]
    assert_close(step, torch.tensor([1 / 200, 0, 0]), atol=1e-6, rtol=0)


def test_up_is_at_right_angles_to_level_cameras_and_else_the_mean():
    """Cameras that look down by 30 degrees, from all around: their mean is tilted, their level is not."""

    def looking(angle, down, roll=0.0):
        around = rotation_matrix(torch.tensor([0.0, angle, 0.0]))
        return around @ rotation_matrix(torch.tensor([down, 0.0, 0.0])) @ rotation_matrix(torch.tensor([0, 0, roll]))

    def of(rotations):
        pose = torch.cat([torch.stack(rotations), torch.zeros(len(rotations), 3, 1)], 2)
        many = len(rotations)
        return Cameras(pose, torch.ones(many, 2), torch.ones(many, 2), 2, 2)

    level = of([looking(0.4 * i, -0.5) for i in range(-2, 4)])
    assert_close(up_of(level), torch.tensor([0.0, -1.0, 0.0]), atol=1e-4, rtol=0)
    single = of([looking(0.0, -0.5)])
    assert_close(up_of(single), -single.pose[0, :, 1], atol=1e-5, rtol=0)
    rolled = of([looking(0.3 * i, 0.0, roll=0.3) for i in range(-2, 3)])
    assert up_of(rolled) @ -rolled.pose[:, :, 1].mean(0) > 0.95


def test_frames_have_a_sensible_size_and_the_view_begins_behind_them():
    cameras = scene().cameras
    assert frustum_size(cameras, 2.0) == pytest.approx(0.2 * 0.4)
    assert frustum_size(cameras, 20.0) == pytest.approx(0.3), "1.5 % of the depth"
    assert frustum_size(cameras[0], 2.0) == pytest.approx(0.09)
    position, target = start_of(cameras, 2.0)
    assert_close(position, torch.tensor([0.0, 0.0, -0.5]))
    assert_close(target, torch.tensor([0.0, 0.0, 2.0]))


class Clock:
    """Seconds that pass as rays are rendered."""

    def __init__(self, rate):
        self.now, self.rate = 0.0, rate

    def __call__(self):
        return self.now

    def pass_by(self, count):
        self.now += count / self.rate


def test_a_picture_takes_the_time_that_it_may():
    clock = Clock(20_000.0)
    pace = Pace(clock=clock)
    with pace.timed(1000):
        clock.pass_by(1000)
    assert pace.rate == pytest.approx(20_000)
    assert pace.step(256 * 192) == 4, "4000 rays of 49152"
    assert pace.step(1000) == 1
    assert pace.rays() == 2000
    assert Pace(clock=clock).step(10**9) == 16


def test_the_faster_number_of_threads_is_taken_and_tried_again_later(monkeypatch):
    clock, chosen = Clock(1.0), []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    pace = Pace((2, 1), clock=clock)
    speed = {2: 1000.0, 1: 9000.0}

    def render(count):
        clock.now += count / speed[chosen[-1]]

    pace.try_out(render)
    assert pace.best == 1
    pace.try_out(render)
    assert chosen == [2, 1], "not again at once"
    clock.now += 100
    pace.try_out(render)
    assert len(chosen) == 2, "nor soon, as one of them was nine times as slow"
    clock.now += 100
    speed[2] = 10**6
    pace.try_out(render)
    assert pace.best == 2
    with pace.timed(1):
        assert chosen[-1] == 2
    count = len(chosen)
    with Pace(clock=clock).timed(1):
        assert len(chosen) == count, "left alone where there is nothing to choose"


def slow_pace(rate=2000.0):
    clock = Clock(rate)
    pace = Pace(clock=clock)
    pace.rates[0] = rate
    return pace, clock


def test_a_picture_is_coarse_and_then_as_a_whole_one():
    fit = Wall((0.2, 0.4, 0.6))
    camera = browser_camera(handle(aspect=4 / 3), 96)
    pace, clock = slow_pace()
    whole = fit.image(camera.image_rays(0))
    fit.image = lambda rays, image=fit.image, **s: (clock.pass_by(rays.shape.numel()), image(rays, **s))[1]
    drawn = list(draw(Wanted(camera, fit), pace))
    pictures = [each for each in drawn if each is not None]
    assert len(drawn) > len(pictures), "in pieces"
    first, *between, last = pictures
    assert first.step == math.ceil(math.sqrt(96 * 72 / 400))
    assert first.maps.depth.shape == (72 // first.step, 96 // first.step)
    assert not first.done
    assert between, "shown as it becomes sharp"
    assert not any(each.done for each in between)
    assert last.done
    assert_close(last.maps.rgb, whole[0])
    assert_close(last.maps.depth, whole[1])
    red = Wall((1.0, 0.0, 0.0))
    *earlier, again = [each for each in draw(Wanted(camera, red, base=last.maps), slow_pace()[0]) if each]
    assert all(each.step == 1 for each in earlier), "no coarse picture where only the field has changed"
    assert_close(again.maps.rgb, red.image(camera.image_rays(0))[0])
    assert_close(last.maps.rgb, whole[0], msg="the one before is left as it was")
    (single,) = [each for each in draw(Wanted(camera, Wall((1.0, 0, 0))), Pace(moving=1e9)) if each]
    assert single.done


def test_two_fits_lie_side_by_side():
    camera = browser_camera(handle(), 64)
    wanted = Wanted(camera, Wall((1.0, 0.0, 0.0)), Wall((0.0, 0.0, 1.0)), divide=0.25)
    *_, last = draw(wanted, slow_pace()[0])
    red = last.maps.rgb[..., 0]
    assert_close(red[:, :16], torch.ones(32, 16))
    assert_close(red[:, 16:], torch.zeros(32, 48))
    for divide, color in ((0.0, 0.0), (1.0, 1.0)):
        *_, last = draw(Wanted(camera, wanted.fit, wanted.beside, divide=divide), slow_pace()[0])
        assert last.maps.rgb[..., 0].unique().tolist() == [color]


def test_layers_are_colours_of_depth_and_opacity():
    maps = Maps(torch.rand(1, 3, 3), torch.tensor([[1.0, 4.0, 2.0]]), torch.tensor([[1.0, 1.0, 0.0]]), 1.0, 4.0,
                torch.tensor([[[0.0, 0.0], [0.2, 0.5], [torch.nan, torch.nan]]]))  # fmt: skip
    assert torch.equal(LAYERS["colour"](maps), maps.rgb)
    depth = LAYERS["depth"](maps)[0]
    assert depth[0].mean() > 0.7 > 0.1 > depth[1].mean(), "near is bright"
    assert depth[2].tolist() == [0, 0, 0], "nothing is there"
    assert maps.solid().tolist() == [[1.0, 4.0, 1000.0]]
    opacity = LAYERS["opacity"](maps)[0]
    assert not torch.equal(opacity[0], opacity[2])
    low, high, unknown = LAYERS["uncertainty of depth"](maps)[0]
    assert high.mean() > low.mean()
    assert unknown.tolist() == [0.5, 0.5, 0.5], "one fit has none"
    assert Maps.of(maps.stacked(), 1.0, 4.0).depth.tolist() == maps.depth.tolist()


@pytest.fixture
def loop():
    made = RenderLoop(Pace(moving=1e9))
    yield made
    made.stop()
    assert not made.thread.is_alive()


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come about")


def test_the_newest_camera_is_drawn_and_browsers_do_not_wait_for_each_other(loop):
    shown = {"a": [], "b": []}
    wall = Wall((1.0, 0.0, 0.0))
    for size in (16, 24, 32):
        for key, drawings in shown.items():
            loop.want(key, Wanted(browser_camera(handle(), size), wall), drawings.append)
    until(lambda: all(drawings and drawings[-1].maps.depth.shape == (16, 32) for drawings in shown.values()))
    loop.forget("a")
    count = len(shown["a"])
    loop.want("b", Wanted(browser_camera(handle(), 8), wall), shown["b"].append)
    until(lambda: shown["b"][-1].maps.depth.shape == (4, 8))
    assert len(shown["a"]) == count


def test_a_coarse_picture_is_finished_and_a_sharp_one_dropped_for_a_newer_camera():
    clock = Clock(20_000.0)
    pace = Pace(clock=clock, piece=0.02)
    pace.rates[0] = 20_000.0
    loop, shown, wall = RenderLoop(pace), [], Wall((1.0, 0.0, 0.0))

    def image(rays, image=wall.image, **settings):
        clock.pass_by(rays.shape.numel())
        time.sleep(0.01)
        return image(rays, **settings)

    wall.image = image
    for i in range(60):  # several while one coarse picture of four pieces is drawn
        loop.want("a", Wanted(browser_camera(handle(position=(0.0, 0.0, -0.05 * i)), 128), wall), shown.append)
        time.sleep(0.01)
    until(lambda: shown and shown[-1].done, 30)
    loop.stop()
    assert sum(drawing.step > 1 for drawing in shown) > 1, "the moving camera was followed"
    assert sum(drawing.done for drawing in shown) == 1, "only the last one became sharp"
    assert shown[-1].maps.depth[0, 0].item() == pytest.approx(2 + 2.95, abs=1e-3)


def told_of(call):
    """Call, and wait for what the thread says of it."""
    call()
    time.sleep(0.3)


def test_errors_are_told_and_the_thread_lives(loop):
    done = []

    class Broken(Wall):
        def image(self, rays, **settings):
            raise RuntimeError("no such field\nmore")

    with pytest.warns(UserWarning, match=r"a picture could not be drawn \(RuntimeError: no such field, image\)"):
        told_of(lambda: loop.want("a", Wanted(browser_camera(handle(), 16), Broken((0.0, 0.0, 0.0))), done.append))
    loop.submit(lambda: done.append("job"))
    until(lambda: done == ["job"])


def test_later_work_waits_for_pictures(loop):
    order = []
    slow = Wall((1.0, 0.0, 0.0))
    slow.image = lambda rays, image=slow.image, **settings: (time.sleep(0.1), image(rays, **settings))[1]
    loop.submit(lambda: time.sleep(0.1))
    loop.submit(lambda: order.append("later"), later=True)
    loop.want("a", Wanted(browser_camera(handle(), 16), slow), lambda drawing: order.append("picture"))
    loop.submit(lambda: order.append("now"))
    until(lambda: len(order) == 3)
    assert order == ["now", "picture", "later"]


class Halving:
    """D(x, sigma) = x / 2."""

    channels = RGBD.channels

    def __init__(self, **card):
        settings = {"name": "half", "channels": RGBD.channels, "size": (8, 8), "depth": "planar", "d_min": 0.5}
        settings |= {"focal": (50.0, 200.0), "sigma_min": 0.002, "sigma_max": 80.0}
        settings |= {"residual_quantiles": {"sigma": [0.1, 1.0], "levels": [0.5, 0.9], "values": [[1.0, 2.0], [9, 99]]}}
        self.card = PriorCard(**(settings | card))

    def denoise(self, x, sigma):
        return x / 2


def test_the_score_is_that_of_the_patch_at_the_place():
    lens = PriorLens(Halving())
    found = lens.look(Wall((1.0, 0.5, 0.0)), browser_camera(handle(), 64), (0.5, 0.5), 0.1)
    x = torch.tensor([1.0, 0.0, -1.0, 2 * 0.5 / 2 - 1])  # r, g, b and disparity of a depth of 2 m
    expected = (x / 2).square().mean().sqrt().item() / 0.1
    words = f"RMS of (D - x) / sigma: {expected:.2f} at sigma 0.1. That is more than in 90% of clean patches."
    assert found.words == words
    side = 8 * 5
    assert found.picture.shape == (2 * side + 4, 3 * side + 8, 3)
    patch, clean, pull = (found.picture[10, column * (side + 4) + 10] for column in range(3))
    assert_close(patch, torch.tensor([1.0, 0.5, 0.0]))
    assert_close(clean, torch.tensor([0.75, 0.5, 0.25]))
    assert_close(pull, torch.tensor([0.0, 0.5, 1.0]), msg="red has to fall, blue to rise, by more than the scale shows")
    quiet = PriorLens(Halving(residual_quantiles={})).look(
        Wall((0.5,) * 3), browser_camera(handle(), 64), (0.0, 0.0), 0.9
    )
    assert quiet.words.endswith("at sigma 0.9.")


def test_priors_of_other_kinds_are_one_line():
    with pytest.raises(ValueError, match=r"no square patches of a known focal length.*--prior none"):
        PriorLens(Halving(focal=None))
    with pytest.raises(ValueError, match=r"RGBD makes patches with channels"):
        PriorLens(Halving(channels=("gray",)))
