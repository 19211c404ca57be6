r"""A diffusion prior whose denoiser is a U-Net, preconditioned as in EDM.

    D(x, sigma) = c_skip x + c_out F(c_in x, ln(sigma) / 4),     with s = sigma_data:
    c_skip = s^2 / (sigma^2 + s^2),   c_out = sigma s / sqrt(sigma^2 + s^2),   c_in = 1 / sqrt(sigma^2 + s^2)

Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", eq. 7 and table 1.
On disk a prior is a folder that diffusers' `UNet2DModel.from_pretrained` reads, with `card.json` beside the weights.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from scorereg.priors.base import check_patch, without_autocast
from scorereg.priors.card import CARD_FILE, PriorCard

__all__ = ["NETWORK_SIZES", "NetworkPrior", "build_network"]

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
CONFIG_FILE = "config.json"
SCHEDULER_FILE = "scheduler_config.json"
SIGMA_DATA = 0.5

NETWORK_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"patchify": 2, "block_out_channels": (32, 64), "layers_per_block": 1, "add_attention": False},
    "small": {"patchify": 2, "block_out_channels": (64, 128, 160), "layers_per_block": 1, "add_attention": False},
    "base": {"patchify": 1, "block_out_channels": (64, 128, 256, 512), "layers_per_block": 1, "add_attention": True},
}


def build_network(size: str, *, patch: int, channels: int) -> nn.Module:
    """Return an untrained `UNet2DModel` of a named size.

    The two smaller ones see blocks of `patchify` x `patchify` pixels as one with more channels (`NetworkPrior` folds
    and unfolds them): on a CPU a patch then costs a third of what a network of equal size on single pixels takes.

    Args:
        size: One of `NETWORK_SIZES`.
        patch: Side of a patch, in pixels; must halve evenly once for each level but the first.
        channels: Number of channels in and out.

    Raises:
        ValueError: If the size is unknown, or the patch does not halve that often.
    """
    from diffusers import UNet2DModel

    if size not in NETWORK_SIZES:
        raise ValueError(f"no network is called {size!r}; choose one of {', '.join(NETWORK_SIZES)}.")
    settings = dict(NETWORK_SIZES[size])
    fold = settings.pop("patchify")
    levels = len(settings["block_out_channels"])
    stride = fold * 2 ** (levels - 1)
    if patch < stride or patch % stride:
        raise ValueError(
            f"network {size!r} reduces a patch {stride} times, so patch={patch} must be a multiple of that."
        )
    network: nn.Module = UNet2DModel(
        sample_size=patch // fold,
        in_channels=channels * fold**2,
        out_channels=channels * fold**2,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=8,
        attention_head_dim=32,
        **settings,
    )
    for name in ("conv_out.weight", "conv_out.bias"):  # the untrained prior is then the best pixel-wise linear denoiser
        nn.init.zeros_(network.get_parameter(name))
    # Convolutions are faster so, on CPUs too; torch's overloads lack this one.
    return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


class NetworkPrior(nn.Module):
    """A trained U-Net as a prior: `denoise` for users, `forward` for training.

    Args:
        network: Called as `network(x, c_noise, return_dict=False)[0]`; diffusers' `UNet2DModel` is one.
        card: What the network was trained for.
        autocast: Run the network in bfloat16 where torch finds that safe; the preconditioning stays in float32.
    """

    def __init__(self, network: nn.Module, card: PriorCard, *, autocast: bool = False) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.autocast = autocast
        self.patchify = card.network.get("patchify", 1)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order."""
        return self.card.channels

    def forward(self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Denoise, differentiable to `x` and to the weights; nothing is checked."""
        x, level = x.to(torch.float32), sigma[:, None, None, None].to(torch.float32)
        scale = (level.square() + SIGMA_DATA**2).rsqrt()
        out = self._ask(x * scale, sigma)
        return (SIGMA_DATA * scale).square() * x + level * SIGMA_DATA * scale * out

    def _ask(self, z: Tensor, sigma: Tensor) -> Tensor:
        """F of the patches as the network is fed them."""
        time = sigma.to(torch.float32).log() / 4
        z = functional.pixel_unshuffle(z, self.patchify).contiguous(memory_format=torch.channels_last)
        with torch.autocast(z.device.type, torch.bfloat16) if self.autocast else without_autocast(z.device):
            out = self.network(z, time, return_dict=False)[0]
        return functional.pixel_shuffle(out.to(torch.float32), self.patchify)

    @torch.no_grad()
    def denoise(self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Return the posterior mean of the clean patch, without an autograd graph.

        Args:
            x: Noised patches in prior space, of the card's channels and size.
            sigma: Noise level of each patch, within the card's range.

        Raises:
            ValueError: If channels, size, or noise levels contradict the card.
        """
        self._check(x, sigma)
        return self(x, sigma).to(x.dtype)

    @torch.no_grad()
    def residual(self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Return `x - denoise(x, sigma)` without forming D, next to which x would lose its last digits.

            x - D = c (c x - s F),     c = sigma / sqrt(sigma^2 + s^2)

        Raises:
            ValueError: As `denoise` does.
        """
        low, high = self._check(x, sigma)
        # One level for all, the usual case, stays a number: beside a small network each operation on a tensor shows.
        level = low if low == high else sigma[:, None, None, None].to(torch.float32)
        scale = (level * level + SIGMA_DATA**2) ** -0.5
        single, share = x.to(torch.float32), level * scale
        out = self._ask(single * scale, sigma)
        return (share * torch.sub(share * single, out, alpha=SIGMA_DATA)).to(x.dtype)

    def _check(self, x: Tensor, sigma: Tensor) -> tuple[float, float]:
        """Refuse what contradicts the card; smallest and largest sigma."""
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

    def save_pretrained(self, folder: str | Path, *, half: bool = True) -> None:
        """Write weights, diffusers' configuration and card; each file is renamed into place when complete.

        Args:
            folder: Made where it is not there yet.
            half: Store the weights in half precision, which halves the file; they are read back as float32.

        Raises:
            OSError: If the folder cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"{folder} cannot be made ({error.strerror}). Choose another folder for the prior.") from None
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
            self._write(Path(new), half=half)
            for path in sorted(Path(new).iterdir()):
                path.replace(folder / path.name)

    def _write(self, folder: Path, *, half: bool) -> None:
        from safetensors.torch import save

        kind = torch.float16 if half else torch.float32
        weights = {
            name: value.detach().to("cpu", kind).contiguous() for name, value in self.network.state_dict().items()
        }
        (folder / WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))  # with the usual permissions
        self.network.save_config(folder)  # type: ignore[operator]  # diffusers' ConfigMixin
        (folder / SCHEDULER_FILE).write_text(json.dumps(_scheduler(self.card), indent=2) + "\n", encoding="utf-8")
        (folder / CARD_FILE).write_text(self.card.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path, *, device: str | torch.device = "cpu", autocast: bool = False) -> "NetworkPrior":
        """Read a prior that `save_pretrained` wrote; weights become float32, in evaluation mode, without gradients.

        Raises:
            FileNotFoundError: If the folder, its card, configuration or weights are not there.
            ValueError: If one of them cannot be read, or they contradict each other.
        """
        folder = Path(folder)
        card = PriorCard.load(folder)
        network = _read_network(folder)
        inside, fold = network.config["in_channels"], card.network.get("patchify", 1)
        if inside != len(card.channels) * fold**2:
            raise ValueError(
                f"{folder / CARD_FILE} names {len(card.channels)} channels ({', '.join(card.channels)}), but the "
                f"network in {folder / CONFIG_FILE} takes {inside}. They do not belong together; copy both again."
            )
        prior = cls(network, card, autocast=autocast).to(device).eval()
        return prior.requires_grad_(False)


def _scheduler(card: PriorCard) -> dict[str, Any]:
    return {
        "_class_name": "EDMEulerScheduler",
        "sigma_min": card.sigma_min,
        "sigma_max": card.sigma_max,
        "sigma_data": SIGMA_DATA,
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "rho": 7.0,
        "sigma_schedule": "karras",
    }


def _read_network(folder: Path) -> Any:
    from diffusers import UNet2DModel
    from safetensors.torch import load_file

    config, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing. Copy the whole prior folder again, or export the prior anew.")
    try:
        network: Any = UNet2DModel.from_config(json.loads(config.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{config} describes no UNet2DModel ({_line(error)}). Restore the file or export anew."
        ) from None
    try:
        state = load_file(weights)
        network.load_state_dict({name: value.to(torch.float32) for name, value in state.items()})
    except Exception as error:  # safetensors' own error type, and torch's RuntimeError for other names or shapes
        raise ValueError(
            f"{weights} does not hold this network's weights ({_line(error)}). Copy or export it anew."
        ) from None
    return network


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
