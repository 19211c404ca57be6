"""Weights along rays for training, made out of depth maps."""
