"""Whole inputs that hostile cases begin with, each made once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.hostile.case import COMMANDS
from benchmarks.hostile.samples import KINDS, look_around, make_sample, ray_cast

__all__ = ["Wholes"]

Command = Callable[..., dict[str, Any]]


class Wholes:
    """Folders of whole inputs by name: those of `samples`, and others that are made of them by a command or by hand.

    Args:
        root: Folder that they are made in.
        command: `Campaign.command`.
    """

    def __init__(self, root: Path, command: Command) -> None:
        self.root, self.command = root, command

    def of(self, name: str) -> Path:
        """Return the folder of a whole input, made when it is first asked for."""
        folder = self.root / name
        if not folder.exists():
            made = self.root / f"{name}.new"
            made.parent.mkdir(parents=True, exist_ok=True)
            if name in KINDS:
                make_sample(name, made)
            else:
                made.mkdir()
                getattr(self, f"_{name}")(made)
            made.rename(folder)
        return folder

    def _do(self, command: str, folder: Path, source: Path | None = None) -> Path:
        """Run a command on an input and return what it wrote."""
        words = [w.replace("{in}", str(source)).replace("{out}", str(folder / "made")) for w in COMMANDS[command]]
        done = self.command(words, folder, folder / "log", limited=False)
        assert done["code"] == 0, done["stderr"]
        shutil.rmtree(folder / "log")
        return folder / "made"

    def _shards(self, folder: Path) -> None:
        for path in self._do("prepare", folder, self.of("frames")).iterdir():
            path.rename(folder / path.name)
        (folder / "made").rmdir()

    def _arrays(self, folder: Path) -> None:
        draw = np.random.default_rng(0)
        for name in ("train-0", "held-0"):
            np.save(folder / f"{name}.npy", draw.uniform(-1, 1, (20, 1, 16, 16)).astype(np.float32))
        (folder / "arrays.json").write_text(json.dumps({"channels": ["weight"], "range": [-1, 1]}))

    def _run(self, folder: Path) -> None:
        data = shutil.copytree(self.of("arrays"), folder / "data")
        self._do("arrays", folder, data).rename(folder / "run")

    def _fit_run(self, folder: Path) -> None:
        """The run of a fit of a step."""
        made = self._do("fit", folder, self.of("scene"))
        for path in made.iterdir():
            path.rename(folder / path.name)
        made.rmdir()

    def _shot_run(self, folder: Path) -> None:
        """The run of a fit, and a camera to render it from."""
        shutil.copytree(self.of("fit_run"), folder, dirs_exist_ok=True)
        pose = [[float(i == j) for j in range(4)] for i in range(4)]
        (folder / "mine.json").write_text(
            json.dumps({"frames": [{"file_path": "images/0000.png", "transform_matrix": pose}]})
        )

    def _begun(self, folder: Path) -> None:
        """A scene, and beside it an empty folder for results."""
        shutil.copytree(self.of("scene"), folder / "scene")
        (folder / "fit").mkdir()

    def _initial(self, folder: Path) -> None:
        """Arrays to train on, and a prior of such to begin with."""
        run = self.of("run")
        shutil.copytree(run / "data", folder / "data")
        shutil.copytree(run / "run/prior", folder / "init")

    def _fitted(self, folder: Path) -> None:
        """A scene, and beside it the folder of a fit that was interrupted, with a file of nothing."""
        shutil.copytree(self.of("scene"), folder / "scene")
        (folder / "fit").mkdir()
        torch.save({"step": 1}, folder / "fit/fit.pt")

    def _llff(self, folder: Path) -> None:
        rows = []
        for i in range(6):
            pose = look_around(i)
            self._photo(folder / f"images/{i}.png", i)
            down, right, back = pose[:, 1], pose[:, 0], -pose[:, 2]
            rows.append([*np.stack([down, right, back, pose[:, 3], [48, 64, 55.0]], 1).reshape(-1), 1.0, 5.0])
        np.save(folder / "poses_bounds.npy", np.array(rows))

    def _colmap(self, folder: Path) -> None:
        lines = []
        for i in range(6):
            pose = look_around(i)
            self._photo(folder / f"images/{i}.png", i)
            turn, back = pose[:, :3].T, -pose[:, :3].T @ pose[:, 3]
            real = np.sqrt(max(1 + np.trace(turn), 0)) / 2
            axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / (4 * real)
            lines.append(f"{i + 1} {' '.join(map(str, [real, *axis, *back]))} 1 {i}.png\n\n")
        model = folder / "sparse/0"
        model.mkdir(parents=True)
        (model / "images.txt").write_text("".join(lines))
        (model / "cameras.txt").write_text("1 PINHOLE 64 48 55 55 32 24\n")
        draw = np.random.default_rng(0).uniform(-1.2, 1.2, (300, 3)).round(3)
        (model / "points3D.txt").write_text(
            "".join(f"{i} {x} {y} {z} 9 9 9 0.5\n" for i, (x, y, z) in enumerate(draw, 1))
        )

    def _photos(self, folder: Path) -> None:
        for i in range(4):
            self._photo(folder / f"{i}.png", i)

    def _meshes(self, folder: Path) -> None:
        corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
        faces = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6)]
        faces += [(0, 6, 4), (1, 5, 7), (1, 7, 3)]
        text = "".join(f"v {x} {y} {z}\n" for x, y, z in corners)
        text += "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in faces)
        for name in ("one", "two", "three"):
            (folder / f"{name}.obj").write_text(text)

    def _photo(self, path: Path, index: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        color, _ = ray_cast(look_around(index), width=64, height=48, focal=55.0)
        Image.fromarray(color).save(path)

    def _text(self, folder: Path) -> None:
        """A Stable Diffusion pipeline of some kilobytes."""
        import diffusers
        import transformers

        torch.manual_seed(0)
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
        vocab, merges = folder.parent / "vocab.json", folder.parent / "merges.txt"
        vocab.write_text(json.dumps({word: i for i, word in enumerate(words)}))
        merges.write_text("#version: 0.2\n")
        tokenizer = transformers.CLIPTokenizer(str(vocab), str(merges), model_max_length=8)
        text = transformers.CLIPTextConfig(
            vocab_size=len(words), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=8, projection_dim=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )  # fmt: skip
        make: Any = diffusers  # whose annotations are narrower than what it takes
        unet = make.UNet2DConditionModel(
            sample_size=4, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
            norm_num_groups=4, cross_attention_dim=16, attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
        vae = make.AutoencoderKL(
            in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8), norm_num_groups=4,
            sample_size=8, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        )  # fmt: skip
        make.StableDiffusionPipeline(
            vae=vae, text_encoder=transformers.CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
            scheduler=make.PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        ).save_pretrained(folder)  # fmt: skip
