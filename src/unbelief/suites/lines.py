"""Lines that several suites share."""

from __future__ import annotations

from collections.abc import Mapping

from unbelief.scores.conventions import aggregate, metric
from unbelief.scores.texts import GREEDY_TOKENS, greedy_need
from unbelief.suites.base import Choices, Line

PARAPHRASED: Mapping[str, object] = {"prompt": "paraphrased"}
MIA = ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k_plus_plus")
MIA_ON_REQUEST = ("mia_reference", "mia_gradient_norm")
"""A second model, or a backward pass per item."""


def item_line(
    name: str,
    metric_name: str,
    on: str,
    choices: Choices,
    options: Mapping[str, object] | None = None,
    *,
    on_request: bool = False,
    chance: float | None = None,
) -> Line:
    """A metric on an item set under the chosen convention.

    Args:
        name: Of the line.
        metric_name: Of the metric.
        on: Item set.
        choices: Give the convention.
        options: On top of the convention's.
        on_request: As in `Line`.
        chance: As in `Line`.
    """
    how = metric(metric_name, choices.convention, options)
    return Line(name=name, how=how, on=on, on_request=on_request, chance=chance)


def set_line(
    name: str,
    aggregate_name: str,
    inputs: tuple[str, ...],
    choices: Choices,
    options: Mapping[str, object] | None = None,
    *,
    on_request: bool = False,
) -> Line:
    """An aggregate of earlier lines under the chosen convention.

    Args:
        name: Of the line.
        aggregate_name: Of the aggregate.
        inputs: Names of the lines it is made of.
        choices: Give the convention.
        options: On top of the convention's.
        on_request: As in `Line`.
    """
    how = aggregate(aggregate_name, choices.convention, options)
    return Line(name=name, how=how, inputs=inputs, on_request=on_request)


def recall_lines(on: str, choices: Choices) -> tuple[Line, ...]:
    """What the model still knows of a set's answers, teacher-forced, greedy and paraphrased."""
    return (
        item_line(f"{on}_probability", "probability", on, choices),
        item_line(
            f"{on}_paraphrase_probability",
            "probability",
            on,
            choices,
            {"answer": "paraphrase"},
        ),
        item_line(f"{on}_rouge", "rougeL_recall", on, choices),
        item_line(f"{on}_extraction_strength", "extraction_strength", on, choices),
        item_line(
            f"{on}_extraction_strength_paraphrased",
            "extraction_strength",
            on,
            choices,
            PARAPHRASED,
        ),
        item_line(f"{on}_exact_memorization", "exact_memorization", on, choices),
    )


def said_lines(
    on: str,
    choices: Choices,
    *,
    max_new_tokens: int = GREEDY_TOKENS,
    classifier_tokens: int | None = None,
) -> tuple[Line, ...]:
    """What is in the model's own words: facts, leaks in samples, collapse and fluency.

    Args:
        on: Item set.
        choices: Give convention, samples and temperature.
        max_new_tokens: Longest answer.
        classifier_tokens: What the gibberish classifier reads, if not the convention's number.
    """
    short = {"max_new_tokens": max_new_tokens}
    sampled = {"samples": choices.samples, "temperature": choices.temperature, **short}
    if choices.temperature == 0:
        sampled["samples"] = 1  # more would be copies
    reads = {} if classifier_tokens is None else {"max_tokens": classifier_tokens}
    original = tuple(
        Line(
            name=f"{on}_{name}",
            how=metric(name, choices.convention),
            on=on,
            said=greedy_need(max_new_tokens),
        )
        for name in ("original_perplexity", "original_fluency")
    )
    return (
        item_line(f"{on}_key_fact_recall", "key_fact_recall", on, choices, short),
        item_line(f"{on}_leak_rate", "leak_rate", on, choices, sampled),
        set_line(f"{on}_leak_bound", "leak_bound", (f"{on}_leak_rate",), choices),
        item_line(f"{on}_repetition", "repetition", on, choices, short),
        item_line(f"{on}_collapse_rate", "collapse_rate", on, choices, short),
        item_line(f"{on}_fluency", "fluency", on, choices, {**short, **reads}),
        *original,
    )


def truth_ratio_lines(on: str, choices: Choices) -> tuple[Line, ...]:
    """The truth ratio of data to forget: raw, close to 1, and as a share."""
    return (
        item_line(f"{on}_truth_ratio_raw", "truth_ratio", on, choices),
        item_line(f"{on}_truth_ratio", "truth_ratio_closer_to_1", on, choices),
        item_line(f"{on}_truth_ratio_prob_mean", "truth_ratio_prob_mean", on, choices),
        set_line(f"{on}_quality", "forget_quality", (f"{on}_truth_ratio_raw",), choices),
    )


def membership_lines(
    choices: Choices, *, members: str = "forget", others: str = "holdout"
) -> tuple[Line, ...]:
    """Membership inference: every attack on both sets, its AUC, and PrivLeak of Min-K.

    Args:
        choices: Give the convention.
        members: Set that was to be forgotten.
        others: Set no model was trained on.
    """
    lines: list[Line] = []
    for attack in (*MIA, *MIA_ON_REQUEST):
        late = attack in MIA_ON_REQUEST
        sides = tuple(f"{attack}_{side}" for side in (members, others))
        for name, side in zip(sides, (members, others), strict=True):
            lines.append(item_line(name, attack, side, choices, on_request=late))
        lines.append(set_line(attack, "mia_auc", sides, choices, on_request=late))
    min_k = tuple(f"mia_min_k_{side}" for side in (members, others))
    lines.append(set_line("mia_min_k_tpr", "mia_tpr_at_fpr", min_k, choices))
    lines.append(set_line("privleak", "privleak", ("mia_min_k",), choices))
    return tuple(lines)


def memorization_lines(on: str, choices: Choices) -> tuple[Line, ...]:
    """Mem: harmonic mean of the complements of four recall lines; on request normalised."""
    inputs = (
        f"{on}_extraction_strength",
        f"{on}_exact_memorization",
        f"{on}_paraphrase_probability",
        f"{on}_truth_ratio_prob_mean",
    )
    normalised = "memorization_normalised"
    return (
        set_line("memorization", "memorization", inputs, choices),
        set_line(normalised, normalised, inputs, choices, on_request=True),
    )
