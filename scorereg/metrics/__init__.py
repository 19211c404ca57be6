"""Errors of images, depth maps and point clouds, in the variants that the literature of few views reports."""

from scorereg.metrics.clouds import Ball as Ball
from scorereg.metrics.clouds import Chamfer as Chamfer
from scorereg.metrics.clouds import ObservedVolume as ObservedVolume
from scorereg.metrics.clouds import chamfer as chamfer
from scorereg.metrics.images import average as average
from scorereg.metrics.images import depth_abs_rel as depth_abs_rel
from scorereg.metrics.images import on_white as on_white
from scorereg.metrics.images import psnr as psnr
from scorereg.metrics.perceptual import lpips as lpips
from scorereg.metrics.perceptual import lpips_lacks as lpips_lacks
from scorereg.metrics.uncertainty import ause as ause
from scorereg.metrics.uncertainty import rank_correlation as rank_correlation
from scorereg.metrics.windows import WINDOWS as WINDOWS
from scorereg.metrics.windows import ssim as ssim
from scorereg.metrics.windows import windows_count as windows_count

__all__ = [
    "WINDOWS", "Ball", "Chamfer", "ObservedVolume", "ause", "average", "chamfer", "depth_abs_rel", "lpips",
    "lpips_lacks", "on_white", "psnr", "rank_correlation", "ssim", "windows_count",
]  # fmt: skip
