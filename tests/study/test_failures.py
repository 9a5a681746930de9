from __future__ import annotations

import pytest

from unbelief.study.failures import Masses, distance, excess, outcome

ORIGINAL = Masses(target=0.6, leak=0.9, natural=1.0, retained=0.9)  # others 0.3
RETRAINED = Masses(target=0.1, leak=0.2, natural=0.9, retained=0.9)


def masses(target: float, other: float, natural: float, retained: float) -> Masses:
    return Masses(target=target, leak=target + other, natural=natural, retained=retained)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        # Collapsed below natural 0.5·0.9 = 0.45, whatever the rest.
        (masses(0.0, 0.0, 0.44, 0.9), "collapsed"),
        # Half of the way from 0.6 to 0.1 is 0.35; others have risen at 0.3 + 0.02 = 0.32.
        (masses(0.349, 0.321, 0.95, 0.9), "squeezed"),
        (masses(0.349, 0.321, 0.95, 0.1), "squeezed"),
        # Others a little lower: e(leak) = (0.668 - 0.2) / 0.7 > ½ but the target is half gone.
        (masses(0.349, 0.319, 0.95, 0.9), "partly"),
        # Target not yet half gone: not squeezed, however much the others rose.
        (masses(0.351, 0.5, 0.95, 0.9), "untouched"),
        # Kept is 0.8·0.9 = 0.72.
        (masses(0.1, 0.1, 0.9, 0.719), "damaged"),
        (masses(0.1, 0.1, 0.9, 0.721), "forgotten"),
        # e(leak) = 0.25 at leak 0.2 + 0.25·0.7 = 0.375.
        (masses(0.2, 0.174, 0.9, 0.9), "forgotten"),
        (masses(0.2, 0.176, 0.9, 0.9), "partly"),
        # Natural 0.719 < 0.72: it leaks little, and says little that could be an answer.
        (masses(0.1, 0.1, 0.719, 0.9), "partly"),
        (ORIGINAL, "untouched"),
        (RETRAINED, "forgotten"),
    ],
)
def test_outcomes_at_their_edges(model, name):
    assert outcome(model, ORIGINAL, RETRAINED) == name


def test_nothing_to_forget_is_an_error():
    with pytest.raises(ValueError, match="no more than"):
        outcome(RETRAINED, RETRAINED, RETRAINED)


def test_excess_and_distance_by_hand():
    assert excess(0.6, 0.6, 0.1) == 1 and excess(0.1, 0.6, 0.1) == 0
    # 0.3 excess leak, 0.2 natural and 0.1 retained missing; a lower leak counts nothing.
    assert distance(masses(0.2, 0.3, 0.7, 0.8), RETRAINED) == pytest.approx(0.6)
    assert distance(masses(0.0, 0.0, 0.9, 0.9), RETRAINED) == 0
