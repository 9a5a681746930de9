"""A judgement as a results file: estimates with intervals, grades by id, controls. No text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from unbelief.judge import prompts
from unbelief.judge.controls import Control
from unbelief.judge.run import Graded, Judgement, Usage
from unbelief.provenance import environment, utc_now
from unbelief.scores.statistics import mean_statistic
from unbelief.types import Estimate, Score

SCALES = ("naturalness", "similarity")
UNIT = "grade (0-5)"
CONVENTION = "unbelief judge"
KIND = "judgement"
SCHEMA = 1
MEANING = {
    "naturalness": "5 fluent, 0 no language, whatever it says; higher is better",
    "similarity": "inverted, as published: 5 nothing of the true answer is left, 0 all of it; "
    "higher is better unlearning",
}


def estimates(judgement: Judgement) -> dict[str, dict[str, Estimate]]:
    """Label to scale to mean grade, with an interval from resampled groups (or items).

    Labels are resampled alike, so that their differences may be paired.
    """
    labels = dict.fromkeys(graded.item.label for graded in judgement.graded)
    return {
        label: {scale: _estimate(judgement.graded, label, scale) for scale in SCALES}
        for label in labels
    }


def to_dict(
    judgement: Judgement,
    *,
    source: str = "",
    prices: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Everything for the results file, ready for `json.dumps`.

    The judge's reasons are not in it, since they may quote the records; they are in the file of
    recorded answers.

    Args:
        judgement: What came out.
        source: Name of the file of responses.
        prices: Per million input and output tokens.
    """
    usage = judgement.usage
    return {
        "schema_version": SCHEMA,
        "kind": KIND,
        "valid": judgement.valid,
        "invalid_because": list(judgement.misses),
        "meaning": MEANING,
        "scores": {
            label: {scale: asdict(estimate) for scale, estimate in its.items()}
            for label, its in estimates(judgement).items()
        },
        "controls": [_control(*one) for one in judgement.controls],
        "items": [_item(graded) for graded in judgement.graded],
        "usage": {**asdict(usage), "prices": prices, "cost": cost_of(usage, prices)},
        "provenance": {
            "created": utc_now(),
            "environment": asdict(environment()),
            "judge": dict(judgement.judge),
            "prompt": {"version": prompts.VERSION, "sha256": prompts.SHA256},
            "seed": judgement.seed,
            "responses": {"source": source, "n": len(judgement.graded)},
        },
    }


def cost_of(usage: Usage, prices: tuple[float, float] | None) -> float | None:
    """What a batch cost; None without prices, or when a reply did not say how long it was.

    Args:
        usage: Tokens of the batch.
        prices: Per million input and output tokens.
    """
    if prices is None or usage.uncounted:
        return None
    return (usage.input_tokens * prices[0] + usage.output_tokens * prices[1]) / 1e6


def _estimate(graded: Sequence[Graded], label: str, scale: str) -> Estimate:
    scores = []
    for one in graded:
        if one.item.label == label:
            grade = None if one.verdict is None else float(getattr(one.verdict, scale))
            scores.append(Score(grade, one.unscored, one.item.id, one.item.group))
    statistic = mean_statistic(scores, unit=UNIT, version=prompts.VERSION, stream="judge")
    return statistic.estimate(CONVENTION)


def _item(graded: Graded) -> dict[str, Any]:
    item = graded.item
    values: dict[str, Any] = {"id": item.id, "label": item.label, "group": item.group}
    return values | _grades(graded)


def _control(control: Control, graded: Graded, miss: str | None) -> dict[str, Any]:
    return {
        "kind": control.kind,
        "origin": control.origin,
        "expected": {scale: list(getattr(control, scale)) for scale in SCALES},
        **_grades(graded),
        "passed": miss is None,
    }


def _grades(graded: Graded) -> dict[str, Any]:
    verdict = graded.verdict
    values: dict[str, Any] = {
        scale: None if verdict is None else getattr(verdict, scale) for scale in SCALES
    }
    return values | {"unscored": graded.unscored}
