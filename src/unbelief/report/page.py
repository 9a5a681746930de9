"""Templates to pages: escaped, self-contained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of this package; what is missing is an error, all text is escaped.

    Args:
        template: File name in `templates`.
        context: Names the template uses.
    """
    environment = Environment(
        loader=PackageLoader("unbelief.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**context)
