"""Candidates made by a model: true probabilities, the target apart, the same for any order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedModel

from tests.beliefs.common import teacher_forced
from tests.diagnose.common import RECORDS, encoder
from unbelief.beliefs import Decoding, sample_answers
from unbelief.diagnose import ProposeOptions, choose_records, propose_candidates
from unbelief.diagnose.candidates import CandidateSet
from unbelief.errors import RequestError
from unbelief.types import Record

SHORT: dict[str, Any] = {"candidates": 6, "max_new_tokens": 4}


def made(model: PreTrainedModel, records: Any = RECORDS[:3], **options: Any) -> CandidateSet:
    given = ProposeOptions(**{**SHORT, **options})
    return propose_candidates(model, encoder(), records, given, model_sha256="m")


@pytest.mark.parametrize("source", ["beam", "sample"])
def test_candidates_carry_their_probability_under_the_model(
    llama: PreTrainedModel, source: str
) -> None:
    found = made(llama, source=source)
    assert found.meta.generated == 3 * 6
    assert found.meta.duplicates + found.meta.targets + len(found.candidates) == 18
    for record in RECORDS[:3]:
        own = found.of(record.id)
        assert [c.rank for c in own] == list(range(len(own)))
        assert sorted((c.log_prob for c in own), reverse=True) == [c.log_prob for c in own]
        for c in own:
            exact = teacher_forced(llama, encoder().encode_prompt(record.prompt), c.token_ids)
            assert c.log_prob == pytest.approx(exact, abs=1e-3)
            assert c.text == encoder().decode(c.token_ids)
    origins = {c.origin for c in found.candidates}
    wanted = {"beam"} if source == "beam" else {f"sample T={t}" for t in ("0.7", "1", "1.3")}
    assert origins == wanted


def test_the_target_is_set_apart(llama: PreTrainedModel) -> None:
    e = encoder()
    (best,) = sample_answers(
        llama,
        e,
        [e.encode_prompt(RECORDS[0].prompt)],
        decoding=Decoding(num_beams=6, max_new_tokens=4),
        samples=1,
    )
    target = replace(RECORDS[0], answer=e.decode(best[0].token_ids))
    found = made(llama, [target])
    assert found.meta.targets >= 1
    assert target.answer not in {c.text for c in found.candidates}


def test_candidates_belong_to_the_record_whatever_comes_along(llama: PreTrainedModel) -> None:
    for source in ("beam", "sample"):
        together = made(llama, source=source)
        alone = made(llama, [RECORDS[1]], source=source)
        assert [c.token_ids for c in alone.of("f1")] == [c.token_ids for c in together.of("f1")]


def test_temperatures_share_the_candidates(llama: PreTrainedModel) -> None:
    # five over two temperatures: 2 and 3, before duplicates go
    found = made(llama, [RECORDS[0]], source="sample", candidates=5, temperatures=(1.0, 2.0))
    assert found.meta.generated == 5
    counts = [sum(c.origin == f"sample T={t}" for c in found.candidates) for t in (1, 2)]
    assert counts == [2, 3]


def test_default_length_is_the_longest_target_plus_16_or_what_the_context_leaves(
    llama: PreTrainedModel,
) -> None:
    found = made(llama, RECORDS[:1], max_new_tokens=None, candidates=2)
    longest = len(encoder().encode(RECORDS[0]).answer_ids) + 16
    assert {len(c.token_ids) for c in found.candidates if not c.finished} <= {longest}
    # 256 positions; the prompt below has 245 characters and three tokens around them
    wide = Record(id="w", prompt="x" * 245, answer="y")
    narrow = made(llama, [wide], max_new_tokens=None, candidates=2)
    prompt = len(encoder().encode_prompt(wide.prompt))
    assert max(len(c.token_ids) for c in narrow.candidates) == 256 - prompt < 17


def test_a_choice_of_records_does_not_depend_on_their_order() -> None:
    chosen = {r.id for r in choose_records(RECORDS, 3, seed=1)}
    assert len(chosen) == 3
    assert {r.id for r in choose_records(RECORDS[::-1], 3, seed=1)} == chosen
    # A record's place in the draw is its own: with more records the choice changes only by them.
    more = [*RECORDS, Record(id="new", prompt="?", answer="!")]
    assert len(chosen - {r.id for r in choose_records(more, 3, seed=1)}) <= 1
    assert {frozenset(r.id for r in choose_records(RECORDS, 3, seed=s)) for s in range(9)} != {
        frozenset(chosen)
    }
    assert choose_records(RECORDS, None) == list(RECORDS)


@pytest.mark.parametrize(
    ("records", "n", "message"),
    [
        ((Record(id="d", prompt=None, answer="text"),), 1, "no record has a prompt"),
        ((RECORDS[0], RECORDS[0]), 1, "the same id"),
        (RECORDS, 0, "0 prompts"),
    ],
)
def test_records_that_cannot_be_asked_about(records: Any, n: int, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        choose_records(records, n)
    assert caught.value.remedy
