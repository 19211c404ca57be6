"""Weights and model folders: heads that lie, code beside weights, settings that ask for gigabytes."""
# ruff: noqa: E501 (tables with a case a line)

import io
import json
import struct
import zipfile
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.hostile.case import Cases, Place, edit_json, put

__all__ = ["CASES"]

CASES = Cases("weights")
_WEIGHTS = "diffusion_pytorch_model.safetensors"


def _head(table: Any, data: bytes = b"", size: int | None = None) -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def _one(dtype: str, shape: list[int], ends: list[int]) -> dict[str, Any]:
    return {"conv_in.weight": {"dtype": dtype, "shape": shape, "data_offsets": ends}}


_HEADS: dict[str, bytes] = {
    "a head of 2^63 bytes": _head(b"{}", size=2**63),
    "a head of 2^63 - 1 bytes": _head(b"{}", size=2**63 - 1),
    "a head of 90 MB that is not there": _head(b"{}", size=90_000_000),
    "no head": b"",
    "seven bytes": b"1234567",
    "a head nested 100,000 deep": _head(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a tensor beyond the file": _head(_one("F32", [10**6], [0, 4 * 10**6]), bytes(16)),
    "a tensor of negative places": _head(_one("F32", [4], [16, 0]), bytes(16)),
    "a shape whose product is 2^64": _head(_one("F32", [2**32, 2**32], [0, 0])),
    "a shape of 2^63": _head(_one("F32", [2**63, 0], [0, 0])),
    "a type that is not known": _head(_one("F7", [4], [0, 16]), bytes(16)),
    "a name twice": _head(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', bytes(8)),
    "tensors in one place": _head({n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in "ab"}, bytes(16)),
    "bytes that no tensor has": _head(_one("F32", [4], [0, 16]), bytes(900)),
    "metadata that is a number": _head({"__metadata__": {"format": 7}, **_one("F32", [4], [0, 16])}, bytes(16)),
    "a name with an escape sequence": _head({"\x1b[2J": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(16)),
    "10^5 names": _head({f"a{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(10**5)}),
}  # fmt: skip
CASES.each("load", "prior", {f"safetensors with {name}": data for name, data in _HEADS.items()},
           lambda place, data: put(place.input / _WEIGHTS, data))  # fmt: skip
CASES.each("inspect", "prior", {f"safetensors shown, with {name}": _HEADS[name] for name in list(_HEADS)[:7]},
           lambda place, data: put(place.input / _WEIGHTS, data))  # fmt: skip


def _values(place: Place, change: Any) -> None:
    """Write other weights, without a checksum."""
    state = load_file(place.input / _WEIGHTS)
    name = next(name for name, value in state.items() if value.is_floating_point() and value.ndim > 1)
    state[name] = change(state[name].float()).contiguous()
    save_file(state, place.input / _WEIGHTS, {"format": "pt"})


_VALUES = {
    "NaN": lambda x: x * torch.nan, "infinity": lambda x: x + torch.inf, "1e38": lambda x: x * 0 + 1e38,
    "a shape turned round": lambda x: x.transpose(0, 1), "integers": lambda x: x.to(torch.int32),
    "one row more": lambda x: torch.cat([x, x[:1]]), "no rows": lambda x: x[:0],
}  # fmt: skip
CASES.each("load", "prior", {f"weights of {name}": change for name, change in _VALUES.items()}, _values)

_SETTINGS: dict[str, tuple[str, Any]] = {
    "a class of another module": ("_class_name", "os.system"),
    "a class that is a path": ("_class_name", "../../outside/x"),
    "a class that is a pipeline": ("_class_name", "DiffusionPipeline"),
    "10^6 channels a level": ("block_out_channels", [10**6, 10**6]),
    "10^5 levels": ("block_out_channels", [8] * 10**5),
    "10^9 layers": ("layers_per_block", 10**9),
    "levels of NaN": ("block_out_channels", [float("nan")] * 2),
    "levels of texts": ("block_out_channels", ["8", "16"]),
    "an activation by a call": ("act_fn", "__import__('os').system('touch mark')"),
    "a block by a path": ("down_block_types", ["os.system", "DownBlock2D"]),
    "0 groups": ("norm_num_groups", 0),
    "-4 groups": ("norm_num_groups", -4),
    "an epsilon of NaN": ("norm_eps", float("nan")),
    "a size of 10^12": ("sample_size", 10**12),
    "10^9 classes": ("num_class_embeds", 10**9),
    "a head of 0": ("attention_head_dim", 0),
    "10^9 input channels": ("in_channels", 10**9),
    "quantization by a package": ("quantization_config", {"quant_method": "os.system", "load_in_8bit": True}),
}
CASES.each("load", "diffusers", {f"a config.json of {name}": what for name, what in _SETTINGS.items()},
           lambda place, what: edit_json(place.input / "unet/config.json", lambda table: table.update([what])))  # fmt: skip

_SCHEDULERS: dict[str, tuple[str, Any]] = {
    "10^12 steps": ("num_train_timesteps", 10**12), "0 steps": ("num_train_timesteps", 0),
    "a schedule by a call": ("beta_schedule", "exec"), "betas of NaN": ("trained_betas", [float("nan")] * 100),
    "betas above 1": ("trained_betas", [2.0] * 100), "betas of texts": ("trained_betas", ["0.1"] * 100),
    "10^7 betas": ("trained_betas", [0.01] * 10**7), "an end of 1e308": ("beta_end", 1e308),
    "a class of another module": ("_class_name", "subprocess.Popen"),
    "a prediction of its own": ("prediction_type", "evil"),
}  # fmt: skip
CASES.each("load", "diffusers", {f"a scheduler of {name}": what for name, what in _SCHEDULERS.items()},
           lambda place, what: edit_json(place.input / "scheduler/scheduler_config.json", lambda table: table.update([what])))  # fmt: skip


def _code(place: Place, what: str) -> None:
    """Python beside the weights, under the name that a loader looks for."""
    put(place.input / what, f"import os\nos.system({place.shell!r})\n\n\nclass Pipeline:\n    pass\n")


_DIFFUSERS = ("unet/diffusers.py", "unet/evil.so", "unet/unet_2d.py", "scheduler/diffusers.py", "unet/__init__.py",
              "scheduler/scheduling_ddpm.py")  # fmt: skip
CASES.each("load", "diffusers", {f"code in {name}": name for name in _DIFFUSERS}, _code)
_TEXT = ("unet/diffusers.py", "text_encoder/transformers.py", "tokenizer/tokenizer.py", "vae/diffusers.py", "pipeline.py",
         "text_encoder/model.PY")  # fmt: skip
CASES.each("text", "text", {f"code in {name} of a text model": name for name in _TEXT}, _code)
CASES.each("load", "prior", {f"code in {name} of a prior": name for name in ("diffusers.py",)}, _code)


def _maps(place: Place, file: str) -> None:
    """`auto_map`, by which transformers import code that lies beside a configuration."""
    _code(place, f"{file.rpartition('/')[0]}/evil.txt")
    names = ("AutoConfig", "AutoModel", "CLIPTextModel", "AutoTokenizer")
    edit_json(place.input / file, lambda table: table.update(auto_map={name: "evil.Pipeline" for name in names}))


CASES.each(
    "text",
    "text",
    {
        f"auto_map in {name}": name
        for name in ("text_encoder/config.json", "tokenizer/tokenizer_config.json", "unet/config.json")
    },
    _maps,
)
CASES.each("load", "diffusers", {"auto_map in unet/config.json of an unconditional model": "unet/config.json"}, _maps)

_INDEXES: dict[str, Any] = {
    "a part of another module": lambda t: t.update(unet=["os", "system"]),
    "a part of the current folder": lambda t: t.update(unet=["evil", "Pipeline"]),
    "a part above the folder": lambda t: t.update({"../../outside": ["diffusers", "UNet2DModel"]}),
    "a class by file and name": lambda t: t.update(_class_name=["pipeline", "Pipeline"]),
    "parts that are numbers": lambda t: t.update(unet=7, scheduler=8),
    "parts of nothing": lambda t: t.update(unet=[], scheduler=[]),
}
for _command, _base in (("load", "diffusers"), ("text", "text")):

    def _index(place: Place, change: Any) -> None:
        put(place.input.parent / "evil.py", f"import os\nos.system({place.shell!r})\n")
        put(place.input / "evil.txt", "")
        edit_json(place.input / "model_index.json", change)

    CASES.each(
        _command, _base, {f"model_index.json with {name}, {_base}": change for name, change in _INDEXES.items()}, _index
    )


def _shards(place: Place, name: str) -> None:
    put(place.outside / "x.safetensors", (place.input / "unet" / _WEIGHTS).read_bytes())
    (place.input / "unet" / _WEIGHTS).unlink()
    name = name.format(outside=place.outside)
    put(place.input / f"unet/{_WEIGHTS}.index.json", json.dumps({"weight_map": {"conv_in.weight": name}}))


_NAMES = {"above the folder": "../../../outside/x.safetensors", "that is absolute": "{outside}/x.safetensors",
          "that is a folder": ".", "that is empty": "", "on the web": "http://127.0.0.1:9/x.safetensors",
          "with an escape sequence": "\x1b[2J.safetensors", "with a NUL": "a\0.safetensors"}  # fmt: skip
CASES.each("load", "diffusers", {f"a shard of weights {name}": value for name, value in _NAMES.items()}, _shards)


def _raw(place: Place, content: Any) -> None:
    torch.save(content, place.input / "model.pt")


_STATES: dict[str, Any] = {
    "a list": [1, 2],
    "a tensor": torch.zeros(3),
    "nothing": {},
    "numbers as names": {1: torch.zeros(3)},
    "a name with an escape sequence": {"model": {"\x1b[2J": torch.zeros(3)}},
    "an expanded tensor of 10^15 values": {"model": {"init_conv.weight": torch.zeros(1).expand(10**15)}},
    "a tensor without memory": {"model": {"init_conv.weight": torch.empty(10**12, device="meta")}},
    "a sparse tensor": {"model": {"init_conv.weight": torch.eye(3).to_sparse()}},
    "texts in place of tensors": {"model": {"init_conv.weight": "x"}},
    "complex numbers": {"model": {"init_conv.weight": torch.zeros(3, dtype=torch.complex64)}},
}
CASES.each(
    "inspect", "", {f"a checkpoint of {name}": content for name, content in _STATES.items()}, _raw, target="model.pt"
)


def _bytes(place: Place, change: Any) -> None:
    buffer = io.BytesIO()
    torch.save({"model": {"init_conv.weight": torch.zeros(3)}}, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(place.input / "model.pt", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("data.pkl") else data)


_PICKLES: dict[str, Any] = {
    "that ends early": lambda data: data[:20],
    "of a storage of 2^40 values": lambda data: data.replace(b"K\x03t", b"\x8a\x06\0\0\0\0\0\1t", 1),
    "of a text of 2^31 letters": lambda data: b"\x80\x02X\xff\xff\xff\x7fabc.",
    "of a number of 2^31 bytes": lambda data: b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "nested 10^6 deep": lambda data: b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b".",
    "of a list of lists of one list": lambda data: b"\x80\x02" + b"]q\0" + b"".join(b"]q%c(h%ch%ce" % (i, i - 1, i - 1) for i in range(1, 90)) + b".",
    "that pops too much": lambda data: b"\x80\x020000000.",
    "of an opcode that is none": lambda data: b"\x80\x02\xff.",
    "of protocol 99": lambda data: b"\x80\x63].",
    "of a memo that is not there": lambda data: b"\x80\x02h\x99.",
    "of an extension": lambda data: b"\x80\x02\x82\x01.",
}  # fmt: skip
CASES.each(
    "inspect",
    "",
    {f"a checkpoint's pickle {name}": change for name, change in _PICKLES.items()},
    _bytes,
    target="model.pt",
)
