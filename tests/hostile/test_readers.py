"""What a reader does with what a stranger may have put where a file was expected."""

import hashlib
import io
import json
import os
import socket
import tarfile
import warnings

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from benchmarks.hostile.server import serve
from scorereg._io import check_plain, printable, read_json
from scorereg.cli.errors import one_line_errors
from scorereg.data.shards import fetch as fetching
from scorereg.data.shards.codec import decode
from scorereg.data.shards.fetch import TooLarge, fetch
from scorereg.data.shards.manifest import MANIFEST, Manifest, Shard, read_shard
from scorereg.data.shards.remote import Location
from scorereg.evaluation.tables import card_table
from scorereg.files.depth import read_depth
from scorereg.files.images import read_image
from scorereg.priors.adapters.diffusers_parts import refuse_code
from scorereg.priors.card import PriorCard


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def unix_socket(path):
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def circle(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    "read", [check_plain, read_image, lambda path: read_depth(path, 1.0), lambda p: read_json(p, "")]
)
@pytest.mark.parametrize("make", [pipe, device, unix_socket, circle])
def test_what_is_no_plain_file_is_refused(make, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.png")
    with pytest.raises(OSError, match=r"a.png (is a pipe, device or socket, but a plain file|cannot be opened)"):
        read(tmp_path / "a.png")


def test_a_name_that_no_file_has(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no name of a file"):
        check_plain(tmp_path / "a\0b")
    check_plain(tmp_path / "missing")


@pytest.mark.parametrize("name", ["a.py", "a.PY", "a.pyc", "a.so"])
def test_code_under_any_name_is_refused(name, tmp_path):
    refuse_code(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name} is code"):
        refuse_code(tmp_path)


@pytest.mark.parametrize("text", ['{"auto_map": {}}', '{"\\u0061uto_map": 1}', '{"auto_map'])
def test_a_key_that_names_code_is_found_however_it_is_written(text, tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": "auto_maps", "b": ["auto_map"]}')
    refuse_code(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json names code in auto_map"):
        refuse_code(tmp_path)


@pytest.mark.parametrize("kind", ["link", "soft", "external", "virtual", "missing", "large", "text", "group"])
def test_hdf5_names_no_other_file(kind, tmp_path):
    h5py = pytest.importorskip("h5py")
    from scorereg.data.frames.hdf5 import read_dataset

    value = np.arange(12, dtype=np.float32).reshape(3, 4)
    path, other = tmp_path / "a.hdf5", tmp_path / "secret.hdf5"
    for file in (path, other):
        with h5py.File(file, "w") as made:
            made["dataset"] = value
    assert np.array_equal(read_dataset(path, 2), value)
    raw = tmp_path / "raw"
    raw.write_bytes(value.tobytes())
    layout = h5py.VirtualLayout((3, 4), np.float32)
    layout[:] = h5py.VirtualSource(str(other), "dataset", (3, 4))
    with h5py.File(path, "w") as made:
        if kind == "link":
            made["dataset"] = h5py.ExternalLink(str(other), "/dataset")
        elif kind == "soft":
            made["dataset"] = h5py.SoftLink("/dataset")
        elif kind == "external":
            made.create_dataset("dataset", (3, 4), np.float32, external=[(str(raw), 0, 48)])
        elif kind == "virtual":
            made.create_virtual_dataset("dataset", layout)
        elif kind == "large":
            made.create_dataset("dataset", (5000, 5000), np.float32, chunks=(10, 10))
        elif kind == "text":
            made.create_dataset("dataset", data=np.array([["a"]], object), dtype=h5py.string_dtype())
        elif kind == "group":
            made.create_group("dataset")
    with pytest.raises((ValueError, OSError), match=r"a.hdf5 (holds|names|promises|cannot)"):
        read_dataset(path, 2)


def packed(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(info, io.BytesIO(content) if content else None)
    return out.getvalue()


def picture(kind, value):
    out = io.BytesIO()
    Image.fromarray(value).save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return out.getvalue()


COLOR = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
META = {"scene": "a/b", "file": "c", "focal": [9.0, 9.0], "size": [6, 8]}
FILES = {
    "rgb.webp": picture("WEBP", COLOR),
    "depth.png": picture("PNG", np.full((6, 8), 30_000, np.uint16)),
    "json": json.dumps(META).encode(),
}
GOOD = [(f"00000000.{kind}", data, tarfile.REGTYPE) for kind, data in FILES.items()]


def shard_of(folder, data, frames=1):
    """A folder with one shard, and what reads it."""
    (folder / "train-00000.tar").write_bytes(data)
    shard = Shard("train-00000.tar", "train", frames, len(data), hashlib.sha256(data).hexdigest(), "plan")
    manifest = Manifest("x", ("r", "g", "b", "disparity"), 9.0, 0.5, 4.0, (shard,), {"train": ("a/b",), "val": ()})
    return lambda: list(read_shard(Location(folder), manifest, shard, ("color", "depth")))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_members_of_a_shard_are_plain_files(kind, tmp_path):
    ((frame, planes),) = shard_of(tmp_path, packed(*GOOD))()
    assert np.array_equal(planes.color, COLOR)
    assert frame.focal == (9.0, 9.0)
    read = shard_of(tmp_path, packed(*GOOD, ("00000001.rgb.webp", b"", kind)))
    with pytest.raises(ValueError, match="train-00000.tar is no tar file of frames .* is no plain file"):
        read()


def test_a_packed_shard_does_not_grow(tmp_path):
    import gzip

    read = shard_of(tmp_path, gzip.compress(packed(*GOOD)))
    with pytest.raises(ValueError, match="train-00000.tar is no tar file of frames"):
        read()


def test_a_shard_has_the_frames_that_its_manifest_says(tmp_path):
    with pytest.raises(ValueError, match="it has 1 frames, but manifest.json says 2"):
        shard_of(tmp_path, packed(*GOOD), frames=2)()
    with pytest.raises(ValueError, match="twice"):
        shard_of(tmp_path, packed(*GOOD, GOOD[0]))()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rgb.webp", FILES["depth.png"]),
        ("rgb.webp", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\n"),
        ("depth.png", FILES["rgb.webp"]),
        ("depth.png", picture("PNG", np.zeros((6, 9), np.uint16))),
        ("json", b"[]"),
        ("json", b"[" * 100_000),
        ("json", json.dumps({**META, "size": [10**9, 10**9]}).encode()),
        ("json", json.dumps({**META, "size": [6.0, 8.0]}).encode()),
        ("json", json.dumps({**META, "focal": [float("nan"), 9.0]}).encode()),
        ("json", json.dumps({**META, "scene": 7}).encode()),
    ],
)
def test_a_shard_holds_two_kinds_of_pictures(name, content, tmp_path):
    members = [(f"00000000.{kind}", content if kind == name else data, tarfile.REGTYPE) for kind, data in FILES.items()]
    with pytest.raises(ValueError, match="train-00000.tar: its frame '00000000' cannot be read"):
        shard_of(tmp_path, packed(*members))()


def test_a_frame_that_is_whole_is_decoded():
    _, planes = decode("0", FILES, inverse_max=4.0, maps=("color", "depth"))
    assert planes.metres.shape == (6, 8)
    assert planes.metres[0, 0] == pytest.approx(1 / (29_999 / 65534 * 4.0))


def manifest_of(**changes):
    shard = {
        "name": "a.tar",
        "split": "train",
        "frames": 1,
        "bytes": 9999,
        "sha256": "0" * 64,
        "plan": "",
        "skipped": [],
    }
    table = {
        "format": "scorereg shards 1", "frames": 1, "bytes": 9999, "name": "x", "channels": ["r"], "focal": 9.0,
        "d_min": 0.5, "inverse_max": 4.0, "shards": [shard], "scenes": {"train": ["a"], "val": ["b"]}, "licence": "",
        "credits": [], "skipped": [], "left_out": [], "convention": {},
    }  # fmt: skip
    shard |= changes.pop("shard", {})
    return table | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"focal": float("nan")}, {"focal": "x"}, {"d_min": -1}, {"inverse_max": 1e308}, {"inverse_max": 5.0},
        {"channels": 5}, {"channels": [1]}, {"credits": "me"}, {"licence": "MIT\n---"}, {"name": "\x1b[2J"},
        {"scenes": {"train": 7}}, {"scenes": {"val": ["b"]}}, {"convention": 7}, {"shards": [7]}, {"evil": 1},
        {"shard": {"bytes": True}}, {"shard": {"bytes": 2**40}}, {"shard": {"frames": 10**9}},
        {"shard": {"frames": -1}},
        {"shard": {"split": "evil"}}, {"shard": {"sha256": "x"}}, {"shard": {"skipped": 7}}, {"shard": {"evil": 7}},
    ],
)  # fmt: skip
def test_a_manifest_of_wrong_types_is_one_line(changes, tmp_path):
    (tmp_path / MANIFEST).write_text(json.dumps(manifest_of()))
    assert Manifest.read(Location(tmp_path)).shards[0].name == "a.tar"
    (tmp_path / MANIFEST).write_text(json.dumps(manifest_of(**changes)))
    with pytest.raises(ValueError, match="manifest.json is no manifest of shards") as caught:
        Manifest.read(Location(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_link_in_the_cache_is_replaced(tmp_path, monkeypatch):
    there, cache, precious = tmp_path / "there", tmp_path / "cache", tmp_path / "precious"
    there.mkdir()
    (there / "a.tar").write_bytes(b"data")
    precious.write_bytes(b"data")
    place = Location(there.as_uri(), cache=cache)
    place.folder.mkdir(parents=True)
    (place.folder / "a.tar").symlink_to(precious)
    path = place.file("a.tar", hashlib.sha256(b"data").hexdigest())
    assert path.read_bytes() == b"data"
    assert not path.is_symlink()
    assert precious.read_bytes() == b"data"
    assert path.stat().st_mode & 0o077 == 0, "others may read it"
    assert [p.name for p in place.folder.iterdir()] == ["a.tar"]


def test_a_download_is_in_place_when_it_is_whole(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/a").write_bytes(b"0123456789")
    url, path = f"{(tmp_path / 'there').as_uri()}/a", tmp_path / "a"
    with pytest.raises(TooLarge):
        fetch(url, path, None, 9)
    assert not fetch(url, path, "0" * 64, 10)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
    assert fetch(url, path, None, 10)
    assert path.read_bytes() == b"0123456789"


def sent_to(where):
    def answer(handler, name):
        handler.send_response(302)
        handler.send_header("Location", where)
        handler.end_headers()
        return True

    return answer


@pytest.mark.parametrize("where", ["file:///etc/passwd", "ftp://127.0.0.1:9/x", "gopher://127.0.0.1:9/x"])
def test_redirects_stay_on_the_web(where, tmp_path):
    with serve(tmp_path, sent_to(where)) as url, pytest.raises(OSError, match=r"redirected|[Rr]edirect"):
        fetch(f"{url}/a", tmp_path / "a", None, 10**6)
    assert not (tmp_path / "a").exists()


def test_redirects_stay_behind_tls():
    import urllib.request

    request = urllib.request.Request("https://host/a")
    with pytest.raises(OSError, match="redirected to http://host/b, which is not https"):
        fetching._Redirects().redirect_request(request, None, 302, "", {}, "http://host/b")
    assert (
        fetching._Redirects().redirect_request(request, None, 302, "", {}, "https://host/b").full_url
        == "https://host/b"
    )


def test_a_slow_server_is_given_up(tmp_path, monkeypatch):
    import time

    def drips(handler, name):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
        return True

    monkeypatch.setattr(fetching, "_SECONDS", 0.2)
    with serve(tmp_path, drips) as url, pytest.raises(OSError, match="it comes too slowly|timed out"):
        fetch(f"{url}/a", tmp_path / "a", None, 10**6)


EVIL = "a\x1b[2J\x1b]8;;http://x\x07[link=http://x]b[/link] [/bold]\u202e"


def test_what_is_printed_obeys_no_file(capsys):
    assert printable("a\x1b[2J\u202eb\n") == "a?[2J?b?"
    with pytest.raises(SystemExit), one_line_errors():
        raise ValueError(f"{EVIL}\nscorereg: all is well")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert printable(said.rstrip("\n")) == said.rstrip("\n")
    rows = [{"sigma": 0.1, "rgb": 1.0, "rgb_linear": 1.0, "rgb_ratio": 1.0}]
    card = PriorCard(
        EVIL, (EVIL,), (4,), 0.1, 1.0, data=f"{EVIL}\n{EVIL}", denoising={EVIL: rows}, network={EVIL: EVIL}
    )
    out = io.StringIO()
    Console(file=out, width=300, force_terminal=True).print(card_table(card))
    text = out.getvalue()
    assert "[link=http://x]b[/link]" in text
    assert "\x1b]8" not in text
    assert "\x1b[2J" not in text


def test_a_long_line_is_cut(capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise ValueError("begin " + "x" * 10**6 + " end")
    said = capsys.readouterr().err
    assert len(said) < 2100
    assert said.startswith("scorereg: begin")
    assert said.endswith(" end\n")


@pytest.mark.parametrize(
    "error", [RecursionError("deep"), MemoryError(), RuntimeError("[enforce] can't allocate memory")]
)
def test_what_runs_out_is_no_fault_of_the_program(error, capsys):
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise error
    assert caught.value.code == 2
    assert "fault of the program" not in capsys.readouterr().err


def test_what_pillow_warns_of_names_the_file(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(COLOR).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\x7f" + bytes(30))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        read_image(path)
    assert all("a.jpg has damaged data beside its pixels" in str(each.message) for each in heard)
    assert heard


def test_a_palette_that_is_missing(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P").save(path)
    read_image(path)
    data = path.read_bytes()
    start = data.index(b"PLTE") - 4
    size = int.from_bytes(data[start : start + 4]) + 12
    path.write_bytes(data[:start] + data[start + size :])
    with pytest.raises(ValueError, match="its palette is missing"):
        read_image(path)


@pytest.mark.parametrize(
    "changes", [{"licence": "MIT\n---\nlibrary_name: x"}, {"credits": ["\x1b[2J"]}, {"licence": "\x1b"}]
)
def test_a_card_has_plain_lines(changes, tmp_path):
    card = json.loads(PriorCard("x", ("r",), (4,), 0.1, 1.0).to_json())
    PriorCard.from_json(json.dumps({**card, "licence": "CC BY 3.0", "credits": ["Zoë"]}))
    with pytest.raises(ValueError, match=f"`{next(iter(changes))}` cannot be"):
        PriorCard.from_json(json.dumps({**card, **changes}))
