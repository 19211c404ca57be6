"""The benchmark of training: its loops take steps on drawn frames, its rates divide, its bytes are counted."""

import pytest
import torch

from benchmarks.denoising import denoising
from benchmarks.memory import most_bytes
from benchmarks.train import loader_alone, network_alone, our_loop, rates, ratio
from benchmarks.train_frames import write_frames
from benchmarks.train_plain import PlainPatches, plain_loop
from scorereg.data.frames.discover import find_frames
from scorereg.data.open import open_source
from scorereg.training.settings import Settings

SETTINGS = Settings(network_size="tiny", batch=2, patch_size=8, steps=100, focal=(60.0, 130.0), workers=0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("benchmark") / "drawn", frames=4)


def test_all_loops_take_steps(drawn):
    pytest.importorskip("accelerate")
    source = open_source([drawn], SETTINGS.patch_spec)
    loops = {
        "ours": our_loop(source, SETTINGS, "fp32"),
        "plain": plain_loop([drawn], source, SETTINGS, "fp32"),
        "network": network_alone(source, SETTINGS, "fp32"),
        "loader": loader_alone(source, SETTINGS),
    }
    found = rates(loops, turns=2, steps=1, batch=2)
    assert {name: len(each) for name, each in found.items()} == dict.fromkeys(loops, 2)
    assert all(rate > 0 for each in found.values() for rate in each)


def test_the_plain_loop_learns_what_ours_learns(drawn):
    """Its patches lie in the same space: disparity is d_min / depth, of frames reduced to the longest focal length."""
    patches = PlainPatches(find_frames([drawn]), SETTINGS)
    x = torch.stack([patches[i] for i in range(40)])
    assert x.shape == (40, 4, 8, 8)
    near, far = SETTINGS.d_min / 0.8 * 2 - 1, SETTINGS.d_min / 5.8 * 2 - 1
    assert far - 1e-3 < x[:, 3].min() < x[:, 3].max() < near + 1e-3
    assert -1 <= x[:, :3].min() < x[:, :3].max() <= 1


def test_a_ratio_is_the_median_over_turns():
    assert ratio({"a": [2.0, 9.0, 3.0], "b": [1.0, 1.0, 1.0]}, "a", "b") == 3.0


def test_bytes_that_are_held_at_once():
    def run():
        a = torch.zeros(1000, device="meta")
        b = a + 1
        del a
        (b + 1).sum()

    assert most_bytes(run) == 8004  # b, b + 1 and the sum


def test_denoising_is_measured_beside_the_filter_of_the_same_frames(drawn):
    told = denoising("rooms-rgbd-24", [drawn], count=8, fit=64)["drawn"]
    assert told["frames"] == 4
    assert [row["sigma"] for row in told["ratios"]] == [0.02, 0.05, 0.1, 0.2, 0.5]
    assert all(0 < row[key] < 100 for row in told["ratios"] for key in ("rgb_ratio", "disparity_ratio"))
