"""A headless Chromium with WebGL in software, driven by its debugging protocol."""

import base64
import io
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
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
    """One page.

    Args:
        socket: A connection to its debugger.
    """

    def __init__(self, socket: Any) -> None:
        self.socket, self.count = socket, 0

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": given}))
        while True:
            answer = json.loads(self.socket.recv(timeout=30))
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise ValueError(f"Chromium refuses {method}: {answer['error']}")
                return answer["result"]

    def evaluate(self, code: str) -> Any:
        """Return the value of some JavaScript."""
        return self.call("Runtime.evaluate", expression=code, returnByValue=True)["result"].get("value")

    def wait(self, seconds: float = 20.0) -> None:
        """Wait until the page is loaded."""
        end = time.monotonic() + seconds
        while self.evaluate("location.href != 'about:blank' && document.readyState") != "complete":
            if time.monotonic() > end:
                raise TimeoutError("the page does not load")
            time.sleep(0.1)

    def picture(self) -> np.ndarray:
        """Return what the page looks like, as bytes [h, w, 3]."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def click(self, x: float, y: float) -> None:
        """Click at a place, in pixels."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


@contextmanager
def opened(address: str, size: tuple[int, int] = (480, 320)) -> Iterator[Browser]:
    """Open a page of that address.

    Args:
        address: Its address.
        size: Width and height of the window in pixels.

    Raises:
        FileNotFoundError: If there is no Chromium, or it does not start.
    """
    if PROGRAM is None:
        raise FileNotFoundError("Chromium is not installed")
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


def _port(path: Path, process: subprocess.Popen) -> int:
    for _ in range(300):
        if path.is_file() and (lines := path.read_text().splitlines()):
            return int(lines[0])
        if process.poll() is not None:
            raise FileNotFoundError(f"Chromium does not start here (exit code {process.returncode})")
        time.sleep(0.1)
    raise FileNotFoundError("Chromium does not start here within 30 s")


def _page_of(port: int) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
        return next(page["webSocketDebuggerUrl"] for page in json.load(answer) if page["type"] == "page")
