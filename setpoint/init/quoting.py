"""Texts of the data as YAML writes them."""

from __future__ import annotations


def quoted(text: str) -> str:
    """A double-quoted YAML text; what does not print, line ends too, is escaped."""
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    return sign if sign.isprintable() else f"\\U{ord(sign):08x}"


def listed(texts: list[str] | tuple[str, ...]) -> str:
    """Quoted texts with commas between them."""
    return ", ".join(quoted(text) for text in texts)
