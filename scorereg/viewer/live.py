"""`LiveView`: a callback that shows a fit in the browser while it goes on."""

import time
from collections.abc import Callable
from typing import Any

from scorereg.callbacks import Callback, Run
from scorereg.viewer.page import Page
from scorereg.viewer.server import check_server

__all__ = ["LiveView"]


class LiveView(Callback):
    """Shows a fit while it goes on, and until `stop`; it changes nothing of the fit.

    A copy of the field is taken every few seconds, and only while a browser is open. It is rendered in another thread,
    which takes its time from the fit where there are few cores.

    Args:
        host: Address to listen at.
        port: The port; 0 takes any that is free.
        prior: As `Page` takes it.
        every: Seconds between two copies.
        say: Is told the page's address.

    Raises:
        ValueError: If viser is not installed, or the prior is of another kind.
        OSError: If the port is taken.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        prior: Any = None,
        every: float = 3.0,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        check_server(host, port)
        self.host, self.port, self.prior, self.every, self.say = host, port, prior, every, say
        self.page: Page | None = None
        self._taken = 0.0

    def begin(self, run: Run) -> None:
        assert run.snapshot is not None, "a fit has one"
        self.run = run
        fits = {run.name: run.snapshot()}
        self.page = Page(fits, host=self.host, port=self.port, prior=self.prior, title=f"scorereg: {run.name}")
        self.say(f"the fit is shown at {self.page.address}")

    def step(self, step: int) -> None:
        due = time.monotonic() - self._taken >= self.every
        if self.page is not None and due and self.page.waits():
            self._renew(points=False)

    def end(self) -> None:
        if self.page is not None:
            self._renew(points=True)

    @property
    def address(self) -> str:
        """Where the page is, once the fit has begun."""
        return "nowhere" if self.page is None else self.page.address

    def stop(self) -> None:
        """Close the page."""
        if self.page is not None:
            self.page.stop()

    def _renew(self, *, points: bool) -> None:
        assert self.page is not None
        assert self.run.snapshot is not None
        self.page.replace(self.run.name, self.run.snapshot(), points=points)
        self._taken = time.monotonic()
