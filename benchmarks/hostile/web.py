"""Shards behind a URL: a manifest of paths, sizes that lie, redirects, packed and endless answers."""
# ruff: noqa: E501 (tables with a case a line)

import gzip
import hashlib
from collections.abc import Callable
from typing import Any

from benchmarks.hostile.case import Cases, Place, edit_json, put

__all__ = ["CASES"]

CASES = Cases("web")
_SHARD = "train-00000.tar"


def _rename(place: Place, name: str) -> None:
    """Call a shard otherwise, and serve code under that name."""
    code = f"import os\nos.system({place.shell!r})\n".encode()
    put(place.input / "x.py", code)
    name = name.format(outside=place.outside)

    def change(table: dict[str, Any]) -> None:
        table["shards"][0].update(name=name, bytes=len(code), sha256=hashlib.sha256(code).hexdigest())

    edit_json(place.input / "manifest.json", change)


_NAMES = {
    "above the cache": "../../../outside/x.py", "that is absolute": "{outside}/x.py", "with a backslash": "..\\..\\x.py",
    "that is quoted": "%2e%2e%2f%2e%2e%2foutside%2fx.py", "that is the manifest's folder": "..", "that is hidden": ".bashrc",
    "that is empty": "", "with a NUL": "a\0.tar", "with a line break": "a\nscorereg: all is well",
    "with an escape sequence": "\x1b[2J.tar", "with a question": "x.tar?y=../../x", "that is a URL": "http://127.0.0.1:9/x.tar",
    "of 10,000 letters": "a" * 10_000, "of a drive": "C:\\x.py", "of a stream": "x.tar:evil", "that is a number": 7,
    "that ends in a dot": "x.py\u2024tar",
}  # fmt: skip
CASES.each(
    "url",
    "shards",
    {f"a shard's name {name}": value for name, value in _NAMES.items() if isinstance(value, str)},
    _rename,
)


def _field(place: Place, what: tuple[str, Any]) -> None:
    def change(table: dict[str, Any]) -> None:
        holder: Any = table
        *way, last = (int(word) if word.isdigit() else word for word in what[0].split("/"))
        for key in way:
            holder = holder[key]
        if what[1] is None:
            del holder[last]
        else:
            holder[last] = what[1]

    edit_json(place.input / "manifest.json", change)


_FIELDS: dict[str, tuple[str, Any]] = {
    "a name that is a number": ("shards/0/name", 7), "a size of 2^60": ("shards/0/bytes", 2**60),
    "a size of -1": ("shards/0/bytes", -1), "a size that is true": ("shards/0/bytes", True),
    "a size in words": ("shards/0/bytes", "many"), "a size that is too small": ("shards/0/bytes", 100),
    "a checksum that is none": ("shards/0/sha256", "x"), "a checksum of another file": ("shards/0/sha256", "0" * 64),
    "frames in words": ("shards/0/frames", "many"), "10^18 frames": ("shards/0/frames", 10**18),
    "-5 frames": ("shards/0/frames", -5), "a split that is not known": ("shards/0/split", "evil"),
    "shards that are an object": ("shards", {}), "no shards": ("shards", []), "a shard that is a text": ("shards/0", "x"),
    "a field that is not known": ("shards/0/__class__", "x"), "no scenes": ("scenes", None),
    "scenes that are a list": ("scenes", [1]), "scenes that are numbers": ("scenes", {"train": 7, "val": 7}),
    "a focal length of NaN": ("focal", float("nan")), "a focal length in words": ("focal", "x"),
    "a d_min of -1": ("d_min", -1.0), "an inverse depth of 1e308": ("inverse_max", 1e308),
    "an inverse depth of 0": ("inverse_max", 0), "an inverse depth in words": ("inverse_max", "x"),
    "channels that are a number": ("channels", 5), "channels that are numbers": ("channels", [1, 2]),
    "a name with an escape sequence": ("name", "\x1b[2J\x1b]0;x\x07"), "a licence that is a list": ("licence", [1]),
    "credits that are a text": ("credits", "me"), "a convention that is a number": ("convention", 7),
    "another format": ("format", "scorereg shards 999"),
}  # fmt: skip
CASES.each("url", "shards", {f"a manifest with {name}": what for name, what in _FIELDS.items()}, _field)


def _send(handler: Any, data: bytes, *, size: int | None = None, code: int = 200, **headers: str) -> bool:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(data) if size is None else size))
    handler.end_headers()
    handler.wfile.write(data)
    return True


def _endless(handler: Any) -> bool:
    handler.send_response(200)
    handler.end_headers()
    block = b" " * 2**20
    for _ in range(4096):
        handler.wfile.write(block)
    return True


def _for(name: str, act: Callable[[Any], bool]) -> Callable[[Any, str], bool]:
    return lambda handler, path: path == name and act(handler)


_ANSWERS: dict[str, Callable[[Any, str], bool]] = {
    "a manifest without end": _for("manifest.json", _endless),
    "a shard without end": _for(_SHARD, _endless),
    "a manifest that is packed": _for("manifest.json", lambda h: _send(h, gzip.compress(b"{" * 2**28), Content_Encoding="gzip")),
    "a manifest that is sent to a file": _for("manifest.json", lambda h: _send(h, b"", code=302, Location="file:///etc/passwd")),
    "a manifest that is sent to itself": _for("manifest.json", lambda h: _send(h, b"", code=302, Location="/manifest.json")),
    "a manifest that is sent to another kind of address": _for("manifest.json", lambda h: _send(h, b"", code=302, Location="gopher://127.0.0.1:9/x")),
    "a shard that is sent to a file": _for(_SHARD, lambda h: _send(h, b"", code=302, Location="file:///dev/zero")),
    "a manifest that ends early": _for("manifest.json", lambda h: _send(h, b'{"format"', size=10**6)),
    "a shard that ends early": _for(_SHARD, lambda h: _send(h, b"x" * 100, size=10**6)),
    "a manifest of bytes": _for("manifest.json", lambda h: _send(h, bytes(range(256)))),
    "a manifest of 404": _for("manifest.json", lambda h: _send(h, b"<html>", code=404)),
    "a shard of 404": _for(_SHARD, lambda h: _send(h, b"<html>", code=404)),
    "a manifest of no HTTP": _for("manifest.json", lambda h: bool(h.wfile.write(b"\0" * 99)) or True),
    "a head of a million lines": _for("manifest.json", lambda h: bool(h.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10**6)) or True),
    "a size that is no number": _for("manifest.json", lambda h: bool(h.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}")) or True),
    "parts of a negative size": _for("manifest.json", lambda h: bool(h.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n")) or True),
}  # fmt: skip
for _name, _answer in _ANSWERS.items():
    CASES.each("url", "shards", {_name: None}, lambda place, _: None, answer=_answer)
