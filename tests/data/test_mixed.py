"""Several sets of shards, shards beside folders, and further sets to measure on."""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from rgbd_folders import transforms
from torch.testing import assert_close
from training_runs import Waves

from scorereg import GaussianFieldPrior
from scorereg.data.mixed import MixedSource, mixed
from scorereg.data.open import open_source
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.shards.source import open_shards
from scorereg.data.shards.write import prepare
from scorereg.data.source import SourceInfo
from scorereg.evaluation.datasets import evaluate_prior

SPEC = PatchSpec(8, focal=(15.0, 30.0))


@pytest.fixture
def scenes(tmp_path):
    """Two roots of scenes, of 16 and of 8 frames."""
    for i in range(6):
        root = tmp_path / ("raw" if i < 4 else "more")
        transforms(root / f"s{i}", 4, seed=10 * i)
    return tmp_path


def packed(scenes, name, **how):
    prepare([scenes / name], scenes / f"{name}-shards", focal=30.0, shard_frames=4, name=name, **how)
    return scenes / f"{name}-shards"


@dataclass(frozen=True)
class Counted(Waves):
    """A source whose patches say where they are from."""

    mark: float = 0.0

    def batch(self, count, *, seed, step, slot):
        x, weight = super().batch(count, seed=seed, step=step, slot=slot)
        return x * 0 + self.mark, weight


def test_each_gives_its_share_of_every_batch():
    parts = [Counted(mark=m) for m in (0.0, 1.0, 2.0)]
    source = mixed(parts, [10, 5, 1])
    assert isinstance(source, MixedSource)
    found = torch.stack([source.batch(6, seed=0, step=k, slot=0)[0][:, 0, 0, 0] for k in range(400)])
    counts = torch.stack([(found == m).sum(1) for m in range(3)], 1).float()
    expected = 6 * torch.tensor([10.0, 5.0, 1.0]) / 16
    assert_close(counts.mean(0), expected, rtol=0.0, atol=0.1)
    assert (counts - expected).abs().max() < 1
    assert [len(source.plain(name, 7, seed=0)[0]) for name in ("train", "held-out")] == [7, 7]


def test_sources_do_not_draw_alike():
    source = mixed([Waves(), Waves()], [1, 1])
    x, _ = source.batch(8, seed=0, step=0, slot=0)
    assert len({tuple(patch.flatten().tolist()) for patch in x}) == 8


def test_one_alone_stays_as_it_is():
    source = Waves()
    assert mixed([source], [3]) is source


def test_shards_and_folders_together(scenes):
    raw = packed(scenes, "raw", licence="CC0", credits=("me",))
    source = open_source([raw, scenes / "more"], SPEC, [raw])
    x, weight = source.batch(6, seed=3, step=5, slot=1)
    assert x.shape == weight.shape == (6, 4, 8, 8)
    again = open_source([raw, scenes / "more"], SPEC)
    again.batch(6, seed=3, step=0, slot=1)
    assert_close(again.batch(6, seed=3, step=5, slot=1)[0], x, rtol=0.0, atol=0.0)
    assert source.measured == ("held-out", "raw-shards")
    assert "frames of 3 scenes (raw); 4 RGB-D frames of 1 scenes" in source.about.data
    assert len(source.about.held_out) == 2
    assert (source.about.licence, source.about.credits) == ("CC0", ("me",))
    for name in ("train", *source.measured):
        assert len(source.plain(name, 5, seed=0)[0]) == 5
    raw_only = open_shards(raw, SPEC)
    assert_close(source.plain("raw-shards", 4, seed=0), raw_only.plain("held-out", 4, seed=0), rtol=0.0, atol=0.0)


def test_several_sets_of_shards(scenes):
    source = open_source([packed(scenes, "raw", licence="A"), packed(scenes, "more", licence="B")], SPEC)
    assert source.about.licence == "A and B"
    assert source.batch(6, seed=0, step=0, slot=0)[0].shape == (6, 4, 8, 8)


def test_shards_serve_to_measure_on_beside_folders(scenes):
    raw = packed(scenes, "raw")
    source = open_source([scenes / "more"], SPEC, [raw])
    assert source.measured == ("held-out", "raw-shards")
    assert source.plain("raw-shards", 5, seed=0)[0].shape == (5, 4, 8, 8)
    with pytest.raises(ValueError, match="keeps depth for d_min from 0.5 m on"):
        open_source([scenes / "more"], dataclasses.replace(SPEC, d_min=0.3), [raw])


def test_data_of_different_kinds_are_not_mixed(scenes, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be mixed: channels is \('disparity',\) of waves, but \('r',\) of"):
        mixed([Waves(), Waves(channels=("r",))], [1, 1])
    folder = tmp_path / "arrays"
    folder.mkdir()
    for name in ("train", "held"):
        np.save(folder / f"{name}-0.npy", np.zeros((4, 4, 8, 8), np.float32))
    facts = {"channels": ["r", "g", "b", "disparity"], "d_min": 0.2, "depth": "planar"}
    (folder / "arrays.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"d_min is 0.2 of 4 patches of arrays, but 0.5 of"):
        open_source([folder, scenes / "raw"], SPEC)
    (folder / "arrays.json").write_text(json.dumps({**facts, "d_min": 0.5}))
    assert open_source([folder, scenes / "raw"], SPEC).batch(6, seed=0, step=0, slot=0)[0].shape == (6, 4, 8, 8)


def test_photos_without_a_camera_leave_no_focal_length():
    with_focal, without = (dataclasses.replace(Waves().about, focal=f) for f in ((80.0, 180.0), None))

    @dataclass(frozen=True)
    class Described(Waves):
        description: SourceInfo = with_focal

        @property
        def about(self):
            return self.description

    assert mixed([Described(), Described(description=without)], [1, 1]).about.focal is None


def test_priors_are_evaluated_on_shards(scenes, tmp_path):
    raw = packed(scenes, "raw")
    prior = GaussianFieldPrior(size=8, channels=("r", "g", "b"))
    errors = evaluate_prior(prior, [raw], tmp_path / "out", count=8, fit=32, size=8, sigmas=(0.1,))
    assert {"r", "g_linear", "b_ratio"} <= set(errors["raw-shards"][0])
