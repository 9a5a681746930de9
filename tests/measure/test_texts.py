"""Texts are what the sampler gives each record, whatever else is asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.helpers import EOS, tiny_model, tiny_tokenizer
from tests.measure.common import BEGUN, GREEDY, SAMPLED, answer_model, encoder, record, records
from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.sampler import sample_answers
from unbelief.measure.jobs import Ask, Place
from unbelief.measure.plan import Plan
from unbelief.measure.prepare import prepare
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import TextMeasurement, TextNeed
from unbelief.measure.texts import answer_asks, prompts_at_once, text_batches
from unbelief.models.runner import AnswerModel
from unbelief.tokens import Encoder
from unbelief.types import Record


def texts(its: list[Record], *needs: TextNeed, by: Encoder | None = None, **model: Any) -> Any:
    """Texts per record id and need."""
    plan = Plan({"s": its}, {"s": needs})
    examples = measure_examples(answer_model(**model), by or encoder(), plan)["s"]
    return {example.record.id: example.texts for example in examples}


@pytest.mark.parametrize("need", [GREEDY, SAMPLED, TextNeed(Decoding(num_beams=3), samples=2)])
def test_texts_are_the_samplers_with_the_records_id_as_key(need: TextNeed) -> None:
    found = texts(records(3), need)
    for r in records(3):
        (want,) = sample_answers(
            tiny_model(),
            encoder(),
            [encoder().encode_prompt(r.prompt)],
            decoding=need.decoding,
            samples=need.samples,
            keys=[r.id],
        )
        got = found[r.id][need]
        assert [t.token_ids for t in got] == [s.token_ids for s in want]
        assert [t.log_prob for t in got] == pytest.approx([s.log_prob for s in want], abs=1e-4)
        assert [t.finished for t in got] == [s.finished for s in want]
        assert [t.text for t in got] == [encoder().decode(s.token_ids) for s in want]


def test_company_changes_nothing() -> None:
    alone = texts([record(2)], SAMPLED)["r2"]
    others = texts([record(5), record(2), record(0, prompt="What " * 12)], GREEDY, SAMPLED)["r2"]
    assert [t.text for t in others[SAMPLED]] == [t.text for t in alone[SAMPLED]]


def test_records_of_one_prompt_have_their_own_noise_and_one_greedy_answer() -> None:
    found = texts([record(0), record(0, id="twin")], GREEDY, SAMPLED)
    assert found["r0"][GREEDY] == found["twin"][GREEDY]
    assert [t.text for t in found["r0"][SAMPLED]] != [t.text for t in found["twin"][SAMPLED]]


def test_the_model_goes_on_from_the_prefix() -> None:
    found = texts([record(1)], BEGUN)["r1"][BEGUN][0]
    ids = encoder().encode_prompt(record(1).prompt) + encoder()._ids("She ")
    (want,) = sample_answers(tiny_model(), encoder(), [ids], decoding=BEGUN.decoding)
    assert found.token_ids == want[0].token_ids


def test_an_empty_answer_is_a_text() -> None:
    inner = tiny_model("phi")  # has a bias in its output embedding
    with torch.no_grad():
        inner.lm_head.bias[EOS] = 1e4
    plan = Plan({"s": [record(0)]}, {"s": (GREEDY,)})
    (example,) = measure_examples(AnswerModel(inner), encoder(), plan)["s"]
    (text,) = example.texts[GREEDY]
    assert (text.text, text.token_ids, text.finished) == ("", (EOS,), True)


def test_a_short_context_cuts_the_answer_and_says_it_is_unfinished() -> None:
    n = len(encoder().encode_prompt(record(0).prompt))
    plan = Plan({"s": [record(0), record(1)]}, {"s": (GREEDY,)})
    inner = tiny_model("phi")
    inner.config.max_position_embeddings = n + 4
    with torch.no_grad():  # never ends by itself
        inner.lm_head.bias[EOS] = -1e4
    short, shorter = measure_examples(AnswerModel(inner), encoder(), plan)["s"]
    assert [len(e.texts[GREEDY][0].token_ids) for e in (short, shorter)] == [4, 3]
    assert not short.texts[GREEDY][0].finished


@pytest.mark.parametrize("pad", ["own", "eos", "none"])
@pytest.mark.parametrize("chat", [True, False])
def test_tokenizers_without_padding_or_template(chat: bool, pad: Any) -> None:
    by = Encoder(tiny_tokenizer(chat=chat, pad=pad))
    found = texts(records(3), GREEDY, by=by)
    assert all(isinstance(its[GREEDY][0], TextMeasurement) for its in found.values())


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_hidden_positions_are_those_of_generate(family: str) -> None:
    """Transformers' own loop with the same mask, which counts positions without what is hidden."""
    inner, decoding = tiny_model(family), Decoding(temperature=0.0, max_new_tokens=8)
    need = TextNeed(decoding)
    ids = [encoder().encode_prompt(r.prompt) for r in records(3)]
    hidden = [(0, len(ids[0]) - 4, len(ids[0]) - 3), (), (3,)]
    asks = [Ask("", i, h, 8, [Place(0, 0, 0)]) for i, h in zip(ids, hidden, strict=True)]
    found = answer_asks(AnswerModel(inner), encoder(), need, asks)
    differs = []
    for ask, said in zip(asks, found, strict=True):
        mask = torch.ones(1, len(ask.prompt_ids), dtype=torch.long)
        differs.append(said.texts[0].token_ids != generated(inner, ask, mask))
        mask[0, list(ask.hidden)] = 0
        assert said.texts[0].token_ids == generated(inner, ask, mask)
    assert differs[0] and not differs[1]  # or hiding would change nothing


def generated(model: Any, ask: Ask, mask: torch.Tensor) -> tuple[int, ...]:
    out = model.generate(
        input_ids=torch.tensor([ask.prompt_ids]),
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=8,
        eos_token_id=EOS,
    )
    return tuple(out[0, len(ask.prompt_ids) :].tolist())


def test_the_sampler_wants_hidden_positions_for_every_prompt() -> None:
    with pytest.raises(ValueError, match="2 prompts but hidden positions of 1"):
        sample_answers(
            tiny_model(), encoder(), [(7,), (8,)], decoding=GREEDY.decoding, hidden=[(0,)]
        )


def test_batches_have_one_limit_and_answers_of_similar_lengths() -> None:
    def ask(length: int, limit: int, expected: int) -> Ask:
        return Ask("", (7,) * length, (), limit, [], (8,) * expected)

    # The third is the only one with its limit; of the others, expected lengths 40 and 30 go first,
    # and of the two equal ones the longer prompt.
    asks = [ask(3, 9, 10), ask(8, 9, 40), ask(20, 5, 99), ask(5, 9, 10), ask(4, 9, 30)]
    shapes = [[(len(a.prompt_ids), a.limit) for a in b] for b in text_batches(asks, 2)]
    assert shapes == [[(8, 9), (4, 9)], [(5, 9), (3, 9)], [(20, 5)]]


@pytest.mark.parametrize(("samples", "beams"), [(1, 1), (16, 1), (2, 20)])
def test_prompts_at_once_leave_room_for_samples_and_beams(samples: int, beams: int) -> None:
    work = prepare(Plan({"s": records(2)}, {"s": (GREEDY,)}), encoder(), None)
    need = TextNeed(Decoding(max_new_tokens=4, num_beams=beams), samples=samples)
    # A tiny model on a CPU decodes 256 answers of at most 48 prompts at once.
    expected = min(48, 256 // max(samples, beams))
    assert prompts_at_once(answer_model(), need, work.asks[0]) == expected
