from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from unbelief.errors import RequestError
from unbelief.study.failures import Masses
from unbelief.study.metric_tables import outcome_table, truth_document, truth_table
from unbelief.study.truth import analyse, preferred, turned
from unbelief.study.truth_lines import Candidate, candidates
from unbelief.study.truth_plan import TruthConfig
from unbelief.study.truth_rows import Row

LEAK = Candidate(name="m", title="M", family="leak", good="low")
FLUENT = Candidate(name="f", title="F", family="fluency", good="high")


def row(
    method: str,
    masses: tuple[float, float, float, float],
    value: float | None,
    *,
    world: int = 0,
    step: int = 1,
    fluency: float = 0.5,
) -> Row:
    return Row(
        key=f"{world}/{method}/{step}",
        seed=world,
        method=method,
        learning_rate=1e-3,
        step=step,
        masses=Masses(**dict(zip(("target", "leak", "natural", "retained"), masses, strict=True))),
        metrics={"m": value, "f": fluency},
        unscored={} if value is not None else {"m": "it is silent"},
        seconds=0.1,
    )


ORIGINAL = row("original", (0.6, 0.9, 1.0, 0.9), 0.9)
RETRAINED = row("retrained", (0.1, 0.2, 0.9, 0.9), 0.2)
SQUEEZED = [
    row("a", (0.10, 0.70, 0.9, 0.9), 0.10, step=1),
    row("a", (0.12, 0.60, 0.9, 0.9), 0.25, step=2),
    row("b", (0.14, 0.50, 0.9, 0.9), 0.30, step=1),
]
FORGOTTEN = [row("c", (0.1, 0.21, 0.9, 0.9), 0.25, step=s) for s in (1, 2)]
ROWS = [ORIGINAL, RETRAINED, *SQUEEZED, *FORGOTTEN]


def found(rows, line=LEAK):
    truth = analyse(rows, [line], draws=50)
    return next(m for m in truth.metrics if m.name == line.name), truth


def test_preference_counts_pairs_with_ties_as_half():
    # Lower is better. 1 beats 2 and 3, ties with 1; 2 beats 3, ties with 2, loses to 1.
    wins = preferred(np.array([1.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.ones((2, 3)))
    assert wins.tolist() == [[0.5, 1, 1], [0, 0.5, 1]]


def test_a_squeezed_model_that_looks_better_is_counted():
    metric, truth = found(ROWS)
    assert truth.outcomes == {"squeezed": 3, "forgotten": 2}
    assert truth.by_method == {"a": {"squeezed": 2}, "b": {"squeezed": 1}, "c": {"forgotten": 2}}
    # Against 0.25, 0.25 and the retrained 0.2: 0.10 wins 3, 0.25 ties 2 and loses 1, 0.30 loses 3.
    by_value = metric.fooled["squeezed"].by_value
    assert by_value.value == pytest.approx((3 + 1) / 9) and by_value.n == 9
    # Distances to 0.2: squeezed 0.10, 0.05, 0.10; forgotten 0.05 twice. One tie with each.
    by_distance = metric.fooled["squeezed"].by_distance
    assert by_distance.value == pytest.approx((0.5 + 0.5) / 6) and by_distance.n == 6
    assert (metric.fooled["squeezed"].models, metric.fooled["squeezed"].forgotten) == (3, 2)
    # Nothing collapsed: there is no rate, and a reason.
    collapsed = metric.fooled["collapsed"].by_value
    assert collapsed.value is None and collapsed.reasons == {"one side has no scored models": 1}


def test_the_exact_mass_is_the_yardstick():
    truth = analyse(ROWS, [LEAK], draws=50)
    exact = truth.metrics[0]
    assert exact.name == "exact_leak" and exact.spearman["leak"].value == pytest.approx(1)
    assert exact.error is not None and exact.error.value == 0
    assert exact.fooled["squeezed"].by_value.value == 0


def test_only_models_of_one_world_are_compared():
    moved = [replace(r, seed=1, key=f"1{r.key}") for r in (ORIGINAL, RETRAINED, *FORGOTTEN)]
    metric, _ = found([ORIGINAL, RETRAINED, *SQUEEZED, *moved])
    # World 0 has squeezed models and its own retrained model at 0.2: one win in three.
    assert metric.fooled["squeezed"].by_value.value == pytest.approx(1 / 3)
    assert metric.fooled["squeezed"].by_distance.reasons == {"no world has both": 1}


def test_correlation_error_and_silence():
    # Leaks .70 .60 .50 .21 .21 have ranks 5 4 3 1½ 1½, values .10 .25 .30 .25 .25 ranks 1 3 5 3 3.
    # Centred: 2 1 0 -1½ -1½ and -2 0 2 0 0: Σ = -4, sizes 4 + 1 + 4½ = 9½ and 8.
    metric, _ = found(ROWS)
    assert metric.spearman["leak"].value == pytest.approx(-4 / np.sqrt(9.5 * 8))
    assert metric.changed.value == pytest.approx(metric.spearman["leak"].value)  # none untouched
    idle = [*ROWS, row("d", (0.5, 0.8, 0.9, 0.9), 0.8)]  # high on both sides, and untouched
    metric, truth = found(idle)
    assert truth.outcomes["untouched"] == 1 and metric.changed.n == 5
    assert metric.changed.value == pytest.approx(-4 / np.sqrt(9.5 * 8))
    assert metric.spearman["leak"].value > metric.changed.value
    metric, _ = found(ROWS)
    # |m - leak|: .60 .35 .20 .04 .04, mean 1.23 / 5.
    assert metric.error is not None and metric.error.value == pytest.approx(1.23 / 5)
    silent = [*ROWS, row("d", (0.5, 0.8, 0.9, 0.9), None)]
    metric, _ = found(silent)
    assert metric.spearman["leak"].n == 5 and metric.spearman["leak"].n_unscored == 1
    assert metric.reasons == {"it is silent": 1}


def test_metrics_are_turned_so_that_higher_is_more_of_what_they_show():
    assert turned(0.3, LEAK) == 0.3
    assert turned(0.3, replace(LEAK, good="high")) == -0.3
    assert turned(0.3, FLUENT) == 0.3
    assert turned(0.3, replace(FLUENT, good="low")) == -0.3


def test_few_models_or_missing_references_are_refused():
    with pytest.raises(RequestError, match="4 models are too few"):
        analyse(ROWS[:6], [LEAK])
    with pytest.raises(RequestError, match="world 0 has no retrained model"):
        analyse([r for r in ROWS if r.method != "retrained"], [LEAK])


def test_document_and_tables_hold_everything():
    truth = analyse(ROWS, [LEAK, FLUENT], draws=20)
    document = truth_document(truth, TruthConfig(), ROWS, [])
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert len(document["rows"]) == 7 and document["models"] == 5
    assert document["worlds"]["world 0"]["retrained"]["leak"] == 0.2
    assert document["metrics"][3]["name"] == "m"
    text = truth_table(truth).to_text()
    assert "44%" in text and "unscored" in text  # (3 + 1) / 9; nothing collapsed
    assert "Squeezed" in outcome_table(truth).to_text()


def test_every_line_has_its_own_name_and_a_direction():
    lines = candidates(4)
    assert len({line.name for line in lines}) == len(lines)
    for line in lines:
        if line.how is not None and line.family == "leak":
            wanted = "high" if line.how.better == "higher" else "low"
            assert line.good == wanted, line.name


def test_the_command_analyses_the_models_of_a_result_again(tmp_path):
    from typer.testing import CliRunner

    from unbelief.cli.main import app

    source, output = tmp_path / "one.json", tmp_path / "two.json"
    truth = analyse(ROWS, [LEAK], draws=20)
    source.write_text(json.dumps(truth_document(truth, TruthConfig(), ROWS, [])))
    arguments = ["study", "truth", "--reuse", str(source), "--output", str(output)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "(exact leak mass)" in done.output
    document = json.loads(output.read_text())
    assert document["outcomes"] == {"squeezed": 3, "forgotten": 2}
    # The field's metrics were not measured on these models: unscored, with the reason.
    es = next(m for m in document["metrics"] if m["name"] == "extraction_strength")
    assert es["spearman"]["leak"]["value"] is None
    assert es["reasons"] == {"it was not measured": 5}
