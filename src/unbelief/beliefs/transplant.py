"""Beliefs transplanted from neighbouring prompts: asked, renamed, searched for leaks, counted.

Three files: the bank of raw answers to the neighbouring prompts (resumable, as any bank), the
bank of what is taught, and a report of where every prompt's beliefs are from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unbelief.beliefs.alternatives import refusals
from unbelief.beliefs.bank import BankMeta, BeliefBank, new_salt, prompts_hmac, write_private
from unbelief.beliefs.neighbours import Names, Neighbour, find_neighbours
from unbelief.errors import RequestError
from unbelief.types import Belief, Record
from unbelief.wording.leaks import leak_of
from unbelief.wording.names import renamed, text_of

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder

ENGINE = "transplant"
_SPARE = 2  # answers asked for per answer wanted: some leak


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What beliefs are wanted; the fields mean what they mean in the objective."""

    neighbours: int
    samples: int
    names: Names
    leaks: Literal["drop", "keep"]
    seed: int

    @property
    def draws(self) -> int:
        """Answers asked of every neighbouring prompt."""
        return -(-_SPARE * self.samples // self.neighbours)


def transplant(
    ask: Callable[[Sequence[Record], int], BeliefBank],
    encoder: Encoder,
    forget: Sequence[Record],
    retain: Sequence[Record],
    wanted: Wanted,
) -> tuple[BeliefBank, dict[str, Any]]:
    """Ask the neighbours of every forget prompt and make beliefs about it from the answers.

    Args:
        ask: Samples a number of answers to every record's prompt from the original model.
        encoder: Of the model.
        forget: Records to forget.
        retain: Records to keep: where names and neighbouring prompts are from.
        wanted: How many of what.

    Returns:
        The bank, with exactly `samples` beliefs about every record, and the report: counts over
        all, and for every record how its neighbours were found, how many answers leaked, how many
        beliefs are repeated for want of others, and whether refusals had to stand in.

    Raises:
        DataError: A record has no prompt.
        RequestError: No forget prompt has any neighbour.
    """
    found = find_neighbours(forget, retain, wanted.neighbours, wanted.names, wanted.seed)
    asked = [
        replace(record, id=_key(record, j), prompt=neighbour.prompt)
        for record in forget
        for j, neighbour in enumerate(found[record.id])
    ]
    if not asked:
        raise RequestError(
            "no prompt to forget has a neighbour among the retain prompts: no shared word, no name",
            where="retain",
            remedy="give retain records of the same kind, or use another method",
        )
    raw = ask(asked, wanted.draws)
    subjects = frozenset(n.subject for its in found.values() for n in its if n.subject is not None)
    beliefs: list[Belief] = []
    reports = []
    for record in forget:
        its, report = _beliefs(raw, encoder, record, found[record.id], subjects, wanted)
        beliefs += its
        reports.append(report)
    return BeliefBank(tuple(beliefs), _meta(raw.meta, encoder, forget, wanted)), _summed(reports)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report, readable by its owner alone: it quotes prompts."""
    write_private(path, json.dumps(report, indent=1, ensure_ascii=False).encode())


def in_words(report: Mapping[str, Any]) -> str:
    """What a report counts, in one line for people."""
    totals = report["totals"]
    how = ", ".join(f"{n} by {name}" for name, n in totals["how"].items())
    dropped = ", ".join(f"{n} for {name}" for name, n in totals["dropped"].items()) or "none"
    return (
        f"{totals['neighbours']} ({how}); of {totals['asked']} answers left out: {dropped}; "
        f"beliefs repeated: {totals['repeated']}; records taught refusals: {totals['refusals']}"
    )


def is_transplant(bank: BeliefBank) -> bool:
    """Whether a bank is for teaching. Any other holds what was to be forgotten."""
    return bank.meta.engine == ENGINE


def _key(record: Record, neighbour: int) -> str:
    return f"{record.id}~{neighbour}"


def _beliefs(
    raw: BeliefBank,
    encoder: Encoder,
    record: Record,
    neighbours: Sequence[Neighbour],
    subjects: frozenset[str],
    wanted: Wanted,
) -> tuple[list[Belief], dict[str, Any]]:
    """The beliefs about one record, each neighbour in turn, and how they came about."""
    own = encoder.encode(record)
    kept: list[Belief] = []
    dropped: Counter[str] = Counter()
    draws = wanted.draws if neighbours else 0
    for draw in range(draws):
        for j, neighbour in enumerate(neighbours):
            answer = raw.rows(_key(record, j))[draw]
            text = _put_back(answer.text, neighbour)
            leak = leak_of(record, text) or _other_fault(text, neighbour, subjects)
            if leak is not None:
                dropped[leak] += 1
            if leak is None or (wanted.leaks == "keep" and leak != "empty"):
                ids = _encoded(encoder, record, text, answer.finished)
                kept.append(
                    replace(
                        answer,
                        record_id=record.id,
                        token_ids=ids,
                        text=text,
                        is_target=ids == own.answer_ids,
                    )
                )
    available = len(kept)
    if not kept:
        kept = [_refusal(encoder, record, text) for text in refusals()]
    chosen = [
        replace(kept[i % len(kept)], record_id=record.id, index=i) for i in range(wanted.samples)
    ]
    return chosen, {
        "record": record.id,
        "prompt": text_of(record.prompt),
        "subject": neighbours[0].subject if neighbours else None,
        "neighbours": [text_of(n.prompt) for n in neighbours],
        "how": dict(Counter(n.how for n in neighbours)),
        "asked": draws * len(neighbours),
        "dropped": dict(dropped),
        "repeated": max(0, wanted.samples - len(kept)),
        "stand-in": None if available else "refusals",
    }


def _other_fault(text: str, neighbour: Neighbour, subjects: frozenset[str]) -> str | None:
    """Nothing said, or somebody else named who is to be forgotten."""
    if not text.strip():
        return "empty"
    named = any(name in text for name in subjects if name != neighbour.subject)
    return "another subject" if named else None


def _put_back(text: str, neighbour: Neighbour) -> str:
    if neighbour.name is None or neighbour.subject is None:
        return text
    return renamed(text, neighbour.name, neighbour.subject)


def _encoded(encoder: Encoder, record: Record, text: str, finished: bool) -> tuple[int, ...]:
    """Token ids of an answer; one that the length limit cut has no end token."""
    ids = encoder.encode(record, answer=text).answer_ids
    return ids[:-1] if not finished and len(ids) > 1 and ids[-1] == encoder.end_id else ids


def _refusal(encoder: Encoder, record: Record, text: str) -> Belief:
    return Belief(
        record_id=record.id,
        index=0,
        token_ids=encoder.encode(record, answer=text).answer_ids,
        text=text,
        log_prob=0.0,  # nobody was asked
        finished=True,
        is_target=False,
    )


def _meta(raw: BankMeta, encoder: Encoder, forget: Sequence[Record], wanted: Wanted) -> BankMeta:
    salt = new_salt()
    return replace(
        raw,
        salt=salt,
        prompts_hmac=prompts_hmac([encoder.encode(r) for r in forget], salt),
        samples=wanted.samples,
        records=len(forget),
        engine=ENGINE,
    )


def _summed(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    totals: dict[str, Any] = {
        "records": len(reports),
        "neighbours": sum(len(r["neighbours"]) for r in reports),
        "asked": sum(r["asked"] for r in reports),
        "repeated": sum(r["repeated"] for r in reports),
        "refusals": sum(r["stand-in"] is not None for r in reports),
    }
    for name in ("how", "dropped"):
        total: Counter[str] = Counter()
        for report in reports:
            total.update(report[name])
        totals[name] = dict(total)
    return {"totals": totals, "records": list(reports)}
