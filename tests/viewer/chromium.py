"""A headless Chromium with WebGL in software, driven by its debugging protocol."""

import base64
import io
import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PROGRAM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
OPTIONS = [
    "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-gpu-sandbox", "--hide-scrollbars", "--no-first-run", "--disable-extensions", "--remote-debugging-port=0",
    "--disable-background-networking", "--disable-component-update", "--mute-audio", "--disable-dev-shm-usage",
]  # fmt: skip


class Browser:
    """One page."""

    def __init__(self, socket):
        self.socket, self.count = socket, 0

    def call(self, method, **given):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": given}))
        while True:
            answer = json.loads(self.socket.recv(timeout=30))
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, code):
        return self.call("Runtime.evaluate", expression=code, returnByValue=True)["result"].get("value")

    def wait(self, seconds=20):
        """Wait until the page is loaded."""
        end = time.monotonic() + seconds
        while self.evaluate("location.href != 'about:blank' && document.readyState") != "complete":
            assert time.monotonic() < end, "the page does not load"
            time.sleep(0.1)

    def picture(self):
        """What the page looks like, as bytes [h, w, 3]."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, start, end, steps=5):
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], button="left", clickCount=1)
        for i in range(1, steps + 1):
            x, y = (a + (b - a) * i / steps for a, b in zip(start, end, strict=True))
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1)
            time.sleep(0.05)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], button="left", clickCount=1)


@contextmanager
def opened(address, size=(480, 320)):
    """A page of that address; the test is skipped where there is no Chromium."""
    if PROGRAM is None:
        pytest.skip("Chromium is not installed")
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [PROGRAM, *OPTIONS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            with connect(_page_of(port), max_size=2**26) as socket:
                browser = Browser(socket)
                browser.call("Page.enable")
                browser.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=size[0],
                    height=size[1],
                    deviceScaleFactor=1,
                    mobile=False,
                )
                browser.call("Page.navigate", url=address)
                browser.wait()
                yield browser
        finally:
            process.terminate()
            process.wait(timeout=10)


def _port(path, process):
    for _ in range(300):
        if path.is_file() and (lines := path.read_text().splitlines()):
            return int(lines[0])
        if process.poll() is not None:
            pytest.skip(f"Chromium does not start here (exit code {process.returncode})")
        time.sleep(0.1)
    pytest.skip("Chromium does not start here within 30 s")


def _page_of(port):
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
        return next(page["webSocketDebuggerUrl"] for page in json.load(answer) if page["type"] == "page")
