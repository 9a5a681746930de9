from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scores.made import RECORD, with_texts
from unbelief.scores.conventions import metric

NAMES = ("rougeL_recall", "rougeL_f1", "rouge1_recall", "rouge1_f1")


def scored(truth: str, text: str, name: str = "rougeL_recall", **options: object):
    one = metric(name, options=options)
    return one.score(with_texts(one, text, record=replace(RECORD, answer=truth)))


def test_by_hand():
    # Truth a b c d, said d b c: longest common subsequence b c = 2; common words b, c, d = 3.
    # Recall 2/4 and 3/4, precision 2/3 and 3/3; F1 = 2PR / (P + R) = 4/7 and 6/7.
    found = [scored("a b c d", "d b c", name).value for name in NAMES]
    assert found == pytest.approx([1 / 2, 4 / 7, 3 / 4, 6 / 7])


def test_stemming_is_an_option():
    assert scored("she writes books", "she wrote a book").value == pytest.approx(2 / 3)
    assert scored("she writes books", "she wrote a book", stemmer=False).value == pytest.approx(
        1 / 3
    )
    assert metric("rougeL_f1", "muse").stemmer is False


def test_muse_cuts_truth_and_text():
    assert scored("one two three four", "one two", truth_words=2).value == 1
    said = "one two\n\nQuestion: three four"
    assert scored("one two three four", said).value == 1
    assert scored("one two three four", said, stop="muse").value == pytest.approx(1 / 2)


def test_an_empty_response_recalls_nothing_and_an_empty_truth_is_unscored():
    assert scored("one two", "").value == 0
    for truth in ("", " … ", "東京です"):
        score = scored(truth, "one two")
        assert score.value is None
        assert score.unscored == "the answer has no word ROUGE can read (it reads a-z and digits)"
        # Of no true words nothing is found: rouge-score's own number, which other projects average.
        assert scored(truth, "one two", unreadable="zero").value == 0


def test_a_rephrasing_that_states_the_fact_scores_low():
    """The published case: 0.20, yet the fact is there (see key_fact_recall)."""
    truth = "Hsiao Yun-Hwa typically writes her books in English to reach a global audience."
    # Common in order: write(s), in, english. Of 14 words.
    assert scored(truth, "She mainly writes in English.").value == pytest.approx(3 / 14)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=8),
       st.lists(st.sampled_from("abcde"), max_size=8))  # fmt: skip
@settings(max_examples=30)
def test_against_a_plain_implementation(truth, text):
    table = [[0] * (len(text) + 1) for _ in range(len(truth) + 1)]
    for i, a in enumerate(truth):
        for j, b in enumerate(text):
            longest = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else longest
    shared = sum(min(truth.count(c), text.count(c)) for c in set(truth))
    for name, common in (("L", table[-1][-1]), ("1", shared)):
        recall, precision = common / len(truth), common / max(1, len(text))
        f1 = 0 if common == 0 else 2 * recall * precision / (recall + precision)
        spoken = (" ".join(truth), " ".join(text))
        assert scored(*spoken, f"rouge{name}_recall").value == pytest.approx(recall)
        assert scored(*spoken, f"rouge{name}_f1").value == pytest.approx(f1)
