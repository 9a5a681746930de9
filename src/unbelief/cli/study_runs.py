"""`unbelief study tune`, `run` and `table`: methods at an equal search budget."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
