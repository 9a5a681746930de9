"""The three commands as functions: search, run, table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.outputs import atomic_write, check_destination
from unbelief.study import runs as running
from unbelief.study import tables as texts
from unbelief.study import tune as tuning
from unbelief.study.chosen import check_runs, check_testbed, document, read_chosen
from unbelief.study.compare import table_document
from unbelief.study.storage import open_storage
from unbelief.study.testbed import Testbed

Tell = Callable[[str, int, int], None]
CHOSEN = "chosen.json"
FORMATS = (".md", ".csv", ".tex", ".json", ".txt")


def tune_request(
    bed: Testbed,
    methods: str,
    trials: int,
    aim: str,
    rule: str,
    pruner: str,
    measurements: int,
    ratio: str | None,
    seeds: int,
    seed: int,
) -> tuning.TuneRequest:
    """A search as the command line says it; `all` is every method there is.

    Raises:
        RequestError: Something in it is wrong.
    """
    from unbelief.objectives.methods import methods as known

    chosen = tuple(known()) if methods == "all" else _names(methods)
    return tuning.TuneRequest(
        methods=chosen,
        trials=trials,
        aims=_names(aim),
        rule=rule,
        pruner=pruner,  # type: ignore[arg-type]  # checked by the request
        measurements=measurements,
        ratio=bed.ratios[0] if ratio is None else ratio,
        seeds=tuple(range(seeds)),
        seed=seed,
    )


def tune(
    request: tuning.TuneRequest, bed: Testbed, output: Path, storage: str | None, tell: Tell
) -> tuple[dict[str, Any], Path | None]:
    """Search every method; what was chosen is written when all budgets are spent.

    Returns:
        The document, and where it is; None where other processes still have trials to finish.

    Raises:
        RequestError: The request is wrong, or the storage holds another search.
        Interrupted: Ctrl-C; the same call goes on.
    """
    folder = output.expanduser()
    # A server that cannot be reached is told at once, a file is made when all else is in order.
    opened = open_storage(storage) if storage is not None and "://" in storage else None
    unsuitable = tuning.check(request, bed)
    opened = opened or open_storage(storage or str(folder / "search.db"))
    for method in request.methods:
        if method in unsuitable:
            continue
        try:
            tuning.search(request, bed, opened, method, tell)
        except tuning.Unsuitable as why:
            unsuitable[method] = str(why)
    content = document(request, bed, opened, unsuitable)
    if content["unfinished"]:
        return content, None
    text = json.dumps(content, indent=1, allow_nan=False, default=list) + "\n"
    return content, atomic_write(folder / CHOSEN, text)


def search_table(content: dict[str, Any]) -> str:
    """What a search spent and chose, for a terminal."""
    return texts.search_table(content).to_text()


def run(
    bed: Testbed,
    chosen: Path,
    methods: str,
    seeds: Sequence[int],
    ratios: str | None,
    variants: Sequence[str],
    output: Path,
    tell: Tell,
) -> dict[str, list[str]]:
    """Run what was chosen on test cases; see `runs.run`."""
    names = () if methods == "all" else _names(methods)
    if methods == "none":
        names = ()
    wanted = bed.ratios[:1] if ratios is None else _names(ratios)
    content = read_chosen(chosen)
    check_testbed(content, bed)
    work = running.tasks(content, names, list(seeds), wanted, variants)
    if methods == "none":
        work = [task for task in work if "[" in task.label]
    if not work:
        raise RequestError(
            "there is nothing to run", where="--methods", remedy="name methods, variants and seeds"
        )
    return running.run(work, bed, output.expanduser(), tell)


def table(
    sources: Sequence[Path],
    output: Path | None,
    chosen: Path | None,
    comparisons: Sequence[tuple[str, str]] | None,
    quantities: Sequence[str],
    overwrite: bool,
) -> tuple[dict[str, Any], str, Path | None]:
    """The table as data and as text, written where an output is named.

    Raises:
        RequestError: There are no results, or the output's ending is no format.
    """
    ending = ".txt" if output is None else output.suffix.lower()
    if ending not in FORMATS:
        raise RequestError(
            f"there is no format {ending or 'without an ending'!r}",
            where="--output",
            remedy=f"end the file's name in one of {', '.join(FORMATS)}",
        )
    target = None if output is None else check_destination(output, overwrite)
    found = running.read_runs(sources)
    content = table_document(found, comparisons, quantities)
    search = None if chosen is None else read_chosen(chosen)
    if search is not None:
        check_runs(search, found)
        content["search"] = search
    makers: dict[str, Callable[[], str]] = {
        ".md": lambda: texts.to_markdown(content, search),
        ".csv": lambda: texts.to_csv(content),
        ".tex": lambda: texts.to_latex(content, search),
        ".json": lambda: json.dumps(content, indent=1, allow_nan=False) + "\n",
        ".txt": lambda: texts.to_text(content, search),
    }
    text = makers[ending]()
    return content, text, None if target is None else atomic_write(target, text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
