"""Readings against the plain definition: one sequence at a time, full logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.diagnose.common import RECORDS, candidate, candidate_set, encoder
from tests.helpers import tiny_model
from unbelief.diagnose.meter import SqueezeMeter, shared_tokens
from unbelief.diagnose.points import Reading
from unbelief.diagnose.responses import Response
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel

RESPONSES = [Response("no", "I do not know."), Response("rome", "In Rome.", "f2")]


def ids_of(text: str) -> tuple[int, ...]:
    return (*encoder().tokenizer(text, add_special_tokens=False)["input_ids"], 2)


CANDIDATES = candidate_set(
    [
        candidate("x", record_id="f0", rank=0, token_ids=ids_of("In a town.")),
        candidate("y", record_id="f0", rank=1, token_ids=(2,)),
        candidate("z", record_id="f2", rank=0, token_ids=ids_of("Oslo" * 8)[:-1]),
    ],
    ("f0", "f2"),
)


def plain(model: Any, record: int, answer: tuple[int, ...], k: int) -> tuple[float, float, float]:
    """(Σ log π, mean S_k, mean entropy) from full logits in double precision."""
    prompt = encoder().encode_prompt(RECORDS[record].prompt)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    logp = logits[len(prompt) - 1 : -1].double().log_softmax(-1)
    total = logp.gather(1, torch.tensor(answer)[:, None]).sum()
    mass = logp.topk(k, dim=1).values.exp().sum(dim=1).mean()
    entropy = -(logp.exp() * logp).sum(dim=1).mean()
    return float(total), float(mass), float(entropy)


def plain_last(model: Any, record: int, answer: tuple[int, ...]) -> float:
    """Log π of an answer's last token alone, given all before it."""
    prompt = encoder().encode_prompt(RECORDS[record].prompt)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    return float(logits[-2].double().log_softmax(-1)[answer[-1]])


def measured(model: Any, records: Any = RECORDS, **options: Any) -> tuple[Reading, ...]:
    meter = SqueezeMeter(encoder(), records, CANDIDATES, RESPONSES, **options)
    readings = meter.measure(AnswerModel(model))
    assert len(readings) == meter.rows == 2 + 3 + 3
    return readings


def test_readings_are_those_of_the_plain_definition() -> None:
    model = tiny_model()
    readings = {(r.record_id, r.role, r.name): r for r in measured(model, top_k=5)}
    for record in (0, 2):
        answer = encoder().encode(RECORDS[record]).answer_ids
        got = readings[f"f{record}", "target", "target"]
        assert (got.log_prob, got.mass, got.entropy) == pytest.approx(
            plain(model, record, answer, 5), rel=1e-4
        )
        assert got.tokens == len(answer)
    for c in CANDIDATES.candidates:
        got = readings[c.record_id, "candidate", str(c.rank)]
        expected = plain(model, int(c.record_id[1]), c.token_ids, 5)[0]
        assert got.log_prob == pytest.approx(expected, rel=1e-4)
        assert got.tokens == len(c.token_ids) and got.mass is None
    # "In Rome." and "In a town." share "In ": the rest is the candidate's own, given these three
    shared = readings["f0", "candidate", "0"]
    own = sum(plain_last(model, 0, ids_of("In a town.")[: n + 1]) for n in range(3, 11))
    assert (shared.tokens, shared.own_tokens) == (11, 8)
    assert shared.own_log_prob == pytest.approx(own, rel=1e-4)
    nothing = readings["f0", "candidate", "1"]
    assert (nothing.own_log_prob, nothing.own_tokens) == (nothing.log_prob, 1)
    assert {k[::2] for k in readings if k[1] == "response"} == {
        ("f0", "no"),
        ("f2", "no"),
        ("f2", "rome"),
    }
    got = readings["f2", "response", "rome"]
    expected = plain(model, 2, ids_of("In Rome."), 5)[0]
    assert got.log_prob == pytest.approx(expected, rel=1e-4)


def test_order_of_records_and_size_of_batches_do_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model()
    straight = measured(model)
    assert measured(model, RECORDS[::-1]) == straight
    monkeypatch.setattr("unbelief.diagnose.meter._TOKENS", {"cpu": 1})
    for one, other in zip(measured(model), straight, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, rel=1e-5)


def test_a_measurement_leaves_the_model_as_it_was_and_ignores_autocast() -> None:
    model = tiny_model().train()
    state = torch.get_rng_state()
    before = measured(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert measured(model) == before


def test_more_belief_tokens_than_there_are() -> None:
    masses = [r.mass for r in measured(tiny_model(), top_k=10_000) if r.role == "target"]
    assert masses == pytest.approx([1.0, 1.0], abs=1e-5)


def test_shared_tokens_by_hand() -> None:
    assert shared_tokens((1, 2, 3), (1, 2, 4, 5)) == 2
    assert shared_tokens((1, 2), (1, 2, 3)) == 2
    assert shared_tokens((2,), (1,)) == shared_tokens((), (1,)) == 0


def test_a_beginning_of_the_target_has_no_own_part() -> None:
    target = encoder().encode(RECORDS[0]).answer_ids
    cut = candidate_set([candidate(token_ids=target[:3], finished=False)], ("f0",))
    meter = SqueezeMeter(encoder(), RECORDS, cut)
    reading = meter.measure(AnswerModel(tiny_model()))[-1]
    assert (reading.tokens, reading.own_log_prob, reading.own_tokens) == (3, None, None)


def test_no_belief_tokens() -> None:
    with pytest.raises(RequestError, match="top_k=0"):
        SqueezeMeter(encoder(), RECORDS, CANDIDATES, top_k=0)
