"""Reads our docstrings for mkdocstrings: their sections are Google's, almost.

An `Example` begins its lines of code at the margin, where a docstring is
tested but Markdown would take `>>>` for a quotation, and `Call arguments` are
a section of Keras's own.
"""

import re
from typing import Any

import griffe

SECTION = re.compile(r"[A-Z][a-z]+(?: [a-z]+)?:$")
ITEM = re.compile(r"    \*{0,2}(\w+): ")


class HouseDocstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        """Griffe calls it for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = rewritten(obj.docstring.value)
            if obj.is_class:
                # What a call returns, not what making an instance does.
                text = text.replace("\nReturns:\n", "\nCall returns:\n")
            obj.docstring.value = text


def rewritten(text: str) -> str:
    """A docstring as mkdocstrings wants it.

    Args:
        text: The docstring, without its common indentation.

    Returns:
        The same with `Examples` indented, and call arguments as a list.
    """
    section = ""
    found = []
    for line in text.splitlines():
        if SECTION.match(line):
            section = line
            # A title that stands alone, with a line of its own before it.
            if found and found[-1]:
                found.append("")
            found.append("Examples:" if line == "Example:" else line)
            continue
        if section == "Example:" and line and not line.startswith("    "):
            # The first line that is no code at the margin ends the example.
            line = f"    {line}"
        if section == "Call arguments:":
            line = ITEM.sub(r"    - `\1`: ", line)
        found.append(line)
    return "\n".join(found)
