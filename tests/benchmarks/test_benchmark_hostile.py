import numpy as np
import pytest
import torch

from benchmarks.hostile.__main__ import make_samples, try_damage
from benchmarks.hostile.damage import damage_folder
from benchmarks.hostile.probe import probe, read_all
from benchmarks.hostile.samples import KINDS, look_around, make_sample, ray_cast

FAST = ("scene", "frames")  # the others build networks


def test_the_room_is_seen_alike_from_two_places():
    """A pixel's point, projected into another camera, has the depth and nearly the color that is seen there."""
    (color, depth), (other, far) = (ray_cast(look_around(i), width=64, height=48, focal=55) for i in (1, 2))
    a, b = look_around(1), look_around(2)
    y, x = np.mgrid[4:44:4, 8:56:4]
    local = np.stack([(x + 0.5 - 32) / 55, (y + 0.5 - 24) / 55, np.ones(x.shape)], -1) * depth[y, x][..., None]
    there = (local @ a[:, :3].T + a[:, 3] - b[:, 3]) @ b[:, :3]
    u, v = (55 * there[..., i] / there[..., 2] + middle for i, middle in ((0, 32), (1, 24)))
    inside = (u > 1) & (u < 63) & (v > 1) & (v < 47)
    column, row = u[inside].astype(int), v[inside].astype(int)
    assert inside.mean() > 0.7
    assert np.median(np.abs(far[row, column] - there[..., 2][inside])) < 0.02
    gap = np.abs(other[row, column].astype(int) - color[y, x][inside].astype(int))
    assert np.median(gap) < 30


@pytest.mark.parametrize("kind", FAST)
def test_a_whole_input_is_the_same_and_a_broken_one_is_not(kind, tmp_path):
    make_sample(kind, tmp_path / "a")
    whole = read_all(kind, tmp_path / "a")
    assert probe(kind, tmp_path / "a", whole).verdict == "same"
    next((tmp_path / "a").rglob("0.png")).write_bytes(b"<html>")
    outcome = probe(kind, tmp_path / "a", whole)
    assert outcome.verdict == "refused"
    assert "0.png" in outcome.text
    first = next(iter(whole))
    make_sample(kind, tmp_path / "b")
    assert probe(kind, tmp_path / "b", {**whole, first: whole[first] * 1.02}).verdict == "changed"


def test_damages_are_repeatable_and_differ(tmp_path):
    make_sample("frames", tmp_path / "0")
    done = set()
    for seed in range(20):
        texts = []
        for name in ("x", "y"):
            folder = tmp_path / f"{seed}{name}"
            make_sample("frames", folder)
            damage = damage_folder(folder, seed)
            path = folder / damage.file
            texts.append((damage, path.read_bytes() if path.exists() else None))
        assert texts[0] == texts[1]
        done.add(texts[0][0])
    assert len(done) > 15


def test_no_damage_ends_in_a_traceback(tmp_path):
    """A share of `python -m benchmarks.hostile`."""
    whole = make_samples(list(KINDS), tmp_path)
    rows = [try_damage(number, KINDS[number % len(KINDS)], tmp_path, whole) for number in range(1000, 1050)]
    assert [row for row in rows if row["verdict"] in ("traceback", "unclear")] == []
    assert sum(row["verdict"] == "refused" for row in rows) > 15


def test_values_that_differ_in_shape_or_are_not_numbers_count_as_changed(tmp_path):
    make_sample("frames", tmp_path / "a")
    whole = read_all("frames", tmp_path / "a")
    first = next(name for name in whole if name.startswith("color"))
    for other in (whole[first][1:], torch.full_like(whole[first], torch.nan)):
        assert probe("frames", tmp_path / "a", {**whole, first: other}).verdict == "changed"
