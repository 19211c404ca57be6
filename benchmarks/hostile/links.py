"""What is no plain file: pipes, devices, sockets, folders, links in a circle, names that no one writes."""
# ruff: noqa: E501 (tables with a case a line)

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from benchmarks.hostile.case import Cases, Place, edit_json, put

__all__ = ["CASES"]

CASES = Cases("files")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _circle(path: Path) -> None:
    path.symlink_to(path.name)


def _lost(path: Path) -> None:
    path.symlink_to("nowhere")


def _folder(path: Path) -> None:
    path.mkdir()


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


def _password(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


_THINGS: dict[str, Callable[[Path], None]] = {
    "a pipe": _pipe, "a link to a device": _zero, "a link to itself": _circle, "a link to nowhere": _lost,
    "a folder": _folder, "a socket": _socket, "a link to the password file": _password, "an empty file": _empty,
}  # fmt: skip
_ALL = tuple(_THINGS)
_SOME = ("a pipe", "a link to a device")
_PLACES = {  # command, base, file, what is put there
    "a photo": ("fit", "scene", "images/0.png", _ALL),
    "a depth map": ("fit", "scene", "depth/0.png", _SOME),
    "a mask": ("fit", "scene", "masks/0.png", _SOME),
    "points": ("fit", "scene", "points.ply", _SOME),
    "transforms.json": ("fit", "scene", "transforms.json", _ALL),
    "poses_bounds.npy": ("fit", "llff", "poses_bounds.npy", _SOME),
    "cameras.txt of COLMAP": ("fit", "colmap", "sparse/0/cameras.txt", _SOME),
    "points3D.txt of COLMAP": ("fit", "colmap", "sparse/0/points3D.txt", _SOME),
    "a photo among photos": ("poses", "photos", "0.png", ("a pipe", "a link to a device", "a folder", "a link to itself")),
    "a frame's depth map": ("prepare", "frames", "one/depth/0.png", ("a pipe", "a link to a device", "a folder")),
    "a frame's photo": ("prepare", "frames", "one/rgb/0.jpg", ("a pipe", "a link to a device", "a folder")),
    "intrinsics.json": ("prepare", "frames", "one/intrinsics.json", _SOME),
    "card.json": ("inspect", "prior", "card.json", _ALL),
    "weights": ("load", "prior", "diffusion_pytorch_model.safetensors", _SOME),
    "config.json": ("load", "prior", "config.json", _SOME),
    "arrays.json": ("arrays", "arrays", "arrays.json", _SOME),
    "train-0.npy": ("arrays", "arrays", "train-0.npy", ("a pipe", "a link to a device", "a folder", "an empty file")),
    "manifest.json": ("train", "shards", "manifest.json", _SOME),
    "a shard": ("train", "shards", "train-00000.tar", ("a pipe", "a link to a device", "a link to nowhere", "a folder")),
    "a checkpoint of a run": ("more", "run", "run/checkpoints/00000001.pt", _SOME),
    "fit.pt": ("resume", "fitted", "fit/fit.pt", _SOME),
    "a mesh": ("blocks", "meshes", "one.obj", _SOME),
    "text_encoder": ("text", "text", "text_encoder/model.safetensors", _SOME),
    "a scheduler": ("load", "diffusers", "scheduler/scheduler_config.json", _SOME),
}  # fmt: skip


def _put(place: Place, what: tuple[str, str]) -> None:
    path = place.input / what[0]
    path.unlink()
    _THINGS[what[1]](path)


for _name, (_command, _base, _file, _what) in _PLACES.items():
    CASES.each(_command, _base, {f"{thing} as {_name}": (_file, thing) for thing in _what}, _put)


def _alone(place: Place, thing: str) -> None:
    _THINGS[thing](place.input / "x")


for _command in ("inspect", "fit", "prepare", "poses", "blocks"):
    CASES.each(_command, "", {f"{thing} given to {_command}": thing for thing in (*_SOME, "a link to itself")}, _alone,
               target="x")  # fmt: skip


@CASES.add("prepare", "frames")
def _a_tree_of_links_to_itself(place: Place) -> None:
    """Two links in each folder to the one above: 2^n ways to go down."""
    shutil.rmtree(place.input / "one")
    shutil.rmtree(place.input / "two")
    here = place.input
    for i in range(20):
        here = here / str(i)
        here.mkdir()
        for name in ("a", "b"):
            (here / name).symlink_to("..")


@CASES.add("prepare", "")
def _a_link_to_the_root(place: Place) -> None:
    (place.input / "a").mkdir()
    (place.input / "a/up").symlink_to(place.input)


@CASES.add("rgb", "")
def _names_that_no_one_writes(place: Place) -> None:
    for name in (
        "\x1b[2J\x1b]0;x\x07.png",
        "a\nscorereg: all is well\n.png",
        "-rf.png",
        "$(touch mark).png",
        "a\udcff.png",
    ):
        put(place.input / name, b"<html>")


@CASES.add("poses", "")
def _photos_with_options_as_names(place: Place) -> None:
    for name in ("--help.png", "-c.png", "\x1b[2J.png"):
        put(place.input / name, b"\x89PNG")


@CASES.add("fit", "")
def _a_scene_without_rights(place: Place) -> None:
    put(place.input / "transforms.json", "{}").chmod(0)
    (place.input / "images").mkdir()


@CASES.add("inspect", "prior")
def _a_card_above_the_folder_by_a_link(place: Place) -> None:
    put(place.outside / "card.json", '{"name": "x"}')
    (place.input / "card.json").unlink()
    (place.input / "card.json").symlink_to(place.outside / "card.json")


@CASES.add("fit", "scene")
def _photos_folder_that_is_a_link_to_its_parent(place: Place) -> None:
    shutil.rmtree(place.input / "images")
    (place.input / "images").symlink_to(".")


@CASES.add("fit", "scene")
def _a_photo_that_names_a_pipe(place: Place) -> None:
    os.mkfifo(place.outside / "pipe.png")
    edit_json(
        place.input / "transforms.json",
        lambda table: table["frames"][0].update(file_path=str(place.outside / "pipe.png")),
    )


@CASES.add("prepare", "frames")
def _a_folder_of_100_deep(place: Place) -> None:
    shutil.rmtree(place.input / "one")
    shutil.rmtree(place.input / "two")
    (place.input / Path(*["d" * 30] * 100)).mkdir(parents=True)
