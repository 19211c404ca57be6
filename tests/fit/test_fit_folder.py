"""The folder of a fit: one run at a time, and results that survive a full disk."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scorereg import _io
from scorereg.cameras import Cameras
from scorereg.fit import Recipe, photo_terms
from scorereg.fit.folder import fit_to_folder, make_run_folder
from scorereg.rendering import MLP
from scorereg.scenes import Scene

WHOLE = ["contact.png", "fit.json", "history.jsonl", "metrics.json", "views", "weights.safetensors"]
RECIPE = Recipe(steps=4, rays=16, samples=4, proposal_samples=6)


def scene():
    pose = torch.eye(3, 4).repeat(3, 1, 1)
    pose[:, 0, 3] = torch.tensor([0.0, 0.3, 0.1])
    cameras = Cameras(pose, torch.full((3, 2), 16.0), torch.full((3, 2), 8.0), 16, 16)
    images: Tensor = torch.linspace(0, 1, 3 * 16 * 16 * 3).reshape(3, 16, 16, 3)
    return Scene("wall", images, cameras, None, (0, 1), (2,), 1.0, 5.0, 1.0, True, ("0.png", "1.png", "2.png"))


def run(out, *, resume=False):
    make_run_folder(out)
    field = MLP(*scene().ball(), layers=2, width=16)
    facts = {"regularize": "none"}
    return fit_to_folder(scene(), out, terms=photo_terms(), recipe=RECIPE, facts=facts, field=field, resume=resume)[0]


def refusing(monkeypatch, *names):
    """A disk that has no room for files of these names."""
    save, write = torch.save, Path.write_bytes

    def is_cramped(path):
        return any(path.name == f".{name}.new" for name in names)

    def cramped(content, file):
        if is_cramped(Path(file.name)):
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(content, file)

    def write_cramped(path, data):
        if is_cramped(path):
            write(path, b"half")
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(torch, "save", cramped)
    monkeypatch.setattr(Path, "write_bytes", write_cramped)


def test_a_folder_is_one_fits(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with _io.hold_folder(out), pytest.raises(OSError, match=r"run is in use by another run\. .* another --out"):
        run(out)
    run(out)
    assert sorted(p.name for p in out.iterdir()) == WHOLE


def test_a_fit_without_room_for_its_state_writes_its_results(tmp_path, monkeypatch):
    out = tmp_path / "run"
    refusing(monkeypatch, "fit.pt")
    with pytest.warns(UserWarning, match=r"fit\.pt cannot be written .*The fit goes on; it cannot be resumed") as heard:
        metrics = run(out)
    assert len(heard) == 1
    assert json.loads((out / "metrics.json").read_text())["psnr"] == metrics["psnr"]
    assert sorted(p.name for p in out.iterdir()) == WHOLE


def test_results_that_do_not_fit_are_written_by_resuming(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        refusing(patch, "weights.safetensors")
        with pytest.raises(
            OSError, match=r"weights\.safetensors cannot be written .*The disk is full: .*with --resume writes"
        ):
            run(out)
    assert (out / "fit.pt").is_file()
    assert not (out / "metrics.json").exists()
    run(out, resume=True)
    assert sorted(p.name for p in out.iterdir()) == WHOLE


def test_without_room_for_state_and_field_the_rest_is_written_and_told(tmp_path, monkeypatch):
    out = tmp_path / "run"
    refusing(monkeypatch, "weights.safetensors", "fit.pt")
    with (
        pytest.warns(UserWarning, match="it cannot be resumed"),
        pytest.raises(OSError, match=r"weights\.safetensors cannot be written .*What was measured: PSNR \d+\.\d+ dB"),
    ):
        run(out)
    assert sorted(p.name for p in out.iterdir()) == ["contact.png", "metrics.json", "views"]


@pytest.mark.parametrize("name", ["fit.pt", "metrics.json", "fit.previous.pt"])
def test_a_folder_with_the_name_of_a_file_is_refused_before_the_fit(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match=rf"{name} is a folder, where a file is to be written"):
        make_run_folder(tmp_path)
