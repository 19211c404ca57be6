"""Each ```python fence of the docs and the README runs, page by page and from top to bottom, and no link is dead.

Examples in docstrings run as doctests (`--doctest-modules`).
"""

import re
from pathlib import Path

import pytest
import torch

from scorereg.priors.load import shipped_priors

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
SHIPPED = re.compile(r'load_prior\("([\w-]+)"\)')


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fences(page: Path) -> list[str]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if fences(page)], ids=named)
def test_fences_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # pages name the bundled room as from the repository's root
    text = page.read_text(encoding="utf-8")
    space = {"__name__": "docs"}
    for match in FENCE.finditer(text):
        code, line = match.group(1), text[: match.start()].count("\n") + 1
        missing = set(SHIPPED.findall(re.sub("#.*", "", code))) - set(shipped_priors())
        if missing:
            pytest.skip(f"{missing} does not ship with this checkout")
        exec(compile("\n" * line + code, str(page), "exec"), space)  # padded, so that errors name the page's line
        torch.manual_seed(0)
    if page.name == "README.md":
        promised = re.findall(r"# .*: ([\d.]+)%", "".join(fences(page)))
        printed = re.findall(r"([\d.]+)%$", capsys.readouterr().out, re.MULTILINE)
        assert len(promised) == 2
        assert [float(x) for x in printed] == pytest.approx([float(x) for x in promised], abs=0.11)


def test_there_are_fences():
    """So that a change of the fence's form cannot empty the test above."""
    assert sum(len(fences(page)) for page in PAGES) >= 8


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_between_files_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{named(page)} links to {target}"


def test_every_public_name_is_in_the_api_pages():
    import scorereg

    text = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    assert [name for name in scorereg.__all__ if f"`{name}`" not in text] == []
