"""Shards: stored frames, continued after an interruption, and bad input."""

import gc
import io
import json
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rgbd_folders import FOCAL, HEIGHT, WIDTH, kinect, pairs, picture
from torch.testing import assert_close

from scorereg.data.bad_frames import ReadOptions
from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame, Planes
from scorereg.data.frames.split import split_scenes
from scorereg.data.shards.codec import decode, encode
from scorereg.data.shards.manifest import MANIFEST, Manifest, read_shard
from scorereg.data.shards.remote import Location, checksum
from scorereg.data.shards.write import prepare

BOTH = ("color", "depth")


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def all_frames(folder, split, maps=BOTH):
    manifest = Manifest.read(Location(folder))
    return [pair for shard in manifest.of(split) for pair in read_shard(Location(folder), manifest, shard, maps)]


def test_a_frame_survives_but_for_the_quantisation(tmp_path):
    color, z = picture(3)
    metres = z.astype(np.float32) / 1000
    metres[:4, :4] = np.nan
    metres[5, 5] = 0.1  # nearer than 1 / inverse_max
    maps = {"normal": np.random.default_rng(0).uniform(-1, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)}
    frame = Frame("a/b", tmp_path / "x.jpg", None, (FOCAL, FOCAL))
    files = encode(frame, Planes(color.astype(np.float32), metres, maps), focal=40.0, inverse_max=4.0)
    there, planes = decode("0", files, inverse_max=4.0, maps=(*BOTH, "normal"))
    assert (there.scene, there.focal) == ("a/b", (FOCAL, FOCAL))
    assert_close(planes.color, color.astype(np.float32), rtol=0.0, atol=0.0)
    assert (np.isnan(planes.metres) == np.isnan(metres)).all()
    inverse = np.minimum(1 / metres, 4)
    assert np.nanmax(np.abs(1 / planes.metres - inverse)) <= 0.51 * 4 / 65534
    assert_close(planes.maps["normal"], maps["normal"], rtol=0.0, atol=2e-5)


def test_frames_are_reduced_and_never_enlarged(tmp_path):
    frame = Frame("a/b", tmp_path / "x.jpg", None, (FOCAL, FOCAL))
    planes = Planes(picture(0)[0].astype(np.float32), np.full((HEIGHT, WIDTH), 2, np.float32))
    there, small = decode("0", encode(frame, planes, focal=15.0, inverse_max=4.0), inverse_max=4.0, maps=BOTH)
    assert there.focal == (15.0, 15.0)
    assert small.color.shape == (HEIGHT // 2, WIDTH // 2, 3)
    blocks = planes.color.reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3).mean((1, 3))
    assert np.abs(small.color - blocks).max() <= 0.501


def test_manifest_says_what_there_is(shards):
    facts = json.loads((shards / MANIFEST).read_text())
    train, val = (facts["scenes"][name] for name in ("train", "val"))
    assert len(train) + len(val) == 20
    assert facts["frames"] == 40
    assert (facts["licence"], facts["credits"], facts["focal"], facts["d_min"]) == ("CC0", ["me"], 30.0, 0.5)
    assert facts["channels"] == ["r", "g", "b", "disparity"]
    assert "inverse planar depth" in facts["convention"]["depth.png"]
    for shard in facts["shards"]:
        assert shard["sha256"] == checksum(shards / shard["name"])
        assert shard["bytes"] == (shards / shard["name"]).stat().st_size
        assert shard["frames"] <= 8
    assert sum(s["frames"] for s in facts["shards"] if s["split"] == "val") == 2 * len(val)
    assert {p.name for p in shards.iterdir()} == {MANIFEST, *(s["name"] for s in facts["shards"])}


def test_the_split_is_that_of_training_on_the_raw_frames(scenes, shards):
    train, _, names = split_scenes(find_frames([scenes]))
    manifest = Manifest.read(Location(shards))
    assert manifest.scenes["val"] == names
    assert {f.scene for f, _ in all_frames(shards, "val")} == set(names)
    assert len(all_frames(shards, "train")) == len(train)


def test_shards_mix_scenes(shards):
    first = [frame.scene for frame, _ in all_frames(shards, "train")][:8]
    assert len(set(first)) >= 5


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_them(shards):
    wds = pytest.importorskip("webdataset")
    name = Manifest.read(Location(shards)).of("train")[0].name
    depth = wds.handle_extension("depth.png", lambda data: np.asarray(Image.open(io.BytesIO(data))))
    (sample, *_) = list(wds.WebDataset(str(shards / name), shardshuffle=False).decode(depth, "pil"))
    gc.collect()  # it leaves files open
    assert sample["rgb.webp"].size == (WIDTH, HEIGHT)
    assert sample["depth.png"].dtype == np.uint16
    assert sample["json"]["focal"] == [FOCAL, FOCAL]


def test_members_are_named_as_webdataset_wants_them(shards):
    with tarfile.open(shards / "train-00000.tar") as tar:
        names = tar.getnames()
    assert names[:3] == ["00000000.rgb.webp", "00000000.depth.png", "00000000.json"]


class Stop(Exception):
    pass


def test_an_interrupted_preparation_is_continued(scenes, shards, tmp_path):
    calls = []

    def stop(done, total, written):
        calls.append(done)
        if len(calls) == 2:
            raise Stop

    again = partial(prepare, [scenes], tmp_path / "again", focal=30.0, shard_frames=8, licence="CC0", credits=("me",))
    with pytest.raises(Stop):
        again(progress=stop)
    assert not (tmp_path / "again" / MANIFEST).exists()
    done = sorted((tmp_path / "again").glob("*.tar"))
    assert len(done) == 2
    stamp = done[0].stat().st_mtime_ns
    done[1].write_bytes(done[1].read_bytes()[:-600])  # damaged, so it must be made again
    again(name="raw")
    assert done[0].stat().st_mtime_ns == stamp
    assert {n: b for n, b in everything(tmp_path / "again").items() if n.endswith(".tar")} == {
        n: b for n, b in everything(shards).items() if n.endswith(".tar")
    }


def test_finished_shards_are_kept_and_others_refused(scenes, shards):
    stamps = {p: p.stat().st_mtime_ns for p in shards.glob("*.tar")}
    before = (shards / MANIFEST).read_text()
    prepare([scenes], shards, focal=30.0, shard_frames=8, licence="CC0", credits=("me",))
    assert {p: p.stat().st_mtime_ns for p in shards.glob("*.tar")} == stamps
    assert (shards / MANIFEST).read_text() == before
    with pytest.raises(ValueError, match="holds shards of other data or other settings. Choose another --out"):
        prepare([scenes], shards, focal=20.0, shard_frames=8)


@pytest.mark.slow  # processes are started, and import torch
def test_several_processes_write_the_same_bytes(scenes, shards, tmp_path):
    prepare([scenes], tmp_path / "two", focal=30.0, shard_frames=8, workers=2, licence="CC0", credits=("me",))
    assert everything(tmp_path / "two") == everything(shards)


def test_bad_frames_are_skipped_and_named(tmp_path):
    for i in range(101):
        kinect(tmp_path / "raw" / f"{i:03}", 1)
    (tmp_path / "raw" / "007" / "frame-000000.color.jpg").write_bytes(b"hello")
    with pytest.raises(ValueError, match="007/frame-000000.color.jpg cannot be read"):
        prepare([tmp_path / "raw"], tmp_path / "out", focal=30.0)
    manifest = prepare([tmp_path / "raw"], tmp_path / "out", focal=30.0, reading=ReadOptions(skip_bad=True))
    assert manifest.frames == 100
    (skipped,) = [line for shard in manifest.shards for line in shard.skipped]
    assert "007/frame-000000.color.jpg" in skipped
    (tmp_path / "raw" / "008" / "frame-000000.color.jpg").unlink()
    with pytest.raises(ValueError, match="2 of 101 frames cannot be used, and only 1 %"):
        prepare([tmp_path / "raw"], tmp_path / "other", focal=30.0, reading=ReadOptions(skip_bad=True))
    assert not (tmp_path / "other" / MANIFEST).exists()


def test_a_wrong_unit_is_seen_first_and_corrected_by_a_factor(tmp_path):
    for i in range(3):
        folder = pairs(tmp_path / "raw" / f"{i}", 1)
        text = (folder / "intrinsics.json").read_text()
        (folder / "intrinsics.json").write_text(text.replace("0.001", "1.0"))
    with pytest.raises(ValueError, match=r"millimetres read as metres.*--depth-factor 0.001"):
        prepare([tmp_path / "raw"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepare([tmp_path / "raw"], tmp_path / "out", depth_factor=0.001)
    (_, planes) = all_frames(tmp_path / "out", "train")[0]
    assert 0.99 < np.nanmin(planes.metres) <= np.nanmax(planes.metres) < 5


def test_numbers_that_mean_nothing(scenes, tmp_path):
    for change in ({"d_min": 0.0}, {"focal": -5.0}, {"depth_factor": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(change))} must be > 0"):
            prepare([scenes], tmp_path / "out", **change)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot be written .* Choose another --out"):
        prepare([scenes], tmp_path / "file" / "out")


def test_a_path_may_be_written_in_several_ways(scenes, shards, monkeypatch):
    before = everything(shards)
    monkeypatch.chdir(scenes.parent)
    prepare([Path(scenes.name)], shards, focal=30.0, shard_frames=8)
    assert everything(shards).keys() == before.keys()


def test_further_maps_are_kept(tmp_path):
    for i in range(3):
        folder = pairs(tmp_path / "raw" / f"{i}", 1)
        (folder / "flow").mkdir()
        flow = np.stack([np.full((HEIGHT, WIDTH), 0.5), np.linspace(-1, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)], -1)
        np.save(folder / "flow" / "0.npy", flow.astype(np.float32))
    channels = ("disparity", "flow.0", "flow.1", "nz")
    prepare([tmp_path / "raw"], tmp_path / "out", channels=channels)
    (_, planes) = all_frames(tmp_path / "out", "train", ("depth", "flow"))[0]
    assert_close(planes.maps["flow"], flow.astype(np.float32), rtol=0.0, atol=2e-5)
    assert planes.color is None


def test_real_rooms(data, tmp_path):
    """What a frame costs, and that depth is what it was."""
    rooms = data("rooms")
    names = sorted(p.name for p in rooms.iterdir() if p.is_dir())[:3]
    manifest = prepare([rooms / name for name in names], tmp_path / "out")
    assert 40e3 < manifest.bytes / manifest.frames < 90e3
    with Image.open(io.BytesIO(_first(tmp_path / "out" / "train-00000.tar", "depth.png"))) as image:
        assert image.mode == "I;16"


def _first(path, ending):
    with tarfile.open(path) as tar:
        member = next(m for m in tar if m.name.endswith(ending))
        return tar.extractfile(member).read()
