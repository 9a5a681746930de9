"""Candidates: ranked, cut, duplicates and the target apart; a file that knows what it is from."""

from __future__ import annotations

import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.diagnose.common import RECORDS, candidate, candidate_set, encoder, meta
from unbelief.beliefs.bank import prompts_hmac, tokenizer_digest
from unbelief.diagnose.candidates import CandidateSet, ProposeOptions, normalised, ranked
from unbelief.errors import RequestError


def test_ranked_by_hand() -> None:
    found = [
        candidate("In Oslo.", -4.0),
        candidate("In Rome.", -1.0),  # the target
        candidate("In Lima.", -2.0),
        candidate("in  lima", -3.0),  # the same words: the likelier one stays
        candidate("In Rome", -6.0),  # the target again
        candidate("In Cairo.", -5.0),
    ]
    kept, duplicates, targets = ranked(found, "In Rome.", "sum")
    assert [(c.text, c.rank, c.band) for c in kept] == [
        ("In Lima.", 0, "high"),
        ("In Oslo.", 1, "mid"),
        ("In Cairo.", 2, "low"),
    ]
    assert (duplicates, targets) == (1, 2)


def test_ranking_by_sum_and_by_mean_differ() -> None:
    # sums -2 and -3; per token -2/1 and -3/6
    found = [candidate("a", -2.0), candidate("bbbbbb", -3.0)]
    assert [c.text for c in ranked(found, "x", "sum")[0]] == ["a", "bbbbbb"]
    assert [c.text for c in ranked(found, "x", "mean")[0]] == ["bbbbbb", "a"]


def test_nothing_but_the_target() -> None:
    assert ranked([candidate("Rome")], "rome.", "sum") == ([], 0, 1)


@given(
    st.lists(st.tuples(st.text("ab .", max_size=4), st.integers(-5, -1)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_order_of_arrival_does_not_matter(
    texts: list[tuple[str, int]], shuffler: random.Random
) -> None:
    found = [candidate(text, float(p)) for text, p in texts]
    shuffled = list(found)
    shuffler.shuffle(shuffled)
    kept, *counts = ranked(found, "a", "sum")
    again, *counts_again = ranked(shuffled, "a", "sum")
    assert counts == counts_again
    assert [(normalised(c.text), c.log_prob, c.band) for c in kept] == [
        (normalised(c.text), c.log_prob, c.band) for c in again
    ]
    assert sum(counts) + len(kept) == len(found)
    likelihoods = [c.log_prob for c in kept]
    assert likelihoods == sorted(likelihoods, reverse=True)


def test_normalised() -> None:
    assert normalised("  The  ﬁrst\nBook. ") == "the first book"
    assert normalised("Straße!") == normalised("STRASSE")
    assert normalised("3.5") == "3.5"


def made() -> CandidateSet:
    texts = "abcdefghij"
    kept, _, _ = ranked([candidate(t, -float(i)) for i, t in enumerate(texts)], "x", "sum")
    return candidate_set(kept, ("f0", "f1"))


def test_thinned_takes_the_middles_of_each_band() -> None:
    # ten candidates: high 0-1, mid 2-5, low 6-9; one each at the lower middles 0, 3, 7
    thin = made().thinned(1)
    assert [(c.rank, c.band) for c in thin.of("f0")] == [(0, "high"), (3, "mid"), (7, "low")]
    assert thin.of("f1") == ()
    assert made().thinned(9) == made()


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = made().write(tmp_path / "new" / "candidates.parquet")
    assert CandidateSet.read(path) == made()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [None, b"no parquet", b""])
def test_what_is_no_candidates_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "c.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match="cannot read candidates") as caught:
        CandidateSet.read(path)
    assert caught.value.where == str(path) and caught.value.remedy


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(RequestError, match="cannot read candidates"):
        CandidateSet.read(tmp_path / "other.parquet")


def test_candidates_of_other_weights_data_or_tokens_are_refused() -> None:
    e = encoder()
    encoded = {r.id: e.encode(r) for r in RECORDS}
    own = meta(
        ("f0", "f1"),
        tokenizer_sha256=tokenizer_digest(e),
        prompts_hmac=prompts_hmac([encoded["f0"], encoded["f1"]], "00"),
    )
    CandidateSet((), own).check(model_sha256="m", encoder=e, encoded=encoded)
    wrong = {
        "model": (replace(own, model_sha256="other"), encoded),
        "tokenizer": (replace(own, tokenizer_sha256="other"), encoded),
        "records": (own, {**encoded, "f1": encoded["f2"]}),
    }
    for name, (about, data) in wrong.items():
        with pytest.raises(RequestError, match=f"another {name}\n"):
            CandidateSet((), about).check(model_sha256="m", encoder=e, encoded=data)
    with pytest.raises(RequestError, match="another records"):
        CandidateSet((), own).check(model_sha256="m", encoder=e, encoded={})


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"source": "guess"}, "source"),
        ({"rank_by": "max"}, "rank_by"),
        ({"candidates": 1}, "candidates"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"source": "sample", "temperatures": ()}, "temperatures"),
        ({"source": "sample", "temperatures": (1.0, 0.0)}, "temperatures"),
    ],
)
def test_options_out_of_range(wrong: dict[str, object], where: str) -> None:
    with pytest.raises(RequestError) as caught:
        ProposeOptions(**wrong)  # type: ignore[arg-type]
    assert caught.value.where == where and caught.value.remedy
