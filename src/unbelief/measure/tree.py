"""Packs as trees of tokens: what sequences have in common at their beginning stands once.

    prompt ─ The ─ author ─ was ─ born ─ in ─ Lagos ─ .
                                   └─ educated ─ in ─ ...

A token sees its ancestors and itself, as if the answer stood alone, and its position is its depth.
False answers to a question are often true ones with a few words exchanged, so this saves more than
their common prompt; and prompts begin with the same system prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unbelief.measure.packs import Pack


@dataclass(frozen=True, slots=True)
class Tree:
    """N tokens, parents before their children.

    Attributes:
        ids: (N,) int64 token ids.
        parent: (N,) int64 token before each; -1 for a first one.
        depth: (N,) int64 number of tokens before each in its sequence.
        seen: (N,) bool, whether the tokens after it see it.
        prompts: Per pack (P,) int64 the tokens of its prompt.
        answers: Per pack and answer (n,) int64 the answer's tokens.
    """

    ids: np.ndarray
    parent: np.ndarray
    depth: np.ndarray
    seen: np.ndarray
    prompts: tuple[np.ndarray, ...]
    answers: tuple[tuple[np.ndarray, ...], ...]

    @property
    def inner(self) -> np.ndarray:
        """(N,) bool, tokens that another one follows.

        The others need not go through a model: nothing is predicted from them, nobody sees them.
        """
        found = np.zeros(len(self.ids), dtype=bool)
        found[self.parent[self.parent >= 0]] = True
        return found


def tree_of(packs: Sequence[Pack]) -> Tree:
    """The tree of some packs.

    Args:
        packs: With prompts of at least one token. Tokens at hidden positions are seen by nobody;
            two tokens of which one is hidden are not the same.
    """
    ids, parent, depth, seen = list[int](), list[int](), list[int](), list[bool]()
    children: dict[tuple[int, int, bool], int] = {}

    def path(last: int, tokens: Sequence[int], hidden: Sequence[int]) -> np.ndarray:
        found, unseen = list[int](), set(hidden)
        for k, token in enumerate(tokens):
            key = (last, token, k in unseen)
            at = children.get(key)
            if at is None:
                at = children[key] = len(ids)
                ids.append(token)
                parent.append(last)
                depth.append(0 if last < 0 else depth[last] + 1)
                seen.append(k not in unseen)
            found.append(at)
            last = at
        return np.array(found)

    prompts = [path(-1, pack.prompt_ids, pack.hidden) for pack in packs]
    answers = [
        tuple(path(int(prompt[-1]), answer.ids, answer.hidden) for answer in pack.answers)
        for prompt, pack in zip(prompts, packs, strict=True)
    ]
    return Tree(
        np.array(ids),
        np.array(parent),
        np.array(depth),
        np.array(seen),
        tuple(prompts),
        tuple(answers),
    )
