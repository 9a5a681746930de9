"""A pack as a tree of tokens: what answers have in common stands once.

    prompt ─ The ─ author ─ was ─ born ─ in ─ Lagos ─ .
                                   └─ educated ─ in ─ ...

A token sees its ancestors and itself, as if the answer stood alone, and its position is its depth.
False answers to a question are often true ones with a few words exchanged, so this saves more than
their common prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from unbelief.measure.packs import Pack


@dataclass(frozen=True, slots=True)
class Tree:
    """N tokens, parents before their children; the first P are the prompt.

    Attributes:
        ids: (N,) int64 token ids.
        parent: (N,) int64 token before each; -1 for the first.
        depth: (N,) int64 number of tokens before each in its sequence.
        seen: (N, N) bool, whether token i sees token j.
        places: (T,) int64 the tokens of all answers, answer after answer.
    """

    ids: np.ndarray
    parent: np.ndarray
    depth: np.ndarray
    seen: np.ndarray
    places: np.ndarray

    @property
    def inner(self) -> np.ndarray:
        """(N,) bool, tokens that another one follows.

        The others need not go through a model: nothing is predicted from them, nobody sees them.
        """
        found = np.zeros(len(self.ids), dtype=bool)
        found[self.parent[1:]] = True
        return found


def tree_of(pack: Pack) -> Tree:
    """The tree of a pack.

    Args:
        pack: With a prompt of at least one token. Tokens at hidden positions are seen by nobody;
            two tokens of which one is hidden are not the same.
    """
    ids, parent = list(pack.prompt_ids), list(range(-1, len(pack.prompt_ids) - 1))
    hidden, places = set(pack.hidden), list[int]()
    children: dict[tuple[int, int, bool], int] = {}
    for answer in pack.answers:
        last, unseen = len(pack.prompt_ids) - 1, set(answer.hidden)
        for k, token in enumerate(answer.ids):
            key = (last, token, k in unseen)
            found = children.get(key)
            if found is None:
                found = children[key] = len(ids)
                ids.append(token)
                parent.append(last)
                if k in unseen:
                    hidden.add(found)
            places.append(found)
            last = found
    return Tree(
        np.array(ids),
        np.array(parent),
        *_lineage(parent, sorted(hidden)),
        np.array(places, dtype=np.int64),
    )


def _lineage(parent: list[int], hidden: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Depths, and who sees whom."""
    before, size = np.array(parent), len(parent)
    depth, seen = np.zeros(size, dtype=np.int64), np.zeros((size, size), dtype=bool)
    # Tokens of which each follows the one before it: a triangle, below what the first one's parent
    # sees.
    starts = np.flatnonzero(before != np.arange(-1, size - 1)).tolist()
    for first, stop in pairwise([0, *starts, size]):
        own, above = slice(first, stop), before[first]
        depth[own] = np.arange(stop - first)
        if first:
            depth[own] += depth[above] + 1
            seen[own, :first] = seen[above, :first]
        seen[own, own] = np.tri(stop - first, dtype=bool)
    seen[:, hidden] = False
    return depth, seen
