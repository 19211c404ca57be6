"""The first picture does not wait for a compiler: fields are rendered without it until a thread has run it."""

import contextlib
import math
import threading
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["compile_beside"]


def compile_beside(fields: Iterable[Any], threads: Sequence[int] = ()) -> threading.Thread | None:
    """Compile the encoders of fields on a CPU in a thread, and render without compiling until that is done.

    Where compiling fails, a warning says so, and they are rendered without for good.

    Args:
        fields: Fields; all `HashGrid` in them, or in the members of an ensemble.
        threads: Numbers of threads that they will be rendered with, which is compiled in; empty is torch's.

    Returns:
        The thread; None where there is nothing to compile.
    """
    parts = [part for field in fields if isinstance(field, nn.Module) for part in field.modules()]
    late: list[Any] = [part for part in parts if hasattr(part, "delay_compiling")]
    late = [part for part in late if part.center.device.type == "cpu"]
    if not late:
        return None
    for field in late:
        field.delay_compiling(math.inf)
    counts = tuple(threads) or (torch.get_num_threads(),)
    thread = threading.Thread(target=_compile, args=(late, counts), name="compiler", daemon=True)
    thread.start()
    return thread


def _compile(fields: list[Any], counts: Sequence[int]) -> None:
    points = torch.rand(4096, 3)
    try:
        for count in counts:
            torch.set_num_threads(count)  # of this thread
            for field in fields:
                field(points, points)  # with gradients, for which nothing is delayed
    except Exception as error:  # whatever a compiler raises
        line = (str(error).splitlines() or [""])[0][:200]
        with contextlib.suppress(UserWarning):  # the thread ends quietly where warnings are errors, too
            warnings.warn(f"the page renders slowly, as the encoder cannot be compiled: {line}", stacklevel=2)
        return
    for field in fields:
        field.delay_compiling(0)
