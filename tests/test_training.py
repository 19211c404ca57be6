"""Training: a run, its resumption to the bit, its files, and its errors."""

import functools
import json
import math
import signal

import pytest
import torch
from PIL import Image
from rgbd_folders import pairs, rooms, transforms
from torch.testing import assert_close

from scorereg import NetworkPrior, PriorCard, load_prior
from scorereg.sampling import sample
from scorereg.training import export_prior, train_prior
from scorereg.training.checkpoint import ema_prior, load_state, new_state, save_state, write_beside
from scorereg.training.train import learning_rate, train_step

ARGUMENTS = {"patch": 8, "size": "tiny", "batch": 4, "focal": (15.0, 30.0), "save_every": 2, "bf16": False}


@pytest.fixture
def scenes(tmp_path):
    """Three scenes in two layouts below one root."""
    root = tmp_path / "data"
    for i in range(2):
        transforms(root / f"scene-{i}", 2, seed=3 * i)
    rooms(root / "scene-2", 2)
    return root


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Fewer patches in the report, and no TensorBoard, which takes seconds to import."""
    from scorereg.training import log, report

    full = report.measure
    monkeypatch.setattr(report, "measure", lambda prior, sets: full(prior, sets, count=8, fit=32))
    monkeypatch.setattr(report, "sample", lambda prior, count: sample(prior, 4, steps=2))
    monkeypatch.setattr(log, "_board", lambda out, step: None)


@pytest.fixture
def stop_at(monkeypatch):
    """A function that makes the run get a signal in its n-th step."""
    from scorereg.training import train

    def arrange(n: int, kind: signal.Signals = signal.SIGINT) -> None:
        def step(state, pyramid):
            if state.step == n - 1:
                signal.raise_signal(kind)
            return train_step(state, pyramid)

        monkeypatch.setattr(train, "train_step", step)

    return arrange


def content(out) -> dict:
    return torch.load(out / "checkpoint.pt", weights_only=True)


def assert_same(a, b) -> None:
    """Equal to the bit, however deep; time spent is the one thing that may differ."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            if key not in ("seconds",):
                assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            assert_same(left, right)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_a_run_leaves_what_it_says(scenes, tmp_path):
    out = tmp_path / "run"
    extra = pairs(tmp_path / "real")
    prior = train_prior([scenes], out, steps=3, evaluate=[extra], name="n", licence="L", credits=("C",), **ARGUMENTS)
    assert prior == out / "prior"
    names = {"checkpoint.pt", "metrics.jsonl", "prior", "samples.png", "denoising.json", "denoising.png"}
    assert {p.name for p in out.iterdir()} == names
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3]
    assert lines[0]["loss"] > 0
    assert lines[0]["images_per_second"] > 0
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
    assert card.residual_quantiles["data"] == "32 patches of the held-out scenes, as they are, no noise added"
    with Image.open(out / "samples.png") as image:
        assert image.width > 2 * 8


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_to_the_bit(scenes, tmp_path, stop_at, monkeypatch, kind):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert train_prior([scenes], whole, steps=5, **ARGUMENTS)
    handler = signal.getsignal(kind)
    stop_at(3, kind)
    assert train_prior([scenes], parted, steps=5, **ARGUMENTS) is None
    assert signal.getsignal(kind) is handler
    assert content(parted)["step"] == 3, "the step in hand is finished, and saved though no checkpoint was due"
    assert not (parted / "prior").exists()
    monkeypatch.undo()
    train_prior([scenes], parted, steps=5, resume=True, **ARGUMENTS)
    assert_same(content(whole), content(parted))
    weights = "prior/diffusion_pytorch_model.safetensors"
    assert (whole / weights).read_bytes() == (parted / weights).read_bytes()


def test_a_killed_run_goes_on_from_its_checkpoint(scenes, tmp_path, monkeypatch):
    """Died in step 4, after the checkpoint of step 2: what was told of later steps is taken back and told anew."""
    from scorereg.training import log, train

    whole, parted = tmp_path / "whole", tmp_path / "parted"
    monkeypatch.setattr(train, "Log", functools.partial(log.Log, every=1))
    train_prior([scenes], whole, steps=5, **ARGUMENTS)

    def die(state, pyramid):
        if state.step == 3:
            raise RuntimeError("power cut")
        return train_step(state, pyramid)

    with monkeypatch.context() as patch:
        patch.setattr(train, "train_step", die)
        with pytest.raises(RuntimeError, match="power cut"):
            train_prior([scenes], parted, steps=5, **ARGUMENTS)
    with (parted / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    train_prior([scenes], parted, steps=5, resume=True, **ARGUMENTS)
    assert_same(content(whole), content(parted))
    losses = [
        [(d["step"], d["loss"]) for d in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())]
        for out in (whole, parted)
    ]
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[1]] == [1, 2, 3, 4, 5]


def test_the_seed_decides(scenes, tmp_path):
    runs = []
    for i, seed in enumerate((0, 0, 1)):
        train_prior([scenes], tmp_path / str(i), steps=1, seed=seed, **ARGUMENTS)
        runs.append(content(tmp_path / str(i)))
    assert_same(runs[0], runs[1])
    assert not torch.equal(runs[0]["network"]["conv_in.weight"], runs[2]["network"]["conv_in.weight"])


def test_a_run_leaves_the_callers_random_numbers_alone(scenes, tmp_path):
    before = torch.get_rng_state()
    train_prior([scenes], tmp_path / "run", steps=1, **ARGUMENTS)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("channels", "count"), [("rgb", 3), ("d", 1)])
def test_other_channels(scenes, tmp_path, channels, count):
    card = load_prior(train_prior([scenes], tmp_path / "run", steps=1, channels=channels, **ARGUMENTS)).card
    assert len(card.channels) == count
    assert (card.d_min is None) == (channels == "rgb")


def test_training_lowers_the_loss(scenes, tmp_path):
    """On walls at one depth, in 75 steps, by nearly half: the gradient reaches the weights."""
    for path in scenes.rglob("*.depth.png"):
        Image.new("I;16", (40, 32), 1500).save(path)
    arguments = ARGUMENTS | {"batch": 16, "lr": 4e-3, "channels": "d"}
    train_prior([scenes], tmp_path / "run", steps=75, **arguments)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.6 * lines[0]["loss"]


@pytest.mark.usefixtures("as_user")
def test_the_loss_by_hand(monkeypatch):
    """Karras et al. 2022: at weight (sigma^2 + s^2) / (sigma s)^2, over known pixels only, sigma within its range."""
    from scorereg.training import train

    state = tiny_state(sigma=[0.1, 0.3], sigma_mean=-2.0, sigma_std=1.3, steps=10)
    x = torch.rand(16, 1, 8, 8)
    weight = (torch.rand(16, 1, 8, 8) < 0.7).float()
    monkeypatch.setattr(train, "draw_batch", lambda *_: (x, weight))
    calls = []

    def denoise(self, noisy, sigma):
        calls.append((noisy, sigma))
        return torch.where(weight > 0, 0.5 * noisy, 1e6) + 0 * self.network.get_parameter("conv_in.bias").sum()

    monkeypatch.setattr(NetworkPrior, "forward", denoise)
    loss = train_step(state, None)
    ((noisy, sigma),) = calls
    assert 0.1 <= sigma.min() < sigma.max() <= 0.3
    noise = ((noisy - x) / sigma[:, None, None, None]).flatten()
    assert noise.std().item() == pytest.approx(1.0, abs=0.1)
    s = sigma[:, None, None, None].double().expand_as(x)
    error = (s**2 + 0.25) / (s * 0.5) ** 2 * (0.5 * noisy - x).double() ** 2
    assert loss == pytest.approx(error[weight > 0].mean().item(), rel=1e-5)


def test_the_average_is_what_is_exported(scenes, tmp_path):
    out = tmp_path / "run"
    train_prior([scenes], out, steps=4, **ARGUMENTS)
    exported = export_prior(out, tmp_path / "snap")
    state = content(out)
    assert not torch.equal(state["average"]["conv_in.weight"], state["network"]["conv_in.weight"])
    assert_close(exported.network.state_dict()["conv_in.weight"], state["average"]["conv_in.weight"])
    assert exported.card.steps == 4
    assert load_prior(tmp_path / "snap").card == exported.card


def test_the_average_by_hand():
    """Weights 1, 2, 3 of one step each: decay (1 + n) / (10 + n), at most the one asked for."""
    from scorereg.training import train

    state = tiny_state()
    for value in state.average.values():
        value.zero_()
    exact = 0.0
    for n in (1, 2, 3):
        for value in state.prior.network.state_dict().values():
            value.fill_(float(n))
        state.step = n
        train._average(state)
        decay = min(0.2, (1 + n) / (10 + n))
        exact = decay * exact + (1 - decay) * n
    assert_close(state.average["conv_in.weight"], torch.full_like(state.average["conv_in.weight"], exact))


def tiny_state(**change):
    card = PriorCard(
        name="x", channels=("disparity",), size=(8, 8), sigma_min=0.005, sigma_max=5.0, network={"patchify": 2}
    )
    settings = {"seed": 0, "size": "tiny", "patch": 8, "bf16": False, "lr": 1e-3, "weight_decay": 0.0, "ema": 0.2}
    return new_state(card, settings | change)


def test_checkpoint_survives_a_failed_write(tmp_path, monkeypatch):
    state = tiny_state()
    save_state(state, tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def fail(content, path):
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file: no space left\nmore")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(
        OSError, match=r"checkpoint.pt cannot be written \(PytorchStreamWriter .* no space left\)\. Free"
    ):
        save_state(state, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_write_beside_leaves_no_half_of_a_file(tmp_path):
    def fail(path):
        path.write_text("half")
        raise KeyError("x")

    with pytest.raises(KeyError):
        write_beside(tmp_path / "f", fail)
    assert list(tmp_path.iterdir()) == []
    write_beside(tmp_path / "f", lambda path: path.write_text("all"))
    assert (tmp_path / "f").read_text() == "all"


def test_checkpoint_is_never_unpickled(tmp_path):
    """A file that would run code when loaded as a pickle is refused unread."""

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    torch.save({"step": Trap()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="checkpoint.pt is no readable checkpoint"):
        ema_prior(tmp_path)


def test_resume_refuses_another_run(tmp_path):
    state = tiny_state()
    save_state(state, tmp_path)
    other = {**state.settings, "lr": 2e-3}
    with pytest.raises(
        ValueError, match=r"was trained with lr=0.001, but lr=0.002 was asked for\. Resume with the old"
    ):
        load_state(state.prior.card, other, tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 not quite")
    with pytest.raises(ValueError, match="is no readable checkpoint.*Start anew in another folder"):
        load_state(state.prior.card, state.settings, tmp_path)


def test_a_resumed_run_may_be_longer(scenes, tmp_path):
    train_prior([scenes], tmp_path / "run", steps=2, **ARGUMENTS)
    transforms(scenes / "scene-3", 2)
    prior = train_prior([scenes], tmp_path / "run", steps=3, resume=True, **ARGUMENTS)
    assert load_prior(prior).card.steps == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, r"steps must be at least 1, but is 0\. Give --steps a number > 0"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"save_every": 0}, r"save_every must be at least 1, but is 0\. Give --save-every"),
        ({"focal": (180.0, 80.0)}, r"focal must be two numbers, 0 < low <= high, but is 180, 80"),
        ({"depth_range": (0.5, 4.0)}, "depth_range may not exceed 2, but is 4"),
        ({"sigma": (0.0, 1.0)}, "sigma must be two numbers"),
        ({"d_min": 0.0}, "d_min must be > 0"),
        ({"lr": math.nan}, "lr must be > 0, but is nan"),
        ({"channels": "rgbn"}, "channels must be one of rgbd, rgb, d, but is 'rgbn'"),
        ({"size": "large"}, "no network is called 'large'"),
        ({"patch": 7}, "patch=7 must be a multiple of that"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(scenes, tmp_path, change, says):
    out = tmp_path / "run"
    with pytest.raises(ValueError, match=says):
        train_prior([scenes], out, **({"steps": 2} | ARGUMENTS | change))
    assert not out.exists()


def test_out_must_be_free_or_resumed(scenes, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(FileNotFoundError, match=r"checkpoint.pt is not there, so there is nothing to resume"):
        train_prior([scenes], out, steps=1, resume=True, **ARGUMENTS)
    train_prior([scenes], out, steps=1, **ARGUMENTS)
    before = (out / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint.pt holds a run already\. Go on with it by --resume"):
        train_prior([scenes], out, steps=1, **ARGUMENTS)
    assert (out / "checkpoint.pt").read_bytes() == before


def test_out_that_cannot_be_written(scenes, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"file.* cannot be written \(.*\)\. Choose another --out"):
            train_prior([scenes], out, steps=1, **ARGUMENTS)
    assert (tmp_path / "file").read_text() == "mine"


def test_broken_weights_stop_the_run(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(NetworkPrior, "forward", lambda self, x, sigma: x * math.nan)
    with pytest.raises(
        ValueError, match=r"the loss is nan at step 0\. Go on from the last checkpoint with a lower --lr"
    ):
        train_prior([scenes], tmp_path / "run", steps=1, **ARGUMENTS)


def test_learning_rate_rises_and_falls():
    settings = {"steps": 10_000, "lr": 2.0}
    rates = [learning_rate(step, settings) for step in range(10_000)]
    assert rates[0] == pytest.approx(2 / 500)
    assert max(rates) == rates[499]
    assert rates[5000] == pytest.approx(1.0)
    assert 0 < rates[-1] < 1e-6
    assert learning_rate(0, {"steps": 1, "lr": 2.0}) > 0
