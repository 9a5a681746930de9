"""WMDP's questions about hazardous knowledge, and MMLU as what should stay (multiple choice).

Hub: `cais/wmdp` with the configurations `wmdp-bio`, `wmdp-chem`, `wmdp-cyber` (split `test`) and
`cais/mmlu` (`all`, split `test`). In a folder: `wmdp-bio.jsonl` (or `bio`, or a folder of that
name) and so on, and `mmlu.jsonl`; columns `question`, `choices`, `answer` (position of the right
choice, from 0), for MMLU also `subject`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unbelief.data.benchmark import BenchmarkData
from unbelief.errors import DataError, RequestError
from unbelief.types import Record

SUBJECTS = ("bio", "chem", "cyber")
MMLU_HUB = "cais/mmlu"


@dataclass(frozen=True, slots=True, kw_only=True)
class WmdpData:
    """Multiple-choice questions.

    Attributes:
        sets: `bio`, `chem`, `cyber` and `mmlu`; empty when absent.
        absent: Why a set is empty.
    """

    sets: Mapping[str, tuple[Record, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)


def read_wmdp(source: str) -> WmdpData:
    """Read the questions that are there.

    Raises:
        RequestError: There are none.
        DataError: Rows are malformed, or have no choices.
    """
    data = BenchmarkData(source)
    general = data if data.folder is not None else BenchmarkData(MMLU_HUB)
    sets: dict[str, tuple[Record, ...]] = {}
    absent: dict[str, str] = {}
    for name in (*SUBJECTS, "mmlu"):
        names = ("mmlu", "all") if name == "mmlu" else (f"wmdp-{name}", name)
        rows, why = _first(general if name == "mmlu" else data, names)
        sets[name] = tuple(rows)
        absent |= {name: why} if why else {}
        _check(rows)
    if not any(sets.values()):
        raise RequestError(
            f"none of WMDP's questions and MMLU's can be read ({absent['bio']})",
            where=source,
            remedy="name the folder that holds them, or cais/wmdp",
        )
    return WmdpData(sets=sets, absent=absent)


def _first(data: BenchmarkData, names: tuple[str, ...]) -> tuple[list[Record], str | None]:
    if data.folder is None:
        config = "all" if data.source == MMLU_HUB else names[0]
        return data.read_if_there(config, hub_split="test")
    for name in names:
        if data.file(name) is not None:
            return data.read(name), None
    return [], f"there is no {names[0]} in {data.source}"


def _check(records: list[Record]) -> None:
    for record in records:
        if not record.choices:
            raise DataError(
                "the row has no choices",
                where=record.source,
                remedy="give the columns question, choices and answer (position, from 0)",
            )
