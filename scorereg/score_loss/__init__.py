"""`ScoreLoss`: a denoiser as a scalar loss, a hook on a tensor or a module, or a gradient for any array library."""

from scorereg.score_loss.attach import Attached
from scorereg.score_loss.gate import Gate
from scorereg.score_loss.gradient_scale import GradientReport
from scorereg.score_loss.loss import ScoreLoss
from scorereg.score_loss.vsd import Particles, RenderDenoiser

__all__ = ["Attached", "Gate", "GradientReport", "Particles", "RenderDenoiser", "ScoreLoss"]
