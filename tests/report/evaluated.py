"""Results files as `unbelief evaluate` writes them, with invented numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def estimate(value: float | None, **more: Any) -> dict[str, Any]:
    """An estimate as a results file has it."""
    known = value is not None
    return {
        "value": value,
        "low": value - 0.02 if known else None,
        "high": value + 0.02 if known else None,
        "n": 400 if known else 0,
        "n_unscored": 0 if known else 400,
        "unit": "probability",
        "convention": "unbelief",
        "version": 1,
        "interval": "clustered bootstrap 95 %" if known else "",
        "reasons": {} if known else {"the record has no paraphrase": 400},
        **more,
    }


def line(value: float | None, retrained: float | None = None, **more: Any) -> dict[str, Any]:
    """A line of a results file."""
    gap = None if value is None or retrained is None else value - retrained
    return {
        "how": "probability",
        "on": "forget",
        "inputs": [],
        "options": {},
        "better": "lower",
        "estimate": estimate(value, **more),
        "chance": None,
        "retrained": None if retrained is None else estimate(retrained),
        "distance": None if gap is None else estimate(gap),
    }


def results(lines: dict[str, Any], *, retrained: bool = False, **changes: Any) -> dict[str, Any]:
    """A results file."""
    return {
        "schema": "unbelief/results",
        "schema_version": 1,
        "suite": "tofu",
        "described": {"split": "forget10"},
        "convention": "unbelief",
        "choices": {"samples": 4, "temperature": 1.0},
        "encoding": {"template": "chat"},
        "sets": {"forget": {"n": 400, "clusters": 20, "absent": None}},
        "lines": lines,
        "retrained": {"source": "retain90"} if retrained else None,
        "notes": [],
        "provenance": {"source": "lab/model", "input_weights_sha256": "ab" * 32},
        "cost": {},
        **changes,
    }


def save(file: Path, content: Any) -> Path:
    """Write JSON, with missing folders."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file
