"""Weights along rays from depth maps: distributions, bins, silhouettes, files and errors."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from rgbd_folders import transforms
from scipy.integrate import quad
from test_frame_source import spoilt
from torch.testing import assert_close

from scorereg import RayWeights
from scorereg.cli import main
from scorereg.data.arrays.write import check_new, write_arrays
from scorereg.data.bad_frames import ReadOptions
from scorereg.data.frames.discover import find_frames
from scorereg.data.rays.make import RayMix, make_rays, rays_of_depth
from scorereg.data.rays.spread import KINDS, Spread, bin_surfaces, draw_spread

EDGES = RayWeights(near=0.5, far=8.0, bins=16).edges
PLAIN = RayMix(silhouette=0.0, empty=0.0, translucent=0.0, open=0.0, scale=(1.0, 1.0), footprint=(0.01, 0.01))


def density(kind, t, z, width, cut):
    """Of the weight at t, as the table of `Spread` has it."""
    if kind == "sensor":
        std = width * z**2
        return math.exp(-0.5 * ((t - z) / std) ** 2) / (std * math.sqrt(2 * math.pi))
    length = width * z
    return math.exp(-(t - z) / length) / length / (1 - math.exp(-cut)) if z <= t <= z + cut * length else 0.0


@pytest.mark.parametrize("kind", ["sensor", "rendered"])
def test_bins_hold_the_integral_of_the_density(kind):
    z, width, cut = 1.7, 0.05, 3.0
    spread = Spread(torch.tensor([KINDS.index(kind)]), torch.tensor([width]), torch.tensor([cut]))
    edges = torch.tensor([0.5, 1.5, 1.65, 1.8, 1.9, 2.5])
    ends = [0.1, *edges[1:-1].tolist(), 8.0]  # what lies outside belongs to the first and the last bin
    breaks = [z, z + cut * width * z]
    expected = [
        quad(lambda t: density(kind, t, z, width, cut), a, b, points=[p for p in breaks if a < p < b] or None)[0]
        for a, b in itertools.pairwise(ends)
    ]
    actual = bin_surfaces(torch.tensor([[z]]), torch.tensor([[1.0]]), spread, edges)[0]
    assert_close(actual, torch.tensor(expected, dtype=torch.float32), rtol=1e-4, atol=1e-5)


def test_a_sharp_surface_is_one_bin():
    spread = Spread(torch.tensor([0]), torch.tensor([0.1]), torch.tensor([3.0]))
    weights = bin_surfaces(torch.tensor([[1.2, 3.0]]), torch.tensor([[0.25, 0.5]]), spread, torch.tensor([1.0, 2, 4]))
    assert_close(weights, torch.tensor([[0.25, 0.5]]))


def test_every_surface_keeps_its_share(generator):
    spread = draw_spread(300, generator)
    shares = torch.rand(300, 5, generator=generator) / 5
    surfaces = 0.2 + 10 * torch.rand(300, 5, generator=generator)
    assert_close(bin_surfaces(surfaces, shares, spread, EDGES).sum(-1), shares.sum(-1))
    assert set(spread.kind.tolist()) == {0, 1, 2}


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


def test_a_wall_is_one_surface(generator):
    weights = rays_of_depth(torch.full((20, 30), 2.0), 200, EDGES, generator, mix=PLAIN)
    at = int(torch.searchsorted(EDGES, 2.0)) - 1
    assert (weights[:, at - 1 : at + 3].sum(-1) > 0.9).float().mean() > 0.95
    assert_close(weights.sum(-1), torch.ones(200))


def test_silhouettes_show_two_surfaces(generator):
    depth = torch.full((20, 30), 1.0)
    depth[:, 15:] = 4.0
    mix = RayMix(silhouette=1.0, empty=0.0, translucent=0.0, open=0.0, scale=(1.0, 1.0), footprint=(1.0, 1.0))
    weights = rays_of_depth(depth, 300, EDGES, generator, mix=mix)
    front, back = weights[:, EDGES[1:] <= 2].sum(-1), weights[:, EDGES[:-1] >= 2].sum(-1)
    assert ((front > 0.1) & (back > 0.1)).float().mean() > 0.8
    mix = RayMix(silhouette=1.0, empty=0.0, translucent=0.0, open=1.0, scale=(1.0, 1.0), footprint=(1.0, 1.0))
    weights = rays_of_depth(depth, 300, EDGES, generator, mix=mix)
    front, back = weights[:, EDGES[1:] <= 2].sum(-1), weights[:, EDGES[:-1] >= 2].sum(-1)
    assert not ((front > 0.01) & (back > 0.01)).any()
    assert (weights.sum(-1) < 0.9).float().mean() > 0.8


def test_empty_and_translucent_rays(generator):
    depth = torch.full((20, 30), 2.0)
    assert_close(rays_of_depth(depth, 9, EDGES, generator, mix=RayMix(empty=1.0)), torch.zeros(9, 16))
    some = rays_of_depth(depth, 500, EDGES, generator, mix=RayMix(empty=0.0, translucent=1.0, open=0.0)).sum(-1)
    assert (some < 1 + 1e-5).all()
    assert 0.2 < (some < 0.999).float().mean() < 0.4  # three in ten of them end nowhere


def test_unknown_depth_is_no_surface(generator):
    depth = torch.zeros(20, 30)
    depth[8:12, 8:12] = 1.0
    mix = RayMix(empty=0.0, translucent=0.0, open=0.0, scale=(1.0, 1.0), footprint=(3.0, 3.0))
    weights = rays_of_depth(depth, 300, EDGES, generator, mix=mix)
    assert_close(weights.sum(-1), torch.ones(300))
    assert (weights[:, EDGES[:-1] > 0.8].sum(-1) > 0.9).float().mean() > 0.9


@pytest.fixture
def scenes(tmp_path):
    for name in ("a", "b", "c"):
        transforms(tmp_path / "data" / name, 2)
    return tmp_path / "data"


def test_folder(scenes, tmp_path):
    counts = make_rays([scenes], tmp_path / "out", count=60, seed=1, licence="CC0", credits=("me",))
    facts = json.loads((tmp_path / "out" / "arrays.json").read_text())
    train, held = (np.load(tmp_path / "out" / f"{name}-00000.npy") for name in ("train", "held"))
    assert train.shape == (counts["train"], 1, 64)
    assert train.dtype == np.float16
    assert len(train) + len(held) == 60
    assert facts["counts"] == counts
    assert (facts["channels"], facts["range"], facts["licence"]) == (["weight"], [-1.0, 1.0], "CC0")
    assert len(facts["held_out"]) == 1
    weights = RayWeights.from_json(facts["transform"]).decode(torch.from_numpy(train).double())
    assert (weights.sum(-1) < 1.01).all()
    assert (weights.sum(-1) > 0.9).any()
    assert not list((tmp_path / "out").glob("*.partial"))


def test_the_seed_is_all_that_matters(scenes, tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        make_rays([scenes], tmp_path / name, count=60, seed=seed)
    one, two, three = (np.load(tmp_path / name / "train-00000.npy") for name in ("one", "two", "three"))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()
    # a frame's rays do not depend on which other scenes there are, beyond how many rays a frame gets
    make_rays([scenes / "a", scenes / "b"], tmp_path / "four", count=40, seed=5)
    four = np.concatenate([np.load(tmp_path / "four" / f"{k}-00000.npy") for k in ("train", "held")])
    everything = np.concatenate([one, np.load(tmp_path / "one" / "held-00000.npy")])
    assert {row.tobytes() for row in four} <= {row.tobytes() for row in everything}


def test_held_out_rays_are_of_other_scenes(scenes, tmp_path):
    make_rays([scenes], tmp_path / "out", count=6)
    held = json.loads((tmp_path / "out" / "arrays.json").read_text())["held_out"]
    frames = find_frames([scenes])
    assert len(np.load(tmp_path / "out" / "held-00000.npy")) == sum(frame.scene in held for frame in frames)


def test_files_are_split_and_an_unfinished_folder_is_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.data.arrays.write._PER_FILE", 32)
    check_new(tmp_path / "out")
    (tmp_path / "out" / "train-00009.npy").write_bytes(b"left")
    check_new(tmp_path / "out")
    rows = np.arange(10, dtype=np.float32).reshape(5, 1, 2)
    write_arrays(tmp_path / "out", {"train": rows, "held": rows[:1]}, {"channels": ["x"]})
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["arrays.json", "held-00000.npy", "train-00000.npy", "train-00001.npy"]
    parts = [np.load(tmp_path / "out" / f"train-0000{k}.npy") for k in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts), rows)


def test_mistakes_are_named(scenes, tmp_path):
    with pytest.raises(ValueError, match="count must be at least 1"):
        make_rays([scenes], tmp_path / "out", count=0)
    make_rays([scenes], tmp_path / "out", count=6)
    with pytest.raises(ValueError, match="holds arrays already"):
        make_rays([scenes], tmp_path / "out", count=6)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be made"):
        make_rays([scenes], tmp_path / "file" / "out", count=6)
    text = (scenes / "a" / "transforms.json").read_text()
    (scenes / "a" / "transforms.json").write_text(text.replace("0.001", "1.0"))
    with pytest.raises(ValueError, match=r"a has a median of .* millimetres read as metres"):
        make_rays([scenes], tmp_path / "wrong", count=6)
    with pytest.raises(ValueError, match="held part is empty or not finite"):
        write_arrays(tmp_path, {"held": np.full((1, 1, 2), np.nan, np.float32)}, {})


def test_bad_depth_is_left_out_and_named(tmp_path):
    folder = spoilt(tmp_path / "s", 150)
    (folder / "depth" / "7.png").write_bytes(b"nope")
    with pytest.raises((OSError, ValueError), match=r"depth/7.png"):
        make_rays([folder], tmp_path / "out", count=150)
    with pytest.warns(UserWarning, match="left out") as warned:
        counts = make_rays([folder], tmp_path / "out", count=150, reading=ReadOptions(skip_bad=True))
    first, second = (str(each.message) for each in warned)
    assert first.startswith(f"left out: {folder}/depth/7.png ")
    assert second == "1 of 150 frames were left out."
    assert sum(counts.values()) == 149
    facts = json.loads((tmp_path / "out" / "arrays.json").read_text())
    assert facts["data"] == "weights along rays of 149 depth maps, 1 of each"
    (folder / "depth" / "8.png").write_bytes(b"nope")
    with pytest.raises(ValueError, match="2 of 150 frames cannot be used, and only 1 % may be skipped"):
        make_rays([folder], tmp_path / "other", count=150, reading=ReadOptions(skip_bad=True))


def test_missing_depth_and_excluded_folders_are_left_out(tmp_path):
    folder = transforms(tmp_path / "data" / "s", 150)
    transforms(tmp_path / "data" / "other", 10)
    (folder / "7.depth.png").unlink()
    reading = ReadOptions(skip_bad=True, exclude=("oth*",))
    with pytest.warns(UserWarning, match=r"left out: .*7.depth.png is missing|1 of 150 frames were left out"):
        counts = make_rays([tmp_path / "data"], tmp_path / "out", count=149, reading=reading)
    assert sum(counts.values()) == 149
    assert json.loads((tmp_path / "out" / "arrays.json").read_text())["data"].startswith("weights along rays of 149 d")


def test_command(scenes, tmp_path, monkeypatch, capsys):
    words = ["scorereg", "make-rays", scenes, "--out", tmp_path / "out", "-n", 12, "--bins", 16, "--credit", "me"]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    assert "8 train, 4 held" in capsys.readouterr().out
    facts = json.loads((tmp_path / "out" / "arrays.json").read_text())
    assert (facts["transform"]["bins"], facts["credits"]) == (16, ["me"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
