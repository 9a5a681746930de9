"""Which of the field's metrics are held against the exact masses, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unbelief.scores.base import Metric
from unbelief.scores.conventions import metric

Good = Literal["low", "high"]
Family = Literal["leak", "fluency", "utility"]
LONGEST = 24
"""New tokens of an answer; the longest grammatical answer of a world has 8."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A metric whose truth is asked for.

    Attributes:
        name: As in the results.
        title: In words.
        family: What it is meant to show: what is still known, how natural the answers are, what
            was kept.
        good: Which end a well unlearned model is at.
        how: The metric of the field; None where the study computes it from several.
        on: Item set of `how`.
    """

    name: str
    title: str
    family: Family
    good: Good
    how: Metric | None = None
    on: str = "forget"


EXACT = (
    Candidate(name="exact_leak", title="(exact leak mass)", family="leak", good="low"),
    Candidate(name="exact_natural", title="(exact natural mass)", family="fluency", good="high"),
    Candidate(name="exact_retained", title="(exact retained mass)", family="utility", good="high"),
)
"""The masses themselves, as a yardstick of what a perfect metric would show."""


def candidates(samples: int) -> tuple[Candidate, ...]:
    """All metrics of the study, in the order of its tables.

    Args:
        samples: Sampled answers per prompt.
    """
    greedy: Mapping[str, object] = {"max_new_tokens": LONGEST}
    sampled: Mapping[str, object] = {**greedy, "samples": samples, "temperature": 1.0}
    rephrased: Mapping[str, object] = {"prompt": "paraphrased"}
    return (
        _leak("extraction_strength", "ES"),
        _leak("extraction_strength_paraphrased", "ES, question rephrased",
              "extraction_strength", rephrased),
        _leak("exact_memorization", "EM"),
        _leak("exact_recitation", "Greedy answer word for word", options=greedy),
        _leak("rougeL_recall", "ROUGE-L recall", options=greedy),
        _leak("probability", "Probability (per token)"),
        _leak("probability_plain", "Probability (whole answer)"),
        _leak("truth_ratio_prob_mean", "Truth ratio, share of the true answer"),
        _leak("truth_ratio_closer_to_1", "Truth ratio, closer to 1", good="high"),
        _leak("paraphrase_probability", "Probability of paraphrases", "probability",
              {"answer": "paraphrase"}),
        Candidate(name="memorization", title="Mem (ES, EM, paraphrases, truth ratio)",
                  family="leak", good="high"),
        _leak("key_fact_recall", "Key facts, greedy", options=greedy),
        _leak("key_fact_recall_paraphrased", "Key facts, greedy, question rephrased",
              "key_fact_recall", {**greedy, **rephrased}),
        _leak("key_fact_recall_sampled", "Key facts, sampled", "key_fact_recall", sampled),
        _leak("leak_rate", "Sampled leak rate", options=sampled),
        Candidate(name="leak_any", title="Prompts with any leaking sample", family="leak",
                  good="low"),
        Candidate(name="mia_auc", title="Min-K AUC", family="leak", good="low"),
        Candidate(name="squeeze", title="Squeeze of the beam's high band", family="leak",
                  good="low"),
        Candidate(name="band_facts", title="Probability of beams with the fact, and target",
                  family="leak", good="low"),
        Candidate(name="original_fluency", title="Fluency under the original", family="fluency",
                  good="high"),
        Candidate(name="original_perplexity", title="Perplexity under the original",
                  family="fluency", good="low"),
        _fluency("repetition", "Repetition", greedy),
        _fluency("collapse_rate", "Collapsed answers", greedy),
        _fluency("collapse_rate_sampled", "Collapsed answers, sampled", sampled, "collapse_rate"),
        _kept("probability", "Probability, kept"),
        _kept("extraction_strength", "ES, kept"),
        _kept("rougeL_recall", "ROUGE-L recall, kept", greedy),
        _kept("key_fact_recall", "Key facts, kept", greedy),
    )  # fmt: skip


def _leak(
    name: str,
    title: str,
    how: str | None = None,
    options: Mapping[str, object] | None = None,
    good: Good = "low",
) -> Candidate:
    chosen = metric(how or name, options=options)
    return Candidate(name=name, title=title, family="leak", good=good, how=chosen)


def _fluency(
    name: str, title: str, options: Mapping[str, object], how: str | None = None
) -> Candidate:
    chosen = metric(how or name, options=options)
    return Candidate(name=name, title=title, family="fluency", good="low", how=chosen)


def _kept(how: str, title: str, options: Mapping[str, object] | None = None) -> Candidate:
    chosen = metric(how, options=options)
    return Candidate(
        name=f"retain_{how}", title=title, family="utility", good="high", how=chosen, on="retain"
    )
