"""Texts of a stranger: JSON, CSV and tables of numbers; odd encodings, depths, numbers, keys and names in them."""
# ruff: noqa: E501 (tables with a case a line)

import json
from collections.abc import Callable
from typing import Any

from benchmarks.hostile.case import Cases, Place, edit_json, put

__all__ = ["CASES"]

CASES = Cases("texts")
_NAN, _INF = float("nan"), float("inf")
_DEEP = "[" * 100_000 + "]" * 100_000

_RAW: dict[str, str | bytes] = {
    "nested 100,000 deep": _DEEP,
    "nested 100,000 deep in objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "of a number of 10^6 digits": '{"w": ' + "9" * 10**6 + "}",
    "that is empty": "",
    "of spaces": " " * 10_000,
    "of NUL bytes": bytes(5000),
    "of half a surrogate": b'{"a": "\xed\xa0\x80"}',
    "of bytes that are no text": b"\xff" * 999,
    "of UTF-16 that is cut": '{"a": 1}'.encode("utf-16")[:-1],
    "of UTF-32 beyond Unicode": b"\xff\xfe\0\0\xff\xff\xff\x7f",
    "of UTF-7": "+AHsAIgBhACIAOgAx-",
    "that is a list": "[1, 2]",
    "that is a text": '"transforms"',
    "that is null": "null",
    "with a comment": '{"a": 1} // so',
    "with two values": '{"a": 1}{"a": 2}',
    "with a key twice": '{"channels": ["r"], "channels": ["g"], "frames": [], "frames": [1]}',
    "that is a web page": "<!DOCTYPE html><html><script>alert(1)</script></html>",
    "that is XML with an entity that grows": '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a>&c;</a>',
    "that is YAML with a call": "!!python/object/apply:os.system ['touch mark']\n",
}
_FILES = {
    "transforms.json": ("fit", "scene"), "card.json": ("inspect", "prior"), "config.json": ("load", "prior"),
    "arrays.json": ("arrays", "arrays"), "manifest.json": ("train", "shards"), "one/intrinsics.json": ("prepare", "frames"),
    "model_index.json": ("load", "diffusers"), "scheduler/scheduler_config.json": ("load", "diffusers"),
    "unet/config.json": ("load", "diffusers"), "tokenizer/tokenizer_config.json": ("text", "text"),
    "text_encoder/config.json": ("text", "text"),
}  # fmt: skip
_SOME = {  # which of the texts each file is tried with, so that every pair of a reader and a text is met somewhere
    "transforms.json": tuple(_RAW),
    "card.json": tuple(_RAW),
    "manifest.json": tuple(_RAW)[:13],
    "arrays.json": ("nested 100,000 deep", "of a number of 10^6 digits", "that is null", "with a key twice"),
    "one/intrinsics.json": ("nested 100,000 deep in objects", "of bytes that are no text", "that is a list"),
    "config.json": ("nested 100,000 deep", "that is a list", "of UTF-16 that is cut"),
    "model_index.json": ("nested 100,000 deep", "that is null", "of NUL bytes"),
    "scheduler/scheduler_config.json": ("nested 100,000 deep", "of spaces"),
    "unet/config.json": ("nested 100,000 deep", "that is a text"),
    "tokenizer/tokenizer_config.json": ("nested 100,000 deep", "of bytes that are no text", "that is a list"),
    "text_encoder/config.json": ("nested 100,000 deep", "that is empty", "that is a list"),
}
for _file, _names in _SOME.items():
    _command, _base = _FILES[_file]
    CASES.each(
        _command, _base, {f"{_file} {name}": _RAW[name] for name in _names},
        lambda place, data, file=_file: put(place.input / file, data),
    )  # fmt: skip


def _set(path: str, value: Any) -> Callable[[Any], None]:
    """A change of a JSON value, by the keys and numbers that lead to it."""

    def change(table: Any) -> None:
        *way, last = (int(word) if word.isdigit() else word for word in path.split("/"))
        for key in way:
            table = table[key]
        table[last] = value

    return change


def _edits(file: str, command: str, base: str, table: dict[str, Callable[[Any], Any]]) -> None:
    CASES.each(command, base, {f"{file} {name}": change for name, change in table.items()},
               lambda place, change: edit_json(place.input / file, change))  # fmt: skip


_FILE, _POSE = "frames/0/file_path", "frames/0/transform_matrix"
_SCENES: dict[str, tuple[str, Any]] = {
    "a focal length of 1e308": ("fl_x", 1e308),
    "a focal length of 1e-320": ("fl_x", 1e-320),
    "a focal length of 10^400": ("fl_x", 10**400),
    "a focal length of NaN": ("fl_x", _NAN),
    "a focal length in words": ("fl_x", "55; import os"),
    "a focal length of a list": ("fl_x", [[[55.0]]]),
    "a width of 10^12": ("w", 10**12),
    "a width of -64": ("w", -64),
    "a width that is true": ("w", True),
    "a distortion of infinity": ("k1", _INF),
    "a distortion of 1e30": ("k1", 1e30),
    "a camera model with an escape sequence": ("camera_model", "\x1b[31mOPENCV\x1b]8;;http://x\x07"),
    "a unit of depth of 0": ("depth_unit_scale_factor", 0),
    "a unit of depth of 1e308": ("depth_unit_scale_factor", 1e308),
    "a pose of NaN": (_POSE, [[_NAN] * 4] * 4),
    "a pose of 1e308": (_POSE, [[1, 0, 0, 1e308], [0, 1, 0, 1e308], [0, 0, 1, 1e308], [0, 0, 0, 1]]),
    "a pose of 3 rows of 3": (_POSE, [[1, 0, 0]] * 3),
    "a pose of zeros": (_POSE, [[0] * 4] * 4),
    "a pose of texts": (_POSE, [["1"] * 4] * 4),
    "a pose nested deep": (_POSE, json.loads("[" * 500 + "1" + "]" * 500)),
    "a pose of 10^5 rows": (_POSE, [[1, 0, 0, 0]] * 10**5),
    "frames that are an object": ("frames", {"0": 1}),
    "frames that are numbers": ("frames", [1, 2, 3]),
    "no frames": ("frames", []),
    "a frame that is null": ("frames/2", None),
    "near above far": ("near", 7.0),
    "points above the folder": ("ply_file_path", "../../../../etc/passwd"),
    "points on the web": ("ply_file_path", "http://127.0.0.1:9/points.ply"),
    "a photo on the web": (_FILE, "http://127.0.0.1:9/a.png"),
    "a photo of the password file": (_FILE, "/etc/passwd"),
    "a photo far above the folder": (_FILE, "../" * 200 + "etc/passwd"),
    "a photo that is a device": (_FILE, "/dev/zero"),
    "a photo that is the input": (_FILE, "/dev/stdin"),
    "a photo of another machine": (_FILE, "\\\\server\\share\\a.png"),
    "a photo by a file address": (_FILE, "file:///etc/passwd"),
    "a photo by a data address": (_FILE, "data:image/png;base64,iVBORw0KGgo="),
    "a photo with a NUL in its name": (_FILE, "images/0.png\0.jpg"),
    "a photo with an escape sequence": (_FILE, "\x1b[2Jimages/\x1b]0;x\x07.png"),
    "a photo with a line break": (_FILE, "images/\nscorereg: all is well\n.png"),
    "a photo with a name turned round": (_FILE, "images/\u202egnp.exe"),
    "a photo of a lone surrogate": (_FILE, "images/\ud800.png"),
    "a photo of 10^6 letters": (_FILE, "a" * 10**6),
    "a photo of 10^5 folders": (_FILE, "a/" * 10**5 + "b.png"),
    "a photo that is its folder": (_FILE, "images"),
    "a photo that is empty": (_FILE, ""),
    "a photo of a number": (_FILE, 7),
    "a photo by a home": (_FILE, "~/a.png"),
    "a photo by a variable": (_FILE, "$HOME/a.png"),
    "a photo by a command": (_FILE, "`touch mark`$(touch mark)|touch mark;"),
    "a photo of a pattern": (_FILE, "images/(((((a+)+)+)+)+)$.png"),
    "a mask that is a device": ("frames/0/mask_path", "/dev/zero"),
    "a depth map that is a device": ("frames/0/depth_file_path", "/dev/zero"),
    "a depth map above the folder": ("frames/0/depth_file_path", "../../../../etc/passwd"),
}
_edits("transforms.json", "fit", "scene", {name: _set(*what) for name, what in _SCENES.items()})

_CARDS: dict[str, tuple[str, Any]] = {
    "a name with an escape sequence": ("name", "a\x1b[2J\x1b]0;evil\x07"),
    "a name with line breaks": ("name", "a\nscorereg: all is well"),
    "a name of 10^7 letters": ("name", "a" * 10**7),
    "a channel with an escape sequence": ("channels", ["r", "g", "b", "\x1b[31mdisparity"]),
    "channels twice": ("channels", ["r", "r", "r", "r"]),
    "channels of numbers": ("channels", [1, 2, 3, 4]),
    "10^6 channels": ("channels", ["c"] * 10**6),
    "a size of 10^9": ("size", [10**9, 10**9]),
    "a size of -16": ("size", [-16, 16]),
    "a sigma of NaN": ("sigma_min", _NAN),
    "a sigma of infinity": ("sigma_max", _INF),
    "a sigma of 1e308": ("sigma_max", 1e308),
    "a sigma of 10^400": ("sigma_max", 10**400),
    "a sigma above the other": ("sigma_min", 80.0),
    "a d_min of 1e-320": ("d_min", 1e-320),
    "a range of 1e308": ("range", [-1e308, 1e308]),
    "a range of NaN": ("range", [_NAN, 1]),
    "errors that are numbers": ("denoising", {"nyu": 7}),
    "errors of nothing": ("denoising", {"nyu": [{}]}),
    "errors in words": ("denoising", {"nyu": [{"sigma": "a", "rgb": "b", "rgb_linear": 1, "rgb_ratio": 1}]}),
    "errors of a list": ("denoising", [1, 2]),
    "quantiles of nothing": ("residual_quantiles", {"sigma": [], "levels": [], "values": []}),
    "quantiles of 1e308": ("residual_quantiles", {"sigma": [1e308], "levels": [0.5], "values": [[_NAN]]}),
    "a licence with a page's head": ("licence", "MIT\n---\nlibrary_name: evil"),
    "a credit with an escape sequence": ("credits", ["\x1b]8;;http://x\x07me"]),
    "steps of 10^5000": ("steps", 10**4000),
    "steps of -1": ("steps", -1),
    "a field that is not known": ("__class__", "os.system"),
    "a patchify of 10^9": ("network", {"patchify": 10**9}),
    "a patchify that is true": ("network", {"patchify": True}),
    "a prediction of its own": ("prediction", "__import__('os').system('touch mark')"),
}
_edits("card.json", "load", "prior", {name: _set(*what) for name, what in _CARDS.items()})
_SHOWN = ("a name with an escape sequence", "errors that are numbers", "errors of nothing", "errors in words")
CASES.each("inspect", "prior", {f"card.json shown, {name}": _set(*_CARDS[name]) for name in _SHOWN},
           lambda place, change: edit_json(place.input / "card.json", change))  # fmt: skip

_ARRAYS: dict[str, tuple[str, Any]] = {
    "a range of words": ("range", ["a", "b"]),
    "a range of one number": ("range", [1]),
    "a range of NaN": ("range", [_NAN, 1]),
    "channels that are a number": ("channels", 5),
    "a channel with an escape sequence": ("channels", ["\x1b[2J"]),
    "an axis of 10^9 to mirror": ("mirror", [10**9]),
    "a mirror in words": ("mirror", "abc"),
    "a scale of 1e308": ("scale", 1e308),
    "a scale in words": ("scale", "x"),
    "a d_min in words": ("d_min", "x"),
    "held-out names that are a number": ("held_out", 7),
    "a transform that is a list": ("transform", [1]),
    "a licence that is a number": ("licence", 7),
    "a depth that is a list": ("depth", [1]),
}
_edits("arrays.json", "arrays", "arrays", {name: _set(*what) for name, what in _ARRAYS.items()})

_TABLES: dict[str, tuple[str, str | bytes]] = {
    "words": ("traj.txt", "a b c\n" * 10), "10^6 columns": ("traj.txt", "1 " * 10**6),
    "NaN": ("traj.txt", "nan " * 16), "1e999": ("traj.txt", "1e999 " * 16), "no line": ("traj.txt", "#\n"),
    "NUL": ("traj.txt", bytes(500)), "escape sequences": ("traj.txt", "\x1b[2J\x1b]0;x\x07 1 2\n"),
}  # fmt: skip


def _table(place: Place, what: tuple[str, str | bytes]) -> None:
    """Replica: traj.txt of poses, and frames."""
    photos = sorted((place.input / "images").iterdir())
    for i, photo in enumerate(photos[:4]):
        put(place.input / f"results/frame{i:06}{photo.suffix}", photo.read_bytes())
        put(place.input / f"results/depth{i:06}.png", (place.input / "depth/0.png").read_bytes())
    (place.input / "transforms.json").unlink()
    edit = {"camera": {"w": 64, "h": 48, "fx": 55, "fy": 55, "cx": 32, "cy": 24, "scale": 1000}}
    put(place.input / "cam_params.json", json.dumps(edit))
    put(place.input / what[0], what[1])


CASES.each("fit", "scene", {f"a table of poses of {name}": what for name, what in _TABLES.items()}, _table)


@CASES.add("prepare", "")
def _a_camera_table_of_one_field_of_megabytes(place: Place) -> None:
    put(place.input / "ai_001_001/images/scene_cam_00_final_hdf5/frame.0000.color.hdf5", b"x")
    put(place.input / "metadata_camera_parameters.csv", 'scene_name,M\n"' + "a" * 2_000_000 + '",1\n')


@CASES.add("prepare", "")
def _a_split_table_without_columns(place: Place) -> None:
    names = [f"M_cam_from_uv_{row}{column}" for row in range(3) for column in range(3)]
    put(place.input / "ai_001_001/images/scene_cam_00_final_hdf5/frame.0000.color.hdf5", b"x")
    put(place.input / "metadata_camera_parameters.csv",
        "scene_name," + ",".join(names) + "\nai_001_001,0.5,0,0,0,0.4,0,0,0,-1\n")  # fmt: skip
    put(place.input / "metadata_images_split_scene_v1.csv", "a,b\n1,2\n")


@CASES.add("prepare", "")
def _a_camera_table_of_bytes(place: Place) -> None:
    put(place.input / "ai_001_001/images/scene_cam_00_final_hdf5/frame.0000.color.hdf5", b"x")
    put(place.input / "metadata_camera_parameters.csv", b"\xff\xfe\x00scene_name")


def _best(place: Place, data: str) -> None:
    put(place.input / "run/checkpoints/best.json", data)


CASES.each("more", "run", {"best.json nested deep": _DEEP}, _best)
