"""`train_prior`: train a prior on images, frames, rays or volumes."""

import dataclasses
import math
import os
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from scorereg._device import check_device
from scorereg._io import check_folder, check_names, hold_folder
from scorereg._io.saved import write_saved
from scorereg._progress import stage, told
from scorereg.callbacks import Callback, Report
from scorereg.data.bad_frames import ReadOptions
from scorereg.data.open import open_source
from scorereg.data.source import Source
from scorereg.priors.load import load_prior
from scorereg.training.batches import Batch, BatchDataset, RankShare, batches
from scorereg.training.card import make_card
from scorereg.training.checkpoint import State, checkpoints, init_from_prior, new_state, resume_state, save_state
from scorereg.training.log import METRICS_FILE, Log, callback_of, interrupts
from scorereg.training.report import write_report
from scorereg.training.settings import Settings, has_bf16
from scorereg.training.space import check_space
from scorereg.training.start import with_spectrum
from scorereg.training.step import NotFiniteError, is_out_of_memory, largest_part, micro_batch_size, train_step
from scorereg.training.validation import Validation

__all__ = ["train_prior"]

BAD_BATCH = "bad-batch.pt"


def train_prior(
    data: list[Path] | Source,
    out: Path,
    settings: Settings,
    *,
    resume: bool = False,
    name: str = "prior",
    evaluate: list[Path] | None = None,
    licence: str = "",
    credits: tuple[str, ...] = (),
    device: str | None = None,
    show: bool = False,
    reading: ReadOptions | None = None,
    report: Report = None,
) -> Path | None:
    """Train a prior; write checkpoints, metrics, and at the end the prior's folder, samples and denoising errors.

    On several GPUs or machines start it with `accelerate launch -m scorereg.cli train-prior ...`: each process computes
    its share of every batch, and the first one writes.

    Args:
        data: Folders of frames or arrays (`arrays.json`), folders or URLs of shards (`manifest.json`), or a `Source`.
        out: The run's folder: `checkpoints/`, `metrics.jsonl`, and at the end `prior/`, `samples.png`,
            `denoising.json` and, with matplotlib, `denoising.png`.
        settings: Settings of the run; `RECIPES` has two to start from.
        resume: Continue the run in `out`, if there is one; without it, a folder that holds a run is an error.
        name: The prior's name on its card.
        evaluate: Further data to measure the denoising error on, without training on them.
        licence: Licence of the weights, for the card; that of the data, if not given.
        credits: Names to be credited, for the card; those of the data, if not given.
        device: `"cpu"` or `"cuda"`; CUDA if available, if not given.
        show: Show progress on standard error.
        reading: Which frames may be left out; none, if not given.
        report: Callbacks that are told of the run beside `metrics.jsonl` (see `scorereg.callbacks`); by default
            TensorBoard in `out/tensorboard`, where it is installed.

    Returns:
        The folder of the trained prior; None if the run was interrupted and saved.

    Raises:
        ValueError: If the data or the run to be resumed are not usable, the loss is not finite (the weights before that
            step are saved), memory is too small (the error says what fits), or `accelerate` is not installed.
        OSError: If a file cannot be read, `out` cannot be written or is another run's, or no checkpoint has room there.
    """
    with told() if show else nullcontext():
        return _train_prior(
            data, out, settings, resume=resume, name=name, evaluate=evaluate, licence=licence, credits=credits,
            device=device, show=show, reading=reading, report=report,
        )  # fmt: skip


def _train_prior(
    data: list[Path] | Source,
    out: Path,
    settings: Settings,
    *,
    resume: bool,
    name: str,
    evaluate: list[Path] | None,
    licence: str,
    credits: tuple[str, ...],
    device: str | None,
    show: bool,
    reading: ReadOptions | None,
    report: Report,
) -> Path | None:
    with stage("starting"):  # the first import of accelerate takes seconds
        accelerator = _accelerator(device)
    check_folder(out)
    callback = callback_of(report, out)
    check_names(*(out / name for name in (METRICS_FILE, "samples.png", "denoising.json", "denoising.png", BAD_BATCH)))
    with hold_folder(out) if accelerator.is_main_process else nullcontext():
        if checkpoints(out) and not resume:
            raise ValueError(f"{out} holds a run already. Go on with it by --resume, or choose another --out.")
        source = open_source(data, settings.patch_spec, evaluate, reading) if isinstance(data, list) else data
        card = make_card(name, settings, source.about)
        card = dataclasses.replace(card, licence=licence or card.licence, credits=credits or card.credits)
        options: dict[str, Any] = {"device": accelerator.device, "precision": _precision(settings, accelerator.device)}
        with accelerator.main_process_first(), stage("making the network"):  # resuming renames damaged checkpoints
            state = resume_state(card, settings, out, **options) if resume else None
            if state is None:
                start = load_prior(settings.init) if settings.init else None
                state = new_state(with_spectrum(card, settings, source, start), settings, **options)
                state = state if start is None else init_from_prior(state, start)
        if state.step > settings.steps:
            raise ValueError(f"{out} is at step {state.step}, beyond --steps {settings.steps}. Give as many or more.")
        if accelerator.is_main_process and state.step < settings.steps:
            check_space(state, out)
        share = RankShare.of(settings, accelerator.process_index, accelerator.num_processes)
        if not _loop(state, BatchDataset(source, settings, share), accelerator, out, callback, show):
            return None
        accelerator.end_training()
        if not accelerator.is_main_process:
            return out / "prior"
        return write_report(out, source)


def _loop(state: State, draws: BatchDataset, accelerator: Any, out: Path, callback: Callback, show: bool) -> bool:
    """Take the remaining steps; returns whether all were taken."""
    settings, main = state.settings, accelerator.is_main_process
    if settings.compile:
        state.loss.network.compile()
    with stage("making the network"):
        model = accelerator.prepare_model(state.loss)
    validation = Validation(draws.source, chunk=draws.share.count) if main else None
    workers = _workers(settings, accelerator.device)
    with interrupts() as interrupted, Log(state, callback, show=show) if main else nullcontext() as log:
        began = time.perf_counter()
        for parts in batches(draws, state.step, device=accelerator.device, workers=workers):
            metrics = _step(state, model, parts, accelerator, out)
            now = time.perf_counter()
            state.seconds, began = state.seconds + now - began, now
            if log:
                log.step(state, metrics)
            stop = _anyone(interrupted.is_set(), accelerator)
            if stop or state.step % settings.save_every == 0 or state.step == settings.steps:
                due = state.step % settings.save_every == 0 or state.step == settings.steps
                if log and validation:
                    if due:  # else interrupted: saved, and nothing more, so that the run ends as one that was not
                        _validate(state, validation, log)
                    _save(state, out, last=stop or state.step == settings.steps)
                began = time.perf_counter()
            if stop:
                return False
    return True


def _step(state: State, model: torch.nn.Module, parts: list[Batch], accelerator: Any, out: Path) -> Any:
    """Take a step; an error says what to do if the loss is not finite or memory is too small."""
    try:
        return train_step(state, model, parts, accelerator)
    except NotFiniteError as error:
        raise _saved(error, state, parts, accelerator, out) from None
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        count = len(parts[0][0])
    fits = largest_part(state, parts[0])
    settings = state.settings
    cut = next((n for n in range(2, count + 1) if not count % n and count // n <= fits), count)
    remedy = f"--accumulate {settings.accumulate * cut} keeps the batch" if fits else "take a smaller --network"
    raise ValueError(
        f"memory is too small for {min(count, micro_batch_size(settings))} patches at a time; {fits} fit. "
        f"With --batch {settings.batch}, {remedy}; "
        "--checkpointing needs less memory, too."
    )


def _saved(error: NotFiniteError, state: State, parts: list[Batch], accelerator: Any, out: Path) -> NotFiniteError:
    """Save the weights and, if it is this process's, the batch; returns an error that names the files."""
    if accelerator.is_main_process:
        save_state(state, out)
    bad = out / (BAD_BATCH if accelerator.num_processes == 1 else f"bad-batch-{accelerator.process_index}.pt")
    if error.part is not None:
        batch = [each.cpu() for each in parts[error.part]]
        write_saved(bad, batch)
    accelerator.wait_for_everyone()  # the first process that exits ends the others
    where = f"the batch in {bad}" if error.part is not None else "the batch by that process"
    best = "" if state.best is None else f"; the best on held-out data were those of step {state.best[0]}"
    return NotFiniteError(
        f"{error}. The weights before it are saved in {checkpoints(out)[-1]}, {where}{best}. "
        "Look at the batch; if it is sound, start again with a lower --lr, or resume with --precision fp32.",
        error.part,
    )


def _validate(state: State, validation: Validation, log: Log) -> None:
    errors, score = validation(state.prior(), next(state.loss.parameters()).device)
    if math.isfinite(score) and (state.best is None or score < state.best[1]):
        state.best = (state.step, score)
    log.validation(state, errors, score)


def _save(state: State, out: Path, *, last: bool) -> None:
    """Write a checkpoint; a write error is a warning, except at the end of the run."""
    try:
        save_state(state, out)
    except OSError as error:
        if last:
            raise
        found = checkpoints(out)
        kept = f"{found[-1].name} is the newest" if found else "there is none yet"
        warnings.warn(f"{error} The run goes on; of its checkpoints {kept}.", stacklevel=2)


def _accelerator(device: str | None) -> Any:
    try:
        from accelerate import Accelerator
    except ImportError:
        raise ValueError("training needs accelerate. Install it by: pip install 'scorereg[train]'") from None
    if device is not None:
        check_device(device, only=("cpu", "cuda"))
    return Accelerator(cpu=device == "cpu", mixed_precision="no")


def _precision(settings: Settings, device: torch.device) -> str:
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if has_bf16(device) else "fp32"


def _workers(settings: Settings, device: torch.device) -> int:
    if settings.workers is not None:
        return settings.workers
    return min(8, max((os.cpu_count() or 1) - 1, 1)) if device.type == "cuda" else 0


def _anyone(flag: bool, accelerator: Any) -> bool:
    """Return whether any process was interrupted, so that all stop after the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum").item())
