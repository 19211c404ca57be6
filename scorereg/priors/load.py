"""Find a prior by the name of a shipped one or by its folder."""

import os
from pathlib import Path

import torch

from scorereg.priors.card import CARD_FILE
from scorereg.priors.network import NetworkPrior

__all__ = ["load_prior", "shipped_priors"]

ZOO = Path(__file__).parent / "zoo"


def shipped_priors() -> tuple[str, ...]:
    """Return the names of the priors that come with the package."""
    return tuple(sorted(path.parent.name for path in ZOO.glob(f"*/{CARD_FILE}")))


def load_prior(
    name_or_folder: str | os.PathLike[str], device: str | torch.device = "cpu", *, autocast: bool = False
) -> NetworkPrior:
    """Load a prior, ready to denoise.

    Args:
        name_or_folder: A shipped prior's name (`shipped_priors()`), or the folder of another. A name wins over a
            folder of the same name; write `./name` for the folder.
        device: Where the weights go.
        autocast: Run the network in bfloat16 where torch finds that safe.

    Raises:
        ValueError: If there is neither a shipped prior nor a folder of that name, or the folder is not readable.
        FileNotFoundError: If the folder lacks its card or weights.
    """
    name = os.fspath(name_or_folder)
    if name in shipped_priors():
        return NetworkPrior.load(ZOO / name, device=device, autocast=autocast)
    if not Path(name).exists():
        known = ", ".join(shipped_priors()) or "none"
        raise ValueError(f"no prior is called {name!r} and no such folder exists. Shipped are: {known}.")
    return NetworkPrior.load(name, device=device, autocast=autocast)
