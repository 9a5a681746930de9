"""The models of the study as rows of a file that grows: each is there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.study.failures import Masses

KIND = "unbelief/metric-truth-rows"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model.

    Attributes:
        key: Its name in the study.
        seed: Its world.
        method: What made it; `original` and `retrained` are the reference models of a world.
        learning_rate: Peak rate; None for the reference models.
        step: Optimiser steps; 0 for the reference models.
        masses: What is true of it.
        metrics: What each metric says; None where it has no value.
        unscored: Per metric without a value, the reason.
        seconds: Wall time of its measurement.
    """

    key: str
    seed: int
    method: str
    learning_rate: float | None
    step: int
    masses: Masses
    metrics: Mapping[str, float | None]
    unscored: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A model that does not exist: its run was stopped before that step.

    Attributes:
        key: Name it would have had.
        reason: Why the run was stopped.
    """

    key: str
    reason: str


def row_from(values: Mapping[str, Any]) -> Row:
    """A row from plain values."""
    return Row(**{**values, "masses": Masses(**values["masses"])})


class RowFile:
    """A file of one line per model, appended to as models are measured.

    A line that a crash left half written is dropped, and its model is measured again.

    Args:
        path: The file; made where absent.
        digest: Of the study's configuration.

    Raises:
        RequestError: The file holds rows of another configuration, or something else.
    """

    def __init__(self, path: Path, digest: str):
        self.path = path
        self.rows: dict[str, Row] = {}
        self.stopped: dict[str, Stopped] = {}
        head = {"kind": KIND, "config": digest}
        if path.exists():
            self._read(head)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(head)

    def __contains__(self, key: str) -> bool:
        return key in self.rows or key in self.stopped

    def add(self, row: Row | Stopped) -> None:
        """Append a model, and wait until it is on the disk."""
        if row.key in self:
            return
        if isinstance(row, Row):
            self.rows[row.key] = row
        else:
            self.stopped[row.key] = row
        self._append(asdict(row))

    def _append(self, values: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(values, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _read(self, head: Mapping[str, Any]) -> None:
        data = self.path.read_bytes()
        whole, end, rest = data.rpartition(b"\n")
        lines = whole.splitlines()
        if not lines or self._parsed(lines[0]) != head:
            raise RequestError(
                "the rows there were made with other options, or are no rows of this study",
                where=str(self.path),
                remedy="give the options they were made with, or another output",
            )
        if rest:
            os.truncate(self.path, len(whole) + len(end))
        for line in lines[1:]:
            values = self._parsed(line)
            if "reason" in values:
                stopped = Stopped(**values)
                self.stopped[stopped.key] = stopped
            else:
                row = row_from(values)
                self.rows[row.key] = row

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise RequestError(
                "a line is no JSON object",
                where=str(self.path),
                remedy="delete the file: every model is then measured again",
            )
        return values
