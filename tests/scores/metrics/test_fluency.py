import math
from dataclasses import replace

import pytest

from tests.scores.made import RECORD, answer, with_answers
from unbelief.measure.tables import Example
from unbelief.scores.conventions import metric
from unbelief.scores.metrics.fluency import as_said


def test_the_two_are_inverses():
    example = with_answers(answer([math.log(0.5), math.log(0.125)]))
    assert metric("original_perplexity").score(example).value == pytest.approx(4)
    assert metric("original_fluency").score(example).value == pytest.approx(1 / 4)


def test_the_record_that_the_original_model_is_asked_about():
    record = as_said(RECORD, "She writes in English.")
    assert record.answer == "She writes in English." and record.prompt == RECORD.prompt
    assert not (record.paraphrases or record.perturbed or record.choices)
    unasked = Example(record=replace(record, id="b"))
    assert metric("original_fluency").score(unasked).value is None
