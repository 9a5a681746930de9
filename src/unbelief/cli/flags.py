"""Flags that several commands have in common."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unbelief.errors import RequestError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def two(name: str, text: str) -> Any:
    """An option in both spellings: `--learning-rate` and `--learning_rate`.

    Args:
        name: In snake case.
        text: Its help.
    """
    dashed = "--" + name.replace("_", "-")
    return typer.Option(*dict.fromkeys((dashed, "--" + name)), help=text, show_default=False)


def settings(given: list[str] | None) -> dict[str, str]:
    """The `--set key=value` options as a mapping.

    Raises:
        RequestError: One is not of that form, or a key is there twice.
    """
    out: dict[str, str] = {}
    for item in given or []:
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise RequestError(
                f"--set {item!r} is not key=value",
                where="--set",
                remedy="for example --set top_k=20",
            )
        if key.strip() in out:
            raise RequestError(
                f"--set {key.strip()} is given twice", where="--set", remedy="give it once"
            )
        out[key.strip()] = value.strip()
    return out


def columns_of(given: list[str] | None) -> dict[str, str] | None:
    """The `--set columns.FIELD=COLUMN` options as a mapping of fields to columns; None: none.

    Raises:
        RequestError: One is of another form.
    """
    found = settings(given)
    for key in found:
        if not key.startswith("columns."):
            raise RequestError(
                f"there is no option {key!r} here",
                where="--set",
                remedy="for example --set columns.prompt=my_question",
            )
    return {key.removeprefix("columns."): value for key, value in found.items()} or None
