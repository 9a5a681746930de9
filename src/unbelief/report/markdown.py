"""Markdown in which texts from elsewhere stay texts."""

from __future__ import annotations

import re

from unbelief.report.tables import Table
from unbelief.report.visible import visible

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~$#&!])")


def escape(text: str) -> str:
    """One line that shows as it is: no emphasis, link, image, tag, table cell or mathematics."""
    return _SPECIAL.sub(r"\\\1", " ".join(visible(text).split()))


def paragraph(text: str) -> str:
    """A paragraph; its beginning makes neither a list nor a heading."""
    shown = escape(text)
    return re.sub(r"^(\d+)([.)])(?=\s)|^([-+=])", _guard, shown)


def table(content: Table, *, level: int = 0) -> str:
    """A table with its title, in bold or as a heading of the given level."""
    title = escape(content.title)
    head = f"{'#' * level} {title}" if level else f"**{title}**"
    lines = [content.head, ("---",) * len(content.head), *content.rows]
    body = [lines[0], *lines[2:]]
    written = ["| " + " | ".join(escape(c) for c in line) + " |" for line in body]
    rule = "| " + " | ".join(lines[1]) + " |"
    return "\n".join([head, "", written[0], rule, *written[1:], ""])


def bullets(items: tuple[str, ...]) -> str:
    """A list."""
    return "".join(f"- {paragraph(item)}\n" for item in items)


def _guard(found: re.Match[str]) -> str:
    return f"{found[1]}\\{found[2]}" if found[1] else f"\\{found[3]}"
