"""What is questionable about data that is well-formed: repeats, overlaps, hollow answers.

Nothing here refuses data; a `DataReport` lists what a person should look at before unlearning.
It holds counts, ids and places, never a text, so it can be kept with a run's results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from unbelief.data.findings import DataReport, Example, Finding, Kind
from unbelief.data.overlap import nearest, normalise
from unbelief.types import Record
from unbelief.wording.facts import key_facts, recalled

NEAR = 0.6
"""Similarity from which two records count as near-duplicates.

Measured on TOFU: the most similar pair of different authors among 400 x 3600 records has 0.47, so
0.6 leaves the benchmark's template questions alone. Free rephrasings score lower (median 0.3):
they cannot be told from unrelated records by their letters and are not looked for.
"""

_Key = TypeVar("_Key", str, tuple[str, str])

_MISSING = frozenset({"nan", "none", "null", "n/a", "na", "<na>", "nil", "undefined"})


def validate_records(
    forget: Sequence[Record],
    retain: Sequence[Record] | None = None,
    *,
    near: float = NEAR,
    min_answer: int = 3,
    max_examples: int = 5,
) -> DataReport:
    """Look for repeats, overlaps and hollow answers.

    Texts are compared exactly, then normalised (`overlap.normalise`), then, between the sets, by
    the Jaccard similarity of their character 5-grams over prompt and answer. A record is counted
    under the strictest of exact, normalised and near that applies. Cost: one sparse product; 400
    forget x 3600 retain records take about a second.

    Args:
        forget: Records to forget.
        retain: Records to keep.
        near: Smallest similarity of a near-duplicate, above 0 and up to 1.
        min_answer: An answer with fewer letters and digits than this is very short.
        max_examples: Number of examples per finding.

    Raises:
        ValueError: When `near` is not in (0, 1].
    """
    if not 0 < near <= 1:
        raise ValueError(f"near must be above 0 and at most 1, got {near}")
    left = _Set("forget", forget, max_examples)
    findings = left.findings(min_answer)
    right = None
    if retain is not None:
        right = _Set("retain", retain, max_examples)
        findings += right.findings(min_answer)
        findings += _overlaps(left, right, near)
    return DataReport(
        n_forget=len(forget),
        n_retain=None if retain is None else len(retain),
        n_groups_forget=len(left.groups),
        n_groups_retain=None if right is None else len(right.groups),
        near=near,
        findings=tuple(f for f in findings if f.count),
    )


class _Set:
    """A set of records with the keys they are compared by, each computed once."""

    def __init__(self, name: str, records: Sequence[Record], max_examples: int) -> None:
        self.name, self.records, self.max_examples = name, records, max_examples
        self.prompts = [_prompt_text(r) for r in records]
        self.exact = [(p, r.answer) for p, r in zip(self.prompts, records, strict=True)]
        self.plain_prompts = [normalise(p) for p in self.prompts]
        self.plain_answers = [normalise(r.answer) for r in records]
        self.plain = list(zip(self.plain_prompts, self.plain_answers, strict=True))
        self.groups = dict.fromkeys(r.group for r in records if r.group is not None)

    def finding(
        self,
        kind: Kind,
        cases: Iterable[tuple[int, Record | None]],
        *,
        where: str | None = None,
    ) -> Finding:
        """Make a finding from (index, record it is compared with)."""
        found = list(cases)
        examples = tuple(
            Example(
                ids=(self.records[i].id, *((other.id,) if other else ())),
                places=(self.records[i].source, *((other.source,) if other else ())),
            )
            for i, other in found[: self.max_examples]
        )
        return Finding(
            kind=kind,
            where=where or self.name,
            count=len(found),
            of=len(self.records),
            examples=examples,
        )

    def findings(self, min_answer: int) -> list[Finding]:
        """Look at the set alone."""
        empty, short, missing, untrue, unstated = [], [], [], [], []
        for i, record in enumerate(self.records):
            letters = sum(c.isalnum() for c in record.answer)
            if not record.answer.strip():
                empty.append(i)
            elif record.answer.strip().casefold() in _MISSING:
                missing.append(i)
            elif letters < min_answer and not record.choices:
                short.append(i)
            if any(normalise(p) == self.plain_answers[i] for p in record.perturbed):
                untrue.append(i)
            if record.facts and max(recalled(key_facts(record), record.answer), default=0) < 1:
                unstated.append(i)
        alone: tuple[tuple[Kind, list[int]], ...] = (
            ("empty-answer", empty),
            ("short-answer", short),
            ("missing-marker", missing),
            ("perturbed-is-true", untrue),
            ("absent-fact", unstated),
        )
        return [self.finding(kind, [(i, None) for i in found]) for kind, found in alone] + (
            self._repeats()
        )

    def _repeats(self) -> list[Finding]:
        exact: dict[tuple[str, str], Record] = {}
        plain: dict[tuple[str, str], Record] = {}
        asked: dict[str, Record] = {}
        same: list[tuple[int, Record | None]] = []
        almost: list[tuple[int, Record | None]] = []
        other: list[tuple[int, Record | None]] = []
        for i, record in enumerate(self.records):
            if self.exact[i] in exact:
                same.append((i, exact[self.exact[i]]))
            elif self.plain[i] in plain:
                almost.append((i, plain[self.plain[i]]))
            elif self.plain_prompts[i] and self.plain_prompts[i] in asked:
                other.append((i, asked[self.plain_prompts[i]]))
            exact.setdefault(self.exact[i], record)
            plain.setdefault(self.plain[i], record)
            asked.setdefault(self.plain_prompts[i], record)
        return [
            self.finding("duplicate", same),
            self.finding("near-identical", almost),
            self.finding("two-answers", other),
        ]


def _overlaps(left: _Set, right: _Set, near: float) -> list[Finding]:
    where = f"{left.name}+{right.name}"
    exact = _first(right.exact, right.records)
    plain = _first(right.plain, right.records)
    asked = _first(right.plain_prompts, right.records)
    same: list[tuple[int, Record | None]] = []
    prompt: list[tuple[int, Record | None]] = []
    rest: list[int] = []
    for i in range(len(left.records)):
        if left.exact[i] in exact or left.plain[i] in plain:
            same.append((i, exact.get(left.exact[i]) or plain[left.plain[i]]))
        elif left.plain_prompts[i] and left.plain_prompts[i] in asked:
            prompt.append((i, asked[left.plain_prompts[i]]))
        else:
            rest.append(i)
    shared = [g for g in left.groups if g in right.groups]
    groups = Finding(
        kind="overlap-group",
        where=where,
        count=len(shared),
        of=len(left.groups),
        examples=tuple(Example(ids=(g,), places=("",)) for g in shared[: left.max_examples]),
    )
    return [
        left.finding("overlap", same, where=where),
        left.finding("overlap-prompt", prompt, where=where),
        _near(left, right, rest, near, where),
        groups,
    ]


def _first(keys: Sequence[_Key], records: Sequence[Record]) -> dict[_Key, Record]:
    found: dict[_Key, Record] = {}
    for key, record in zip(keys, records, strict=True):
        found.setdefault(key, record)
    return found


def _near(left: _Set, right: _Set, rest: list[int], near: float, where: str) -> Finding:
    """Compare the forget records that have no closer counterpart with all retain records."""
    cases: list[tuple[float, int, Record]] = []
    if rest and right.records:
        index, similarity = nearest(
            ["\n".join(left.plain[i]) for i in rest], ["\n".join(key) for key in right.plain]
        )
        cases = [
            (float(s), i, right.records[int(j)])
            for i, j, s in zip(rest, index, similarity, strict=True)
            if s >= near
        ]
    cases.sort(key=lambda case: (-case[0], case[1]))
    examples = tuple(
        Example(
            ids=(left.records[i].id, other.id),
            places=(left.records[i].source, other.source),
            similarity=round(s, 3),
        )
        for s, i, other in cases[: left.max_examples]
    )
    return Finding(
        kind="overlap-near",
        where=where,
        count=len(cases),
        of=len(left.records),
        examples=examples,
    )


def _prompt_text(record: Record) -> str:
    if record.prompt is None:
        return ""
    if isinstance(record.prompt, str):
        return record.prompt
    return "\n".join(turn.content for turn in record.prompt)
