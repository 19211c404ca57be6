"""Gaussian splatting in plain torch, fitted to three photos; a prior joins from outside, by `ScoreLoss.attach`."""
