"""TOFU: forgetting fictitious authors (Maini et al. 2024)."""

from __future__ import annotations

from unbelief.data.tofu import SPLITS, read_tofu
from unbelief.suites.base import Choices, ItemSets, Line, Source, SuiteKind
from unbelief.suites.lines import (
    item_line,
    membership_lines,
    memorization_lines,
    recall_lines,
    said_lines,
    set_line,
    truth_ratio_lines,
)

_WITH_OPTIONS = ("real_authors", "world_facts")


def read(source: Source) -> ItemSets:
    """One forget split with holdout, retain, real authors and world facts.

    Raises:
        RequestError: An unknown split, or no forget data.
        DataError: Rows are malformed.
    """
    assert source.data is not None and source.split is not None
    data = read_tofu(source.data, source.split)
    described = {"split": source.split, "retrained": SPLITS[source.split]}
    described |= {f"clusters of {name}": how for name, how in data.clusters.items()}
    return ItemSets(sets=data.sets, absent=data.absent, described=described)


def lines(choices: Choices) -> tuple[Line, ...]:
    """The published scores of TOFU, memorization, utility and their aggregate, and privacy."""
    return (
        *recall_lines("forget", choices),
        *truth_ratio_lines("forget", choices),
        *said_lines("forget", choices),
        *membership_lines(choices),
        *_utility_lines(choices),
        *memorization_lines("forget", choices),
        set_line("utility", "utility", ("model_utility", "forget_fluency"), choices),
        set_line("aggregate", "agg", ("memorization", "utility"), choices),
        set_line(
            "utility_original_fluency",
            "utility_original_fluency",
            ("model_utility", "forget_original_fluency"),
            choices,
        ),
        set_line(
            "model_utility_normalised",
            "model_utility_normalised",
            ("model_utility",),
            choices,
            on_request=True,
        ),
    )


def _utility_lines(choices: Choices) -> tuple[Line, ...]:
    out = [
        item_line("retain_probability", "probability", "retain", choices),
        item_line("retain_rouge", "rougeL_recall", "retain", choices),
        item_line("retain_truth_ratio", "truth_ratio_true_better", "retain", choices),
        item_line("retain_extraction_strength", "extraction_strength", "retain", choices),
        item_line("retain_key_fact_recall", "key_fact_recall", "retain", choices),
    ]
    parts = ["retain_probability", "retain_rouge", "retain_truth_ratio"]
    for on in _WITH_OPTIONS:
        # There is no paraphrase of a real fact: the answer itself stands for the truth.
        correct = {"correct": "paraphrase_or_answer"}
        out += [
            item_line(f"{on}_probability", "choice_probability", on, choices, chance=0.25),
            item_line(f"{on}_rouge", "rougeL_recall", on, choices),
            item_line(f"{on}_truth_ratio", "truth_ratio_true_better", on, choices, correct),
        ]
        parts += [f"{on}_probability", f"{on}_rouge", f"{on}_truth_ratio"]
    return (*out, set_line("model_utility", "model_utility", tuple(parts), choices))


KIND = SuiteKind(
    name="tofu",
    summary="fictitious authors: forget quality, model utility, memorization, privacy",
    options=("data", "split"),
    required=("data", "split"),
    template="auto",
    read=read,
    lines=lines,
)
