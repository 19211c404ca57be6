"""The ranking of priors: what counts, what is read and measured, and what it says."""

import json
import math

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks import rank_priors
from examples.rgbd_frame import RGBDFrame, read_frame
from scorereg.priors.card import PriorCard
from scorereg.priors.networks import NetworkPrior, build_network

ROWS = [
    {"sigma": sigma, "rgb": error, "rgb_linear": 0.04, "disparity": 0.01, "disparity_linear": 0.04}
    for sigma, error in ((0.01, 9.0), (0.02, 0.01), (0.5, 0.0025), (1.0, 9.0))
]


def untrained(**change) -> NetworkPrior:
    """Its denoiser is x / (1 + 4 sigma^2), pixel by pixel."""
    facts = {
        "name": "untrained", "channels": ("r", "g", "b", "disparity"), "size": (16, 16), "sigma_min": 0.005,
        "sigma_max": 2.0, "d_min": 0.5, "focal": (100.0, 140.0), "network": {"patchify": 1},
        "denoising": {"held-out": ROWS, "elsewhere": ROWS},
    }  # fmt: skip
    card = PriorCard(**(facts | change))
    return NetworkPrior(build_network("tiny", patch_size=16, channels=len(card.channels)), card).eval()


def test_the_score_is_of_what_all_have():
    first = {("denoising", "nyu", "rgb", "0.1"): 0.5, ("denoising", "nyu", "rgb", "0.2"): 0.125}
    frame = {("completion", "a", "rmse"): 0.9, ("completion", "b", "rmse"): 0.4}
    more = {("completion", "c", "rmse"): 1e-9, ("few views", "a", "500 steps", "psnr"): 10 ** (-1 / 20)}
    one, other, last = {**first, **frame}, {**first, **frame, **more}, {key: 2.0 for key in (*first, *frame)}
    rows = [{"prior": name, "ratios": ratios} for name, ratios in (("last", last), ("one", one), ("other", other))]
    done = rank_priors.ranked(rows)
    assert [row["prior"] for row in done] == ["one", "other", "last"]
    assert done[1]["parts"] == pytest.approx({"denoising": 0.25, "completion": 0.6})
    assert done[1]["score"] == pytest.approx(math.sqrt(0.25 * 0.6))
    assert done[1]["figures"]["completion, rmse"] == pytest.approx(0.6)
    table = rank_priors.in_columns(done)
    assert table[2].split("  ")[0] == "other"
    assert "(+1.00 dB)" in table[2]
    assert table[1].split() == ["one", "-", "0.250", "-", "0.600", "-", "-", "0.387"]


def test_nothing_in_common_is_no_score():
    keys = [("denoising", "nyu", "rgb", "0.1")], [("completion", "a", "rmse")]
    done = rank_priors.ranked([{"prior": "x", "ratios": dict.fromkeys(key, 0.5)} for key in keys])
    assert [row["score"] for row in done] == [None, None]
    assert rank_priors.in_columns(done)[1].endswith(" -")


def test_denoising_is_the_card_s():
    ratios = rank_priors.denoising(untrained())
    expected = {
        ("denoising", "held-out", "rgb", "0.02"): 0.5,
        ("denoising", "held-out", "rgb", "0.5"): 0.25,
        ("denoising", "held-out", "disparity", "0.02"): 0.5,
        ("denoising", "held-out", "disparity", "0.5"): 0.5,
    }
    assert ratios == pytest.approx(expected)
    assert set(rank_priors.denoising(None)) > set(expected)
    assert set(rank_priors.denoising(None).values()) == {1.0}


def test_few_views_compares_medians_of_like_fits():
    def runs(kind, psnrs, prior=None, steps=500, depth: float | None = 0.2, scene="a"):
        facts = {"scene": scene, "regularize": kind, "prior": prior, "steps": steps, "depth_abs_rel": depth}
        return [facts | {"psnr": psnr, "seed": seed} for seed, psnr in enumerate(psnrs)]

    told = [
        *runs("geometric", (18.0, 20.0, 26.0)),
        *runs("geometric", (1.0,), steps=3000),
        *runs("prior", (19.0, 22.0, 22.5), prior="mine", depth=0.1),
        *runs("prior", (40.0,), prior="another"),
        *runs("prior, RGB-D alone", (40.0,), prior="mine"),
        *runs("prior", (20.0,), prior="mine", scene="b", depth=None),
        *runs("geometric", (20.0,), scene="b", depth=None),
        *runs("prior", (20.0,), prior="mine", scene="alone"),
    ]
    expected = {
        ("few views", "a", "500 steps", "psnr"): 10 ** (-2 / 20),
        ("few views", "a", "500 steps", "abs_rel"): 0.5,
        ("few views", "b", "500 steps", "psnr"): 1.0,
    }
    assert rank_priors.few_views("mine", told) == pytest.approx(expected)
    assert rank_priors.few_views("none", told) == {}


def test_completion_is_compared_with_interpolation_on_the_same_pixels(monkeypatch):
    frame = RGBDFrame(torch.zeros(3, 30, 30), torch.full((30, 30), 0.25))
    monkeypatch.setattr(rank_priors, "with_prior", lambda prior, rgb, known, mask: torch.full_like(known, 0.2))
    monkeypatch.setattr(rank_priors, "interpolator", lambda mask: lambda known: known.where(mask, 0.4))
    row = rank_priors.completion(untrained(), "x", frame)
    assert row == pytest.approx(
        {"frame": "x", "rmse": 0.5, "abs_rel": 0.25, "rmse_linear": 0.75, "abs_rel_linear": 0.375}
    )
    ratios = rank_priors.completion_ratios([row])
    assert ratios == pytest.approx({("completion", "x", "abs_rel"): 2 / 3, ("completion", "x", "rmse"): 2 / 3})


def test_it_ranks_a_folder_and_the_field(tmp_path, monkeypatch):
    def cropped(folder, index):
        whole = read_frame(folder, index)
        return RGBDFrame(whole.rgb[:, :30, :40], whole.disparity[:30, :40])

    monkeypatch.setattr(rank_priors, "read_frame", cropped)
    untrained().save_pretrained(tmp_path / "prior")
    command = typer.Typer()
    command.command()(rank_priors.main)
    options = ["--data", str(tmp_path), "--results", str(tmp_path / "results.json"), "--json"]
    result = CliRunner().invoke(command, [str(tmp_path / "prior"), "gaussian", *options])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert told == json.loads((tmp_path / "results.json").read_text())
    assert set(told) == {"device", "torch", "left_out", "rows"}
    assert told["left_out"] == ["room-01000, 0", "room-01001, 0", "room-01002, 0", "kitchen, 60", "nyu, 300"]
    assert "nyu, 300" in result.stderr
    rows = {row["prior"].rsplit("/", 1)[-1]: row for row in told["rows"]}
    assert set(rows) == {"prior", "gaussian"}
    assert rows["prior"]["parts"]["denoising"] == pytest.approx(0.5 * 0.5**0.25, rel=1e-4)
    assert rows["gaussian"]["parts"]["denoising"] == 1
    for row in rows.values():
        assert [frame["frame"] for frame in row["completion"]] == ["bundled room, 0", "bundled room, 4"]
        assert 0.3 < row["parts"]["completion"] < 3
        assert row["ratios"]["completion bundled room, 0 rmse"] > 0


def test_only_what_fits_the_frames_is_ranked(tmp_path):
    assert rank_priors.rgbd_priors() == ["rooms-rgbd-24"]
    with pytest.raises(ValueError, match="priors of r, g, b, disparity, but rays-64 is of"):
        rank_priors.prior_of("rays-64")
    untrained(focal=(20.0, 40.0)).save_pretrained(tmp_path / "wide")
    with pytest.raises(
        ValueError, match=r"d_min 0.5 m and focal length 120 pixels, but .* says 0.5 and \(20.0, 40.0\)"
    ):
        rank_priors.prior_of(str(tmp_path / "wide"))
