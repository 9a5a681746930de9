"""The audit's attacks on models that are in memory: leak measures before and after."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unbelief.audit.attacks import parse_attacks
from unbelief.audit.lines import ALONG, audit_measures, lines_of
from unbelief.audit.subject import Subject
from unbelief.errors import RequestError
from unbelief.evaluate.scoring import ItemScores, item_scores
from unbelief.interventions.base import Context
from unbelief.models.runner import AnswerModel
from unbelief.report.audit_document import ModelFacts
from unbelief.scores.base import Metric, Statistic
from unbelief.scores.conventions import label
from unbelief.scores.statistics import difference, of_scores
from unbelief.suites.base import Line
from unbelief.tokens.encode import Encoder
from unbelief.types import Record

STREAM = "forget"


@dataclass(frozen=True, kw_only=True)
class Assaulted:
    """One model, asked without attack and under every attack.

    Attributes:
        before: By measure.
        after: By attack and measure.
        because: By attack that could not be made, why.
    """

    before: Mapping[str, Statistic]
    after: Mapping[str, Mapping[str, Statistic]] = field(default_factory=dict)
    because: Mapping[str, str] = field(default_factory=dict)


def leak_lines() -> tuple[Line, ...]:
    """What an audit reads under attack, the same definitions."""
    return lines_of(audit_measures(1, 1.0), ALONG)


def assault(
    model: AnswerModel,
    encoder: Encoder,
    forget: Sequence[Record],
    retain: Sequence[Record],
    attacks: Sequence[str],
    *,
    name: str,
    seed: int = 0,
) -> Assaulted:
    """Try attacks on a model; it is as it was afterwards, bit for bit.

    Args:
        model: As it is now.
        encoder: Renders prompts for it.
        forget: Relearned by attacks that relearn, and asked.
        retain: For attacks that take them.
        attacks: Each `NAME` or `NAME:option=value`.
        name: Of the model, for messages.
        seed: Of the resampling.

    Raises:
        RequestError: An attack is unknown.
    """
    parsed, lines = parse_attacks(attacks), leak_lines()
    context = Context(encoder=encoder, forget=forget, retain=retain, model=model)
    with _subject(model, encoder, name) as subject:
        asked = subject.asked({STREAM: tuple(forget)}, lines)
        before = _statistics(lines, item_scores(lines, asked), seed)
        after, because = {}, {}
        for spec, attack in parsed.items():
            lacking = attack.lacks(context)
            if lacking is not None:
                because[spec] = lacking
                continue
            try:
                result = subject.attacked(attack, spec, context, lines)
            except RequestError as error:
                because[spec] = error.message
                continue
            after[spec] = _statistics(lines, result.scores, seed)
    return Assaulted(before=before, after=after, because=because)


@contextmanager
def _subject(model: AnswerModel, encoder: Encoder, name: str) -> Iterator[Subject]:
    """The model as an audit sees it; what it says lies in a folder that goes."""
    facts = ModelFacts(
        role="unlearned",
        source=name,
        weights_sha256=f"in memory: {name}",
        dtype=str(model.inner.dtype).removeprefix("torch."),
        parameters=sum(p.numel() for p in model.inner.parameters()),
        adapter=False,
    )
    with tempfile.TemporaryDirectory(prefix="unbelief-") as folder:
        yield Subject(
            role="unlearned",
            facts=facts,
            model=model,
            encoder=encoder,
            folder=Path(folder),
            progress=False,
        )


def _statistics(lines: Sequence[Line], scores: ItemScores, seed: int) -> dict[str, Statistic]:
    found = {}
    for line in lines:
        assert isinstance(line.how, Metric)
        found[line.name] = of_scores(line.how, scores[line.name], stream=STREAM, seed=seed)
    return found


def attacks_document(attacks: Sequence[str], models: Mapping[str, Assaulted]) -> dict[str, Any]:
    """What is written: per attack and model the measures before, after and their difference.

    The patched model under an attack minus the unlearned one under the same attack stands beside
    them: what putting layers back has opened.

    Args:
        attacks: As they were asked for.
        models: By name; `patched` and `unlearned` among them.
    """
    named = {line.name: label(line.how, "unbelief") for line in leak_lines()}

    def written(statistics: Mapping[str, Statistic]) -> dict[str, Any]:
        return {name: asdict(one.estimate(named[name])) for name, one in statistics.items()}

    def minus(one: Mapping[str, Statistic], other: Mapping[str, Statistic]) -> dict[str, Any]:
        return written({name: difference(one[name], other[name]) for name in one})

    rows = []
    for spec, attack in parse_attacks(attacks).items():
        ran = {name: its for name, its in models.items() if spec in its.after}
        row: dict[str, Any] = {
            "attack": spec,
            "options": asdict(attack),
            "models": {
                name: {
                    "after": written(its.after[spec]),
                    "change": minus(its.after[spec], its.before),
                }
                for name, its in ran.items()
            },
            "not_run": {n: its.because[spec] for n, its in models.items() if spec in its.because},
        }
        if {"patched", "unlearned"} <= ran.keys():
            row["patched_minus_unlearned"] = minus(
                ran["patched"].after[spec], ran["unlearned"].after[spec]
            )
        rows.append(row)
    return {
        "without": {name: written(its.before) for name, its in models.items()},
        "under": rows,
    }
