"""What the checks of data report: counts, ids and places, never a text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal[
    "empty-answer",
    "short-answer",
    "missing-marker",
    "duplicate",
    "near-identical",
    "two-answers",
    "perturbed-is-true",
    "absent-fact",
    "overlap",
    "overlap-near",
    "overlap-prompt",
    "overlap-group",
]

MEANING: dict[Kind, str] = {
    "empty-answer": "the answer is empty: there is nothing to learn or forget",
    "short-answer": "the answer is very short: its probability says little about knowledge",
    "missing-marker": "the answer reads like a missing value (nan, none, null, n/a)",
    "duplicate": "prompt and answer repeat an earlier record: it counts more than others",
    "near-identical": "prompt and answer repeat an earlier record but for case or punctuation",
    "two-answers": "the prompt was asked before and has another answer",
    "perturbed-is-true": "a false answer equals the true one: truth ratios are wrong",
    "absent-fact": "the answer states none of the facts named: whoever recites it seems to forget",
    "overlap": "the same prompt and answer are to be forgotten and kept: the terms cancel",
    "overlap-near": "nearly the same text is to be forgotten and kept",
    "overlap-prompt": "the prompt is to be forgotten with one answer and kept with another",
    "overlap-group": "the group is in both sets: intervals by group are not independent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One case of a finding.

    Attributes:
        ids: The record, and the one it is compared with if there is one.
        places: Their `file:line`.
        similarity: For near-duplicates, 0 to 1.
    """

    ids: tuple[str, ...]
    places: tuple[str, ...]
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of thing to look at.

    Attributes:
        kind: What was found; `MEANING` explains it.
        where: `forget`, `retain` or `forget+retain`.
        count: Number of records (of the forget set, for overlaps) or groups it applies to.
        of: Number of records or groups that were looked at.
        examples: The first few, for near-duplicates the most similar.
    """

    kind: Kind
    where: str
    count: int
    of: int
    examples: tuple[Example, ...]

    @property
    def message(self) -> str:
        """One line for people."""
        shown = "; ".join(
            " = ".join(f"{i} ({p})" if p else i for i, p in zip(e.ids, e.places, strict=True))
            for e in self.examples
        )
        more = "" if self.count == len(self.examples) else ", ..."
        return f"{self.where}: {self.count} of {self.of}: {MEANING[self.kind]}: {shown}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """Everything found in a forget set and, if given, a retain set.

    Attributes:
        n_forget: Number of forget records.
        n_retain: Number of retain records; None when no retain set was given.
        n_groups_forget: Number of groups in the forget set (0: none given).
        n_groups_retain: The same for the retain set.
        near: The threshold of `overlap-near`.
        findings: In a fixed order; empty when nothing was found.
    """

    n_forget: int
    n_retain: int | None
    n_groups_forget: int
    n_groups_retain: int | None
    near: float
    findings: tuple[Finding, ...]

    def count(self, kind: Kind, where: str | None = None) -> int:
        """Return how many records a kind of finding applies to, in all sets or in one."""
        return sum(f.count for f in self.findings if f.kind == kind and where in (None, f.where))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)
