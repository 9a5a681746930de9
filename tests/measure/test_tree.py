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
    tree = tree_of([Pack((1, 2), (), (answer((5, 6, 7)), answer((5, 6, 8)), answer((6,))))])
    assert tree.ids.tolist() == [1, 2, 5, 6, 7, 8, 6]
    assert tree.parent.tolist() == [-1, 0, 1, 2, 3, 3, 1]
    assert tree.depth.tolist() == [0, 1, 2, 3, 4, 4, 2]
    assert [path.tolist() for path in tree.prompts] == [[0, 1]]
    assert [path.tolist() for path in tree.answers[0]] == [[2, 3, 4], [2, 3, 5], [6]]
    assert tree.inner.tolist() == [True, True, True, True, False, False, False]
    assert tree.seen.all()


def test_what_prompts_share_stands_once() -> None:
    # 9 1 | 5 and 9 2 | 5 and 9 1 2 | 5: 0:9 1:1 2:2 (under 0) 3:2 (under 1); then the answers, one
    # under each prompt.
    packs = [Pack(prompt, (), (answer((5,)),)) for prompt in ((9, 1), (9, 2), (9, 1, 2))]
    tree = tree_of(packs)
    assert tree.ids.tolist() == [9, 1, 2, 2, 5, 5, 5]
    assert [path.tolist() for path in tree.prompts] == [[0, 1], [0, 2], [0, 1, 3]]
    assert [path.tolist() for (path,) in tree.answers] == [[4], [5], [6]]
    assert tree.parent[4:].tolist() == [1, 2, 3]


def test_an_answer_may_be_another_prompts_end() -> None:
    tree = tree_of([Pack((1,), (), (answer((2, 3)),)), Pack((1, 2), (), (answer((3,)),))])
    assert tree.ids.tolist() == [1, 2, 3]
    assert [path.tolist() for (path,) in tree.answers] == [[1, 2], [2]]


def test_a_hidden_token_is_another_one() -> None:
    # 5 is seen in the first answer and hidden in the second; the prompt's first token is hidden.
    tree = tree_of([Pack((1, 2), (0,), (answer((5, 6)), answer((5, 6), (0,))))])
    assert tree.ids.tolist() == [1, 2, 5, 6, 5, 6]
    assert [path.tolist() for path in tree.answers[0]] == [[2, 3], [4, 5]]
    assert tree.seen.tolist() == [False, True, True, True, False, True]


ANSWERS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=6)
PACKS = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=4), ANSWERS), min_size=1, max_size=3
)


@given(PACKS)
def test_every_answer_is_a_path(contents: Any) -> None:
    packs = [
        Pack(tuple(prompt), (), tuple(answer(tuple(ids)) for ids in answers))
        for prompt, answers in contents
    ]
    tree, beginnings = tree_of(packs), set()
    for pack, prompt, answers in zip(packs, tree.prompts, tree.answers, strict=True):
        for one, own in zip(pack.answers, answers, strict=True):
            path, ids = [*prompt.tolist(), *own.tolist()], [*pack.prompt_ids, *one.ids]
            assert path == sequence(tree, path[-1])
            assert tree.ids[path].tolist() == ids
            assert tree.depth[path].tolist() == list(range(len(path)))
            beginnings |= {tuple(ids[:k]) for k in range(1, len(ids) + 1)}
    # All but the last tokens of answers that no other goes on from are needed.
    followed = sorted(set(tree.parent.tolist()) - {-1})
    assert np.flatnonzero(tree.inner).tolist() == followed
    assert len(tree.ids) == len(beginnings)  # nothing stands twice
