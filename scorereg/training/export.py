"""Write a trained prior as a folder that diffusers reads, with its card and a page for the hub."""

import shutil
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from scorereg._io import hold_folder, write_beside, writing
from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.arguments import named_path, only
from scorereg.priors.card import PriorCard
from scorereg.priors.load import load_prior
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.storage import write_folder
from scorereg.training.checkpoint import CHECKPOINT_FOLDER, ema_prior
from scorereg.training.parametrization import PARAMETRIZATIONS

__all__ = ["export_prior", "open_prior", "push_prior", "save_prior"]


def open_prior(
    source: str | Path, device: str | torch.device = "cpu", *, best: bool = False, **facts: Any
) -> NetworkPrior | WrappedPrior:
    """Load the averaged prior of a run's checkpoint, or any prior that `load_prior` reads.

    Args:
        source: Folder of a run, whose newest checkpoint is taken, or a source of `load_prior`.
        device: Device of the weights.
        best: Take the run's checkpoint with the smallest error on held-out data.
        **facts: Arguments of `load_prior`, for what the source does not say.

    Raises:
        FileNotFoundError: If the run has no checkpoint yet.
        ValueError: If there is no such prior, an argument means nothing for it, or `best` is set and it is no run.
    """
    source = named_path(source)
    if (Path(source) / CHECKPOINT_FOLDER).is_dir():
        only(f"the run {source}, whose card says it", facts)
        return ema_prior(Path(source), best=best).to(device)
    if best:
        raise ValueError(f"{source} is no run, so it has no best checkpoint. Leave --best out.")
    return load_prior(source, device, **facts)


def export_prior(
    source: str | Path, folder: Path, *, best: bool = False, half: bool = True
) -> NetworkPrior | WrappedPrior:
    """Write the prior of a run, finished or not, or another prior to a folder.

    Args:
        source: Folder of a run, whose newest checkpoint is taken, or a source of `load_prior` with a network that was
            trained by this library.
        folder: The folder.
        best: Take the run's checkpoint with the smallest error on held-out data.
        half: Store the weights in half precision.

    Returns:
        The prior.

    Raises:
        FileNotFoundError: If the run has no checkpoint yet.
        ValueError: If there is no such prior, or its network was not trained by this library.
        OSError: If the folder cannot be written.
    """
    prior = open_prior(source, best=best)
    save_prior(prior, folder, half=half)
    return prior


def save_prior(prior: NetworkPrior | WrappedPrior, folder: Path, *, half: bool = True) -> None:
    """Write a prior's folder: weights, configuration, card, and a page `README.md`.

    Raises:
        ValueError: If its network was not trained by this library.
        OSError: If the folder cannot be written, or another run writes to it.
    """
    card = prior.card
    if not hasattr(prior.network, "save_config") or card.prediction not in PARAMETRIZATIONS:
        raise ValueError(
            f"prior {card.name!r} was not trained here, and its format is not written. Share it as you found it."
        )
    with suppress(OSError):  # writing names it
        folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(folder) if folder.is_dir() else nullcontext(), writing(folder):
        for left in folder.glob(".new-*"):  # of an export that was killed
            shutil.rmtree(left, ignore_errors=True)
        write_folder(folder, prior.network, card, PARAMETRIZATIONS[card.prediction].scheduler(card), half=half)
        write_beside(folder / "README.md", lambda path: path.write_text(_page(card), encoding="utf-8"))


def push_prior(source: str | Path, repository: str, *, best: bool = False, private: bool = False) -> str:
    """Upload a prior to the hub, from which `load_prior(repository)` reads it.

    Args:
        source: As for `export_prior`.
        repository: `owner/name`; created if it does not exist.
        best: As for `export_prior`.
        private: Make a new repository visible to its owner only.

    Returns:
        URL of the upload.

    Raises:
        ValueError: If the card names no licence, or the hub refuses the upload.
    """
    import tempfile

    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        card = export_prior(source, Path(folder), best=best).card
        if not card.licence:
            raise ValueError(
                f"prior {card.name!r} has no licence on its card, so others may not use it. Write one into the card, "
                "or train with --licence."
            )
        api = HfApi()
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message=f"{card.name}, {card.steps}"
            )
        except Exception as error:  # offline, no account, refused: different types
            line = " ".join(str(error).split())[:200]
            raise ValueError(
                f"the hub does not take {repository} ({line}). Go online, log in by `hf auth login`, check the name."
            ) from None
    return str(commit.commit_url if hasattr(commit, "commit_url") else commit)


def _page(card: PriorCard) -> str:
    """Return the hub page, in Markdown."""
    size = " x ".join(map(str, card.size))
    head = ["---", "library_name: scorereg", "tags: [diffusion, score, prior]"]
    head += [f"license_name: {card.licence}", "license: other"] if card.licence else []
    lines = [
        *head,
        "---",
        f"# {card.name}",
        "",
        f"A diffusion prior over {', '.join(card.channels)}, patches of {size}.",
    ]
    lines += ["", "```python", "from scorereg import ScoreLoss, load_prior", "```", "", f"Trained on {card.data}."]
    lines += [f"{card.steps} steps; noise from {card.sigma_min:g} to {card.sigma_max:g}.", ""]
    lines += [f"- {credit}" for credit in card.credits]
    for name, rows in card.denoising.items():
        groups = [key.removesuffix("_ratio") for key in rows[0] if key.endswith("_ratio")]
        lines += ["", f"Squared denoising error on {name}, as a ratio to the best stationary linear filter's:", ""]
        lines += [f"| sigma | {' | '.join(groups)} |", "|---" * (len(groups) + 1) + "|"]
        lines += [f"| {r['sigma']:g} | {' | '.join(format(r[g + '_ratio'], '.2f') for g in groups)} |" for r in rows]
    return "\n".join(lines) + "\n"
