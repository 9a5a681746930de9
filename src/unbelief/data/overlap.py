"""Near-duplicate search between two sets of texts.

Texts are compared as sets of character n-grams: J(A, B) = |A ∩ B| / |A ∪ B|. Unlike word sets this
also works for languages written without spaces. All intersections come from one sparse matrix
product (an inverted index), so nothing is missed, which hashing schemes cannot promise.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

NGRAM = 5
_MAX_CELLS = 4_000_000
"""Similarities held in memory at once (16 MB of float32)."""

_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """Return a text with case, accents' encoding, punctuation and white space levelled.

    NFKC, case folding, and every run of characters that are neither letters nor digits becomes one
    space. A text without letters and digits is kept as it is, but for white space around it.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORD.sub(" ", folded).strip() or folded.strip()


def nearest(
    left: Sequence[str], right: Sequence[str], *, n: int = NGRAM
) -> tuple[np.ndarray, np.ndarray]:
    """Find for each left text the most similar right text.

    Args:
        left: L texts, normalised.
        right: R texts, normalised.
        n: Length of the n-grams; a shorter text is one n-gram.

    Returns:
        index: (L,) position in `right`; 0 where nothing is shared.
        similarity: (L,) Jaccard similarity, 0 to 1.

    Raises:
        ValueError: When `right` is empty.
    """
    if not right:
        raise ValueError("there is nothing to compare with")
    from scipy.sparse import csr_array

    vocabulary: dict[str, int] = {}
    pieces = [_ngram_ids(text, n, vocabulary) for text in (*left, *right)]
    sizes = np.array([len(p) for p in pieces], dtype=np.float32)
    starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    flat = np.fromiter((i for p in pieces for i in p), dtype=np.int64, count=int(starts[-1]))
    ones = np.ones(len(flat), dtype=np.float32)
    grams = csr_array((ones, flat, starts), shape=(len(pieces), len(vocabulary)))
    others = grams[len(left) :].T.tocsr()
    index = np.zeros(len(left), dtype=np.int64)
    best = np.zeros(len(left), dtype=np.float32)
    step = max(1, _MAX_CELLS // len(right))
    for start in range(0, len(left), step):
        rows = slice(start, min(start + step, len(left)))
        shared = (grams[rows] @ others).toarray()
        similarity = shared / (sizes[rows, None] + sizes[None, len(left) :] - shared)
        index[rows] = similarity.argmax(axis=1)
        best[rows] = similarity.max(axis=1)
    return index, best


def _ngram_ids(text: str, n: int, vocabulary: dict[str, int]) -> list[int]:
    grams = {text[i : i + n] for i in range(max(1, len(text) - n + 1))}
    return [vocabulary.setdefault(gram, len(vocabulary)) for gram in sorted(grams)]
