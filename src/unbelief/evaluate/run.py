"""From a model to results: read, ask, score, write. The pieces are in the modules beside."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief import processes
from unbelief.errors import RequestError
from unbelief.evaluate.asking import about, check_source, cut_answers, load, make_encoder, recorded
from unbelief.evaluate.judges import classify_answers, find_classifier, hear_original
from unbelief.evaluate.reference import Reference, read_reference
from unbelief.evaluate.request import Evaluation
from unbelief.evaluate.results import Results, check_output, is_results, write_results
from unbelief.evaluate.stored import Stored, results_of, write_stored
from unbelief.measure.plan import Plan
from unbelief.scores.base import Aggregate, Metric
from unbelief.scores.conventions import CONVENTIONS
from unbelief.scores.options import unknown
from unbelief.suites.base import ItemSets, Suite, SuiteKind
from unbelief.suites.registry import make_suite, read_items, suite_kind

if TYPE_CHECKING:
    from unbelief.models.load import LoadedModel
    from unbelief.tokens import Encoder


def evaluate(
    request: Evaluation,
    output: str | Path,
    *,
    measurements: str | Path | None = None,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
) -> Results:
    """Measure a model, score it and write the results.

    Stopped in the middle, the same call goes on where it was. What was measured stays beside the
    results (texts of the records and the model's answers; readable by you alone): `rescore` needs
    no model.

    Args:
        request: What to evaluate, and how.
        output: JSON file that is to appear, with its item scores beside it.
        measurements: Folder of the measurement (default: beside the output).
        overwrite: Replace an existing output.
        restart: Measure anew instead of using what an earlier start measured.
        progress: Show bars on stderr when that is a terminal.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C; the same call goes on.
    """
    started = time.monotonic()
    target = check_output(output, overwrite)
    folder = Path(measurements or target.with_name(f"{target.stem}.measurements"))
    folder = folder.expanduser().absolute()
    if folder == target:
        raise RequestError(
            "the measurements cannot be in the place of the output",
            where="--measurements",
            remedy="name a folder",
        )
    for source in (request.model, request.retrained, request.original):
        check_source(source)  # a wrong path is told before another model is measured
    draft = _draft(request)
    classifier = find_classifier(request, draft.suite.lines)
    reference = _reference(request, draft, target, restart=restart, progress=progress)
    others = _original_results(request, draft, target, restart=restart, progress=progress)
    processes.join(request.device)
    loaded = load(request, request.model)
    encoder = make_encoder(request, draft.kind, loaded)
    if reference is not None:
        reference.check_encoding(encoder.describe())
    suite = replace(draft.suite, sets=cut_answers(draft.items, encoder).sets)
    if reference is not None:
        reference.model(suite)  # other items are refused before anything is measured
    _measure(suite, loaded, encoder, folder, restart=restart, progress=progress)
    stored = Stored(
        suite=suite.name,
        described=dict(suite.described),
        absent=dict(suite.absent),
        choices=asdict(request.choices),
        encoding=encoder.describe(),
        model=about(loaded),
        config=recorded(request),
    )
    del loaded
    stored = hear_original(request, draft.kind, suite, stored, folder, progress)
    reason = processes.on_main(lambda: classify_answers(classifier, suite, folder, request.device))
    stored = replace(stored, fluency_reason=reason)

    def finish() -> Results:
        write_stored(stored, folder)
        results = results_of(folder, stored, suite.lines, request.convention, reference, others)
        cost = {**results.cost, "seconds": round(time.monotonic() - started, 1)}
        results = replace(results, cost=cost)
        check_output(output, overwrite)
        write_results(results, target)
        return results

    return processes.on_main(finish)


@dataclass(frozen=True)
class _Draft:
    """What is known before a model is loaded."""

    kind: SuiteKind
    items: ItemSets
    suite: Suite
    request: Evaluation


def _draft(request: Evaluation) -> _Draft:
    if request.convention not in CONVENTIONS:
        raise unknown(request.convention, CONVENTIONS, "convention")
    kind = suite_kind(request.suite)
    nothing = ItemSets(sets={})
    make_suite(kind, nothing, request.choices, request.metrics)  # unknown names, before any data
    items = kind.under(read_items(kind, request.source), request.convention)
    return _Draft(kind, items, make_suite(kind, items, request.choices, request.metrics), request)


def _reference(
    request: Evaluation, draft: _Draft, target: Path, *, restart: bool, progress: bool
) -> Reference | None:
    source = request.reference
    if request.retrained is not None:
        source = _evaluate_other(request, request.retrained, target, "retrained", restart, progress)
    if source is None:
        return None
    reference = read_reference(source)
    reference.check_choices(draft.suite, request.convention)
    return reference


def _original_results(
    request: Evaluation, draft: _Draft, target: Path, *, restart: bool, progress: bool
) -> Reference | None:
    """Results of the original model, where a line is relative to them."""
    relative = any(
        isinstance(line.how, Aggregate) and line.how.reference_model == "original"
        for line in draft.suite.lines
    )
    if not relative or request.original is None:
        return None
    source = _evaluate_other(request, request.original, target, "original", restart, progress)
    return read_reference(source)


def _evaluate_other(
    request: Evaluation,
    model: str | Path,
    target: Path,
    name: str,
    restart: bool,
    progress: bool,
) -> Path:
    """Evaluate another model in the same way, beside the output."""
    output = target.with_name(f"{target.stem}.{name}{target.suffix}")
    same = replace(request, model=model, retrained=None, reference=None, revision=None)
    if name == "original":
        same = replace(same, original=None)
    evaluate(same, output, overwrite=is_results(output), restart=restart, progress=progress)
    return output


def _measure(
    suite: Suite,
    loaded: LoadedModel,
    encoder: Encoder,
    folder: Path,
    *,
    restart: bool,
    progress: bool,
) -> None:
    from unbelief.measure.run import measure
    from unbelief.models.runner import AnswerModel

    measure(
        AnswerModel(loaded.model, pad_id=encoder.pad_id),
        encoder,
        make_plan(suite),
        folder,
        fingerprint={"weights_sha256": loaded.weights_sha256, "suite": suite.name},
        progress=progress,
        restart=restart,
    )


def make_plan(suite: Suite) -> Plan:
    """Every set with the union of what its lines need of it."""
    needs: dict[str, dict[Any, None]] = {name: {} for name in suite.sets}
    for line in suite.lines:
        if isinstance(line.how, Metric) and line.on in needs:
            wanted = line.how.needs if line.said is None else (line.said,)
            needs[line.on] |= dict.fromkeys(wanted)
    asked = {name: records for name, records in suite.sets.items() if needs[name]}
    return Plan(asked, {name: tuple(needs[name]) for name in asked})
