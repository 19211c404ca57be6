"""Furniture of the Debian package `sweethome3d-furniture`: 3-D models under CC0 and CC BY, with their catalogues.

The package holds five archives, `/usr/share/sweethome3d/furniture/*.sh3f`, each a zip of models (OBJ) and a catalogue
that names their sizes, authors and licence. A folder with the archives, at any depth, or of unpacked ones, is what
`--furniture` names.
"""

import re
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from examples.synthetic_rooms.parts import Material, Part

__all__ = ["Model", "catalogue", "read_model", "unpack"]

CATALOGUE = "PluginFurnitureCatalog.properties"
ADVICE = (
    "Get it by `apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb DIR`, and give "
    "--furniture DIR/usr/share/sweethome3d."
)
_INDOOR = {"Living room", "Bedroom", "Kitchen", "Office", "Bathroom", "Miscellaneous", "Lights"}
_UNWANTED = re.compile(
    r"plug|switch|socket|bell|rail|hedge|pool|trampoline|grill|mower|faucet|curtain|ladder|swing|elevator|football",
    re.I,
)


@dataclass(frozen=True)
class Model:
    """One piece of furniture.

    Args:
        name: In English.
        category: Room that it belongs into, as the catalogue has it.
        path: The OBJ file.
        size: Width, height and depth in metres; its front looks along +z.
        top: Height of the surface that things can stand on, in metres; 0 if there is none.
        elevation: Height above the floor at which it hangs, metres.
        creator: Its author.
        licence: Of the collection.
        collection: The collection's name.
    """

    name: str
    category: str
    path: Path
    size: tuple[float, float, float]
    top: float
    elevation: float
    creator: str
    licence: str
    collection: str

    @property
    def small(self) -> bool:
        """Whether it stands on things rather than on the floor."""
        return max(self.size[0], self.size[2]) < 0.6 and self.size[1] < 0.7


def unpack(folder: Path, cache: Path) -> Path:
    """Return a folder of unpacked collections; archives are unpacked into `cache`, once.

    Raises:
        OSError: If there is no furniture in the folder, or an archive is damaged.
    """
    if list(folder.glob(f"*/{CATALOGUE}")):
        return folder
    archives = sorted(folder.rglob("*.sh3f"))
    if not archives:
        raise FileNotFoundError(f"{folder} holds no furniture (*.sh3f, or folders with {CATALOGUE}). {ADVICE}")
    for archive in archives:
        if not (cache / archive.stem).is_dir():
            partial = cache / f"{archive.stem}.partial"
            try:
                with zipfile.ZipFile(archive) as file:
                    file.extractall(partial)
            except zipfile.BadZipFile as error:
                raise OSError(f"{archive} is damaged ({error}). {ADVICE}") from None
            partial.rename(cache / archive.stem)
    return cache


def catalogue(folder: Path) -> list[Model]:
    """Return the furniture for indoors, in a fixed order.

    Raises:
        OSError: If there is none.
    """
    models = [model for path in sorted(folder.glob(f"*/{CATALOGUE}")) for model in _read_catalogue(path)]
    if not models:
        raise FileNotFoundError(f"{folder} holds no furniture for indoors. {ADVICE}")
    return models


@cache
def read_model(model: Model) -> tuple[Part, ...]:
    """Read the triangles of a model, at its size, standing on the origin, one part for each material.

    Raises:
        ValueError: If the file holds no triangles.
    """
    points, texture, groups, materials = _read_obj(model.path)
    groups = {name: faces for name, faces in groups.items() if len(faces)}
    if not groups:
        raise ValueError(f"{model.path} holds no triangles.")
    used = np.unique(np.concatenate([faces[..., 0].ravel() for faces in groups.values()]))
    low, high = points[used].min(0), points[used].max(0)
    points = (points - (low + high) / 2) * (np.array(model.size) / np.maximum(high - low, 1e-6))
    points[:, 1] += model.size[1] / 2
    parts = []
    for name, faces in groups.items():
        pairs, faces_of = np.unique(faces[..., 0] * len(texture) + faces[..., 1], return_inverse=True)
        material = materials.get(name, Material())
        vertex, uv = pairs // len(texture), pairs % len(texture)
        parts.append(Part(points[vertex], faces_of.reshape(-1, 3), texture[uv], material))
    return tuple(parts)


def _read_catalogue(path: Path) -> list[Model]:
    facts: dict[str, str] = {}
    rows: dict[str, dict[str, str]] = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        found = re.match(r"(\w+)(?:#(\d+))?=(.*)", line)
        if found and found[2]:
            rows.setdefault(found[2], {})[found[1]] = found[3].strip()
        elif found:
            facts[found[1]] = found[3].strip()
    models = []
    for row in rows.values():
        model = path.parent / row.get("model", "").lstrip("/")
        fits = row.get("category") in _INDOOR and row.get("doorOrWindow") != "true" and model.suffix == ".obj"
        if not fits or _UNWANTED.search(row["name"]) or not model.is_file():
            continue
        width, height, depth = (float(row[name]) / 100 for name in ("width", "height", "depth"))
        if max(width, height, depth) <= 3 and min(width, height, depth) >= 0.01:
            top = float(row.get("dropOnTopElevation", 0)) / 100
            elevation = float(row.get("elevation", 0)) / 100
            models.append(
                Model(row["name"], row["category"], model, (width, height, depth), max(top, 0), elevation,
                      row.get("creator", ""), facts.get("license", ""), facts.get("name", path.parent.name))
            )  # fmt: skip
    return models


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], dict[str, Material]]:
    """Vertices, texture coordinates, triangles by material [n, 3, 2] (numbers of both), materials."""
    lines: dict[str, list[str]] = {"v": [], "vt": []}
    groups: dict[str, list[str]] = {}
    materials, current = {}, ""
    for line in path.read_text(encoding="latin-1").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "f":
            groups.setdefault(current, []).append(rest)
        elif word in lines:
            lines[word].append(rest)
        elif word == "usemtl":
            current = rest.split()[-1] if rest else ""
        elif word == "mtllib":
            materials |= _read_mtl(path.parent / rest.strip())
    points = np.array([row.split()[:3] for row in lines["v"]], float).reshape(-1, 3)
    texture = np.array([row.split()[:2] for row in lines["vt"]], float).reshape(-1, 2)
    texture[:, 1] = 1 - texture[:, 1]  # v runs up in the file, down in a picture
    sizes = len(points), len(texture)
    triangles = {name: _triangles(rows, sizes) for name, rows in groups.items()}
    return points, np.concatenate([np.zeros((1, 2)), texture]), triangles, materials


def _triangles(rows: list[str], sizes: tuple[int, int]) -> np.ndarray:
    """Fans of triangles from lines of polygons: numbers of vertex and texture coordinate, the latter 0 for none."""
    parts = []
    tokens = [row.replace("//", "/0/").split() for row in rows]
    kinds = sorted({(len(row), row[0].count("/") + 1) for row in tokens if len(row) > 2})
    for count, each in kinds:
        flat = [token for row in tokens if (len(row), row[0].count("/") + 1) == (count, each) for token in row]
        numbers = np.array("/".join(flat).split("/"), int).reshape(-1, count, each)
        vertex, uv = numbers[..., 0], numbers[..., 1] if each > 1 else np.zeros_like(numbers[..., 0])
        vertex = np.where(vertex > 0, vertex - 1, sizes[0] + vertex)
        corners = np.stack([vertex, np.where(uv >= 0, uv, sizes[1] + 1 + uv)], -1)
        parts += [corners[:, [0, k, k + 1]] for k in range(1, count - 1)]
    return np.concatenate(parts) if parts else np.empty((0, 3, 2), int)


def _read_mtl(path: Path) -> dict[str, Material]:
    rows: dict[str, dict[str, list[str]]] = {}
    name = ""
    for line in path.read_text(encoding="latin-1").splitlines() if path.is_file() else []:
        word, *rest = line.split() or [""]
        if word == "newmtl" and rest:
            name = rest[-1]
        elif word in ("Kd", "Ns", "d", "map_Kd") and rest:
            rows.setdefault(name, {})[word] = rest
    return {name: _material(path.parent, row) for name, row in rows.items()}


def _material(folder: Path, row: dict[str, list[str]]) -> Material:
    kd = [float(x) ** 2.2 for x in row.get("Kd", ["0.7"] * 3)[:3]]  # as shown on a screen, so not linear
    r, g, b = (min(max(x, 0.02), 0.9) for x in kd)
    image = folder / " ".join(row["map_Kd"]) if "map_Kd" in row else None
    shiny = float(row.get("Ns", ["0"])[0]) > 80
    return Material((r, g, b), image=image if image and image.is_file() else None, gloss=0.15 if shiny else None)
