"""Photos of scikit-image and frames of rooms, as tensors in [0, 1], and patches of them."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["CONFIRM", "DEVELOP", "patches", "photo"]

DEVELOP = ("coffee", "chelsea", "room-01000")
CONFIRM = ("astronaut", "rocket", "stereo_motorcycle", "room-01001")


def photo(name: str, data: Path, side: int = 256) -> Float[Tensor, "3 h w"]:
    """Return a photo whose shorter side is reduced to `side` pixels.

    Args:
        name: A photo of `skimage.data`, or `room-...`, whose first frame is taken as it is.
        data: Folder that holds `rooms-eval`.
        side: Pixels of the shorter side of a photo.

    Raises:
        FileNotFoundError: If the room is not there.
        ValueError: If scikit-image has no colour photo of that name.
    """
    if name.startswith("room-"):
        from PIL import Image

        frames = sorted(p for p in (data / "rooms-eval" / name).rglob("*") if p.suffix in (".jpg", ".png"))
        frames = [path for path in frames if "depth" not in path.name]
        if not frames:
            raise FileNotFoundError(
                f"{data / 'rooms-eval' / name} has no frames. Give --data, the folder of rooms-eval."
            )
        image = np.asarray(Image.open(frames[0]).convert("RGB")) / 255
    else:
        import skimage.data
        from skimage.transform import resize

        found = getattr(skimage.data, name)() if name in skimage.data.__all__ else None
        image = found[0] if isinstance(found, tuple) else found
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] not in (3, 4):
            raise ValueError(f"scikit-image has no colour photo {name!r}; take astronaut, chelsea, coffee or rocket.")
        image = image / 255
        scale = side / min(image.shape[:2])
        image = resize(image, [round(length * scale) for length in image.shape[:2]], anti_aliasing=True)
    return torch.tensor(image[..., :3]).permute(2, 0, 1).float()


def patches(names: tuple[str, ...], each: int, side: int, data: Path) -> Float[Tensor, "n 3 s s"]:
    """Return patches at random places of photos, the same at every call."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for name in names:
        image = photo(name, data)
        for _ in range(each):
            top, left = (int(torch.randint(n - side, (), generator=generator)) for n in image.shape[1:])
            found.append(image[:, top : top + side, left : left + side])
    return torch.stack(found)
