import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.wording.words import stems, tokens, words


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Núñez's café", ["nunez", "cafe"]),
        ("Hsiao Yun‑Hwa’s", ["hsiao", "yun", "hwa"]),
        ("1,200.5 in the 1990s, 3.", ["1200.5", "in", "the", "1990s", "3"]),
        ("５０ kg", ["50", "kg"]),  # full-width digits
        ("Straße", ["strasse"]),
        ("東京です", ["東", "京", "で", "す"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),  # vowel signs belong to their word
        ("LGBTQ+ #1", ["lgbtq", "1"]),
        ("—!…", []),
        ("", []),
    ],
)
def test_normalisation(text, plain):
    assert [word.plain for word in words(text)] == plain


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("She WRITES books.", "writing, Book; she"),
        ("São Paulo", "sao-paulo"),
        ("1,000", "1000"),
        ("the author's father", "authors fathers the"),
    ],
)
def test_the_same_words(one, two):
    assert stems(one) == stems(two)


@pytest.mark.parametrize(("one", "two"), [("3.5", "35"), ("1990", "1991"), ("war", "warm")])
def test_different_words(one, two):
    assert not stems(one) & stems(two)


def test_what_stands_between_words_is_kept():
    found = words("Dhaka, Bangladesh")
    assert [(w.before, w.capital) for w in found] == [("", True), (", ", True)]


def test_tokens_keep_marks():
    assert tokens("No, no!!") == ["no", ",", "no", "!", "!"]


@given(st.text(max_size=60))
@settings(max_examples=30)
def test_any_text_can_be_read(text):
    assert all(word.plain for word in words(text))
    assert len(tokens(text)) >= len(words(text)) - text.count("'") - text.count("’")
    assert stems(text) == stems(text.replace(" ", "  "))


@given(st.lists(st.sampled_from(["Paris", "Rome", "9", "né", "東"]), max_size=6))
@settings(max_examples=30)
def test_case_does_not_matter(chosen):
    text = " ".join(chosen)
    assert stems(text) == stems(text.upper()) == stems(text.lower())
