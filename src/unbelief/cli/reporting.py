"""`unbelief report`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unbelief.cli.flags import Json, two
from unbelief.errors import RequestError

_FORMATS = (".html", ".md", ".tex", ".csv")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Audits, results files or squeeze diagnoses.")],
    output: Annotated[
        Path | None, two("output", "File that is to appear: .html, .md, .tex or .csv.")
    ] = None,
    prompts: Annotated[
        bool,
        typer.Option("--prompts", help="CSV of an audit's prompts and responses instead."),
    ] = False,
    card: Annotated[
        Path | None, two("card", "Put the audit's summary into this model's card.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Json = False,
) -> None:
    """Make a page, tables or a part of a model card from what was found.

    One audit gives its report, with the curves of squeeze diagnoses named beside it; several
    audits, or evaluations, stand side by side; a squeeze diagnosis gives its own. The page and
    `--prompts` hold what was to be forgotten; Markdown, LaTeX and the card do not.
    """
    if output is None and card is None:
        raise RequestError("there is nothing to make", remedy="give --output FILE or --card MODEL")
    written = []
    if output is not None:
        written.append(_export(runs, output, prompts, overwrite))
    elif prompts:
        raise RequestError("--prompts needs an output", remedy="give --output FILE.csv")
    if card is not None:
        written.append(_card(runs, card))
    if as_json:
        print(json.dumps({"written": [str(path) for path in written]}))
    else:
        for path in written:
            print(path)


def _export(sources: Sequence[Path], output: Path, prompts: bool, overwrite: bool) -> Path:
    from unbelief.outputs import atomic_write, check_destination
    from unbelief.report.reading import read_runs

    ending = output.suffix.lower()
    if ending not in _FORMATS:
        raise RequestError(
            f"there is no format {ending or 'without an ending'!r}",
            where="--output",
            remedy=f"end the file's name in one of {', '.join(_FORMATS)}",
        )
    if prompts and ending != ".csv":
        raise RequestError(
            "prompts are written as CSV only", where="--prompts", remedy="give --output FILE.csv"
        )
    target = check_destination(output, overwrite)
    if target.is_dir():
        raise RequestError(f"{target} is a folder", where="--output", remedy="name a file")
    runs = read_runs(sources)
    content = _prompts(runs) if prompts else _writer(runs, ending)()
    return atomic_write(target, content)


def _writer(runs: Sequence[Any], ending: str) -> Callable[[], str]:
    """What makes the content, by kind of run and format."""
    audits = [run.audit for run in runs if run.audit is not None]
    squeezes = [run.content for run in runs if run.kind == "squeeze"]
    if len(audits) == 1 and len(runs) == 1 + len(squeezes):
        from unbelief.report.squeeze_curves import with_squeezes

        return _of_audit(with_squeezes(audits[0], squeezes), ending)
    if len(runs) == 1 and squeezes:
        return _of_squeeze(squeezes[0], ending)
    if len(runs) == 1 and runs[0].kind == "lab":
        return _of_lab(runs[0].content, ending)
    from unbelief.report import comparison_exports as made
    from unbelief.report.side_by_side import compare

    makers = {
        ".html": made.comparison_html,
        ".md": made.comparison_markdown,
        ".tex": made.comparison_latex,
        ".csv": made.comparison_csv,
    }
    found = compare(runs)
    return lambda: makers[ending](found)


def _of_audit(document: Any, ending: str) -> Callable[[], str]:
    from unbelief.report import exports
    from unbelief.report.audit_page import build_audit_report

    makers = {
        ".html": build_audit_report,
        ".md": exports.audit_markdown,
        ".tex": exports.audit_latex,
        ".csv": exports.audit_csv,
    }
    return lambda: makers[ending](document)


def _of_squeeze(content: Any, ending: str) -> Callable[[], str]:
    from unbelief.report import squeeze_exports as made
    from unbelief.report.squeeze import build_squeeze_report

    makers = {
        ".html": build_squeeze_report,
        ".md": made.squeeze_markdown,
        ".tex": made.squeeze_latex,
        ".csv": made.squeeze_csv,
    }
    return lambda: makers[ending](content)


def _of_lab(content: Any, ending: str) -> Callable[[], str]:
    from unbelief.report import build_lab_report, latex, tables, to_csv, to_markdown

    def to_latex(document: Any) -> str:
        parts = [latex.table(t, f"lab-{i}") for i, t in enumerate(tables(document), 1)]
        return "\n".join([latex.PREAMBLE, *parts])

    makers = {".html": build_lab_report, ".md": to_markdown, ".tex": to_latex, ".csv": to_csv}
    return lambda: makers[ending](content)


def _prompts(runs: Sequence[Any]) -> str:
    from unbelief.report.exports import prompts_csv

    if len(runs) != 1 or runs[0].audit is None:
        raise RequestError(
            "prompts are those of one audit", where="--prompts", remedy="name one audit"
        )
    return prompts_csv(runs[0].audit)


def _card(sources: Sequence[Path], model: Path) -> Path:
    from unbelief.report.card_summary import put_into_card
    from unbelief.report.reading import read_audit

    if len(sources) != 1:
        raise RequestError(
            "a card has the summary of one audit", where="--card", remedy="name one audit"
        )
    return put_into_card(read_audit(sources[0]), model)
