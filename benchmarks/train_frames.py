"""Frames to time a training on where no data are given: smooth colour and depth, as large as a reduced photo."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["write_frames"]

WIDTH, HEIGHT, FOCAL = 320, 240, 260.0


def write_frames(folder: Path, frames: int = 48) -> Path:
    """Write a scene: JPEG photos, depth maps of 16 bits in millimetres, `transforms.json`."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    entries = []
    for i in range(frames):
        color, depth = _smooth(generator, 3), _smooth(generator, 1)[..., 0]
        Image.fromarray((255 * color).astype(np.uint8)).save(folder / f"{i}.jpg", quality=95)
        Image.fromarray((800 + 5000 * depth).astype(np.uint16)).save(folder / f"{i}.png")
        entries.append({"file_path": f"{i}.jpg", "depth_file_path": f"{i}.png", "fl_x": FOCAL})
    (folder / "transforms.json").write_text(json.dumps({"frames": entries}), encoding="utf-8")
    return folder


def _smooth(generator: np.random.Generator, channels: int) -> np.ndarray:
    """Noise of falling power with frequency, in [0, 1]."""
    wave = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    gain = 1 / np.maximum(wave, 1 / WIDTH) ** 1.5
    noise = np.fft.rfft2(generator.normal(size=(channels, HEIGHT, WIDTH)))
    value = np.fft.irfft2(noise * gain, s=(HEIGHT, WIDTH)).transpose(1, 2, 0)
    low, high = value.min((0, 1)), value.max((0, 1))
    return (value - low) / (high - low)
