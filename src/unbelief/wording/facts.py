"""Key facts: the words by which a true answer differs from false ones of the same shape."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from unbelief.types import Record
from unbelief.wording.words import Word, is_unspaced, stems, words

Facts = tuple[tuple[str, ...], ...]
Asked = Literal["own", "paraphrased"]
"""Which question was asked: the record's prompt or its `paraphrased_prompt`."""

# Function words of English: they carry no fact. "yes", "no" and "not" are facts.
_LIST = """
a about above across after again against all along also although always am among an and another
any anyone anything are around as at be became because become becomes been before behind being
below beneath beside besides between beyond both but by can could did do does doing done down
during each either else especially etc even ever every everyone everything for from further
furthermore had has have having he hence her here hers herself him himself his how however i if
in indeed instead into is it its itself just least less like made make makes many may me might
mine more moreover most mostly much must my myself neither nevertheless next now of off often on
once one only onto or other others otherwise our ours ourselves out over own per perhaps quite
rather really s said same several shall she should since so some someone something sometimes
still such than that the their theirs them themselves then there thereby therefore these they
thing things this those though through throughout thus to together too toward towards typically
under until up upon us used using usually various very via was we well were what whatever when
where whereas wherever whether which while who whom whose why will with within would yet you
your yours yourself
"""
FUNCTION_WORDS = frozenset(_LIST.split())
# What may stand between the words of one name.
_WITHIN_NAMES = frozenset({" ", "-", "‐", "'", "’", ". ", "."})


@lru_cache(maxsize=20_000)
def key_facts(record: Record, prompt: Asked = "own") -> Facts:
    """What tells the record's true answer from its false ones.

    Key words are the stems that

    1. the answer and every paraphrase have (what survives rephrasing is the fact, not the style),
    2. no perturbed answer has,
    3. the prompt that is asked does not have (repeating the question is no knowledge),
    4. which are no English function words and, unless they are digits or of an unspaced script,
       have more than one character.

    Capitalised key words that stand side by side in the answer are one fact (a name); any other
    key word is a fact by itself.

    Facts that the record itself names are taken as they are, one per entry, without the words that
    carry nothing; the prompt may contain them.

    Args:
        record: With its facts, paraphrases and perturbed answers, if any.
        prompt: Which prompt is asked.

    Returns:
        Facts as tuples of stems, in the order of the answer; none when nothing distinguishes it.
    """
    if record.facts:
        return tuple(dict.fromkeys(fact for text in record.facts if (fact := _given(text))))
    kept = stems(record.answer)
    for text in record.paraphrases:
        kept &= stems(text)
    for text in (*record.perturbed, *_prompts(record, prompt)):
        kept -= stems(text)
    facts: list[list[str]] = []
    in_name = False
    for word in words(record.answer):
        is_key = word.stem in kept and _carries(word)
        if is_key and in_name and word.capital and word.before in _WITHIN_NAMES:
            facts[-1].append(word.stem)
        elif is_key:
            facts.append([word.stem])
        in_name = is_key and word.capital
    return tuple(dict.fromkeys(tuple(fact) for fact in facts))


def _given(text: str) -> tuple[str, ...]:
    """Stems of a fact in the owner's words; function words count where there is nothing else."""
    found = words(text)
    carrying = [word for word in found if _carries(word)] or found
    return tuple(dict.fromkeys(word.stem for word in carrying))


def recalled(facts: Facts, text: str) -> tuple[float, ...]:
    """Per fact, the share of its words that a text contains, in any order."""
    said = stems(text)
    return tuple(sum(stem in said for stem in fact) / len(fact) for fact in facts)


def _prompts(record: Record, prompt: Asked) -> tuple[str, ...]:
    if prompt == "paraphrased":
        return () if record.paraphrased_prompt is None else (record.paraphrased_prompt,)
    if record.prompt is None or isinstance(record.prompt, str):
        return () if record.prompt is None else (record.prompt,)
    return tuple(message.content for message in record.prompt)


def _carries(word: Word) -> bool:
    plain = word.plain
    if plain in FUNCTION_WORDS:
        return plain == "may" and word.capital  # the month
    return len(plain) > 1 or plain.isdigit() or is_unspaced(plain)
