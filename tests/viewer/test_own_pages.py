"""Which pages may connect to the viewer, and what it makes of values that a browser should not send."""

from math import inf, nan
from types import SimpleNamespace
from typing import Any

import pytest

from scorereg.viewer.camera import is_camera
from scorereg.viewer.controls import Controls
from scorereg.viewer.own_pages import may_connect, only_own_pages
from tests.viewer.walls import Wall

ASKS = {"Upgrade": "websocket", "Host": "localhost:8080", "Origin": "http://localhost:8080"}


@pytest.mark.parametrize(
    ("changes", "host", "may"),
    [
        ({}, "127.0.0.1", True),
        ({"Host": "127.0.0.1:9", "Origin": "http://127.0.0.1:9"}, "127.0.0.1", True),
        ({"Host": "[::1]:9", "Origin": "http://[::1]:9"}, "::1", True),
        ({"Origin": None}, "127.0.0.1", True),
        ({"Origin": "http://evil.example"}, "127.0.0.1", False),
        ({"Origin": "http://localhost:3000"}, "127.0.0.1", False),
        ({"Origin": "null"}, "127.0.0.1", False),
        ({"Origin": "http://evil.example:8080", "Host": "evil.example:8080"}, "127.0.0.1", False),
        ({"Origin": "http://localhost.evil.example", "Host": "localhost.evil.example"}, "localhost", False),
        ({"Origin": "http://gpu7:8080", "Host": "gpu7:8080"}, "0.0.0.0", True),
        ({"Origin": "http://evil.example", "Host": "gpu7:8080"}, "0.0.0.0", False),
        ({"Origin": "https://hub.example", "X-Forwarded-For": "10.0.0.1"}, "127.0.0.1", True),
        ({"Upgrade": None, "Origin": "http://evil.example"}, "127.0.0.1", True),
    ],
)
def test_pages_of_other_sites_may_not_connect(changes, host, may):
    headers = {name: value for name, value in {**ASKS, **changes}.items() if value is not None}
    assert may_connect(headers, host) == may
    assert may_connect({name.lower(): value for name, value in headers.items()}, host) == may


def test_the_server_refuses_them():
    pytest.importorskip("viser", reason="pip install 'scorereg[view]'")
    from viser import __version__
    from websockets.exceptions import InvalidStatus
    from websockets.sync import client

    from scorereg.viewer import Page

    page = Page({"red": Wall((0.8, 0.1, 0.1))}, port=0)
    connect: Any = client.connect
    address, speaks = page.address.replace("http", "ws"), [f"viser-v{__version__}"]
    try:
        with pytest.warns(UserWarning, match=r"a page of http://evil\.example was kept from connecting"):
            with pytest.raises(InvalidStatus, match="403"):
                connect(address, subprotocols=speaks, origin="http://evil.example")
        with connect(address, subprotocols=speaks, origin=page.address) as own:
            assert own.recv(timeout=10)
    finally:
        page.stop()


def test_no_file_but_its_own_is_served():
    pytest.importorskip("viser", reason="pip install 'scorereg[view]'")
    from http.client import HTTPConnection

    from scorereg.viewer import Page

    page = Page({"red": Wall((0.8, 0.1, 0.1))}, port=0)
    try:
        for path, code in {
            "/": 200, "/../../../../etc/passwd": 404, "/%2e%2e/%2e%2e/%2e%2e/etc/passwd": 404, "//etc/passwd": 404,
            "/..%5c..%5cetc/passwd": 404, "/%00": 404,
        }.items():  # fmt: skip
            asked = HTTPConnection("127.0.0.1", page.server.get_port(), timeout=10)
            asked.request("GET", path)
            assert asked.getresponse().status == code, path
            asked.close()
    finally:
        page.stop()


def test_a_server_that_is_opened_otherwise_is_warned_of():
    pytest.importorskip("websockets", reason="pip install 'scorereg[view]'")
    with pytest.warns(UserWarning, match="pages of other sites can connect"), only_own_pages("127.0.0.1"):
        pass


@pytest.mark.parametrize(("value", "pixels"), [(10**9, 1024), (-5, 64), (nan, 64), (inf, 64), (100.0, 100)])
def test_values_beyond_a_slider_are_those_of_its_end(value, pixels):
    slider = SimpleNamespace(value=value, min=64, max=1024)
    level = SimpleNamespace(value=value, min=0.01, max=1.0)
    fit = SimpleNamespace(value="../../etc", options=("a", "b"))
    controls = Controls(fit, fit, slider, fit, None, None, None, slider, None, sigma=level)
    assert controls.pixels == pixels
    assert 0.01 <= controls.level <= 1
    assert controls.names == ("a", None)
    assert controls.shown == "a"


@pytest.mark.parametrize(
    "change",
    [{"wxyz": (0.0,) * 4}, {"wxyz": (1.0, 0.0)}, {"position": (nan, 0, 0)}, {"fov": inf}, {"aspect": nan},
     {"position": ("a", "b", "c")}],
)  # fmt: skip
def test_a_camera_that_is_none_is_not_rendered(change):
    whole = {"wxyz": (1.0, 0.0, 0.0, 0.0), "position": (0.0, 0.0, 0.0), "fov": 1.0, "aspect": 1.5}
    assert is_camera(SimpleNamespace(**whole))
    assert not is_camera(SimpleNamespace(**{**whole, **change}))
