"""Materials by chance: plain, procedural and from pictures, for walls, floors, furniture and what hangs on walls.

Colours are linear reflectances. Procedural pictures tile, but for paintings.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from examples.synthetic_rooms.parts import Material

__all__ = ["any_surface", "floor", "painting", "plain", "sky", "wall"]

Rng = np.random.Generator
PIXELS = 256


def plain(rng: Rng, low: float = 0.05, high: float = 0.85) -> Material:
    """One colour, more often muted than bright; a third of them glossy."""
    r, g, b = _colour(rng, low, high)
    return Material((r, g, b), gloss=float(rng.uniform(0.05, 0.4)) if rng.random() < 0.35 else None)


def wall(rng: Rng, images: list[Path]) -> Material:
    """Paint, plaster, wallpaper, bricks, tiles or boards."""
    kind = rng.random()
    base = _colour(rng, 0.35, 0.85)
    if kind < 0.35:
        return Material((base[0], base[1], base[2]))
    if kind < 0.55:
        return Material(pixels=_blend(_noise(rng, rng.uniform(0.8, 1.6)), base, base, rng.uniform(0.05, 0.25), rng))
    if kind < 0.93:
        pattern = _pick(rng, [_stripes, _dots, _bricks, _tiles, _checks, _planks])
        return Material(pixels=_coloured(rng, pattern, base), repeat=_repeat(rng, 0.4, 1.5), gloss=_sometimes(rng, 0.2))
    return Material(image=_pick(rng, images), repeat=_repeat(rng, 0.4, 1.2))


def floor(rng: Rng, images: list[Path]) -> Material:
    """Boards, tiles, stone or carpet."""
    kind = rng.random()
    wood = np.array([0.45, 0.27, 0.14]) * rng.uniform(0.4, 1.6) * rng.uniform(0.85, 1.15, 3)
    if kind < 0.4:
        return Material(pixels=_coloured(rng, _planks, np.clip(wood, 0.02, 0.8)), repeat=_repeat(rng, 0.5, 1.2),
                        gloss=_sometimes(rng, 0.5))  # fmt: skip
    if kind < 0.75:
        pattern = _pick(rng, [_tiles, _checks, _bricks])
        base = _colour(rng, 0.1, 0.75)
        return Material(pixels=_coloured(rng, pattern, base), repeat=_repeat(rng, 0.3, 1.0), gloss=_sometimes(rng, 0.4))
    if kind < 0.93:
        base = _colour(rng, 0.05, 0.6)
        return Material(pixels=_blend(_noise(rng, 0.3), base, base * 0.7, 0.3, rng), repeat=_repeat(rng, 0.5, 2))
    return Material(image=_pick(rng, images), repeat=_repeat(rng, 0.4, 1.2))


def any_surface(rng: Rng, images: list[Path], low: float = 0.04, high: float = 0.9) -> Material:
    """What boxes, rugs, books and repainted furniture are made of."""
    kind = rng.random()
    if kind < 0.35:
        return plain(rng, low, high)
    if kind < 0.85:
        pattern = _pick(rng, [_stripes, _dots, _checks, _planks, _noise_pattern, _weave])
        return Material(pixels=_coloured(rng, pattern, _colour(rng, low, high)), repeat=_repeat(rng, 1, 6),
                        gloss=_sometimes(rng, 0.25))  # fmt: skip
    return Material(image=_pick(rng, images), repeat=_repeat(rng, 0.7, 3))


def painting(rng: Rng, images: list[Path]) -> Material:
    """A picture for a wall: a picture file, flat shapes on a ground, or a landscape of noise."""
    kind = rng.random()
    if kind < 0.35:
        return Material(image=_pick(rng, images))
    if kind < 0.7:
        pixels = np.ones((PIXELS, PIXELS, 3)) * _colour(rng, 0.05, 0.9)
        y, x = np.mgrid[:PIXELS, :PIXELS] / PIXELS
        for _ in range(rng.integers(3, 25)):
            cx, cy, a, b = rng.uniform(0, 1, 2).tolist() + rng.uniform(0.03, 0.35, 2).tolist()
            inside = (abs(x - cx) < a) & (abs(y - cy) < b)
            if rng.random() < 0.5:
                inside = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
            pixels[inside] = _colour(rng, 0.02, 0.95)
        return Material(pixels=pixels.astype(np.float32), gloss=_sometimes(rng, 0.3))
    ridge = 0.3 + 0.4 * rng.random() + 0.3 * (_noise(rng, 1.6)[0] - 0.5)
    y = np.linspace(0, 1, PIXELS)[:, None]
    above, below = _colour(rng, 0.3, 0.9), _colour(rng, 0.03, 0.4)
    land = (y > ridge[None])[..., None]
    shade = (0.6 + 0.8 * _noise(rng, 1.0))[..., None]
    return Material(pixels=np.clip(np.where(land, below * shade, above * (1.2 - 0.4 * y[..., None])), 0, 0.95))


def sky(rng: Rng, strength: float) -> Material:
    """What is behind a window, as light: bright above, duller things below a blurred horizon."""
    y = np.linspace(0, 1, 32)[:, None]
    horizon = 1 / (1 + np.exp((y - rng.uniform(0.35, 0.8)) * rng.uniform(8, 40)))
    above = np.array([0.75, 0.9, 1.1]) if rng.random() < 0.7 else np.array([1.1, 0.85, 0.65])
    below = _colour(rng, 0.08, 0.5)
    dapple = 0.7 + 0.6 * _noise(rng, 1.0)[:32, :32]
    pixels = (horizon[..., None] * above + (1 - horizon[..., None]) * below * dapple[..., None]) * strength
    return Material(pixels=pixels.astype(np.float32), glows=(1.0, 1.0, 1.0))


def _colour(rng: Rng, low: float, high: float) -> np.ndarray:
    """Muted mostly: a grey that is moved towards a hue by a chance that favours small shares."""
    grey = rng.uniform(low, high)
    hue = rng.random(3)
    mix = rng.beta(0.9, 2)
    return np.clip(grey * (1 - mix) + mix * (low + (high - low) * hue), 0.01, 0.95)


def _pick(rng: Rng, things: list):
    return things[int(rng.integers(len(things)))]


def _repeat(rng: Rng, low: float, high: float) -> tuple[float, float]:
    value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return value, value


def _sometimes(rng: Rng, chance: float) -> float | None:
    return float(rng.uniform(0.05, 0.35)) if rng.random() < chance else None


def _noise(rng: Rng, decay: float) -> np.ndarray:
    """Tiling noise in [0, 1] with power that falls with frequency."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(PIXELS), np.fft.fftfreq(PIXELS)))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((PIXELS, PIXELS))) * frequency**-decay
    spectrum[0, 0] = 0
    value = np.fft.ifft2(spectrum).real
    return np.clip(0.5 + value / (4 * value.std()), 0, 1)


def _blend(share: np.ndarray, a: np.ndarray, b: np.ndarray, grain: float, rng: Rng) -> np.ndarray:
    """Mix two colours by a share, with grain of some relative size on top."""
    mixed = share[..., None] * a + (1 - share[..., None]) * b
    return np.clip(mixed * (1 + grain * (2 * _noise(rng, 0.6)[..., None] - 1)), 0.01, 0.95).astype(np.float32)


def _coloured(rng: Rng, pattern: Callable[[Rng], np.ndarray], base: np.ndarray) -> np.ndarray:
    """A pattern in two colours, the second a darker, lighter or other one."""
    other = base * rng.uniform(0.35, 0.9) if rng.random() < 0.7 else _colour(rng, 0.05, 0.9)
    return _blend(pattern(rng), base, other, rng.uniform(0.05, 0.35), rng)


def _grid(count_x: int, count_y: int) -> tuple[np.ndarray, ...]:
    """Cell numbers and places within cells, for x and y."""
    y, x = np.mgrid[:PIXELS, :PIXELS] / PIXELS
    x, y = x * count_x, y * count_y
    return np.floor(x).astype(int), np.floor(y).astype(int), x % 1, y % 1


def _stripes(rng: Rng) -> np.ndarray:
    _, _, x, _ = _grid(int(rng.integers(2, 16)), 1)
    return (x < rng.uniform(0.2, 0.8)).astype(float)


def _dots(rng: Rng) -> np.ndarray:
    count = int(rng.integers(3, 12))
    _, _, x, y = _grid(count, count)
    return (np.hypot(x - 0.5, y - 0.5) > rng.uniform(0.15, 0.4)).astype(float)


def _checks(rng: Rng) -> np.ndarray:
    count = 2 * int(rng.integers(1, 5))
    i, j, _, _ = _grid(count, count)
    return ((i + j) % 2).astype(float)


def _joints(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """0 in the joints between cells, 1 within."""
    return ((x > width) & (y > height)).astype(float)


def _tiles(rng: Rng) -> np.ndarray:
    count = int(rng.integers(2, 7))
    i, j, x, y = _grid(count, count)
    shade = rng.uniform(0.75, 1, (count, count))
    return _joints(x, y, 0.04, 0.04) * shade[j % count, i % count]


def _bricks(rng: Rng) -> np.ndarray:
    rows, columns = 2 * int(rng.integers(3, 6)), int(rng.integers(2, 5))
    y, x = np.mgrid[:PIXELS, :PIXELS] / PIXELS
    j = np.floor(y * rows).astype(int)
    x = (x * columns + 0.5 * (j % 2)) % columns
    shade = rng.uniform(0.6, 1, (rows, columns))
    return _joints(x % 1, (y * rows) % 1, 0.06, 0.12) * shade[j, np.floor(x).astype(int)]


def _planks(rng: Rng) -> np.ndarray:
    rows = int(rng.integers(4, 12))
    y, x = np.mgrid[:PIXELS, :PIXELS] / PIXELS
    j = np.floor(y * rows).astype(int)
    x = (x + rng.random(rows)[j]) % 1
    shade = rng.uniform(0.45, 1, (rows, 2))[j, (x < 0.5).astype(int)]
    grain = 0.85 + 0.3 * np.roll(_noise(rng, 0.9), 7, 0)[:, (np.arange(PIXELS) // 6) % PIXELS].T.mean(0)[None]
    return np.clip(_joints((2 * x) % 1, (y * rows) % 1, 0.012, 0.04) * shade * grain, 0, 1)


def _weave(rng: Rng) -> np.ndarray:
    count = int(rng.integers(12, 40))
    i, j, x, y = _grid(count, count)
    return np.where((i + j) % 2, np.sin(np.pi * x), np.sin(np.pi * y))


def _noise_pattern(rng: Rng) -> np.ndarray:
    share = _noise(rng, rng.uniform(0.5, 1.8))
    return (share > 0.5).astype(float) if rng.random() < 0.3 else share
