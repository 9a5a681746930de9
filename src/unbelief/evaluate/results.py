"""Results as a file: schema, reading, writing. No model, and no text of any record.

`OUTPUT.json` holds the numbers and where they come from, `OUTPUT.scores.parquet` beside it the item
scores, from which another evaluation takes them when this one serves as its reference.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.evaluate.item_file import read_scores, scores_bytes, scores_file
from unbelief.evaluate.scoring import ItemScores, Scored
from unbelief.outputs import atomic_write, check_destination
from unbelief.scores.conventions import label
from unbelief.scores.options import option_values
from unbelief.suites.base import KEPT, Line, Suite
from unbelief.types import Estimate

SCHEMA = "unbelief/results"
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LineResult:
    """One line of the results.

    Attributes:
        name: As in the suite.
        how: Name of the metric or aggregate.
        on: Item set of a metric; empty for an aggregate.
        inputs: Lines an aggregate is made of.
        options: What it was computed with.
        better: What a forgotten record shows.
        estimate: The number.
        chance: What blind guessing gives, where known.
        retrained: The retrained model's number.
        distance: This model's number minus the retrained one's, with the paired interval.
    """

    name: str
    how: str
    on: str = ""
    inputs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    better: str = ""
    estimate: Estimate
    chance: float | None = None
    retrained: Estimate | None = None
    distance: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything one evaluation found.

    Attributes:
        suite: Name of the suite.
        described: What was chosen of it.
        sets: Per item set: number of items and of clusters, and why it is empty.
        convention: Whose definitions.
        encoding: How texts became tokens.
        choices: Samples and their temperature.
        lines: The numbers.
        retrained: Where the retrained model's numbers are from; None without one.
        notes: What a reader has to know to compare these numbers with others.
        provenance: Versions, weights, data, seed.
        cost: Seconds per stage.
        items: Item scores by line; kept in a file of their own.
    """

    suite: str
    described: Mapping[str, str]
    sets: Mapping[str, Mapping[str, Any]]
    convention: str
    encoding: Mapping[str, Any]
    choices: Mapping[str, Any]
    lines: tuple[LineResult, ...]
    retrained: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    items: ItemScores = field(default_factory=dict, repr=False)

    def line(self, name: str) -> LineResult:
        """The line of that name.

        Raises:
            KeyError: There is none.
        """
        return next(line for line in self.lines if line.name == name)

    def __getitem__(self, name: str) -> Estimate:
        """The number of a line: `results["forget_probability"].value`."""
        return {line.name: line for line in self.lines}[name].estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the item scores."""
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "suite": self.suite,
            "described": dict(self.described),
            "convention": self.convention,
            "choices": dict(self.choices),
            "encoding": dict(self.encoding),
            "sets": {name: dict(about) for name, about in self.sets.items()},
            "lines": {line.name: _line_dict(line) for line in self.lines},
            "retrained": None if self.retrained is None else dict(self.retrained),
            "notes": list(self.notes),
            "provenance": dict(self.provenance),
            "cost": dict(self.cost),
        }


def line_results(suite: Suite, scored: Scored, convention: str) -> tuple[LineResult, ...]:
    """Statistics as they are written."""
    out = []
    for line in suite.lines:
        name = label(line.how, convention)
        other, distance = scored.references.get(line.name), scored.distances.get(line.name)
        out.append(
            LineResult(
                name=line.name,
                how=line.how.name,
                on=line.on,
                inputs=line.inputs,
                options=option_values(line.how),
                better=_better(line),
                estimate=scored.statistics[line.name].estimate(name),
                chance=line.chance,
                retrained=None if other is None else other.estimate(name),
                distance=None if distance is None else distance.estimate(name),
            )
        )
    return tuple(out)


def _better(line: Line) -> str:
    # A metric says what a forgotten record shows; on data that stays it is the other way round.
    return "higher" if line.on in KEPT and not line.how.name.startswith("mia_") else line.how.better


def describe_sets(suite: Suite) -> dict[str, dict[str, Any]]:
    """Number of items and clusters of every set, and why it is empty."""
    return {
        name: {
            "n": len(records),
            "clusters": len({r.group or f"item:{r.id}" for r in records}),
            "absent": suite.absent.get(name) if not records else None,
        }
        for name, records in suite.sets.items()
    }


def check_output(output: str | Path, overwrite: bool) -> Path:
    """Where the results will be.

    Raises:
        RequestError: Something is there that must not be replaced.
    """
    target = check_destination(output, overwrite)
    if target.is_dir():
        raise RequestError(
            f"{target} is a folder, and the results are one file",
            where="--output",
            remedy="name a file in it, for example results.json",
        )
    return target


def write_results(results: Results, output: Path) -> None:
    """Write the item scores, then the results: whoever sees the results finds both."""
    table = scores_bytes(results.items)
    file = scores_file(output)
    atomic_write(file, table)
    content = results.to_dict()
    content["scores"] = {"file": file.name, "sha256": sha256(table).hexdigest()}
    atomic_write(output, json.dumps(content, indent=1, allow_nan=False, default=str) + "\n")


def read_results(file: Path) -> Results:
    """Inverse of `write_results`.

    Raises:
        RequestError: No such file, other content, a newer schema, or item scores that are missing
            or belong to other results.
    """
    content = read_json(file)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise RequestError(
            "this is no results file of `unbelief evaluate`",
            where=str(file),
            remedy="name the JSON file it wrote",
        )
    if content["schema_version"] > SCHEMA_VERSION:
        raise RequestError(
            f"the results have schema version {content['schema_version']}, this version of "
            f"unbelief knows {SCHEMA_VERSION}",
            where=str(file),
            remedy="upgrade unbelief, or evaluate again",
        )
    return Results(
        suite=content["suite"],
        described=content["described"],
        sets=content["sets"],
        convention=content["convention"],
        choices=content["choices"],
        encoding=content["encoding"],
        lines=tuple(_line_of(name, line) for name, line in content["lines"].items()),
        retrained=content["retrained"],
        notes=tuple(content["notes"]),
        provenance=content["provenance"],
        cost=content["cost"],
        items=read_scores(file, content["scores"]),
    )


def is_results(file: Path) -> bool:
    """Whether a file is there that `write_results` wrote."""
    if not file.is_file():
        return False
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("schema") == SCHEMA


def read_json(file: Path) -> Any:
    """Content of a JSON file.

    Raises:
        RequestError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(
            f"cannot be read: {error.strerror}", where=str(file), remedy="check the path"
        ) from None
    except ValueError:
        raise RequestError(
            "this is not a JSON file", where=str(file), remedy="name a results file"
        ) from None


def _line_dict(line: LineResult) -> dict[str, Any]:
    values = asdict(line)
    del values["name"]
    return {k: _plain(v) for k, v in values.items()}


def _plain(value: Any) -> Any:
    """JSON has no infinity: the ends of an interval that are not finite are written as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v) for v in value]
    return value


def _line_of(name: str, values: Mapping[str, Any]) -> LineResult:
    estimates = {
        k: None if values[k] is None else Estimate(**values[k])
        for k in ("estimate", "retrained", "distance")
    }
    assert estimates["estimate"] is not None
    rest = {k: v for k, v in values.items() if k not in estimates}
    return LineResult(**{**rest, "name": name, "inputs": tuple(rest["inputs"]), **estimates})
