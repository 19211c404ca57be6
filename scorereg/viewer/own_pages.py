"""Who may connect to the viewer: its own page, and no page of another site that is open in the same browser."""

import ipaddress
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

__all__ = ["may_connect", "only_own_pages"]

_PROXIED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-context", "forwarded")


def may_connect(headers: Mapping[str, str], host: str) -> bool:
    """Return whether a request was made by the viewer's own page, or by no browser.

    A browser names the site of the page that connects, in `Origin`, which has to be the one that it connects to. Where
    only this machine is served, that has to be one of its own names, as any site can give a name of its own the address
    127.0.0.1 (DNS rebinding). A proxy, which pages cannot imitate, has rules of its own.

    Args:
        headers: Of the request, by names in any case.
        host: Address that the server listens at.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if given.get("upgrade", "").lower() != "websocket" or any(name in given for name in _PROXIED):
        return True
    asked = given.get("host", "")
    if "origin" in given and urlsplit(given["origin"]).netloc.lower() != asked.lower():
        return False
    return not _is_own(host) or _is_own(urlsplit(f"//{asked}").hostname or "")


def _is_own(name: str) -> bool:
    """Whether a name is one of this machine's for itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@contextmanager
def only_own_pages(host: str) -> Iterator[None]:
    """Let servers of websockets that are opened inside the block refuse pages of other sites; viser would take them.

    Args:
        host: Address that they listen at.
    """
    from websockets.asyncio import server as sockets  # pyright: ignore[reportMissingImports]

    plain, opened = sockets.serve, list[bool]()

    def serve(*given: Any, process_request: Any = None, **settings: Any) -> Any:
        opened.append(True)

        def check(connection: Any, request: Any) -> Any:
            if may_connect(dict(request.headers.raw_items()), host):
                return None if process_request is None else process_request(connection, request)
            warnings.warn(_refusal(request.headers.get("Origin", "")), stacklevel=2)
            return connection.respond(HTTPStatus.FORBIDDEN, "This is not the page of the viewer.\n")

        return plain(*given, process_request=check, **settings)

    sockets.serve = serve
    try:
        yield
    finally:
        sockets.serve = plain
    if not opened:
        warnings.warn(
            "this version of viser opens its server in another way, so pages of other sites can connect to it. Install "
            "a version that is known: pip install 'viser>=1.0,<1.2'.",
            stacklevel=3,
        )


def _refusal(origin: str) -> str:
    return (
        f"a page of {origin[:100]} was kept from connecting to the viewer. If you forward the viewer to "
        "that name, give --host 0.0.0.0."
    )
