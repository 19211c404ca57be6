r"""`NetworkPrior`: a U-Net with the preconditioning of EDM, for patches of one, two or three dimensions.

    D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4),     with s = sigma_data:
    c_skip = s^2 / (sigma^2 + s^2),   c_out = sigma s / sqrt(sigma^2 + s^2),   c_in = 1 / sqrt(sigma^2 + s^2)

c_skip x is the best linear denoiser of single pixels. A card with the spectrum of the data puts that of whole patches
in its place, L, with c_out the size of its error, and shows the network what L takes for noise:

    D(x, sigma) = L(x) + c_out F(c_in x, (x - L(x)) / sigma, ln(sigma) / 4)

Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", eq. 7 and table 1.
On disk a prior is a folder with weights and `card.json`. diffusers' `UNet2DModel.from_pretrained` reads it for two
dimensions; for one and three, where diffusers has no unconditional U-Net, the network is a `UNetND`.
"""

from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scorereg.priors.arguments import at_home
from scorereg.priors.base import (
    check_finite_output,
    check_known,
    check_patch,
    evaluating,
    tiles_hint,
    without_autocast,
)
from scorereg.priors.card import CARD_FILE, PriorCard
from scorereg.priors.networks.agreement import check_network, check_scheduler
from scorereg.priors.networks.record import check_record, load_card
from scorereg.priors.networks.spectrum import LinearDenoiser, linear_denoiser
from scorereg.priors.networks.storage import SIGMA_DATA, WEIGHTS_FILE, edm_scheduler, read_network, write_folder
from scorereg.priors.outside import without_graph

__all__ = ["NetworkPrior"]


class NetworkPrior(nn.Module):
    """A trained U-Net as a prior: `denoise` and `residual` in evaluation mode, `forward` in the mode of training.

    The network computes in the dtype of its weights (`prior.half()`), all else in float32; the answer has x's dtype.

    Args:
        network: Called as `network(x, c_noise, return_dict=False)[0]`, such as diffusers' `UNet2DModel` and `UNetND`.
        card: Channels, patch size and noise range of the training.
        autocast: Run the network under torch's autocast, in bfloat16 or the dtype given; the preconditioning stays in
            float32. Without effect on weights of another dtype than float32.
    """

    def __init__(self, network: nn.Module, card: PriorCard, *, autocast: bool | torch.dtype = False) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.autocast = autocast
        self.linear = linear_denoiser(card)
        self.patchify: int = card.network.get("patchify", 1)
        self.conditional: bool = card.network.get("conditional", False)
        self._answered = False  # whether it has denoised once

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.card.channels

    def forward(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Denoise without checks, differentiable to `x` and to the weights."""
        x, level = x.to(torch.float32), _each(sigma, x)
        scale = (level.square() + SIGMA_DATA**2).rsqrt()
        if self.linear is not None:
            denoised = x - self._removed(self.linear, x, sigma, known)
            return denoised if known is None else torch.where(known, x, denoised)
        out = self._predict(x, scale, sigma, known)
        denoised = (SIGMA_DATA * scale).square() * x + level * SIGMA_DATA * scale * out
        return denoised if known is None else torch.where(known, x, denoised)

    def error_scale(self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"]) -> Tensor:
        """Return c_out, the size of the error that the network corrects."""
        if self.linear is not None:
            return self.linear.error(sigma)
        level = _each(sigma, x)
        return level * SIGMA_DATA * (level.square() + SIGMA_DATA**2).rsqrt()

    def _removed(self, linear: LinearDenoiser, x: Tensor, sigma: Tensor, known: Tensor | None) -> Tensor:
        """`x - D`, from what the linear denoiser removes; of noise only, which known values do not have."""
        level = _each(sigma, x)
        removed = linear(x, sigma)
        noise = removed / level if known is None else removed / level * ~known
        out = self._predict(x, (level.square() + SIGMA_DATA**2).rsqrt(), sigma, known, noise)
        return removed - linear.error(sigma) * out

    def _predict(
        self, x: Tensor, scale: Tensor | float, sigma: Tensor, known: Tensor | None, noise: Tensor | None = None
    ) -> Tensor:
        """F(c_in x, ln(sigma) / 4), with c_in = `scale`.

        Known values have no noise, so their c_in is that of sigma = 0. Further channels are what a linear denoiser
        takes for noise, and the mask of known values.
        """
        z, more = x * scale, [] if noise is None else [noise]
        if self.conditional:
            mask = torch.zeros_like(x) if known is None else known.to(x).expand_as(x)
            z, more = torch.lerp(z, x / SIGMA_DATA, mask), [*more, mask]
        z = torch.cat([z, *more], 1) if more else z
        weight = next(filter(torch.is_floating_point, self.network.parameters()), None)
        kept = weight is None or weight.dtype == torch.float32
        z, time = z if weight is None else z.to(weight.dtype), sigma.to(torch.float32).log() / 4
        kind = self.autocast if isinstance(self.autocast, torch.dtype) else torch.bfloat16
        with torch.autocast(z.device.type, kind) if self.autocast and kept else without_autocast(z.device):
            # the level stays in float32: in half precision it would be another one; networks cast its embedding
            out = self.network(_fold(z, self.patchify), time, return_dict=False)[0]
        return _unfold(out.to(torch.float32), self.patchify)

    @without_graph
    def denoise(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return the posterior mean of the clean patch, without an autograd graph.

        Args:
            x: Noised patches in prior space, with the card's channels and size.
            sigma: Noise level of each patch, within the card's range.
            known: For a conditional prior: True at values of `x` that have no noise, broadcastable to `x`.

        Raises:
            ValueError: If channels, size or noise levels contradict the card, or there is a mask and the prior is not
                conditional.
        """
        self._check(x, sigma, known)
        with evaluating(self.network):
            out = self(x, sigma, known)
        return self._first(out, x).to(x.dtype)

    @without_graph
    def residual(
        self, x: Float[Tensor, "b c *space"], sigma: Float[Tensor, " b"], known: Bool[Tensor, "..."] | None = None
    ) -> Float[Tensor, "b c *space"]:
        """Return `x - denoise(x, sigma)` without the cancellation in x - D.

            x - D = c (c x - s F),     c = sigma / sqrt(sigma^2 + s^2)

        Raises:
            ValueError: As for `denoise`.
        """
        low, high = self._check(x, sigma, known)
        if self.linear is not None:
            with evaluating(self.network):
                removed = self._first(self._removed(self.linear, x.to(torch.float32), sigma, known), x)
            return (removed if known is None else removed * ~known).to(x.dtype)
        # A level shared by all patches stays a number: with a small network every tensor operation takes visible time.
        level = low if low == high else _each(sigma, x)
        scale = (level * level + SIGMA_DATA**2) ** -0.5
        single, share = x.to(torch.float32), level * scale
        with evaluating(self.network):
            out = self._first(self._predict(single, scale, sigma, known), x)
        removed = share * torch.sub(share * single, out, alpha=SIGMA_DATA)
        return (removed if known is None else removed * ~known).to(x.dtype)

    def _check(self, x: Tensor, sigma: Tensor, known: Tensor | None) -> tuple[float, float]:
        """Check the arguments against the card; return the smallest and largest sigma."""
        check_known(self, known)
        low, high = check_patch(self, x, sigma)
        card = self.card
        if tuple(x.shape[2:]) != card.size:
            raise ValueError(
                f"prior {card.name!r} denoises patches of {card.size} pixels, but got {tuple(x.shape[2:])}. "
                f"{tiles_hint(card.size, tuple(x.shape[2:]))}"
            )
        if low < card.sigma_min * 0.999 or high > card.sigma_max * 1.001:
            raise ValueError(
                f"prior {card.name!r} was trained for sigma from {card.sigma_min:g} to {card.sigma_max:g}, but got "
                f"{low:g} to {high:g}. Keep the schedule within the card's range."
            )
        return low, high

    def _first(self, out: Tensor, x: Tensor) -> Tensor:
        """Return an output, the first one after a check for NaN; each check would wait for a GPU."""
        if not self._answered:
            check_finite_output(out, x, self.card.name)
            self._answered = True
        return out

    def __repr__(self) -> str:
        return f"NetworkPrior({self.card.summary()}{', conditional' if self.conditional else ''})"

    def save_pretrained(self, folder: str | Path, *, half: bool = True) -> None:
        """Write weights, configuration and card; each file is renamed into place when complete.

        Args:
            folder: Created if it does not exist.
            half: Store the weights in half precision, which halves the file; they are loaded as float32.

        Raises:
            OSError: If the folder cannot be written.
        """
        write_folder(at_home(folder), self.network, self.card, edm_scheduler(self.card), half=half)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu", autocast: bool = False) -> "NetworkPrior":
        """Load a prior that `save_pretrained` wrote: float32 weights without gradients, in evaluation mode.

        Args:
            folder: The prior's folder.
            device: Device of the weights.
            autocast: As for `NetworkPrior`.

        Raises:
            FileNotFoundError: If the folder, its card, configuration or weights are missing.
            ValueError: If one of them cannot be read, or is not what was written, or they contradict each other.
        """
        folder = at_home(folder)
        card = load_card(folder, folder / WEIGHTS_FILE)
        if not card.size:
            raise ValueError(f"{folder / CARD_FILE} has no size of patches. Restore the card that came with the prior.")
        check_record(card, folder / WEIGHTS_FILE)
        check_scheduler(card, folder, edm_scheduler(card))
        network = read_network(folder)
        check_network(card, folder, network.config, type(network).__name__)
        prior = cls(network, card, autocast=autocast).to(device).eval()
        return prior.requires_grad_(False)


def _each(sigma: Tensor, x: Tensor) -> Tensor:
    """Levels of the samples, broadcastable to the samples."""
    return sigma.reshape(-1, *[1] * (x.ndim - 1)).to(torch.float32)


def _fold(x: Tensor, side: int) -> Tensor:
    """Fold blocks of `side` pixels per axis into channels, in the order of torch's `pixel_unshuffle`."""
    if side > 1:
        pixels, folded, sides = _patterns(x, side)
        x = rearrange(x, f"{pixels} -> {folded}", **sides)
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _unfold(x: Tensor, side: int) -> Tensor:
    """Undo `_fold`."""
    if side == 1:
        return x
    pixels, folded, sides = _patterns(x, side)
    return rearrange(x, f"{folded} -> {pixels}", **sides)


def _patterns(x: Tensor, side: int) -> tuple[str, str, dict[str, int]]:
    """Einops patterns of patches, in 2D `b c (x xf) (y yf)` and `b (c xf yf) x y`, and the lengths of xf, yf, ..."""
    axes = "xyz"[: x.ndim - 2]
    inside = [f"{axis}f" for axis in axes]
    blocks = " ".join(f"({axis} {axis}f)" for axis in axes)
    return f"b c {blocks}", f"b (c {' '.join(inside)}) {' '.join(axes)}", dict.fromkeys(inside, side)
