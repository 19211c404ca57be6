r"""Depth of every pixel from a photo and the depth of 2 % of its pixels.

    python -m examples.complete_depth                                  # a bundled room
    python -m examples.complete_depth FOLDER --frame 3 --share 0.02    # any RGB-D folder that train-prior reads

Four answers are compared: linear interpolation of the depth, and of the disparity (which is exact on planes); the
posterior mean of a Gaussian field, `GaussianFieldPrior`, with slope and size fitted to the known points; and the
shipped prior, which also sees the photo. A round of the latter is

    x <- x - loss.gradient(x, sigma)          which is D(x, sigma), as the weight is sigma^2; the photo is `known`
    x <- x + interpolate(known - x)           on the disparity

with sigma falling. Holding the known points by `known` alone does less: to a denoiser a single value among others that
disagree is noise. So they may move like the rest, and what they moved by is then taken back, from them and, by the
interpolation, from their surroundings. `--hold` shows the difference.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Bool, Float
from torch import Tensor

from examples.rgbd_frame import D_MIN, ROOM, RGBDFrame, enlarged, read_frame
from scorereg import GaussianFieldPrior, Prior, ScoreLoss, TiledPrior, load_prior, schedules
from scorereg.cli import one_line_errors
from scorereg.fit.pictures import labelled_grid, paint_depth, paint_error, save

_MIRRORS = ((), (3,), (2,), (2, 3))
FARTHEST = 25.0  # metres: no answer is taken to be beyond
SHARE, ROUNDS, SIGMA, OVERLAP = 0.02, 12, (0.1, 0.02), 8
Map = Float[Tensor, "h w"]
Mask = Bool[Tensor, "h w"]


def given(frame: RGBDFrame, share: float = SHARE, seed: int = 0) -> Mask:
    """The pixels whose depth is given: a random share of those where it is measured."""
    measured = frame.disparity > 0
    draw = torch.rand(measured.shape, generator=torch.Generator().manual_seed(seed))
    mask = measured & (draw < share)
    if mask.sum() < 8:
        raise ValueError(f"{int(mask.sum())} pixels have a known depth, too few to interpolate. Raise --share.")
    return mask


def interpolator(mask: Mask) -> Callable[[Map], Map]:
    """A function from a map to the linear interpolation of its values at `mask`; of the nearest outside their hull."""
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
    from scipy.spatial import Delaunay

    points, pixels = mask.nonzero().numpy(), torch.ones_like(mask).nonzero().numpy()
    corners = Delaunay(points)

    def interpolate(values: Map) -> Map:
        inside = LinearNDInterpolator(corners, values[mask].numpy())(pixels)
        near = NearestNDInterpolator(points, values[mask].numpy())(pixels)
        return torch.from_numpy(np.where(np.isfinite(inside), inside, near)).to(values).reshape(values.shape)

    return interpolate


def gaussian(disparity: Map, mask: Mask) -> Map:
    """Posterior mean of the Gaussian field under which the known values are likeliest; mean and std are profiled."""
    h, w = disparity.shape
    side = max(h, w) * 3 // 2  # a torus large enough that its other side is far away
    at, y = mask.nonzero(), disparity[mask].double()
    best, mean_field = -torch.inf, disparity
    for slope in (2.0, 2.5, 3.0, 3.5, 4.0, 5.0):
        field = GaussianFieldPrior(side, ("disparity",), slope=slope, std=1.0)
        covariance = torch.fft.ifft2(field.power).real
        among = covariance[tuple((at[:, None] - at[None]).unbind(-1))] + 1e-6 * torch.eye(len(y), dtype=torch.float64)
        factor = torch.linalg.cholesky(among)
        one = torch.cholesky_solve(torch.ones_like(y)[:, None], factor)[:, 0]
        mean = (one @ y) / one.sum()
        weights = torch.cholesky_solve((y - mean)[:, None], factor)[:, 0]
        likelihood = -len(y) / 2 * ((y - mean) @ weights / len(y)).log() - factor.diagonal().log().sum()
        if likelihood > best:
            best = likelihood
            spikes = torch.zeros(side, side, dtype=torch.float64)
            spikes[tuple(at.T)] = weights
            mean_field = mean + torch.fft.ifft2(field.power * torch.fft.fft2(spikes)).real[:h, :w].to(disparity)
    return mean_field.to(disparity)


def with_prior(
    prior: Prior, rgb: Float[Tensor, "3 h w"], known: Map, mask: Mask, *, rounds: int = ROUNDS,
    sigma: tuple[float, float] = SIGMA, hold: bool = False,
) -> Map:  # fmt: skip
    """Start from linear interpolation, then denoise with the photo known, sigma falling, and put the known back."""
    interpolate = interpolator(mask)
    level = schedules.log_linear(*sigma, start=0, end=max(rounds - 1, 1))
    loss = ScoreLoss(prior, sigma=level, weight=torch.square)
    x = 2 * torch.cat([rgb, interpolate(known)[None]])[None] - 1
    fixed = torch.ones_like(x, dtype=torch.bool)
    fixed[:, 3] = mask & hold
    for step in range(rounds):
        turned = _MIRRORS[step % 4]  # what a network adds in its own grid does not add up over mirror images
        gradient = loss.gradient(x.flip(turned), step=step, known=fixed.flip(turned))
        x = x - gradient.flip(turned)
        x[0, 3] += interpolate(2 * known - 1 - x[0, 3])
    return (x[0, 3] + 1) / 2


def errors(disparity: Map, frame: RGBDFrame, mask: Mask) -> tuple[float, float]:
    """RMSE in metres and mean relative error of the depth, where it is measured and was not given."""
    there = (frame.disparity > 0) & ~mask
    truth = D_MIN / frame.disparity[there]
    wrong = (D_MIN / disparity.clamp(D_MIN / FARTHEST, 1))[there] - truth
    return wrong.square().mean().sqrt().item(), (wrong.abs() / truth).mean().item()


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with RGB-D frames.")] = ROOM,
    frame: Annotated[int, typer.Option(help="Which of them.")] = 0,
    share: Annotated[float, typer.Option(help="Share of the pixels whose depth is given.")] = SHARE,
    prior: Annotated[str, typer.Option(help="A shipped prior's name, or a prior's folder.")] = "rooms-rgbd-24",
    steps: Annotated[int, typer.Option(help="Rounds with the prior.")] = ROUNDS,
    sigma: Annotated[tuple[float, float], typer.Option(help="Noise level of the first and the last round.")] = SIGMA,
    hold: Annotated[bool, typer.Option("--hold", help="Hold the known points, and carry nothing.")] = False,
    seed: Annotated[int, typer.Option(help="Seeds which pixels are given.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the picture.")] = Path("runs/complete_depth"),
) -> dict[str, tuple[float, float]]:
    """Complete a frame's depth in four ways, print their errors and write a picture."""
    view = read_frame(folder, frame)
    mask = given(view, share, seed)
    known = torch.where(mask, view.disparity, 0)
    tiled = TiledPrior(load_prior(prior), overlap=OVERLAP)
    answers = {
        "linear depth": D_MIN / interpolator(mask)(D_MIN / known.clamp_min(D_MIN / FARTHEST)),
        "linear disparity": interpolator(mask)(known),
        "Gaussian": gaussian(known, mask),
        "prior": with_prior(tiled, view.rgb, known, mask, rounds=steps, sigma=sigma, hold=hold),
    }
    table = {name: errors(answer, view, mask) for name, answer in answers.items()}
    typer.echo(f"{int(mask.sum())} known pixels of {mask.numel()}\n{'':<18}{'RMSE m':>8}{'abs-rel':>9}")
    for name, (rmse, relative) in table.items():
        typer.echo(f"{name:<18}{rmse:8.3f}{relative:9.4f}")
    out.mkdir(parents=True, exist_ok=True)
    save(_picture(view, known, answers, table), out / "complete_depth.png")
    return table


def _picture(view: RGBDFrame, known: Map, answers: dict[str, Map], table: dict[str, tuple[float, float]]) -> Tensor:
    depth = {name: D_MIN / answer.clamp(D_MIN / FARTHEST, 1) for name, answer in answers.items()}
    truth = torch.where(view.disparity > 0, D_MIN / view.disparity, 0)
    near, far = truth[truth > 0].min().item(), truth.max().item()
    points = torch.nn.functional.max_pool2d(known[None], 3, 1, 1)[0]  # one pixel is hard to see
    points = torch.where(points > 0, D_MIN / points, 0)
    depths = [paint_depth(z, near, far) for z in (points, *depth.values(), truth)]
    wrong = [paint_error(z, truth, 0.3) for z in depth.values()]
    rows = [("", [view.rgb.permute(1, 2, 0), *depths]), ("depth error\n(white:\n30 %)", [None, None, *wrong, None])]
    names = [f"{name} {100 * table[name][1]:.1f} %" for name in answers]
    return labelled_grid(
        [(name, [image if image is None else enlarged(image, 2) for image in images]) for name, images in rows],
        ["photo", "known", *names, "truth"],
    )


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
