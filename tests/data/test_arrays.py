"""Folders of ready-made patches: reading, drawing, and training on them in every rank."""

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from training_runs import quick, small

from scorereg import GaussianFieldPrior, load_prior
from scorereg.data.arrays.source import open_arrays
from scorereg.evaluation.datasets import evaluate_prior
from scorereg.training import train_prior

FACTS = {
    "channels": ["weight"],
    "licence": "CC0",
    "credits": ["A"],
    "transform": {"kind": "RayWeights", "far": 9},
}


def write(folder, train, held, **facts):
    folder.mkdir(exist_ok=True)
    (folder / "arrays.json").write_text(json.dumps(FACTS | facts))
    for kind, arrays in (("train", train), ("held", held)):
        for i, array in enumerate(arrays):
            np.save(folder / f"{kind}-{i:05d}.npy", array)
    return folder


def numbered(start, stop, *shape, kind=np.float16):
    """Patches that are constant, each with its number."""
    return np.broadcast_to(np.arange(start, stop).reshape(-1, *[1] * len(shape)), (stop - start, *shape)).astype(kind)


def test_every_patch_is_found_across_files(tmp_path):
    source = open_arrays(
        write(tmp_path / "a", [numbered(0, 3, 1, 4), numbered(3, 5, 1, 4)], [numbered(7, 9, 1, 4)]), []
    )
    x, weight = source.plain("train", 99, seed=0)
    assert sorted(x[:, 0, 0].tolist()) == [0, 1, 2, 3, 4]
    assert x.shape == weight.shape == (5, 1, 4)
    assert weight.min() == 1
    drawn = torch.cat([source.batch(50, seed=0, step=k, slot=0)[0][:, 0, 0] for k in range(20)])
    assert_close(torch.bincount(drawn.long()) / 1000, torch.full((5,), 0.2), atol=0.05, rtol=0)
    assert sorted(source.plain("held-out", 1, seed=0)[0][:, 0, 0].tolist()) <= [8]
    assert len(source.plain("held-out", 1, seed=0)[0]) == 1


def test_a_batch_is_a_function_of_its_numbers(tmp_path):
    source = open_arrays(write(tmp_path / "a", [numbered(0, 999, 1, 4)], [numbered(0, 2, 1, 4)]), [])
    first = source.batch(9, seed=1, step=5, slot=2)[0]
    source.batch(9, seed=1, step=6, slot=2)
    assert torch.equal(source.batch(9, seed=1, step=5, slot=2)[0], first)
    for numbers in (
        {"seed": 2, "step": 5, "slot": 2},
        {"seed": 1, "step": 2, "slot": 5},
        {"seed": 1, "step": 5, "slot": 1},
    ):
        assert not torch.equal(source.batch(9, **numbers)[0], first)


def test_bytes_and_scales(tmp_path):
    bytes_ = np.array([[[0, 255, 51]]], np.uint8)
    plain = open_arrays(write(tmp_path / "a", [bytes_], [bytes_], range=[-1, 1]), [])
    assert_close(plain.plain("train", 1, seed=0)[0], torch.tensor([[[-1.0, 1.0, -0.6]]]))
    scaled = open_arrays(write(tmp_path / "b", [bytes_], [bytes_], scale=0.01, offset=-0.5), [])
    assert_close(scaled.plain("train", 1, seed=0)[0], torch.tensor([[[-0.5, 2.05, 0.01]]]))


def test_some_axes_are_mirrored_and_others_are_not(tmp_path):
    block = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
    source = open_arrays(write(tmp_path / "a", [block], [block], mirror=[0, 2]), [])
    seen = {tuple(x.flatten().tolist()) for x in source.batch(64, seed=0, step=0, slot=0)[0]}
    truth = torch.from_numpy(block)[0]
    assert seen == {tuple(truth.flip(axes).flatten().tolist()) for axes in ([], [1], [3], [1, 3])}


@pytest.mark.parametrize("size", [(16,), (8, 8), (8, 8, 8)], ids=str)
def test_a_prior_of_every_rank(tmp_path, monkeypatch, size):
    pytest.importorskip("accelerate")
    quick(monkeypatch)
    data = write(
        tmp_path / "a",
        [np.random.default_rng(0).uniform(-1, 1, (40, 1, *size)).astype(np.float16)],
        [numbered(0, 1, 1, *size)],
    )
    folder = train_prior([data], tmp_path / "run", small(steps=2), evaluate=[data])
    prior = load_prior(folder)
    card = prior.card
    assert (card.channels, card.size, card.licence, card.credits) == (("weight",), size, "CC0", ("A",))
    assert card.training["transform"] == FACTS["transform"]
    assert ("focal" in card.training) == (len(card.size) == 2)  # how frames are cut had no say in lines and volumes
    assert (card.depth, card.d_min, card.focal) == (None, None, None)
    assert set(card.denoising) == {"held-out", "a"}
    assert "weight_ratio" in card.denoising["a"][0]
    assert (tmp_path / "run" / "samples.png").stat().st_size > 0
    assert prior.denoise(torch.zeros(1, 1, *size), torch.tensor([0.1])).shape == (1, 1, *size)
    (rows,) = evaluate_prior(prior, [data], tmp_path / "errors", count=4, fit=8).values()
    assert rows[0]["weight"] > 0
    with pytest.raises(ValueError, match="a holds weight, but the prior knows depth"):
        evaluate_prior(GaussianFieldPrior(8, ("depth",)), [data], tmp_path / "errors", size=8)


@pytest.mark.parametrize(
    ("train", "facts", "says"),
    [
        ([numbered(0, 2, 1, 4), numbered(0, 2, 1, 5)], {}, r"train-00001.npy holds float16 of shape \(2, 1, 5\)"),
        ([numbered(0, 2, 1, 4, kind=np.int64)], {}, "train-00000.npy holds int64 with 3 axes; expected are uint8"),
        ([numbered(0, 2, 1, 5)], {}, r"patches of held-out have shape \(1, 4\), but those of train \(1, 5\)"),
        ([numbered(0, 2, 1, 4)], {"channels": []}, "arrays.json names no channels"),
        ([numbered(0, 2, 1, 4)], {"channels": ["a", "b", "c"]}, r"patches of shape \(1, 4\), but .* names 3 channels"),
        ([numbered(0, 2, 4)], {}, "with 2 axes; expected are"),
    ],
)
def test_mistakes_are_named(tmp_path, train, facts, says):
    with pytest.raises(ValueError, match=says):
        open_arrays(write(tmp_path / "a", train, [numbered(0, 2, 1, 4)], **facts), [])


def test_missing_and_damaged_files(tmp_path):
    folder = write(tmp_path / "a", [numbered(0, 2, 1, 4)], [])
    with pytest.raises(FileNotFoundError, match=r"a has no held-\*.npy"):
        open_arrays(folder, [])
    (folder / "held-00000.npy").write_bytes(b"no")
    with pytest.raises(ValueError, match="held-00000.npy is no array of numbers that NumPy can read"):
        open_arrays(folder, [])
    (folder / "arrays.json").write_text("{")
    with pytest.raises(ValueError, match="arrays.json is no valid JSON"):
        open_arrays(folder, [])
    with pytest.raises(ValueError, match="arrays.json is no valid JSON"):
        train_prior([folder, folder], tmp_path / "run", small())
