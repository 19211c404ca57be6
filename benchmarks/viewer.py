"""How fast `scorereg view` follows a camera and becomes sharp: `python -m benchmarks.viewer RUN`.

The pictures are those of the page: 256x192 of a run's field from cameras between its training views, coarse while the
camera moves, then in full. Nothing is sent to a browser.
"""

import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from scorereg.cli import one_line_errors
from scorereg.export import resized, shots_of
from scorereg.fit import Fit
from scorereg.viewer.canvas import Wanted, draw
from scorereg.viewer.pace import Pace
from scorereg.viewer.warm import compile_beside


def main(
    run: Annotated[Path, typer.Argument(help="Folder of a fit.")],
    longest: Annotated[int, typer.Option(help="Longer side of the pictures.")] = 256,
    frames: Annotated[int, typer.Option(help="Pictures of a moving camera.")] = 30,
    results: Annotated[Path | None, typer.Option(help="Write the result here as well.")] = None,
) -> None:
    """Measure, and print one JSON object."""
    fit = Fit.load(run)
    most = torch.get_num_threads()
    pace = Pace((1, most) if most > 1 else ())
    cameras = [shot.camera for shot in resized(shots_of(fit.scene, "spiral", frames), longest)]
    if thread := compile_beside((fit.field,), pace.threads):
        thread.join()
    sharp = [_sharp(fit, camera, pace) for camera in cameras[:3]][1:]
    moving = [_coarse(fit, camera, pace) for camera in cameras]
    found = {
        "size": [cameras[0].width, cameras[0].height],
        "frames_per_second": round(1 / statistics.median(seconds for seconds, _ in moving), 2),
        "pixels_along_a_side_while_moving": statistics.median(step for _, step in moving),
        "seconds_to_sharp": round(statistics.median(seconds for seconds, _ in sharp), 2),
        "processor_seconds_to_sharp": round(statistics.median(processor for _, processor in sharp), 2),
        "rays_per_second": round(pace.rate),
        "threads": pace.best or most,
        "load_average": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "device": platform.processor() or platform.machine(),
        "torch": torch.__version__,
    }
    if results is not None:
        results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    typer.echo(json.dumps(found))


def _coarse(fit: Any, camera: Any, pace: Pace) -> tuple[float, int]:
    """Seconds to the first picture, and the side of its pixels."""
    began = time.perf_counter()
    drawing = next(each for each in draw(Wanted(camera, fit), pace) if each is not None)
    return time.perf_counter() - began, drawing.step


def _sharp(fit: Any, camera: Any, pace: Pace) -> tuple[float, float]:
    """Seconds to the sharp picture, on the clock and of the processor: what a core without other work takes."""
    began, processor = time.perf_counter(), time.process_time()
    for _ in draw(Wanted(camera, fit), pace):
        pass
    return time.perf_counter() - began, time.process_time() - processor


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
