"""Callbacks that write what they hear: JSON lines, TensorBoard and Weights & Biases."""

import uuid
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from scorereg._io import write_beside
from scorereg.callbacks.lines import Lines
from scorereg.callbacks.protocol import Callback, Run, Values, flat

__all__ = ["LOGS", "JsonLines", "TensorBoard", "WandB", "logs_of"]

LOGS = ("jsonl", "tensorboard", "wandb")
_PROJECT = "scorereg"
_ID = "wandb-id.txt"


class JsonLines(Callback):
    """Writes the values as lines of JSON, as they come.

    A resumed run leaves the lines of the steps it goes on from. Lines that find the disk full are written later.

    Args:
        path: The file.
        counted: Whether steps are counted from 1, as training does; from 0, as a fit does.
    """

    def __init__(self, path: Path | str, *, counted: bool = False) -> None:
        self.lines, self.counted = Lines(Path(path)), counted

    def begin(self, run: Run) -> None:
        self.lines.keep_until(run.first if self.counted else run.first - 1)

    def values(self, values: Values) -> None:
        self.lines.write(values)

    def end(self) -> None:
        self.lines.close()


class _Foreign(Callback):
    """A callback that writes by another package, without which a run goes on once it has failed.

    Args:
        folder: Folder of the run.
        package: The package; how it is installed.
    """

    pictures = True

    def __init__(self, folder: Path, package: str, install: str) -> None:
        if find_spec(package) is None:
            raise ValueError(f"--log {package} needs {package}, which is not installed: pip install {install}")
        self.folder, self.package = folder, package
        self.board: Any = None

    def _tell(self, call: Callable[[Any], object]) -> None:
        if self.board is None:
            return
        try:
            call(self.board)
        except Exception as error:  # on a full disk, of a thread that has ended, offline: of any class
            self.board = None
            line = (str(error).splitlines() or [""])[0][:160]
            words = f"{self.package} in {self.folder} cannot be written ({line}). It is not told more."
            warnings.warn(words, stacklevel=3)


class TensorBoard(_Foreign):
    """Writes numbers and pictures for TensorBoard, into `tensorboard` in a run's folder.

    Args:
        folder: Folder of the run.

    Raises:
        ValueError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__(Path(folder), "tensorboard", "'scorereg[train]'")

    def begin(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=run.first)

    def values(self, values: Values) -> None:
        for name, value in flat(values).items():
            self._tell(lambda board, name=name, value=value: board.add_scalar(name, value, values["step"]))

    def picture(self, name: str, picture: Float[Tensor, "h w 3"], step: int) -> None:
        self._tell(lambda board: board.add_image(name, picture, step, dataformats="HWC"))

    def end(self) -> None:
        self._tell(lambda board: board.close())


class WandB(_Foreign):
    """Sends numbers and pictures to Weights & Biases, or keeps them in the run's folder with `WANDB_MODE=offline`.

    The run's id lies in `wandb-id.txt`, by which a resumed run goes on there too.

    Args:
        folder: Folder of the run.

    Raises:
        ValueError: If wandb is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        super().__init__(Path(folder), "wandb", "wandb")

    def begin(self, run: Run) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        try:
            self.board = wandb.init(
                project=_PROJECT, name=self.folder.resolve().name, dir=str(self.folder), config=dict(run.settings),
                id=self._id(resumed=run.first > 0), resume="allow",
            )  # fmt: skip
        except Exception as error:  # no account, no network, no key: each has its own
            line = " ".join(str(error).split())[:200]
            raise ValueError(
                f"--log wandb: wandb does not start ({line}). Log in by `wandb login`, or set WANDB_MODE=offline."
            ) from None

    def values(self, values: Values) -> None:
        self._tell(lambda board: board.log(flat(values), step=values["step"]))

    def picture(self, name: str, picture: Float[Tensor, "h w 3"], step: int) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        image = (255 * picture.clamp(0, 1)).round().byte().numpy()
        self._tell(lambda board: board.log({name: wandb.Image(image)}, step=step))

    def end(self) -> None:
        self._tell(lambda board: board.finish())

    def _id(self, *, resumed: bool) -> str:
        path = self.folder / _ID
        text = path.read_text(encoding="ascii", errors="replace").strip() if resumed and path.is_file() else ""
        if text.isalnum():
            return text[:64]
        text = uuid.uuid4().hex[:12]
        write_beside(path, lambda beside: beside.write_text(f"{text}\n", encoding="utf-8"))
        return text


def logs_of(names: Sequence[str], folder: Path, *, lines: Path | None = None) -> list[Callback]:
    """Return the callbacks that `--log` names.

    Args:
        names: Some of `LOGS`.
        folder: Folder of the run.
        lines: File of the JSON lines; None where the run writes them anyway.

    Raises:
        ValueError: If a name is none of these, or its package is not installed.
    """
    for name in names:
        if name not in LOGS:
            raise ValueError(f"--log must be one of {', '.join(LOGS)}, but is {name!r}.")
    kinds = {"tensorboard": TensorBoard, "wandb": WandB}
    written = [JsonLines(lines)] if "jsonl" in names and lines else []
    return [*written, *(kind(folder) for name, kind in kinds.items() if name in names)]
