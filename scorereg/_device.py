"""Names of devices, checked before anything is computed on one."""

from typing import Any

import torch

__all__ = ["check_device", "choose_device"]

_KINDS = ("cpu", "cuda")


def check_device(device: Any, *, only: tuple[str, ...] = ()) -> None:
    """Check that torch knows a device by its name and finds it here.

    Args:
        device: A name, like "cpu" or "cuda:1", or a `torch.device`.
        only: Names of which it must be one; any, if empty.

    Raises:
        ValueError: If not.
    """
    if only and device not in only:
        raise ValueError(f"device must be {' or '.join(only)}, but is {device!r}.")
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device must be one that torch knows, like 'cpu' or 'cuda', but is {device!r}.") from None
    found = torch.cuda.device_count() if place.type == "cuda" and torch.cuda.is_available() else 0
    if place.type == "cuda" and (place.index or 0) >= found:
        there = (
            f"there is only {'cuda:0' if found == 1 else f'cuda:0 to cuda:{found - 1}'}" if found else "there is none"
        )
        raise ValueError(f"device {str(device)!r} needs an NVIDIA GPU that torch can use, and {there}. Give 'cpu'.")
    if place.type not in _KINDS:
        _check_usable(place)


def choose_device(name: str | None) -> str:
    """Return `"cuda"` where there is a GPU and `"cpu"` elsewhere, unless a device is named.

    Raises:
        ValueError: If the device is neither, or is not there.
    """
    if name is not None:
        check_device(name, only=_KINDS)
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def _check_usable(device: torch.device) -> None:
    """Compute one sum on a device, which names that torch was not built for, or "meta", cannot."""
    try:
        torch.ones(1, device=device).sum().item()
    except Exception as error:  # each kind of device has its own
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
        raise ValueError(f"device {str(device)!r} cannot be computed on here ({line}). Give 'cpu' or 'cuda'.") from None
