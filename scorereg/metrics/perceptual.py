"""LPIPS, by name of its network. Nothing is downloaded: where its weights are missing, that is said."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from scorereg.metrics.images import Mask, check_pair, filled

__all__ = ["lpips", "lpips_lacks"]

Net = Literal["alex", "vgg"]
_MODELS = {"alex": ("alexnet", "AlexNet_Weights"), "vgg": ("vgg16", "VGG16_Weights")}  # in torchvision.models


def lpips(
    image: Float[Tensor, "h w 3"],
    truth: Float[Tensor, "h w 3"],
    *,
    net: Net,
    mask: Mask | None = None,
) -> float:
    """Learned perceptual distance (Zhang 2018), version 0.1 of the `lpips` package.

    Images are scaled to [-1, 1], as the package requires; papers differ in the range and the network.

    Args:
        image: Image in [0, 1].
        truth: Image to compare with, in [0, 1].
        net: Network whose features are compared. Report it with the number: the two differ by up to a factor of two.
        mask: Pixels that count; the others are mid-grey in both images. All, if not given.

    Raises:
        ValueError: If the package or the network's weights are not there (`lpips_lacks`), or the shapes differ.
    """
    check_pair("lpips", image, truth, mask)
    model = _network(net).to(image.device)
    a, b = (rearrange(2 * filled(x, mask, 0.5).float() - 1, "h w c -> 1 c h w") for x in (image, truth))
    with torch.no_grad():
        return model(a, b).item()


def lpips_lacks(net: Net) -> str | None:
    """Say in a line what `lpips` with a network lacks and how to get it; None if it can be computed.

    The package `lpips` brings its own small weights, but torchvision fetches those of the network (230 MB for alex,
    530 MB for vgg) when it is first built; here that is the user's decision.
    """
    if net not in _MODELS:
        return f"LPIPS has the nets {', '.join(_MODELS)}, but {net!r} is asked for."
    if find_spec("lpips") is None:
        return "LPIPS needs the package `lpips`: run `pip install lpips`, or leave it out."
    model, weights = _MODELS[net]
    try:
        from torchvision import models  # pyright: ignore[reportMissingImports]

        url = getattr(models, weights).IMAGENET1K_V1.url
    except (ImportError, AttributeError) as error:
        return f"LPIPS needs torchvision, which cannot be used here ({error}): install the one for this torch."
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if file.is_file():
        return None
    code = f"import torchvision; torchvision.models.{model}(weights='DEFAULT')"
    return f'LPIPS with {net} needs {file}, which is not there; `python -c "{code}"` downloads it from {url}.'


@cache
def _network(net: Net) -> torch.nn.Module:
    if (lacks := lpips_lacks(net)) is not None:
        raise ValueError(lacks)
    from lpips import LPIPS  # pyright: ignore[reportMissingImports]

    return LPIPS(net=net, version="0.1", verbose=False).eval().requires_grad_(False)
