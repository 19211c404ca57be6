"""Draws of every sampler against the exact posterior of a Gaussian field: `python -m benchmarks.posterior`.

For each sampler: relative error of the mean of 2,000 draws, mean relative error of the pixels' variances, relative
error of the covariance matrix, the draws' variance over the exact one, and CPU seconds. The error of the mean that
2,000 exact draws have is printed first.
"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from scorereg import GaussianFieldPrior, sample_posterior
from scorereg.cli import one_line_errors
from scorereg.restoration import Draws

SIDE, NOISE, DRAWS = 6, 0.1, 2000


class Case:
    """Some pixels of a field, and the exact mean and covariance of the whole field given them."""

    def __init__(self) -> None:
        self.prior = GaussianFieldPrior(size=SIDE, channels=("gray",), slope=3.0)
        generator = torch.Generator().manual_seed(3)
        self.mask = torch.rand(SIDE, SIDE, generator=generator) > 0.3
        self.truth = 2 * self.prior.sample(1, generator=generator)  # so that the mean is well above its own error
        clean = self.measure(self.truth)
        self.y = clean + NOISE * torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        pixels = torch.eye(SIDE**2, dtype=torch.float64).reshape(-1, 1, SIDE, SIDE)
        operator = self.measure(pixels).T
        field = torch.fft.ifft2(self.prior.power * torch.fft.fft2(pixels)).real.reshape(SIDE**2, SIDE**2)
        self.covariance = torch.linalg.inv(torch.linalg.inv(field) + operator.T @ operator / NOISE**2)
        self.mean = self.covariance @ operator.T @ self.y[0] / NOISE**2

    def measure(self, x: Tensor) -> Tensor:
        """Return twice the value of some pixels."""
        return 2 * x[:, 0, self.mask]

    def draw(self, method: Any, draws: int = DRAWS, **settings: Any) -> Draws:
        """Draw from the posterior by one of the samplers."""
        settings = {"noise": NOISE, "size": (SIDE, SIDE), "show": False, **settings}
        return sample_posterior(self.measure, self.y, self.prior, method=method, draws=draws, **settings)

    def errors(self, found: Draws) -> tuple[float, float, float]:
        """Relative error of the mean, and of the pixels' variances on average, and of the covariance."""
        x = found.images.reshape(len(found.images), -1)
        mean = (x.mean(0) - self.mean).norm() / self.mean.norm()
        variance = (x.var(0) / self.covariance.diagonal() - 1).abs().mean()
        return mean.item(), variance.item(), ((x.T.cov() - self.covariance).norm() / self.covariance.norm()).item()


def geometric(first: float, last: float, count: int) -> Tensor:
    """Falling levels with a last one of 0."""
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    return torch.cat([first ** (1 - share) * last**share, torch.zeros(1, dtype=torch.float64)])


EXACT: dict[str, dict[str, Any]] = {
    "langevin": {"levels": geometric(1.0, 0.05, 30), "inner": 8, "step": 1.0},
    "moment": {"steps": 120, "sigma": (5.0, 0.01)},
}
BIASED: dict[str, dict[str, Any]] = {
    "pigdm": {"steps": 120, "sigma": (5.0, 0.01)},
    "diffpir": {"steps": 120, "sigma": (5.0, 0.01)},
    "diffpir, zeta 0.3": {"steps": 120, "sigma": (5.0, 0.01), "zeta": 0.3},
    "dps": {"steps": 120, "sigma": (5.0, 0.01)},
    "dps, weight 10": {"steps": 120, "sigma": (5.0, 0.01), "weight": 10.0},
}


def main(out: Annotated[Path | None, typer.Option("--json", help="File to write the figures to.")] = None) -> None:
    """Print and write the errors."""
    case = Case()
    floor = ((case.covariance.trace() / DRAWS).sqrt() / case.mean.norm()).item()
    print(f"exact draws: mean {floor:.3f}")
    rows = []
    for name, settings in (EXACT | BIASED).items():
        began = time.process_time()
        found = case.draw(name.partition(",")[0], **settings)
        mean, variance, covariance = case.errors(found)
        share = found.images.reshape(DRAWS, -1).var(0).mean() / case.covariance.diagonal().mean()
        row: dict[str, Any] = {"sampler": name, "calls": found.calls, "mean": mean, "variance": variance}
        row |= {"covariance": covariance, "share": share.item(), "cpu_seconds": time.process_time() - began}
        rows.append({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
        print("  ".join(str(value) for value in rows[-1].values()), flush=True)
    if out:
        about = {"side": SIDE, "noise": NOISE, "draws": DRAWS, "floor": round(floor, 3), "rows": rows}
        out.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
