"""The page of a lab run: what was done, what was found, the curves behind it, and the limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from unbelief.errors import RequestError
from unbelief.report.charts import Dot, Layer, dot_plot, stacked_chart
from unbelief.report.page import render
from unbelief.report.svg import Axis, Frame, Line, Mark, line_chart
from unbelief.report.tables import (
    decimals,
    distance_table,
    equal_leak_table,
    grid_table,
    labels_of,
    squeeze_table,
)

Plain = Mapping[str, Any]
SCHEMA = 1
LAYERS = (
    ("target", "Target phrasing"),
    ("other", "Other phrasings"),
    ("false", "False facts"),
    ("broken", "Broken text"),
)
CURVE_NAMES = ("target", "other phrasings", "natural", "retained")
CURVES = (
    ("target", "target"),
    ("other", "others"),
    ("natural", "natural"),
    ("retained", "retained"),
)
_MOST_STYLES = 8


def build_lab_report(document: Plain) -> str:
    """Make the self-contained HTML page of a lab run.

    Args:
        document: The content of its `result.json`.

    Raises:
        RequestError: It is not such a document, or one of another schema.
    """
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, Mapping) else None
        raise RequestError(
            f"not the result of a lab run of schema {SCHEMA} (schema: {found})",
            remedy="name a result.json that `unbelief quickstart` of this version wrote",
        )
    if "analysis" not in document:
        raise RequestError("the lab result has no analysis", remedy="run the lab again")
    return render(
        "lab.html.j2",
        {
            "doc": document,
            "facts": _facts(document),
            "findings": document["analysis"]["findings"],
            "example": document["example"],
            "layers": LAYERS,
            "curves": [(key, name) for (key, _), name in zip(CURVES, CURVE_NAMES, strict=True)],
            "stacks": _stacks(document),
            "panels_data": _panels(document),
            "trades": _trades(document),
            "distances": _distances(document),
            "method_styles": _styles(document),
            "labels": labels_of(document),
            "distance_table": distance_table(document),
            "squeeze_table": squeeze_table(document),
            "equal_leak_table": equal_leak_table(document),
            "grid_table": grid_table(document),
            "settings": _settings(document),
            "decimals": decimals,
        },
    )


def _styles(document: Plain) -> dict[str, str]:
    """CSS class of each method; the control is drawn broken."""
    out = {}
    for i, m in enumerate(document["methods"]):
        dashed = " dashed" if m["family"] == "control" else ""
        out[m["name"]] = f"m{i % _MOST_STYLES}{dashed}"
    return out


def _facts(document: Plain) -> dict[str, Any]:
    config = document["config"]
    world, seeds = config["world"], len(document["references"])
    forget = len(document["references"][0]["original"]["target"])
    return {
        "people": world["people"],
        "forget": forget,
        "kept": world["people"] - forget,
        "attributes": world["attributes"],
        "values": world["values"],
        "prompts": forget * world["attributes"],
        "answers": 4 * world["values"],
        "retrained_leak": decimals(_retrained(document)["leak"]),
        "methods": len(document["methods"]),
        "rates": len(config["learning_rates"]),
        "runs": len(document["curves"]),
        "seeds": seeds,
        "steps": document["curves"][0]["points"][-1]["step"],
        "minutes": sum(document["seconds"].values()) / 60,
        "measured_kept": len(document["references"][0]["original"]["retained"]),
        "stopped": [c for c in document["curves"] if c["stopped"]],
    }


def _selected(document: Plain) -> list[Plain]:
    return [s for s in document["analysis"]["series"] if s["selected"]]


def _retrained(document: Plain) -> dict[str, float]:
    """Mean masses of the retrained model."""
    row = next(r for r in document["analysis"]["rows"] if r["label"] == "retrained")
    masses = {name: row["masses"][name]["value"] for name in row["masses"]}
    masses["false"] = masses["natural"] - masses["target"] - masses["other"]
    masses["broken"] = 1 - masses["natural"]
    masses["leak"] = masses["target"] + masses["other"]
    return masses


def _steps_axis(series: Plain) -> Axis:
    return Axis(label="optimiser steps", low=0, high=max(series["steps"][-1], 1))


def _heading(document: Plain, series: Plain) -> str:
    return f"{labels_of(document)[series['method']]}, learning rate {series['learning_rate']:g}"


def _stacks(document: Plain) -> list[dict[str, Any]]:
    reference = _retrained(document)
    out = []
    for i, s in enumerate(_selected(document)):
        shares = {**s["masses"], "broken": [1 - v for v in s["masses"]["natural"]]}
        heading = _heading(document, s)
        words = "; ".join(
            f"{name.lower()} from {shares[key][0]:.2f} to {shares[key][-1]:.2f}"
            for key, name in LAYERS
        )
        chart = stacked_chart(
            Frame(
                key=f"stack{i}",
                title=f"Where the probability goes under {heading}",
                description=f"Stacked shares over {s['steps'][-1]} steps: {words}.",
            ),
            _steps_axis(s),
            s["steps"],
            [
                Layer(label=n, style=f"s-{k}", y=shares[k], reference=reference[k])
                for k, n in LAYERS
            ],
            "retrained",
        )
        out.append(_panel(document, s, chart))
    return out


def _panel(document: Plain, series: Plain, chart: Markup) -> dict[str, Any]:
    return {
        "label": labels_of(document)[series["method"]],
        "rate": f"{series['learning_rate']:g}",
        "chart": chart,
    }


def _panels(document: Plain) -> list[dict[str, Any]]:
    reference = _retrained(document)
    out = []
    for i, s in enumerate(_selected(document)):
        lines = [
            Line(label=name, style=f"s-{key}", x=s["steps"], y=s["masses"][key],
                 low=s["low"][key], high=s["high"][key])
            for key, name in CURVES
        ]  # fmt: skip
        words = "; ".join(
            f"{name} from {s['masses'][key][0]:.2f} to {s['masses'][key][-1]:.2f} "
            f"(retrained {reference[key]:.2f})"
            for key, name in CURVES
        )
        chart = line_chart(
            Frame(
                key=f"curve{i}",
                title=f"Masses along the run of {_heading(document, s)}",
                description=f"Lines with 95 % bands over {s['steps'][-1]} steps: {words}.",
                right=62,
            ),
            _steps_axis(s),
            Axis(label="", low=0, high=1, ticks=(0, 0.5, 1)),
            lines,
            levels=[(reference[key], f"s-{key}") for key, _ in CURVES],
        )
        out.append(_panel(document, s, chart))
    return out


def _trades(document: Plain) -> list[dict[str, Any]]:
    """Natural and retained mass against leak: what is paid for forgetting."""
    reference, styles, labels = _retrained(document), _styles(document), labels_of(document)
    levels = sorted({e["level"] for e in document["analysis"]["equal_leak"]})
    out = []
    for key, name in (("natural", "Natural mass"), ("retained", "Retained mass")):
        lines = [
            Line(label=labels[s["method"]], style=styles[s["method"]],
                 x=s["masses"]["leak"], y=s["masses"][key])
            for s in _selected(document)
        ]  # fmt: skip
        ends = "; ".join(f"{x.label} ends at leak {x.x[-1]:.2f}, {x.y[-1]:.2f}" for x in lines)
        chart = line_chart(
            Frame(
                key=f"trade-{key}",
                title=f"{name} against leak",
                description=f"One path per method, from right to left as it forgets: {ends}. The "
                f"retrained model is at leak {reference['leak']:.2f}, {reference[key]:.2f}.",
                width=440,
                height=300,
                right=58,
            ),
            Axis(label="leak mass (falls as the fact is forgotten)", low=1, high=0),
            Axis(label="", low=0, high=1),
            lines,
            guides=levels,
            marks=[Mark(label="retrained", style="gold", x=reference["leak"], y=reference[key])],
        )
        out.append({"label": name, "chart": chart})
    return out


def _distances(document: Plain) -> Markup:
    styles = _styles(document)
    rows = [r for r in document["analysis"]["rows"] if r["label"] != "retrained"]
    rows.sort(key=lambda r: r["distance"]["value"])
    dots = [
        Dot(
            label=r["label"].capitalize() if r["method"] is None else r["label"],
            style=styles.get(r["method"], "plain").removesuffix(" dashed"),
            value=r["distance"]["value"],
            low=r["distance"]["low"],
            high=r["distance"]["high"],
            second=None if r["last_distance"] is None else r["last_distance"]["value"],
        )
        for r in rows
    ]
    high = max(v for d in dots for v in (d.value, d.high or 0, d.second or 0))
    words = "; ".join(f"{d.label} {d.value:.2f}" for d in dots)
    return dot_plot(
        Frame(
            key="distance",
            title="Distance to the retrained model",
            description=f"Best point of each method with its interval: {words}.",
            width=640,
            left=100,
            right=24,
            top=6,
            bottom=38,
        ),
        Axis(label="distance to the retrained model (0 = equal)", low=0, high=high * 1.04),
        dots,
    )


def _settings(document: Plain) -> list[tuple[str, str]]:
    """Provenance as name and value."""
    config = document["config"]
    versions = ", ".join(f"{name} {v}" for name, v in document["versions"].items())
    spent = ", ".join(f"{name} {s:.0f} s" for name, s in document["seconds"].items())
    hashes = "; ".join(
        f"seed {r['seed']}: " + ", ".join(f"{k} {v[:16]}" for k, v in r["weights_sha256"].items())
        for r in document["references"]
    )
    flat = {
        f"{group}.{k}": v for group in ("world", "pretrain") for k, v in config[group].items()
        if k != "seed"
    }  # fmt: skip
    return [
        ("Made", document["created"]),
        ("Time", spent),
        ("Versions", versions),
        ("Seeds", ", ".join(str(s) for s in config["seeds"])),
        ("Learning rates", ", ".join(f"{r:g}" for r in config["learning_rates"])),
        ("Epochs, pairs per step", f"{config['epochs']:g}, {config['pairs_per_step']}"),
        ("World and models", ", ".join(f"{k} {v:g}" for k, v in flat.items())),
        ("Weights (SHA-256)", hashes),
    ]
