"""Checkpoints of other programs, recognised by the names of their tensors and refused with what to do instead."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scorereg.priors.weights import plain_names

__all__ = ["refusal"]

_OWN_CODE = "Make the network by its own code, load the file into it, and"
_KINDS = (  # a pattern, what the file is, and the cure
    (
        r"(^|[._])lora[._](A|B|up|down|embedding|unet)",
        "a LoRA, which is a change of another network's weights",
        "Load it into the pipeline that it was made for, and pass that: pipeline.load_lora_weights(folder); "
        "pipeline.fuse_lora(); load_prior(pipeline).",
    ),
    (
        r"(^|\.)(control_model|controlnet_cond_embedding|controlnet_down_blocks)\.",
        "a ControlNet, which changes another network's features and denoises nothing by itself",
        "Load it into the pipeline that it was made for, and bind its condition: scorereg.wrap(lambda z, t: ..., ...).",
    ),
    (
        r"(^|\.)(joint_blocks|double_blocks|single_blocks|transformer_blocks|single_transformer_blocks)\.\d+\.",
        "a transformer over latents (Stable Diffusion 3, Flux and their kin), conditioned on a text",
        "Load it by diffusers, and wrap it with the text bound: scorereg.wrap(lambda z, t: transformer(z, timestep=t, "
        "encoder_hidden_states=..., ...).sample, prediction='velocity', flow=True, channels=...).",
    ),
    (
        r"(^|\.)(model\.diffusion_model|first_stage_model|cond_stage_model)\.",
        "a checkpoint of latent diffusion (CompVis), whose prior is one over latents",
        "Convert it to a folder, StableDiffusionPipeline.from_single_file(file).save_pretrained(folder), and load "
        "that with prompt=.",
    ),
    (
        r"(^|\.)(out\.\d+\.positional_embedding|attnpool\.positional_embedding|layer[1-4]\.\d+\.conv1\.weight)$",
        "a classifier or encoder of images, which denoises nothing",
        "Give the checkpoint of the diffusion model.",
    ),
    (
        r"(^|\.)label_emb\.weight$",
        "a network of OpenAI's guided-diffusion that is conditioned on a class",
        "Make it by create_model_and_diffusion, load the file into it, and wrap it with a class bound: scorereg.wrap("
        "lambda z, t: model(z, t, y=torch.full((len(z),), 3)), prediction='epsilon', betas=..., channels=('r', 'g', "
        "'b')).",
    ),
    (
        r"(^|\.)input_blocks\.0\.0\.weight$",
        "a network of OpenAI's guided-diffusion or improved-diffusion, whose settings are not in the file",
        "Make it by create_model_and_diffusion, load the file into it, and wrap it: scorereg.wrap(model, "
        "prediction='epsilon', betas=scorereg.priors.linear_betas(), channels=('r', 'g', 'b')).",
    ),
    (
        r"(^|\.)down_blocks\.\d+\.(resnets|attentions|downsamplers)\.",
        "the weights of a diffusers network without its config.json and its scheduler",
        "Give the folder of the pipeline or model in place of the file; or make the network and pass it: "
        "scorereg.priors.from_diffusers(unet, scheduler, name='mine').",
    ),
    (
        r"(^|\.)(downs\.\d+\.\d+|mid_block1)\.block1\.proj\.weight$",
        "a network of denoising-diffusion-pytorch without its init_conv.weight, so the file is incomplete",
        "Copy or download it again, or save the whole state: torch.save(diffusion.state_dict(), file).",
    ),
    (
        r"(^|\.)temb\.dense\.0\.weight$",
        "a network of the original DDPM or DDIM code",
        f"{_OWN_CODE} wrap it: scorereg.wrap(model, prediction='epsilon', betas=scorereg.priors.linear_betas(), "
        "channels=('r', 'g', 'b')).",
    ),
    (
        r"(^|\.)all_modules\.\d+\.",
        "a network of score_sde (Song et al.)",
        f"{_OWN_CODE} wrap it with what it was trained with: for a variance exploding one scorereg.wrap(lambda z, t: "
        "network(z, t), prediction='score', time='sigma', sigma_range=(0.01, 50), data_range=(0, 1), channels=...).",
    ),
    (
        r"(^|\.)map_layer0\.weight$|(^|\.)enc\.\d+x\d+_(conv|block)",
        "a network of EDM or EDM2",
        f"{_OWN_CODE} pass it: load_prior(network).",
    ),
    (
        r"(^|\.)x_embedder\.proj\.weight$",
        "a diffusion transformer (DiT, SiT)",
        f"{_OWN_CODE} wrap it with its class label bound: scorereg.wrap(functools.partial(network, y=label), ...).",
    ),
    (
        r"(^|\.)(text_model|visual|vision_model|transformer\.resblocks)\.|(^|\.)encoder\.layers?\.\d+\.",
        "an encoder of texts or images (CLIP and its kin), which denoises nothing",
        "Give the folder of the whole pipeline, with prompt=.",
    ),
    (
        r"(^|\.)(quant_conv|post_quant_conv)\.|(^|\.)quantize\.embedding\.|(^|\.)decoder\.(up|up_blocks)\.\d",
        "an autoencoder, which encodes images and denoises nothing",
        "Give the whole model, whose U-Net denoises its latents.",
    ),
    (
        r"^<.*>$|(^|\.)(string_to_param|emb_params)(\.|$)",
        "an embedding of textual inversion, which is a word of a pipeline's prompt",
        "Load it into its pipeline: pipeline.load_textual_inversion(file); load_prior(pipeline, prompt=...).",
    ),
    (
        r"(^|\.)m_down\d\.\d+\.|(^|\.)m_head\.",
        "a denoiser such as DRUNet, of deepinv or KAIR",
        "Pass the object: load_prior(deepinv.models.DRUNet(pretrained=file), channels=('r', 'g', 'b')).",
    ),
    (
        r"(^|\.)inner_model\.",
        "a network of k-diffusion",
        f"{_OWN_CODE} pass its denoiser: load_prior(denoiser, channels=('r', 'g', 'b')).",
    ),
)


def refusal(content: Mapping[Any, Any], path: Path) -> str:
    """Return the error for a file that is no checkpoint of denoising-diffusion-pytorch: what it is, and what to do.

    Args:
        content: What the file holds.
        path: The file.
    """
    if (text := _own(content, path)) is not None:
        return text
    names = sorted(plain_names(content))
    wrap = f"{_OWN_CODE} wrap it: scorereg.wrap(network, prediction=..., betas=..., channels=(...))."
    if not names and {"state", "param_groups"} <= set(map(str, content)):
        return f"{path} holds the state of an optimizer, no weights. Give the checkpoint of the network."
    if not names:
        return f"{path} holds no tensors by name, so it is no state dict of a network. {wrap}"
    for pattern, kind, cure in _KINDS:
        if any(re.search(pattern, name) for name in names):
            beside = path.with_name("config.json")
            if "diffusers" in kind and beside.is_file():
                cure = f"Give its folder: load_prior({str(path.parent)!r})."
            return f"{path} holds {kind}. {cure}"
    if "pytorch-lightning_version" in content:
        return (
            f"{path} is a checkpoint of Lightning, of a network that is not recognised ({names[0]}). Load it by its "
            "own class, Module.load_from_checkpoint(file), and wrap its network: scorereg.wrap(module.network, "
            "prediction=..., betas=..., channels=(...))."
        )
    return (
        f"{path} holds {len(names)} tensors such as {names[0]} and {names[-1]}, of no network that is recognised "
        f"(denoising-diffusion-pytorch has init_conv.weight). {wrap}"
    )


def _own(content: Mapping[Any, Any], path: Path) -> str | None:
    """The error for a file of a training or a fit of scorereg; None for others."""
    keys = set(map(str, content))
    if {"card", "settings", "network", "average", "optimizer"} <= keys:
        inside = path.absolute().parent.name == "checkpoints"
        run = path.parent.parent if inside else "RUN"
        place = "" if inside else f"Put it into RUN/checkpoints/ of a folder RUN, under its own name, {path.stem}.pt. "
        return (
            f"{path} is a checkpoint of scorereg train-prior. {place}Make a prior of its run: scorereg export {run} "
            f"--out FOLDER, then load_prior(FOLDER)."
        )
    fitted = {"identity", "history", "learned", "terms"} <= keys or ("field" in keys and keys <= {"field", "proposal"})
    fitted = fitted or (len(keys) > 0 and all(key.startswith(("field.", "proposal.")) for key in keys))
    return f"{path} is of scorereg fit: the field of a scene, and no prior. Give the prior." if fitted else None
