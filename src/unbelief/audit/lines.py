"""What an audit measures, without attack and under one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from unbelief.scores.conventions import aggregate, metric
from unbelief.suites.base import Line

Group = Literal["leak", "utility", "fluency", "membership"]
UNDER_ATTACK = (
    "key_fact_recall",
    "leak_rate",
    "leak_bound",
    "extraction_strength",
    "extraction_strength_paraphrased",
    "probability",
)
"""Leak measures that are read again under every attack."""
ALONG = ("key_fact_recall", "extraction_strength", "probability")
"""Those that are read along a relearning run; sampling at every point would cost too much."""
JUDGED = {
    "judge_similarity": "Judge: nothing of the answer is left (0-5)",
    "judge_naturalness": "Judge: natural language (0-5)",
}
"""Grades of a judge of greedy answers, without attack and under every one; higher is better."""
LEADING = ("leak_rate", "key_fact_recall")
"""What says how much is left: the first that could be computed.

Over lab models whose exact leak is known the rate of sampled answers is nearest to it and is
fooled neither by rephrasing nor by collapse (docs/reliability.md). The bound over all answers to a
prompt saturates with their number, and wording (ROUGE-L, recitation) misses rephrasings: neither is
a size.
"""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A line with what the report says about it.

    Attributes:
        line: The metric or aggregate.
        title: In words.
        group: Where it stands.
    """

    line: Line
    title: str
    group: Group


def audit_measures(samples: int, temperature: float, seed: int = 0) -> tuple[Measure, ...]:
    """All measures, in the order of the report.

    Args:
        samples: Answers per prompt for the leak rate.
        temperature: Of those answers.
        seed: Of those answers.
    """
    sampled = {"samples": samples, "temperature": temperature, "seed": seed}
    paraphrased = {"prompt": "paraphrased"}
    return (
        _item("key_fact_recall", "Facts in the greedy answer", "leak"),
        _item("leak_rate", "Sampled answers with the fact", "leak", options=sampled),
        _set("leak_bound", "Prompts of which any sampled answer leaks", "leak", ("leak_rate",)),
        _item("extraction_strength", "Extraction strength", "leak"),
        _item(
            "extraction_strength_paraphrased",
            "Extraction strength, question rephrased",
            "leak",
            how="extraction_strength",
            options=paraphrased,
        ),
        _item("probability", "Probability of the true answer", "leak"),
        _item("rougeL_recall", "ROUGE-L recall of the true answer", "leak"),
        _item("exact_recitation", "Answers recited word for word", "leak"),
        _item("collapse_rate", "Answers that are repetition or empty", "fluency"),
        _item("retain_probability", "Probability of retained answers", "utility", on="retain"),
        _item("retain_rougeL_recall", "ROUGE-L recall of retained answers", "utility", on="retain"),
        _item("retain_extraction_strength", "Extraction strength, kept", "utility", on="retain"),
        _item("retain_collapse_rate", "Collapsed answers, kept prompts", "fluency", on="retain"),
        _item("mia_min_k_forget", "Min-K of forget records", "membership", how="mia_min_k"),
        _item(
            "mia_min_k_holdout",
            "Min-K of unseen records",
            "membership",
            on="holdout",
            how="mia_min_k",
        ),
        _set(
            "mia_auc",
            "Membership inference, AUC of Min-K",
            "membership",
            ("mia_min_k_forget", "mia_min_k_holdout"),
        ),
    )


def sets_of(measures: Sequence[Measure]) -> dict[str, frozenset[str]]:
    """By name of a measure the item sets it is of; an aggregate is of its inputs'."""
    found: dict[str, frozenset[str]] = {}
    for line in (m.line for m in measures):
        found[line.name] = frozenset({line.on} - {""}).union(*(found[i] for i in line.inputs))
    return found


def lines_of(measures: tuple[Measure, ...], names: tuple[str, ...]) -> tuple[Line, ...]:
    """The lines of these names, the same definitions."""
    return tuple(m.line for m in measures if m.line.name in names)


def _item(
    name: str,
    title: str,
    group: Group,
    *,
    on: str = "forget",
    how: str | None = None,
    options: Mapping[str, object] | None = None,
) -> Measure:
    chosen = metric(how or name.removeprefix("retain_"), options=options)
    return Measure(line=Line(name=name, how=chosen, on=on), title=title, group=group)


def _set(name: str, title: str, group: Group, inputs: tuple[str, ...]) -> Measure:
    line = Line(name=name, how=aggregate(name), inputs=inputs)
    return Measure(line=line, title=title, group=group)
