"""Damaged checkpoints of training: passed over by a run that is resumed, refused by an export; and lines of metrics."""

import json
import os
import shutil
import zipfile

import pytest
import torch
from training_runs import Waves, assert_same, content, quick, small

from scorereg import _io
from scorereg.callbacks.lines import Lines
from scorereg.training import export_prior, train_prior
from scorereg.training.checkpoint import ema_prior

pytest.importorskip("accelerate")
SETTINGS = small(steps=6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of four steps, to be resumed, and one of six."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        train_prior(Waves(), folder / "whole", SETTINGS)
        shutil.copytree(folder / "whole", folder / "part")
        for name in ("checkpoints/00000006.pt",):
            (folder / "part" / name).unlink()
    return folder


@pytest.fixture
def part(runs, tmp_path, monkeypatch):
    quick(monkeypatch)
    shutil.copytree(runs / "part", tmp_path / "run")
    return tmp_path / "run"


def changed(change):
    def apply(path):
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)

    return apply


def first_tensor(state, name, function):
    key = next(k for k, v in state[name].items() if isinstance(v, torch.Tensor) and v.numel() > 20)
    state[name][key] = function(state[name][key])


def compressed(path):
    with zipfile.ZipFile(path) as old:
        parts = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in parts.items():
            new.writestr(name, data)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "text": lambda path: path.write_text("no checkpoint"),
    "a fit's state": lambda path: torch.save({"identity": {}, "step": 4, "history": []}, path),
    "list": lambda path: torch.save([1], path),
    "compressed": compressed,
    "step": changed(lambda state: state.update(step=3)),
    "step NaN": changed(lambda state: state.update(step=float("nan"))),
    "seconds": changed(lambda state: state.update(seconds=-1.0)),
    "best": changed(lambda state: state.update(best=[99, 0.1])),
    "best NaN": changed(lambda state: state.update(best=[2, float("nan")])),
    "key missing": changed(lambda state: state.pop("optimizer")),
    "card": changed(lambda state: state.update(card="{}")),
    "card of numbers": changed(lambda state: state.update(card=3)),
    "settings": changed(lambda state: state.update(settings="[1]")),
    "average NaN": changed(lambda state: first_tensor(state, "average", lambda x: x * float("nan"))),
    "average's shape": changed(lambda state: first_tensor(state, "average", lambda x: x[:-1].clone())),
    "average's type": changed(lambda state: first_tensor(state, "average", lambda x: x.double())),
    "average changed": changed(lambda state: first_tensor(state, "average", lambda x: x + 1)),
    "average's count": changed(lambda state: state["average"].update(n_averaged=torch.tensor(50))),
    "tensor missing": changed(lambda state: state["average"].popitem()),
    "losses": changed(lambda state: state.update(untold=["a"])),
}  # fmt: skip
OF_A_RUN = {
    "weights infinite": changed(lambda state: first_tensor(state, "network", lambda x: x / 0)),
    "optimizer": changed(lambda state: state.update(optimizer={})),
    "moment missing": changed(lambda state: state["optimizer"]["state"].pop(1)),
    "moment": changed(lambda state: state["optimizer"]["state"][0].update(exp_avg=torch.zeros(3))),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.usefixtures("as_user")
def test_a_damaged_checkpoint_is_not_exported(name, part, tmp_path):
    path = part / "checkpoints" / "00000004.pt"
    DAMAGES[name](path)
    with pytest.raises(ValueError, match=r"00000004\.pt is no readable checkpoint \(.*\)\. Resume the run") as caught:
        export_prior(part, tmp_path / "prior")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "prior").exists()
    assert path.exists(), "an export changes nothing of the run"


@pytest.mark.parametrize("name", [*list(DAMAGES)[::3], *OF_A_RUN])
def test_a_run_goes_on_from_the_checkpoint_before(name, part, runs):
    (DAMAGES | OF_A_RUN)[name](part / "checkpoints" / "00000004.pt")
    with pytest.warns(UserWarning, match=r"00000004\.pt is no readable checkpoint .* Going on from .*00000002\.pt"):
        train_prior(Waves(), part, SETTINGS, resume=True)
    assert_same(content(runs / "whole"), content(part))


def test_an_older_checkpoint_without_a_checksum_is_read(part, runs):
    def older(state):
        del state["sha256"], state["untold"]

    changed(older)(part / "checkpoints" / "00000004.pt")
    assert ema_prior(part).card.steps == 4
    train_prior(Waves(), part, SETTINGS, resume=True)
    assert_same(content(runs / "whole")["average"], content(part)["average"])


def metrics(out):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in lines]


@pytest.mark.parametrize("end", ['{"step": 5, "lo', '{"step": 5}', '{"step": 4, "denoi', "\xff\xfe", '{"step": "4"}\n'])
def test_a_torn_line_is_mended(end, part, runs):
    """And the loss since the last line is not forgotten: one line tells all six steps."""
    with (part / "metrics.jsonl").open("ab") as file:
        file.write(end.encode("latin-1"))
    train_prior(Waves(), part, SETTINGS, resume=True)
    assert metrics(part) == metrics(runs / "whole")
    assert [line["step"] for line in metrics(part) if "loss" in line] == [6]


def test_lines_that_could_not_be_written_are_written_later(tmp_path, monkeypatch):
    lines, path = Lines(tmp_path / "metrics.jsonl"), tmp_path / "metrics.jsonl"
    lines.keep_until(0)
    lines.write({"step": 1})
    path.rename(tmp_path / "aside")
    path.mkdir()
    with pytest.warns(UserWarning, match=r"metrics\.jsonl cannot be written \(Is a directory\)\..* goes on") as heard:
        lines.write({"step": 2})
    assert len(heard) == 1
    lines.write({"step": 3})  # without a second warning
    path.rmdir()
    (tmp_path / "aside").rename(path)
    lines.write({"step": 4})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]


def test_what_does_not_fit_is_said_before_a_run_begins(tmp_path, monkeypatch):
    quick(monkeypatch)
    monkeypatch.setattr("scorereg.training.space.free_bytes", lambda folder: 1000.0)
    with pytest.raises(
        OSError, match=r"a checkpoint of this run has about .* MB, but the disk of .*run has 0\.0 MB left"
    ):
        train_prior(Waves(), tmp_path / "run", SETTINGS)
    assert not (tmp_path / "run" / "checkpoints").exists()
    monkeypatch.setattr("scorereg.training.space.free_bytes", lambda folder: 30e6)
    with pytest.warns(UserWarning, match=r"has room for \d of 11: older ones will be removed first"):
        train_prior(Waves(), tmp_path / "run", small(steps=1))
    monkeypatch.setattr("scorereg.training.space.largest_file", lambda: 1000.0)
    with pytest.raises(OSError, match=r"files may have 0\.0 MB here\. Raise the limit \(ulimit -f\)"):
        train_prior(Waves(), tmp_path / "other", SETTINGS)


def test_old_checkpoints_give_way_on_a_full_disk(tmp_path, monkeypatch):
    """There is room for two: the newest whole one is always kept, and the last is written."""
    quick(monkeypatch)
    save, out = torch.save, tmp_path / "run"

    def cramped(state, file):
        if len(list((out / "checkpoints").glob("*.pt"))) >= 2:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", cramped)
    train_prior(Waves(), out, SETTINGS)
    kept = sorted(path.name for path in (out / "checkpoints").glob("*.pt"))
    assert kept[-1] == "00000006.pt"
    assert len(kept) == 2


def test_two_exports_do_not_share_a_folder(part, tmp_path):
    folder = tmp_path / "prior"
    (folder / ".new-left").mkdir(parents=True)
    with _io.hold_folder(folder), pytest.raises(OSError, match=r"prior is in use by another run"):
        export_prior(part, folder)
    export_prior(part, folder)
    assert not list(folder.glob(".new-*"))


def test_a_copy_of_a_process_does_not_hold_the_folder(tmp_path):
    """As the workers of a run that was killed, which may live for a while."""
    read, write = os.pipe()
    ready, started = os.pipe()
    with _io.hold_folder(tmp_path):
        pid = os.fork()
        if pid == 0:
            os.write(started, b"x")
            os.read(read, 1)
            os._exit(0)
        os.read(ready, 1)
    with _io.hold_folder(tmp_path):
        pass
    os.write(write, b"x")
    os.waitpid(pid, 0)
    for end in (read, write, ready, started):
        os.close(end)
