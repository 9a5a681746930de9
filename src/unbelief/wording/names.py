"""Names in texts, found without a grammar: runs of capitalised words, counted over a collection.

What a name is, is decided by use: a run of capitalised words of which at least one is never
written small in the collection. Whom a record is about is the name in its prompt that the other
collection does not have. Both are heuristics for scripts with capital letters.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from unbelief.types import Message, Record
from unbelief.wording.facts import FUNCTION_WORDS

Prompt = str | tuple[Message, ...] | None
_PARTICLES = "al bin da de del della den der di du el ibn la le van von y"
_word = regex.compile(r"\p{L}[\p{L}\p{M}\p{N}]*(?:[-‐'’](?![sS]\b)\p{L}[\p{L}\p{M}\p{N}]*)*")
_between = regex.compile(rf" (?:(?:{'|'.join(_PARTICLES.split())}) )*")
_after_sentence = regex.compile(r"(?:[.?!:]\s|\n)[\"'“‘]?$")
_TRIES = 200


def text_of(prompt: Prompt) -> str:
    """A prompt as one text."""
    if prompt is None or isinstance(prompt, str):
        return prompt or ""
    return "\n".join(turn.content for turn in prompt)


def small_words(texts: Sequence[str]) -> frozenset[str]:
    """Words that are written small somewhere."""
    return frozenset(w for text in texts for w in _word.findall(text) if w[0].islower())


def names_in(text: str, small: frozenset[str]) -> list[str]:
    """The names of a text, in order.

    Args:
        text: Any text.
        small: `small_words` of the collection it is from.
    """
    runs: list[list[regex.Match[str]]] = []
    for match in _word.finditer(text):
        if not match[0][0].isupper():
            continue
        if runs and _goes_on(text, runs[-1][-1], match.start()):
            runs[-1].append(match)
        else:
            runs.append([match])
    found = []
    for run in runs:
        # The first word of a sentence has a capital letter whatever it is.
        if _begins_sentence(text, run[0].start()) and _ordinary(run[0][0], small):
            run = run[1:]
        if run and not all(_ordinary(match[0], small) for match in run):
            found.append(text[run[0].start() : run[-1].end()])
    return found


def subjects(records: Sequence[Record], others: Sequence[Record]) -> dict[str, str | None]:
    """Whom each record asks about: the name in its prompt that no other record has.

    Of several, the one that most records share; of those, the longest. A name that far fewer share
    than the commonest (a quarter; half where it is one word) is a place or a title, not whom a
    prompt is about.

    Args:
        records: For example those to forget.
        others: For example those to keep.

    Returns:
        Name by record id; None where the prompt has no such name.
    """
    own = [f"{text_of(r.prompt)}\n{r.answer}" for r in records]
    theirs = "\n".join(f"{text_of(r.prompt)}\n{r.answer}" for r in others)
    small = small_words([*own, theirs])
    asked = {r.id: names_in(text_of(r.prompt), small) for r in records}
    every = {name for names in asked.values() for name in names}
    shared = {name: sum(name in text for text in own) for name in every if name not in theirs}
    most = max(shared.values(), default=0)

    def rank(name: str) -> tuple[int, int]:
        count = shared.get(name, 0)
        return (count if count >= most / (4 if " " in name else 2) else 0), len(name)

    best = {key: max(names, key=rank, default="") for key, names in asked.items()}
    return {key: name if rank(name)[0] else None for key, name in best.items()}


def known_names(records: Sequence[Record]) -> tuple[str, ...]:
    """Names that the prompts of a collection are about.

    Those of more than one word, if any, that at least a quarter as many prompts share as share the
    commonest of them.
    """
    small = small_words([text for r in records for text in (text_of(r.prompt), r.answer)])
    counts = Counter(
        name for r in records for name in dict.fromkeys(names_in(text_of(r.prompt), small))
    )
    often = max(20, len(records) // 10)  # what is asked about everybody is no person's name
    usual = sorted(name for name, n in counts.items() if n <= often)
    whole = [name for name in usual if " " in name] or usual
    enough = max((counts[name] for name in whole), default=0) / 4
    return tuple(name for name in whole if counts[name] >= enough)


@dataclass(frozen=True)
class NamePool:
    """Names to put in another's place.

    Attributes:
        known: Names the model is to keep.
        taken: Names that must not come out, besides the known ones.
    """

    known: tuple[str, ...]
    taken: frozenset[str] = frozenset()

    def someone(self, name: str, rng: random.Random) -> str | None:
        """A known name, with as many words where there is one; None where there are none."""
        same = [n for n in self.known if len(n.split()) == len(name.split())]
        return rng.choice(same or self.known) if self.known else None

    def stranger(self, name: str, rng: random.Random) -> str | None:
        """A name that nobody has, put together from two known ones; None where there is none."""
        length = len(name.split())
        same = [n.split() for n in self.known if len(n.split()) == length > 1]
        pool = same if len(same) > 1 else [n.split() for n in self.known if len(n.split()) > 1]
        if len(pool) < 2:
            return None
        forbidden = {*self.known, *self.taken, name}
        for _ in range(_TRIES):
            first, second = rng.sample(pool, 2)
            cut = rng.randint(1, min(len(first), len(second)) - 1)
            made = " ".join([*first[:cut], *second[cut - len(second) :]])
            if made not in forbidden:
                return made
        return None


def renamed(text: str, old: str, new: str) -> str:
    """A text about one person as a text about another: full names, and parts of them.

    The first word of the one becomes the first of the other, the last the last.
    """
    ours, theirs = old.split(), new.split()
    pieces = {old: new}
    for i, part in enumerate(ours):
        if part[0].isupper():
            last = i == len(ours) - 1 and i > 0
            pieces.setdefault(part, theirs[-1] if last else theirs[min(i, len(theirs) - 1)])
    longest_first = "|".join(regex.escape(p) for p in sorted(pieces, key=len, reverse=True))
    whole = (
        rf"(?<![\p{{L}}\p{{N}}])(?<!\p{{L}}[-‐])(?:{longest_first})(?![\p{{L}}\p{{N}}]|[-‐]\p{{L}})"
    )
    return regex.sub(whole, lambda m: pieces[m[0]], text)


def renamed_prompt(prompt: Prompt, old: str, new: str) -> Prompt:
    """The same for a prompt, turn by turn."""
    if prompt is None or isinstance(prompt, str):
        return None if prompt is None else renamed(prompt, old, new)
    return tuple(Message(turn.role, renamed(turn.content, old, new)) for turn in prompt)


def without_names(text: str, small: frozenset[str]) -> str:
    """A text with its names left out: what is asked, not about whom."""
    for name in names_in(text, small):
        text = text.replace(name, " ")
    return text


def _goes_on(text: str, word: regex.Match[str], start: int) -> bool:
    """Whether a name may go on after one of its words; an initial may have a point."""
    end = word.end() + (len(word[0]) == 1 and text[word.end()] == ".")
    return _between.fullmatch(text, end, start) is not None


def _begins_sentence(text: str, start: int) -> bool:
    return start == 0 or _after_sentence.search(text[max(0, start - 3) : start]) is not None


def _ordinary(word: str, small: frozenset[str]) -> bool:
    lower = word[0].lower() + word[1:]
    return lower in small or word.lower() in FUNCTION_WORDS
