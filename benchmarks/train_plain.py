"""The rival of `benchmarks.train`: a loop as most would write it.

It is written as the Trainer of denoising-diffusion-pytorch is: a dataset that opens a photo and its depth map for each
patch, a loader in the same process, a contiguous network, Adam as torch makes it without arguments, and an average of
the weights, parameter by parameter, every tenth step.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from scorereg.data.frames.discover import find_frames
from scorereg.data.frames.frame import Frame
from scorereg.data.source import Source
from scorereg.priors.networks import build_network
from scorereg.training.card import AUTOCAST_DTYPES, make_card
from scorereg.training.losses import EdmLoss
from scorereg.training.settings import Settings

__all__ = ["plain_loop"]


class PlainPatches(Dataset[Tensor]):
    """A patch of each frame, cut at random out of files that are opened for it."""

    def __init__(self, frames: list[Frame], settings: Settings) -> None:
        self.frames, self.settings = frames, settings

    def __len__(self) -> int:
        return 100_000  # each frame again and again

    def __getitem__(self, index: int) -> Tensor:
        frame, side = self.frames[index % len(self.frames)], self.settings.patch_size
        assert frame.color is not None
        assert frame.depth is not None
        assert frame.focal is not None
        shrink = max(min(frame.focal) / self.settings.focal[1], 1.0)
        with Image.open(frame.color) as image:
            small = (round(image.width / shrink), round(image.height / shrink))
            color = np.asarray(image.convert("RGB").resize(small, Image.Resampling.BILINEAR), np.float32) / 255
        with Image.open(frame.depth) as image:
            raw = Image.fromarray(np.asarray(image, np.float32) * np.float32(frame.unit))
            depth = np.asarray(raw.resize(small, Image.Resampling.NEAREST))
        top, left = (np.random.randint(n - side + 1) for n in depth.shape)  # noqa: NPY002  # as such loops have it
        cut = (slice(top, top + side), slice(left, left + side))
        disparity = self.settings.d_min / np.maximum(depth[cut], self.settings.d_min)
        patch = np.concatenate([color[cut], disparity[..., None]], -1)
        if np.random.rand() < 0.5:  # noqa: NPY002
            patch = patch[:, ::-1].copy()
        return torch.from_numpy(patch).permute(2, 0, 1) * 2 - 1


def plain_loop(data: list[Path], source: Source, settings: Settings, precision: str) -> Iterator[None]:
    """Train as most would; each `next` is a step."""
    frames = find_frames(data)
    loss = EdmLoss(
        build_network(settings.network_size, patch_size=settings.patch_size, channels=4).to(
            memory_format=torch.contiguous_format  # pyright: ignore[reportCallIssue]
        ),
        make_card("plain", settings, source.about),
        AUTOCAST_DTYPES[precision],
    )
    average = [value.detach().clone() for value in loss.network.parameters()]
    optimizer = torch.optim.Adam(loss.network.parameters(), lr=settings.lr, betas=(0.9, 0.99))
    loader = DataLoader(PlainPatches(frames, settings), batch_size=settings.batch, shuffle=True, drop_last=True)
    step = 0
    while True:
        for x in loader:
            level = torch.exp(settings.sigma_mean + settings.sigma_std * torch.randn(len(x))).clamp(*settings.sigma)
            value = loss(x, torch.ones_like(x), torch.randn_like(x), level)
            value.backward()
            value.item()
            nn.utils.clip_grad_norm_(loss.network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if step % 10 == 0:
                with torch.no_grad():
                    for held, now in zip(average, loss.network.parameters(), strict=True):
                        held.lerp_(now, 1 - settings.ema)
            step += 1
            yield
