"""Which records are taken out of the retain set, and where they go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbelief.errors import RequestError
from unbelief.types import Record
from unbelief.vision.gate import gate

FORGET = [Record(id="Ada-0", prompt="?", answer="a", group="Ada")]
REST = [
    Record(id=f"{name}-{i}", prompt="?", answer="a", group=name)
    for name in ("Ada", "Boris", "Clara")
    for i in (1, 2)
]


def ids(records: tuple[Record, ...]) -> list[str]:
    return [record.id for record in records]


def test_the_rows_that_moved_most_are_left_out() -> None:
    made = gate(FORGET, REST, [2.0, 0.5, -3.0, 0.1, 0.2, 0.3], 2)
    # Sizes 2, 0.5, 3, 0.1, 0.2, 0.3: the sign does not count, so Boris-1 is the first.
    assert ids(made.found) == ["Ada-1", "Boris-1"]
    assert ids(made.retain) == ["Ada-2", "Boris-2", "Clara-1", "Clara-2"]
    assert ids(made.forget) == ["Ada-0"]


def test_whole_groups_go_by_their_mean_rise() -> None:
    # Means: Ada 1.25, Boris -1.45, Clara 0.25; a single row of Boris moved most.
    made = gate(FORGET, REST, [2.0, 0.5, -3.0, 0.1, 0.2, 0.3], 1, by="group", then="ascend")
    assert ids(made.found) == ["Ada-1", "Ada-2"]
    assert ids(made.forget) == ["Ada-0", "Ada-1", "Ada-2"]
    assert {record.group for record in made.retain} == {"Boris", "Clara"}


def test_nothing_more_is_meant() -> None:
    made = gate(FORGET, REST, [1.0] * 6, 0)
    assert not made.found and made.retain == tuple(REST)


def test_what_cannot_be_chosen_from() -> None:
    with pytest.raises(RequestError, match="5 changes of the loss for 6 records"):
        gate(FORGET, REST, [0.0] * 5, 1)
    with pytest.raises(RequestError, match="not finite"):
        gate(FORGET, REST, [float("nan")] + [0.0] * 5, 1)
    with pytest.raises(RequestError, match="6 of 6 rows"):
        gate(FORGET, REST, [1.0] * 6, 6)
    with pytest.raises(RequestError, match="no group"):
        gate(FORGET, [Record(id="x", prompt="?", answer="a"), *REST], [1.0] * 7, 1, by="group")


@given(
    st.lists(st.floats(-9, 9, allow_nan=False), min_size=2, max_size=30, unique_by=abs),
    st.integers(1, 29),
)
def test_as_many_rows_as_are_meant(change: list[float], beyond: int) -> None:
    rest = [Record(id=str(i), prompt="?", answer="a") for i in range(len(change))]
    beyond = min(beyond, len(rest) - 1)
    made = gate(FORGET, rest, change, beyond)
    kept = [abs(change[int(record.id)]) for record in made.retain]
    taken = [abs(change[int(record.id)]) for record in made.found]
    # Distinct sizes: exactly so many, and none of them moved less than one that stays.
    assert len(taken) == beyond and min(taken) >= max(kept)
