"""Files of other frameworks that hold a network or something else, told by their first bytes, records and suffix."""

import zipfile
from pathlib import Path

__all__ = ["other_format"]

_TORCH = "Take the weights that torch wrote"
_FROM_JAX = f"{_TORCH}, or convert the folder by diffusers: UNet2DModel.from_pretrained(folder, from_flax=True)"
_RUN = "It runs in a library of its own: wrap a function that calls it, scorereg.wrap(lambda z, t: ..., ...)"
_STARTS = (  # first bytes, their place, what the file is, and the cure
    (b"\x89HDF\r\n\x1a\n", 0, "a file of HDF5, as Keras writes", _TORCH),
    (b"GGUF", 0, "a file of GGUF, with quantised weights", _TORCH),
    (b"TFL3", 4, "a network of TensorFlow Lite", _TORCH),
    (b"ftrt", 0, "an engine of TensorRT", _RUN),
    (b"\x93NUMPY", 0, "an array of NumPy, and no network", "Give the checkpoint"),
    (b"\x89PNG\r\n\x1a\n", 0, "an image, and no network", "Give the checkpoint"),
    (b"\xff\xd8\xff", 0, "an image, and no network", "Give the checkpoint"),
    (b"%PDF", 0, "a document (PDF), and no network", "Give the checkpoint"),
)
_SUFFIXES = {
    ".onnx": ("a network of ONNX", _RUN),
    ".ort": ("a network of ONNX", _RUN),
    ".engine": ("an engine of TensorRT", _RUN),
    ".plan": ("an engine of TensorRT", _RUN),
    ".trt": ("an engine of TensorRT", _RUN),
    ".mlmodel": ("a network of Core ML", _RUN),
    ".mlmodelc": ("a network of Core ML", _RUN),
    ".msgpack": ("a file of Flax (JAX)", _FROM_JAX),
    ".pb": ("a graph of TensorFlow", _TORCH),
    ".tflite": ("a network of TensorFlow Lite", _TORCH),
    ".h5": ("a file of HDF5, as Keras writes", _TORCH),
    ".gguf": ("a file of GGUF, with quantised weights", _TORCH),
    ".xml": ("a network of OpenVINO, or another XML file", _RUN),
    ".npy": ("an array of NumPy, and no network", "Give the checkpoint"),
    ".mlx": ("a file of MLX", _TORCH),
    ".pdparams": ("a file of PaddlePaddle", _TORCH),
    ".mar": ("an archive of TorchServe", "Unpack it and give the file inside"),
}


def other_format(path: Path, start: bytes = b"") -> str | None:
    """Return what a file of another framework is, and what to do, without the last full stop; None for others.

    Args:
        path: A file, or a folder that a framework treats as one.
        start: Its first bytes.
    """
    for magic, place, kind, cure in _STARTS:
        if start[place : place + len(magic)] == magic:
            return f"{path} is {kind}. {cure}"
    if path.suffix.lower() in _SUFFIXES:
        kind, cure = _SUFFIXES[path.suffix.lower()]
        return f"{path} is {kind}. {cure}"
    if start[:2] == b"PK" and zipfile.is_zipfile(path):
        return _archive(path)
    return None


def _archive(path: Path) -> str | None:
    """The same for zip archives, by the names of their records."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()[:10_000]
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeDecodeError, OverflowError, ValueError):
        return None  # damaged, which the reader of archives tells
    if any(name.endswith("model.weights.h5") for name in names):
        return f"{path} is a network of Keras. {_TORCH}"
    if any(name.rpartition("/")[2] in ("archive_format", "serialized_exported_program.json") for name in names):
        return f"{path} is a program of torch.export. Wrap it: scorereg.wrap(torch.export.load(file).module(), ...)"
    if names and all(name.endswith(".npy") for name in names):
        return (
            f"{path} holds arrays of NumPy. Make the network by its own code, fill it by "
            "load_state_dict({name: torch.from_numpy(array)}), and wrap it: scorereg.wrap(network, ...)"
        )
    return None
