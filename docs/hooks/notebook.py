"""Execute the notebooks that pages embed: `<!-- notebook: NAME.ipynb -->` becomes its cells and their outputs.

Cells run in this process, from top to bottom, in the notebook's folder; they are plain Python, so neither Jupyter nor a
kernel is needed. A cell that fails ends the build.
"""

import ast
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

MARK = re.compile(r"^<!-- notebook: (\S+\.ipynb) -->$", re.MULTILINE)
TITLE = re.compile(r"\A# .*\n*")
_done: dict[tuple[str, str], tuple[str, dict[str, bytes]]] = {}


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files, **_: Any) -> str:
    """Put notebooks where a page wants them; called by mkdocs."""

    def embedded(match: re.Match[str]) -> str:
        path = Path(page.file.abs_src_path).parent / match.group(1)
        text, pictures = _executed(path)
        for name, data in pictures.items():
            place = str(Path(page.file.src_uri).parent / "assets" / name)
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, content=data))
        return text

    return MARK.sub(embedded, markdown)


def _executed(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by name; executed once while its text stays the same."""
    source = path.read_text(encoding="utf-8")
    if (str(path), source) not in _done:
        _done[str(path), source] = execute(path)
    return _done[str(path), source]


def execute(path: Path) -> tuple[str, dict[str, bytes]]:
    """Run the cells of a notebook.

    Args:
        path: The notebook.

    Returns:
        Markdown without the title, and PNG files by name.

    Raises:
        PluginError: If a cell fails, with its number.
    """
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("agg")
    pyplot.close("all")  # another's figures are not the notebook's
    space: dict[str, Any] = {"__name__": "__main__"}
    parts, pictures = [], {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    with contextlib.chdir(path.parent):
        for number, cell in enumerate(cells, 1):
            source = "".join(cell["source"])
            if cell["cell_type"] != "code":
                parts.append(TITLE.sub("", source) if number == 1 else source)
                continue
            parts.append(f"```python\n{source}\n```")
            if printed := _run(source, space, f"{path.name}, cell {number}").rstrip():
                parts.append(f"```text\n{printed}\n```")
            for data in _drawn():
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = data
                parts.append(f"![What the cell above draws](assets/{name})")
    return "\n\n".join(parts), pictures


def _run(source: str, space: dict[str, Any], name: str) -> str:
    """What a cell prints; of its last expression the value, as in a notebook."""
    printed = io.StringIO()
    try:
        tree = ast.parse(source, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, name, "exec"), space)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), name, "eval"), space)
                if value is not None:
                    print(repr(value))  # noqa: T201
    except Exception as error:
        raise PluginError(f"{name}: {type(error).__name__}: {error}") from error
    return printed.getvalue()


def _drawn() -> list[bytes]:
    """The figures of matplotlib that are open, as PNG; they are closed."""
    from matplotlib import pyplot

    found = []
    for number in pyplot.get_fignums():
        data = io.BytesIO()
        pyplot.figure(number).savefig(data, format="png", dpi=110, bbox_inches="tight")
        found.append(data.getvalue())
    pyplot.close("all")
    return found
