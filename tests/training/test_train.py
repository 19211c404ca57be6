"""Training: a run, what it leaves, its resumption to the bit, and its errors."""

import functools
import json
import math
import shutil
import signal

import pytest
import torch
from PIL import Image
from rgbd_folders import pairs, rooms, transforms
from training_runs import SMALL, Waves, assert_same, content, quick, small

from scorereg import NetworkPrior, load_prior
from scorereg.callbacks import TensorBoard
from scorereg.training import train_prior
from scorereg.training.checkpoint import ema_prior
from scorereg.training.step import train_step

pytest.importorskip("accelerate")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    quick(monkeypatch)


@pytest.fixture
def scenes(tmp_path):
    """Three scenes in two layouts below one root."""
    root = tmp_path / "data"
    for i in range(2):
        transforms(root / f"scene-{i}", 2, seed=3 * i)
    rooms(root / "scene-2", 2)
    return root


@pytest.fixture
def in_step(monkeypatch):
    """A function that has something happen before the n-th step."""
    from scorereg.training import train

    def arrange(n: int, happen) -> None:
        def step(state, *rest):
            if state.step == n - 1:
                happen()
            return train_step(state, *rest)

        monkeypatch.setattr(train, "train_step", step)

    return arrange


def lines(out) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_what_it_says(scenes, tmp_path):
    out = tmp_path / "run"
    extra = pairs(tmp_path / "real")
    prior = train_prior([scenes], out, small(steps=3), evaluate=[extra], name="n", licence="L", credits=("C",))
    assert prior == out / "prior"
    names = {"checkpoints", "metrics.jsonl", "prior", "samples.png", "denoising.json", "denoising.png"}
    assert {p.name for p in out.iterdir()} == names
    assert [p.name for p in sorted((out / "checkpoints").iterdir())] == ["00000002.pt", "00000003.pt", "best.json"]
    logged = lines(out)
    assert [(line["step"], "loss" in line) for line in logged] == [(2, False), (3, True), (3, False)]
    assert logged[1]["loss"] > 0
    assert logged[1]["gradient"] > 0
    assert logged[1]["images_per_second"] > 0
    assert set(logged[0]["denoising"]) == {"0.02", "0.1", "0.5"}
    card = load_prior(prior).card
    assert (card.name, card.licence, card.credits, card.steps) == ("n", "L", ("C",), 3)
    assert (card.channels, card.size, card.d_min) == (("r", "g", "b", "disparity"), (8, 8), 0.5)
    assert card.focal == (15.0, 30.0)
    assert card.training["batch"] == 4
    assert len(card.held_out) == 1
    assert card.data == "4 RGB-D frames of 2 scenes (data)"
    assert set(card.denoising) == {"held-out", "real"}
    assert json.loads((out / "denoising.json").read_text()) == card.denoising
    row = card.denoising["real"][0]
    suffixes = ("", "_linear", "_ratio", "_residual", "_expected")
    assert set(row) == {"sigma", *(name + suffix for name in ("rgb", "disparity") for suffix in suffixes)}
    assert card.residual_quantiles["levels"] == [0.5, 0.9, 0.99]
    assert card.residual_quantiles["data"] == "32 held-out patches, as they are, no noise added"
    with Image.open(out / "samples.png") as image:
        assert image.width > 2 * 8


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_to_the_bit(tmp_path, in_step, monkeypatch, kind):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    settings = small(save_every=4)
    assert train_prior(Waves(), whole, settings)
    handler = signal.getsignal(kind)
    with monkeypatch.context() as patch:
        in_step(3, lambda: signal.raise_signal(kind))
        assert train_prior(Waves(), parted, settings) is None
        patch.undo()
    assert signal.getsignal(kind) is handler
    assert content(parted)["step"] == 3, "the step in hand is finished, and saved though no checkpoint was due"
    assert not (parted / "prior").exists()
    in_step(99, lambda: None)
    train_prior(Waves(), parted, settings, resume=True)
    assert content(whole)["step"] == content(parted)["step"] == 5
    assert_same(content(whole)["average"], content(parted)["average"])
    assert_same(content(whole)["optimizer"], content(parted)["optimizer"])
    weights = "prior/diffusion_pytorch_model.safetensors"
    assert (whole / weights).read_bytes() == (parted / weights).read_bytes()


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path, in_step, monkeypatch):
    """Killed in step 4, after the checkpoint of step 2: lines of later steps are removed, and logged again."""
    from scorereg.training import log, train

    def die():
        raise RuntimeError("power cut")

    whole, parted = tmp_path / "whole", tmp_path / "parted"
    monkeypatch.setattr(train, "Log", functools.partial(log.Log, every=1))
    train_prior(Waves(), whole, SMALL)
    in_step(4, die)
    with pytest.raises(RuntimeError, match="power cut"):
        train_prior(Waves(), parted, SMALL)
    with (parted / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    (parted / "checkpoints" / ".00000004.pt.new").write_bytes(b"half")
    in_step(99, die)
    train_prior(Waves(), parted, SMALL, resume=True)
    assert not list((parted / "checkpoints").glob(".*"))
    assert_same(content(whole), content(parted))
    logged = [[{k: v for k, v in d.items() if k not in ("seconds", "images_per_second")} for d in lines(out)]
            for out in (whole, parted)]  # fmt: skip
    assert logged[0] == logged[1]
    assert [d["step"] for d in logged[1] if "loss" in d] == [1, 2, 3, 4, 5]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # JAX, where loaded, dislikes forks
@pytest.mark.parametrize("recipe", ["edm", "diffusionerf"])
@pytest.mark.parametrize("workers", [0, 2])
def test_parts_and_workers_change_nothing_that_is_drawn(tmp_path, recipe, workers):
    """A batch in two parts is resumed in the middle, its batches made by other processes: the same weights."""
    settings = small(accumulate=2, workers=workers, recipe=recipe, steps=3, save_every=1)
    one, two = tmp_path / "one", tmp_path / "two"
    train_prior(Waves(), one, small(accumulate=2, recipe=recipe, steps=3, save_every=1))
    train_prior(Waves(), two, settings)
    for path in (two / "checkpoints").glob("*[23].pt"):
        path.unlink()
    train_prior(Waves(), two, settings, resume=True)
    assert_same(content(one)["network"], content(two)["network"])


def test_the_seed_decides(tmp_path):
    runs = []
    for i, seed in enumerate((0, 0, 1)):
        train_prior(Waves(), tmp_path / str(i), small(seed=seed, steps=1))
        runs.append(content(tmp_path / str(i)))
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0]["network"]["conv_in.weight"], runs[2]["network"]["conv_in.weight"])


def test_a_run_leaves_the_callers_random_numbers_alone(tmp_path):
    before = torch.get_rng_state()
    train_prior(Waves(), tmp_path / "run", small(steps=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("channels", "count"), [("rgb", 3), ("d", 1)])
def test_other_channels(scenes, tmp_path, channels, count):
    card = load_prior(train_prior([scenes], tmp_path / "run", small(steps=1, channels=channels))).card
    assert len(card.channels) == count
    assert (card.d_min is None) == (channels == "rgb")


def test_training_lowers_the_loss(tmp_path):
    """In 75 steps, by a quarter: the gradient reaches the weights."""
    train_prior(Waves(), tmp_path / "run", small(steps=75, batch=16, lr=4e-3, save_every=75, linear=False))
    losses = [line["loss"] for line in lines(tmp_path / "run") if "loss" in line]
    assert losses[-1] < 0.75 * losses[0]


def test_resume_begins_where_nothing_is_and_may_go_on_for_longer(scenes, tmp_path):
    out = tmp_path / "run"
    train_prior([scenes], out, small(steps=2), resume=True)
    transforms(scenes / "scene-3", 2)
    prior = train_prior([scenes], out, small(steps=3, keep=1, save_every=9), resume=True)
    assert load_prior(prior).card.steps == 3
    with pytest.raises(ValueError, match=r"run is at step 3, beyond --steps 2"):
        train_prior([scenes], out, small(steps=2), resume=True)


def test_out_must_be_free_or_resumed(tmp_path):
    out = tmp_path / "run"
    train_prior(Waves(), out, small(steps=1))
    before = (out / "checkpoints" / "00000001.pt").read_bytes()
    with pytest.raises(ValueError, match=r"run holds a run already\. Go on with it by --resume"):
        train_prior(Waves(), out, small(steps=1))
    with pytest.raises(
        ValueError, match=r"with other settings: batch was 4, now 2; lr was 0.001, now 0.002\. Resume with the old"
    ):
        train_prior(Waves(), out, small(lr=2e-3, batch=2, steps=9), resume=True)
    with pytest.raises(ValueError, match=r"size of a patch was \[8, 8\], now \[16, 16\]"):
        train_prior(Waves(size=(16, 16)), out, small(steps=9), resume=True)
    assert (out / "checkpoints" / "00000001.pt").read_bytes() == before


def test_out_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"file.* cannot be written \(.*\)\. Choose another --out"):
            train_prior(Waves(), out, small(steps=1))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_damaged_checkpoint_falls_back_and_says_so(tmp_path):
    """One bit of the newest is wrong, which torch itself would not notice."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    train_prior(Waves(), whole, SMALL)
    shutil.copytree(whole, out)
    newest = out / "checkpoints" / "00000005.pt"
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"00000005.pt is no readable .*checksum.* Going on from .*00000004.pt"):
        train_prior(Waves(), out, SMALL, resume=True)
    assert_same(content(whole), content(out))
    for path in (out / "checkpoints").glob("*.pt"):
        path.write_bytes(b"PK\x03\x04 not quite")
    with (
        pytest.warns(UserWarning, match="no readable checkpoint"),
        pytest.raises(ValueError, match="00000002.pt is no readable checkpoint"),
    ):
        train_prior(Waves(), out, SMALL, resume=True)


def test_a_full_disk_ends_a_run_at_its_end_only(tmp_path, monkeypatch):
    """The second of three checkpoints cannot be written: the run continues, and could be resumed from the first."""
    out, full = tmp_path / "run", [False, True, False, True, True]
    save = torch.save

    def write(content, file):
        if full.pop(0):
            file.write(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file: no space left\nmore")
        save(content, file)

    monkeypatch.setattr(torch, "save", write)
    with pytest.warns(UserWarning, match=r"00000004.pt cannot be written .*no space left.*goes on; .*00000002.pt is"):
        train_prior(Waves(), out, SMALL)
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["00000002.pt", "00000005.pt", "best.json"]
    with (
        pytest.warns(UserWarning, match="there is none yet"),
        pytest.raises(OSError, match=r"00000003.pt cannot be written .* Free some space"),
    ):
        train_prior(Waves(), tmp_path / "other", small(steps=3))


def test_the_last_few_and_the_best_are_kept(tmp_path, monkeypatch):
    from scorereg.training import train

    scores = iter([5.0, 1.0, 3.0, 4.0, 2.0])
    monkeypatch.setattr(train.Validation, "__call__", lambda *_: ({0.1: 0.0}, next(scores)))
    train_prior(Waves(), tmp_path / "run", small(save_every=1, keep=2))
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(p.name for p in folder.glob("*.pt")) == ["00000002.pt", "00000004.pt", "00000005.pt"]
    assert json.loads((folder / "best.json").read_text()) == {"step": 2, "error": 1.0}
    assert [line["best"] for line in lines(tmp_path / "run") if "best" in line] == [True, True, False, False, False]


def test_weights_that_cannot_be_measured_are_never_the_best(tmp_path, monkeypatch):
    from scorereg.training import train

    scores = iter([math.nan, 3.0, math.nan, 4.0])
    monkeypatch.setattr(train.Validation, "__call__", lambda *_: ({0.1: math.nan}, next(scores)))
    train_prior(Waves(), tmp_path / "run", small(save_every=1, steps=4))
    assert json.loads((tmp_path / "run" / "checkpoints" / "best.json").read_text()) == {"step": 2, "error": 3.0}
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_the_best_is_known_also_where_its_mark_is_not_up_to_date(tmp_path, monkeypatch):
    """As after a kill between a checkpoint and the mark beside it."""
    from scorereg.training import train

    scores = iter([5.0, 1.0, 3.0, 4.0])
    monkeypatch.setattr(train.Validation, "__call__", lambda *_: ({0.1: 0.0}, next(scores)))
    train_prior(Waves(), tmp_path / "run", small(save_every=1, keep=1, steps=3))
    mark = tmp_path / "run" / "checkpoints" / "best.json"
    mark.write_text('{"step": 1, "error": 5.0}')
    assert ema_prior(tmp_path / "run", best=True).card.steps == 2
    train_prior(Waves(), tmp_path / "run", small(save_every=1, keep=1, steps=4), resume=True)
    assert json.loads(mark.read_text()) == {"step": 2, "error": 1.0}


def test_what_was_held_out_is_not_trained_on_by_resuming(scenes, tmp_path):
    train_prior([scenes], tmp_path / "run", small(steps=1))
    with pytest.raises(ValueError, match=r"held out was .*, which is not there or is trained on now \(1 such\)"):
        train_prior(Waves(), tmp_path / "run", small(steps=2), resume=True)
    other = transforms(tmp_path / "other" / "a", 2).parent
    transforms(other / "b", 2)
    with pytest.raises(ValueError, match=r"held out was data/scene-\d, which is not there"):
        train_prior([other], tmp_path / "run", small(steps=2), resume=True)


def test_progress_without_a_terminal_is_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("scorereg._progress.EVERY", 0.01)
    train_prior(Waves(), tmp_path / "run", small(steps=2), show=True)
    assert "training: 2 of 2, loss " in capsys.readouterr().err


@pytest.mark.parametrize(("device", "says"), [("cuda", "needs an NVIDIA GPU"), ("gpu", "must be cpu or cuda")])
def test_a_device_that_is_not_there(tmp_path, monkeypatch, device, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=says):
        train_prior(Waves(), tmp_path / "run", SMALL, device=device)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    """In the second part of step 3: the weights before it and the batch are saved."""
    out, good = tmp_path / "run", NetworkPrior.forward
    calls = []

    def forward(self, x, sigma, known=None):
        calls.append(x)
        return good(self, x, sigma) * (math.nan if len(calls) == 8 else 1)

    monkeypatch.setattr(NetworkPrior, "forward", forward)
    monkeypatch.setattr(NetworkPrior, "denoise", lambda self, x, sigma: x)
    with pytest.raises(
        ValueError,
        match=r"loss is nan at step 3, in batch 3, part 1 of process 0 \(seed 0\)\. .*00000003.pt, the batch in .*bad-",
    ):
        train_prior(Waves(), out, small(accumulate=2))
    assert content(out)["step"] == 3
    assert all(bool(torch.isfinite(v).all()) for v in content(out)["network"].values())
    patches = torch.load(out / "bad-batch.pt", weights_only=True)
    torch.testing.assert_close(patches[0] + patches[3][:, None, None, None] * patches[2], calls[7])


def test_too_little_memory_says_what_fits(tmp_path, monkeypatch):
    good = NetworkPrior.forward

    def forward(self, x, sigma, known=None):
        if len(x) > 3 and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("too much")
        return good(self, x, sigma)

    monkeypatch.setattr(NetworkPrior, "forward", forward)
    with pytest.raises(
        ValueError, match=r"too small for 16 patches at a time; 2 fit\. .*--accumulate 8 keeps the batch"
    ):
        train_prior(Waves(), tmp_path / "run", small(batch=16))
    train_prior(Waves(), tmp_path / "run", small(batch=16, accumulate=8, steps=1))
    with pytest.raises(ValueError, match=r"too small for 9 patches at a time; 2 fit\. .*--accumulate 9 keeps"):
        train_prior(Waves(), tmp_path / "other", small(batch=9))


def test_what_tensorboard_is_told(tmp_path, monkeypatch):
    written: dict[str, list] = {}

    class Board:
        def __init__(self, folder, purge_step):
            assert folder == str(tmp_path / "run" / "tensorboard")

        def add_scalar(self, name, value, step):
            written.setdefault(name, []).append((step, value))

        def add_image(self, name, image, step, dataformats):
            assert image.shape[-1] == 3
            assert dataformats == "HWC"
            written.setdefault(name, []).append((step, image.shape))

        def close(self):
            written["closed"] = []

    pytest.importorskip("tensorboard")
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Board)
    train_prior(Waves(), tmp_path / "run", small(steps=2, save_every=1), report=TensorBoard(tmp_path / "run"))
    names = {"loss", "gradient", "lr", "images_per_second", "samples", "closed", "seconds", "score", "best"}
    assert set(written) == names | {f"denoising/{sigma}" for sigma in ("0.02", "0.1", "0.5")}
    assert [step for step, _ in written["samples"]] == [1, 2]


def test_how_the_network_is_computed(tmp_path, monkeypatch):
    """The network is compiled, checkpointing switched on, and neither changes a weight."""
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    train_prior(Waves(), tmp_path / "a", small(steps=2))
    assert compiled == []
    train_prior(Waves(), tmp_path / "b", small(steps=2, compile=True, checkpointing=True))
    assert compiled == ["UNet2DModel"]
    torch.testing.assert_close(content(tmp_path / "b")["network"], content(tmp_path / "a")["network"])


def test_a_batch_that_does_not_divide(tmp_path):
    with pytest.raises(ValueError, match="a batch of 4 is not divided evenly into 3 parts"):
        small(accumulate=3)
