"""OpenUnlearning's `TOFU_EVAL.json` and `MUSE_EVAL.json` as item scores of a retrained model.

That file maps a metric to `agg_value` and `value_by_index`, whose keys are the rows of the item set
from 0. Its numbers follow that project's definitions, so it serves only under
`--convention open-unlearning`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from unbelief.errors import RequestError
from unbelief.evaluate.scoring import OtherModel
from unbelief.scores.base import Metric
from unbelief.suites.base import Line, Suite
from unbelief.types import Record, Score

CONVENTION = "open-unlearning"
_EPSILON = 1e-10
Values = Mapping[str, Mapping[str, Any]]

# Line -> (names of the metric in the file, field of an item). Nested parts are dotted.
_PLAIN: Mapping[str, tuple[tuple[str, ...], str]] = {
    "forget_probability": (("forget_Q_A_Prob",), "prob"),
    "forget_paraphrase_probability": (("forget_Q_A_PARA_Prob",), "prob"),
    "forget_rouge": (("forget_Q_A_ROUGE",), "rougeL_recall"),
    "forget_extraction_strength": (("extraction_strength",), "score"),
    "forget_exact_memorization": (("exact_memorization",), "score"),
    "forget_fluency": (("forget_Q_A_gibberish",), "score"),
    "retain_probability": (("retain_Q_A_Prob",), "prob"),
    "retain_rouge": (("retain_Q_A_ROUGE",), "rougeL_recall"),
    "real_authors_probability": (("ra_Q_A_Prob_normalised",), "prob"),
    "real_authors_rouge": (("ra_Q_A_ROUGE",), "rougeL_recall"),
    "world_facts_probability": (("wf_Q_A_Prob_normalised",), "prob"),
    "world_facts_rouge": (("wf_Q_A_ROUGE",), "rougeL_recall"),
    "verbatim_memorization": (("forget_verbmem_ROUGE",), "rougeL_f1"),
    "knowledge_memorization": (("forget_knowmem_ROUGE",), "rougeL_f1"),
    "utility_preservation": (("retain_knowmem_ROUGE",), "rougeL_f1"),
    "verbatim_extraction_strength": (("extraction_strength",), "score"),
    "verbatim_exact_memorization": (("exact_memorization",), "score"),
    **{
        f"{attack}_{side}": ((f"{attack}.{side}",), "score")
        for attack in ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus")
        for side in ("forget", "holdout")
    },
}
_RATIOS: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "forget_truth_ratio_raw": ("forget", lambda r: r),
    "forget_truth_ratio": ("forget", lambda r: min(r, 1 / (r + _EPSILON))),
    "forget_truth_ratio_prob_mean": ("forget", lambda r: 1 / (1 + r)),
    "retain_truth_ratio": ("retain", lambda r: max(0.0, 1 - r)),
    "real_authors_truth_ratio": ("ra", lambda r: max(0.0, 1 - r)),
    "world_facts_truth_ratio": ("wf", lambda r: max(0.0, 1 - r)),
}


def is_one(content: object) -> bool:
    """Whether this is the content of such a file."""
    return isinstance(content, dict) and any(
        isinstance(part, dict) and ("agg_value" in part or "value_by_index" in part)
        for part in content.values()
    )


def check(suite: Suite, convention: str, source: str) -> None:
    """Refuse to compare its numbers with numbers of other definitions.

    Raises:
        RequestError: Another convention, or a suite that project does not have.
    """
    if convention != CONVENTION:
        raise RequestError(
            f"these are numbers under OpenUnlearning's definitions, and the convention is "
            f"{convention}",
            where=source,
            remedy=f"give --convention {CONVENTION}, or evaluate the retrained model yourself",
        )
    if suite.name not in ("tofu", "muse"):
        raise RequestError(
            f"OpenUnlearning's results cannot be a reference for the suite {suite.name}",
            where=source,
            remedy="evaluate the retrained model with `unbelief evaluate`",
        )


def item_scores(suite: Suite, content: Mapping[str, Any], source: str) -> OtherModel:
    """The item scores of such a file, by line.

    Raises:
        RequestError: It is of other items: another number of rows, or other answers.
    """
    scores: dict[str, tuple[Score, ...]] = {}
    for line in suite.lines:
        values = _values_of(line, content) if isinstance(line.how, Metric) else None
        records = suite.sets.get(line.on, ())
        if values is None or not records:  # a set that is not there says so at its own line
            continue
        if len(values) != len(records) or set(values) != {str(i) for i in range(len(records))}:
            raise RequestError(
                f"its {line.name} is about {len(values)} items, {line.on} has {len(records)} here",
                where=source,
                remedy="give the file of the same split (of TOFU: forget01 has 40 rows, forget05 "
                "200, forget10 400)",
            )
        scores[line.name] = tuple(
            _score(values[str(i)], record) for i, record in enumerate(records)
        )
    _check_answers(suite, content, source)
    if not scores:
        raise RequestError(
            "none of this suite's lines is in it",
            where=source,
            remedy="give the *_EVAL.json file, not the *_SUMMARY.json",
        )
    return OtherModel(scores=scores, absent="OpenUnlearning's file has no such metric")


def _values_of(line: Line, content: Mapping[str, Any]) -> dict[str, float | None] | None:
    """Number of each row as that project has it, by row; None where the file has none."""
    if line.name in _RATIOS:
        prefix, transform = _RATIOS[line.name]
        ratios = _truth_ratios(content, prefix)
        return ratios and {k: None if r is None else transform(r) for k, r in ratios.items()}
    names, part = _PLAIN.get(line.name, ((), ""))
    for name in names:
        values = _by_index(content, name)
        if values is not None:
            return {k: None if v is None else _number(v.get(part)) for k, v in values.items()}
    return None


def _truth_ratios(content: Mapping[str, Any], prefix: str) -> dict[str, float | None] | None:
    """Raw ratios, false over true.

    The file's own `score` is that ratio, unless it was made with the aggregator `prob_mean`; the
    losses it is made of say which, so they are preferred.
    """
    right = _by_index(content, f"{prefix}_Q_A_PARA_Prob" if prefix in ("forget", "retain") else "")
    wrong = _by_index(content, f"{prefix}_Q_A_PERT_Prob")
    if right is not None and wrong is not None and right.keys() == wrong.keys():
        return {k: _ratio(right[k], wrong[k]) for k in right}
    for name in ("truth_ratio", "Truth_Ratio"):
        values = _by_index(content, f"{prefix}_{name}")
        if values is not None:
            return {k: _number(v.get("score")) for k, v in values.items()}
    return None


def _ratio(right: Mapping[str, Any], wrong: Mapping[str, Any]) -> float | None:
    true, false = _mean(right.get("avg_loss")), _mean(wrong.get("avg_loss"))
    if true is None or false is None:
        return None
    return math.exp(-false) / (math.exp(-true) + _EPSILON)


def _mean(value: Any) -> float | None:
    numbers = [_number(v) for v in (value if isinstance(value, list) else [value])]
    known = [n for n in numbers if n is not None]
    return sum(known) / len(known) if known and len(known) == len(numbers) else None


def _by_index(content: Mapping[str, Any], name: str) -> dict[str, Mapping[str, Any]] | None:
    part: Any = content
    for step in name.split("."):
        part = part.get(step) if isinstance(part, dict) else None
    values = part.get("value_by_index") if isinstance(part, dict) else None
    return {str(k): v or {} for k, v in values.items()} if isinstance(values, dict) else None


def _number(value: Any) -> float | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _score(value: float | None, record: Record) -> Score:
    if value is None:
        return Score(None, "OpenUnlearning's file has no number", record.id, record.group)
    return Score(value, None, record.id, record.group)


def _check_answers(suite: Suite, content: Mapping[str, Any], source: str) -> None:
    """Another split of the same size would pass unnoticed; its answers do not."""
    values = _by_index(content, "forget_Q_A_ROUGE") or {}
    for i, record in enumerate(suite.sets.get("forget", ())):
        said = values.get(str(i), {}).get("ground_truth")
        # That project takes the answer out of the decoded row, so words of the prompt may be left,
        # and decodes with blanks before punctuation taken out (one answer of forget10 has one).
        if isinstance(said, str) and _unspaced(record.answer) not in _unspaced(said):
            raise RequestError(
                f"row {i} has another answer there than {record.id} here",
                where=source,
                remedy="give the file of the same split and data",
            )


def _unspaced(text: str) -> str:
    return "".join(text.split())
