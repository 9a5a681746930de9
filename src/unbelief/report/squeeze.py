"""The page of a squeeze diagnosis: where the probability went, from `squeeze.json` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unbelief.errors import RequestError
from unbelief.report.page import render
from unbelief.report.svg import Axis, Frame, Line, line_chart
from unbelief.report.tables import Table, decimals, number, with_interval

Plain = Mapping[str, Any]
SCHEMA = "unbelief.squeeze"
VERSION = 1
BANDS = (
    ("target", "target", "s-target", "Target"),
    ("high", "high", "s-other", "High band (likeliest 20 %)"),
    ("mid", "mid", "m1", "Mid band (next 40 %)"),
    ("low", "low", "m5", "Low band (last 40 %)"),
)
_RESPONSES = ("m3", "m2", "m7", "m6")
_LONGEST_TICK = 12
_NOTHING = 0.005  # nats per token; would be written as 0.00
INDEX_LABELS = (
    "squeeze index, nats per token",
    "of own parts, nats per token",
    "in probability",
)
INDICES = ("index", "own_index", "probability_index")


def build_squeeze_report(document: Plain) -> str:
    """Make the self-contained HTML page of a squeeze diagnosis.

    Args:
        document: The content of its `squeeze.json`.

    Raises:
        RequestError: It is not such a document, or one of another version.
    """
    check_squeeze(document)
    index = document["index"]
    return render(
        "squeeze.html.j2",
        {
            "doc": document,
            "headline": headline(document),
            "own_line": own_line(document),
            "panels_data": [
                {"label": "Log-probability", "chart": _log_probs(document)},
                {"label": "Change since the original", "chart": _changes(document)},
                {"label": "Probability", "chart": _shares(document)},
            ],
            "key": [(style, name) for _, _, style, name in (*BANDS, *_response_lines(document))],
            "indices": [
                (label, *_with_its_interval(document[name]["index"]))
                for name, label in zip(INDICES, INDEX_LABELS, strict=True)
            ],
            "share": f"{index['share_of_prompts']['value'] or 0:.0%}",
            "table": squeeze_points_table(document),
            "settings": _settings(document),
            "n": index["index"]["n"],
        },
    )


def headline(document: Plain) -> str:
    """One sentence: whether, where and by how much the high band rose while the target fell."""
    found = document["index"]["index"]
    if found["value"] is None:
        return "No prompt could be scored"
    own = document["own_index"]["index"]["value"]
    if found["value"] < _NOTHING and own is not None and own >= _NOTHING:
        return "The likeliest other answers rose where they leave the target, while it fell"
    if found["value"] < _NOTHING:
        return "The likeliest other answers did not rise while the target fell"
    return (
        "The likeliest other answers rose and the target fell, each by "
        f"{decimals(found['value'])} nats per token or more {_where(document, 'index')}"
    )


def own_line(document: Plain) -> str:
    """The same of the candidates' own parts, after what they share with the target."""
    shared, found = document["candidates"]["shared"]["high"], document["own_index"]["index"]
    share = "an unknown share" if shared is None else f"{shared:.0%}"
    lead = f"They begin with {share} of their tokens like the target; after that, "
    if found["value"] is None:
        return lead + "nothing could be scored"
    if found["value"] < _NOTHING:
        return lead + "they did not rise while the target fell"
    where = _where(document, "own_index")
    return lead + f"they rose by {decimals(found['value'])} nats per token or more {where}"


def _where(document: Plain, name: str) -> str:
    label = document[name]["at"]["label"]
    return f"at step {label}" if document["kind"] == "run" else f"in {label}"


def squeeze_points_table(document: Plain) -> Table:
    """Every point against the original."""
    curves = document["curves"]
    rows = []
    for t, about in enumerate(document["points"]):
        levels = [number(curves[name][t]) for name in ("target", "high", "mid", "low")]
        whole, own, probability = (document[name]["points"][t] for name in INDICES)
        moved = [number(whole[name], signed=True) for name in ("fall", "rise")]
        squeezes = [with_interval(x["squeeze"], signed=True) for x in (whole, own, probability)]
        changes = [*moved, *squeezes] if t else [""] * 5
        rows.append((about["label"], *levels, *changes))
    return Table(
        title="Log-probability (nats per token), its change, and the squeeze in three forms",
        head=("Step" if document["kind"] == "run" else "Model", "Target", "High", "Mid", "Low",
              "Fall of target", "Rise of high", "Squeeze", "Of own parts", "In probability"),
        rows=tuple(rows),
    )  # fmt: skip


def _with_its_interval(estimate: Plain) -> tuple[str, str]:
    value, _, interval = with_interval(estimate).partition(" ")
    return value, interval.strip("()")


def check_squeeze(document: Plain) -> None:
    """Refuse what is no squeeze diagnosis of this version.

    Raises:
        RequestError: It is none.
    """
    known = isinstance(document, Mapping) and document.get("schema") == SCHEMA
    if not known or document.get("version") != VERSION:
        raise RequestError(
            f"not a squeeze diagnosis of version {VERSION}",
            remedy="name a squeeze.json that `unbelief diagnose squeeze` of this version wrote",
        )


def _response_lines(document: Plain) -> list[tuple[str, str, str, str]]:
    names = [n for n in document["curves"] if n.startswith("response:")]
    return [
        (name, name.partition(":")[2], _RESPONSES[i % len(_RESPONSES)], name.partition(":")[2])
        for i, name in enumerate(names)
    ]


def _x_axis(document: Plain) -> tuple[list[float], Axis]:
    """Steps of a run, or the models in the order they were named."""
    points = document["points"]
    if document["kind"] == "run":
        steps = [float(p["step"]) for p in points]
        return steps, Axis(label="optimiser steps", low=0, high=max(steps[-1], 1))
    places = [float(i) for i in range(len(points))]
    labels = {i: _short(p["label"]) for i, p in enumerate(points)}
    return places, Axis(
        label="models, in the order given",
        low=0,
        high=max(places[-1], 1),
        ticks=places,
        write=lambda v: labels[int(v)],
    )


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_TICK else label[: _LONGEST_TICK - 1] + "…"


def _line(document: Plain, label: str, style: str, estimates: Sequence[Plain]) -> Line | None:
    xs, _ = _x_axis(document)
    known = [(x, e) for x, e in zip(xs, estimates, strict=True) if e["value"] is not None]
    if not known:
        return None
    return Line(
        label=label,
        style=style,
        x=[x for x, _ in known],
        y=[e["value"] for _, e in known],
        low=[e["low"] for _, e in known],
        high=[e["high"] for _, e in known],
    )


def _chart(
    document: Plain, key: str, title: str, lines: Sequence[Line], unit: str, levels: Any = ()
) -> Any:
    _, x = _x_axis(document)
    values = [v for line in lines for v in (*line.y, *(line.low or ()), *(line.high or ()))]
    known = [v for v in values if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = 0.05 * ((high - low) or 1.0)
    words = "; ".join(f"{line.label} from {line.y[0]:.2f} to {line.y[-1]:.2f}" for line in lines)
    return line_chart(
        Frame(
            key=key,
            title=title,
            description=f"Lines with 95 % bands over {len(document['points'])} points, in {unit}: "
            f"{words}.",
            right=62,
        ),
        x,
        Axis(label="", low=low - room, high=high + room),
        lines,
        levels=levels,
    )


def _log_probs(document: Plain) -> Any:
    curves = document["curves"]
    found = [
        _line(document, label, style, curves[name])
        for name, label, style, _ in (*BANDS, *_response_lines(document))
    ]
    lines = [line for line in found if line is not None]
    return _chart(document, "levels", "Mean log-probability", lines, "nats per token")


def _changes(document: Plain) -> Any:
    points, own = document["index"]["points"], document["own_index"]["points"]
    fall = [{n: None if p["fall"][n] is None else -p["fall"][n] for n in ("value", "low", "high")}
            for p in points]  # fmt: skip
    turned = [{**f, "low": f["high"], "high": f["low"]} for f in fall]
    found = [
        _line(document, "target", "s-target", turned),
        _line(document, "high", "s-other", [p["rise"] for p in points]),
        _line(document, "own part", "m3", [p["rise"] for p in own]),
    ]
    lines = [line for line in found if line is not None]
    return _chart(
        document, "changes", "Change since the original", lines, "nats per token", [(0.0, "plain")]
    )


def _shares(document: Plain) -> Any:
    curves = document["curves"]
    found = [
        _line(document, "target", "s-target", curves["target_probability"]),
        _line(document, "high", "s-other", curves["high_probability"]),
        _line(document, "top k", "m2", curves["belief_mass"]),
    ]
    lines = [line for line in found if line is not None]
    return _chart(document, "shares", "Probability of target and high band", lines, "probability")


def _settings(document: Plain) -> list[tuple[str, str]]:
    made, settings = document["candidates"], document["settings"]
    how = "beam search" if made["source"] == "beam" else (
        "sampling at T = " + ", ".join(f"{t:g}" for t in made["temperatures"])
    )  # fmt: skip
    rank = "log π(y | x)" if made["rank_by"] == "sum" else "log π(y | x) per token"
    unscored = ", ".join(f"{n} {why}" for why, n in document["index"]["unscored"].items()) or "none"
    return [
        ("Candidates", f"{how}, {made['candidates']} per prompt, ranked by {rank}"),
        (
            "Of these",
            f"{made['generated']} generated, {made['targets']} equal to the target and set apart, "
            f"{made['duplicates']} duplicates dropped; {made['fewest']} to {made['most']} followed "
            f"per prompt, {made['unfinished']} of {made['followed']} cut by the length limit",
        ),
        ("Prompts without a score", unscored),
        ("Original model (SHA-256)", made["model_sha256"]),
        ("Settings", ", ".join(f"{k}: {v}" for k, v in settings.items() if k != "propose")),
    ]
