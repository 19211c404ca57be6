"""The two halves never import each other, the public names exist, and importing them costs little."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import scorereg

PACKAGE = Path(scorereg.__file__).parent
RENDERING = {
    "scenes",
    "cameras",
    "fields",
    "voxel_grid",
    "rendering",
    "surface_depth",
    "photo",
    "patches",
    "baselines",
    "consistency",
    "metrics",
    "ops",
}
PRIORS = {
    "added",
    "arrays",
    "attach",
    "averaging",
    "budget",
    "densities",
    "estimators",
    "files",
    "gate",
    "particles",
    "priors",
    "ray_weights",
    "score",
    "score_inputs",
    "transforms",
    "schedules",
    "training",
    "sampling",
    "evaluation",
    "tables",
}
MEETING = {
    "fit",
    "fit_loop",
    "fit_prior",
    "ray_term",
    "recipe",
    "saved_fit",
    "cli",
    "cli_data",
    "cli_prepare",
    "cli_train",
    "__init__",
}  # where the halves may meet: the one loop, the commands, the list of names
HEAVY = {"diffusers", "imageio", "lpips", "matplotlib", "skimage", "tensorboard", "tinycudann", "triton", "typer"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of what a module imports from scorereg, wherever in the file and however it is written."""
    package = ("scorereg", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, *([node.module] if node.module else [])))
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "scorereg"}


def parts(names: set[str]) -> set[str]:
    """First-level parts of the package: `scorereg.priors.base.Prior` is in `priors`."""
    return {name.split(".")[1] for name in names if "." in name}


def part_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def test_every_module_belongs_somewhere():
    present = {part_of(path) for path in modules()}
    assert present <= RENDERING | PRIORS | MEETING, "name the half of a new module in this test"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_halves_never_import_each_other(path):
    part = part_of(path)
    if part in MEETING:
        return
    other = PRIORS if part in RENDERING else RENDERING
    reached = parts(imports(path))
    assert not reached & other
    assert not reached & (MEETING - {"__init__"})
    assert not reached & set(scorereg.__all__) - RENDERING - PRIORS, (
        "import from the module that defines it, not from the package"
    )


def test_the_walk_sees_every_way_to_write_an_import(tmp_path, monkeypatch):
    """Against a mutant of each kind, so that the test above cannot pass by being blind."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "priors").mkdir()
    path = tmp_path / "priors" / "x.py"
    for line in (
        "import scorereg.fields",
        "import scorereg.fields as f",
        "from scorereg import fields",
        "from scorereg.fields import HashGrid",
        "from ..fields import HashGrid",
        "from .. import fields",
        "def f():\n    from scorereg.fields import HashGrid",
    ):
        path.write_text(line)
        assert parts(imports(path)) == {"fields"}, line


def test_public_names_exist_and_are_listed_in_order():
    assert len(set(scorereg.__all__)) == len(scorereg.__all__)
    for name in scorereg.__all__:
        assert getattr(scorereg, name) is not None
    assert callable(scorereg.score)  # the function, not the module of the same name


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_module_lists_its_names_truly(path):
    body = ast.parse(path.read_text(encoding="utf-8")).body
    if path.name == "__init__.py" and len(body) <= 1:
        return  # a folder with nothing of its own
    name = ".".join(("scorereg", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    if name.endswith("_triton"):
        pytest.importorskip("triton")
    module = importlib.import_module(name)
    assert [n for n in module.__all__ if not hasattr(module, n)] == []


def test_importing_is_light():
    code = "import sys, scorereg; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not HEAVY & set(shown.stdout.split())
