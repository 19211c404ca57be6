"""The loop of docs/hook.md with gsplat; a stand-in returns what gsplat does: colours with depth, opacity, facts."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

PAGE = Path(__file__).parents[1] / "docs" / "hook.md"


def rasterization(*, means, quats, scales, opacities, render_mode):
    assert render_mode == "RGB+ED"
    rendered = torch.cat([means.sigmoid(), 2 + scales[..., :1]], -1).reshape(1, 24, 32, 4)
    return rendered, opacities.reshape(1, 24, 32, 1), {}


def test_the_loop_with_gsplat_runs_and_the_prior_moves_depth(monkeypatch):
    monkeypatch.setitem(sys.modules, "gsplat", SimpleNamespace(rasterization=rasterization))
    (code,) = re.findall(r"```py\n(from gsplat.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    code = code.replace('"cuda"', '"cpu"').replace(", ...)", ")").replace("30_000):", "1):").replace("15_000", "0")
    count = 24 * 32
    generator = torch.Generator().manual_seed(0)
    splats = {name: torch.rand(count, 3, generator=generator).requires_grad_() for name in ("means", "quats", "scales")}
    space = {"torch": torch, **splats, "opacities": torch.ones(count), "photo": torch.rand(1, 24, 32, 3)}
    exec(code, space)
    assert space["handle"].calls == 1
    assert splats["scales"].grad[:, 0].abs().sum() > 0, "no photo knows it, so it is from the prior alone"
    assert splats["means"].grad.abs().sum() > 0
