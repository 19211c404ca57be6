"""`ScoreLoss`: a denoiser as a loss, a hook, an attachment to a module, or a gradient for arrays of any library."""

from scorereg.score_loss.attach import Attached
from scorereg.score_loss.gate import Gate
from scorereg.score_loss.gradient_scale import GradientReport
from scorereg.score_loss.loss import ScoreLoss
from scorereg.score_loss.vsd import Particles

__all__ = ["Attached", "Gate", "GradientReport", "Particles", "ScoreLoss"]
