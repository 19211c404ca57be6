"""Rows of `benchmarks.ops` for the hash grid: the paper's, of 16 levels and 2^19 slots, at a million points."""

import importlib.util
import statistics
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.ops_case import Case, both_ways, measure, ratio
from scorereg.ops import GridShape, hash_encode, tinycudann_config
from scorereg.ops._hash_encode.op import Backend

__all__ = ["rows"]

SHAPE = GridShape(16, 2, 19, 16, 2048, staggered=True)  # tiny-cuda-nn's, so that all compute the same


def rows(device: str, points: int = 2**20, repeats: int = 5) -> list[dict[str, Any]]:
    """Ours against each alternative that can run on the device, forward and backward to the table.

    What is compiled is compiled before the time is taken.
    """
    x = torch.rand(points, 3, device=device)
    runs = {"ours": _ours(x, "auto"), "eager torch": _ours(x, "eager")}
    if device == "cuda":
        runs["torch.compile"] = _ours(x, "compiled")
    if device == "cuda" and importlib.util.find_spec("tinycudann") is not None:
        runs["tinycudann"] = _tinycudann(x)
    what = f"16 levels x 2, 2^19, {points} points, forward and backward"
    taken = measure(Case("hash_encode", what, runs, repeats), device)
    ours = taken.pop("ours")
    return [
        {
            "op": "hash_encode",
            "case": what,
            "against": name,
            "ours_ms": round(statistics.median(ours), 3),
            "other_ms": round(statistics.median(other), 3),
            "ratio": round(ratio(ours, other), 3),
        }
        for name, other in taken.items()
    ]


def _ours(x: torch.Tensor, backend: Backend) -> Callable[[], None]:
    table = (1e-4 * torch.randn(sum(SHAPE.rows), SHAPE.features, device=x.device)).requires_grad_()
    return both_ways(lambda: (hash_encode(x, table, SHAPE, backend=backend),), [table])


def _tinycudann(x: torch.Tensor) -> Callable[[], None]:
    import tinycudann  # pyright: ignore[reportMissingImports]

    encoding = tinycudann.Encoding(3, tinycudann_config(SHAPE))
    return both_ways(lambda: (encoding(x),), [encoding.params])
