"""Networks of diffusers and transformers that are no unconditional U-Net: what they are, and what to do."""

import re

__all__ = ["cure_of_model"]

_WHOLE = "Give the folder of the whole pipeline"
_BIND = "scorereg.wrap(lambda z, t: network(z, timestep=t, ...).sample, ...), for latents that you encode"
_KINDS = (  # a pattern of the class, and what to do with a network of it
    (r"^UNet(2D|1D)Model$", "Give its scheduler with it: scorereg.priors.from_diffusers(unet, scheduler)."),
    (
        r"^(Flax|TF)",
        "It is a network of Flax (JAX) or TensorFlow. Take the weights for torch, or convert it by diffusers: "
        "from_pretrained(folder, from_flax=True).",
    ),
    (
        r"ControlNet|T2IAdapter|Adapter$|LoRA|Lora",
        "It is an adapter, which changes another network's features and denoises nothing by itself. Bind it to its "
        "U-Net by scorereg.wrap(lambda z, t: ..., ...).",
    ),
    (
        r"Autoencoder|VQModel|VQ|VAE|MoVQ|Tiny",
        f"It is an autoencoder, which encodes images and denoises nothing. {_WHOLE}, whose U-Net denoises its latents.",
    ),
    (
        r"CLIP|T5|Bert|TextModel|TextEncoder|Llama|Qwen|Gemma|Vision|Siglip|Dinov",
        f"It is an encoder of texts or images, a part of a pipeline. {_WHOLE}, with prompt=.",
    ),
    (
        r"3D|SpatioTemporal|Motion|Video|Wan|Mochi|LTX|Allegro|Cosmos",
        f"It denoises latents of a video under a condition. Bind that: {_BIND}.",
    ),
    (
        r"^UNet2DConditionModel$|Kandinsky3UNet|StableCascade|Wuerstchen|UViT|UVit",
        "It is conditioned on a text or image: give the folder of its whole pipeline, with prompt=; or bind the "
        "condition: scorereg.wrap(lambda z, t: unet(z, t, encoder_hidden_states=...).sample, ...).",
    ),
    (
        r"Transformer|DiT|Prior$",
        f"It is a transformer that denoises latents under a condition (class or text). Bind that: {_BIND}.",
    ),
)


def cure_of_model(kind: str) -> str:
    """Return what to do with a network, by the name of its class.

    Args:
        kind: Such as `"FluxTransformer2DModel"`.
    """
    found = next((cure for pattern, cure in _KINDS if re.search(pattern, kind)), None)
    return found or "Wrap it: scorereg.wrap(network, prediction=..., betas=..., channels=(...))."
