"""Style sheets and scripts of pages, and the policy that allows these and nothing else."""

from __future__ import annotations

import base64
from hashlib import sha256
from importlib.resources import files


def asset(name: str) -> str:
    """Content of a file in `templates`."""
    return files("unbelief.report").joinpath("templates", name).read_text(encoding="utf-8")


def policy(style: str, script: str | None = None) -> str:
    """Content security policy of a page: nothing from anywhere, and of what is on it only these.

    Args:
        style: Content of the one style element.
        script: Content of the one script element that may run; None for none.
    """
    may_run = "" if script is None else f"script-src {_source(script)}; "
    return (
        f"default-src 'none'; style-src {_source(style)}; {may_run}"
        "base-uri 'none'; form-action 'none'"
    )


def _source(content: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(content.encode()).digest()).decode()}'"
