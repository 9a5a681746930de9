"""A study's table as texts: Markdown, LaTeX, CSV, plain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbelief.report import latex
from unbelief.report.cells import write_csv
from unbelief.report.tables import Table, decimals, with_interval
from unbelief.study.reference import lost_by_reference
from unbelief.study.testbed import PARTS, QUANTITIES

Plain = Mapping[str, Any]
COLUMNS = {
    "distance": "Distance",
    "forgetting": "Forgetting",
    "naturalness": "Naturalness",
    "utility": "Utility",
    "excess_leak": "Excess leak",
    "naturalness_gap": "Naturalness gap",
    "utility_gap": "Utility gap",
}
FURTHER = {
    "mem": "Mem",
    "util": "Util",
    "agg": "Agg",
    "leak_rate": "Leak rate",
    "squeeze_index": "Squeeze index",
}
WITH_INTERVAL = frozenset({*QUANTITIES, *FURTHER})
CSV_HEAD = ("section", "ratio", "label", "other", "quantity", "value", "low", "high", "n",
            "n_unscored", "unscored because", "p", "p_holm", "verdict")  # fmt: skip


def tables(document: Plain, chosen: Plain | None = None) -> list[Table]:
    """A table of methods per forget ratio, the comparisons, and what the search spent."""
    ratios = list(dict.fromkeys(r["ratio"] for r in document["rows"]))
    out = [_methods(document, ratio) for ratio in ratios]
    out += [t for ratio in ratios if (t := _further(document, ratio)) is not None]
    if document["comparisons"]:
        out.append(_comparisons(document))
    if chosen is not None:
        out.append(search_table(chosen))
    return out


def to_markdown(document: Plain, chosen: Plain | None = None) -> str:
    """All tables."""
    return "\n".join(table.to_markdown() for table in tables(document, chosen))


def to_text(document: Plain, chosen: Plain | None = None) -> str:
    """All tables for a terminal."""
    return "\n\n".join(table.to_text() for table in tables(document, chosen)) + "\n"


def to_latex(document: Plain, chosen: Plain | None = None) -> str:
    """All tables, to be put into a document."""
    parts = [latex.table(t, f"study-{i}") for i, t in enumerate(tables(document, chosen), 1)]
    return "\n".join([latex.PREAMBLE, *parts])


def to_csv(document: Plain) -> str:
    """All estimates in long form with full numbers, for further computing."""
    rows = []
    for row in document["rows"]:
        for name, e in row["estimates"].items():
            where = ("mean", row["ratio"], row["label"], None, name)
            rows.append((*where, *_numbers(e), None, None, None))
    for c in document["comparisons"]:
        where = ("difference", c["ratio"], c["one"], c["other"], c["quantity"])
        rows.append((*where, *_numbers(c["difference"]), c["p"], c["p_holm"], c["verdict"]))
    return write_csv(CSV_HEAD, rows)


def _numbers(e: Plain) -> tuple[object, ...]:
    why = "; ".join(e["reasons"]) or None
    return (e["value"], e["low"], e["high"], e["n"], e["n_unscored"], why)


def cell(e: Plain, *, interval: bool = True, signed: bool = False) -> str:
    """A number with its interval, or why there is none; how many are missing where some are."""
    if e["value"] is None:
        return f"unscored: {'; '.join(e['reasons']) or 'not measured'}"
    text = with_interval(e, signed=signed) if interval else decimals(e["value"], signed)
    return f"{text}, {e['n_unscored']} unscored" if e["n_unscored"] else text


def _methods(document: Plain, ratio: str) -> Table:
    rows = []
    for row in (r for r in document["rows"] if r["ratio"] == ratio):
        cells = [cell(row["estimates"][name], interval=name in WITH_INTERVAL) for name in COLUMNS]
        n = max(e["n"] for e in row["estimates"].values())
        rows.append((row["label"], *cells, str(n)))
    seeds = len(document["seeds"])
    kept = {r["label"]: r["estimates"]["utility"]["value"] for r in document["rows"]
            if r["ratio"] == ratio and "utility" in r["estimates"]}  # fmt: skip
    lost = lost_by_reference(kept.get("original"), kept.get("retrained"))
    caution = "" if lost is None else f". CAUTION: {lost}; the distance rewards losing it"
    return Table(
        title=f"Forget ratio {ratio}: mean over seeds (95 % interval), {seeds} seeds; the distance "
        f"to the retrained model is the sum of the last {len(PARTS)} parts{caution}",
        head=("Method", *COLUMNS.values(), "n"),
        rows=tuple(rows),
    )


def _further(document: Plain, ratio: str) -> Table | None:
    """The field's own columns, where the testbed measures them."""
    rows = [r for r in document["rows"] if r["ratio"] == ratio and "mem" in r["estimates"]]
    if not rows:
        return None
    return Table(
        title=f"Forget ratio {ratio}: the field's columns, mean over seeds (95 % interval); Util "
        "with fluency under the original model; squeeze index in nats per token",
        head=("Method", *FURTHER.values()),
        rows=tuple((r["label"], *(cell(r["estimates"][n]) for n in FURTHER)) for r in rows),
    )


def _comparisons(document: Plain) -> Table:
    rows = []
    for c in document["comparisons"]:
        rows.append(
            (
                f"{c['one']} − {c['other']}",
                c["ratio"],
                c["quantity"],
                cell(c["difference"], signed=True),
                str(c["difference"]["n"]),
                _p(c["p"]),
                _p(c["p_holm"]),
                c["verdict"],
            )
        )
    return Table(
        title="Paired differences over seeds (95 % interval), two-sided t-tests, Holm's "
        f"correction over {document['family']} comparisons",
        head=("Difference", "Ratio", "Of", "Mean", "n", "p", "p (Holm)", "The first is"),
        rows=tuple(rows),
    )


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def search_table(chosen: Plain) -> Table:
    """What a search spent on each method, and what it chose."""
    rows = []
    for method, entry in chosen["methods"].items():
        count, best = entry["trials"], entry["chosen"]
        cost = "–" if best is None else " / ".join(f"{c:.2f}" for c in best["costs"].values())
        derived = entry.get("derived_from")
        rows.append(
            (
                method,
                "0" if derived else f"{count['complete']} + {count['pruned']}",
                "–" if derived else f"{entry['seconds']:.0f}",
                f"settings of {derived}" if derived else cost,
                "–" if best is None else str(best["step"]),
                "no trial was finished" if best is None else options_text(best["options"]),
            )
        )
    rows += [(m, "0", "–", "–", "–", f"not searched: {why}") for m, why in
             chosen["unsuitable"].items()]  # fmt: skip
    aims = " / ".join(chosen["request"]["aims"])
    return Table(
        title=f"The search: {chosen['request']['trials']} trials of at most {chosen['steps']} "
        "steps for every method",
        head=("Method", "Complete + pruned", "Seconds", f"Validation cost ({aims})", "Step",
              "Chosen"),
        rows=tuple(rows),
    )  # fmt: skip


def options_text(options: Mapping[str, Any]) -> str:
    """Settings in one line, three digits each."""
    return ", ".join(
        f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in options.items()
    )
