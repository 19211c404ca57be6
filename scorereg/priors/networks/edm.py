r"""A diffusion prior over patches of one, two or three dimensions: a U-Net, preconditioned as in EDM.

    D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4),     with s = sigma_data:
    c_skip = s^2 / (sigma^2 + s^2),   c_out = sigma s / sqrt(sigma^2 + s^2),   c_in = 1 / sqrt(sigma^2 + s^2)

Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", eq. 7 and table 1.
On disk a prior is a folder with `card.json` beside the weights; one of two dimensions is read by diffusers'
`UNet2DModel.from_pretrained`, for the others diffusers has no such network and `unet_nd.UNetND` stands in.
"""

from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.priors.base import check_known, check_patch, without_autocast
from scorereg.priors.card import CARD_FILE, PriorCard
from scorereg.priors.networks.storage import CONFIG_FILE, SIGMA_DATA, edm_scheduler, read_network, write_folder

__all__ = ["NetworkPrior"]


class NetworkPrior(nn.Module):
    """A trained U-Net as a prior: `denoise` for users, `forward` for training.

    Args:
        network: Called as `network(x, c_noise, return_dict=False)[0]`; diffusers' `UNet2DModel` and `UNetND` are such.
        card: What the network was trained for.
        autocast: Run the network in bfloat16 (or the half precision that is given) where torch finds that safe; the
            preconditioning stays in float32.
    """

    def __init__(self, network: nn.Module, card: PriorCard, *, autocast: bool | torch.dtype = False) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.autocast = autocast
        self.patchify: int = card.network.get("patchify", 1)
        self.conditional: bool = card.network.get("conditional", False)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.card.channels

    def forward(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Denoise, differentiable to `x` and to the weights; nothing is checked."""
        x, level = x.to(torch.float32), _each(sigma, x)
        scale = (level.square() + SIGMA_DATA**2).rsqrt()
        out = self._ask(x, scale, sigma, known)
        denoised = (SIGMA_DATA * scale).square() * x + level * SIGMA_DATA * scale * out
        return denoised if known is None else torch.where(known, x, denoised)

    def _ask(self, x: Tensor, scale: Tensor | float, sigma: Tensor, known: Tensor | None) -> Tensor:
        """F of the patches as the network is fed them, to the scale of their noise.

        What is known has no noise, so its scale is that of sigma = 0; where it is, further channels tell.
        """
        z = x * scale
        if self.conditional:
            mask = torch.zeros_like(x) if known is None else known.to(x).expand_as(x)
            z = torch.cat([torch.lerp(z, x / SIGMA_DATA, mask), mask], 1)
        time = sigma.to(torch.float32).log() / 4
        kind = self.autocast if isinstance(self.autocast, torch.dtype) else torch.bfloat16
        with torch.autocast(z.device.type, kind) if self.autocast else without_autocast(z.device):
            out = self.network(_fold(z, self.patchify), time, return_dict=False)[0]
        return _unfold(out.to(torch.float32), self.patchify)

    @torch.no_grad()
    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return the posterior mean of the clean patch, without an autograd graph.

        Args:
            x: Noised patches in prior space, of the card's channels and size.
            sigma: Noise level of each patch, within the card's range.
            known: For a conditional prior: True at values of `x` that have no noise, broadcastable to `x`.

        Raises:
            ValueError: If channels, size, or noise levels contradict the card, or the prior is not conditional and
                there is a mask.
        """
        self._check(x, sigma, known)
        return self(x, sigma, known).to(x.dtype)

    @torch.no_grad()
    def residual(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return `x - denoise(x, sigma)` without forming D, next to which x would lose its last digits.

            x - D = c (c x - s F),     c = sigma / sqrt(sigma^2 + s^2)

        Raises:
            ValueError: As `denoise` does.
        """
        low, high = self._check(x, sigma, known)
        # One level for all, the usual case, stays a number: beside a small network each operation on a tensor shows.
        level = low if low == high else _each(sigma, x)
        scale = (level * level + SIGMA_DATA**2) ** -0.5
        single, share = x.to(torch.float32), level * scale
        out = self._ask(single, scale, sigma, known)
        removed = share * torch.sub(share * single, out, alpha=SIGMA_DATA)
        return (removed if known is None else removed * ~known).to(x.dtype)

    def _check(self, x: Tensor, sigma: Tensor, known: Tensor | None) -> tuple[float, float]:
        """Refuse what contradicts the card; smallest and largest sigma."""
        check_known(self, known)
        low, high = check_patch(self, x, sigma)
        card = self.card
        if tuple(x.shape[2:]) != card.size:
            raise ValueError(
                f"prior {card.name!r} denoises patches of {card.size} pixels, but got {tuple(x.shape[2:])}. "
                "Render or cut patches of that size, at the card's focal length."
            )
        if low < card.sigma_min * 0.999 or high > card.sigma_max * 1.001:
            raise ValueError(
                f"prior {card.name!r} was trained for sigma from {card.sigma_min:g} to {card.sigma_max:g}, but got "
                f"{low:g} to {high:g}. Keep the schedule within the card's range."
            )
        return low, high

    def __repr__(self) -> str:
        return f"NetworkPrior({self.card.summary()}{', conditional' if self.conditional else ''})"

    def save_pretrained(self, folder: str | Path, *, half: bool = True) -> None:
        """Write weights, their configuration and card; each file is renamed into place when complete.

        Args:
            folder: Made where it is not there yet.
            half: Store the weights in half precision, which halves the file; they are read back as float32.

        Raises:
            OSError: If the folder cannot be written.
        """
        write_folder(Path(folder), self.network, self.card, edm_scheduler(self.card), half=half)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu", autocast: bool = False) -> "NetworkPrior":
        """Read a prior that `save_pretrained` wrote; weights become float32, in evaluation mode, without gradients.

        Raises:
            FileNotFoundError: If the folder, its card, configuration or weights are not there.
            ValueError: If one of them cannot be read, or they contradict each other.
        """
        folder = Path(folder)
        card = PriorCard.load(folder)
        network = read_network(folder)
        inside, fold = network.config["in_channels"], card.network.get("patchify", 1)
        if inside != len(card.channels) * (1 + card.network.get("conditional", False)) * fold ** len(card.size):
            raise ValueError(
                f"{folder / CARD_FILE} names {len(card.channels)} channels ({', '.join(card.channels)}), but the "
                f"network in {folder / CONFIG_FILE} takes {inside}. They do not belong together; copy both again."
            )
        sample = network.config.get("sample_size")
        sides = (sample,) * len(card.size) if isinstance(sample, int) else sample
        if sides is not None and tuple(fold * side for side in sides) != card.size:
            raise ValueError(
                f"{folder / CARD_FILE} has patches of {'x'.join(map(str, card.size))}, but the network in "
                f"{folder / CONFIG_FILE} was made for {'x'.join(str(fold * side) for side in sides)}. "
                "They do not belong together; copy both again."
            )
        prior = cls(network, card, autocast=autocast).to(device).eval()
        return prior.requires_grad_(False)


def _each(sigma: Tensor, x: Tensor) -> Tensor:
    """One level a sample, to be multiplied with the samples."""
    return sigma.reshape(-1, *[1] * (x.ndim - 1)).to(torch.float32)


def _fold(x: Tensor, side: int) -> Tensor:
    """Blocks of `side` pixels a side as one pixel with more channels, in the order of torch's `pixel_unshuffle`."""
    if side > 1:
        blocks = " ".join(f"({axis} {axis}f)" for axis in _axes(x))
        inside = " ".join(f"{axis}f" for axis in _axes(x))
        pattern = f"b c {blocks} -> b (c {inside}) {' '.join(_axes(x))}"
        x = rearrange(x, pattern, **{f"{axis}f": side for axis in _axes(x)})
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _unfold(x: Tensor, side: int) -> Tensor:
    if side == 1:
        return x
    blocks = " ".join(f"({axis} {axis}f)" for axis in _axes(x))
    inside = " ".join(f"{axis}f" for axis in _axes(x))
    pattern = f"b (c {inside}) {' '.join(_axes(x))} -> b c {blocks}"
    return rearrange(x, pattern, **{f"{axis}f": side for axis in _axes(x)})


def _axes(x: Tensor) -> str:
    return "xyz"[: x.ndim - 2]
