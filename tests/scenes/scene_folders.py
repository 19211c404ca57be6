"""Small folders of scenes, LLFF's and nerfstudio's, for the tests of scenes."""

import json

import numpy as np
import torch
from PIL import Image

from scorereg.cameras import rotation_matrix

WIDTH, HEIGHT = 20, 14


def poses(count):
    """Known OpenCV poses, a little turned, in a row."""
    torch.manual_seed(1)
    rotation = rotation_matrix(0.2 * torch.randn(count, 3))
    return torch.cat([rotation, torch.randn(count, 3, 1)], -1)


def photo(path, seed, size=(WIDTH, HEIGHT)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return noise


def llff(folder, count=10, *, near=2.0, far=8.0, images="images_8", size=(WIDTH, HEIGHT)):
    """An LLFF folder of full-size photos eight times as large as those in it."""
    pose = poses(count)
    right, down, forward, origin = pose.unbind(-1)
    intrinsics = torch.tensor([HEIGHT * 8.0, WIDTH * 8, 400]).expand(count, 3)
    matrix = torch.stack([down, right, -forward, origin, intrinsics], -1)
    bounds = torch.stack([near + 0.01 * torch.arange(count), far + 0.1 * torch.arange(count)], -1)
    np.save(folder / "poses_bounds.npy", torch.cat([matrix.reshape(count, 15), bounds], -1).double().numpy())
    for i in range(count):
        photo(folder / images / f"img_{i:03d}.png", i, size)
    return pose


def frame(pose, name, **more):
    matrix = torch.cat([pose * torch.tensor([1.0, -1, -1, 1]), torch.tensor([[0.0, 0, 0, 1]])])
    return {"file_path": name, "transform_matrix": matrix.tolist(), **more}


def transforms(folder, count=10, *, frames=None, suffix=".png", **more):
    """A nerfstudio folder; entries that are None are left out."""
    pose = poses(count)
    for i in range(count):
        photo(folder / f"images/{i:03d}.png", i)
    default = [frame(p, f"images/{i:03d}{suffix}") for i, p in enumerate(pose)]
    head = {"fl_x": 25.0, "fl_y": 26.0, "cx": 9.0, "cy": 8.0, "w": WIDTH, "h": HEIGHT, "near": 2.0, "far": 8.0}
    table = {**head, "frames": frames or default, **more}
    write(folder, {key: value for key, value in table.items() if value is not None})
    return pose


def write(folder, table):
    (folder / "transforms.json").write_text(json.dumps(table), encoding="utf-8")


def edit(folder, change):
    table = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
    change(table)
    write(folder, table)
