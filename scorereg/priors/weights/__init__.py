"""Weights on disk: which file of a folder holds them, their tensors, and a network filled with them. No code is run."""

from scorereg.priors.weights.archive import read_content
from scorereg.priors.weights.choice import WeightFiles, find_weights
from scorereg.priors.weights.names import plain_names
from scorereg.priors.weights.network import check_filled, fill_network
from scorereg.priors.weights.other_formats import other_format
from scorereg.priors.weights.settings import describing, known_settings
from scorereg.priors.weights.tensors import (
    CHECKSUM,
    check_finite_module,
    checksum,
    float_weights,
    header_shapes,
    is_safetensors,
    metadata_of,
    read_tensors,
)

__all__ = [
    "CHECKSUM",
    "WeightFiles",
    "check_filled",
    "check_finite_module",
    "checksum",
    "describing",
    "fill_network",
    "find_weights",
    "float_weights",
    "header_shapes",
    "is_safetensors",
    "known_settings",
    "metadata_of",
    "other_format",
    "plain_names",
    "read_content",
    "read_tensors",
]
