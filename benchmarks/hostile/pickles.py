"""Pickles that run code when they are loaded by pickle, in each place where weights and arrays are read."""

import builtins
import functools
import importlib
import io
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.hostile.case import Cases, Place, put

__all__ = ["CASES", "Calls", "payload"]

CASES = Cases("pickles")


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *words: Any) -> None:
        self.function, self.words = function, words

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.words


def payload(place: Place) -> Calls:
    """An object that leaves the mark when it is unpickled."""
    return Calls(os.system, place.shell)


def _stored(path: Path, content: bytes, **more: bytes) -> None:
    """Write what `torch.save` writes, with a pickle of one's own."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"data.pkl": content, "version": b"3\n", "byteorder": b"little", **more}.items():
            archive.writestr(f"archive/{name}", data)


def _state() -> dict[str, Any]:
    return {"weight": torch.zeros(3)}


@CASES.add("inspect", target="model.pt")
def _torch_save_of_a_call(place: Place) -> None:
    torch.save({**_state(), "x": payload(place)}, place.input / "model.pt")


@CASES.add("inspect", target="model.pth")
def _old_format_of_torch_save(place: Place) -> None:
    torch.save({**_state(), "x": payload(place)}, place.input / "model.pth", _use_new_zipfile_serialization=False)


@CASES.add("inspect", target="model.ckpt")
def _plain_pickle_called_ckpt(place: Place) -> None:
    put(place.input / "model.ckpt", pickle.dumps({"state_dict": payload(place)}))


@CASES.add("inspect", target="model.bin")
def _plain_pickle_of_protocol_0(place: Place) -> None:
    put(place.input / "model.bin", pickle.dumps(payload(place), protocol=0))


@CASES.add("inspect", target="model.joblib")
def _joblib(place: Place) -> None:
    import joblib

    joblib.dump({"x": payload(place)}, place.input / "model.joblib")


@CASES.add("inspect", target="model.joblib")
def _joblib_compressed(place: Place) -> None:
    import joblib

    joblib.dump({"x": payload(place)}, place.input / "model.joblib", compress=3)


@CASES.add("inspect", target="network.pkl")
def _snapshot_of_edm(place: Place) -> None:
    call = {"ema": payload(place), "x": "torch_utils.persistence _reconstruct_persistent_obj"}
    put(place.input / "network.pkl", pickle.dumps(call))


@CASES.add("inspect", target="model.safetensors")
def _pickle_called_safetensors(place: Place) -> None:
    put(place.input / "model.safetensors", pickle.dumps(payload(place)))


@CASES.add("inspect", target="model.pt")
def _torchscript_with_code(place: Place) -> None:
    with zipfile.ZipFile(place.input / "model.pt", "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps(payload(place)))
        archive.writestr("m/code/__torch__.py", f"import os\nos.system({place.shell!r})\n")
        archive.writestr("m/constants.pkl", pickle.dumps(payload(place)))
        archive.writestr("m/version", "3\n")


@CASES.add("inspect", target="model.pt")
def _torchscript_of_torch(place: Place) -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.save(torch.jit.trace(Net(), torch.zeros(1)), str(place.input / "model.pt"))


# Calls that lists of allowed names have let pass in other programs.
_WAYS: dict[str, Callable[[Place], Any]] = {
    "exec": lambda place: Calls(builtins.exec, f"import os; os.system({place.shell!r})"),
    "eval": lambda place: Calls(builtins.eval, f"__import__('os').system({place.shell!r})"),
    "open for writing": lambda place: Calls(builtins.open, str(place.mark), "w"),
    "partial": lambda place: Calls(functools.partial(os.system, place.shell)),
    "getattr": lambda place: Calls(builtins.getattr, Calls(importlib.import_module, "os"), "system"),
    "load inside load": lambda place: Calls(torch.storage._load_from_bytes, _saved(payload(place))),
    "hub": lambda place: Calls(torch.hub.load, str(place.input), "model", "local"),
    "torch.load": lambda place: Calls(torch.load, str(place.input / "other.pt"), None, None),
}
for _name, _make in _WAYS.items():

    def _write(place: Place, make: Callable[[Place], Any] = _make) -> None:
        put(place.input / "hubconf.py", f"import os\nos.system({place.shell!r})\n")
        torch.save(payload(place), place.input / "other.pt")
        torch.save({**_state(), "x": make(place)}, place.input / "model.pt")

    CASES.each(
        "inspect", "", {f"a pickle that calls {_name}": None}, lambda place, _, w=_write: w(place), target="model.pt"
    )


def _saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _names(module: str, name: str, *words: str) -> bytes:
    """A pickle that imports a name and calls it with texts."""
    texts = b"".join(b"X" + struct.pack("<I", len(word)) + word.encode() for word in words)
    return b"\x80\x02}X\x01\x00\x00\x00x" + f"c{module}\n{name}\n".encode() + b"(" + texts + b"tRs."


_GADGETS = {  # module, name, words; each runs its words
    "numpy's runstring": ("numpy.testing._private.utils", "runstring", "{exec}", ""),
    "a module of the current folder": ("pytorch_lightning.evil", "run"),
    "a class of argparse": ("argparse", "_sys.modules.__class__"),
    "os of pathlib": ("pathlib", "os.system", "{shell}"),
    "sys of typing": ("typing", "sys.modules.get", "os"),
    "builtins of enum": ("enum", "bltns.exec", "{exec}"),
    "an attribute of list": ("builtins", "list.__class__.__base__.__subclasses__"),
    "system of posix": ("posix", "system", "{shell}"),
    "pip": ("pip._internal.cli.main", "main", "install"),
    "runpy": ("runpy", "_run_code", "{exec}"),
    "execWrapper": ("torch.jit.unsupported_tensor_ops", "execWrapper", "{exec}"),
    "subclasses by a dotted name": ("torch.optim.optimizer", "torch.os.system", "{shell}"),
}


def _gadget(place: Place, words: tuple[str, ...]) -> None:
    put(place.input.parent.parent / "pytorch_lightning/evil.py", f"open({str(place.mark)!r}, 'w')\n")
    put(place.input / "pytorch_lightning/evil.py", f"open({str(place.mark)!r}, 'w')\n")
    code = f"import os; os.system({place.shell!r})"
    _stored(place.input / "model.pt", _names(*(w.format(exec=code, shell=place.shell) for w in words)))


CASES.each(
    "inspect", "", {f"a pickle that names {name}": w for name, w in _GADGETS.items()}, _gadget, target="model.pt"
)


@CASES.add("inspect", target="model.pt")
def _a_call_through_build(place: Place) -> None:
    """BUILD of a record with a state that has methods of its own."""
    content = (
        b"\x80\x02cargparse\nNamespace\n)\x81}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsbX"
        + struct.pack("<I", len(place.shell))
        + place.shell.encode()
        + b"b."
    )
    assert pickletools.dis(content, io.StringIO()) is None
    _stored(place.input / "model.pt", content)


def _spoil(place: Place, name: str) -> None:
    """Put a pickle of code in place of a file of weights."""
    path = place.input / name
    state = torch.load(path, weights_only=True) if path.suffix == ".pt" else {}
    path.unlink()
    torch.save({**state, "x": payload(place)}, path)


CASES.each("export", "run", {"code in a checkpoint of a run": "run/checkpoints/00000001.pt"}, _spoil, target="run")
CASES.each("more", "run", {"code in a checkpoint that is resumed": "run/checkpoints/00000001.pt"}, _spoil)
CASES.each("resume", "fitted", {"code in fit.pt": "fit/fit.pt"}, _spoil)
CASES.each("load", "prior", {"code in a prior's safetensors": "diffusion_pytorch_model.safetensors"}, _spoil)


@CASES.add("load", "diffusers")
def _code_in_the_bin_of_a_diffusers_folder(place: Place) -> None:
    (place.input / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save({"x": payload(place)}, place.input / "unet/diffusion_pytorch_model.bin")


@CASES.add("text", "text")
def _code_in_the_bin_of_a_text_encoder(place: Place) -> None:
    (place.input / "text_encoder/model.safetensors").unlink()
    torch.save({"x": payload(place)}, place.input / "text_encoder/pytorch_model.bin")


@CASES.add("load", "diffusers")
def _code_in_an_index_of_shards(place: Place) -> None:
    (place.input / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save({"x": payload(place)}, place.input / "unet/part.bin")
    index = '{"weight_map": {"conv_in.weight": "part.bin"}}'
    put(place.input / "unet/diffusion_pytorch_model.bin.index.json", index)


def _objects(place: Place) -> np.ndarray:
    array = np.empty(6, object)
    array[:] = [payload(place)] * 6
    return array


def _object_file(place: Place, name: str) -> None:
    path = place.input / name
    if path.suffix == ".npz":
        path = path.with_suffix(".npz")
        np.savez(path, depth=_objects(place))
    else:
        np.save(path, _objects(place), allow_pickle=True)


CASES.each("fit", "llff", {"objects in poses_bounds.npy": "poses_bounds.npy"}, _object_file)
CASES.each("fit", "scene", {"objects in a depth map": "depth/3.npy"}, _object_file)
CASES.each("arrays", "arrays", {"objects in arrays to train on": "train-0.npy"}, _object_file)
CASES.each("blocks", "", {"objects in a grid of voxels": "grid.npy"}, _object_file)


@CASES.add("prepare", "frames")
def _objects_in_an_npz_of_depth(place: Place) -> None:
    np.savez(place.input / "one/depth/0.npz", depth=_objects(place))
    (place.input / "one/depth/0.png").unlink()


@CASES.add("fit", "scene")
def _a_mask_of_objects(place: Place) -> None:
    np.save(place.input / "masks/0.npy", _objects(place), allow_pickle=True)
    (place.input / "masks/0.npy").rename(place.input / "masks/0.png")


@CASES.add("fit", "")
def _cameras_npz_of_objects(place: Place) -> None:
    (place.input / "image").mkdir()
    np.savez(place.input / "cameras_sphere.npz", world_mat_0=_objects(place), scale_mat_0=_objects(place))
    for i in range(3):
        put(place.input / f"image/{i:03}.png", b"\x89PNG\r\n\x1a\n")


@CASES.add("fit", "scene")
def _a_pickle_as_a_photo(place: Place) -> None:
    put(place.input / "images/0.png", pickle.dumps(payload(place)))


@CASES.add("fit", "scene")
def _a_pickle_as_points(place: Place) -> None:
    put(place.input / "points.ply", pickle.dumps(payload(place)))
