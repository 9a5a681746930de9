from __future__ import annotations

import json
import math
from typing import Any

import pytest

from unbelief.errors import RequestError
from unbelief.study.compare import holm, mean_over_seeds, paired_p, table_document
from unbelief.study.tables import to_csv, to_latex, to_markdown, to_text


def run(label: str, seed: int, distance: float | None, ratio: str = "0.1") -> dict[str, Any]:
    known = distance is not None
    return {
        "label": label,
        "method": label,
        "options": {"learning_rate": 0.001},
        "step": 4,
        "seed": seed,
        "ratio": ratio,
        "values": {"distance": distance, "utility": 0.9} if known else {},
        "unscored": {} if known else {"distance": "the run came to nothing: NaN"},
        "references": {"original": {"values": {"distance": 1.0}, "unscored": {}, "step": 0}},
        "seconds": 2.0,
        "testbed": {"testbed": "formula"},
    }


def document(**values: list[float | None]) -> dict[str, Any]:
    runs = [run(k, s, d) for k, its in values.items() for s, d in enumerate(its)]
    pairs = [("a", name) for name in values if name != "a"]
    return table_document(runs, pairs)


def test_mean_and_t_interval():
    # Values 1, 2, 3: mean 2, standard deviation 1; t(0.975; 2) = 4.302653, half width 4.3027/√3.
    e = mean_over_seeds([1.0, 2.0, 3.0], {})
    assert e.value == 2 and e.n == 3
    assert e.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)
    assert mean_over_seeds([1.0], {}).low is None
    nothing = mean_over_seeds([], {"it broke": 2})
    assert nothing.value is None and nothing.n_unscored == 2 and nothing.reasons == {"it broke": 2}


def test_paired_p():
    # Differences 1, 2, 3: t = 2 / (1/√3) = 3.4641 with 2 degrees of freedom. For those
    # p = 1 − t/√(t² + 2) = 1 − 3.4641/√14 = 0.07418.
    assert paired_p([1.0, 2.0, 3.0]) == pytest.approx(0.07418, abs=1e-5)
    assert paired_p([-1.0, -2.0, -3.0]) == pytest.approx(0.07418, abs=1e-5)  # two-sided
    assert paired_p([0.0, 0.0]) == 1.0
    assert paired_p([1.0, 1.0]) is None and paired_p([1.0]) is None
    # Both differences are 0.1, up to rounding: 0.3 - 0.2 is 0.09999999999999998.
    assert 0.3 - 0.2 != 0.2 - 0.1 and paired_p([0.3 - 0.2, 0.2 - 0.1]) is None
    assert paired_p([0.1 + 0.2 - 0.3, 0.0]) == 1.0


def test_holm_multiplies_by_what_is_left_and_never_falls():
    # Sorted 0.01, 0.02, 0.03: times 3, 2, 1 gives 0.03, 0.04, 0.03 -> 0.04.
    assert holm([0.03, 0.01, None, 0.02]) == pytest.approx([0.04, 0.03, None, 0.04])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])


def test_methods_are_compared_on_the_same_seeds():
    # a is better by about 0.1 on every seed, though the seeds differ by far more than that.
    found = document(a=[0.1, 0.5, 0.9, 0.3], b=[0.21, 0.6, 1.0, 0.4])["comparisons"][0]
    assert found["difference"]["value"] == pytest.approx(-0.1025)
    assert found["difference"]["n"] == 4 and found["verdict"] == "better"


def test_an_interval_with_zero_is_undecided():
    found = document(a=[0.1, 0.5], b=[0.2, 0.4])["comparisons"][0]
    assert found["verdict"] == "undecided"
    assert found["difference"]["low"] < 0 < found["difference"]["high"]


def test_correction_counts_the_whole_family():
    runs = {"a": [0.1, 0.2, 0.3], "b": [0.3, 0.41, 0.5], "c": [0.3, 0.2, 0.1]}
    alone = document(a=runs["a"], b=runs["b"])["comparisons"][0]
    both = document(**runs)
    assert both["family"] == 2
    assert both["comparisons"][0]["p_holm"] == pytest.approx(2 * alone["p"])


def test_what_failed_is_unscored_and_its_seed_left_out_of_pairs():
    found = document(a=[0.1, None, 0.3], b=[0.2, 0.3, 0.41])
    pair = found["comparisons"][0]["difference"]
    assert pair["n"] == 2 and pair["reasons"] == {"not scored for both": 1}
    row = next(r for r in found["rows"] if r["label"] == "a")["estimates"]["distance"]
    assert row["n"] == 2 and row["reasons"] == {"the run came to nothing: NaN": 1}


def test_rows_are_sorted_by_distance_behind_the_references():
    found = document(a=[0.5, 0.5], b=[0.2, 0.4], c=[None, None])
    assert [r["label"] for r in found["rows"]] == ["original", "b", "a", "c"]


def test_no_cell_is_empty_in_any_format():
    found = document(a=[0.1, 0.2], c=[None, None])
    text = to_markdown(found)
    assert "unscored: the run came to nothing: NaN" in text
    assert "unscored: not measured" in text  # what no run has
    for line in (row for row in text.splitlines() if row.startswith("| ")):
        assert all(cell.strip() for cell in line.strip("|").split("|"))
    assert "not tested" in to_text(found)
    assert "\\begin{longtable}" in to_latex(found)
    assert "the run came to nothing" in to_csv(found)
    json.dumps(found, allow_nan=False)


def test_wrong_comparisons():
    runs = [run("a", 0, 0.1)]
    with pytest.raises(RequestError, match="no results of b"):
        table_document(runs, [("a", "b")])
    with pytest.raises(RequestError, match="cannot be compared"):
        table_document(runs, [], ["speed"])


@pytest.mark.parametrize(("kept", "warned"), [(0.90, False), (0.66, True)])
def test_a_reference_that_lost_what_was_to_stay_is_named_in_the_table(
    kept: float, warned: bool
) -> None:
    runs = [run("a", 0, 0.5), run("a", 1, 0.6)]
    for one in runs:
        one["references"] = {
            name: {"values": {"distance": d, "utility": u}, "unscored": {}, "step": 0}
            for name, d, u in (("original", 1.0, 0.97), ("retrained", 0.0, kept))
        }
    text = to_markdown(table_document(runs, []))
    assert ("CAUTION: the retrained model has a utility of 0.66 and the original 0.97" in text) is (
        warned
    )
