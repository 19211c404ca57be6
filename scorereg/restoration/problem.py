r"""A measurement of an image as whitened residuals: what every method of restoration needs of it.

    y = measure(u) + noise n,   n ~ N(0, I)          u the image in the user's range, any shape of y
    r(x) = (measure(u(x)) - y) / noise               x the image in prior space
    -log p(y | x) = |r(x)|^2 / 2 + const

An operator is linear if measure(u) - measure(0) is; A is then that part of it in prior space and in units of the noise.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Measure", "Problem", "sums"]

Measure = Callable[[Tensor], Tensor]
_TOLERANCE = 1e-3  # relative, of the check of linearity in float32


class Problem:
    """Residuals of a measurement, with products by the operator and its adjoint if it is linear.

    Args:
        measure: Differentiable function of images `b c *space` in the user's range; returns what `y` is, of any shape
            that begins with the batch, real or complex.
        y: The measurement.
        noise: Standard deviation of the noise in units of `y`, > 0: a number, or a tensor that broadcasts to `y`. Of
            complex values, that of the real and the imaginary part.
        shape: Shape of the image, `b c *space`.
        units: Offset and scale of the user's range, u = offset + scale x.
        linear: Whether the operator is linear; by default it is tried out.

    Raises:
        ValueError: If measurement, noise and operator do not fit, or the operator is random or not differentiable.
    """

    def __init__(
        self,
        measure: Measure,
        y: Tensor,
        noise: float | int | Tensor,
        shape: tuple[int, ...],
        units: tuple[float, float] = (0.0, 1.0),
        linear: bool | None = None,
    ) -> None:
        if not callable(measure):
            raise ValueError(f"measure must be a function of images, but is a {type(measure).__name__}.")
        self.measure, self.shape = measure, shape
        self.offset, self.unit = units
        self.y = torch.view_as_real(y) if y.is_complex() else y
        self.dtype = torch.promote_types(self.y.dtype, torch.float32)
        self.y = self.y.to(self.dtype)
        self.noise = self._noise(noise, y)
        with torch.no_grad():
            self.zero = self._answer(self._like(0.0)).detach()  # A x = answer(x) - zero
            trial = self._trial(0)
            self.answer_of_trial = self._answer(trial)
            self._check_repeats(trial)
        self._inputs, self._outputs = self._graph(trial)
        self.linear = self._is_linear(trial) if linear is None else linear

    def to_user(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Return images of prior space in the user's range."""
        return self.offset + self.unit * x

    def to_prior(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
        """Return images of the user's range in prior space."""
        return (image.to(self.dtype) - self.offset) / self.unit

    def residual(self, x: Float[Tensor, "b c *space"]) -> Tensor:
        """Return r(x), the misfit of the measurement in units of its noise."""
        return (self._answer(x) - self.y) / self.noise

    def residual_rms(self, x: Float[Tensor, "b c *space"]) -> Float[Tensor, " b"]:
        """Return the root mean square of r(x) for each image; about 1 for the truth."""
        with torch.no_grad():
            return self.residual(x).square().flatten(1).mean(1).sqrt()

    def gradient(self, x: Float[Tensor, "b c *space"]) -> tuple[Float[Tensor, " b"], Float[Tensor, "b c *space"]]:
        """Return |r(x)|^2 / 2 of each image and its gradient."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            value = self.residual(x).square().flatten(1).sum(1) / 2
            return value.detach(), torch.autograd.grad(value.sum(), x)[0]

    def forward(self, v: Float[Tensor, "b c *space"]) -> Tensor:
        """Return A v of a linear operator, in units of the noise."""
        with torch.no_grad():
            return (self._answer(v) - self.zero) / self.noise

    def adjoint(self, w: Tensor) -> Float[Tensor, "b c *space"]:
        """Return A^T w of a linear operator, by a backward pass through it."""
        return torch.autograd.grad(self._outputs, self._inputs, w / self.noise, retain_graph=True)[0]

    def _answer(self, x: Tensor) -> Tensor:
        out = self.measure(self.to_user(x))
        if not isinstance(out, Tensor):
            raise ValueError(f"measure must return a tensor like y, but returned a {type(out).__name__}.")
        out = torch.view_as_real(out) if out.is_complex() else out
        if out.shape != (len(x), *self.y.shape[1:]):
            raise ValueError(
                f"measure makes {tuple(out.shape)} of an image {tuple(x.shape)}, but y has the shape "
                f"{tuple(self.y.shape)}. Give size=, the image's height and width, if y's are others."
            )
        return out.to(self.dtype)

    def _noise(self, noise: Any, y: Tensor) -> Any:
        """The noise as a number, or as a tensor of the measurement's shape."""
        if isinstance(noise, bool) or not isinstance(noise, int | float | Tensor):
            raise ValueError(f"noise must be a number or a tensor, but is {noise!r}.")
        value = torch.as_tensor(noise, dtype=self.dtype, device=y.device)
        if not bool(((value > 0) & (value < math.inf)).all()):
            raise ValueError(
                f"noise is the standard deviation of y's noise and must be > 0, but is {_shown(noise)}. For values "
                "without noise give a small one, such as 0.002 of y's range, or hold them by known=."
            )
        if value.ndim == 0:
            return value.item()
        try:
            value = value.expand(y.shape)
        except RuntimeError:
            raise ValueError(
                f"noise has the shape {tuple(value.shape)}, which does not fit to y's, {tuple(y.shape)}."
            ) from None
        return value[..., None].expand(self.y.shape) if y.is_complex() else value

    def _like(self, value: float) -> Tensor:
        return torch.full(self.shape, value, dtype=self.dtype, device=self.y.device)

    def _trial(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return (0.5 * torch.randn(self.shape, generator=generator)).clamp(-1, 1).to(self.y.device, self.dtype)

    def _check_repeats(self, x: Tensor) -> None:
        if not torch.allclose(self._answer(x), self.answer_of_trial, rtol=1e-3, atol=1e-5):
            raise ValueError(
                "measure gives another answer each time it is called with the same image. Give the operator without "
                "its noise (in deepinv `physics.A`, not `physics`), and the noise's size by noise=."
            )

    def _graph(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """An image and its answer with the graph between them, for products with the adjoint."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = self._answer(x)
        if not out.requires_grad or torch.autograd.grad(out.sum(), x, retain_graph=True, allow_unused=True)[0] is None:
            raise ValueError(
                "measure has no gradient to the image. Compute it with torch alone, without detach(), numpy() and "
                "no_grad()."
            )
        return x, out

    def _is_linear(self, x: Tensor) -> bool:
        """Whether differences of answers add up and scale, up to rounding."""
        with torch.no_grad():
            other = self._trial(1)
            a, b = self.answer_of_trial - self.zero, self._answer(other) - self.zero
            both = self._answer(x + other) - self.zero
            half = self._answer(-0.5 * x) - self.zero
            size = (a.abs() + b.abs()).mean() + self.zero.abs().mean() * 1e-3 + 1e-12
            wrong = torch.maximum((both - a - b).abs().mean(), (half + a / 2).abs().mean())
            return bool(wrong < _TOLERANCE * size)


def sums(values: Tensor, like: Tensor) -> Tensor:
    """Return the sum over each sample, with as many dimensions as another tensor so that it broadcasts to that."""
    return values.flatten(1).sum(1).reshape(-1, *[1] * (like.ndim - 1))


def _shown(noise: Any) -> str:
    return (
        f"a tensor from {noise.min().item():g} to {noise.max().item():g}" if isinstance(noise, Tensor) else repr(noise)
    )
