"""Results from measurements: no model, no data, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unbelief.beliefs.bank import write_private
from unbelief.errors import RequestError
from unbelief.evaluate import fluency, original
from unbelief.evaluate.reference import Reference, read_reference
from unbelief.evaluate.results import (
    Results,
    check_output,
    describe_sets,
    line_results,
    write_results,
)
from unbelief.evaluate.scoring import OtherModel, compare_examples, item_scores, score_suite
from unbelief.measure.store import Measurements, read_measurements
from unbelief.measure.tables import ClassifierNeed, Example, Need
from unbelief.provenance import Provenance, records_digest
from unbelief.scores.base import Metric
from unbelief.scores.conventions import CONVENTIONS
from unbelief.scores.options import unknown
from unbelief.suites.base import Choices, ItemSets, Line, Suite
from unbelief.suites.registry import make_suite, suite_kind

_FILE = "evaluation.json"
NOT_MEASURED = "this was not measured: evaluate the model again"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a measurement's folder says about the evaluation it was made for.

    Attributes:
        suite: Name.
        described: What was chosen of the suite.
        absent: Why sets are empty.
        choices: Convention, samples, temperature.
        encoding: How texts became tokens.
        model: Source, revision, weights, dtype.
        config: The request.
        original: The same of the original model, where it was asked about the model's words.
        fluency_reason: Why no classifier read the answers; empty where one did.
    """

    suite: str
    described: Mapping[str, str]
    absent: Mapping[str, str]
    choices: Mapping[str, Any]
    encoding: Mapping[str, Any]
    model: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    original: Mapping[str, Any] | None = None
    fluency_reason: str = ""


def rescore(
    measurements: str | Path,
    output: str | Path | None = None,
    *,
    convention: str | None = None,
    metrics: Sequence[str] = (),
    reference: str | Path | None = None,
    overwrite: bool = False,
) -> Results:
    """Score again what was measured: another convention, other lines, another reference.

    Args:
        measurements: Folder that `evaluate` made.
        output: JSON file that is to appear; nothing is written without one.
        convention: Whose definitions (default: those of the evaluation).
        metrics: Names of lines or metrics; empty for everything that is not on request.
        reference: Results of the retrained model.
        overwrite: Replace an existing output.

    Raises:
        RequestError: The folder is not a finished measurement of an evaluation, or an unknown name.
    """
    target = None if output is None else check_output(output, overwrite)
    folder = Path(measurements).expanduser().absolute()
    stored = read_stored(folder)
    if convention is not None and convention not in CONVENTIONS:
        raise unknown(convention, CONVENTIONS, "convention")
    choices = Choices(
        **{**stored.choices, "convention": convention or stored.choices["convention"]}
    )
    kind = suite_kind(stored.suite)
    lines = make_suite(kind, ItemSets(sets={}), choices, tuple(metrics)).lines
    other = None if reference is None else read_reference(reference)
    results = results_of(folder, stored, lines, choices.convention, other, None, check=True)
    if target is not None:
        write_results(results, target)
    return results


def results_of(
    folder: Path,
    stored: Stored,
    lines: tuple[Line, ...],
    convention: str,
    reference: Reference | None,
    original_model: Reference | None,
    *,
    check: bool = False,
) -> Results:
    """Everything that follows from a finished measurement.

    Args:
        folder: Of the measurement.
        stored: What it was made for.
        lines: To be scored.
        convention: Whose definitions.
        reference: The retrained model's results.
        original_model: The original model's results, for lines relative to them.
        check: Whether the reference's choices and encoding still have to be checked.
    """
    measured = read_measurements(folder)
    sets = {name: tuple(e.record for e in its) for name, its in measured.examples.items()}
    sets |= {name: () for name in stored.absent if name not in sets}
    suite = Suite(
        name=stored.suite,
        sets=sets,
        lines=lines,
        described=stored.described,
        absent=stored.absent,
    )
    if check and reference is not None:
        reference.check_choices(suite, convention)
        reference.check_encoding(stored.encoding)
    examples, judges = _examples(folder, stored, measured, lines)
    compares = any(line.how.name == "mia_reference" for line in lines)
    if compares and reference is not None and reference.measurements is not None:
        examples = compare_examples(examples, read_measurements(reference.measurements).examples)
    words = _words(folder, stored, lines)
    scored = score_suite(
        suite,
        item_scores(lines, examples, words),
        retrained=_other(reference, suite),
        original=_other(original_model, suite),
    )
    return Results(
        suite=suite.name,
        described=suite.described,
        sets=describe_sets(suite),
        convention=convention,
        encoding=stored.encoding,
        choices={k: v for k, v in stored.choices.items() if k != "convention"},
        lines=line_results(suite, scored, convention),
        retrained=None if reference is None else dict(reference.about),
        notes=_notes(stored, convention, reference),
        provenance=_provenance(stored, measured, suite, judges),
        cost=_cost(measured),
        items=scored.items,
    )


def _other(reference: Reference | None, suite: Suite) -> OtherModel | None:
    return None if reference is None else reference.model(suite)


def _examples(
    folder: Path, stored: Stored, measured: Measurements, lines: Sequence[Line]
) -> tuple[dict[str, tuple[Example, ...]], dict[str, Any]]:
    """The examples with everything that was kept beside them, and who said it."""
    why = stored.fluency_reason or "no gibberish classifier was at hand"
    examples, classifier = fluency.with_opinions(
        folder, measured.examples, fluency.needs_of(lines), why
    )
    judges = {"fluency": classifier} if classifier else {}
    if stored.original is not None:
        judges["original"] = dict(stored.original)
    return {name: _with_reasons(name, its, lines) for name, its in examples.items()}, judges


def _with_reasons(
    name: str, examples: Sequence[Example], lines: Sequence[Line]
) -> tuple[Example, ...]:
    """Say of every need that was not part of the measurement that it was not."""
    needs: set[Need | ClassifierNeed] = {
        need
        for line in lines
        if isinstance(line.how, Metric) and line.on == name and line.said is None
        for need in line.how.needs
    }

    def completed(example: Example) -> Example:
        known = {*example.answers, *example.texts, *example.gradients, *example.unmeasured}
        missing = dict.fromkeys(needs - known, NOT_MEASURED)
        return replace(example, unmeasured={**missing, **example.unmeasured})

    return tuple(completed(example) for example in examples)


def _words(folder: Path, stored: Stored, lines: Sequence[Line]) -> original.Words:
    wanted = original.about_words(lines)
    if stored.original is None or not wanted:
        return {}
    return original.read_words(folder, stored.original["weights_sha256"], wanted)


def _notes(stored: Stored, convention: str, reference: Reference | None) -> tuple[str, ...]:
    notes = []
    if convention != stored.choices["convention"]:
        notes.append(
            f"scored under the definitions of {convention}, measured with the encoding of "
            f"{stored.choices['convention']}: not comparable with that convention's own numbers"
        )
    if reference is not None and reference.foreign is not None:
        notes.append(
            "the retrained model's numbers are OpenUnlearning's own; its file does not say with "
            "which template and system prompt they were made"
        )
    if stored.model.get("is_adapter"):
        notes.append("the model is an adapter: its base model's weights are unchanged")
    return tuple(notes)


def _provenance(
    stored: Stored, measured: Measurements, suite: Suite, judges: Mapping[str, Any]
) -> dict[str, Any]:
    # The salt stays with the measurement: whoever has it can show that these were the records.
    key = bytes.fromhex(measured.meta["salt"])
    digests = {name: records_digest(records, key) for name, records in suite.sets.items()}
    whole = Provenance(
        source=str(stored.model["source"]),
        revision=stored.model["revision"],
        input_weights_sha256=str(stored.model["weights_sha256"]),
        forget=digests.get("forget"),
        retain=digests.get("retain"),
        config=stored.config,
        seed=0,
    ).to_dict()
    return {
        **whole,
        "dtype": stored.model["dtype"],
        "data": {name: asdict(digest) for name, digest in digests.items()},
        "measured_with": {
            name: measured.meta.get(name) for name in ("model", "versions", "created")
        },
        "judges": dict(judges),
    }


def _cost(measured: Measurements) -> dict[str, Any]:
    return {"measuring": measured.meta["cost"]}


def write_stored(stored: Stored, folder: Path) -> None:
    """Keep what a measurement was made for, inside its folder."""
    text = json.dumps(asdict(stored), indent=1, default=str)
    write_private(folder / _FILE, text.encode())


def read_stored(folder: Path) -> Stored:
    """Inverse of `write_stored`.

    Raises:
        RequestError: No such file.
    """
    try:
        return Stored(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
    except OSError:
        raise RequestError(
            f"this is no measurement of an evaluation: it has no {_FILE}",
            where=str(folder),
            remedy="name the folder OUTPUT.measurements that `unbelief evaluate` made; if it was "
            "interrupted, the same evaluate command goes on",
        ) from None
    except (ValueError, TypeError) as error:
        raise RequestError(
            f"{_FILE} is damaged ({error})", where=str(folder), remedy="evaluate again"
        ) from None
