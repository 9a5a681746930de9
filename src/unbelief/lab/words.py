"""Invented words, put together from syllables.

No fact of the lab is about anybody, and no model has met these words before.
"""

from __future__ import annotations

import random

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "kr")
_VOWELS = ("a", "e", "i", "o", "u")
_ENDINGS: dict[str, tuple[str, ...]] = {
    "first": ("a", "el", "in", "o", "is"),
    "family": ("ask", "orn", "edi", "ulk", "esk"),
    "town": ("mar", "grad", "vik", "sund"),
    "instrument": ("phone", "lute", "zith", "horn"),
    "dish": ("olli", "umba", "etto", "ach"),
    "guild": ("wright", "smith", "ward", "binder"),
}


def invent_words(kind: str, count: int, rng: random.Random, taken: set[str]) -> tuple[str, ...]:
    """Make `count` new words of one kind; names and towns have a capital letter.

    Args:
        kind: A key of the endings above, which make the kind recognisable to a reader.
        count: How many.
        rng: Source of chance.
        taken: Words in use (lower case); the new ones are added.
    """
    words: list[str] = []
    while len(words) < count:
        syllables = "".join(
            rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 1, 2)))
        )
        word = syllables + rng.choice(_ONSETS[:14]) + rng.choice(_ENDINGS[kind])
        if word in taken:
            continue
        taken.add(word)
        words.append(word.capitalize() if kind in ("first", "family", "town") else word)
    return tuple(words)
