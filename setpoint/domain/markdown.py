"""Text that Markdown reads as text, whatever a person wrote into it."""

from __future__ import annotations

import re

_MARKS = re.compile(r"([\\`*~\[\]|<>&])")


def marked_text(text: str) -> str:
    """GitHub's Markdown for a text; a line break inside a cell is kept."""
    return " <br> ".join(_MARKS.sub(r"\\\1", part.strip()) for part in text.split("\n"))


def one_line(text: str) -> str:
    """The same without its line breaks."""
    return marked_text(" ".join(text.split()))
