"""A process that has imported everything, and forks once for each command line that it is sent.

An import of torch and diffusers takes seconds, a refused file some milliseconds. A line of JSON comes in for each run,
and one goes out: `{"argv", "folder", "out", "env", "memory", "seconds"}` and `{"code", "hung", "seconds", "peak"}`.
"""

import json
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import scorereg

__all__ = ["serve"]

_IMPORTS = (
    "torch", "diffusers", "transformers", "safetensors.torch", "PIL.Image", "h5py", "trimesh", "rich.console",
    "rich.progress", "diffusers.models.unets.unet_2d", "diffusers.schedulers.scheduling_ddpm", "skimage.metrics",
    "matplotlib.figure",
)  # fmt: skip
_WAITS = 0.03  # share of the time that a process computes, below which it waits for something


def serve() -> None:
    """Import, and answer lines until there are no more."""
    own = (module.name for module in pkgutil.walk_packages(scorereg.__path__, "scorereg."))
    for name in (*_IMPORTS, *(name for name in own if not name.endswith("__main__"))):
        try:
            import_module(name)
        except ImportError:  # of an extra that is not installed
            continue
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            answers.write(json.dumps(_run(json.loads(line))) + "\n")
            answers.flush()


def _run(task: dict[str, Any]) -> dict[str, Any]:
    start, before = time.monotonic(), _pages(1)
    pid = os.fork()
    if pid == 0:
        _child(task)
    hung = False
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if _is_late(pid, time.monotonic() - start, task["seconds"]):
            hung = True
            os.killpg(pid, signal.SIGKILL)
            _, status, used = os.wait4(pid, 0)
            break
        time.sleep(0.01)
    return {
        "code": os.waitstatus_to_exitcode(status), "hung": hung, "seconds": round(time.monotonic() - start, 2),
        "peak": max(used.ru_maxrss // 1024 - before // 2**20, 0),
    }  # fmt: skip


def _is_late(pid: int, passed: float, limit: float) -> bool:
    """Whether a process has computed for longer than a limit, or waits for that long."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used > limit or (passed > limit and used < _WAITS * passed)


def _child(task: dict[str, Any]) -> None:
    """Be the command, in a session and folder of its own; never returns."""
    code = 1
    try:
        os.setsid()
        out = os.open(Path(task["out"]) / "stdout", os.O_WRONLY | os.O_CREAT, 0o600)
        err = os.open(Path(task["out"]) / "stderr", os.O_WRONLY | os.O_CREAT, 0o600)
        for to, handle in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, err)):
            os.dup2(handle, to)
        os.environ.update(task["env"])
        tempfile.tempdir = None
        os.chdir(task["folder"])
        sys.argv = task["argv"]
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limit = _pages(0) + int(task["memory"] * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        _command(task["argv"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 255)


def _command(argv: list[str]) -> None:
    if argv[1] != "load_prior":
        from scorereg.cli import main

        return main()
    from scorereg.cli.errors import one_line_errors, plain_warnings
    from scorereg.priors import load_prior

    with one_line_errors(), plain_warnings():
        prior = load_prior(argv[2], prompt=argv[3] if len(argv) > 3 else None)
        total = sum(float(weight.double().abs().sum()) for weight in prior.parameters())
        print(prior.card.to_json(), total)


def _pages(column: int) -> int:
    """Address space (0) or resident memory (1) of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[column]) * resource.getpagesize()


if __name__ == "__main__":
    serve()
