"""What all pages share: their style, their frame, numbers inside a script."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from setpoint.adapters.files import write_atomically

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1f2328}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}img{max-width:100%}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #d0d7de;padding:.3rem .6rem;
text-align:left;vertical-align:top}td.n,th.n{text-align:right}code{font-size:.85em}"""


def write_page(path: Path, title: str, body: str, style: str = "") -> Path:
    """Write a page whole or not at all.

    Args:
        path: The HTML file.
        title: Its title, as text.
        body: Its content, as HTML.
        style: Style sheet beside the common one.
    """
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta name=viewport content="width=device-width"><title>{escape(title)}</title>'
        f"<style>{STYLE}{style}</style>{body}</html>"
    )
    write_atomically(path, page.encode())
    return path


def script_value(value: Any) -> str:
    """A value as JavaScript, safe inside a script element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
