"""The retrained model's item scores: from results of this project, or from OpenUnlearning's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.evaluate import open_unlearning
from unbelief.evaluate.results import SCHEMA, LineResult, Results, read_json, read_results
from unbelief.evaluate.scoring import OtherModel
from unbelief.scores.base import Metric
from unbelief.scores.options import option_values
from unbelief.suites.base import Line, Suite


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A results file that this evaluation is compared with.

    Attributes:
        source: As the user named it.
        results: Results of this project, or None.
        foreign: The content of OpenUnlearning's `*_EVAL.json`, or None.
        about: For provenance.
        measurements: Folder of the measurement behind results of this project, where it is still
            beside them.
    """

    source: str
    results: Results | None = None
    foreign: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    measurements: Path | None = None

    def check_choices(self, suite: Suite, convention: str) -> None:
        """Refuse results of another suite, split or convention.

        Raises:
            RequestError: Says what differs.
        """
        if self.results is None:
            open_unlearning.check(suite, convention, self.source)
            return
        theirs = self.results
        pairs = {
            "suite": (theirs.suite, suite.name),
            "convention": (theirs.convention, convention),
            **{
                name: (theirs.described.get(name), suite.described.get(name))
                for name in ("split", "limit")
            },
        }
        self._refuse({name: pair for name, pair in pairs.items() if pair[0] != pair[1]})

    def check_encoding(self, encoding: Mapping[str, Any]) -> None:
        """Refuse results whose texts became tokens in another way.

        Raises:
            RequestError: Says what differs (template, system prompt, end token).
        """
        if self.results is None:
            return
        theirs = self.results.encoding
        names = sorted({*theirs, *encoding})
        self._refuse(
            {
                name: (theirs.get(name), encoding.get(name))
                for name in names
                if theirs.get(name) != encoding.get(name)
            }
        )

    def _refuse(self, different: Mapping[str, tuple[object, object]]) -> None:
        if different:
            said = "; ".join(f"{k} {a!r} there, {b!r} here" for k, (a, b) in different.items())
            raise RequestError(
                f"the retrained model's results are not comparable: {said}",
                where=self.source,
                remedy="evaluate the retrained model with the same options, or repeat its options "
                "here",
            )

    def model(self, suite: Suite) -> OtherModel:
        """Its item scores for the lines of a suite.

        Raises:
            RequestError: The items are others.
        """
        if self.foreign is not None:
            return open_unlearning.item_scores(suite, self.foreign, self.source)
        assert self.results is not None
        theirs = {line.name: line for line in self.results.lines}
        scores, unusable = {}, {}
        for line in suite.lines:
            found = self.results.items.get(line.name)
            if not isinstance(line.how, Metric) or found is None:
                continue
            if why := _differs(line, theirs[line.name]):
                unusable[line.name] = why
                continue
            own = [record.id for record in suite.sets.get(line.on, ())]
            other = [score.example_id for score in found]
            if own != other:
                shared = len(set(own) & set(other))
                raise RequestError(
                    f"the retrained model was asked other items of {line.on}: {len(other)} there, "
                    f"{len(own)} here, {shared} in both",
                    where=self.source,
                    remedy="evaluate both models on the same data",
                )
            scores[line.name] = found
        return OtherModel(
            scores=scores,
            unusable=unusable,
            absent="the retrained model's results have no such line",
        )


def read_reference(source: str | Path) -> Reference:
    """Read the results of a retrained model.

    Args:
        source: A results file of `unbelief evaluate`, the folder that holds one, or
            OpenUnlearning's `TOFU_EVAL.json`.

    Raises:
        RequestError: It is none of these.
    """
    file = _results_file(Path(source).expanduser())
    content = read_json(file)
    if isinstance(content, dict) and content.get("schema") == SCHEMA:
        results = read_results(file)
        about = {
            "source": str(source),
            "kind": "results",
            "model": results.provenance.get("source"),
            "weights_sha256": results.provenance.get("input_weights_sha256"),
            "created": results.provenance.get("created"),
        }
        folder = file.with_name(f"{file.stem}.measurements")
        return Reference(
            source=str(source),
            results=results,
            about=about,
            measurements=folder if folder.is_dir() else None,
        )
    if open_unlearning.is_one(content):
        digest = sha256(file.read_bytes()).hexdigest()
        about = {"source": str(source), "kind": "open-unlearning", "file_sha256": digest}
        return Reference(source=str(source), foreign=content, about=about)
    raise RequestError(
        "this is neither a results file of `unbelief evaluate` nor OpenUnlearning's EVAL.json",
        where=str(file),
        remedy="name the JSON file that `unbelief evaluate --output` wrote for the retrained model",
    )


def _results_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = []
    for file in sorted(path.glob("*.json")):
        content = read_json(file)
        ours = isinstance(content, dict) and content.get("schema") == SCHEMA
        if ours or file.name.endswith("_EVAL.json"):
            found.append(file)
    if len(found) == 1:
        return found[0]
    raise RequestError(
        f"the folder holds {len(found)} results files",
        where=str(path),
        remedy="name the file that is meant",
    )


def _differs(line: Line, theirs: LineResult) -> str:
    own = {"metric": line.how.name, "version": line.how.version, **_values(option_values(line.how))}
    other = {
        "metric": theirs.how,
        "version": theirs.estimate.version,
        **_values(theirs.options),
    }
    names = sorted(name for name in {*own, *other} if own.get(name) != other.get(name))
    if not names:
        return ""
    said = ", ".join(f"{name} {other.get(name)!r} there, {own.get(name)!r} here" for name in names)
    return f"it was computed otherwise for the retrained model: {said}"


def _values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they look after a trip through JSON."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
