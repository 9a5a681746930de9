"""MUSE: forgetting news articles and books (Shi et al. 2024)."""

from __future__ import annotations

from dataclasses import replace

from unbelief.data.muse import forget_series, read_muse
from unbelief.errors import RequestError
from unbelief.suites.base import Choices, ItemSets, Line, Source, SuiteKind
from unbelief.suites.lines import item_line, membership_lines, said_lines, set_line
from unbelief.types import Record

_SHORT = {"max_new_tokens": 32, "stop": "muse"}


def read(source: Source) -> ItemSets:
    """A corpus; `--split scal/forget_2` puts that step's texts in the place of the forget texts.

    Raises:
        RequestError: None of the sets is there, or no such step.
        DataError: Rows are malformed.
    """
    assert source.data is not None
    data = read_muse(source.data)
    sets = dict(data.sets)
    if source.split not in (None, "forget"):
        sets["forget"] = _step(source.data, str(source.split))
    described = {"split": source.split or "forget"}
    described["clusters"] = "each row by itself"
    # The truth is compared with 128 new tokens, so no more of it is asked for.
    return ItemSets(
        sets=sets, absent=data.absent, described=described, answer_tokens={"verbatim": 128}
    )


def under(items: ItemSets, convention: str) -> ItemSets:
    """As OpenUnlearning has them: continuations whole, behind a blank; questions of 512 tokens."""
    if convention != "open-unlearning":
        return items
    spaced = tuple(replace(r, answer=f" {r.answer}") for r in items.sets["verbatim"])
    rows = {"forget_knowledge": 512, "retain_knowledge": 512}
    sets = {**items.sets, "verbatim": spaced}
    return replace(items, sets=sets, answer_tokens={}, row_tokens=rows)


def _step(data: str, split: str) -> tuple[Record, ...]:
    kind, _, step = split.partition("/forget_")
    if kind not in ("scal", "sust") or not step.isdecimal():
        raise RequestError(
            f"there is no split {split!r}",
            where="--split",
            remedy="forget, or a step of a series: scal/forget_1, sust/forget_3",
        )
    series = forget_series(data, kind)
    if not 1 <= int(step) <= len(series):
        raise RequestError(
            f"{kind} has no step {step}, only {len(series)}",
            where="--split",
            remedy=f"give {kind}/forget_1 to {kind}/forget_{len(series)}",
        )
    return tuple(
        replace(record, id=f"{split}:{i}") for i, record in enumerate(series[int(step) - 1], 1)
    )


def lines(choices: Choices) -> tuple[Line, ...]:
    """VerbMem, KnowMem, UtilPres and PrivLeak, and what the continuations say besides."""
    verbatim = {"max_new_tokens": 128}
    return (
        item_line("verbatim_memorization", "rougeL_f1", "verbatim", choices, verbatim),
        item_line("knowledge_memorization", "rougeL_f1", "forget_knowledge", choices, _SHORT),
        item_line("utility_preservation", "rougeL_f1", "retain_knowledge", choices, _SHORT),
        *membership_lines(choices),
        item_line("mia_min_k_retain", "mia_min_k", "retain", choices),
        set_line(
            "mia_min_k_retain_holdout",
            "mia_auc",
            ("mia_min_k_retain", "mia_min_k_holdout"),
            choices,
        ),
        item_line("verbatim_extraction_strength", "extraction_strength", "verbatim", choices),
        item_line("verbatim_exact_memorization", "exact_memorization", "verbatim", choices),
        *said_lines("verbatim", choices, max_new_tokens=128, classifier_tokens=512),
    )


KIND = SuiteKind(
    name="muse",
    summary="news and books: verbatim and knowledge memorization, utility, privacy leakage",
    options=("data", "split"),
    required=("data",),
    template="plain",
    read=read,
    lines=lines,
    under=under,
)
