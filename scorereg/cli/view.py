"""`scorereg view`: a web page of fits, and the page of a fit that goes on."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from scorereg._io import printable
from scorereg.cli import options as opt
from scorereg.cli.options import option

__all__ = ["Host", "Port", "View", "check_page", "live_view", "serve", "view_command"]

Port = Annotated[int, option("Page", "Port of the page; 0 takes any that is free.", unit="N", name="--port")]
Host = Annotated[
    str, option("Page", "Address to listen at; 0.0.0.0 for all who reach this machine.", unit="ADDRESS", name="--host")
]
View = Annotated[
    bool, option("Page", "Show the fit in the browser while it goes on, until Ctrl-C.", "off", name="--view")
]
ViewedPrior = Annotated[
    str, option("Page", "Prior whose score is shown: a shipped name, a folder, or none.", unit="PRIOR", name="--prior")
]

THREADS = "viewer", "compiler"
"""Names of the threads of a page that compute."""


def view_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of fits of one scene (--out of fit).")],
    port: Port = 8080,
    host: Host = "127.0.0.1",
    prior: ViewedPrior = "rooms-rgbd-24",
    device: opt.Device = None,
) -> None:
    """Show fits in the browser: the field as the view moves, photos, points, and a prior's score; Ctrl-C ends it.

    Needs the extra view. Several fits are shown one at a time, or two side by side.
    """
    import torch

    from scorereg._device import choose_device
    from scorereg._progress import stage
    from scorereg.viewer import Page
    from scorereg.viewer.server import check_server
    from scorereg.viewer.warm import compile_beside

    check_server(host, port)
    device, most = choose_device(device), torch.get_num_threads()
    with stage("loading"):
        fits = {name: _load(folder, device) for name, folder in _named(runs).items()}
        title = f"scorereg: {_scene(fits)}"
        lens = _prior(prior, device)
    threads = (1, most) if device == "cpu" and most > 1 else ()
    compile_beside((fit.field for fit in fits.values()), threads)
    page = Page(fits, host=host, port=port, prior=lens, threads=threads, title=title)
    serve(page, f"shown at {page.address}")


def check_page(view: bool, port: int, host: str) -> None:
    """Refuse what a page cannot be opened with, before a fit begins.

    Raises:
        ValueError: If viser is not installed, or a port or address is given without a page.
        OSError: If the port is taken.
    """
    if not view:
        if (port, host) != (8080, "127.0.0.1"):
            raise ValueError("--port and --host are of the page, so they mean nothing without --view. Add it.")
        return
    from scorereg.viewer.server import check_server

    check_server(host, port)


def live_view(prior: str, port: int, host: str) -> Any:
    """Return the callback that shows a fit, with a prior of its own beside the fit's."""
    from scorereg.viewer import LiveView

    return LiveView(host=host, port=port, prior=_prior(prior, "cpu"), say=lambda line: typer.echo(line, err=True))


def serve(page: Any, words: str) -> None:
    """Print where a page is, serve it until Ctrl-C, and stop it."""
    from scorereg._progress import hushed

    typer.echo(f"{words}; Ctrl-C ends it")
    try:
        with hushed():
            while True:
                time.sleep(1)
    except KeyboardInterrupt:
        typer.echo("closed", err=True)
    finally:
        page.stop()
        _end_within_torch()


def _end_within_torch() -> None:
    """End the process at once if a thread of the page still computes: it would end within torch, which aborts."""
    if any(thread.name in THREADS for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _prior(name: str, device: str) -> Any:
    """The prior of a name; None for none."""
    from scorereg.priors.load import load_prior

    return None if name == "none" else load_prior(name, device=device)


def _named(runs: list[Path]) -> dict[str, Path]:
    """The runs by short names, each its own."""
    names = [run.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = ["/".join(run.resolve().parts[-2:]) for run in runs]
    if len(set(names)) < len(names):
        twice = next(run for run, name in zip(runs, names, strict=True) if names.count(name) > 1)
        raise ValueError(f"{twice} is given twice. Give each run once.")
    return {printable(name): run for name, run in zip(names, runs, strict=True)}


def _load(folder: Path, device: str) -> Any:
    """A run's fit, with its photos where they still are."""
    from scorereg.fit import Fit

    fit = Fit.load(folder, device)
    try:
        return fit.with_photos()
    except (OSError, ValueError):  # the page shows renders in their place
        return fit


def _scene(fits: dict[str, Any]) -> str:
    """The name of the scene.

    Raises:
        ValueError: If the fits are not of one.
    """
    names = {name: fit.scene.name for name, fit in fits.items()}
    if len(set(names.values())) > 1:
        told = ", ".join(f"{name} of {scene}" for name, scene in names.items())
        raise ValueError(f"a page shows fits of one scene, but these are of several: {told}. View them one at a time.")
    return printable(next(iter(names.values())))
