"""One download: bounded in size and time, into a private temporary file that is renamed when it is whole."""

import hashlib
import os
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["TooLarge", "fetch"]

_SECONDS = 60  # that a server may be silent; afterwards at least _RATE has to come
_RATE = 1000  # bytes a second
_BLOCK = 1 << 20


class TooLarge(OSError):
    """More comes than was announced."""


def fetch(url: str, path: Path, sha256: str | None, size: int) -> bool:
    """Download a file, and put it in place if it is the expected one.

    It grows under a name of its own that only its user can read, and takes the place of whatever has its name at the
    end: a link there is replaced, and what it leads to stays as it is.

    Args:
        url: Address.
        path: Where to put it.
        sha256: Expected checksum; any, if not given.
        size: Most bytes.

    Returns:
        Whether the checksum is the expected one; if not, nothing is put in place.

    Raises:
        TooLarge: If there are more bytes.
        OSError: If it cannot be fetched, or comes at less than 1 kB/s for more than a minute.
    """
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            found = _copy(url, file, size)
            file.flush()
            os.fsync(file.fileno())
        if sha256 is not None and found != sha256:
            return False
        Path(name).replace(path)
        return True
    finally:
        Path(name).unlink(missing_ok=True)


def _copy(url: str, file: Any, size: int) -> str:
    """Write what an address gives to a file; returns its SHA-256."""
    total, digest, start = 0, hashlib.sha256(), time.monotonic()
    with urllib.request.build_opener(_Redirects).open(url, timeout=_SECONDS) as answer:
        while block := answer.read1(_BLOCK):
            total += len(block)
            if total > size:
                raise TooLarge(f"it has more than the {size} bytes that are expected")
            if total < (time.monotonic() - start - _SECONDS) * _RATE:
                raise OSError(f"it comes too slowly, {total} bytes in {time.monotonic() - start:.0f} seconds")
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects stay on the web, and behind TLS if they begin there."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        schemes = ("https://",) if req.full_url.lower().startswith("https://") else ("https://", "http://")
        if not newurl.lower().startswith(schemes):
            raise urllib.error.URLError(f"it is redirected to {newurl:.80}, which is not {' or '.join(schemes)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
