"""The methods page of the documentation, made from the terms' own docstrings.

`python -m unbelief.objectives.page > docs/methods.md`; a test keeps the page up to date.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, Field, fields
from typing import Any

from unbelief.objectives.base import ForgetTerm, RetainTerm, Term
from unbelief.objectives.gradients import GRADIENT_RULES, GradientRule
from unbelief.objectives.methods import methods, terms
from unbelief.objectives.weights import RULES, WeightRule

_INTRO = """# Methods

This page is made from the code: `python -m unbelief.objectives.page > docs/methods.md`.

An objective is γ · forget term + α · retain term, minimised. A method is a forget term with its
customary surroundings; `unbelief methods NAME` shows one, `--set key=value` changes its options.
Write your own: [add an objective](add_an_objective.md).
"""

_RULES = """## Weight rules

γ and α may move while training goes on: `--set weights=NAME`, options as `--set weights.key=value`.
"""

_GRADIENTS = """## Gradient rules

What a step is made of: `--set gradients=NAME` with any method that has a retain term, options as
`--set gradients.key=value`.
"""


def methods_page() -> str:
    """Markdown of all methods, forget terms and retain terms."""
    rows = [
        f"| `{m.name}` | {m.preset.summary} | `{m.term.__name__}` "
        f"| {m.preset.retain or 'none'} | {m.preset.forget_weight:g} |"
        for m in methods().values()
    ]
    table = "| method | what | forget term | retain term | γ |\n|---|---|---|---|---|\n"
    parts = [_INTRO, "## By name\n\n" + table + "\n".join(rows) + "\n"]
    for title, base in (("Forget terms", ForgetTerm), ("Retain terms", RetainTerm)):
        parts.append(f"## {title}\n")
        chosen = sorted((t for t in terms().values() if issubclass(t, base)), key=lambda t: t.name)
        parts += [_section(term) for term in chosen]
    parts.append(_RULES)
    parts += [_section(rule) for rule in RULES.values()]
    parts.append(_GRADIENTS)
    parts += [_section(rule) for rule in GRADIENT_RULES.values()]
    return "\n".join(parts)


def _section(term: type[Term | WeightRule | GradientRule]) -> str:
    text = inspect.cleandoc(term.__doc__ or "")
    text = re.split(r"\n(?:Class attributes|Attributes):", text)[0].strip()
    # Sphinx's mathematics to the form Markdown pages show.
    text = re.sub(r"\.\. math::\s*(.*?)(?=\n\n|\Z)", _display, text, flags=re.DOTALL)
    text = re.sub(r":math:`([^`]*)`", r"$\1$", text)
    options = "".join(f"\n- `{f.name}={_default(f)}`" for f in fields(term))
    shown = f"\n\nOptions:\n{options}" if options else ""
    given = "" if issubclass(term, WeightRule) else term.source
    source = f"\n\nSource: {given}." if given else ""
    return f"### `{term.name}` ({term.__name__})\n\n{text}{source}{shown}\n"


def _display(match: re.Match[str]) -> str:
    return "$$" + " ".join(match.group(1).split()) + "$$"


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    assert field.default_factory is not MISSING
    return field.default_factory().name


if __name__ == "__main__":
    print(methods_page(), end="")
