"""The state of a fit on disk, from which an interrupted fit resumes.

fit.pt             tensors, numbers and text, no code; with a checksum over all of it
fit.previous.pt    the one before it, for the case that fit.pt is damaged
"""

import os
import time
import warnings
from pathlib import Path
from typing import Any

from scorereg._io.saved import Damaged, check_number, digest, has_nan, read_saved, write_saved
from scorereg.fit.loop import FitState
from scorereg.fit.members import Members

__all__ = ["SavedFit"]

State = FitState | Members

SECONDS = 10.0  # between two saves; a save of some 50 MB takes a tenth of one
_KEYS = {"identity", "step", "seconds", "history", "average", "learned", "optimizer", "generator", "terms", "sha256"}
_ANEW = "Start anew without resume, which writes over it; or put a whole copy in its place."


class SavedFit:
    """The file of one fit's state.

    Args:
        path: The file; `None` saves nothing.
        identity: Settings of the fit as texts; a file that holds other ones belongs to another fit.
    """

    def __init__(self, path: Path | None, identity: dict[str, str]) -> None:
        self.path, self.identity = path, identity
        self.previous = None if path is None else path.with_name(f"{path.stem}.previous{path.suffix}")
        self.saved, self.pause = time.monotonic(), SECONDS
        self._own = self._warned = False  # whether `path` is of this fit; whether a full disk was told

    def exists(self) -> bool:
        """Whether there is a saved state, whole or not."""
        return any(path is not None and os.path.lexists(path) for path in (self.path, self.previous))

    def keep(self, fit: State, step: int, seconds: float, history: list[dict[str, Any]], *, last: bool) -> None:
        """Save the state after `step` steps, if ten seconds have passed since the last save, or at the last step.

        A state that cannot be written is no error: the fit goes on, with one warning.
        """
        if self.path is None or not (last or time.monotonic() - self.saved > self.pause):
            return
        content = {"identity": self.identity, "step": step, "seconds": seconds, "history": history, **fit.state_dict()}
        content["sha256"] = digest(content)
        try:
            self._write(content, last=last)
        except OSError as error:
            self.pause *= 2  # not to fill the disk for others again and again
            if not self._warned:
                warnings.warn(f"{error} The fit goes on; {self._left()}", stacklevel=3)
            self._warned = True
        self.saved = time.monotonic()

    def remove(self) -> None:
        """Remove the state of a fit that is complete."""
        for path in (self.previous, self.path):  # in this order, as the older one alone would be taken for the state
            if path is not None:
                path.unlink(missing_ok=True)

    def load(self, fit: State) -> tuple[int, float, list[dict[str, Any]]]:
        """Load the saved state; return the steps done, the seconds they took and their history.

        Where the last file is damaged, the one before it is taken, with a warning.

        Raises:
            ValueError: If no file is whole, or it is that of another fit.
            OSError: If a file cannot be opened.
        """
        assert self.path is not None
        assert self.previous is not None
        found = [path for path in (self.path, self.previous) if os.path.lexists(path)]
        reasons = []
        for path in found:
            try:
                content = self._fill(fit, path)
            except Damaged as error:
                reasons.append(f"{path} holds no readable fit ({error}).")
                continue
            if path != self.path:
                why = reasons[0] if reasons else f"{self.path} is missing."
                warnings.warn(f"{why} Going on from the one before it, of step {content['step']}.", stacklevel=3)
                path.replace(self.path)
            self._own = True
            return content["step"], content["seconds"], content["history"]
        raise ValueError(f"{reasons[0]} {_ANEW}")

    def _write(self, content: dict[str, Any], *, last: bool) -> None:
        assert self.path is not None
        assert self.previous is not None
        if self._own and self.path.is_file():
            _keep_as(self.path, self.previous)
        else:  # nothing of another fit is left beside this one's
            self.previous.unlink(missing_ok=True)
        write_saved(self.path, content)
        self._own = True
        if last:  # it is soon of no use
            self.previous.unlink(missing_ok=True)

    def _left(self) -> str:
        if self._own:
            return "if it is interrupted, it can be resumed from the state that was saved before."
        return "it cannot be resumed if it is interrupted."

    def _fill(self, fit: State, path: Path) -> dict[str, Any]:
        try:
            content = read_saved(path)
        except OSError as error:
            raise OSError(f"{path} cannot be read ({error.strerror or error}). {_ANEW}") from None
        if missing := _KEYS ^ content.keys():
            raise Damaged(f"it should hold {', '.join(sorted(_KEYS))}, but {sorted(map(str, missing))[0]} is wrong")
        self._compare(path, content["identity"])
        _check_numbers(content, fit)
        fit.check_state(content, content["step"])
        if digest({name: value for name, value in content.items() if name != "sha256"}) != content["sha256"]:
            raise Damaged("its checksum is not that of what it holds")
        fit.load_state_dict(content, content["step"])
        return content

    def _compare(self, path: Path, saved: Any) -> None:
        texts = isinstance(saved, dict) and all(isinstance(x, str) for pair in saved.items() for x in pair)
        if not texts:
            raise Damaged("it does not say of which fit it is")
        now = self.identity
        names = sorted(name for name in saved.keys() | now.keys() if saved.get(name, "none") != now.get(name, "none"))
        if names:
            differ = "; ".join(f"{name} was {saved.get(name, 'none')}, now {now.get(name, 'none')}" for name in names)
            raise ValueError(f"{path} is of another fit: {differ}. Give the same settings, or start anew.")


def _keep_as(path: Path, other: Path) -> None:
    """Give a file a second name in place of whatever had it; where there are no hard links, it loses the first."""
    link = other.with_name(f".{other.name}.new")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        path.replace(other)
    else:
        link.replace(other)
        link.unlink(missing_ok=True)  # a name of the same file is not moved


def _check_numbers(content: dict[str, Any], fit: State) -> None:
    check_number(content["step"], "step", 1, fit.recipe.steps, whole=True)
    check_number(content["seconds"], "seconds", 0)
    history = content["history"]
    told = [step for step in range(content["step"]) if fit.is_told(step)]
    if not isinstance(history, list) or [e.get("step") if isinstance(e, dict) else e for e in history] != told:
        raise Damaged("its history is not that of its steps")
    if has_nan(history) or not all(isinstance(x, int | float) for entry in history for x in entry.values()):
        raise Damaged("its history holds other things than numbers")
