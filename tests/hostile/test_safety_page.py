"""The page of promises: each names tests, and they are there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [line for line in (ROOT / "docs/safety.md").read_text().splitlines() if line.startswith("| ")][1:]


def test_there_are_promises():
    assert len(ROWS) > 12


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_promise_has_tests_that_are_there(row):
    _, promise, tests = (cell.strip() for cell in row.strip("|").split("|"))
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert promise.endswith(".")
    assert named, f"no test is named for: {promise}"
    assert re.sub(r"`[^`]*`", "", tests).strip() == ""
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_the_figures_of_the_campaign_are_those_that_were_measured():
    counts = json.loads((ROOT / "benchmarks/results/hostile.json").read_text())["counts"]["all cases"]
    lines, warned, same = (counts[name] for name in ("one line", "warned", "harmless"))
    assert sum(counts.values()) == lines + warned + same, "nothing else became of them"
    page = " ".join((ROOT / "docs/safety.md").read_text().split())
    for words in (
        f"gives {lines + warned + same} inputs",
        f"{lines} were refused",
        f"{warned} were read",
        f"{same} were read",
    ):
        assert words in page


def test_pages_link_each_other():
    assert "docs/safety.md" in (ROOT / "SECURITY.md").read_text()
    readme = (ROOT / "README.md").read_text()
    assert "SECURITY.md" in readme
    assert "docs/safety.md" in readme
