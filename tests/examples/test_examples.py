"""The commands that a user runs, on a small scene that is written here."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from torch.testing import assert_close
from typer.testing import CliRunner

from benchmarks import few_views, score_loss
from examples.nerf_fewshot import demo
from examples.nerf_fewshot.__main__ import app
from scorereg.cli import one_line_errors
from scorereg.fit import PRESETS, Fit, Preset, Recipe, pictures
from scorereg.fit.views import View
from scorereg.ops import GridShape
from scorereg.priors.card import PriorCard
from scorereg.priors.load import shipped_priors
from scorereg.priors.networks import NETWORK_SIZES, NetworkPrior, build_network
from scorereg.rendering.hash_grid import DensityGrid, HashGrid

ROOT = Path(__file__).resolve().parent.parent.parent
WIDTH, HEIGHT = 32, 28
TINY = Preset(Recipe(rays=48, samples=8, proposal_samples=12), GridShape(2, 2, 12, 4, 8), patches=1)
TRAIN, TEST = ["images/1.png", "images/2.png", "images/4.png"], ["images/0.png", "images/3.png"]


def write_scene(folder, *, depth=True, **more):
    """A textured wall 2 m before five cameras in a row, as nerfstudio writes it; entries that are None are left out."""
    (folder / "images").mkdir(parents=True)
    frames = []
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    for i in range(5):
        shift = 4 * i
        waves = [np.sin(0.4 * (x + shift)), np.cos(0.3 * y), np.sin(0.2 * (x + shift) + 0.3 * y)]
        photo = (128 + 100 * np.stack(waves, -1)).astype(np.uint8)
        Image.fromarray(photo).save(folder / f"images/{i}.png")
        matrix = np.diag([1.0, -1, -1, 1])
        matrix[0, 3] = shift * 2 / 30
        frame = {"file_path": f"images/{i}.png", "transform_matrix": matrix.tolist()}
        if depth:
            name = f"depth-{i}.png"
            Image.fromarray(np.full((HEIGHT, WIDTH), 2000, np.uint16)).save(folder / name)
            frame["depth_file_path"] = name
        frames.append(frame)
    table = {"fl_x": 30.0, "w": WIDTH, "h": HEIGHT, "near": 1.0, "far": 4.0, "metric": True, "frames": frames}
    table |= {"train_filenames": TRAIN, "test_filenames": TEST, **more}
    text = json.dumps({key: value for key, value in table.items() if value is not None})
    (folder / "transforms.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def scene(tmp_path):
    return write_scene(tmp_path / "wall")


@pytest.fixture
def tiny(monkeypatch):
    """Dense levels alone in place of the preset, so that nothing is compiled."""
    monkeypatch.setitem(PRESETS, "cpu", TINY)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    """The folder of an untrained prior."""
    torch.manual_seed(0)
    card = PriorCard(
        name="untrained", channels=("r", "g", "b", "disparity"), size=(24, 24), sigma_min=0.002, sigma_max=2.0,
        d_min=0.5, focal=(30.0, 60.0), network={"patchify": NETWORK_SIZES["tiny"]["patchify"]},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("prior") / "untrained"
    NetworkPrior(build_network("tiny", patch_size=24, channels=4), card).save_pretrained(folder)
    return folder


def fit(scene, out, *more, steps=2, video=0):
    """Run the command in this process; a mistake is raised."""
    result = CliRunner().invoke(
        app, [str(scene), "--out", str(out), "--steps", str(steps), "--video", str(video), "--preset", "cpu", *more]
    )
    if result.exception is not None:
        raise result.exception
    return result


def read(out):
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


# nerf_fewshot


@pytest.mark.usefixtures("tiny")
def test_a_run_that_was_cut_off_goes_on_only_as_the_same(scene, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "fit.pt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"fit\.pt holds no readable fit"):
        fit(scene, out, "--regularize", "none", "--resume")
    fit(scene, out, "--regularize", "none")
    assert read(out)["steps"] == 2


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("regularize", ["none", "geometric", "prior"])
def test_a_run_leaves_metrics_views_and_a_field(regularize, scene, prior, tmp_path):
    out = tmp_path / "run"
    result = fit(scene, out, "--regularize", regularize, "--prior", str(prior), "--seed", "7")
    metrics = read(out)
    assert metrics["scene"] == "wall"
    assert metrics["regularize"] == regularize
    assert metrics["prior"] == (str(prior) if regularize == "prior" else None)
    assert (metrics["steps"], metrics["seed"]) == (2, 7)
    assert metrics["device"].startswith("cpu")
    assert metrics["seconds"] > 0
    assert 0 < metrics["psnr"] < 40
    assert -1 <= metrics["ssim"] <= 1
    assert metrics["depth_abs_rel"] > 0
    assert metrics["train"] == TRAIN
    assert [view["view"] for view in metrics["views"]] == TEST
    assert not (out / "fit.pt").exists()
    for name in ("psnr", "ssim", "depth_abs_rel"):
        assert_close(sum(view[name] for view in metrics["views"]) / 2, metrics[name])
    for name in ("0", "3"):
        with Image.open(out / "views" / f"{name}.png") as picture:
            assert picture.size == (5 * WIDTH, HEIGHT)  # photo, render, depth, true depth, error
    history = [json.loads(line) for line in (out / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [values["step"] for values in history] == [0, 1]
    assert f"PSNR {metrics['psnr']:.2f} dB" in result.stdout
    assert f"depth abs-rel {metrics['depth_abs_rel']:.3f}" in result.stdout
    assert str(out) in result.stdout.replace("\n", "")
    left = [path.name for path in out.rglob("*") if "part" in path.name]
    assert not left
    assert not (out / "path.mp4").exists()


@pytest.mark.usefixtures("tiny")
def test_the_ray_prior_is_beside_the_other_unless_it_is_none(scene, prior, tmp_path):
    for name, told in (("rays-64", "rays-64"), ("none", None)):
        fit(scene, tmp_path / name, "--prior", str(prior), "--ray-prior", name)
        assert read(tmp_path / name)["ray_prior"] == told
        history = (tmp_path / name / "history.jsonl").read_text(encoding="utf-8")
        assert ('"ray_prior"' in history) == (told is not None)
    fit(scene, tmp_path / "geometric", "--regularize", "geometric")
    assert read(tmp_path / "geometric")["ray_prior"] is None


@pytest.mark.usefixtures("tiny")
def test_an_estimator_is_chosen_and_told(scene, prior, tmp_path):
    fit(scene, tmp_path / "run", "--prior", str(prior), "--estimator", "vsd")
    assert (read(tmp_path / "run")["estimator"], read(tmp_path / "run")["gate"]) == ("vsd", None)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--estimator", "SDS"], "must be one of direct, sds, sjc-unreduced, sdi, vsd, but is 'SDS'"),
        (["--gate", "0.99"], "records residual_quantiles, which this one does not"),
        (["--gate", "0.99", "--regularize", "geometric"], "mean nothing with --regularize geometric"),
        (["--estimator", "sds", "--regularize", "none"], "mean nothing with --regularize none"),
    ],
)
def test_estimators_and_gates_that_cannot_be_are_named(options, says, scene, prior, tmp_path):
    with pytest.raises(ValueError, match=says):
        fit(scene, tmp_path / "run", "--prior", str(prior), *options)


@pytest.mark.usefixtures("tiny")
def test_the_field_can_be_loaded_again(scene, tmp_path):
    fit(scene, tmp_path / "run", "--regularize", "none", "--seed", "3")
    loaded = Fit.load(tmp_path / "run")
    field = loaded.field
    assert isinstance(field, HashGrid)
    assert isinstance(loaded.proposal, DensityGrid)
    density, _ = field(torch.rand(5, 3), torch.randn(5, 3))
    assert torch.isfinite(density).all()


@pytest.mark.usefixtures("tiny")
def test_a_seed_repeats_a_run(scene, tmp_path):
    runs = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        fit(scene, tmp_path / name, "--regularize", "geometric", "--seed", seed)
        runs.append(read(tmp_path / name)["views"])
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.usefixtures("tiny")
def test_a_run_may_go_into_the_same_folder_again_and_leaves_nothing_of_the_one_before(scene, tmp_path):
    out = tmp_path / "run"
    fit(scene, out, "--regularize", "none", "--seed", "1", video=3)
    (out / "views" / "of-another-scene.png").write_bytes(b"")
    assert (out / "path.mp4").is_file()
    fit(scene, out, "--regularize", "none", "--seed", "2")
    assert read(out)["seed"] == 2
    assert not (out / "path.mp4").exists()
    assert sorted(path.name for path in (out / "views").iterdir()) == [
        "0.png",
        "3.png",
        *[f"train-{i}.png" for i in (1, 2, 4)],
    ]


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_run_says_how_to_go_on(scene, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("scorereg.fit.folder.render_views", interrupted)
    told = CliRunner().invoke(
        app, [str(scene), "--out", str(tmp_path), "--steps", "2", "--regularize", "none", "--preset", "cpu"]
    )
    assert told.exit_code == 130
    assert told.stderr.splitlines()[-1].endswith("the same command with --resume goes on")


@pytest.mark.usefixtures("tiny")
def test_the_benchmark_takes_no_fit_of_other_settings_for_its_own(scene, tmp_path):
    settings = {"regularize": "none", "seed": 0, "steps": 2, "views": 3, "prior": "rooms-rgbd-24", "ray_prior": "none"}
    first = few_views._run(scene, tmp_path, **settings)
    assert few_views._run(scene, tmp_path, **settings) == first
    assert few_views._run(scene, tmp_path, **settings | {"steps": None, "prior": "another"}) == first
    with pytest.raises(ValueError, match=r"metrics.json is of a fit with seed 0, not 1; steps 2, not 3\. Give another"):
        few_views._run(scene, tmp_path, **settings | {"seed": 1, "steps": 3})
    with pytest.raises(ValueError, match=r"regularize none, not prior; prior None, not rooms"):
        few_views._run(scene, tmp_path, **settings | {"regularize": "prior"})


@pytest.mark.usefixtures("tiny")
def test_without_true_depth_there_is_no_depth_error(tmp_path):
    scene = write_scene(tmp_path / "wall", depth=False)
    result = fit(scene, tmp_path / "run", "--regularize", "none")
    metrics = read(tmp_path / "run")
    assert metrics["depth_abs_rel"] is None
    assert all(view["depth_abs_rel"] is None for view in metrics["views"])
    assert "no true depth" in result.stdout
    with Image.open(tmp_path / "run" / "views" / "0.png") as picture:
        assert picture.size == (3 * WIDTH, HEIGHT)


@pytest.mark.usefixtures("tiny")
def test_a_scene_without_test_views_is_fitted_all_the_same(tmp_path):
    scene = write_scene(tmp_path / "wall", train_filenames=TRAIN + TEST, test_filenames=None)
    fit(scene, tmp_path / "run", "--regularize", "none")
    metrics = read(tmp_path / "run")
    assert metrics["psnr"] is None
    assert metrics["views"] == []


@pytest.mark.usefixtures("tiny")
def test_a_test_view_without_true_depth_is_left_out_of_the_depth_error(tmp_path):
    scene = write_scene(tmp_path / "wall")
    table = json.loads((scene / "transforms.json").read_text(encoding="utf-8"))
    del table["frames"][0]["depth_file_path"]
    (scene / "transforms.json").write_text(json.dumps(table), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"0\.png"):
        fit(scene, tmp_path / "run", "--regularize", "none")
    metrics = read(tmp_path / "run")
    known = metrics["views"][1]["depth_abs_rel"]
    assert metrics["views"][0]["depth_abs_rel"] is None
    assert metrics["depth_abs_rel"] == known


@pytest.mark.usefixtures("tiny")
def test_test_views_of_one_name_in_two_folders_each_get_a_picture(tmp_path):
    scene = write_scene(tmp_path / "wall")
    (scene / "more").mkdir()
    (scene / "images/3.png").rename(scene / "more/0.png")
    text = (scene / "transforms.json").read_text(encoding="utf-8").replace("images/3.png", "more/0.png")
    (scene / "transforms.json").write_text(text, encoding="utf-8")
    fit(scene, tmp_path / "run", "--regularize", "none")
    assert len(list((tmp_path / "run" / "views").glob("*.png"))) == 2 + len(TRAIN)


@pytest.mark.usefixtures("tiny")
def test_max_size_scale_and_rays_are_heard(scene, tmp_path):
    fit(scene, tmp_path / "run", "--regularize", "none", "--max-size", "16", "--scale", "1.5")
    with Image.open(tmp_path / "run" / "views" / "0.png") as picture:
        assert picture.size == (5 * WIDTH // 2, HEIGHT // 2)
    assert read(tmp_path / "run")["scale"] == 1.5
    assert read(tmp_path / "run")["rays"] == TINY.recipe.rays
    fit(scene, tmp_path / "run", "--regularize", "none", "--rays", "16")
    assert read(tmp_path / "run")["rays"] == 16


@pytest.mark.usefixtures("tiny")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # imageio leaves its pipes open
def test_a_flight_is_filmed(scene, tmp_path):
    imageio = pytest.importorskip("imageio.v2")
    pytest.importorskip("imageio_ffmpeg")
    fit(scene, tmp_path / "run", "--regularize", "none", video=4)
    with imageio.get_reader(tmp_path / "run" / "path.mp4") as film:
        frames = [np.asarray(frame) for frame in film]
    assert len(frames) == 4
    assert frames[0].shape == (HEIGHT // 2, WIDTH, 3)  # colour beside depth, at half the size
    assert not [path.name for path in (tmp_path / "run").rglob("*part*")]
    gc.collect()  # its warnings belong here


# mistakes


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--regularize", "both"], "must be one of none, geometric, prior, paper, paper+prior, but is 'both'."),
        (["--preset", "tpu"], "--preset must be cpu or gpu, but is 'tpu'."),
        (["--backend", "cuda"], "--backend must be one of auto, compiled, eager, tinycudann, but is 'cuda'."),
        (["--backend", "tinycudann"], "--backend tinycudann needs tiny-cuda-nn, which is not installed."),
        (["--steps", "0"], "--steps must be at least 1, but is 0."),
        (["--rays", "0"], "--rays must be at least 1, but is 0."),
        (["--views", "4"], "4 training views are asked for, but only 3"),
        (["--views", "0"], "at least 1 training view is needed, but views=0"),
        (["--scale", "-1"], "scale is metres per unit of the file and must be above 0"),
        (["--prior", "nonesuch"], "no prior is called 'nonesuch'"),
        (["--ray-prior", "nonesuch"], "no prior is called 'nonesuch'"),
        (["--ray-prior", "rooms-rgbd-24"], "not of the weights along rays. Choose rays-64"),
        (["--prior", "rays-64"], "--prior rays-64: RGBD makes patches with channels"),
        (["--prior", "blocks-32"], "--prior blocks-32: RGBD makes patches with channels"),
        (["--max-size", "4"], "photos of 4x3 pixels are too small"),
        (["--seed", "99999999999999999999999"], "--seed must be from 0 to 2^63 - 1"),
        (["--out", "FOLDER"], "metrics.json is a folder, where a file is to be written. Move it away"),
        (["--out", "FILE"], "cannot be written (Not a directory). Choose another --out."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(more, says, scene, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tinycudann", None)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "metrics.json").mkdir(parents=True)
    paths = {"FILE": "file/run", "FOLDER": "folder"}
    more = [str(tmp_path / paths[item]) if item in paths else item for item in more]
    arguments = [str(scene), "--out", str(tmp_path / "run"), "--steps", "1", "--video", "0", *more]
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        app(arguments, standalone_mode=False)
    assert stopped.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("scorereg: ")
    assert says in last
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_missing_scene_is_one_line_and_exit_code_2(tmp_path):
    """As a user sees it: another process, and nothing else on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.nerf_fewshot", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run")],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"scorereg: {tmp_path / 'nowhere'}: there is no such folder")
    assert done.stdout == ""


# as shipped: the presets, the compiler, the room and its prior


def run_module(name, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", name, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_preset_runs(scene, tmp_path):
    run_module(
        "examples.nerf_fewshot", scene, "--regularize", "geometric", "--steps", 2, "--video", 0, "--out", tmp_path
    )
    assert read(tmp_path)["steps"] == 2


@pytest.mark.slow
def test_the_demo_runs(tmp_path):
    if not demo.ROOM.is_dir():
        pytest.skip("the bundled room examples/nerf_fewshot/room is not there")
    if "rooms-rgbd-24" not in shipped_priors():
        pytest.skip("the shipped prior rooms-rgbd-24 is not there")
    said = run_module("examples.nerf_fewshot.demo", "--steps", 2, "--out", tmp_path)
    for kind in demo.KINDS:
        assert kind in said
        assert read(tmp_path / kind)["regularize"] == kind
    assert (tmp_path / "demo.png").is_file()
    assert (tmp_path / "prior" / "path.mp4").is_file()


# the demo's table and picture


def view(name, error):
    truth = 2 + torch.rand(HEIGHT, WIDTH)
    truth[0, 0] = 0  # unknown
    rgb = torch.rand(HEIGHT, WIDTH, 3)
    return View(name, rgb, truth.clamp_min(1) * (1 + error), rgb.clamp(0.1, 0.9), truth)


def test_demo_table():
    values = {"psnr": 21.234, "ssim": 0.5678, "depth_abs_rel": 0.1239, "seconds": 61.4}
    table = demo._table({"none": values, "prior": {**values, "psnr": 9.5}})
    assert table.splitlines() == [
        "regularize    PSNR dB    SSIM  depth abs-rel  seconds",
        "none            21.23   0.568          0.124       61",
        "prior            9.50   0.568          0.124       61",
    ]


def test_demo_picture_shows_the_view_of_middling_depth():
    errors = {"first.png": 0.1, "second.png": 0.3, "third.png": 0.2}
    views = {kind: [view(name, error) for name, error in errors.items()] for kind in demo.KINDS}
    middling = views["none"][2]
    picture = demo._picture(views, 1.0, 4.0)
    top, left = pictures._LABEL, 96
    shown = picture[top : top + HEIGHT, left : left + WIDTH]
    assert_close(shown, middling.photo, rtol=0, atol=0.5 / 255 + 1e-6)
    below = picture[top + HEIGHT + pictures._GAP :][:HEIGHT, left : left + WIDTH]
    assert_close(below, middling.rgb, rtol=0, atol=0.5 / 255 + 1e-6)
    height = top + 4 * (HEIGHT + pictures._GAP)
    assert picture.shape == (height, left + 3 * (WIDTH + pictures._GAP), 3)
    assert_close(picture[top + 4 : top + HEIGHT, -WIDTH:], torch.ones(HEIGHT - 4, WIDTH, 3))  # the truth has no error


# pictures


def test_near_is_bright_far_is_dark_and_unknown_is_black():
    row = pictures.paint_depth(torch.tensor([[0.0, 1.0, 1.5, 2.0, 3.9]]), 1.0, 4.0).sum(-1)[0]
    assert row[0] == 0
    assert (row[1:].diff() < 0).all()


def test_errors_are_relative_and_end_at_white():
    truth = torch.tensor([[0.0, 2.0, 2.0, 4.0, 2.0]])
    painted = pictures.paint_error(torch.tensor([[9.0, 2.0, 2.4, 4.8, 9.0]]), truth).sum(-1)[0]
    assert painted[0] < 0.05  # unknown
    assert painted[1] < 0.05  # exact
    assert_close(painted[2], painted[3])  # 20 % both
    assert painted[4] > 2.5


def test_a_saved_picture_is_read_back(tmp_path):
    image = torch.rand(5, 7, 3)
    image[0, 0] = torch.tensor([-1.0, 0.5, 3.0])
    pictures.save(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        back = torch.from_numpy(np.array(saved)).float() / 255
    assert_close(back, image.clamp(0, 1), rtol=0, atol=0.5 / 255 + 1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


# benchmarks


def test_the_score_loss_benchmark_prints_json():
    command = typer.Typer()
    command.command()(score_loss.main)
    result = CliRunner().invoke(command, ["--prior", "tiny", "--batch", "1", "--repeats", "5", "--json"])
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)
    assert (first["normalize"], second["normalize"]) == (None, "rms")
    for entry in (first, second):
        assert entry["prior"] == "tiny"
        assert min(entry[name] for name in ("bare_ms", "loss_ms", "hook_ms")) > 0
        assert min(entry[name] for name in ("loss_ratio", "hook_ratio")) > 0.2
