"""Grades from results files and from people's tables, brought together by id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from unbelief.data.fields import label
from unbelief.data.lines import SUFFIXES, Row, suffix_of
from unbelief.data.problems import BadRow, Problems
from unbelief.data.rows import read_rows
from unbelief.errors import RequestError
from unbelief.judge.agreement import Level, Rating, Weights, krippendorff_alpha, weighted_kappa
from unbelief.judge.result import KIND, SCALES

Unit = tuple[str, str]
"""(label, id) of a response."""
_WEIGHTS: tuple[Weights, ...] = ("linear", "quadratic")
_LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
_CONVENTION = "unbelief judge"


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """One rater's grades.

    Attributes:
        name: Of the file.
        scales: Scale to unit to grade; None where there is none. Scales nobody gave are absent.
        groups: Cluster of units, where it is known.
        valid: False for a judge who failed its controls; None for people.
    """

    name: str
    scales: Mapping[str, Mapping[Unit, Rating]]
    groups: Mapping[Unit, str] = field(default_factory=dict)
    valid: bool | None = None


def read_ratings(path: str | Path) -> Ratings:
    """Read a results file of `unbelief judge`, or a table with `id`, `naturalness`, `similarity`.

    A table (CSV, TSV, JSON lines, Parquet) may leave out one scale, leave cells empty, and have a
    column `label`; grades are whole numbers from 0 to 5.

    Raises:
        DataError: A row is malformed.
        RequestError: The file cannot be read or holds no grades.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise RequestError("there is no such file", where=str(path), remedy="check the path")
    if file.suffix == ".json" and (found := _judgement(file)) is not None:
        return found
    if not suffix_of(file):
        raise RequestError(
            "neither a results file nor a table of grades",
            where=str(path),
            remedy=f"give a file ending in {', '.join(SUFFIXES)}",
        )
    return _table(file)


def compare(raters: Sequence[Ratings], *, seed: int = 0) -> dict[str, Any]:
    """Kappa of every pair and alpha of all, per scale, as plain values with intervals.

    Raises:
        RequestError: Two raters have no unit in common on any scale.
    """
    out: dict[str, Any] = {
        "schema_version": 1,
        "kind": "agreement",
        "raters": [{"name": r.name, "valid": r.valid} for r in raters],
        "scales": {},
    }
    for scale in SCALES:
        given = [rater for rater in raters if scale in rater.scales]
        if len(given) > 1:
            out["scales"][scale] = _scale(given, scale, seed)
    if not any(pair["n"] for its in out["scales"].values() for pair in its["kappa"]):
        raise RequestError(
            "no response was rated by two raters",
            where=" and ".join(r.name for r in raters),
            remedy="use the ids (and labels) of the results file",
        )
    return out


def _scale(raters: Sequence[Ratings], scale: str, seed: int) -> dict[str, Any]:
    units = list(dict.fromkeys(unit for rater in raters for unit in rater.scales[scale]))
    groups = {unit: name for rater in raters for unit, name in rater.groups.items()}
    clusters = [f"group {groups[u]}" if u in groups else f"item {u[1]}" for u in units]
    rows = [[rater.scales[scale].get(unit) for unit in units] for rater in raters]
    pairs = []
    for (i, first), (j, second) in combinations(enumerate(raters), 2):
        for weights in _WEIGHTS:
            found = weighted_kappa(rows[i], rows[j], weights=weights, clusters=clusters, seed=seed)
            names = {"raters": [first.name, second.name], "weights": weights}
            pairs.append(names | asdict(found.estimate(_CONVENTION)))
    alphas = {
        level: asdict(
            krippendorff_alpha(rows, level=level, clusters=clusters, seed=seed).estimate(
                _CONVENTION
            )
        )
        for level in _LEVELS
    }
    return {"kappa": pairs, "alpha": alphas}


def _judgement(file: Path) -> Ratings | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    if not isinstance(values, dict) or values.get("kind") != KIND:
        return None
    items = {(item["label"], item["id"]): item for item in values["items"]}
    return Ratings(
        name=file.stem,
        scales={s: {unit: item[s] for unit, item in items.items()} for s in SCALES},
        groups={unit: item["group"] for unit, item in items.items() if item["group"] is not None},
        valid=values["valid"],
    )


def _table(file: Path) -> Ratings:
    problems = Problems()
    scales: dict[str, dict[Unit, Rating]] = {}
    for row in read_rows(file, problems):
        try:
            unit = _unit(row)
            for scale in (s for s in SCALES if s in row.values):
                if unit in scales.setdefault(scale, {}):
                    raise BadRow(f"the id {unit[1]!r} is there twice", "give one row per response")
                scales[scale][unit] = _grade(row.values[scale], scale)
        except BadRow as bad:
            problems.add(row.where, bad.message, bad.remedy)
    problems.check()
    if not scales:
        raise RequestError(
            "there is no column naturalness or similarity",
            where=f"{file}:1",
            remedy="name the columns id, naturalness, similarity",
        )
    return Ratings(name=file.stem, scales=scales)


def _unit(row: Row) -> Unit:
    name = label(row.values.get("id"), "id")
    if name is None:
        raise BadRow("there is no id", "give every row the id of its response")
    return (label(row.values.get("label"), "label") or "", name)


def _grade(value: object, scale: str) -> Rating:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = int(value) if isinstance(value, str) and value.strip() in tuple("012345") else value
    if type(number) is not int or not 0 <= number <= 5:
        raise BadRow(f"column {scale!r} is not a grade", "write a whole number from 0 to 5")
    return number
