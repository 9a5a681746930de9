"""The audit itself: one model after the other in memory, every attack on it, then the document."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unbelief.audit.answers import answered
from unbelief.audit.assemble import assemble
from unbelief.audit.attacks import parse_attacks, with_seeds
from unbelief.audit.gates import check_rules
from unbelief.audit.judging import Said, judge_answers
from unbelief.audit.lines import (
    ALONG,
    JUDGED,
    LEADING,
    UNDER_ATTACK,
    Measure,
    audit_measures,
    lines_of,
    sets_of,
)
from unbelief.audit.numbers import Found, Tried
from unbelief.audit.origins import reproduction
from unbelief.audit.refusals import OVER_REFUSAL, over_refusal
from unbelief.audit.request import AuditRequest
from unbelief.audit.squeezes import squeeze_of
from unbelief.audit.subject import Attack, AttackResult, Examples, Sets, Subject, open_subject
from unbelief.errors import Interrupted, RequestError
from unbelief.evaluate.scoring import ItemScores, item_scores
from unbelief.interventions.base import Context
from unbelief.interventions.model.relearn import Relearn
from unbelief.judge.chats import Chat
from unbelief.outputs import atomic_folder, check_destination
from unbelief.report.audit_document import AuditDocument, ModelFacts, Role
from unbelief.report.audit_page import build_audit_report
from unbelief.report.squeeze_curves import with_squeezes
from unbelief.suites.base import Line
from unbelief.suites.own import KIND

ATTACKED: tuple[Role, ...] = ("unlearned", "retrained")
"""On whom attacks are tried: the original has nothing to hide."""
CURVE = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)
"""Where the relearning curve is read, in lengths of the attack."""


def audit(
    request: AuditRequest,
    output: str | Path,
    *,
    judge: Chat | None = None,
    prices: tuple[float, float] | None = None,
    overwrite: bool = False,
    progress: bool = False,
    command: str = "",
) -> AuditDocument:
    """Audit a model and write `audit.json` and `report.html` into a folder that appears whole.

    What the models said is kept in `OUTPUT.run` until the audit is complete, so the same call after
    an interruption asks only what is missing, and in `OUTPUT/measurements` afterwards. All of it
    holds the records' texts.

    Args:
        request: What to audit.
        output: Folder that is to appear.
        judge: Grades every greedy answer, without attack and under each, see `unbelief.judge`.
        prices: Of the judge, per million input and output tokens, for the cost.
        overwrite: Replace one that is there.
        progress: Show bars on stderr when that is a terminal.
        command: For the report's reproduction section.

    Raises:
        RequestError: Something is wrong with the request; nothing is written.
        Interrupted: Ctrl-C; the same call goes on.
    """
    target = check_destination(output, overwrite)
    measures = audit_measures(request.samples * request.seeds, request.temperature, request.seed)
    attacks = parse_attacks(request.attacks)
    graded = () if judge is None else tuple(JUDGED)
    names = [*(m.line.name for m in measures), *graded, OVER_REFUSAL]
    readable = dict.fromkeys(attacks, (*UNDER_ATTACK, *graded))
    check_rules(request.gates, names, readable, _absent(request, measures))
    curves = squeeze_of(request)
    items = KIND.read(request.source)
    sets = _limited(items.sets, request.limit)
    work = target.with_name(target.name + ".run")
    started = time.monotonic()
    try:
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = _all_models(request, sets, items.absent, measures, attacks, work, progress)
        if judge is not None:
            found = _judged(found, judge, work, request.seed, prices, progress)
    except KeyboardInterrupt:
        raise Interrupted("stopped", where=str(work), remedy="the same command resumes") from None
    finally:
        if work.is_dir() and not any(work.iterdir()):
            work.rmdir()
    seconds = round(time.monotonic() - started, 1)
    again = reproduction(request, command, _plain(request), seconds)
    places = (request.model, request.original, request.retrained)
    beside = tuple(Path(p) for p in places if p is not None and Path(p).is_dir())
    document = with_squeezes(assemble(request, found, measures, beside, again), curves)
    with atomic_folder(target, overwrite) as folder:
        folder.chmod(0o700)
        (folder / "audit.json").write_text(document.model_dump_json(indent=1), encoding="utf-8")
        (folder / "report.html").write_text(build_audit_report(document), encoding="utf-8")
        shutil.copytree(work, folder / "measurements")
    shutil.rmtree(work, ignore_errors=True)
    return document


def _all_models(
    request: AuditRequest,
    sets: Sets,
    absent: Mapping[str, str],
    measures: Sequence[Measure],
    attacks: Mapping[str, Attack],
    work: Path,
    progress: bool,
) -> Found:
    lines = tuple(m.line for m in measures)
    facts: list[ModelFacts] = []
    examples: dict[Role, Examples] = {}
    scores: dict[Role, ItemScores] = {}
    tried: dict[str, Tried] = {}
    curve: dict[Role, dict[int, ItemScores]] = {}
    sources: dict[Role, str | None] = {
        "unlearned": request.model,
        "original": request.original,
        "retrained": request.retrained,
    }
    options: dict[str, Any] = {}
    for role, source in sources.items():
        if source is None:
            continue
        subject = open_subject(request, role, source, work, progress=progress)
        facts.append(subject.facts)
        filled = {name: records for name, records in sets.items() if records}
        examples[role] = subject.asked(filled, tuple(x for x in lines if x.on in ("", *filled)))
        scores[role] = item_scores(lines, examples[role])
        if role not in ATTACKED:
            continue
        context = Context(
            encoder=subject.encoder,
            forget=sets["forget"],
            retain=sets["retain"],
            model=subject.model,
        )
        # Every seed of an attack draws its own answers, so that one draw of them is enough.
        once = audit_measures(request.samples, request.temperature, request.seed)
        under, along = lines_of(once, UNDER_ATTACK), lines_of(once, ALONG)
        for name, attack in attacks.items():
            before = tried.get(name) or Tried(name=name, options=asdict(attack))
            tried[name] = _try(subject, with_seeds(attack, request), context, under, before)
        for relearn in (a for a in attacks.values() if isinstance(a, Relearn)):
            if role not in curve and relearn.lacks(context) is None:
                first = with_seeds(relearn, request)[0]
                options = asdict(first)
                curve[role] = _curve(subject, first, context, along)
    return Found(
        sets=sets,
        absent=absent,
        models=tuple(facts),
        examples=examples,
        scores=scores,
        attacks=tuple(tried.values()),
        curve=curve,
        curve_options=options,
        refusals=over_refusal(
            {role: its["retain"] for role, its in examples.items() if "retain" in its},
            request.seed,
        ),
    )


def _judged(
    found: Found,
    chat: Chat,
    work: Path,
    seed: int,
    prices: tuple[float, float] | None,
    progress: bool,
) -> Found:
    """Everything found, with the judge's grades of what was answered, attacked or not."""
    plain: Said = {("", role): (answered(its["forget"]),) for role, its in found.examples.items()}
    under = {(t.name, role): its for t in found.attacks for role, its in t.answers.items()}
    grades = judge_answers(
        {**plain, **under},
        chat,
        work / "judge.answers.jsonl",
        seed=seed,
        prices=prices,
        progress=progress,
    )
    return replace(found, judge=grades.judged, grades=grades.statistics)


def _try(
    subject: Subject,
    attacks: Sequence[Attack],
    context: Context,
    lines: Sequence[Line],
    before: Tried,
) -> Tried:
    """Make one attack on one model, with every seed; what cannot be made is reported, not skipped.

    Args:
        subject: The model.
        attacks: The same attack with different seeds.
        context: Encoder and records.
        lines: What is read.
        before: What is known of the attack so far.
    """
    if before.because:
        return before
    lacking = attacks[0].lacks(context)
    if lacking is not None:
        return replace(before, because=lacking)
    started = time.monotonic()
    results: list[AttackResult] = []
    for k, attack in enumerate(attacks):
        label = before.name if k == 0 else f"{before.name},seed={attack.seed}"  # type: ignore[union-attr]
        try:
            results.append(subject.attacked(attack, label, context, lines))
        except RequestError as error:
            if subject.role != "unlearned":
                return before
            return replace(before, because=error.message)
    before = replace(
        before,
        scores={**before.scores, subject.role: tuple(r.scores for r in results)},
        answers={**before.answers, subject.role: tuple(answered(r.examples) for r in results)},
    )
    if subject.role != "unlearned":
        return before
    return replace(
        before,
        options=asdict(attacks[0]),
        seeds=tuple(a.seed for a in attacks if hasattr(a, "seed")),
        examples=max(results, key=_facts_said).examples,
        seconds=round(time.monotonic() - started, 1),
    )


def _facts_said(result: AttackResult) -> float:
    """Of the measure the verdict leads with."""
    for leading in LEADING:
        values = [s.value for s in result.scores.get(leading, ()) if s.value is not None]
        if values:
            return sum(values)
    return 0.0


def _curve(
    subject: Subject, relearn: Relearn, context: Context, lines: Sequence[Line]
) -> dict[int, ItemScores]:
    """Leak measures along one relearning run, to four times the attack's length."""
    total = relearn.steps(context)
    at = sorted({0, *(max(1, round(total * share)) for share in CURVE)})
    found: dict[int, ItemScores] = {}
    with relearn.curve(subject.model, context, at) as points:
        for step, attacked in points:
            model = replace(subject, model=attacked)
            found[step] = model.at_step(step, relearn, context, lines)
    return found


def _limited(sets: Sets, limit: int | None) -> dict[str, Any]:
    return {name: records[:limit] if limit else records for name, records in sets.items()}


def _plain(request: AuditRequest) -> dict[str, Any]:
    """The request without what tells of the machine it was made on."""
    values = asdict(request)
    for name in ("model", "original", "retrained", "forget", "retain", "holdout"):
        if values[name] is not None:
            values[name] = Path(values[name]).name or values[name]
    values["gates"] = [rule.text for rule in request.gates]
    values["squeeze"] = [Path(source).name for source in request.squeeze]
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _absent(request: AuditRequest, measures: Sequence[Measure]) -> dict[str, str]:
    """Measures, and the retrained model, of which there are no numbers; the option each needs."""
    of = {**sets_of(measures), OVER_REFUSAL: frozenset({"retain"})}
    lacking = [name for name in ("retain", "holdout") if getattr(request, name) is None]
    found = {measure: name for name in lacking for measure, sets in of.items() if name in sets}
    return found if request.retrained else {**found, "retrained": "retrained"}
