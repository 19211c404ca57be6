"""Names of what a network predicts: those of `wrap`, and what other programs call them."""

from collections.abc import Sequence
from typing import Any

__all__ = ["PREDICTIONS", "check_prediction"]

PREDICTIONS = ("epsilon", "sample", "v_prediction", "velocity", "score", "denoised", "edm")
_FLOW = "'velocity' with flow=True, for a network of flow matching"
_ALIASES = {
    "'epsilon', the noise": (
        "eps", "noise", "pred_noise", "noise_prediction", "predict_noise", "epsilon_prediction", "pred_epsilon",
        "pred_eps", "predict_epsilon", "n",
    ),
    "'sample', the clean data": (
        "x0", "x_0", "x", "xstart", "x_start", "start_x", "pred_x0", "pred_xstart", "pred_x_start", "pred_original",
        "data", "clean", "image", "original", "x0_prediction", "sample_prediction", "pred_sample", "original_sample",
    ),
    "'v_prediction'": ("v", "pred_v", "vpred", "v_pred", "vprediction"),
    _FLOW: ("flow", "flow_prediction", "flow_matching", "rectified_flow", "vector_field", "rf", "pred_flow", "u"),
    "'score'": ("s", "pred_score", "score_prediction", "grad_log_p"),
    "'denoised', for D(x, sigma)": ("denoiser", "d", "posterior_mean", "mean", "pred_mean"),
    "'edm'": ("f", "karras", "edm_prediction"),
}  # fmt: skip


def check_prediction(name: Any, among: Sequence[str] = PREDICTIONS) -> None:
    """Check the name of what a network predicts.

    Args:
        name: The name.
        among: Those that are possible.

    Raises:
        ValueError: If it is another one; a name of other programs is translated.
    """
    if name in among:
        return
    if not name:
        raise ValueError(
            "wrap needs what the network predicts: prediction='epsilon' for the noise (DDPM), 'sample' for the clean "
            f"data, 'v_prediction', and further {', '.join(PREDICTIONS[3:])}."
        )
    plain = name.lower().replace("-", "_").replace(" ", "_") if isinstance(name, str) else ""
    for ours in among:
        if plain == ours:
            raise ValueError(f"no prediction is called {name!r}. Write prediction={ours!r}.")
    for ours, theirs in _ALIASES.items():
        if plain in theirs and ours.split("'")[1] in among:
            raise ValueError(f"no prediction is called {name!r} here. Give prediction={ours}.")
    raise ValueError(f"no prediction is called {name!r}; choose one of {', '.join(among)}.")
