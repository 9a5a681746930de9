"""MUSE: news articles and books as plain text (`muse-bench/MUSE-News`, Shi et al. 2024).

Configurations and splits, on the hub and in a folder (`FOLDER/knowmem/forget_qa.json`, ...):

    raw       forget, retain1, retain2, holdout     documents, for training
    knowmem   forget_qa, retain_qa, and *_icl       questions; the *_icl are worked examples
    verbmem   forget                                prompt and its true continuation (gt)
    privleak  forget, retain, holdout               texts, for membership inference
    scal      forget_1 ... forget_4                 growing forget sets
    sust      forget_1 ... forget_4                 forget sets that come one after the other

Folders may hold rows, or a JSON list of texts where a row would have a single column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unbelief.data.benchmark import BenchmarkData, numbered
from unbelief.data.lines import stem_of
from unbelief.errors import DataError, RequestError
from unbelief.types import Record

_TEXT_SUFFIXES = (".json", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class MuseData:
    """One corpus of MUSE.

    Attributes:
        sets: `forget_knowledge`, `retain_knowledge` (questions behind worked examples),
            `verbatim` (continuations), `forget`, `retain`, `holdout` (texts); empty when absent.
        absent: Why a set is empty.
    """

    sets: Mapping[str, tuple[Record, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)


def read_muse(source: str) -> MuseData:
    """Read what the four scores of MUSE need.

    Raises:
        RequestError: The source is neither a folder nor a hub id, or holds none of the sets.
        DataError: Rows are malformed.
    """
    data = BenchmarkData(source)
    sets: dict[str, tuple[Record, ...]] = {}
    absent: dict[str, str] = {}
    for part in ("forget", "retain"):
        name = f"{part}_knowledge"
        rows, why = data.read_if_there("knowmem", f"{part}_qa")
        examples, _ = data.read_if_there("knowmem", f"{part}_qa_icl")
        sets[name] = tuple(few_shot(row, examples) for row in rows)
        absent |= {name: why} if why else {}
    verbatim, why = data.read_if_there(
        "verbmem", "forget", columns={"prompt": "prompt", "answer": "gt"}
    )
    sets["verbatim"] = tuple(verbatim)
    absent |= {"verbatim": why} if why else {}
    for part in ("forget", "retain", "holdout"):
        texts, why = read_texts(data, "privleak", part)
        sets[part] = tuple(texts)
        absent |= {part: why} if why else {}
    if not any(sets.values()):
        raise RequestError(
            f"none of MUSE's knowmem, verbmem and privleak can be read ({absent['verbatim']})",
            where=source,
            remedy="name the folder that holds them, or muse-bench/MUSE-News",
        )
    return MuseData(sets=sets, absent=absent)


def few_shot(record: Record, examples: Sequence[Record]) -> Record:
    """A question behind worked examples, as a text that the answer continues.

    The prompt ends with a blank after `Answer:`, as in the benchmark's own code.
    """
    shown = [*examples, record]
    asked = "".join(
        f"Question: {one.prompt}\nAnswer: {'' if one is record else one.answer + chr(10) * 2}"
        for one in shown
    )
    return replace(record, prompt=asked)


def read_texts(data: BenchmarkData, config: str, split: str) -> tuple[list[Record], str | None]:
    """Documents without a prompt: rows with a column `text`, or a JSON list of texts.

    Returns:
        The documents and None, or nothing and the reason.

    Raises:
        DataError: The file holds something else.
    """
    file = data.file(config, split)
    if file is None and data.folder is not None:
        file = _plain_text(data.folder / config, split)
    if file is not None and file.is_file() and file.suffix in _TEXT_SUFFIXES:
        texts = _listed(file)
        if texts is not None:
            return numbered(texts, f"{config}/{split}"), None
    return data.read_if_there(config, split)


def forget_series(source: str, kind: str) -> tuple[tuple[Record, ...], ...]:
    """The forget sets of `scal` (each holds the one before) or `sust` (one after the other).

    Args:
        source: Folder or hub id.
        kind: `scal` or `sust`.

    Raises:
        RequestError: An unknown kind, or no such sets.
    """
    if kind not in ("scal", "sust"):
        raise RequestError(f"there is no series {kind!r}", where="--series", remedy="scal or sust")
    data = BenchmarkData(source)
    found: list[tuple[Record, ...]] = []
    for step in range(1, 100):
        texts, why = read_texts(data, kind, f"forget_{step}")
        if why is not None:
            break
        found.append(tuple(texts))
    if not found:
        raise RequestError(
            f"there is no {kind}/forget_1 here",
            where=source,
            remedy="name a folder that holds it, or muse-bench/MUSE-News",
        )
    return tuple(found)


def _plain_text(folder: Path, split: str) -> Path | None:
    file = folder / f"{split}.txt"
    return file if file.is_file() else None


def _listed(file: Path) -> list[Record] | None:
    """The texts of a JSON list of texts, or of a text file's paragraphs; None for rows."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".txt":
        parts = [p.strip("\n") for p in re.split(r"\n{2,}", text) if p.strip()]
    else:
        try:
            parts = json.loads(text)
        except ValueError:
            return None  # rows, one object per line: the reader of rows says what is wrong
        if not isinstance(parts, list) or not parts or not isinstance(parts[0], str):
            return None
    records = []
    for i, part in enumerate(parts, start=1):
        if not isinstance(part, str) or not part.strip():
            raise DataError(
                f"item {i} is not a text with something in it",
                where=str(file),
                remedy="write a list of texts, or one object with a column `text` per line",
            )
        records.append(
            Record(id=f"{stem_of(file)}:{i}", prompt=None, answer=part, source=f"{file}:{i}")
        )
    return records
