"""Shards as a source, from a folder or URL: each batch a function of its step, and errors."""

import dataclasses
import hashlib
import json
import pickle
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from test_shards import BOTH, all_frames
from torch.testing import assert_close
from typer.testing import CliRunner

from scorereg.data.open import open_source
from scorereg.data.patch_spec import PatchSpec
from scorereg.data.shards.manifest import MANIFEST, Manifest, read_shard
from scorereg.data.shards.remote import Location, pinned
from scorereg.data.shards.source import open_shards
from scorereg.data.shards.write import prepare

SPEC = PatchSpec(8, focal=(15.0, 30.0))


class Quiet(SimpleHTTPRequestHandler):
    requested: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.requested.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def served(shards):
    Quiet.requested = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_url_gives_what_the_folder_gives(shards, served, tmp_path, monkeypatch):
    monkeypatch.setenv("SCOREREG_CACHE", str(tmp_path / "cache"))
    here, there = (open_shards(where, SPEC) for where in (shards, served))
    for one, two in zip(here.batch(6, seed=1, step=3, slot=0), there.batch(6, seed=1, step=3, slot=0), strict=True):
        assert_close(one, two, rtol=0.0, atol=0.0)
    tars = [path for path in Quiet.requested if path.endswith(".tar")]
    assert tars
    assert len(tars) == len(set(tars)), "each is fetched once"
    again = open_shards(served, SPEC)
    again.batch(6, seed=1, step=3, slot=0)
    again._ahead[1].shutdown()
    assert len([path for path in Quiet.requested if path.endswith(".tar")]) <= len(
        Manifest.read(Location(shards)).shards
    )
    restored = Location(str(served).replace("://", ":/"))  # as Path leaves it
    assert restored.url == served
    assert Manifest.read(Location(shards.resolve().as_uri(), cache=tmp_path / "c2")) == Manifest.read(Location(shards))


def test_damage_is_found(shards, served, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.data.shards.remote.time.sleep", lambda _: None)
    manifest = Manifest.read(Location(shards))
    shard = manifest.of("train")[0]
    place = Location(served, cache=tmp_path / "cache")
    content = (shards / shard.name).read_bytes()
    (shards / shard.name).write_bytes(content[:600] + b"x" + content[601:])
    with pytest.raises(OSError, match=f"{shard.name} is damaged: its checksum is not the manifest's"):
        next(read_shard(Location(shards), manifest, shard, BOTH))
    with pytest.raises(OSError, match=f"{shard.name} cannot be fetched .its checksum is not.*4 times"):
        next(read_shard(place, manifest, shard, BOTH))
    assert not list((tmp_path / "cache").rglob("*.tar"))
    (shards / shard.name).write_bytes(content)
    kept = place.file(shard.name, shard.sha256)
    kept.write_bytes(content[:600])
    assert place.file(shard.name, shard.sha256).read_bytes() == content, "what is damaged here is fetched again"
    with pytest.raises(OSError, match=r"nothing.tar cannot be fetched \(HTTP Error 404.*Is the address right"):
        place.file("nothing.tar")


@pytest.mark.parametrize(
    "name", ["../x.tar", "/tmp/x.tar", "a/b.tar", "..", ".hidden", "x\\y.tar", "", "a b.tar", None, 3]
)
def test_a_manifest_cannot_name_files_outside_its_folder(name, shards, served, tmp_path):
    facts = json.loads((shards / "manifest.json").read_text())
    facts["shards"][0]["name"] = name
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="is no bare file name"):
        Manifest.read(Location(folder))
    with pytest.raises(ValueError, match="is no bare file name"):
        Manifest.read(Location(folder.as_uri(), cache=tmp_path / "cache"))
    if isinstance(name, str):
        with pytest.raises(ValueError, match="is no bare file name"):
            Location(served, cache=tmp_path / "cache").file(name)
    assert not (tmp_path / "x.tar").exists()


def test_a_download_is_no_larger_than_the_manifest_says(shards, served, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.data.shards.remote.time.sleep", lambda _: None)
    manifest = Manifest.read(Location(shards))
    shard = replace(manifest.shards[0], bytes=100)
    with pytest.raises(OSError, match="it has more than the 100 bytes that are expected"):
        next(read_shard(Location(served, cache=tmp_path / "cache"), manifest, shard, BOTH))
    assert not list((tmp_path / "cache").rglob("*.tar"))
    facts = json.loads((shards / "manifest.json").read_text())
    facts["shards"][0]["bytes"] = "many"
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="has 'many' bytes, but a shard has up to"):
        Manifest.read(Location(tmp_path))


def test_a_manifest_can_be_pinned(shards, served, tmp_path, monkeypatch):
    monkeypatch.setattr("scorereg.data.shards.remote.time.sleep", lambda _: None)
    right = hashlib.sha256((shards / "manifest.json").read_bytes()).hexdigest()
    wrong = "0" * 64
    where = Path(f"{served}#sha256={right.upper()}")  # as the command line has it
    assert Manifest.read(Location(where, cache=tmp_path)) == Manifest.read(Location(shards))
    assert Location(where, cache=tmp_path).folder == Location(served, cache=tmp_path).folder
    with pytest.raises(OSError, match=r"manifest.json cannot be fetched \(its checksum is not the one given\)"):
        Manifest.read(Location(f"{served}#sha256={wrong}", cache=tmp_path))
    with pytest.raises(ValueError, match="a SHA-256 has 64 digits"):
        Location(f"{served}#sha256=abc", cache=tmp_path)
    folder = Path("rooms#sha256=abc")
    assert Location(folder).folder == folder
    assert pinned([folder, Path(served)], right) == [folder, Path(f"{served}#sha256={right}")]
    for urls in ([], [Path(served)] * 2):
        with pytest.raises(ValueError, match=f"{len(urls)} of the data are URLs"):
            pinned([folder, *urls], right)


def test_a_step_is_a_function_of_its_number(shards):
    """Asked in order, backwards, from a copy in a pickle, or from the middle on: the same patches."""
    source = open_shards(shards, SPEC)
    forwards = [source.batch(6, seed=1, step=step, slot=0) for step in range(60)]
    copy = pickle.loads(pickle.dumps(source))
    for step in (59, 30, 31, 7, 0):
        for a, b in zip(forwards[step], copy.batch(6, seed=1, step=step, slot=0), strict=True):
            assert_close(a, b, rtol=0.0, atol=0.0)
    assert not torch.equal(forwards[3][0], source.batch(6, seed=2, step=3, slot=0)[0])
    assert not torch.equal(forwards[3][0], source.batch(6, seed=1, step=3, slot=1)[0])
    assert not torch.equal(forwards[3][0], forwards[4][0])
    x, weight = forwards[0]
    assert x.shape == weight.shape == (6, 4, 8, 8)
    assert x.abs().max() <= 1


@pytest.mark.parametrize("lanes", [1, 2])
def test_every_training_frame_is_seen_and_no_other(shards, monkeypatch, lanes):
    seen = []
    import scorereg.data.shards.source as module

    def spy(place, manifest, shard, maps):
        for frame, planes in read_shard(place, manifest, shard, maps):
            seen.append(frame.depth.name)
            yield frame, planes

    monkeypatch.setattr(module, "read_shard", spy)
    monkeypatch.setattr(module, "LANES", lanes)
    source = open_shards(shards, SPEC)
    train = [frame.depth.name for frame, _ in all_frames(shards, "train")]
    for step in range(2000):
        source.batch(6, seed=1, step=step, slot=0)
        if set(seen) == set(train) and len(seen) > 2 * len(train):
            break
    source._ahead[1].shutdown()
    assert set(seen) == set(train)
    first, second = seen[: len(train)], seen[len(train) : 2 * len(train)]
    assert sorted(first) == sorted(second) == sorted(train), "an epoch takes each shard once"
    assert first != second, "in another order each time"


def test_held_out_patches_are_of_held_out_scenes(scenes, shards):
    """The green of a picture is a ramp, its third colour depends on the seed: patches are found in held-out frames."""
    source = open_source([shards], SPEC, [scenes / "s03", shards])
    assert source.measured == ("held-out", "s03", "shards")
    assert source.about.held_out == Manifest.read(Location(shards)).scenes["val"]
    assert (source.about.licence, source.about.credits, source.about.d_min) == ("CC0", ("me",), 0.5)
    for name in ("train", *source.measured):
        x, weight = source.plain(name, 5, seed=0)
        assert x.shape == (5, 4, 8, 8)
        assert weight.all()
        assert_close(x, source.plain(name, 5, seed=0)[0], rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"d_min": 0.3}, r"keeps depth for d_min from 0.5 m on, but the run's is 0.3"),
        ({"focal": (80.0, 180.0)}, r"has focal lengths up to 30 pixels, but the run wants 80"),
    ],
)
def test_runs_that_want_something_else_are_refused(shards, change, says):
    with pytest.raises(ValueError, match=says):
        open_shards(shards, dataclasses.replace(SPEC, **change))


def test_shards_without_depth_say_so(scenes, tmp_path):
    prepare([scenes], tmp_path / "rgb", channels=("r", "g", "b"))
    with pytest.raises(ValueError, match="holds r, g, b, but not disparity. Prepare the data again with --channels"):
        open_shards(tmp_path / "rgb", SPEC)
    (tmp_path / "rgb" / MANIFEST).write_text("{}")
    with pytest.raises(ValueError, match="is no manifest of shards"):
        open_shards(tmp_path / "rgb", SPEC)


def test_command(scenes, tmp_path):
    from scorereg.cli.command import app

    args = ["prepare", str(scenes), "--out", str(tmp_path / "out"), "--focal", "30", "--licence", "CC0"]
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    assert result.exit_code == 0
    bytes_each = Manifest.read(Location(tmp_path / "out")).bytes / 40
    assert (
        f"40 frames, {bytes_each * 40 / 1e9:.3g} GB, {bytes_each / 1e3:.1f} kB a frame; 0 frames skipped"
        in result.output
    )
    assert f"Hypersim would be {bytes_each * 77400 / 1e9:.1f} GB" in result.output


def test_the_trainer_takes_shards_by_folder_or_url(shards, served, tmp_path, monkeypatch):
    monkeypatch.setenv("SCOREREG_CACHE", str(tmp_path / "cache"))
    for where in (shards, Path(served)):  # a path has lost a slash of the URL
        source = open_source([where], SPEC)
        assert source.about.data.startswith("36 frames of 18 scenes")
        assert source.batch(2, seed=0, step=0, slot=0)[0].shape == (2, 4, 8, 8)
