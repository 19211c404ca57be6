"""The benchmark of measured depth: what it keeps of the depth, and its medians."""

import pytest
import torch

from benchmarks.measured_depth import FIGURES, table, thin
from scorereg.scenes import load_scene


def test_a_share_of_the_training_depth_is_kept_and_all_of_the_rest():
    scene = load_scene("examples/nerf_fewshot/room", max_size=64)
    train, test = list(scene.train), list(scene.test)
    assert scene.depth is not None
    some = thin(scene, 0.2, 0.0, seed=0).depth
    assert some is not None
    assert torch.equal(some[test], scene.depth[test])
    kept = some[train] > 0
    assert kept.float().mean() == pytest.approx(0.2, abs=0.02)
    assert torch.equal(some[train][kept], scene.depth[train][kept])
    noisy = thin(scene, 1.0, 0.02, seed=0).depth
    assert noisy is not None
    assert (noisy[train] / scene.depth[train] - 1).std().item() == pytest.approx(0.02, rel=0.05)
    assert not thin(scene, 0.0, 0.0, seed=0).depth[train].any()  # pyright: ignore[reportOptionalSubscript]


def test_each_line_is_the_median_over_the_seeds():
    about = {"scene": "a", "kind": "prior", "share": 0.02, "noise": 0.0, "weight": 0.1, "steps": 400}
    rows = [about | {"seed": seed} | dict.fromkeys(FIGURES, float(value)) for seed, value in enumerate((1, 2, 9))]
    lines = table([*rows, rows[0] | {"share": 1.0}])
    assert [(line["share"], line["seeds"], line["psnr"]) for line in lines] == [(0.02, 3, 2.0), (1.0, 1, 1.0)]
