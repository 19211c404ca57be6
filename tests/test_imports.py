"""Which folder may import which, as the table of docs/design.md says; the public names exist and cost little."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import scorereg

PACKAGE = Path(scorereg.__file__).parent
DESIGN = PACKAGE.parent / "docs" / "design.md"
HEAVY = {
    "diffusers", "imageio", "lpips", "matplotlib", "skimage", "tensorboard", "tinycudann", "triton", "typer", "viser",
}  # fmt: skip


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module by its dotted name; a folder's `__init__.py` by the folder's."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(("scorereg", *path.relative_to(package).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, package: Path = PACKAGE) -> set[str]:
    """Full names of what a module imports from scorereg, wherever in the file and however it is written."""
    above = ("scorereg", *path.relative_to(package).parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = above[: len(above) - node.level + 1] if node.level else ()
            base = ".".join((*start, *([node.module] if node.module else [])))
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "scorereg"}


def reached(names: set[str], known: dict[str, Path]) -> set[str]:
    """The modules that imported names lie in: the longest part of each that is one."""
    found = set()
    for name in names:
        while name not in known:
            name = name.rpartition(".")[0]
        found.add(name)
    return found


@cache
def graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    known = modules(package)
    return {name: reached(imports(path, package), known) for name, path in known.items()}


def part_of(module: str) -> str:
    """First-level part of the package: `scorereg.priors.base` is in `priors`."""
    return module.split(".")[1] if "." in module else "scorereg"


def rules() -> dict[str, set[str]]:
    """What each part may import, from the table of the design page."""
    rows = re.findall(r"^\| ((?:`\w+`,? ?)+) \| ([^|]+) \|", DESIGN.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part: set(re.findall(r"`(\w+)`", may)) for parts, may in rows for part in re.findall(r"`(\w+)`", parts)}


def circles(edges: dict[str, set[str]]) -> set[str]:
    """The nodes from which a path leads back to themselves."""

    def beyond(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in edges.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    return {node for node in edges if node in beyond(node)}


def test_the_table_names_every_part():
    assert set(rules()) == {part_of(name) for name in modules() if name.count(".") >= 1 and name != "scorereg.__main__"}


@pytest.mark.parametrize("module", modules())
def test_a_folder_imports_only_what_its_row_allows(module):
    part = part_of(module)
    if module in ("scorereg", "scorereg.__main__"):
        return  # the list of public names, and the command
    others = {part_of(name) for name in graph()[module]} - {part}
    assert "scorereg" not in others, "import from the module that defines a name, not from the package"
    assert others <= rules()[part]


def test_rules_have_no_circle():
    assert circles(rules()) == set()


def test_modules_have_no_circle():
    assert circles(graph()) == set()


def test_the_two_halves_never_import_each_other():
    rendering = {"scenes", "cameras", "rendering", "baselines", "metrics", "ops"}
    priors = {"priors", "transforms", "score_loss", "estimators", "data", "evaluation", "training"}
    table = rules()
    for part in rendering:
        assert not table[part] & priors
    for part in priors - {"priors", "data"}:
        assert not table[part] & rendering
    assert table["priors"] & rendering <= {"ops"}  # tensor kernels, which know neither cameras' photos nor noise


def test_the_walk_sees_every_way_to_write_an_import(tmp_path):
    """Against a mutant of each kind, so that the tests above cannot pass by being blind."""
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
        "if TYPE_CHECKING:\n    from scorereg.fields import HashGrid",
    ):
        path.write_text(line)
        assert {part_of(name) for name in imports(path, tmp_path)} == {"fields"}, line


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}
    assert circles({"a": {"b"}, "b": set(), "c": {"c"}}) == {"c"}


@pytest.mark.parametrize("module", [name for name, path in modules().items() if path.name == "__init__.py"])
def test_no_module_is_hidden_by_a_name_of_its_folder(module):
    """`scorereg.x` must not be a function where `scorereg/x.py` is a module."""
    inside = {name.rpartition(".")[2] for name in modules() if name.rpartition(".")[0] == module}
    face = importlib.import_module(module)
    for name in inside & set(vars(face)):
        assert vars(face)[name] is sys.modules[f"{module}.{name}"], name


def private_uses(tree: ast.AST) -> list[str]:
    """Private attributes of something other than the class itself, but for those of torch and os."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "super()", "torch", "os"):
                found.append(f"{node.lineno}: {owner}.{node.attr}")
    return sorted(found)


@pytest.mark.parametrize("module", modules())
def test_no_private_method_of_another_class_is_used(module):
    assert private_uses(ast.parse(modules()[module].read_text(encoding="utf-8"))) == []


def test_private_uses_are_seen():
    code = "class A:\n    def f(self, b):\n        return self._x + b._y() + b.c._z + torch._foreach_add_"
    assert private_uses(ast.parse(code)) == ["3: b._y", "3: b.c._z"]


def test_public_names_exist_and_are_listed_once():
    assert len(set(scorereg.__all__)) == len(scorereg.__all__)
    for name in scorereg.__all__:
        assert getattr(scorereg, name) is not None


@pytest.mark.parametrize("module", modules())
def test_every_module_lists_its_names_truly(module):
    path = modules()[module]
    body = ast.parse(path.read_text(encoding="utf-8")).body
    if path.name == "__main__.py" or (path.name == "__init__.py" and len(body) <= 1):
        return  # nothing of its own
    if path.name == "kernels.py":
        pytest.importorskip("triton")
    loaded = importlib.import_module(module)
    assert [n for n in loaded.__all__ if not hasattr(loaded, n)] == []


def test_importing_is_light():
    code = "import sys, scorereg; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert not HEAVY & set(shown.stdout.split())
