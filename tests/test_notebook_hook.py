"""Notebooks in the docs: their cells run, in order, with what they print and draw; a cell that fails ends the build."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="pip install '.[docs]'")
pytest.importorskip("matplotlib", reason="pip install '.[docs]'")

ROOT = Path(__file__).resolve().parent.parent
SPEC = importlib.util.spec_from_file_location("notebook_hook", ROOT / "docs/hooks/notebook.py")
assert SPEC is not None
assert SPEC.loader is not None
hook = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hook)


def write(path, *cells):
    table = [{"cell_type": kind, "source": text.splitlines(keepends=True)} for kind, text in cells]
    path.write_text(json.dumps({"cells": table}))
    return path


def test_cells_run_in_order_with_what_they_print_and_draw(tmp_path):
    draws = "from matplotlib import pyplot as plt\nplt.plot([1, 2])\nprint(x)\nx + 1"
    path = write(
        tmp_path / "two.ipynb",
        ("markdown", "# Title\n\nwords"),
        ("code", "x = 2"),
        ("markdown", "# Part"),
        ("code", draws),
    )
    before = Path.cwd()
    text, pictures = hook.execute(path)
    end = "```text\n2\n3\n```\n\n![What the cell above draws](assets/two-1.png)"
    assert text == f"words\n\n```python\nx = 2\n```\n\n# Part\n\n```python\n{draws}\n```\n\n{end}"
    assert list(pictures) == ["two-1.png"]
    assert pictures["two-1.png"].startswith(b"\x89PNG")
    assert Path.cwd() == before


@pytest.mark.parametrize(
    ("code", "says"),
    [("1 / 0", r"bad.ipynb, cell 2: ZeroDivisionError"), ("%matplotlib inline", r"bad.ipynb, cell 2: SyntaxError")],
)
def test_a_cell_that_fails_ends_the_build_and_is_named(code, says, tmp_path):
    from mkdocs.exceptions import PluginError

    with pytest.raises(PluginError, match=says):
        hook.execute(write(tmp_path / "bad.ipynb", ("markdown", "# Title"), ("code", code)))


def test_notebooks_are_kept_without_outputs_and_are_embedded():
    """Their outputs are those of the build; one that no page names would never be run."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    notebooks = list((ROOT / "docs").rglob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        table = json.loads(path.read_text(encoding="utf-8"))
        assert (table["nbformat"], table["nbformat_minor"]) == (4, 5)
        assert path.name in hook.MARK.findall(pages)
        assert all(not cell["outputs"] for cell in table["cells"] if cell["cell_type"] == "code")
