"""Words of texts, normalised so that case, punctuation, accents and endings do not matter."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import regex

if TYPE_CHECKING:
    from nltk.stem.porter import PorterStemmer

# Scripts without spaces between words: every character is a word of its own.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}]\p{M}*"
_WORD = r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*(?:(?<=\p{N})[.,](?=\p{N})[\p{L}\p{M}\p{N}]+)*"
_words = regex.compile(f"{_UNSPACED}|(?:(?!{_UNSPACED}){_WORD})")
_tokens = regex.compile(rf"{_words.pattern}|\S")
_possessive = regex.compile(r"(?<=\p{L})['’ʼ]s\b", regex.IGNORECASE)
_latin_accents = regex.compile(r"[\u0300-\u036f]+")
_one_unspaced = regex.compile(_UNSPACED)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a text.

    Attributes:
        stem: What is compared.
        plain: The word, normalised but not stemmed.
        before: What stands between it and the word before; at the beginning, what comes first.
        capital: Whether it begins with a capital letter.
    """

    stem: str
    plain: str
    before: str
    capital: bool


def words(text: str) -> list[Word]:
    """The words of a text in order.

    Compatibility forms are unified (NFKC), case is folded, accents of Latin, Greek and Cyrillic
    letters are dropped ("Núñez" is "Nunez"). A word is a run of letters, marks and digits; digits
    keep inner points and lose inner commas ("1,200.5" is one word), a possessive 's is dropped.
    Every character of Chinese, Japanese, Thai, Lao, Burmese and Khmer is a word. Stems are
    Porter's, for words of more than three letters a-z.
    """
    text = _possessive.sub("", _unaccented(text))
    found: list[Word] = []
    end = 0
    for match in _words.finditer(text):
        plain = _folded(match[0])
        found.append(Word(_stem(plain), plain, text[end : match.start()], match[0][0].isupper()))
        end = match.end()
    return found


def stems(text: str) -> frozenset[str]:
    """The stems of a text's words."""
    return frozenset(word.stem for word in words(text))


def tokens(text: str) -> list[str]:
    """Normalised words, and every mark or symbol by itself: what repetitions are counted in."""
    return [_folded(match[0]) for match in _tokens.finditer(_unaccented(text))]


def is_unspaced(word: str) -> bool:
    """Whether it belongs to a script in which every character is taken for a word."""
    return _one_unspaced.match(word) is not None


def _unaccented(text: str) -> str:
    bare = _latin_accents.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", bare)


def _folded(word: str) -> str:
    folded = word.casefold()
    return folded.replace(",", "") if len(folded) > 1 else folded


@lru_cache(maxsize=50_000)
def _stem(plain: str) -> str:
    if len(plain) > 3 and plain.isascii() and plain.isalpha():
        return str(_stemmer().stem(plain))
    return plain


@cache
def _stemmer() -> PorterStemmer:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()
