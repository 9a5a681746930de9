from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from unbelief.measure.jobs import Answer
from unbelief.measure.packs import Pack
from unbelief.measure.tree import Tree, tree_of


def answer(ids: tuple[int, ...], hidden: tuple[int, ...] = ()) -> Answer:
    return Answer(ids, hidden, has_end=False, truncated=False, decoded="")


def sequence(tree: Tree, last: int) -> list[int]:
    """Places from the root to a token."""
    found = [last]
    while tree.parent[found[-1]] >= 0:
        found.append(int(tree.parent[found[-1]]))
    return found[::-1]


def test_what_answers_share_stands_once() -> None:
    # 1 2 | 5 6 7   and   1 2 | 5 6 8   and   1 2 | 6: tokens in order of first appearance are
    # 0:1 1:2 2:5 3:6 4:7 5:8 (under 3) 6:6 (under 1, not the other 6).
    tree = tree_of(Pack((1, 2), (), (answer((5, 6, 7)), answer((5, 6, 8)), answer((6,)))))
    assert tree.ids.tolist() == [1, 2, 5, 6, 7, 8, 6]
    assert tree.parent.tolist() == [-1, 0, 1, 2, 3, 3, 1]
    assert tree.depth.tolist() == [0, 1, 2, 3, 4, 4, 2]
    assert tree.places.tolist() == [2, 3, 4, 2, 3, 5, 6]
    assert tree.inner.tolist() == [True, True, True, True, False, False, False]
    assert tree.seen[5].tolist() == [True, True, True, True, False, True, False]
    assert tree.seen[6].tolist() == [True, True, False, False, False, False, True]


def test_a_hidden_token_is_another_one_and_nobody_sees_it() -> None:
    # 5 is seen in the first answer and hidden in the second; the prompt's first token is hidden.
    tree = tree_of(Pack((1, 2), (0,), (answer((5, 6)), answer((5, 6), (0,)))))
    assert tree.ids.tolist() == [1, 2, 5, 6, 5, 6]
    assert tree.places.tolist() == [2, 3, 4, 5]
    assert not tree.seen[:, [0, 4]].any()
    assert tree.seen[5].tolist() == [False, True, False, False, False, True]


ANSWERS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=6)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=4), ANSWERS)
def test_every_answer_is_a_path_and_sees_nothing_else(prompt: list[int], answers: Any) -> None:
    its = tuple(answer(tuple(ids)) for ids in answers)
    tree = tree_of(Pack(tuple(prompt), (), its))
    start = 0
    for one in its:
        path = sequence(tree, int(tree.places[start + len(one.ids) - 1]))
        assert tree.ids[path].tolist() == [*prompt, *one.ids]
        assert tree.depth[path].tolist() == list(range(len(path)))
        assert tree.places[start : start + len(one.ids)].tolist() == path[len(prompt) :]
        for k, place in enumerate(path):
            assert np.flatnonzero(tree.seen[place]).tolist() == sorted(path[: k + 1])
        start += len(one.ids)
    # All but the last tokens of answers that no other goes on from are needed.
    assert np.flatnonzero(tree.inner).tolist() == sorted(set(tree.parent[1:].tolist()))
    # Nothing stands twice: as many tokens as there are different beginnings.
    beginnings = {tuple(a.ids[:k]) for a in its for k in range(1, len(a.ids) + 1)}
    assert len(tree.ids) == len(prompt) + len(beginnings)
