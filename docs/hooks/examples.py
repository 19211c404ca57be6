"""Griffe extension: a docstring's `Example:` is rendered like `Examples:`, as code, and not as a quotation."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Rename the section before the docstring is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute that it has read."""
        if obj.docstring is not None:
            lines = obj.docstring.value.split("\n")
            renamed = ("Examples:" if line.strip() == "Example:" else line for line in lines)
            obj.docstring.value = "\n".join(renamed)
