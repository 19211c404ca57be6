"""Small whole inputs of each kind: a scene, a folder of frames, a prior and a checkpoint of another library."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

__all__ = ["KINDS", "look_around", "make_sample", "ray_cast", "write_frames"]

KINDS = ("scene", "frames", "prior", "diffusers", "checkpoint")
_WIDTH, _HEIGHT, _FOCAL = 64, 48, 55.0
_HALF = np.array([2.0, 1.3, 2.5])  # of a room, in metres


def ray_cast(pose: np.ndarray, *, width: int, height: int, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Ray-cast an empty room with patterned walls.

    Args:
        pose: World-from-camera, 3x4, OpenCV axes, inside the room.
        width: Width in pixels.
        height: Height in pixels.
        focal: Focal length in pixels.

    Returns:
        Color `[h, w, 3]` of 8 bits, and planar depth `[h, w]` in metres.
    """
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack([(x - width / 2) / focal, (y - height / 2) / focal, np.ones_like(x)], -1)
    ray = local @ pose[:, :3].T
    with np.errstate(divide="ignore"):
        walls = np.where(ray > 0, (_HALF - pose[:, 3]) / ray, (-_HALF - pose[:, 3]) / ray)
    depth = walls.min(-1)
    hit = pose[:, 3] + depth[..., None] * ray
    tint = np.eye(3)[walls.argmin(-1)] * 0.25 + 0.4
    waves = np.sin(hit @ np.array([[9.0, 3, 1], [2, 11, 5], [4, 1, 13]]) + [0, 1, 2])
    fine = np.sin(31 * hit.sum(-1) + 17 * hit[..., 0])
    color = tint + 0.2 * waves + 0.1 * fine[..., None]
    return (255 * color.clip(0, 1)).round().astype(np.uint8), depth


def look_around(index: int) -> np.ndarray:
    """Return the pose of the camera of a number: they stand in a row and look a little to each side."""
    turn = 0.08 * (index - 2.5)
    right, forward = np.array([np.cos(turn), 0, -np.sin(turn)]), np.array([np.sin(turn), 0, np.cos(turn)])
    return np.stack([right, [0.0, 1, 0], forward, [0.18 * (index - 2.5), 0.02 * index, -1.6]], 1)


def make_sample(kind: str, folder: Path) -> None:
    """Write a whole input of a kind.

    Raises:
        ValueError: If the kind is unknown.
    """
    makers = {"scene": _scene, "frames": _frames, "prior": _prior, "diffusers": _diffusers, "checkpoint": _checkpoint}
    if kind not in makers:
        raise ValueError(f"no kind is called {kind!r}; choose one of {', '.join(KINDS)}.")
    folder.mkdir(parents=True)
    makers[kind](folder)


def _write_view(index: int, color: Path, depth: Path) -> np.ndarray:
    pose = look_around(index)
    rgb, metres = ray_cast(pose, width=_WIDTH, height=_HEIGHT, focal=_FOCAL)
    for path in (color, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(color)
    millimetres = np.rint(1000 * metres).astype(np.uint16)
    np.save(depth, metres.astype(np.float32)) if depth.suffix == ".npy" else Image.fromarray(millimetres).save(depth)
    return pose


def _scene(folder: Path) -> None:
    frames = []
    for i in range(6):
        photo, depth = f"images/{i}.{'jpg' if i % 2 else 'png'}", f"depth/{i}.{'npy' if i == 3 else 'png'}"
        pose = np.vstack([_write_view(i, folder / photo, folder / depth), [0, 0, 0, 1]]) * [1, -1, -1, 1]
        mask = np.full((_HEIGHT, _WIDTH), 255, np.uint8)
        mask[: 4 + i, :6] = 0
        (folder / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(folder / f"masks/{i}.png")
        frames.append({"file_path": photo, "depth_file_path": depth, "mask_path": f"masks/{i}.png",
                       "transform_matrix": pose.round(6).tolist()})  # fmt: skip
        if depth.endswith(".npy"):
            np.save(folder / depth, 1000 * np.load(folder / depth))  # the file's one unit
    table = {
        "camera_model": "OPENCV", "w": _WIDTH, "h": _HEIGHT, "fl_x": _FOCAL, "fl_y": _FOCAL, "cx": _WIDTH / 2,
        "cy": _HEIGHT / 2, "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0, "depth_unit_scale_factor": 0.001,
        "ply_file_path": "points.ply", "frames": frames,
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(table, indent=1))
    points = np.random.default_rng(0).uniform(-_HALF, _HALF, (400, 3)).round(4)
    head = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    (folder / "points.ply").write_text(head + "".join("{} {} {}\n".format(*p) for p in points))


def _frames(folder: Path) -> None:
    write_frames(folder)


def write_frames(folder: Path, *, scenes: int = 2, views: int = 4) -> None:
    """Write folders of RGB-D frames, one for each scene, which differ in their names alone."""
    for scene in ("one", "two", "three", "four", "five")[:scenes]:
        for i in range(views):
            _write_view(i, folder / scene / f"rgb/{i}.jpg", folder / scene / f"depth/{i}.png")
        meta = {"fl_x": _FOCAL, "fl_y": _FOCAL, "depth_unit_scale_factor": 0.001}
        (folder / scene / "intrinsics.json").write_text(json.dumps(meta))


def _prior(folder: Path) -> None:
    from scorereg.priors.card import PriorCard
    from scorereg.priors.networks.build import build_network
    from scorereg.priors.networks.edm import NetworkPrior

    torch.manual_seed(0)
    network = build_network("tiny", patch_size=16, channels=4)
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.05)
    names = ("r", "g", "b", "disparity")
    card = PriorCard("small", names, (16, 16), 0.002, 2.0, d_min=0.5, focal=(40.0, 80.0), network={"patchify": 1})
    NetworkPrior(network, card).save_pretrained(folder)


def _diffusers(folder: Path) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), down_block_types=("DownBlock2D",) * 2, layers_per_block=1,
        up_block_types=("UpBlock2D",) * 2, norm_num_groups=4,
    )  # fmt: skip
    DDPMPipeline(network, DDPMScheduler(100)).save_pretrained(folder)  # pyright: ignore[reportArgumentType]


def _checkpoint(folder: Path) -> None:
    from scorereg.priors.adapters.lucidrains_unet import AttentionShape, Style, Unet

    torch.manual_seed(0)
    attention = (AttentionShape(False, 2, 8, 4), AttentionShape(False, 2, 8, 4), AttentionShape(True, 2, 8, 4))
    style = Style(centered=False, averaged=False, standardized=False, grouped=False, unshuffled=True)
    network = Unet(3, 3, widths=(8, 8, 16), time=(8, 32), attention=attention, style=style)
    betas = torch.linspace(1e-4, 0.02, 100, dtype=torch.float64).float()
    kept = (1 - betas.double()).cumprod(0).float()
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    state |= {"betas": betas, "alphas_cumprod": kept, "loss_weight": torch.ones(100)}
    content = {"step": 1000, "model": state, "version": "2.1.1"}
    torch.save(content, folder / "model-1.pt")
