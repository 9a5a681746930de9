"""The page of a gradient-effect diagnosis, from `g_effect.json` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from unbelief.errors import RequestError
from unbelief.report.page import render
from unbelief.report.svg import Axis, Frame, Line, line_chart
from unbelief.report.tables import Table

Plain = Mapping[str, Any]
SCHEMA = "unbelief.g-effect"
VERSION = 1
TERMS = {
    "forget_term": ("forget term", "s-target"),
    "retain_term": ("retain term", "s-retained"),
    "step": ("step", "m5"),
}
RISKS = {"on_forget_risk": "forget risk", "on_retain_risk": "retain risk"}
_LONGEST_TICK = 12
_MOST_TICKS = 8
_RECORDS = 12


def build_effect_report(document: Plain) -> str:
    """Make the self-contained HTML page of a gradient-effect diagnosis.

    Args:
        document: The content of its `g_effect.json`.

    Raises:
        RequestError: It is not such a document, or one of another version.
    """
    _check(document)
    panels = [
        {"label": f"On the {name}, over {_places(document)}", "chart": _over_points(document, risk)}
        for risk, name in RISKS.items()
        if len(document["points"]) > 1
    ]
    panels.append({"label": "The step, part by part", "chart": _over_parts(document)})
    shown = {t: TERMS[t] for t in document["points"][-1]["effects"] if t in _told_apart(document)}
    return render(
        "g_effect.html.j2",
        {
            "doc": document,
            "headline": headline(document),
            "last": document["points"][-1],
            "panels_data": panels,
            "key": [(style, name) for name, style in shown.values()],
            "tables": [
                ("t-points", effect_table(document)),
                ("t-parts", parts_table(document)),
                *([("t-records", found)] if (found := records_table(document)) else []),
            ],
            "settings": _settings(document),
        },
    )


def headline(document: Plain) -> str:
    """One sentence: what a step does to both risks at the last point."""
    last = document["points"][-1]
    step = last["effects"]["step"]
    forget, retain = (step[name] for name in RISKS)
    where = f"at {_place(document, last)}"
    forgets = "raises the forget risk" if forget < 0 else "does not raise the forget risk"
    keeps = "lowers" if retain > 0 else "raises" if retain < 0 else "does not change"
    return (
        f"A step of {document['objective']['forget']['name']} {forgets} "
        f"({_signed(forget)}) and {keeps} the retain risk ({_signed(retain)}) {where}"
    )


def effect_table(document: Plain) -> Table:
    """Every point: both risks, and the effects of every term on both."""
    rows = []
    for point in document["points"]:
        for term in _told_apart(document):
            e = point["effects"][term]
            rows.append(
                (
                    point["label"],
                    TERMS[term][0],
                    f"{point['forget_risk']:.4g}",
                    f"{point['retain_risk']:.4g}",
                    *(_signed(e[name]) for name in RISKS),
                    _cosine(e["cosine_with_forget_risk"]),
                    _cosine(e["cosine_with_retain_risk"]),
                )
            )
    return Table(
        title="Gradient effects: positive lowers that risk; −η · effect is the change of the risk "
        f"in nats by one SGD step (n = {document['n_forget']} to forget, "
        f"{document['n_retain']} to keep)",
        head=("Step" if document["kind"] == "run" else "Model", "Of", "Forget risk", "Retain risk",
              "On forget risk", "On retain risk", "Cosine (forget)", "Cosine (retain)"),
        rows=tuple(rows),
    )  # fmt: skip


def parts_table(document: Plain) -> Table:
    """The last point, part by part of the model; columns sum to the whole."""
    last = document["points"][-1]
    terms = _told_apart(document)
    rows = [
        (
            part["name"],
            part["stage"],
            f"{part['parameters']:,}",
            *(_signed(part[term][risk]) for term in terms for risk in RISKS),
        )
        for part in last["parts"]
    ]
    whole = [_signed(last["effects"][term][risk]) for term in terms for risk in RISKS]
    size = sum(part["parameters"] for part in last["parts"])
    names = [f"{TERMS[term][0]} on {risk}" for term in terms for risk in RISKS.values()]
    return Table(
        title=f"Part by part, at {_place(document, last)}",
        head=("Part", "Stage", "Parameters", *(name.capitalize() for name in names)),
        rows=(*rows, ("all", "", f"{size:,}", *whole)),
    )


def records_table(document: Plain) -> Table | None:
    """The records whose likelihood and the retain risk hang together most; None without any."""
    found = document["points"][-1]["pointwise"]
    if found is None:
        return None
    ranked = sorted(found["records"], key=lambda r: r["on_retain_risk"])
    rows = [
        (r["id"], _minus(f"{r['log_prob']:.2f}"), *(_signed(r[name]) for name in RISKS))
        for r in ranked[:_RECORDS]
    ]
    means = [found["means"][name] for name in RISKS]
    cells = [
        _signed(m["value"])
        + ("" if m["low"] is None else f" ({_signed(m['low'])} to {_signed(m['high'])})")
        for m in means
    ]
    return Table(
        title="Point-wise effects of lowering log π of single records: the most harmful to the "
        f"retain risk first, {len(rows)} of {len(ranked)}; means with 95 % intervals",
        head=("Record", "log π", "On forget risk", "On retain risk"),
        rows=(*rows, ("mean", "", *cells)),
    )


def _check(document: Plain) -> None:
    known = isinstance(document, Mapping) and document.get("schema") == SCHEMA
    if not known or document.get("version") != VERSION:
        raise RequestError(
            f"not a gradient-effect diagnosis of version {VERSION}",
            remedy="name a g_effect.json that `unbelief diagnose g-effect` of this version wrote",
        )


def _told_apart(document: Plain) -> list[str]:
    """Terms in order; the step alone where it is the forget term."""
    found = document["points"][-1]["effects"]
    return [t for t in TERMS if t in found] if "retain_term" in found else ["step"]


def _places(document: Plain) -> str:
    return "steps" if document["kind"] == "run" else "models"


def _place(document: Plain, point: Plain) -> str:
    return f"step {point['label']}" if document["kind"] == "run" else str(point["label"])


def _over_points(document: Plain, risk: str) -> Markup:
    points = document["points"]
    run = document["kind"] == "run"
    xs = [float(p["step"]) if run else float(i) for i, p in enumerate(points)]
    labels = [str(p["label"]) for p in points]
    lines = [
        Line(
            label=TERMS[term][0],
            style=TERMS[term][1],
            x=xs,
            y=[p["effects"][term][risk] for p in points],
        )
        for term in _told_apart(document)
    ]
    title = f"Effect on the {RISKS[risk]}"
    return _chart(f"effect-{risk}", title, lines, xs, labels, _places(document))


def _over_parts(document: Plain) -> Markup:
    parts = document["points"][-1]["parts"]
    xs = [float(i) for i in range(len(parts))]
    lines = [
        Line(label=name, style=style, x=xs, y=[p["step"][risk] for p in parts])
        for (risk, name), style in zip(RISKS.items(), ("s-target", "s-retained"), strict=True)
    ]
    labels = [p["name"] for p in parts]
    return _chart("parts", "Effects of the step by part", lines, xs, labels, "parts of the model")


def _chart(
    key: str,
    title: str,
    lines: Sequence[Line],
    xs: Sequence[float],
    labels: Sequence[str],
    axis: str,
) -> Markup:
    values = [0.0, *(v for line in lines for v in line.y)]
    room = 0.08 * ((max(values) - min(values)) or 1.0)
    every = max(1, -(-len(xs) // _MOST_TICKS))
    names = dict(zip(xs, labels, strict=True))
    words = "; ".join(f"{line.label} from {line.y[0]:.3g} to {line.y[-1]:.3g}" for line in lines)
    frame = Frame(
        key=key,
        title=title,
        description=f"Lines over {len(xs)} {axis}, zero dashed: {words}.",
        left=44,
        right=72,
    )
    x = Axis(
        label=axis,
        low=min(xs),
        high=max(xs) if max(xs) > min(xs) else min(xs) + 1,
        ticks=xs[::every],
        write=lambda v: _short(names[v]),
    )
    y = Axis(
        label="",
        low=min(values) - room,
        high=max(values) + room,
        write=lambda v: _minus(f"{v:.4g}"),
    )
    return line_chart(frame, x, y, lines, levels=[(0.0, "plain")])


def _short(label: str) -> str:
    label = label.removeprefix("layer ")
    return label if len(label) <= _LONGEST_TICK else label[: _LONGEST_TICK - 1] + "…"


def _settings(document: Plain) -> list[tuple[str, str]]:
    forget, retain = document["objective"]["forget"], document["objective"]["retain"]
    own = {k: v for k, v in forget.items() if k != "name"}
    options = ", ".join(f"{k}={v}" for k, v in own.items())
    return [
        ("Forget term", forget["name"] + (f" ({options})" if options else "")),
        ("Retain term", "none" if retain is None else retain["name"]),
        ("Step", f"{document['objective']['gradients']['name']} of the gradients"),
        ("Risk", f"negative log-likelihood of answers, {document['risk']['reduction']}, nats"),
        ("Gradients", document["estimator"]),
        ("Interval", document["interval"]),
        ("Unit", document["unit"]),
        ("Settings", ", ".join(f"{k}: {v}" for k, v in document["settings"].items())),
    ]


def _signed(value: float) -> str:
    return _minus(f"{value:+.4g}")


def _cosine(value: float | None) -> str:
    return "undefined" if value is None else _minus(f"{value:+.3f}")


def _minus(text: str) -> str:
    return text.replace("-", "−")
