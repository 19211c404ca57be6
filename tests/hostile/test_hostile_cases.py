"""A fast share of `python -m benchmarks.hostile`, and whether its payloads and its judge are what they seem."""

import pickle
from pathlib import Path

import pytest

from benchmarks.hostile import campaign as campaigns
from benchmarks.hostile.campaign import Campaign, campaign, judge
from benchmarks.hostile.case import Case, Place
from benchmarks.hostile.cases import ALL, find_cases
from benchmarks.hostile.pickles import payload

FAST = (  # a case of each kind that is refused within some tenths of a second
    "torch save of a call", "old format of torch save", "plain pickle called ckpt", "a pickle that calls exec",
    "a pickle that names numpy's runstring", "a pickle that names execWrapper", "torchscript with code",
    "code in a prior's safetensors", "objects in a depth map", "a pickle as a photo", "an npz of texts",
    "a checkpoint packed by deflate", "a zip as a scene", "a PLY of 10^12 vertices", "a grid .npy of 10^18 rows",
    "HDF5 with external link", "transforms.json nested 100,000 deep", "card.json with a key twice",
    "transforms.json a photo of the password file", "transforms.json a photo with a line break",
    "transforms.json a focal length of 1e308", "card.json shown, a sigma of NaN", "a pipe as a photo",
    "a link to a device as transforms.json", "a link to itself as card.json", "a pipe given to inspect",
    "safetensors with a head of 2^63 bytes", "a shard of weights above the folder", "code in unet/diffusers.py",
    "auto_map in unet/config.json of an unconditional model", "a config.json of 10^6 channels a level",
    "a checkpoint's pickle nested 10^6 deep", "a PNG of 900 megapixels that are there as a photo", "an EPS as a photo",
    "an SVG as a photo", "a depth map of 1 bit", "a mask of text",
)  # fmt: skip


def test_hostile_files(tmp_path):
    cases = [case for case in find_cases() if case.name in FAST]
    with campaign(tmp_path, seconds=30, check=False) as running:
        rows = [running.run(case) for case in cases]
    assert [(row.name, row.verdict, row.text) for row in rows if row.verdict != "one line"] == []
    assert len(rows) >= len(FAST) - 4


def test_there_are_many_cases_and_their_names_differ():
    names = [case.name for case in find_cases()]
    assert len(names) == len(set(names)) > 500
    assert len(ALL) == 11


def test_payloads_are_armed(tmp_path):
    """What the cases hold does leave its mark where a pickle is executed."""
    place = Place(tmp_path, tmp_path, tmp_path / "mark")
    pickle.loads(pickle.dumps(payload(place)))
    assert place.mark.exists()


OK = {"hung": False, "code": 2, "stdout": "", "stderr": "scorereg: work/a.json is damaged. Copy it again.\n"}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "one line"),
        ({"stderr": "scorereg: it is damaged.\n"}, "unclear"),
        ({"stderr": OK["stderr"] + "and more\n"}, "unclear"),
        ({"stderr": "scorereg: a.json holds \x1b[2J\n"}, "unclear"),
        ({"stderr": "scorereg: a.json " + "x" * 2000 + "\n"}, "unclear"),
        ({"stdout": "\x1b]0;x\x07", "code": 0}, "unclear"),
        ({"code": 1}, "traceback"),
        ({"stderr": "Traceback (most recent call last)\n" + OK["stderr"]}, "traceback"),
        ({"code": -9}, "memory"),
        ({"stderr": "scorereg: there is not enough memory. Use smaller data.\n"}, "memory"),
        ({"hung": True}, "hung"),
        ({"code": 0}, "warned"),
        ({"code": 0, "stderr": "step 1 of 1\n"}, "harmless"),
        ({"stderr": "loading: 5%|##  |\r" + OK["stderr"]}, "one line"),
    ],
)
def test_the_judge(change, verdict):
    assert judge({**OK, **change}, {"a.json"})[0] == verdict


@pytest.fixture
def still(tmp_path, monkeypatch):
    """A campaign whose commands do what a test says, without a process."""
    monkeypatch.setattr(campaigns.subprocess, "Popen", lambda *words, **settings: None)
    return Campaign(tmp_path)


@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        (lambda here: (here / "mark").touch(), "code run"),
        (lambda here: (here / "outside/x").touch(), "placed outside"),
        (lambda here: (here / "work/x.py").touch(), "placed outside"),
        (lambda here: (here / "work/input/a.json").write_text("changed"), "placed outside"),
        (lambda here: (here / "out/results").touch(), "one line"),
    ],
)
def test_what_is_left_behind_is_seen(still, monkeypatch, act, verdict):
    def command(words: list[str], folder: Path, out: Path, **more: object) -> dict:
        out.mkdir()
        act(folder)
        return {**OK, "seconds": 0.0, "peak": 0}

    monkeypatch.setattr(still, "command", command)
    case = Case("x", "y", "inspect", "", lambda place: (place.input / "a.json").write_text("{}"))
    assert still.run(case).verdict == verdict


def test_an_accepted_file_is_compared_with_the_whole_one(still, monkeypatch):
    said = {"code": 0, "stderr": "", "seconds": 0.0, "peak": 0, "hung": False}

    def command(words: list[str], folder: Path, out: Path, **more: object) -> dict:
        out.mkdir()
        return {**said, "stdout": (Path(words[1]) / "a.json").read_text()}

    monkeypatch.setattr(still, "command", command)
    whole = still.root / "whole/prior"
    whole.mkdir(parents=True)
    (whole / "a.json").write_text("1")
    for text, verdict in (("1", "harmless"), ("2", "silent")):
        case = Case("x", "y", "inspect", "prior", lambda place, text=text: (place.input / "a.json").write_text(text))
        assert still.run(case).verdict == verdict
