"""Neighbouring prompts: the question a model is to unlearn, asked about somebody else.

No grammar is needed. Either the name in the prompt is replaced, by that of somebody the model is
to keep or by one that nobody has, or the retain prompt is taken that reads most like it when all
names are left out.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unbelief.errors import DataError
from unbelief.types import Record
from unbelief.wording.names import (
    NamePool,
    Prompt,
    known_names,
    names_in,
    renamed_prompt,
    small_words,
    subjects,
    text_of,
    without_names,
)
from unbelief.wording.words import stems

Names = Literal["strangers", "known", "nearest"]
How = Literal["stranger's name", "known name", "nearest prompt"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbouring prompt.

    Attributes:
        prompt: What is asked instead.
        how: How it was found.
        name: Whom it asks about; None where that is not known.
        subject: Whom the forget prompt asks about: the name that is put back into answers. None
            where the prompt names nobody, so that a name would be an answer.
    """

    prompt: Prompt
    how: How
    name: str | None
    subject: str | None


def find_neighbours(
    forget: Sequence[Record], retain: Sequence[Record], count: int, names: Names, seed: int
) -> dict[str, tuple[Neighbour, ...]]:
    """Neighbouring prompts of every record.

    A record's draw follows from its id and the seed. Where a name is wanted and the prompt has
    none of its own, or none can be made, the next way is taken: strangers, known names, nearest
    prompts; `Neighbour.how` says which it was.

    Args:
        forget: Records whose prompts need neighbours.
        retain: Records to keep, whose names and prompts are used.
        count: Neighbours per record.
        names: `strangers` puts together a name that nobody has, from two of the retain prompts:
            a model that never met the subject takes it for a stranger too. `known` takes a name
            from the retain prompts, `nearest` whole retain prompts.
        seed: Of the draws.

    Returns:
        By record id at most `count` neighbours; fewer, or none, where there are not more.

    Raises:
        DataError: A record has no prompt.
    """
    for record in forget:
        if record.prompt is None:
            raise DataError(
                "a document without a prompt has no neighbouring prompt",
                where=record.source or record.id,
                remedy="give the row a prompt, or use a method that needs no neighbours",
            )
    whom = subjects(forget, retain)
    pool = NamePool(known_names(retain), frozenset(n for n in whom.values() if n is not None))
    nearest = _Nearest(retain, pool)
    out = {}
    for record in forget:
        rng, subject = random.Random(f"{seed}:{record.id}"), whom[record.id]
        found: list[Neighbour] = []
        if subject is not None and names != "nearest":
            found = _by_name(record, subject, pool, count, names, rng)
        out[record.id] = tuple(found or nearest.to(record, subject, count))
    return out


def _by_name(
    record: Record, subject: str, pool: NamePool, count: int, names: Names, rng: random.Random
) -> list[Neighbour]:
    found: dict[str, Neighbour] = {}
    for _ in range(4 * count):
        name = pool.stranger(subject, rng) if names == "strangers" else None
        how: How = "known name" if name is None else "stranger's name"
        name = name or pool.someone(subject, rng)
        if name is not None:
            prompt = renamed_prompt(record.prompt, subject, name)
            found.setdefault(name, Neighbour(prompt, how, name, subject))
        if len(found) == count:
            break
    return list(found.values())


class _Nearest:
    """Retain prompts by the words they share with a prompt, names left out, rare words first."""

    def __init__(self, retain: Sequence[Record], pool: NamePool):
        self._retain, self._known = retain, frozenset(pool.known)
        self._small = small_words([t for r in retain for t in (text_of(r.prompt), r.answer)])
        self._words = [self._of(r) for r in retain]
        counts = Counter(word for words in self._words for word in words)
        self._idf = {w: math.log(1 + len(retain) / n) for w, n in counts.items()}
        self._where: dict[str, list[int]] = defaultdict(list)
        for i, words in enumerate(self._words):
            for word in words:
                self._where[word].append(i)
        # Exact sums: the order of a set differs from run to run, and with it what is rounded.
        self._norm = [math.sqrt(math.fsum(self._idf[w] ** 2 for w in ws)) for ws in self._words]

    def to(self, record: Record, subject: str | None, count: int) -> list[Neighbour]:
        """The nearest by the cosine of their words' weights; each prompt once."""
        scores: dict[int, float] = defaultdict(float)
        for word in sorted(self._of(record)):
            for i in self._where.get(word, ()):
                scores[i] += self._idf[word] ** 2 / self._norm[i]
        found: dict[str, Neighbour] = {}
        for i in sorted(scores, key=lambda i: (-scores[i], i)):
            prompt = self._retain[i].prompt
            found.setdefault(
                text_of(prompt), Neighbour(prompt, "nearest prompt", self._name(i), subject)
            )
            if len(found) == count:
                break
        return list(found.values())

    def _of(self, record: Record) -> frozenset[str]:
        return stems(without_names(text_of(record.prompt), self._small))

    def _name(self, i: int) -> str | None:
        names = names_in(text_of(self._retain[i].prompt), self._small)
        return next((name for name in names if name in self._known), None)
