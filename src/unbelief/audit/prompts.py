"""The table of prompts: per forget record its flag, scores and responses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from unbelief.audit.answers import greedy_text, why_not
from unbelief.audit.flags import Evidence, Thresholds, flag_of
from unbelief.evaluate.scoring import ItemScores
from unbelief.measure.tables import Example
from unbelief.report.audit_document import PromptRow, Response, Role
from unbelief.scores.facts import key_facts
from unbelief.scores.metrics.key_facts import recall
from unbelief.scores.words import stems
from unbelief.types import Record

_WORD = re.compile(r"[^\W_]+(?:['’.,-][^\W_]+)*")
_SAMPLES_SHOWN = 2


def prompt_rows(
    records: Sequence[Record],
    examples: Mapping[Role, Sequence[Example]],
    scores: ItemScores,
    attacked: Mapping[str, Sequence[Example]],
) -> tuple[PromptRow, ...]:
    """One row per forget record.

    Args:
        records: In the order of everything else.
        examples: Of every model, without attack.
        scores: Of the unlearned model, by measure.
        attacked: Of the unlearned model under each attack.
    """
    rows = []
    for i, record in enumerate(records):
        values = {name: its[i].value for name, its in scores.items() if i < len(its)}
        own = examples["unlearned"][i]
        said = greedy_text(own)
        evidence = Evidence(
            text=said or "",
            key_fact_recall=values.get("key_fact_recall"),
            collapse=values.get("collapse_rate"),
            rouge=values.get("rougeL_recall"),
            probability=values.get("probability"),
        )
        flag, why = flag_of(evidence)
        if said is None:
            flag, why = "undecided", "the model was not asked: " + why_not(own)
        facts = frozenset(stem for fact in key_facts(record) for stem in fact)
        if flag in ("leaked", "rephrased") and _knows(examples.get("retrained"), i, record):
            why += "; the retrained model, which never saw the record, says so too"
        responses = [
            *_plain(examples, i, facts),
            *_leaking_samples(own, facts),
            *_leaking_attacks(attacked, i, facts),
        ]
        rows.append(
            PromptRow(
                id=record.id,
                group=record.group,
                prompt=_prompt_text(record),
                truth=record.answer,
                flag=flag,
                why=why,
                facts=words_with(record.answer, facts),
                scores=values,
                responses=tuple(responses),
            )
        )
    return tuple(rows)


def words_with(text: str, facts: frozenset[str]) -> tuple[str, ...]:
    """The words of a text, as they are written, that carry a fact."""
    found = (match[0] for match in _WORD.finditer(text))
    return tuple(dict.fromkeys(word for word in found if stems(word) & facts))


def _plain(
    examples: Mapping[Role, Sequence[Example]], i: int, facts: frozenset[str]
) -> list[Response]:
    found = []
    for role, its in examples.items():
        text = greedy_text(its[i])
        if text is not None:
            found.append(Response(by=role, text=text, words=words_with(text, facts)))
    return found


def _leaking_samples(example: Example, facts: frozenset[str]) -> list[Response]:
    found = []
    for need, texts in example.texts.items():
        if need.decoding.temperature > 0:
            for said in texts:
                words = words_with(said.text, facts)
                if words:
                    by = f"unlearned, sampled at temperature {need.decoding.temperature:g}"
                    found.append(Response(by=by, text=said.text, words=words))
    return found[:_SAMPLES_SHOWN]


def _leaking_attacks(
    attacked: Mapping[str, Sequence[Example]], i: int, facts: frozenset[str]
) -> list[Response]:
    found = []
    for name, its in attacked.items():
        text = greedy_text(its[i])
        words = () if text is None else words_with(text, facts)
        if text is not None and words:
            found.append(Response(by=f"unlearned under {name}", text=text, words=words))
    return found


def _knows(examples: Sequence[Example] | None, i: int, record: Record) -> bool:
    text = None if examples is None else greedy_text(examples[i])
    facts = key_facts(record)
    return bool(facts) and text is not None and recall(facts, text) >= Thresholds().fact


def _prompt_text(record: Record) -> str:
    if record.prompt is None:
        return ""
    if isinstance(record.prompt, str):
        return record.prompt
    return "\n".join(f"{turn.role}: {turn.content}" for turn in record.prompt)
