"""Turn formulas into MathML while the pages are built: browsers show it by themselves, offline and without a script."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace each formula of a page; called by mkdocs."""
    return FORMULA.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    inline, display = match.group(2), match.group(3)
    formula = html.unescape(inline if display is None else display)
    return convert(formula.strip(), display="inline" if display is None else "block")
