"""The state of a fit on disk: damaged in many ways it is refused or passed over, and never loaded."""

import os
import pickle
import random
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scorereg.cameras import Cameras
from scorereg.fit import Fit, Recipe, Term, fit_scene, photo_terms
from scorereg.rendering import MLP, VoxelGrid
from scorereg.scenes import Scene

RECIPE = Recipe(steps=6, rays=16, samples=4, proposal_samples=6)
DONE = 4  # steps that the saved fit has done


def scene(name="wall", shade=0.0):
    pose = torch.eye(3, 4).repeat(2, 1, 1)
    pose[1, 0, 3] = 0.3
    cameras = Cameras(pose, torch.full((2, 2), 8.0), torch.full((2, 2), 4.0), 8, 8)
    images = torch.linspace(0, 1 - shade, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)
    return Scene(name, images, cameras, None, (0, 1), (), 1.0, 5.0, 1.0, True, ("0.png", "1.png"))


class Counts(Term):
    """A term with a state of its own."""

    name = "counts"

    def __init__(self):
        self._calls = torch.zeros(())

    def __call__(self, batch):
        self._calls += 1
        return batch.render.depth.mean() * 0

    def state_dict(self):
        return {"calls": self._calls.clone()}

    def load_state_dict(self, state):
        self._calls.copy_(state["calls"])


def run(path, *, stop=None, resume=False, given=None, recipe=RECIPE, field="mlp", seed=0) -> Fit:
    given = given or scene()
    torch.manual_seed(0)
    center, radius = given.ball()
    made = MLP(center, radius, layers=2, width=16)
    if field == "voxels":
        made = VoxelGrid(center - radius, center + radius, vertices=300, refine_at=(0.3, 0.75))

    def report(values):
        if values["step"] == stop:
            raise KeyboardInterrupt

    terms = [*photo_terms(), Counts()]
    return fit_scene(given, field=made, terms=terms, recipe=recipe, seed=seed, report=report, save=path, resume=resume)


def cut_off(path, **more):
    with pytest.raises(KeyboardInterrupt):
        run(path, stop=DONE, **more)


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr("scorereg.fit.checkpoint.SECONDS", -1.0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The two files of a fit that was cut off, and what it ends with."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scorereg.fit.checkpoint.SECONDS", -1.0)
        cut_off(folder / "fit.pt")
        whole = run(None)
    return folder, weights(whole)


def weights(fit):
    return [p.detach().clone() for p in fit.field.parameters()]


def changed(change):
    """A damage that loads the file, changes what it holds, and writes it again."""

    def apply(path: Path):
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    return apply


def bytes_changed(change):
    def apply(path: Path):
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return apply


def entry(*keys):
    """A damage of one value: the last of the arguments, at the place that those before it name."""
    *place, value = keys

    def change(content):
        for key in place[:-1]:
            content = content[key]
        content[place[-1]] = value(content[place[-1]]) if callable(value) else value

    return changed(change)


def first(name):
    """A damage of the first large tensor of a state."""

    def change(function):
        def apply(content):
            state = content[name]
            key = next(k for k, v in state.items() if isinstance(v, torch.Tensor) and v.numel() > 20)
            state[key] = function(state[key])

        return changed(apply)

    return change


def as_folder(path: Path):
    path.unlink()
    path.mkdir()


def as_link(path: Path):
    path.unlink()
    path.symlink_to(path.name)


def compressed(path: Path):
    with zipfile.ZipFile(path) as old:
        parts = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in parts.items():
            new.writestr(name, data)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def poisoned(value):
    value = value.clone()
    value.view(-1)[3] = float("nan")
    return value


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "half": bytes_changed(lambda data: data.__delitem__(slice(len(data) // 2, None))),
    "last byte": bytes_changed(lambda data: data.__delitem__(-1)),
    "first byte": bytes_changed(lambda data: data.__delitem__(0)),
    "a bit of a tensor": bytes_changed(lambda data: data.__setitem__(len(data) // 2, data[len(data) // 2] ^ 4)),
    "zeros": bytes_changed(lambda data: data.__setitem__(slice(9000, 9400), bytes(400))),
    "text": lambda path: path.write_text("<html>404</html>"),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Trap())),
    "code": changed(lambda content: content.__setitem__("step", Trap())),
    "code in a term": changed(lambda content: content["terms"].__setitem__("counts", Trap())),
    "compressed": compressed,
    "folder": as_folder,
    "link to itself": as_link,
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path)),
    "list": lambda path: torch.save([1, 2], path),
    "tensor": lambda path: torch.save(torch.zeros(3), path),
    "prior's checkpoint": lambda path: torch.save({"card": "{}", "network": {}, "step": 3}, path),
    "key missing": changed(lambda content: content.pop("optimizer")),
    "key too many": changed(lambda content: content.update(more=1)),
    "identity is text": entry("identity", "mine"),
    "identity of numbers": entry("identity", {"seed": 0}),
    "step -1": entry("step", -1),
    "step 0": entry("step", 0),
    "step 10**9": entry("step", 10**9),
    "step NaN": entry("step", float("nan")),
    "step True": entry("step", True),
    "step text": entry("step", "4"),
    "step one less": entry("step", lambda step: step - 1),
    "seconds NaN": entry("seconds", float("nan")),
    "seconds below 0": entry("seconds", -1.0),
    "history empty": entry("history", []),
    "history of text": entry("history", ["a"] * DONE),
    "history NaN": entry("history", 0, "photo", float("nan")),
    "history changed": entry("history", 0, "photo", 0.5),
    "NaN": first("learned")(poisoned),
    "NaN in the average": first("average")(poisoned),
    "infinite": first("learned")(lambda value: value / 0),
    "other shape": first("learned")(lambda value: value[1:].clone()),
    "transposed": first("learned")(lambda value: value.T.contiguous()),
    "double": first("learned")(lambda value: value.double()),
    "half precision": first("average")(lambda value: value.half()),
    "sparse": first("learned")(lambda value: value.to_sparse()),
    "number for a tensor": first("learned")(lambda value: 0.5),
    "other values": first("learned")(lambda value: value * 0.9),
    "expanded": first("learned")(lambda value: torch.zeros(1).expand(value.shape)),
    "huge": first("learned")(lambda value: torch.zeros(1).expand(10**6, 10**6)),
    "average count": entry("average", "n_averaged", lambda value: value + 100),
    "tensor missing": changed(lambda content: content["learned"].popitem()),
    "tensor too many": changed(lambda content: content["learned"].update(x=torch.zeros(2))),
    "optimizer is text": entry("optimizer", "adam"),
    "optimizer of others": changed(lambda content: content["optimizer"]["param_groups"].pop()),
    "moments missing": changed(lambda content: content["optimizer"]["state"].pop(0)),
    "moment too many": changed(lambda content: content["optimizer"]["state"].update({99: {}})),
    "moment NaN": entry("optimizer", "state", 0, "exp_avg", poisoned),
    "moment negative": entry("optimizer", "state", 0, "exp_avg_sq", lambda value: value - 1),
    "moment's step": entry("optimizer", "state", 0, "step", lambda value: value + 1e6),
    "random numbers cut": entry("generator", lambda value: value[:100].clone()),
    "random numbers wrong": entry("generator", lambda value: torch.full_like(value, 255)),
    "random numbers text": entry("generator", "seed 0"),
    "terms missing": entry("terms", {}),
    "a term's NaN": entry("terms", "counts", "calls", torch.tensor(float("nan"))),
    "a term's shape": entry("terms", "counts", "calls", torch.zeros(2, 3)),
    "a term's keys": entry("terms", "counts", {}),
    "checksum": entry("sha256", "0" * 64),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_state_is_refused_in_one_line_that_names_it(damage, saved, tmp_path):
    path = tmp_path / "fit.pt"
    path.write_bytes((saved[0] / "fit.pt").read_bytes())
    damage(path)
    with pytest.raises((ValueError, OSError), match="Start anew without resume") as caught:
        run(path, resume=True)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", [name for name in DAMAGES if name != "link to itself"])
def test_the_state_before_a_damaged_one_is_taken(name, saved, tmp_path):
    """And the fit ends as one that was never cut off, to the bit."""
    path = tmp_path / "fit.pt"
    for file in ("fit.pt", "fit.previous.pt"):
        (tmp_path / file).write_bytes((saved[0] / file).read_bytes())
    DAMAGES[name](path)
    if name == "folder":
        path.rmdir()  # which `make_run_folder` refuses
    with pytest.warns(UserWarning, match=rf"fit\.pt .*Going on from the one before it, of step {DONE - 1}\.") as heard:
        fit = run(path, resume=True)
    assert len(heard) == 1
    assert all(torch.equal(a, b) for a, b in zip(weights(fit), saved[1], strict=True))


def test_random_damages_change_nothing_in_silence(saved, tmp_path):
    whole = (saved[0] / "fit.pt").read_bytes()
    draw = random.Random(0)
    for number in range(60):
        path, data = tmp_path / f"{number}.pt", bytearray(whole)
        at = draw.randrange(len(data))
        if number % 3:
            data[at] ^= 1 << draw.randrange(8)
        else:
            del data[at:]
        path.write_bytes(data)
        try:
            fit = run(path, resume=True)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:  # a bit that no reader looks at
            assert all(torch.equal(a, b) for a, b in zip(weights(fit), saved[1], strict=True))


def test_another_scene_or_recipe_is_refused_by_what_differs(saved, tmp_path):
    path = tmp_path / "fit.pt"
    others = {
        "photos": {"given": scene(shade=0.1)}, "scene": {"given": scene("room")}, "seed": {"seed": 1},
        "lr": {"recipe": replace(RECIPE, lr=1.0)}, "steps": {"recipe": replace(RECIPE, steps=7)},
        "field": {"field": "voxels"},
    }  # fmt: skip
    for name, other in others.items():
        path.write_bytes((saved[0] / "fit.pt").read_bytes())
        with pytest.raises(ValueError, match=rf"fit\.pt is of another fit: .*\b{name} was .*, now ") as caught:
            run(path, resume=True, **other)
        assert "\n" not in str(caught.value)
    moved = scene()
    moved.cameras.pose[0, 0, 3] += 1e-4
    with pytest.raises(ValueError, match="cameras was"):
        run(path, resume=True, given=moved)


def test_a_field_that_has_grown_is_resumed_from_the_state_before(tmp_path):
    recipe = replace(RECIPE, steps=12)
    whole = run(None, recipe=recipe, field="voxels")
    path = tmp_path / "fit.pt"
    with pytest.raises(KeyboardInterrupt):
        run(path, stop=10, recipe=recipe, field="voxels")
    two = [torch.load(p, weights_only=True)["learned"] for p in (path, tmp_path / "fit.previous.pt")]
    assert any(a.shape != b.shape for a, b in zip(*(state.values() for state in two), strict=True)), "it grew between"
    DAMAGES["NaN"](path)
    with pytest.warns(UserWarning, match="Going on from the one before"):
        fit = run(path, resume=True, recipe=recipe, field="voxels")
    assert all(torch.equal(a, b) for a, b in zip(weights(fit), weights(whole), strict=True))


def test_a_disk_that_is_full_is_told_once_and_the_fit_goes_on(saved, tmp_path, monkeypatch):
    """The first state is written, the others are not."""
    path, count, save = tmp_path / "fit.pt", [0], torch.save

    def full(content, file):
        count[0] += 1
        if count[0] > 1:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.warns(
        UserWarning, match=r"fit\.pt cannot be written \(No space left .*The disk is full.* goes on"
    ) as heard:
        fit = run(path)
    assert len(heard) == 1
    assert count[0] > 3
    assert all(torch.equal(a, b) for a, b in zip(weights(fit), saved[1], strict=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit.previous.pt", "fit.pt"]
    assert torch.load(path, weights_only=True)["step"] == 1


def test_a_state_of_another_fit_is_no_state_before(saved, tmp_path):
    """A new fit without resume leaves nothing of the old one behind."""
    for file in ("fit.pt", "fit.previous.pt"):
        (tmp_path / file).write_bytes((saved[0] / file).read_bytes())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "fit.pt", stop=1, seed=5)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.pt"]
    assert torch.load(tmp_path / "fit.pt", weights_only=True)["identity"]["seed"] == "5"


def test_where_there_are_no_hard_links_two_states_are_kept_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    cut_off(tmp_path / "fit.pt")
    steps = {p.name: torch.load(p, weights_only=True)["step"] for p in tmp_path.iterdir()}
    assert steps == {"fit.pt": DONE, "fit.previous.pt": DONE - 1}


def test_a_whole_state_is_loaded_without_a_word(saved, tmp_path):
    path = tmp_path / "fit.pt"
    path.write_bytes((saved[0] / "fit.pt").read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = run(path, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(fit), saved[1], strict=True))
