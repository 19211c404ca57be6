"""The state of a fit on disk, from which an interrupted fit resumes."""

import time
from pathlib import Path
from typing import Any

import torch

from scorereg._io import write_beside
from scorereg.fit.loop import FitState

__all__ = ["SavedFit"]

SECONDS = 10.0  # between two saves; a save of some 50 MB takes a tenth of one


class SavedFit:
    """The file of one fit's state.

    Args:
        path: The file; `None` saves nothing.
        identity: Settings of the fit as texts; a file that holds other ones belongs to another fit.
    """

    def __init__(self, path: Path | None, identity: dict[str, str]) -> None:
        self.path, self.identity = path, identity
        self.saved = time.monotonic()

    def exists(self) -> bool:
        """Whether there is a saved state."""
        return self.path is not None and self.path.is_file()

    def keep(self, fit: FitState, step: int, seconds: float, history: list[dict[str, Any]], *, last: bool) -> None:
        """Save the state after `step` steps, if ten seconds have passed since the last save, or at the last step."""
        if self.path is None or not (last or time.monotonic() - self.saved > SECONDS):
            return
        content = {"identity": self.identity, "step": step, "seconds": seconds, "history": history, **fit.state_dict()}
        write_beside(self.path, lambda beside: torch.save(content, beside))
        self.saved = time.monotonic()

    def load(self, fit: FitState) -> tuple[int, float, list[dict[str, Any]]]:
        """Load the saved state; return the steps done, the seconds they took and their history.

        Raises:
            ValueError: If the file cannot be read, or is that of another fit.
        """
        assert self.path is not None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            saved = content["identity"]
        except Exception as error:  # torch and pickle have no common error for a damaged file
            line = (str(error).splitlines() or [type(error).__name__])[0][:160]
            raise ValueError(f"{self.path} holds no readable fit ({line}). Start anew, without resume.") from None
        self._compare(saved)
        fit.load_state_dict(content, content["step"])
        return content["step"], content["seconds"], content["history"]

    def _compare(self, saved: dict[str, str]) -> None:
        now = self.identity
        names = sorted(name for name in saved.keys() | now.keys() if saved.get(name, "none") != now.get(name, "none"))
        if names:
            differ = "; ".join(f"{name} was {saved.get(name, 'none')}, now {now.get(name, 'none')}" for name in names)
            raise ValueError(f"{self.path} is of another fit: {differ}. Give the same settings, or start anew.")
