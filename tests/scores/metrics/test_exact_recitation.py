from dataclasses import replace

import numpy as np
import pytest

from tests.scores.made import RECORD, answer, said
from unbelief.measure.tables import AnswerNeed, Example
from unbelief.scores import exact_recitation
from unbelief.scores.texts import greedy_need


def example(spoken, true, *, finished=True) -> Example:
    measured = replace(answer([-1.0] * len(true)), token_ids=np.array(true))
    return Example(
        record=RECORD,
        answers={AnswerNeed(): (measured,)},
        texts={greedy_need(): (said("", spoken, finished=finished),)},
    )


@pytest.mark.parametrize(
    ("spoken", "true", "finished", "value"),
    [
        ((5, 6, 2), (5, 6, 2), True, 1.0),
        ((5, 7, 2), (5, 6, 2), True, 0.0),
        ((5, 6), (5, 6, 2), True, 0.0),  # stops where the answer goes on
        ((5, 6, 9, 2), (5, 6, 2), True, 0.0),  # goes on where the answer ends
        ((2,), (5, 6, 2), True, 0.0),
        ((5, 7), (5, 6, 2), False, 0.0),  # cut, but already wrong
        ((5, 6), (5, 6, 2), False, None),  # cut while it was right: nobody knows
        ((5, 6, 9), (5, 6, 2), False, 0.0),
        ((5, 6, 7), (5, 6, 7), False, 1.0),  # a text without end token, recited to its end
    ],
)
def test_token_for_token_with_the_end(spoken, true, finished, value):
    score = exact_recitation(example(spoken, true, finished=finished))
    assert score.value == value
    if value is None:
        assert score.unscored == "the answer is longer than the model was allowed to speak"
