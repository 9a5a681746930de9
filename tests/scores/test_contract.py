"""What every metric promises, tried on each one that is found."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.scores.made import RECORD, random_for
from unbelief.measure.tables import AnswerNeed, Example, GradientNeed, TextNeed
from unbelief.scores.base import Metric
from unbelief.scores.conventions import CONVENTIONS, metric
from unbelief.scores.options import option_names
from unbelief.scores.registry import metrics
from unbelief.scores.statistics import of_metric

NAMES = list(metrics())
OF_ANSWERS = [name for name in NAMES if any(isinstance(n, AnswerNeed) for n in metric(name).needs)]
UNITS = {
    "probability", "share", "nats", "nats per byte", "count", "ratio", "norm",
    "standard deviations",
}  # fmt: skip


def made(name: str) -> list[Metric]:
    """The metric under every convention that has its own options for it."""
    return [metric(name, c) for c in CONVENTIONS if c == "unbelief" or name in CONVENTIONS[c]]


@pytest.mark.parametrize("name", NAMES)
def test_documentation_is_complete(name: str) -> None:
    kind = metrics()[name]
    assert kind.summary and kind.source and kind.unit in UNITS and kind.version >= 1
    assert kind.limits[0] < kind.limits[1]
    assert name.islower() or name.startswith("rouge")
    text = inspect.getdoc(kind) or ""
    assert len(text.splitlines()) > 2
    for option in option_names(kind):
        assert f"{option}:" in text, f"{name}: {option} is not explained"


@pytest.mark.parametrize("name", NAMES)
def test_values_are_finite_and_within_limits(name: str) -> None:
    for one in made(name):
        low, high = one.limits
        for seed in range(40):
            score = one.score(random_for(one, seed))
            if score.value is None:
                assert score.unscored
            else:
                assert low - 1e-12 <= score.value <= high + 1e-12
                assert not one.binary or score.value in (0.0, 1.0)
        assert any(one.score(random_for(one, s)).value is not None for s in range(40))


@pytest.mark.parametrize("name", NAMES)
def test_a_score_names_its_item_and_cluster(name: str) -> None:
    one = metric(name)
    example = random_for(one, 3)
    for given in (example, Example(record=example.record)):
        score = one.score(given)
        assert (score.example_id, score.group) == ("item 3", RECORD.group)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_measured_is_unscored_and_says_why(name: str) -> None:
    one = metric(name)
    full = random_for(one, 0)
    for need in one.needs:
        kept = [n for n in one.needs if n != need]
        known = {n: full.answers[n] for n in kept if isinstance(n, AnswerNeed)}
        texts = {n: full.texts[n] for n in kept if isinstance(n, TextNeed)}
        gradients = {n: full.gradients[n] for n in kept if isinstance(n, GradientNeed)}
        lacking = replace(full, answers=known, texts=texts, gradients=gradients)
        score = one.score(lacking)
        assert score.value is None and score.unscored
        told = one.score(replace(lacking, unmeasured={need: "the tokenizer refused"}))
        assert told.unscored == "the tokenizer refused"


@pytest.mark.parametrize("name", OF_ANSWERS)
@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_a_model_that_gave_nan_is_unscored(name: str, bad: float) -> None:
    one = metric(name)
    example = random_for(one, 0)
    for need in example.answers:
        broken = []
        for found in example.answers[need]:
            logp = found.logp.copy()
            logp[0] = bad
            broken.append(replace(found, logp=logp))
        score = one.score(replace(example, answers={**example.answers, need: tuple(broken)}))
        if name != "exact_recitation":  # compares tokens; log-probabilities do not matter
            assert score.value is None
            assert "non-finite" in (score.unscored or "")


@pytest.mark.parametrize("name", OF_ANSWERS)
def test_answers_without_tokens_are_unscored(name: str) -> None:
    one = metric(name)
    example = random_for(one, 0)
    empty = {
        need: tuple(
            replace(
                found,
                **{k: getattr(found, k)[:0] for k in
                   ("token_ids", "logp", "hit", "entropy", "variance")},
                has_end=False,
            )
            for found in answers
        )
        for need, answers in example.answers.items()
    }  # fmt: skip
    score = one.score(replace(example, answers=empty))
    assert score.value is None and "no tokens" in (score.unscored or "")


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_items_does_not_matter(name: str) -> None:
    one = metric(name)
    examples = [
        random_for(one, seed, record=replace(RECORD, group=f"author {seed % 4}"))
        for seed in range(12)
    ]
    forward, backward = of_metric(one, examples), of_metric(one, examples[::-1])
    assert forward.value == pytest.approx(backward.value, rel=1e-12, abs=1e-15)
    assert (forward.n, forward.n_unscored) == (backward.n, backward.n_unscored)
    np.testing.assert_allclose(forward.draws, backward.draws, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_measurements_lose_nothing(name: str) -> None:
    for one in made(name):
        for seed in range(5):
            single = one.score(random_for(one, seed, dtype=np.float32))
            double = one.score(random_for(one, seed, dtype=np.float64))
            assert single.value == pytest.approx(double.value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_values(name: str) -> None:
    """Equal options give equal metrics, which can be keys."""
    one, two = metric(name), metric(name)
    assert one == two and len({one, two}) == 1
    assert all(hash(need) == hash(need) for need in one.needs)


def test_scores_import_no_model_code() -> None:
    code = (
        "import sys\n"
        "import unbelief.scores.conventions, unbelief.scores.statistics\n"
        "from unbelief.scores.registry import metrics, aggregates\n"
        "metrics(); aggregates()\n"
        "loaded = {'torch', 'transformers', 'scipy', 'nltk', 'pyarrow'} & sys.modules.keys()\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
