"""Texts and guidance of a text-conditioned model: checks, and the encoding of a text that tells what does not fit."""

import math
import warnings
from numbers import Real
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_texts", "encode_text"]


def check_texts(kind: str, prompt: Any, guidance: Any, negative_prompt: Any) -> None:
    """Check that both texts are one text each, and that the guidance is a number >= 0.

    Args:
        kind: What needs them, for the error.
        prompt: Description of the images.
        guidance: Scale of the guidance.
        negative_prompt: Text in place of the empty one.

    Raises:
        ValueError: If not.
    """
    if prompt is None:
        raise ValueError(f"a {kind} needs a text: load_prior(..., prompt='a photo of a chair', guidance=7.5).")
    for name, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if not isinstance(text, str):
            several = isinstance(text, list | tuple) and len(text) != 1
            cure = "Load one prior per text, or join them into one." if several else "Write it as 'a photo of a chair'."
            raise ValueError(f"{name} must be one text, but got {text!r:.60}. {cure}")
    number = isinstance(guidance, Real) and not isinstance(guidance, bool)
    if not number or not 0 <= float(guidance) < math.inf:
        raise ValueError(
            f"guidance must be a number >= 0, such as 7.5 (1: the model of the prompt alone), but got {guidance!r:.60}."
        )


@torch.no_grad()
def encode_text(tokenizer: Any, encoder: Any, text: str, name: str) -> Tensor:
    """Return the hidden states of a text; warn if it is longer than the encoder takes, with what is cut off.

    Args:
        tokenizer: Of transformers.
        encoder: Its text encoder.
        text: The text.
        name: The argument that it is, for the warning.
    """
    most = min(tokenizer.model_max_length, getattr(encoder.config, "max_position_embeddings", math.inf))
    words = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    room = most - len(tokenizer("").input_ids)  # without the marks of start and end
    if len(words) > room:
        rest = tokenizer.decode(words[room:])
        warnings.warn(
            f"{name} has {len(words)} tokens, but the text encoder takes {room} ({most} with start and end): "
            f"{rest[:80]!r}{' ...' if len(rest) > 80 else ''} is cut off. Shorten it.",
            stacklevel=4,
        )
    tokens = tokenizer(text, padding="max_length", max_length=most, truncation=True, return_tensors="pt")
    return encoder(tokens.input_ids.to(encoder.device))[0]
