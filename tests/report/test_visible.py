from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbelief.report.visible import encodable, pieces, visible


def test_what_hides_or_reorders_text_is_written_out():
    assert visible("abc\u202edcba") == "abc[U+202E]dcba"
    assert visible("a\x00b\x1b[31m") == "a[U+0000]b[U+001B][31m"
    assert visible("\ufeffx\ud800") == "[U+FEFF]x[U+D800]"


def test_ordinary_text_of_any_script_stays():
    for text in ("naïve – “quote”", "שלום עולם", "می‌خواهم", "👩‍🚀 ok", "a\tb\nc"):
        assert visible(text) == text
    assert visible("a\r\nb\rc") == "a\nb\nc"


def test_halves_of_surrogates_cannot_be_encoded_and_are_replaced():
    assert encodable("a\ud83db").encode() == "a\ufffdb".encode()


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        ("born in Paris.", ["Paris"], ["born in ", "Paris", "."]),
        ("PARIS and paris", ["Paris"], ["", "PARIS", " and ", "paris", ""]),
        # Only whole words, while there is one ...
        ("Rome, romeo", ["Rome"], ["", "Rome", ", romeo"]),
        # ... and wherever it occurs when there is none.
        ("Romeo", ["Rome"], ["", "Rome", "o"]),
        # The longer of two comes first.
        ("New York City", ["New York", "New York City"], ["", "New York City", ""]),
        ("a (b) c", ["(b)"], ["a ", "(b)", " c"]),
        ("nothing", ["else", "", "  "], ["nothing"]),
        ("nothing", [], ["nothing"]),
        ("", ["x"], [""]),
    ],
)
def test_leaking_words_are_set_apart(text, words, parts):
    assert pieces(text, words) == parts


@settings(deadline=None)
@given(st.text(max_size=40), st.lists(st.text(max_size=5), max_size=4))
def test_pieces_are_the_whole_visible_text(text, words):
    parts = pieces(text, words)
    assert len(parts) % 2 == 1
    assert "".join(parts) == visible(text)
    assert all(parts[i] for i in range(1, len(parts), 2))
