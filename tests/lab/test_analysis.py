from __future__ import annotations

import numpy as np
import pytest

from tests.lab.made import result
from unbelief.lab.analysis import analyse
from unbelief.lab.document import document
from unbelief.lab.draws import at_crossing, crossing
from unbelief.lab.findings import findings

# The made-up original is at target .6, other .3, natural 1, retained .9;
# the retrained model at leak .1, natural .9, retained .9.


def finding(made, key):
    return next(f for f in findings(made, analyse(made)) if f.key == key)


def test_crossing_is_interpolated_between_points():
    curve = np.array([[0.8, 0.4, 0.0]])
    where = crossing(curve, 0.3)
    # .3 lies a quarter of the way from .4 (point 1) to 0 (point 2).
    assert where[0][0] == 2 and where[1][0] == pytest.approx(0.25)
    assert at_crossing(np.array([[1.0, 0.6, 0.2]]), where)[0] == pytest.approx(0.5)


def test_level_that_is_never_reached_has_no_value():
    assert np.isnan(at_crossing(np.ones((1, 3)), crossing(np.array([[0.8, 0.7, 0.6]]), 0.3)))[0]


def test_level_reached_from_the_start_is_the_start():
    where = crossing(np.array([[0.2, 0.1]]), 0.3)
    assert at_crossing(np.array([[0.9, 0.1]]), where)[0] == pytest.approx(0.9)


def test_distance_is_excess_leak_plus_both_gaps():
    made = result({("a", 1e-3): [(0.1, 0.4, 0.5, 0.8), (0.0, 0.05, 0.2, 0.6)]})
    row = analyse(made).row("a")
    # Step 1: (.4 - .1) + |.5 - .9| + |.8 - .9| = .8, the original itself: .8 + .1 + 0 = .9.
    # Step 2: leak below the retrained model's counts nothing: 0 + .7 + .3 = 1.
    assert row.step == 1
    assert row.distance.value == pytest.approx(0.8)
    assert row.last_distance is not None and row.last_distance.value == pytest.approx(1.0)


def test_selected_learning_rate_is_the_nearest_one_and_all_are_shown():
    made = result(
        {
            ("a", 1e-4): [(0.5, 0.8, 1.0, 0.9)],  # .7 + .1 + 0 = .8
            ("a", 1e-3): [(0.0, 0.2, 0.8, 0.9)],  # .1 + .1 + 0 = .2
        }
    )
    analysis = analyse(made)
    assert analysis.row("a").learning_rate == 1e-3
    assert [(c.learning_rate, round(c.best, 6)) for c in analysis.grid] == [
        (1e-4, 0.8),
        (1e-3, 0.2),
    ]


def test_retrained_model_is_at_distance_zero():
    rows = analyse(result({("a", 1e-3): [(0.1, 0.4, 0.5, 0.8)]})).rows
    assert next(r for r in rows if r.label == "retrained").distance.value == 0


def test_squeezing_is_measured_when_half_of_the_target_is_gone():
    # Target .6 -> .2 in a step; half (.3) is reached after three quarters of it.
    # Others: .3 -> .7, so .6 there: +.3, all of what the target lost.
    made = result({("a", 1e-3): [(0.2, 0.9, 1.0, 0.9)]}, spread=0.1)
    squeeze = analyse(made).squeezes[0]
    assert squeeze.at_half.value == pytest.approx(0.6)
    assert squeeze.change.value == pytest.approx(0.3)
    assert squeeze.share["other phrasings"] == pytest.approx(1.0)
    assert squeeze.share["false facts"] == pytest.approx(0.0)
    assert squeeze.verdict == "rose"
    assert squeeze.peak == pytest.approx(0.7)


def test_sentence_about_squeezing_is_there_only_with_the_fact():
    rising = result({("a", 1e-3): [(0.2, 0.9, 1.0, 0.9)]})
    assert finding(rising, "squeezing").title.startswith("Every method squeezes")
    # Target and others fall together: .6 -> .2 and .3 -> .1.
    falling = result({("a", 1e-3): [(0.2, 0.3, 1.0, 0.9)]})
    said = finding(falling, "squeezing")
    assert said.title == "No squeezing was seen"
    assert "had not risen under any method" in said.text and "had fallen under A" in said.text
    both = result({("a", 1e-3): [(0.2, 0.9, 1.0, 0.9)], ("b", 1e-3): [(0.2, 0.3, 1.0, 0.9)]})
    assert finding(both, "squeezing").title == (
        "The fact is squeezed into its other phrasings under A"
    )


def test_target_that_does_not_fall_gives_no_verdict():
    made = result({("a", 1e-3): [(0.5, 0.8, 1.0, 0.9)]})
    squeeze = analyse(made).squeezes[0]
    assert squeeze.verdict == "not reached"
    assert squeeze.change.value is None and squeeze.change.n_unscored == 1
    assert "never fell to half under A" in finding(made, "squeezing").text


def test_equal_leak_compares_belief_methods_with_the_others():
    # Leak .9 -> .1 in one step reaches .3 after three quarters of it.
    made = result(
        {("npo", 1e-3): [(0.0, 0.1, 0.2, 0.5)], ("bs-s", 1e-3): [(0.0, 0.1, 0.6, 0.3)]},
        families={"bs-s": "belief"},
    )
    analysis = analyse(made, levels=(0.3,))
    by = {e.method: e for e in analysis.equal_leak}
    # Natural: 1 - .75·.8 = .4 and 1 - .75·.4 = .7; retained: .9 - .75·.4 = .6 and .9 - .75·.6 = .45
    assert by["npo"].natural.value == pytest.approx(0.4)
    assert by["bs-s"].natural.value == pytest.approx(0.7)
    contrast = analysis.contrasts[0]
    assert contrast.natural.value == pytest.approx(0.3)
    assert contrast.retained.value == pytest.approx(-0.15)
    said = finding(made, "equal-leak")
    assert said.title == "At equal leak BS-S beats some methods and loses to others"
    assert "Natural mass: more than NPO (+0.30" in said.text
    assert "Retained mass: less than NPO (−0.15" in said.text


def test_tiny_differences_are_not_called_wins():
    made = result(
        {("npo", 1e-3): [(0.0, 0.1, 0.50, 0.5)], ("bs-s", 1e-3): [(0.0, 0.1, 0.51, 0.5)]},
        families={"bs-s": "belief"},
    )
    assert finding(made, "equal-leak").title == (
        "At equal leak BS-S cannot be told apart from the others"
    )


def test_method_that_never_leaks_less_is_not_compared():
    made = result(
        {("npo", 1e-3): [(0.0, 0.1, 0.5, 0.5)], ("bs-s", 1e-3): [(0.5, 0.8, 1.0, 0.9)]},
        families={"bs-s": "belief"},
    )
    assert analyse(made).contrasts == ()
    assert "cannot be compared" in finding(made, "equal-leak").title


def test_control_that_behaves_the_same_is_named():
    runs = {
        ("bs-t", 1e-3): [(0.2, 0.9, 1.0, 0.9)],
        ("graddiff-control", 1e-3): [(0.2, 0.9, 1, 0.89)],
    }
    families = {"bs-t": "belief", "graddiff-control": "control"}
    made = result(runs, families=families)
    gap = analyse(made).control_gap
    assert gap is not None and gap.largest == pytest.approx(0.01)
    assert finding(made, "control").title == "BS-T does what its control does"
    # 0.9 - 0.87 = 0.03 is the largest: more than 0.02, less than 0.05.
    runs["graddiff-control", 1e-3] = [(0.2, 0.9, 1, 0.87)]
    assert "stays close to its control" in finding(result(runs, families=families), "control").title
    runs["graddiff-control", 1e-3] = [(0.2, 0.9, 1, 0.5)]
    assert "differs from its control" in finding(result(runs, families=families), "control").title


def test_several_seeds_give_intervals_over_seeds():
    made = result({("a", 1e-3): [(0.1, 0.4, 0.5, 0.8)]}, seeds=(0, 1, 2))
    distance = analyse(made).row("a").distance
    assert distance.n == 3 and "seeds" in distance.interval
    assert distance.low == pytest.approx(distance.high)  # equal seeds, no variance


def test_one_seed_gives_intervals_over_people():
    made = result({("a", 1e-3): [(0.1, 0.4, 0.5, 0.8)]}, spread=0.2)
    natural = analyse(made).row("a").masses["natural"]
    assert natural.n == 4 and natural.interval.startswith("clustered bootstrap")
    assert natural.low < natural.value < natural.high


def test_run_that_ended_early_is_used_as_far_as_it_got():
    made = result({("a", 1e-3): [(0.1, 0.4, 0.5, 0.8)], ("b", 1e-3): []})
    analysis = analyse(made)
    assert analysis.row("b").step == 0
    assert "B never came closer than the original" in finding(made, "distance").text


def test_document_is_plain_json_with_the_measured_part_unchanged():
    import json

    from unbelief.lab.result import LabResult

    made = result({("a", 1e-3): [(0.1, 0.4, 0.5, 0.8)]})
    plain = document(made)
    assert json.loads(json.dumps(plain)) == plain
    assert LabResult.from_dict(plain) == made
