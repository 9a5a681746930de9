"""Readings of a population: kept while models are attacked, or brought along ready-made."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.evaluate.results import Results, read_results
from unbelief.study.reliability import SIDES, Reading, Side, reading_from
from unbelief.suites.base import KEPT

KIND = "unbelief/metric-reliability-readings"
_FILES = frozenset({"model", "pool", "attack", "before", "after"})


class ReadingFile:
    """Readings that are there already, one line per model and attack.

    Args:
        path: The file; made where absent.
        digest: Of the request.

    Raises:
        RequestError: It holds something else.
    """

    def __init__(self, path: Path, digest: str):
        self.path = path
        self.done: dict[tuple[str, str, str], list[Reading]] = {}
        head = {"kind": KIND, "request": digest}
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(head)
            return
        data = path.read_bytes()
        whole, end, rest = data.rpartition(b"\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        if not lines or lines[0] != head:
            raise RequestError(
                "the readings there were made with other records, metrics or options",
                where=str(path),
                remedy="give the options they were made with, or another output",
            )
        if rest:  # a line that a crash left half written
            os.truncate(path, len(whole) + len(end))
        for line in lines[1:]:
            key = (line["model"], line["weights_sha256"], line["attack"])
            self.done[key] = [reading_from(r, str(path)) for r in line["readings"]]

    def add(self, model: str, weights: str, attack: str, readings: Sequence[Reading]) -> None:
        """Keep the readings of one model under one attack."""
        self.done[model, weights, attack] = list(readings)
        plain = [asdict(r) for r in readings]
        self._append(
            {"model": model, "weights_sha256": weights, "attack": attack, "readings": plain}
        )

    def _append(self, values: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def read_table(file: str | Path) -> list[Reading]:
    """Ready readings: a CSV or JSONL file with one line per number, or per pair of results.

    A line has `model`, `attack`, `side`, `metric`, `before`, `after` (and `pool`, `n`); or `model`,
    `attack` and, as `before` and `after`, two result files of `unbelief evaluate`, of which every
    line they share is taken: those on data to keep as `retain`, the others as `forget`.

    Raises:
        RequestError: The file cannot be read, or a line is malformed.
    """
    path = Path(file).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a mark before the text
    except OSError as error:
        raise RequestError(
            f"cannot be read: {error.strerror}", where=str(path), remedy="check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise RequestError(
            f"byte {error.start + 1} is no UTF-8", where=str(path), remedy="save it as UTF-8"
        ) from None
    found: list[Reading] = []
    for number, values in _rows(path, text):
        where = f"{path}:{number}"
        if values.keys() <= _FILES and "before" in values:
            found += _of_results(values, path.parent, where)
        else:
            found.append(reading_from(values, where))
    return found


def _rows(path: Path, text: str) -> Iterable[tuple[int, dict[str, Any]]]:
    if path.suffix == ".csv":
        for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
            yield number, {k: v for k, v in row.items() if k is not None and v is not None}
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise RequestError(
                "the line is no JSON object",
                where=f"{path}:{number}",
                remedy="write one object per line, or name a .csv file",
            )
        yield number, values


def _of_results(values: Mapping[str, Any], folder: Path, where: str) -> list[Reading]:
    """The lines that two result files share."""
    for name in ("model", "attack", "before", "after"):
        if not values.get(name):
            raise RequestError(
                f"the column {name!r} is missing",
                where=where,
                remedy="columns: model, attack, and two result files as before and after",
            )
    before, after = (_results(folder / str(values[name])) for name in ("before", "after"))
    shared = {line.name for line in after.lines}
    plain = {"model": values["model"], "attack": values["attack"], "metric": "", "side": "forget"}
    start = reading_from(
        {**plain, "pool": values.get("pool") or "unlearned", "before": None, "after": None}, where
    )
    return [
        replace(
            start,
            side=_side(line.on),
            metric=line.name,
            before=line.estimate.value,
            after=after[line.name].value,
            n=line.estimate.n,
        )
        for line in before.lines
        if line.name in shared and line.on
    ]


def _side(on: str) -> Side:
    forget, retain = SIDES
    return retain if on in KEPT else forget


@cache
def _results(file: Path) -> Results:
    return read_results(file)
