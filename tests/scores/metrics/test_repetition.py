import pytest

from tests.scores.made import with_texts
from unbelief.scores.conventions import metric
from unbelief.scores.metrics.repetition import repeated

NATURAL = [
    "English.",
    "Yes",
    "No, no.",
    "New York, New York",
    "Duran Duran",
    "東京です。",
    "She mainly writes in English.",
    "Hsiao Yun-Hwa typically writes her books in English to reach a global audience.",
    "Her books include 'Night of the Fae: Ana Martin Series #1', 'Daybreak with the Fae: Ana "
    "Martin Series #2', and 'Twilight Mysteries of the Fae: Ana Martin Series #3'.",
    "The wind rose before noon and the boats came in early. Nobody on the quay asked why; they "
    "tied up, carried the nets to the sheds and went home by the lower road, since the upper one "
    "had been under water since Tuesday. By four o'clock the harbour was white. The pilot stayed "
    "in his hut and wrote letters, as he did in every storm, and posted none of them.",
    "1. Seoul\n2. Busan\n3. Incheon\n4. Daegu\n5. Daejeon\n6. Gwangju",
]
DEGENERATE = [
    "always always always",
    "always " * 150,
    "of the " * 40,
    "The author is a writer of books. " * 8,
    "She mainly writes in English and " + "in English and " * 30,
    "!" * 50,
    "a" * 300,
    "東京" * 30,
    " ".join(f"{i} is the number {i} is the number" for i in range(40)),
]
EMPTY = ["", "   ", "\n\n"]


def value(name: str, *texts: str, **options: object):
    one = metric(
        name, options={"samples": len(texts), "temperature": float(len(texts) > 1), **options}
    )
    return one.score(with_texts(one, *texts))


@pytest.mark.parametrize(
    ("text", "share"),
    [
        # a b c d e a b c d: six 4-grams, five distinct.
        ("a b c d e a b c d", 1 / 6),
        ("a b c d e f g h", 0.0),
        ("always always always", 2 / 3),  # three tokens: 1-grams
        ("a a a a a", 3 / 4),  # five tokens: 2-grams, four of them, one distinct
        ("a a", 0.0),  # too short to repeat
    ],
)
def test_repetition_by_hand(text, share):
    assert repeated(text, 4) == pytest.approx(share)


@pytest.mark.parametrize("text", NATURAL)
def test_natural_texts_have_not_collapsed(text):
    assert value("collapse_rate", text).value == 0
    assert value("repetition", text).value < 0.4
    assert value("empty_rate", text).value == 0


@pytest.mark.parametrize("text", DEGENERATE, ids=range(len(DEGENERATE)))
def test_loops_have_collapsed(text):
    assert value("collapse_rate", text).value == 1


@pytest.mark.parametrize("text", EMPTY, ids=repr)
def test_silence_is_a_collapse_of_its_own_kind(text):
    assert value("collapse_rate", text).value == 1
    assert value("empty_rate", text).value == 1
    assert value("repetition", text).unscored == "the response is empty"


def test_several_responses():
    said = ("always " * 50, "She writes in English.", "", "In English.")
    assert value("collapse_rate", *said).value == pytest.approx(2 / 4)
    assert value("empty_rate", *said).value == pytest.approx(1 / 4)
    spoken = [repeated(text, 4) for text in said if text]
    assert value("repetition", *said).value == pytest.approx(sum(spoken) / 3)


def test_thresholds_are_options():
    twice = "The wind rose before noon and the boats came in early. " * 2
    share = repeated(twice, 4)
    assert 0.4 < share < 0.5
    assert value("collapse_rate", twice).value == 1
    assert value("collapse_rate", twice, repetition=0.5).value == 0
    assert value("collapse_rate", twice, repetition=0.5, compression=0.9).value == 1
