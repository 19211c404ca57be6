"""The web server of the viewer: a viser server on a free port of this machine, shared with nobody."""

import contextlib
import io
import socket
from typing import Any

from scorereg.viewer.own_pages import only_own_pages

__all__ = ["check_server", "close_server", "open_server"]

_SHOWN = 8080


def check_server(host: str, port: int) -> None:
    """See whether a server can be opened, before long work.

    Raises:
        ValueError: If viser is not installed, or the port is no number of one.
        OSError: If the port is taken, or the address is not this machine's.
    """
    _import_viser()
    if not 0 <= port < 65536:
        raise ValueError(f"--port must be from 1 to 65535, or 0 for any that is free, but is {port}.")
    _check_free(host, port)


def _import_viser() -> Any:
    try:
        import viser  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("the viewer needs viser, which is not installed: pip install 'scorereg[view]'") from None
    return viser


def open_server(host: str, port: int) -> tuple[Any, str]:
    """Return a server of viser that listens, and its address.

    Viser offers every browser to make the page public by a tunnel of its makers; this server does not. Nor does it let
    pages of other sites in the browser connect.

    Args:
        host: Address to listen at; `127.0.0.1` is reached from this machine alone.
        port: The port; 0 takes any that is free.

    Raises:
        ValueError: If viser is not installed, or the port is no number of one.
        OSError: If the port is taken, or the address is not this machine's.
    """
    check_server(host, port)
    viser = _import_viser()
    with contextlib.redirect_stdout(io.StringIO()), only_own_pages(host):  # it would print a table of its addresses
        server = viser.ViserServer(host=host, port=port, verbose=False)
    server.request_share_url = lambda *_, **__: None
    shown = "localhost" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
    return server, f"http://{shown}:{server.get_port()}"


def close_server(server: Any) -> None:
    """Stop a server."""
    with contextlib.redirect_stdout(io.StringIO()):  # it would say so
        server.stop()


def _check_free(host: str, port: int) -> None:
    """Raise where nobody can listen; viser would silently take another port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the port of a viewer that just ended is free
            probe.bind(address)
    except (socket.gaierror, UnicodeError):
        raise OSError(f"--host {host} is no address of this machine. Leave it out, or give 0.0.0.0 for all.") from None
    except OSError as error:
        if error.errno == 98 or "in use" in str(error):
            raise OSError(
                f"port {port} is taken, perhaps by another viewer. Give another one: --port {_other(port)}."
            ) from None
        raise OSError(
            f"nobody can listen at {host}, port {port} ({error.strerror or error}). Give another --port or --host."
        ) from None


def _other(port: int) -> int:
    return port + 1 if port < 65535 else _SHOWN
