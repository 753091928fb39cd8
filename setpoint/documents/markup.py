"""A document as a tree, and the two forms in which it is written."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from setpoint.adapters.files import write_atomically
from setpoint.domain.markdown import marked_text
from setpoint.report.page import write_page

STYLE = """body{max-width:64rem}.missing{background:#fff8c5;border-left:4px solid #d29922;
padding:.35rem .7rem}.small{font-size:.9rem;color:#59636e}td{overflow-wrap:anywhere}
th{background:#f6f8fa;font-size:.85rem}td.lone{color:#b42318}nav a{margin-right:.9rem;
white-space:nowrap}td:first-child{white-space:nowrap}table.facts td:first-child{width:16rem;
color:#59636e;white-space:normal}td:nth-child(2){min-width:9rem}td:last-child{min-width:12rem}p{white-space:pre-line}"""
NOT_SHOWN = "not shown"
"""What a table says where there is nothing to show."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Missing:
    """A place for words that nobody has written yet.

    Attributes:
        field: Of the section ``documents`` of the project file.
    """

    field: str

    @property
    def text(self) -> str:
        """What its place says."""
        return f"Missing: write documents.{self.field} in the project file"


@dataclass(frozen=True)
class Table:
    """Rows under a header; as many cells in each as in the header.

    Attributes:
        header: Names of the columns; empty for pairs of a name and a value.
        rows: Cells.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """A picture that a page carries in itself; Markdown, which cannot, says where it is.

    Attributes:
        title: What is seen.
        png: Its bytes.
        place: Where it is kept.
    """

    title: str
    png: bytes
    place: str


Block = Text | Missing | Table | Picture


@dataclass(frozen=True)
class Part:
    """A heading with what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes:
        name: Of its files, without ending.
        title: For people.
        about: One line under the title: what it was made of.
        parts: In order.
    """

    name: str
    title: str
    about: str
    parts: tuple[Part, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields of ``documents`` whose words it lacks, in order."""
        found = [b.field for p in self.parts for b in p.blocks if isinstance(b, Missing)]
        return tuple(dict.fromkeys(found))


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """Names beside values; pairs without a value are left out."""
    return Table((), tuple((name, value) for name, value in pairs if value))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> Block:
    """A table, or a sentence where it would have no row."""
    found = tuple(tuple(row) for row in rows)
    return Table(tuple(header), found) if found else Text(empty)


def write(document: Document, folder: Path) -> list[Path]:
    """Write both forms, each whole or not at all; returns the files."""
    markdown = folder / f"{document.name}.md"
    write_atomically(markdown, to_markdown(document).encode())
    page = folder / f"{document.name}.html"
    return [markdown, write_page(page, document.title, to_html(document), STYLE)]


def to_html(document: Document) -> str:
    """The body of a page; whatever a value holds, it is text."""
    links = " ".join(
        f'<a href="#{_anchor(part.title)}">{escape(part.title)}</a>' for part in document.parts
    )
    parts = "".join(
        f'<h2 id="{_anchor(part.title)}">{escape(part.title)}</h2>'
        + "".join(_block_html(block) for block in part.blocks)
        for part in document.parts
    )
    head = f"<h1>{escape(document.title)}</h1><p class=small>{escape(document.about)}</p>"
    return f"{head}<nav class=small>{links}</nav>{parts}"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _block_html(block: Block) -> str:
    if isinstance(block, Missing):
        return f"<p class=missing>{escape(block.text)}</p>"
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.png).decode()
        return f'<img src="data:image/png;base64,{data}" alt="{escape(block.title)}">'
    head = "".join(f"<th>{escape(name)}" for name in block.header)
    rows = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in block.rows)
    kind = "" if block.header else " class=facts"
    return f"<table{kind}>" + (f"<tr>{head}</tr>" if head else "") + f"{rows}</table>"


def _cell(text: str) -> str:
    kind = " class=lone" if text.startswith(NOT_SHOWN) else ""
    return f"<td{kind}>" + "<br>".join(escape(line) for line in text.split("\n"))


def to_markdown(document: Document) -> str:
    """GitHub's Markdown; whatever a value holds, it is text."""
    lines = [f"# {marked_text(document.title)}", "", marked_text(document.about), ""]
    for part in document.parts:
        lines += [f"## {marked_text(part.title)}", ""]
        for block in part.blocks:
            lines += [*_block_markdown(block), ""]
    return "\n".join(lines)


def _block_markdown(block: Block) -> list[str]:
    if isinstance(block, Missing):
        return [f"> **{marked_text(block.text)}**"]
    if isinstance(block, Text):
        return [_paragraph(line) for line in block.text.split("\n")]
    if isinstance(block, Picture):
        return [_paragraph(f"Picture: {block.title} ({block.place})")]
    header = block.header or ("",) * len(block.rows[0]) if block.rows else block.header
    rows = [header, ("---",) * len(header)]
    told = [tuple(marked_text(cell) for cell in row) for row in block.rows]
    return ["| " + " | ".join(row) + " |" for row in (*rows, *told)]


def _paragraph(text: str) -> str:
    """The same of a line of its own, which is no heading and no item of a list either."""
    plain = marked_text(text)
    if re.match(r"(=+|-+|_+)(\s|$|[-_ ]*$)", plain):  # a line under a heading, or a rule
        return f"\\{plain}"
    found = re.match(r"(#+|[+-]|\d+[.)])(?=\s|$)", plain)
    if found is None:
        return plain
    last = found.end() - 1
    return f"{plain[:last]}\\{plain[last:]}"
