"""`scorereg inspect`, `sample` and `evaluate`: what they print and write, and one line for each mistake."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rgbd_folders import rooms, transforms
from training_runs import quick, small

from scorereg import NetworkPrior, PriorCard, load_prior
from scorereg.data import PatchSpec
from scorereg.data.frames.images import image_patches
from scorereg.evaluation.datasets import evaluate_prior
from scorereg.priors.networks import build_network
from scorereg.training import export_prior, train_prior
from scorereg.training.export import open_prior


def tiny(channels, **facts):
    card = PriorCard(
        name="tiny", channels=channels, size=(8, 8), sigma_min=0.01, sigma_max=5.0, network={"patchify": 1}, **facts
    )
    return NetworkPrior(build_network("tiny", patch_size=8, channels=len(channels)), card)


@pytest.fixture(scope="module")
def rgbd(tmp_path_factory):
    """An untrained prior, which is the best pixelwise linear denoiser of data of standard deviation 1/2."""
    folder = tmp_path_factory.mktemp("prior") / "rgbd"
    measured = {
        "denoising": {"rooms": [{"sigma": 0.5, "rgb": 0.1, "rgb_linear": 0.2, "rgb_ratio": 0.5}]},
        "residual_quantiles": {"sigma": [0.5], "levels": [0.5, 0.9], "values": [[0.25, 0.75]], "data": "4 patches"},
    }
    prior = tiny(("r", "g", "b", "disparity"), d_min=0.5, focal=(15.0, 30.0), licence="CC0", **measured)
    prior.save_pretrained(folder)
    return folder


@pytest.fixture
def scenes(tmp_path):
    for i in range(2):
        transforms(tmp_path / "data" / f"t{i}", 2, seed=3 * i)
    rooms(tmp_path / "data" / "r", 2)
    return tmp_path / "data"


def test_inspect(call, rgbd):
    code, shown, said = call("inspect", rgbd)
    assert (code, said) == (0, "")
    for fact in ("r, g, b, disparity", "8 x 8 pixels", "0.01 to 5", "0.5 m / depth", "15 to 30 pixels", "CC0"):
        assert fact in shown
    assert "5.000" not in shown
    for measured in ("denoising error, rooms", "1.000e-01", "0.50", "4 patches", "0.2500", "0.7500"):
        assert measured in shown
    assert "expected" not in shown, "the card has no residuals there"
    parameters = sum(weight.numel() for weight in load_prior(rgbd).parameters())
    assert f"{parameters:,}" in shown
    code, shown, _ = call("inspect", rgbd, "--json")
    assert PriorCard.from_json(shown) == PriorCard.load(rgbd)


def test_inspect_reads_the_card_without_the_network(rgbd):
    code = "import sys\nfrom scorereg.cli import main\ntry: main()\nfinally: print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, "inspect", rgbd], capture_output=True, text=True, check=True)
    assert "8 x 8 pixels" in done.stdout
    assert "diffusers" not in done.stdout.splitlines()[-1].split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three steps, whose best checkpoint is made the first."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        folder = tmp_path_factory.mktemp("runs") / "run"
        data = [transforms(folder.with_name(name), 2, seed=i) for i, name in enumerate("ab")]
        train_prior(data, folder, small(steps=3, batch=2, save_every=1))
    for path in (folder / "checkpoints").glob("*.pt"):
        content = torch.load(path, weights_only=True)
        content.pop("sha256", None)  # which another best step would contradict
        torch.save(content | {"best": [1, 0.5]}, path)
    return folder


def test_inspect_a_run(call, run, tmp_path):
    """The measured card of its last step; that of a checkpoint, where it is another step's."""
    inside = PriorCard.load(run / "prior")
    assert PriorCard.from_json(call("inspect", run, "--json")[1]) == inside
    assert inside.denoising
    best = PriorCard.from_json(call("inspect", run, "--best", "--json")[1])
    assert (best.steps, best.denoising) == (1, {})
    on = Path(shutil.copytree(run, tmp_path / "on"))
    (on / "checkpoints" / "00000003.pt").unlink()
    card = PriorCard.from_json(call("inspect", on, "--json")[1])
    assert (card.steps, card.denoising) == (2, {})
    parameters = sum(weight.numel() for weight in load_prior(run / "prior").parameters())
    for words in ([run], [run, "--best"], [on]):
        assert f"{parameters:,}" in call("inspect", *words)[1]


def test_a_run_is_opened_where_it_is_to_compute(run):
    assert {weight.device.type for weight in open_prior(run, "meta").parameters()} == {"meta"}


def test_sample_and_evaluate_a_run(call, run, scenes, tmp_path):
    """As the prior that is exported of it; `--best` is another checkpoint."""
    exported = {}
    for name, words in (("newest", []), ("best", ["--best"])):
        exported[name] = tmp_path / name
        export_prior(run, exported[name], best=bool(words), half=False)
        for source, out in ((run, tmp_path / "a.png"), (exported[name], tmp_path / "b.png")):
            how = words if source == run else []
            assert call("sample", source, "-n", 2, "--steps", 2, "--out", out, *how)[0] == 0
            code, *_ = call("evaluate", source, scenes / "r", "--count", 4, "--out", out.with_suffix(""), *how)
            assert code == 0
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        errors = [json.loads((tmp_path / out / "denoising.json").read_text()) for out in "ab"]
        assert errors[0] == errors[1]
        exported[name] = (tmp_path / "a.png").read_bytes(), errors[0]
    assert exported["newest"][0] != exported["best"][0]
    assert exported["newest"][1] != exported["best"][1]


def test_the_device_is_the_gpu_where_there_is_one(call, rgbd, tmp_path, monkeypatch):
    devices = []
    monkeypatch.setattr("scorereg.training.export.open_prior", lambda _, device, best: devices.append(device) or 1 / 0)
    for found, words in ((True, []), (True, ["--device", "cpu"]), (False, [])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert call("sample", rgbd, "--out", tmp_path / "x.png", *words)[0] == 1
    assert devices == ["cuda", "cpu", "cpu"]
    code, _, said = call("sample", rgbd, "--out", tmp_path / "x.png", "--device", "cuda")
    assert code == 2
    assert "device 'cuda' needs an NVIDIA GPU that torch can use, and there is none" in said


def test_sample(call, rgbd, tmp_path):
    out = tmp_path / "new" / "grid.png"
    code, shown, _ = call("sample", rgbd, "-n", 3, "--steps", 2, "--out", out)
    assert (code, shown) == (0, f"samples: {out}\n")
    with Image.open(out) as image:
        assert image.size == (3 * 18, 3 * 3 * 10)
        first = np.asarray(image)
    call("sample", rgbd, "-n", 3, "--steps", 2, "--out", out, "--seed", 1)
    with Image.open(out) as image:
        assert (np.asarray(image) != first).any()
    call("sample", rgbd, "-n", 3, "--steps", 2, "--out", out, "--seed", 0)
    with Image.open(out) as image:
        assert (np.asarray(image) == first).all()


def test_evaluate(call, rgbd, scenes, tmp_path):
    out = tmp_path / "errors"
    code, shown, _ = call("evaluate", rgbd, scenes, scenes / "r", "--out", out, "--count", 8)
    assert code == 0
    for word in ("data", "disparity", "linear", "ratio", "residual", "expected", str(out / "denoising.json")):
        assert word in shown.replace("\n", "")
    rows = json.loads((out / "denoising.json").read_text())
    assert list(rows) == ["data", "r"]
    assert [row["sigma"] for row in rows["r"]] == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
    row = rows["data"][3]
    assert {"r", "g", "b", "disparity", "b_linear", "disparity_ratio", "g_residual", "r_expected"} <= set(row)
    residual = (0.1**2 / (0.5**2 + 0.1**2)) ** 2 * (0.1**2 + 0.3**2) / 0.1**2  # of the pixelwise denoiser, about
    assert 0.2 * residual < row["r_residual"] < 5 * residual
    assert (out / "denoising.png").is_file()


def test_evaluate_writes_to_errors_by_default(call, rgbd, scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, shown, _ = call("evaluate", rgbd, scenes / "r", "--count", 4)
    assert code == 0
    assert "errors: errors" in shown
    assert (tmp_path / "errors" / "denoising.json").is_file()


def test_evaluate_leaves_a_bad_frame_out_with_skip_bad(call, rgbd, tmp_path):
    data = transforms(tmp_path / "data", 120)
    (data / "7.png").write_bytes(b"half")
    code, _, said = call("evaluate", rgbd, data, "--count", 4, "--out", tmp_path / "out")
    assert code == 2
    assert "7.png cannot be read as an image" in said
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, said = call("evaluate", rgbd, data, "--count", 4, "--out", tmp_path / "out", "--skip-bad")
    assert code == 0
    assert "scorereg: 1 of 120 frames were left out.\n" in said
    assert (tmp_path / "out" / "denoising.json").is_file()


def test_filter_and_prior_are_measured_on_other_frames_than_the_filter_is_fitted_to(scenes, monkeypatch, tmp_path):
    from scorereg.data.frames import load as measured

    seen = []
    full = measured.load_pyramid
    monkeypatch.setattr(
        measured, "load_pyramid", lambda frames, *a, **k: (seen.append(frames), full(frames, *a, **k))[1]
    )
    evaluate_prior(tiny(("disparity",), d_min=0.5), [scenes], tmp_path / "out", count=4, fit=8)
    fitted, held = ({frame.color for frame in frames} for frames in seen)
    assert not fitted & held
    assert len(fitted | held) == 6


@pytest.mark.parametrize(("channels", "mode"), [(("r", "g", "b"), "RGB"), (("grey",), "L")])
def test_images_serve_priors_without_depth(channels, mode, tmp_path):
    generator = np.random.default_rng(0)
    for i in range(8):
        pixels = generator.integers(0, 256, (12, 10 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"{i}.png")
    errors = evaluate_prior(tiny(channels, depth=None), [tmp_path], tmp_path / "out", count=300, fit=300, sigmas=(0.5,))
    variance = 4 / 12 * (1 if mode == "RGB" else 0.299**2 + 0.587**2 + 0.114**2)  # of uniform noise in [-1, 1]
    (row,) = errors[tmp_path.name]
    assert row[f"{channels[0]}_linear"] == pytest.approx(variance * 0.25 / (variance + 0.25), rel=0.15)


def test_patches_of_images_are_where_they_are(tmp_path):
    ramp = np.arange(0, 60, dtype=np.uint8).reshape(6, 10)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    x = image_patches(
        [tmp_path / "a.png"], 500, PatchSpec(4, "gray", range=(0.0, 255.0)), torch.Generator().manual_seed(0)
    )[:, 0]
    assert {tuple(divmod(int(corner), 10)) for corner in x[:, 0, 0].round()} == {
        (i, j) for i in range(3) for j in range(7)
    }
    corner = x[:, :1, :1]
    torch.testing.assert_close(x - corner, (10.0 * torch.arange(4)[:, None] + torch.arange(4)).expand(500, 4, 4))


def test_mistakes_are_one_line_and_exit_2(refused, rgbd, scenes, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    damaged = Path(shutil.copytree(rgbd, tmp_path / "damaged"))
    (damaged / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    (scenes / "t0" / "0.png").rename(tmp_path / "empty" / "note.txt")
    mistakes = [
        (("inspect", "nobody"), "no prior is called 'nobody'"),
        (("sample", "nobody", "--out", tmp_path / "x.png"), "no prior is called 'nobody'"),
        (("sample", rgbd, "-n", 0, "--out", tmp_path / "x.png"), "at least 1 patch"),
        (("sample", rgbd, "--steps", 0, "--out", tmp_path / "x.png"), "1 step"),
        (("sample", rgbd, "--out", tmp_path / "file" / "x.png"), "file cannot be written"),
        (("sample", rgbd, "--out", tmp_path), "cannot be written (it is a folder)"),
        (("sample", rgbd, "--patch", 10, "--out", tmp_path / "x.png"), "10"),
        (("evaluate", rgbd, tmp_path / "empty", "--out", tmp_path / "o"), "holds no RGB-D frames"),
        (("evaluate", rgbd, tmp_path / "gone", "--out", tmp_path / "o"), "gone is no folder"),
        (("evaluate", rgbd, scenes, "--out", tmp_path / "file"), "file cannot be written"),
        (("evaluate", rgbd, scenes / "r", "--out", tmp_path / "o", "--count", 0), "at least 1 patch"),
        (("evaluate", rgbd, scenes / "r", "--out", tmp_path / "o", "--count", 1, "--patch", 10), "got (10, 10)"),
        (("evaluate", rgbd, scenes / "r", "--device", "gpu"), "device must be cpu or cuda, but is 'gpu'"),
        (("inspect", rgbd, "--best"), "is no run, so it has no best checkpoint"),
        (("sample", rgbd, "--best", "--out", tmp_path / "x.png"), "is no run, so it has no best checkpoint"),
        (("inspect", damaged), "diffusion_pytorch_model.safetensors is damaged or no safetensors file"),
    ]
    for words, says in mistakes:
        assert says in refused(*words)
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("channels", "files", "says"),
    [
        (("grey",), 0, "holds no images"),
        (("grey",), 1, "holds 1 images"),
        (("grey", "alpha"), 2, "one grey channel, but the prior knows grey, alpha"),
        (("r", "g", "b"), 2, "has 4x4 pixels, fewer than a patch of 8"),
    ],
)
def test_folders_that_do_not_serve(channels, files, says, tmp_path):
    for i in range(files):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match=says):
        evaluate_prior(tiny(channels, depth=None), [tmp_path], tmp_path / "out")


def test_what_a_file_does_not_say_is_an_option(call, tmp_path):
    """A checkpoint of denoising-diffusion-pytorch that names neither its version nor its objective."""
    from scorereg.priors.adapters.lucidrains_unet import AttentionShape, Style, Unet

    style = Style(centered=False, averaged=False, standardized=False, grouped=True, unshuffled=True, groups=2)
    kinds = (AttentionShape(False, 1, 4, 1), AttentionShape(True, 1, 4, 1))
    network = Unet(3, 3, widths=(4, 4), time=(4, 16), attention=kinds, style=style)
    betas = torch.linspace(1e-4, 0.02, 50)
    state = {f"model.{name}": value for name, value in network.state_dict().items()} | {"betas": betas}
    torch.save({"step": 7, "model": state}, tmp_path / "model-1.pt")
    code, _, said = call("inspect", tmp_path / "model-1.pt")
    assert code == 2
    assert "does not say what its network predicts" in said
    assert "On the command line: --prediction, --groups." in said
    told = ("--prediction", "v_prediction", "--groups", 2)
    code, shown, said = call("inspect", tmp_path / "model-1.pt", *told, "--json")
    assert (code, said) == (0, "")
    card = PriorCard.from_json(shown)
    assert card == load_prior(tmp_path / "model-1.pt", prediction="v_prediction", groups=2).card
    assert "weights: `model.model`, not averaged" in card.assumed
    shown = call("inspect", tmp_path / "model-1.pt", *told, "--data-range", 0, 1, "--channels", "a, b,c")[1]
    assert "a, b, c" in shown
    assert "weights: `model.model`" in shown
    assert "data_range" not in shown
    code, _, said = call(
        "sample", tmp_path / "model-1.pt", *told, "--patch", 8, "-n", 1, "--steps", 2, "--out", tmp_path / "s.png"
    )
    assert code == 0
    assert (tmp_path / "s.png").is_file()
    code, _, said = call("inspect", "rooms-rgbd-24", "--prediction", "sample")
    assert code == 2
    assert "prediction='sample' means nothing for the shipped prior rooms-rgbd-24" in said
