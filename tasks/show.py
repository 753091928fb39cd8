"""What a person sees of a stage in the Prefect UI: tables, text, pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from setpoint.domain.findings import Verdict


def verdict(key: str, found: Verdict, title: str, lines: Sequence[str] = ()) -> None:
    """A table of findings, worst first, with lines for people and the outcome above it."""
    told = "".join(f"- {line}\n" for line in lines)
    description = f"## {title}\n{told}\n{found.summary()}"
    create_table_artifact(table=found.table(), key=key, description=description)


def text(key: str, markdown: str) -> None:
    """A page of markdown."""
    create_markdown_artifact(markdown=markdown, key=key)


def picture(key: str, png: Path, title: str) -> None:
    """A picture, carried in the artifact itself so that it needs no file server."""
    data = base64.b64encode(png.read_bytes()).decode()
    create_image_artifact(image_url=f"data:image/png;base64,{data}", key=key, description=title)
