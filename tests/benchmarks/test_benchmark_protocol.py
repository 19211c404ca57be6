"""The few-view protocols: exact splits, what a row measures, tables, and that nothing is computed twice."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import protocol, protocol_rows, protocol_splits
from benchmarks.protocol_published import published
from benchmarks.protocol_rows import How, measured
from benchmarks.protocol_splits import dtu_split, jobs_of, llff_split, split_of
from benchmarks.protocol_tables import as_latex, as_markdown, lines_of
from scorereg.fit import Preset, Recipe
from scorereg.fit.views import View, render_views, summary
from scorereg.metrics import psnr
from scorereg.ops import GridShape
from scorereg.scenes import load_scene
from scorereg.scenes.folder import list_views
from tests.scenes.scene_folders import frame, llff, poses, transforms
from tests.scenes.test_dtu_scene import scan

ROW = {
    "psnr": 20.0, "psnr_masked": None, "ssim_uniform7": 0.5, "ssim_uniform7_masked": None, "ssim_gaussian11": 0.52,
    "ssim_gaussian11_masked": None, "lpips": None, "lpips_masked": None, "average": None, "average_masked": None,
    "depth_abs_rel": None, "seconds": 3.0,
}  # fmt: skip


def test_split_of_llff_is_that_of_the_papers():
    """Of 20 photos, as fern has: the literature's numbers."""
    expected = {3: (1, 10, 19), 6: (1, 4, 7, 12, 15, 19), 9: (1, 3, 5, 7, 10, 12, 14, 17, 19)}
    for views, train in expected.items():
        assert llff_split(20, views) == (train, (0, 8, 16))
    with pytest.raises(ValueError, match="18 training views are asked for, but 17 of 20 photos are for training"):
        llff_split(20, 18)


def test_split_of_dtu_is_that_of_the_papers():
    assert dtu_split(49, 3)[0] == (25, 22, 28)
    assert dtu_split(49, 6)[0] == (25, 22, 28, 40, 44, 48)
    assert dtu_split(64, 9)[0] == (25, 22, 28, 40, 44, 48, 0, 8, 13)
    held = (1, 2, 9, 10, 11, 12, 14, 15, 23, 24, 26, 27, 29, 30, 31, 32, 33, 34, 35, 41, 42, 43, 45, 46, 47)
    assert all(dtu_split(count, views)[1] == held for count in (49, 64) for views in (3, 6, 9))
    with pytest.raises(ValueError, match="counts the 49 photos of a scan, but there are 48"):
        dtu_split(48, 3)
    with pytest.raises(ValueError, match="1 to 9 training views, but 10"):
        dtu_split(49, 10)


def test_photos_are_counted_by_name(tmp_path):
    """In whatever order a file lists them; DTU's without leading zeros too."""
    names = [f"images/{i:03d}.png" for i in (3, 0, 2, 1, 4, 5, 6, 7, 8, 9)]
    transforms(tmp_path, 10, frames=[frame(p, name) for p, name in zip(poses(10), names, strict=True)])
    train, test = split_of("llff", tmp_path, 3)
    scene = load_scene(tmp_path, split=(train, test))
    assert [scene.filenames[i][-7:-4] for i in scene.train] == ["001", "005", "009"]
    assert [scene.filenames[i][-7:-4] for i in scene.test] == ["000", "008"]
    (tmp_path / "scan").mkdir()
    numbers = [str(i) for i in range(49)]
    transforms(tmp_path / "scan", 49, frames=[frame(p, f"p/{i}.png") for p, i in zip(poses(49), numbers, strict=True)])
    (tmp_path / "scan" / "images").rename(tmp_path / "scan" / "p")
    for i in numbers:
        (tmp_path / "scan" / "p" / f"{int(i):03d}.png").rename(tmp_path / "scan" / "p" / f"{i}.png")
    listing = list_views(tmp_path / "scan")
    train, _ = split_of("dtu", tmp_path / "scan", 3)
    assert [listing.views[i].file.stem for i in train] == ["25", "22", "28"]


def test_rooms_have_their_own_split(tmp_path):
    listed = {"train_filenames": [f"images/{i:03d}.png" for i in (1, 4, 6)], "test_filenames": ["images/002.png"]}
    transforms(tmp_path, 8, **listed)
    assert split_of("rooms", tmp_path, 3) == ((1, 4, 6), (2,))
    with pytest.raises(ValueError, match="6 training views are asked for, but only 3"):
        split_of("rooms", tmp_path, 6)
    with pytest.raises(ValueError, match="two folders are called"):
        jobs_of("rooms", [tmp_path, tmp_path], [3], ["none"], [0], 1)


def a_view(**more):
    torch.manual_seed(5)
    photo = torch.rand(16, 20, 3)
    rgb = (photo + 0.1 * torch.randn(16, 20, 3)).clamp(0, 1)
    return View("a.png", rgb, torch.full((16, 20), 2.2), photo, more.pop("truth", None), **more)


def test_a_view_with_and_without_the_object_s_mask():
    """PSNR over the object's pixels; SSIM of images that are white elsewhere, against windows cut out by hand."""
    from skimage.metrics import structural_similarity

    shown = torch.zeros(16, 20, dtype=torch.bool)
    shown[3:14, 2:15] = True
    view = a_view(truth=torch.full((16, 20), 2.0), shown=shown)
    values = measured([view], "none")
    error = (view.rgb - view.photo).square()
    assert values["psnr"] == pytest.approx(-10 * math.log10(error.mean().item()), abs=1e-4)
    assert values["psnr_masked"] == pytest.approx(-10 * math.log10(error[shown].mean().item()), abs=1e-4)
    a, b = (np.where(shown[..., None], x.double(), 1.0) for x in (view.rgb, view.photo))
    for name, settings in (
        ("uniform7", {}), ("gaussian11", {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}),
    ):  # fmt: skip
        found = structural_similarity(a, b, data_range=1.0, channel_axis=-1, **settings)
        assert values[f"ssim_{name}_masked"] == pytest.approx(found, abs=1e-9)
        assert values[f"ssim_{name}"] != values[f"ssim_{name}_masked"]
    assert values["depth_abs_rel"] == pytest.approx(0.1)
    assert values["lpips"] is values["average"] is values["average_masked"] is None
    without = measured([replace(view, shown=None)], "none")
    assert without["psnr_masked"] is without["ssim_uniform7_masked"] is None
    assert without["psnr"] == values["psnr"]


def test_average_needs_lpips(monkeypatch):
    monkeypatch.setattr(protocol_rows, "lpips_lacks", lambda net: None)
    monkeypatch.setattr(protocol_rows, "lpips", lambda a, b, *, net, mask=None: {"alex": 0.2, "vgg": 0.4}[net])
    values = measured([a_view(shown=torch.ones(16, 20, dtype=torch.bool))], "alex")
    expected = (10 ** (-values["psnr"] / 10) * math.sqrt(1 - values["ssim_uniform7"]) * 0.2) ** (1 / 3)
    assert values["average"] == pytest.approx(expected) == values["average_masked"]
    assert measured([a_view()], "vgg")["lpips"] == 0.4


def test_a_mean_over_some_of_the_views_is_none():
    shown = torch.ones(16, 20, dtype=torch.bool)
    values = measured([a_view(shown=shown), a_view()], "none")
    assert values["psnr_masked"] is None
    assert values["psnr"] is not None


@pytest.fixture
def tiny(monkeypatch):
    """A preset that takes no time, and compiles nothing."""
    recipe = Recipe(rays=32, samples=8, proposal_samples=8)
    preset = Preset(recipe, GridShape(levels=3, features=2, log2_slots=14, base=6, finest=20))
    for module in (protocol, protocol_rows):
        monkeypatch.setattr(module, "PRESETS", {"cpu": preset})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("tiny")
def test_a_scan_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(protocol_splits, "DTU_EXCLUDED", range(3, 49))  # two held-out views are enough here
    folder = scan(tmp_path / "scan7", 49)
    words = ["dtu", str(folder), "--views", "3", "--regularize", "paper", "--seeds", "1", "--steps", "2"]
    report = protocol.main([*words, "--device", "cpu", "--out", str(tmp_path / "out")])
    assert json.loads((tmp_path / "out" / "table.json").read_text()) == report
    (row,) = report["rows"]
    assert [row[name] for name in ("scene", "views", "regularize", "seed", "steps")] == ["scan7", 3, "paper", 1, 2]
    assert [name[-6:-4] for name in row["train"]] == ["25", "22", "28"]
    assert (row["test_views"], row["width"], row["height"], row["kind"]) == (2, 24, 16, "object")
    assert 0 < row["psnr"] < 40
    assert 0 < row["psnr_masked"] < 40
    assert row["lpips"] is row["average"] is row["depth_abs_rel"] is row["prior"] is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["table.json", "table.md", "table.tex"]
    said = capsys.readouterr()
    assert said.out == (tmp_path / "out" / "table.md").read_text()
    assert "DiffusioNeRF (alex)" in said.out
    assert "photos of 24x16; the protocol has (400, 300)" in said.err
    assert "No LPIPS and no Average" in said.err


@pytest.fixture
def fits(monkeypatch):
    """The fits that were made, each at once; every third is interrupted."""
    made = []

    def fit_row(protocol, job, how, state, device):
        made.append((job.scene, job.views, job.regularize, job.seed, job.steps))
        state.write_bytes(b"half")
        if len(made) == 3:
            raise KeyboardInterrupt
        names = ("scene", "views", "regularize", "seed", "steps")
        row = dict(zip(names, made[-1], strict=True))
        return {**row, **ROW, "psnr": 20.0 + job.seed**2, **how.told(job.regularize)}

    def terms_of(regularize, how, device):
        if how.prior == "nope":
            raise ValueError("no prior is called 'nope'")

    monkeypatch.setattr(protocol, "fit_row", fit_row)
    monkeypatch.setattr(protocol, "terms_of", terms_of)
    return made


def test_rows_that_are_there_are_not_computed_again(tmp_path, fits, capsys):
    llff(tmp_path, 10)
    words = ["llff", str(tmp_path), "--views", "3", "--regularize", "geometric", "prior", "--out", str(tmp_path / "o")]
    with pytest.raises(KeyboardInterrupt):
        protocol.main(words)
    assert "the same command goes on" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "o" / "table.json").read_text())["rows"]) == 2
    (left,) = (tmp_path / "o" / "fits").iterdir()
    assert left.name.endswith("-3-geometric-1-800")
    report = protocol.main(words)
    assert len(fits) == 7
    assert fits[2] == fits[3]
    assert len(set(fits)) == 6
    assert len(report["rows"]) == 6
    protocol.main(words)
    assert len(fits) == 7
    with pytest.raises(ValueError, match="the row of .* prior, seed 0 is of a fit with prior rooms-rgbd-24, not other"):
        protocol.main([*words, "--prior", "other"])
    with pytest.raises(ValueError, match="is of the protocol llff, not rooms"):
        protocol.main(["rooms", *words[1:]])
    assert len(fits) == 7
    line = report["lines"][0]
    assert (line["regularize"], line["seeds"], line["psnr"]) == ("geometric", 3, 21.0)  # the median of 20, 21, 24


@pytest.mark.parametrize("content", ["[]", "{}", '{"protocol": "llff", "rows": [{}]}', "no json"])
def test_a_damaged_table_is_one_line(tmp_path, fits, content):
    llff(tmp_path, 10)
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "table.json").write_text(content)
    with pytest.raises(ValueError, match=r"table.json") as error:
        protocol.main(["llff", str(tmp_path), "--views", "3", "--out", str(tmp_path / "o")])
    assert "\n" not in str(error.value)
    assert not fits


def test_mistakes_are_found_before_the_first_fit(tmp_path, fits):
    llff(tmp_path, 10)
    words = ["llff", str(tmp_path), "--out", str(tmp_path / "o")]
    for more, says in (
        (["--views", "3", "9"], "9 training views are asked for, but 8 of 10"),
        (["--views", "3", "--steps", "0"], "--steps must be at least 1"),
        (["--views", "3", "--seeds", "-1"], "--seeds must be 0 or more"),
        (["--views", "three"], "argument --views: invalid int value: 'three'. See --help."),
        (["--views", "3", "--prior", "nope"], "no prior is called 'nope'"),
    ):
        with pytest.raises(ValueError, match=says):
            protocol.main([*words, *more])
    assert not fits


def rows(**more):
    head = {"regularize": "prior", "steps": 9, "views": 3}
    return [{**head, "scene": s, "seed": i, **ROW, **more, "psnr": p} for s, i, p in (("a_1", 0, 20.0), ("b", 0, 23.0))]


def test_tables():
    lines = lines_of(rows())
    assert [(line["scene"], line["psnr"]) for line in lines] == [("a_1", 20), ("b", 23), ("mean of 2", 21.5)]
    report = {"lines": lines, "published": published("llff", [3, 4]), "notes": ["50 % of it"]}
    text = as_markdown(report)
    assert "| published | 3 | DiffusioNeRF (alex) |  |  | 19.79 | 0.568 |  | 0.209 | 0.127 |  |" in text
    assert "| a_1 | 3 | prior | 9 | 1 | 20.00 | 0.500 | 0.520 |  |  | 3 |" in text
    latex = as_latex(report)
    assert latex.startswith("% 50 % of it\n\\begin{tabular}")
    assert "a\\_1 & 3 & prior & 9 & 1 & 20.00 &" in latex
    assert latex.count("\\\\\n") == 1 + 3 + 5
    masked = {"lines": lines_of(rows(psnr_masked=21.0)), "published": published("dtu", [3]), "notes": []}
    assert "| published | 3 | RegNeRF |  |  |  | 18.89 |  | 0.745 |" in as_markdown(masked)
    assert published("rooms", [3]) == []


def test_objects_are_those_pixels_that_count(tmp_path):
    transforms(tmp_path, 4)
    scene = load_scene(tmp_path)
    objects = torch.ones_like(scene.images[..., 0], dtype=torch.bool)
    masks = objects.clone()
    masks[:, :3] = False
    image = lambda rays: (torch.full((14, 20, 3), 0.5), torch.ones(14, 20), torch.ones(14, 20))  # noqa: E731
    (view,) = render_views(replace(scene, objects=objects, masks=masks), image)
    assert torch.equal(view.shown, masks[0])
    assert summary([view])["psnr_masked"] == pytest.approx(psnr(view.rgb, view.photo, masks[0]))
    (view,) = render_views(scene, image)
    assert view.shown is None
    assert "psnr_masked" not in summary([view])


def test_how_tells_what_a_fit_uses():
    how = How(prior="p", ray_prior="r")
    assert (how.told("geometric")["prior"], how.told("geometric")["ray_prior"]) == (None, None)
    assert (how.told("paper+prior")["prior"], how.told("paper+prior")["ray_prior"]) == ("p", None)
    assert (how.told("prior")["prior"], how.told("prior")["ray_prior"]) == ("p", "r")
