"""Templates to pages: escaped, self-contained."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from unbelief.report.visible import visible


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill a template of this package; what is missing is an error, all text is escaped.

    Characters that hide or reorder text are written out.

    Args:
        template: File name in `templates`.
        context: Names the template uses.
    """
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> Environment:
    """Compiled templates are kept in it."""
    return Environment(
        loader=PackageLoader("unbelief.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
