"""From parts to pictures: Mitsuba 3 path tracing, exact planar depth at the pixels' centres, and the exposure.

Mitsuba cameras look along +z with x to the left; the poses here are OpenGL's, so two axes are turned.
"""
# pyright: reportMissingImports=false

import importlib
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from examples.synthetic_rooms.cameras import Shot
from examples.synthetic_rooms.lights import Lights
from examples.synthetic_rooms.parts import Material, Part

__all__ = ["check_mitsuba", "depth_of", "expose", "make_scene", "mitsuba", "photo_of"]

MOST_PIXELS = 512  # sides of picture files are reduced to this
BOUNCES = 7


def mitsuba() -> Any:
    """Return the renderer, without types: it writes its own at run time, one set for each variant."""
    return importlib.import_module("mitsuba")


def check_mitsuba(variant: str, *, denoise: bool) -> None:
    """See, in another process, that the renderer runs: over a wrong LLVM it may end its process without a word.

    Raises:
        ValueError: If something is missing; it says what to do.
    """
    probe = f"import mitsuba as mi; mi.set_variant({variant!r}); assert (mi.Float(1) + 1 == 2)"
    if subprocess.run([sys.executable, "-c", "import mitsuba"], capture_output=True, check=False).returncode:
        raise ValueError("Mitsuba 3 is not installed: pip install 'scorereg[rooms]'.")
    if subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False).returncode:
        raise ValueError(
            f"Mitsuba's variant {variant} does not run here. llvm variants need LLVM: install libllvm and let "
            "DRJIT_LIBLLVM_PATH name the library; or take --variant scalar_rgb, which needs nothing and is slower."
        )
    if denoise and subprocess.run([sys.executable, "-c", "import pyoidn"], capture_output=True, check=False).returncode:
        raise ValueError(
            "Open Image Denoise (pyoidn) is not installed: pip install 'scorereg[rooms]', or give --no-denoise and "
            "more --samples."
        )


def make_scene(parts: list[Part], lights: Lights) -> Any:
    """Return a Mitsuba scene."""
    mi = mitsuba()

    scene: dict[str, Any] = {
        "type": "scene",
        "integrator": {
            "type": "aov",
            "aovs": "albedo:albedo,normal:sh_normal",
            "picture": {"type": "path", "max_depth": BOUNCES},
        },
    }
    bsdfs = {id(part.material): part.material for part in [*parts, *lights.bodies]}
    made = {key: mi.load_dict(_bsdf(material)) for key, material in bsdfs.items()}
    for k, part in enumerate([*parts, *lights.bodies]):
        scene[f"part{k}"] = _mesh(part, made[id(part.material)])
    for k, panel in enumerate(lights.panels):
        scene[f"panel{k}"] = _panel(panel)
    for k, bulb in enumerate(lights.bulbs):
        glow = {"type": "area", "radiance": {"type": "rgb", "value": list(bulb.radiance)}}
        scene[f"bulb{k}"] = {"type": "sphere", "center": list(bulb.centre), "radius": bulb.radius, "emitter": glow}
    for k, spot in enumerate(lights.spots):
        to = mi.ScalarTransform4f().look_at(list(spot.origin), list(spot.target), [1, 0, 0])
        light = {"type": "rgb", "value": list(spot.intensity)}
        scene[f"spot{k}"] = {"type": "spot", "to_world": to, "intensity": light, "cutoff_angle": spot.angle}
    if lights.sun is not None:
        direction, irradiance = lights.sun
        scene["sun"] = {"type": "directional", "direction": list(direction),
                        "irradiance": {"type": "rgb", "value": list(irradiance)}}  # fmt: skip
        scene["sky"] = {"type": "constant", "radiance": {"type": "rgb", "value": list(lights.sky)}}
    return mi.load_dict(scene)


def photo_of(scene: Any, shot: Shot, size: tuple[int, int], *, samples: int, seed: int, denoise: bool) -> np.ndarray:
    """Render linear colour [h, w, 3]."""
    mi = mitsuba()

    width, height = size
    to_world = mi.ScalarTransform4f(np.ascontiguousarray(shot.pose @ np.diag([-1.0, 1, -1, 1])))
    film = {"type": "hdrfilm", "width": width, "height": height, "rfilter": {"type": "box"}, "pixel_format": "rgb"}
    sensor = {"type": "perspective", "fov": shot.field_of_view, "fov_axis": "x", "near_clip": 0.01,
              "to_world": to_world, "film": film, "sampler": {"type": "independent"}}  # fmt: skip
    layers = np.array(mi.render(scene, sensor=mi.load_dict(sensor), spp=samples, seed=seed))
    colour, albedo, normal = layers[..., :3], np.clip(layers[..., 3:6], 0, 1), layers[..., 6:9]
    return _denoised(colour, albedo, normal) if denoise else colour


def depth_of(scene: Any, shot: Shot, size: tuple[int, int]) -> np.ndarray:
    """Planar depth [h, w] in metres where the middle of each pixel looks, 0 where it sees the open sky.

    A ray's direction has camera-z 1, so its parameter is the planar depth.
    """
    mi = mitsuba()

    width, height = size
    y, x = np.mgrid[:height, :width] + 0.5
    focal = shot.focal(width)
    directions = np.stack([(x - width / 2) / focal, (height / 2 - y) / focal, -np.ones_like(x)], -1)
    world = (directions.reshape(-1, 3) @ shot.pose[:3, :3].T).astype(np.float32)
    origin = shot.pose[:3, 3].astype(np.float32)
    if "scalar" in mi.variant():
        hits = [scene.ray_intersect_preliminary(mi.Ray3f(origin, d)).t for d in world]
        depth = np.array(hits, np.float32)
    else:
        ray = mi.Ray3f(mi.Point3f(*map(float, origin)), mi.Vector3f(np.ascontiguousarray(world.T)))
        depth = np.array(scene.ray_intersect_preliminary(ray).t)
    return np.where(np.isfinite(depth) & (depth < 60), depth, 0).reshape(height, width)


def expose(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """To 8 bits: exposed by its own brightness, more or less well; some with a soft shoulder; sRGB."""
    brightness = np.percentile(colour @ [0.2126, 0.7152, 0.0722], rng.uniform(60, 92))
    value = colour * (rng.uniform(0.35, 0.85) / max(float(brightness), 1e-5))
    value = value * (1 + rng.normal(0, 0.03, 3))  # white balance
    if rng.random() < 0.6:
        value = value * (1 + value / 9) / (1 + value)  # Reinhard's, white at 3
        value = value * 1.6
    value = np.clip(value, 0, 1)
    encoded = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)


def _bsdf(material: Material) -> dict[str, Any]:
    reflectance = _texture(material)
    if material.metal is not None:
        inner = {"type": "roughconductor", "alpha": material.metal, "specular_reflectance": reflectance}
    elif material.gloss is not None:
        inner = {"type": "roughplastic", "alpha": material.gloss, "diffuse_reflectance": reflectance}
    else:
        inner = {"type": "diffuse", "reflectance": reflectance}
    return {"type": "twosided", "bsdf": inner}


def _texture(material: Material) -> dict[str, Any]:
    mi = mitsuba()

    if material.pixels is None and material.image is None:
        return {"type": "rgb", "value": list(material.colour)}
    pixels = _picture(material.image) if material.pixels is None else material.pixels
    to_uv = mi.ScalarTransform4f().scale([*material.repeat, 1])
    bitmap = mi.Bitmap(np.ascontiguousarray(pixels, np.float32))
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "to_uv": to_uv}


@lru_cache(maxsize=64)
def _picture(path: Path) -> np.ndarray:
    """A picture file in linear reflectance."""
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((MOST_PIXELS, MOST_PIXELS))
    value = np.asarray(small, np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) * 0.9


def _mesh(part: Part, bsdf: Any) -> Any:
    mi = mitsuba()

    properties = mi.Properties()
    properties["bsdf"] = bsdf
    mesh = mi.Mesh("part", len(part.vertices), len(part.faces), has_vertex_texcoords=True, props=properties)
    params = mi.traverse(mesh)
    params["vertex_positions"] = part.vertices.astype(np.float32).ravel()
    params["faces"] = part.faces.astype(np.uint32).ravel()
    params["vertex_texcoords"] = part.uv.astype(np.float32).ravel()
    params.update()
    return mesh


def _panel(part: Part) -> dict[str, Any]:
    """A glowing rectangle; Mitsuba's own has its first texture row below."""
    mi = mitsuba()

    a, b, _, d = part.vertices
    middle, right, up = (b + d) / 2, (b - a) / 2, (d - a) / 2
    frame = np.eye(4)
    frame[:3] = np.stack([right, up, np.cross(right, up) / np.linalg.norm(np.cross(right, up)), middle], -1)
    radiance: dict[str, Any] = {"type": "rgb", "value": list(part.material.glows or (1, 1, 1))}
    if part.material.pixels is not None:
        bitmap = mi.Bitmap(np.ascontiguousarray(part.material.pixels[::-1], np.float32))
        radiance = {"type": "bitmap", "bitmap": bitmap, "raw": True}
    emitter = {"type": "area", "radiance": radiance}
    return {"type": "rectangle", "to_world": mi.ScalarTransform4f(frame), "emitter": emitter}


@lru_cache(maxsize=1)
def _device() -> Any:
    import pyoidn

    device = pyoidn.Device()
    device.commit()
    return device


def _denoised(colour: np.ndarray, albedo: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Open Image Denoise, guided by albedo and normals."""
    import pyoidn

    height, width, _ = colour.shape
    out = np.zeros((height, width, 3), np.float32)
    layers = {name: np.ascontiguousarray(layer, np.float32)
              for name, layer in (("color", colour), ("albedo", albedo), ("normal", normal))}  # fmt: skip
    run = pyoidn.Filter(_device(), "RT")
    for name, layer in {**layers, "output": out}.items():
        run.set_image(name, layer, pyoidn.OIDN_FORMAT_FLOAT3, width, height)
    run.set_bool("hdr", True)
    run.commit()
    run.execute()
    return out
