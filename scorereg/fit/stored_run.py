"""The files of a run that hold the fit itself: `fit.json` and `weights.safetensors`, written and read.

No pickle is read or written. The weights carry a checksum, which the card repeats, so that a card and weights of two
fits, or a file that was changed, are refused.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scorereg._io import check_plain, printable, read_text, write_beside
from scorereg._io.saved import Damaged, check_number
from scorereg.fit.recipe import Recipe
from scorereg.fit.run_card import (
    CARD,
    check_unchanged,
    describe_scene,
    describe_terms,
    read_card,
    recipe_of,
    scene_of,
    write_card,
)  # fmt: skip
from scorereg.fit.stored_field import OWN, describe_module, own_density, restore_module
from scorereg.rendering.volume import DensityFn
from scorereg.scenes import Scene

__all__ = ["HISTORY", "WEIGHTS", "StoredRun", "read_run", "write_fit"]

WEIGHTS, HISTORY = "weights.safetensors", "history.jsonl"
_CURE = "Copy the whole folder again, or fit again."


@dataclass(frozen=True, eq=False)
class StoredRun:
    """What a run's folder holds of a fit.

    Args:
        scene: Without its photos.
        field: The fitted field.
        proposal: Density that tells where to sample.
        recipe: Numbers of the loop.
        seconds: Time of the steps.
        history: As that of a `Fit`.
        terms: Descriptions of the terms.
        seed: Seed of the fit.
    """

    scene: Scene
    field: Any
    proposal: DensityFn
    recipe: Recipe
    seconds: float
    history: list[dict[str, float | int]]
    terms: tuple[dict[str, Any], ...]
    seed: int


def write_fit(fit: Any, folder: Path, version: str) -> None:
    """Write weights, history and card of a `Fit`; the card is last, as without it the folder is no run.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If a weight is not finite.
    """
    from safetensors.torch import save

    from scorereg.priors.weights import CHECKSUM, checksum

    state = _state_of(fit)
    total = checksum(state)
    (folder / CARD).unlink(missing_ok=True)
    data = save(state, metadata={CHECKSUM: total})  # one key: of several the order is random
    write_beside(folder / WEIGHTS, lambda beside: beside.write_bytes(data))
    lines = "".join(json.dumps(values) + "\n" for values in fit.history)
    write_beside(folder / HISTORY, lambda beside: beside.write_text(lines, encoding="utf-8"))
    content = {
        "version": version, "torch": torch.__version__, "weights": {"file": WEIGHTS, "sha256": total},
        "seed": fit.seed, "device": str(fit.scene.images.device), "seconds": fit.seconds,
        "scene": describe_scene(fit.scene), "recipe": asdict(fit.recipe), "field": describe_module(fit.field),
        "proposal": describe_module(fit.proposal), "terms": describe_terms(fit.terms),
    }  # fmt: skip
    write_card(folder, content)


def read_run(
    folder: Path, device: torch.device | str, *, field: Any = None, proposal: Any = None, backend: Any = "auto"
) -> StoredRun:
    """Read a run. Nothing of the scene's own files is needed.

    Args:
        folder: The run's folder.
        device: Where the field is put.
        field: Module that is filled, for a fit of a class of the user's own.
        proposal: The same for the proposal; a function stands in for one that was a function.
        backend: Encoder of a `HashGrid`.

    Raises:
        OSError: If a file is missing or cannot be read.
        ValueError: If the folder is none of a fit, of another format, or damaged; or an argument cannot be used.
    """
    _check_is_run(folder)
    card = read_card(folder / CARD)
    state = _read_weights(folder, card)
    try:
        scene, recipe = scene_of(card.get("scene"), device), recipe_of(card.get("recipe"))
        check_number(card.get("seconds"), "seconds", 0)
        check_number(card.get("seed"), "seed", -(2**63), 2**64, whole=True)
        terms = card.get("terms")
        if not isinstance(terms, list) or not all(isinstance(term, dict) for term in terms):
            raise Damaged("`terms` is no list of terms")
        made = _module(folder, card, state, "field", field, backend)
        sampler = _module(folder, card, state, "proposal", proposal, backend)
    except Damaged as error:
        raise ValueError(f"{folder / CARD} and its weights do not belong together or are damaged: {error}. {_CURE}"
        ) from None  # fmt: skip
    except ImportError as error:
        raise ValueError(f"{folder}: {error}.") from None
    check_unchanged(card, folder / CARD)
    if isinstance(made, nn.Module):
        made = made.to(device)
    sampler = own_density(made) if sampler is None else sampler
    sampler = sampler.to(device) if isinstance(sampler, nn.Module) else sampler
    history = _read_history(folder / HISTORY)
    return StoredRun(scene, made, sampler, recipe, float(card["seconds"]), history, tuple(terms), card["seed"])


def _state_of(fit: Any) -> dict[str, Tensor]:
    """Weights of field and proposal by name, on the CPU, each in memory of its own."""
    state = {}
    for part in ("field", "proposal"):
        module = getattr(fit, part)
        for name, value in module.state_dict().items() if isinstance(module, nn.Module) else ():
            if isinstance(value, Tensor):
                state[f"{part}.{name}"] = value.detach().to("cpu", copy=True).contiguous()
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"the fit is not finite: {name} holds NaN or infinity. Fit again with lower rates.")
    return state


def _check_is_run(folder: Path) -> None:
    """Refuse what is no run of a fit, by what it is."""
    if not folder.is_dir():
        what = "is a file; give the folder of a run" if folder.exists() else "is not there; give the folder of a run"
        raise FileNotFoundError(f"{folder} {what}, which `scorereg fit --out` has written.")
    if (folder / CARD).is_file():
        return
    for names, words in _OTHERS:
        if any((folder / name).exists() for name in names):
            raise FileNotFoundError(f"{folder} {words}")
    raise FileNotFoundError(f"{folder} holds no {CARD}, so it is no run of a fit. Give the --out of `scorereg fit`.")


_STATE = "fit.pt", "fit.previous.pt"
_PRIOR = "card.json", "checkpoints"
_OTHERS = (
    (_STATE, "holds a fit that is not complete. The command that began it, with --resume, ends it."),
    (("splats.pt",), "holds a fit of splats (splats.pt), of an example of its own, which is not read here."),
    (
        ("field.pt", "grid.pt"),
        f"was written by an older version of scorereg (field.pt, no {CARD}), whose runs are not read. Fit again.",
    ),
    ((WEIGHTS,), f"is half a run: {CARD} is missing beside {WEIGHTS}. {_CURE}"),
    (_PRIOR, "holds a prior or the run of train-prior, and no fit. Give the --out of `scorereg fit`."),
    (("transforms.json", "sparse", "poses_bounds.npy"), "is a scene and no fit of one. Fit it first: scorereg fit."),
)  # fmt: skip


def _read_weights(folder: Path, card: dict[str, Any]) -> dict[str, Tensor]:
    from scorereg.priors.weights import CHECKSUM, metadata_of, read_tensors

    path = folder / WEIGHTS
    if not path.exists():
        raise FileNotFoundError(f"{folder} is half a run: {WEIGHTS} is missing beside {CARD}. {_CURE}")
    check_plain(path)
    about = card["weights"] if isinstance(card.get("weights"), dict) else {}
    if about.get("file", WEIGHTS) != WEIGHTS:
        raise ValueError(
            f"{folder / CARD} names weights in {printable(str(about['file']))[:80]}; a run has {WEIGHTS}. {_CURE}"
        )
    told = about.get("sha256")
    found = metadata_of(path).get(CHECKSUM)
    if not isinstance(told, str) or found is None or found != told:
        raise ValueError(f"{path} is not the file that was written with {CARD}: their checksums differ. {_CURE}")
    state = read_tensors(path)  # which holds them against that checksum
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{path}: {name[:80]} holds NaN or infinity. {_CURE}")
    return state


def _module(folder: Path, card: dict[str, Any], state: dict[str, Tensor], part: str, given: Any, backend: Any) -> Any:
    """The field or the proposal: filled from its tensors, or what was given in its place."""
    about = card.get(part)
    own = {name.removeprefix(f"{part}."): value for name, value in state.items() if name.startswith(f"{part}.")}
    if about is None and part == "proposal":
        return given
    if not isinstance(about, dict):
        raise Damaged(f"it has no `{part}`")
    if about.get("kind") == OWN:
        return _filled(folder, part, str(about.get("class")), given, own)
    if given is not None:
        raise ValueError(f"{folder} holds a {about.get('class')}, which is made by itself. Leave `{part}` out.")
    if any(value.dtype != torch.float32 for value in own.values()):
        raise Damaged(f"a tensor of its {part} is not float32")
    return restore_module(about, own, backend)


def _filled(folder: Path, part: str, name: str, given: Any, state: dict[str, Tensor]) -> nn.Module:
    if given is None:
        name = printable(name)[:120]
        raise ValueError(
            f"{folder} holds a {part} of the class {name}, which is none of scorereg's, so Python alone can load it: "
            f"Fit.load(folder, {part}={name.rpartition('.')[2]}(...)), made as for the fit."
        )
    if not isinstance(given, nn.Module):
        raise ValueError(f"Fit.load needs `{part}` to be a module, to fill it, but got a {type(given).__name__}.")
    try:
        given.load_state_dict(state)
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{folder}: the {part} that was given does not take the weights of the run ({line})."
        ) from None
    return given.eval()


def _read_history(path: Path) -> list[dict[str, float | int]]:
    """The history, where it is there; a run can be rendered without."""
    if not path.exists():
        return []
    try:
        entries = [json.loads(line) for line in read_text(path, _CURE).splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: a line of it is no JSON. {_CURE}") from None
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} is damaged: a line of it is no JSON object. {_CURE}")
    return entries
