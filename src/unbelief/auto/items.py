"""What is asked: records for choosing, records for the report, and the same about strangers.

All records to forget are unlearned. Half of their clusters (author, document, or the person a
prompt asks about; where these are few, half of the records) serve the choice, the other half is
asked about only at the end. Of the records to keep a few of each half are measured and left out of
the rehearsal, so that what they show is what is kept without being taught again. Held-out records,
which the original never saw, are dealt out like those to forget: they serve the level alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from unbelief.beliefs.neighbours import Neighbour, find_neighbours
from unbelief.errors import RequestError
from unbelief.types import Record
from unbelief.wording.names import renamed, subjects

NOT_REHEARSED = 10
"""One in so many records to keep is left out of the rehearsal for each half, at most."""
FEWEST_KEPT = 4
FEWEST_CLUSTERS = 20
"""With fewer, clusters are not dealt out but their records, so that both halves are alike."""
OTHER_STRANGERS = 7919
"""Added to the seed: the strangers asked about here are not those whose answers are taught."""
Ask = Callable[[Sequence[Record]], list[str]]
Half = Literal["choice", "report"]
HALVES: tuple[Half, ...] = ("choice", "report")
_NONE: dict[Half, tuple[Record, ...]] = dict.fromkeys(HALVES, ())


@dataclass(frozen=True)
class Items:
    """What a model is asked in one half.

    Attributes:
        forget: Records to forget.
        retain: Records to keep that are not rehearsed.
        swapped: The forget records asked about strangers, the strangers' names in the answers.
        told: The forget prompts with what the original said about a stranger, renamed.
        told_of_strangers: The same answers with the name and prompt of yet another stranger.
        holdout: Records of the same kind that the original never saw; empty where none were given.
    """

    forget: tuple[Record, ...]
    retain: tuple[Record, ...]
    swapped: tuple[Record, ...]
    told: tuple[Record, ...] = ()
    told_of_strangers: tuple[Record, ...] = ()
    holdout: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Sorted:
    """Records sorted by what they serve.

    Attributes:
        halves: By half the records to forget and to keep that are asked about.
        holdout: By half the held-out records that are asked about; empty where none were given.
        rehearsed: Records to keep that the retain term sees.
        notes: What a reader has to know about the split.
    """

    halves: Mapping[Half, tuple[tuple[Record, ...], tuple[Record, ...]]]
    holdout: Mapping[Half, tuple[Record, ...]]
    rehearsed: tuple[Record, ...]
    notes: tuple[str, ...]


def sort_records(
    forget: Sequence[Record],
    retain: Sequence[Record],
    limit: int,
    holdout: Sequence[Record] = (),
) -> Sorted:
    """Split the records.

    Args:
        forget: All records to forget.
        retain: All records to keep.
        limit: Most records per kind and half.
        holdout: Records that the original never saw, two or more; none where there are none.

    Raises:
        RequestError: There are too few records to keep.
    """
    if len(retain) < FEWEST_KEPT:
        raise RequestError(
            f"{len(retain)} records to keep are too few to rehearse some and measure others",
            where="--retain",
            remedy=f"give at least {FEWEST_KEPT}",
        )
    halves, notes = _halves(_clustered(forget, retain), "to forget")
    apart, more = _halves(_clustered(holdout, retain), "held out") if holdout else (_NONE, [])
    kept = deal(retain)
    if not all(kept.values()):
        kept = deal([replace(r, group=r.id) for r in retain])
    most = min(limit, max(1, len(retain) // NOT_REHEARSED))
    held = {half: kept[half][:most] for half in HALVES}
    out = {r.id for records in held.values() for r in records}
    return Sorted(
        halves={half: (halves[half][:limit], held[half]) for half in HALVES},
        holdout={half: apart[half][:limit] for half in HALVES},
        rehearsed=tuple(r for r in retain if r.id not in out),
        notes=(*notes, *more),
    )


def _clustered(records: Sequence[Record], retain: Sequence[Record]) -> list[Record]:
    """The records with a group: their own, else whom they ask about, else each by itself."""
    whom = subjects(records, retain)
    return [replace(r, group=r.group or whom[r.id] or r.id) for r in records]


def _halves(
    records: Sequence[Record], kind: str
) -> tuple[dict[Half, tuple[Record, ...]], list[str]]:
    """Clustered records by half, and notes on how they were dealt out; `kind` names them there."""
    clusters = len({r.group for r in records})
    if clusters >= FEWEST_CLUSTERS:
        return deal(records), []
    notes = []
    if clusters < len(records):
        notes.append(
            f"the records {kind} are about {clusters} subjects, too few to be dealt out: the "
            "choice and the report asked about the same subjects, but never the same record"
        )
    halves: dict[Half, tuple[Record, ...]] = _alternating(records)
    if not all(halves.values()):
        notes.append(f"there is one record {kind}: the report asks what the choice asked")
        halves = dict.fromkeys(HALVES, tuple(records))
    return halves, notes


def _alternating(records: Sequence[Record]) -> dict[Half, tuple[Record, ...]]:
    """Every second record, going through the clusters one after the other."""
    order = sorted(records, key=lambda r: (_digest(r.group or r.id), _digest(r.id)))
    mixed = {
        half: sorted(order[i::2], key=lambda r: _digest(r.id)) for i, half in enumerate(HALVES)
    }
    return {half: tuple(its) for half, its in mixed.items()}


def deal(records: Sequence[Record]) -> dict[Half, tuple[Record, ...]]:
    """Deal clusters out between choice and report: every other one, in an order of digests."""
    order = sorted({r.group or r.id for r in records}, key=_digest)
    first = set(order[::2])
    mixed = sorted(records, key=lambda r: _digest(r.id))
    return {
        "choice": tuple(r for r in mixed if (r.group or r.id) in first),
        "report": tuple(r for r in mixed if (r.group or r.id) not in first),
    }


def neighbours_of(
    forget: Sequence[Record], retain: Sequence[Record], count: int, seed: int
) -> dict[str, tuple[Neighbour, ...]]:
    """Strangers to ask about, per record; documents without a prompt have none."""
    with_prompt = [r for r in forget if r.prompt is not None]
    found = find_neighbours(with_prompt, retain, count, "strangers", seed + OTHER_STRANGERS)
    return {r.id: found.get(r.id, ()) for r in forget}


def swapped_records(
    forget: Sequence[Record], neighbours: Mapping[str, Sequence[Neighbour]]
) -> tuple[Record, ...]:
    """The records as they would be about strangers: prompt, answer and what tells it, renamed."""
    return tuple(
        _swapped(record, j, neighbour)
        for record in forget
        for j, neighbour in enumerate(neighbours[record.id])
    )


def original_id(record: Record) -> str:
    """The id of the record that another was made from."""
    return record.id.rpartition("~")[0]


def told_records(
    forget: Sequence[Record], neighbours: Mapping[str, Sequence[Neighbour]], ask: Ask
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """What the original says about strangers, as an answer about the subject and about another.

    Only prompts whose name was replaced, by at least two different ones, take part: an answer can
    be moved from one to the other.

    Args:
        forget: Records to forget.
        neighbours: Theirs.
        ask: The original model's sampled answers to some records' prompts.
    """
    pairs = [
        (record, j, neighbour, found[(j + 1) % len(found)])
        for record in forget
        for found in [[n for n in neighbours[record.id] if n.name and n.subject]]
        if len(found) > 1
        for j, neighbour in enumerate(found)
    ]
    asked = [replace(r, id=f"{r.id}~{j}", prompt=n.prompt) for r, j, n, _ in pairs]
    told, of_strangers = [], []
    for (record, j, neighbour, other), answer in zip(pairs, ask(asked), strict=True):
        if not answer.strip():
            continue
        assert neighbour.name and neighbour.subject and other.name
        own = _plain(record, j, record.prompt, renamed(answer, neighbour.name, neighbour.subject))
        told.append(own)
        theirs = renamed(answer, neighbour.name, other.name)
        of_strangers.append(_plain(record, j, other.prompt, theirs))
    return tuple(told), tuple(of_strangers)


def _swapped(record: Record, j: int, neighbour: Neighbour) -> Record:
    def of(text: str) -> str:
        if neighbour.name is None or neighbour.subject is None:
            return text
        return renamed(text, neighbour.subject, neighbour.name)

    return replace(
        record,
        id=f"{record.id}~{j}",
        prompt=neighbour.prompt,
        answer=of(record.answer),
        paraphrased_prompt=None,
        paraphrases=tuple(map(of, record.paraphrases)),
        perturbed=tuple(map(of, record.perturbed)),
        facts=tuple(map(of, record.facts)),
        choices=(),
        correct_choice=None,
    )


def _plain(record: Record, j: int, prompt: object, answer: str) -> Record:
    return Record(
        id=f"{record.id}~{j}",
        prompt=prompt,  # type: ignore[arg-type]  # of a record or of its neighbour
        answer=answer,
        group=record.group,
        source=record.source,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
