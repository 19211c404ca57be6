"""Heads of binary files that promise more than there is: gigabytes of pixels, points, rows and members."""
# ruff: noqa: E501 (tables with a case a line)

import json
import struct
from typing import Any

import numpy as np

from benchmarks.hostile.archives import big_png
from benchmarks.hostile.case import Cases, Place, put

__all__ = ["CASES"]

CASES = Cases("headers")
_BIG = 10**9


def _npy(shape: str, kind: str = "'<f4'", order: str = "False", data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    head = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    size = struct.pack("<H", len(head)) if version == b"\1\0" else struct.pack("<I", len(head))
    return b"\x93NUMPY" + version + size + head + data


_ARRAYS = {
    "of 10^18 rows": _npy("(1000000000, 1000000000)"),
    "of negative rows": _npy("(-5, 17)"),
    "of sides beyond 64 bits": _npy("(18446744073709551617, 17)"),
    "of a type of 2^31 bytes": _npy("(1, 17)", "'|V2147483647'"),
    "of texts": _npy("(6, 17)", "'<U1000'", data=bytes(100)),
    "of a nested type": _npy("(6, 17)", "[('a', [('b', '<f4')])]", data=bytes(408)),
    "with code as its head": _npy("__import__('os').system('touch mark')"),
    "with a head nested 5,000 deep": _npy("(" * 5000),
    "with a head of 4 GB": b"\x93NUMPY\2\0\xff\xff\xff\xff{",
    "of version 9": _npy("(6, 17)", version=b"\x09\0"),
    "of no axes": _npy("()", data=bytes(4)),
    "of the axes that NumPy does not have": _npy("(" + "1, " * 70 + ")", data=bytes(4)),
    "that ends in its head": b"\x93NUMPY\1\0\x76\0{'des",
}
for _command, _base, _file in (("fit", "llff", "poses_bounds.npy"), ("prepare", "frames", "one/depth/0.npy")):
    CASES.each(
        _command, _base, {f"{_file.rpartition('/')[2]} {name}": data for name, data in _ARRAYS.items()},
        lambda place, data, file=_file: _replace(place, file, data),
    )  # fmt: skip
CASES.each("arrays", "arrays", {f"train-0.npy {name}": _ARRAYS[name] for name in list(_ARRAYS)[:10]},
           lambda place, data: put(place.input / "train-0.npy", data))  # fmt: skip
CASES.each("blocks", "", {f"a grid .npy {name}": _ARRAYS[name] for name in list(_ARRAYS)[:4]},
           lambda place, data: put(place.input / "grid.npy", data))  # fmt: skip


def _replace(place: Place, name: str, data: bytes) -> None:
    """Put a file in place of one of the same stem."""
    path = place.input / name
    for old in path.parent.glob(f"{path.stem}.*"):
        old.unlink()
    put(path, data)


_HEAD = "ply\nformat {0} 1.0\nelement vertex {1}\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
_POINTS: dict[str, Any] = {
    "of 10^12 vertices": _HEAD.format("binary_little_endian", 10**12),
    "of 10^12 lines": _HEAD.format("ascii", 10**12),
    "of -1 vertices": _HEAD.format("ascii", -1),
    "of vertices beyond 64 bits": _HEAD.format("binary_little_endian", 2**70),
    "of a type that is not known": _HEAD.format("ascii", 1).replace("float x", "evil x"),
    "of three x": _HEAD.format("ascii", 1).replace("float y", "float x").replace("float z", "float x") + "1 1 1\n",
    "of lists": _HEAD.format("ascii", 1).replace("float x", "list uchar int x"),
    "without an end of its head": "ply\n" + "comment x\n" * 100_000,
    "of a count in words": _HEAD.format("ascii", "many"),
    "of words": _HEAD.format("ascii", 2) + "a b c\nd e f\n",
    "of NaN": _HEAD.format("ascii", 60) + "nan nan nan\n" * 60,
    "of 1e308": _HEAD.format("ascii", 60) + "1e308 -1e308 1e308\n" * 60,
}
CASES.each("fit", "scene", {f"a PLY {name}": data for name, data in _POINTS.items()},
           lambda place, data: put(place.input / "points.ply", data))  # fmt: skip


def _model(place: Place, files: dict[str, bytes]) -> None:
    for path in (place.input / "sparse/0").glob("*.txt"):
        if path.stem in {name.partition(".")[0] for name in files}:
            path.unlink()
    for name, data in files.items():
        put(place.input / "sparse/0" / name, data)


_CAMERA = struct.pack("<QIiQQ4d", 1, 1, 1, 64, 48, 55, 55, 32, 24)
_IMAGE = struct.pack("<I7dI", 1, 1, 0, 0, 0, 0, 0, 0, 1)
_MODELS: dict[str, dict[str, bytes]] = {
    "of 2^60 cameras": {"cameras.bin": struct.pack("<Q", 2**60)},
    "of a camera of 2^40 pixels": {"cameras.bin": struct.pack("<QIiQQ4d", 1, 1, 1, 2**40, 2**40, 55, 55, 32, 24)},
    "of a camera of model -7": {"cameras.bin": struct.pack("<QIiQQ4d", 1, 1, -7, 64, 48, 55, 55, 32, 24)},
    "of a focal length of NaN": {"cameras.bin": struct.pack("<QIiQQ4d", 1, 1, 1, 64, 48, np.nan, 55, 32, 24)},
    "of 2^63 photos": {"images.bin": struct.pack("<Q", 2**63)},
    "of a photo of 2^50 points": {"images.bin": struct.pack("<Q", 1) + _IMAGE + b"0.png\0" + struct.pack("<Q", 2**50)},
    "of a photo without an end of its name": {"images.bin": struct.pack("<Q", 1) + _IMAGE + b"a" * 5000},
    "of a photo of 10^7 letters": {"images.bin": struct.pack("<Q", 1) + _IMAGE + b"a" * 10**7 + b"\0" + bytes(8)},
    "of 2^60 points": {"points3D.bin": struct.pack("<Q", 2**60)},
    "of a point of 2^60 tracks": {
        "points3D.bin": struct.pack("<QQ3d3Bd", 1, 1, 0, 0, 1, 9, 9, 9, 0.5) + struct.pack("<Q", 2**60)
    },
    "of a photo above the folder": {"images.bin": struct.pack("<Q", 1) + _IMAGE + b"../../../etc/passwd\0" + bytes(8)},
    "of cameras twice": {"cameras.txt": b"1 PINHOLE 64 48 55 55 32 24\n1 PINHOLE 64 48 99 99 32 24\n"},
    "of photos twice": {"images.txt": b"1 1 0 0 0 0 0 0 1 0.png\n\n1 1 0 0 0 0 0 5 1 0.png\n\n" * 3},
    "of 10^400 pixels": {"cameras.txt": b"1 PINHOLE 1" + b"0" * 400 + b" 48 55 55 32 24\n"},
    "of digits of another script": {"cameras.txt": "1 PINHOLE ٦٤ 48 55 55 32 24\n".encode("utf-16")},
}
CASES.each("fit", "colmap", {f"a COLMAP model {name}": files for name, files in _MODELS.items()}, _model)


def _netpbm(place: Place, data: bytes) -> None:
    _replace(place, f"one/depth/0.{'pfm' if data[:2] in (b'Pf', b'PF') else 'pgm'}", data)


_MAPS = {
    "a PFM of 10^18 pixels": f"Pf\n{_BIG} {_BIG}\n-1\n".encode(),
    "a PFM of negative sides": b"Pf\n-64 -48\n-1\n" + bytes(4 * 64 * 48),
    "a PFM of a scale of NaN": b"Pf\n64 48\nnan\n" + bytes(4 * 64 * 48),
    "a PFM of a million digits": b"Pf\n" + b"1" * 10**6 + b" 48\n-1\n",
    "a PGM of 10^18 pixels": f"P5\n{_BIG} {_BIG}\n65535\n".encode(),
    "a PGM of comments": b"P5\n" + b"#\n" * 10**6,
    "a PGM of text with words": b"P2\n64 48\n65535\n" + b"one " * (64 * 48),
}
CASES.each("prepare", "frames", _MAPS, _netpbm)


def _hdf5(place: Place, which: str) -> None:
    """A scene of Hypersim, one of whose files is spoilt."""
    import h5py

    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    lens = [0.5, 0, 0, 0, 0.4, 0, 0, 0, -1]
    put(place.input / "metadata_camera_parameters.csv",
        "scene_name," + ",".join(names) + "\nai_001_001," + ",".join(map(str, lens)) + "\n")  # fmt: skip
    images = place.input / "ai_001_001/images"
    geometry, color = images / "scene_cam_00_geometry_hdf5", images / "scene_cam_00_final_hdf5"
    depth = geometry / "frame.0000.depth_meters.hdf5"
    for path, value in (
        (color / "frame.0000.color.hdf5", np.ones((48, 64, 3), np.float16)),
        (depth, np.ones((48, 64), np.float16)),
        (geometry / "frame.0000.render_entity_id.hdf5", np.ones((48, 64), np.int32)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["dataset"] = value
    secret = place.outside / "secret.hdf5"
    with h5py.File(secret, "w") as file:
        file["dataset"] = np.ones((48, 64), np.float16)
    depth.unlink()
    with h5py.File(depth, "w") as file:
        if which == "external link":
            file["dataset"] = h5py.ExternalLink(str(secret), "/dataset")
        elif which == "external storage":
            raw = place.outside / "raw.bin"
            raw.write_bytes(bytes(48 * 64 * 2))
            file.create_dataset("dataset", (48, 64), np.float16, external=[(str(raw), 0, 48 * 64 * 2)])
        elif which == "soft link to itself":
            file["dataset"] = h5py.SoftLink("/dataset")
        elif which == "10^10 values in 800 bytes":
            file.create_dataset("dataset", (10**5, 10**5), np.float16, chunks=(1000, 1000))
        elif which == "zeros that grow a thousandfold":
            file.create_dataset("dataset", data=np.zeros((8000, 8000), np.float16), compression="gzip")
        elif which == "texts":
            file.create_dataset("dataset", data=np.array([["a"] * 64] * 48, object), dtype=h5py.string_dtype())
        elif which == "a group":
            file.create_group("dataset")
        elif which == "virtual":
            layout = h5py.VirtualLayout((48, 64), np.float16)
            layout[:] = h5py.VirtualSource(str(secret), "dataset", (48, 64))
            file.create_virtual_dataset("dataset", layout)
    if which == "a picture":
        depth.write_bytes(big_png(64, 48))


_WHICH = ("external link", "external storage", "soft link to itself", "10^10 values in 800 bytes",
          "zeros that grow a thousandfold", "texts", "a group", "virtual", "a picture")  # fmt: skip
CASES.each("prepare", "", {f"HDF5 with {name}": name for name in _WHICH}, _hdf5)


def _mesh(place: Place, files: dict[str, Any]) -> None:
    for name, data in files.items():
        text = json.dumps(data) if isinstance(data, dict) else data
        put(place.input / name, text)


_BUFFER = {"asset": {"version": "2.0"}, "buffers": [{"uri": "../../outside/x.bin", "byteLength": 10**12}],
           "bufferViews": [{"buffer": 0, "byteLength": 36}],
           "accessors": [{"bufferView": 0, "componentType": 5126, "count": 10**11, "type": "VEC3"}],
           "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "nodes": [{"mesh": 0}],
           "scenes": [{"nodes": [0]}]}  # fmt: skip
_MESHES: dict[str, dict[str, Any]] = {
    "an .off of 10^12 faces": {"x.off": f"OFF\n3 {10**12} 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"},
    "an .stl of 2^32 faces": {"x.stl": bytes(80) + b"\xff\xff\xff\xff" + bytes(100)},
    "a .gltf with a buffer above the folder": {"x.gltf": _BUFFER},
    "a .gltf with a buffer from the web": {"x.gltf": {**_BUFFER, "buffers": [{"uri": "http://127.0.0.1:9/x", "byteLength": 36}]}},
    "a .glb of 2^32 bytes": {"x.glb": b"glTF\2\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffJSON{"},
    "an .obj with faces of no vertex": {"x.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 999999999\n"},
    "an .obj of 1e308": {"x.obj": "v 0 0 0\nv 1e308 0 0\nv 0 1e308 0\nf 1 2 3\n"},
    "an .obj of a kilometre": {"x.obj": "v 0 0 0\nv 1e6 0 0\nv 0 1e6 1e6\nf 1 2 3\n"},
    "a .binvox of 10^9 a side": {"x.binvox": b"#binvox 1\ndim 1000000000 1000000000 1000000000\ntranslate 0 0 0\nscale 1\ndata\n"},
    "a .binvox that grows": {"x.binvox": b"#binvox 1\ndim 2048 2048 2048\ntranslate 0 0 0\nscale 1\ndata\n" + b"\1\xff" * 10**5},
    "a .binvox without numbers": {"x.binvox": b"#binvox 1\ndim a b c\ndata\n"},
}  # fmt: skip
CASES.each("blocks", "meshes", _MESHES, _mesh)
