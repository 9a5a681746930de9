"""Runs side by side as HTML, Markdown, LaTeX and CSV."""

from __future__ import annotations

from markupsafe import Markup

from unbelief.report import latex, markdown
from unbelief.report.assets import asset, policy
from unbelief.report.cells import write_csv
from unbelief.report.comparison import Comparison
from unbelief.report.page import render
from unbelief.report.visible import encodable

HEAD = ("part", "measure", "run", "value", "low", "high", "n", "n_unscored", "unit", "interval",
        "reasons")  # fmt: skip


def comparison_html(comparison: Comparison) -> str:
    """One self-contained page without script."""
    style = asset("style.css") + asset("audit.css")
    context = {"c": comparison, "style": Markup(style), "policy": policy(style)}
    return encodable(render("comparison.html.j2", context))


def comparison_markdown(comparison: Comparison) -> str:
    """Tables for a repository or a wiki."""
    parts = [f"# {markdown.escape(comparison.title)}\n", markdown.table(comparison.runs_table())]
    if comparison.warnings:
        parts.append(markdown.bullets(comparison.warnings))
    parts += [markdown.table(part.table(), level=2) for part in comparison.parts]
    if comparison.notes:
        parts.append("## Notes\n\n" + markdown.bullets(comparison.notes))
    return "\n".join(parts)


def comparison_latex(comparison: Comparison) -> str:
    """Tables for a paper."""
    lines = [latex.PREAMBLE, *(f"% {latex.escape(one)}\n" for one in comparison.warnings)]
    for i, part in enumerate(comparison.parts, 1):
        each = round(0.58 / len(part.columns), 3)
        widths = (0.25, 0.17, *[each] * len(part.columns))
        lines.append(latex.table(part.table(), f"comparison-{i}", widths))
    return "\n".join(lines)


def comparison_csv(comparison: Comparison) -> str:
    """All numbers in long form, with all digits."""
    rows: list[tuple[object, ...]] = []
    for part in comparison.parts:
        for line in part.lines:
            for run, number, why in zip(part.columns, line.numbers, line.why_missing, strict=True):
                if number is None:
                    rows.append((part.title, line.name, run, *[""] * 7, why))
                    continue
                reasons = "; ".join(f"{r}: {count}" for r, count in number.reasons.items())
                rows.append((part.title, line.name, run, number.value, number.low, number.high,
                             number.n, number.n_unscored, number.unit, number.interval,
                             reasons))  # fmt: skip
    return write_csv(HEAD, rows)
