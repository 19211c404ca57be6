"""Callbacks of fits and of training: the protocol, and writers of JSON lines, TensorBoard and Weights & Biases."""

from scorereg.callbacks.protocol import Callback, Report, Run, Values, as_callback, begun
from scorereg.callbacks.writers import LOGS, JsonLines, TensorBoard, WandB, logs_of

__all__ = [
    "LOGS",
    "Callback",
    "JsonLines",
    "Report",
    "Run",
    "TensorBoard",
    "Values",
    "WandB",
    "as_callback",
    "begun",
    "logs_of",
]
