"""Examples as if measured, made by hand or at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unbelief.measure.tables import (
    AnswerMeasurement,
    AnswerNeed,
    Example,
    GradientNeed,
    Need,
    TextMeasurement,
    TextNeed,
)
from unbelief.scores.base import Metric
from unbelief.types import Record, Score

RECORD = Record(
    id="a",
    prompt="In which language does Hsiao Yun-Hwa write?",
    answer="Hsiao Yun-Hwa typically writes her books in English to reach a global audience.",
    group="Hsiao Yun-Hwa",
    paraphrased_prompt="What language are the books of Hsiao Yun-Hwa in?",
    paraphrases=("English is the language in which Hsiao Yun-Hwa usually writes.",),
    perturbed=(
        "Hsiao Yun-Hwa typically writes her books in Mandarin for a local audience.",
        "Hsiao Yun-Hwa typically writes her books in French for a small audience.",
    ),
    choices=("English", "French", "Mandarin", "Dutch"),
    correct_choice=0,
)


def answer(
    logp: Sequence[float] = (-0.5, -1.0),
    hit: Sequence[bool] | None = None,
    *,
    has_end: bool = False,
    truncated: bool = False,
    entropy: Sequence[float] | None = None,
    variance: Sequence[float] | None = None,
    dtype: type = np.float32,
) -> AnswerMeasurement:
    """One measured answer; what is not given is a plain default."""
    n = len(logp)
    return AnswerMeasurement(
        token_ids=np.arange(n),
        logp=np.array(logp, dtype),
        hit=np.array([True] * n if hit is None else hit, bool),
        entropy=np.array([1.0] * n if entropy is None else entropy, dtype),
        variance=np.array([1.0] * n if variance is None else variance, dtype),
        has_end=has_end,
        truncated=truncated,
        decoded="The language is English.",
    )


def said(text: str, token_ids: Sequence[int] = (1, 2), *, finished: bool = True) -> TextMeasurement:
    """One answer of the model."""
    return TextMeasurement(token_ids=tuple(token_ids), text=text, log_prob=-1.0, finished=finished)


def with_answers(
    *answers: AnswerMeasurement,
    need: AnswerNeed | None = None,
    record: Record = RECORD,
) -> Example:
    """An example whose texts of one kind were measured."""
    return Example(record=record, answers={need or AnswerNeed(): answers})


def with_texts(metric: Metric, *texts: str, record: Record = RECORD) -> Example:
    """An example in which every text need of a metric is answered by these texts."""
    needs = [n for n in metric.needs if isinstance(n, TextNeed)]
    return Example(record=record, texts={n: tuple(said(t) for t in texts) for n in needs})


def random_for(
    metric: Metric, seed: int, *, record: Record = RECORD, dtype: type = np.float32
) -> Example:
    """Everything a metric reads, a classifier's opinion included, drawn at random."""
    example = random_example(metric.needs, seed, record=record, dtype=dtype)
    opinion = getattr(metric, "opinion", None)
    if opinion is None:
        return example
    return replace(example, opinions={opinion: (float(np.random.default_rng(seed).random()),)})


def random_example(
    needs: Sequence[Need],
    seed: int,
    *,
    record: Record = RECORD,
    dtype: type = np.float32,
    tokens: int | None = None,
) -> Example:
    """Everything a metric needs, drawn at random; float64 holds the same values as float32."""
    rng = np.random.default_rng(seed)
    record = replace(record, id=f"item {seed}")
    counts = {
        "answer": 1,
        "paraphrase": len(record.paraphrases),
        "perturbed": len(record.perturbed),
        "choice": len(record.choices),
    }

    def drawn() -> AnswerMeasurement:
        n = tokens or int(rng.integers(2, 9))
        numbers = [(-rng.exponential(size=n)).astype(np.float32) for _ in range(3)]
        return answer(
            numbers[0],
            (rng.random(n) < 0.7).tolist(),
            has_end=bool(rng.random() < 0.5),
            entropy=-numbers[1],
            variance=-numbers[2],
            dtype=dtype,
        )

    words = [*record.answer.split(), "no", "always", "French"]

    def text() -> str:
        return " ".join(rng.choice(words, int(rng.integers(1, 12))))

    def built() -> Example:
        return Example(
            record=record,
            answers={
                n: tuple(drawn() for _ in range(counts[n.answer]))
                for n in needs
                if isinstance(n, AnswerNeed)
            },
            texts={
                n: tuple(said(text(), rng.integers(0, 9, 5)) for _ in range(n.samples))
                for n in needs
                if isinstance(n, TextNeed)
            },
            gradients={n: float(rng.exponential()) for n in needs if isinstance(n, GradientNeed)},
        )

    example = built()
    return replace(example, reference=built())


def scores(
    values: Sequence[float | None],
    groups: Sequence[str] | None = None,
    *,
    prefix: str = "",
) -> list[Score]:
    """Scores of items 0, 1, ...; None is an unscored one."""
    return [
        Score(
            v,
            "it was not measured" if v is None else None,
            f"{prefix}{i}",
            groups[i] if groups else None,
        )
        for i, v in enumerate(values)
    ]
