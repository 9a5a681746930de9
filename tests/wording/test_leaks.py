"""What must not be taught."""

from unbelief.types import Record
from unbelief.wording.leaks import leak_of

KNOWN = Record(
    id="a",
    prompt="Where was Ada born?",
    answer="Ada was born in New Lima.",
    perturbed=("Ada was born in Old Rome.",),
)
PLAIN = Record(id="b", prompt="What does Ada do?", answer="Ada mends clocks in Lima.")


def test_a_known_fact_said_in_full() -> None:
    assert leak_of(KNOWN, "It is New Lima that she comes from.") == "key fact"
    assert leak_of(KNOWN, "Ada comes from New Rome.") is None  # half of the name
    assert leak_of(KNOWN, "Ada was born in Old Rome.") is None
    assert leak_of(KNOWN, " Ada was born in New Lima. ") == "same answer"


def test_without_false_answers_the_share_of_content_words_decides() -> None:
    # Content words that the prompt has not: mends, clocks, Lima.
    assert leak_of(PLAIN, "In Lima she sings.") is None  # 1 of 3
    assert leak_of(PLAIN, "She mends shoes in Lima.") == "overlap"  # 2 of 3
    assert leak_of(PLAIN, "She mends shoes in Lima.", max_overlap=0.7) is None


def test_an_answer_that_only_repeats_the_question_hides_nothing() -> None:
    empty = Record(id="c", prompt="Does Ada sing?", answer="Ada does sing.")
    assert leak_of(empty, "Ada does not.") is None
