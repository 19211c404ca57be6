"""A trained prior as a folder that diffusers reads, with its card and a page for the hub."""

from pathlib import Path

import torch

from scorereg._io import write_beside
from scorereg.priors.adapters.wrapped import WrappedPrior
from scorereg.priors.card import PriorCard
from scorereg.priors.load import load_prior
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.storage import write_folder
from scorereg.training.card import scheduler_of
from scorereg.training.checkpoint import CHECKPOINT_FOLDER, ema_prior

__all__ = ["export_prior", "open_prior", "push_prior", "save_prior"]


def open_prior(
    source: str | Path, device: str | torch.device = "cpu", *, best: bool = False
) -> NetworkPrior | WrappedPrior:
    """Load the averaged prior of a run's checkpoint, or any prior that `load_prior` reads.

    Args:
        source: Folder of a run, whose newest checkpoint is taken, or what `load_prior` takes.
        device: Where the weights go.
        best: Take the run's checkpoint with the smallest error on held-out data.

    Raises:
        FileNotFoundError: If the run has no checkpoint yet.
        ValueError: If there is no such prior, or `best` is set and `source` is no run.
    """
    if (Path(source) / CHECKPOINT_FOLDER).is_dir():
        return ema_prior(Path(source), best=best).to(device)
    if best:
        raise ValueError(f"{source} is no run, so it has no best checkpoint. Leave --best out.")
    return load_prior(source, device)


def export_prior(
    source: str | Path, folder: Path, *, best: bool = False, half: bool = True
) -> NetworkPrior | WrappedPrior:
    """Write a prior to a folder: that of a run, while it goes on or after it, or one that exists already.

    Args:
        source: Folder of a run, whose newest checkpoint is taken, or anything of `load_prior` with a card and one of
            our networks.
        folder: Where to.
        best: Take the run's checkpoint with the smallest error on held-out data.
        half: Store the weights in half precision.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: If the run has no checkpoint yet.
        ValueError: If there is no such prior, or it is of a kind that cannot be written.
        OSError: If the folder cannot be written.
    """
    prior = open_prior(source, best=best)
    save_prior(prior, folder, half=half)
    return prior


def save_prior(prior: NetworkPrior | WrappedPrior, folder: Path, *, half: bool = True) -> None:
    """Write a prior's folder: weights, configuration, card, and `README.md` for people.

    Raises:
        ValueError: If the prior is of a kind that cannot be written.
        OSError: If the folder cannot be written.
    """
    card = prior.card
    if not hasattr(prior.network, "save_config") or "kind" not in card.network:
        raise ValueError(
            f"prior {card.name!r} was not trained here, and its format is not written. Share it as you found it."
        )
    write_folder(folder, prior.network, card, scheduler_of(card), half=half)
    write_beside(folder / "README.md", lambda path: path.write_text(_page(card), encoding="utf-8"))


def push_prior(source: str | Path, repository: str, *, best: bool = False, private: bool = False) -> str:
    """Upload a prior to the hub, from which `load_prior(repository)` reads it.

    Args:
        source: As for `export_prior`.
        repository: `owner/name`; made where it is not there yet.
        best: As for `export_prior`.
        private: Make it visible to its owner only.

    Returns:
        Where it can be looked at.

    Raises:
        ValueError: If the card names no licence, or the hub does not take it.
    """
    import tempfile

    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as made:
        card = export_prior(source, Path(made), best=best).card
        if not card.licence:
            raise ValueError(
                f"prior {card.name!r} has no licence on its card, so nobody could use it. Write one into the card, or "
                "train with --licence."
            )
        api = HfApi()
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            told = api.upload_folder(repo_id=repository, folder_path=made, commit_message=f"{card.name}, {card.steps}")
        except Exception as error:  # offline, no account, refused: each has its own type
            line = " ".join(str(error).split())[:200]
            raise ValueError(
                f"the hub does not take {repository} ({line}). Go online, log in by `hf auth login`, check the name."
            ) from None
    return str(told.commit_url if hasattr(told, "commit_url") else told)


def _page(card: PriorCard) -> str:
    """A hub page: what `scorereg inspect` shows, in Markdown."""
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
