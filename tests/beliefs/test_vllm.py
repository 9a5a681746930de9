"""The calls that vLLM 0.32 expects, and what is made of its answers; vLLM itself is not needed."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.beliefs.common import encoder, prompts, records
from tests.helpers import EOS
from unbelief.beliefs import Decoding, Sampled
from unbelief.beliefs.vllm import fill_bank_vllm, load_engine, sample_answers_vllm
from unbelief.errors import GuardError, RequestError


class FakeEngine:
    """Answers the sample's seed modulo 7, then the end token, at log-probability -1 each."""

    def __init__(self, **options: Any):
        self.options = options
        self.calls: list[tuple[list[Any], Any]] = []
        self.reason = "stop"
        self.llm_engine = SimpleNamespace(
            model_config=SimpleNamespace(logprobs_mode=options.get("logprobs_mode"))
        )

    def get_tokenizer(self) -> Any:
        return SimpleNamespace(eos_token_id=EOS)

    def generate(self, requests: list[Any], params: list[Any], *, use_tqdm: bool) -> list[Any]:
        self.calls.append((requests, params))
        return [SimpleNamespace(outputs=[self._output(p)]) for p in params]

    def _output(self, params: Any) -> Any:
        first = 10 + (params.seed or 0) % 7
        ids = [first, EOS] if self.reason == "stop" else [first]
        steps = [{token: SimpleNamespace(logprob=-1.0)} for token in ids]
        return SimpleNamespace(token_ids=ids, logprobs=steps, finish_reason=self.reason)

    def beam_search(self, requests: list[Any], params: Any, *, use_tqdm: bool) -> list[Any]:
        self.calls.append((requests, params))
        found = [([10, EOS], -1.0), ([11, 12], -2.0), ([13, EOS], -3.0)]
        return [
            SimpleNamespace(
                sequences=[
                    SimpleNamespace(tokens=r["prompt_token_ids"] + ids, cum_logprob=p)
                    for ids, p in found[: params.beam_width]
                ]
            )
            for r in requests
        ]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    fake = SimpleNamespace(LLM=FakeEngine, SamplingParams=SimpleNamespace)
    fake.BeamSearchParams = SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", fake)
    started: FakeEngine = load_engine("folder")
    return started


def test_the_engine_is_started_without_hidden_defaults(engine: FakeEngine) -> None:
    assert engine.options["generation_config"] == "vllm"
    assert engine.options["logprobs_mode"] == "raw_logprobs"
    assert engine.options["dtype"] == "bfloat16"


def test_every_option_that_could_act_is_passed(engine: FakeEngine) -> None:
    decoding = Decoding(temperature=0.7, top_k=5, top_p=0.9, max_new_tokens=9)
    answers = sample_answers_vllm(engine, encoder(), prompts()[:2], decoding=decoding, samples=3)
    ((requests, params),) = engine.calls
    assert [r["prompt_token_ids"] for r in requests] == [
        list(p) for p in prompts()[:2] for _ in range(3)
    ]
    first = vars(params[0])
    assert (first["temperature"], first["top_k"], first["top_p"]) == (0.7, 5, 0.9)
    assert (first["max_tokens"], first["min_tokens"], first["n"]) == (9, 0, 1)
    assert first["min_p"] == first["presence_penalty"] == first["frequency_penalty"] == 0
    assert first["repetition_penalty"] == 1
    assert first["stop_token_ids"] == [EOS] and first["ignore_eos"] is True
    assert first["logprobs"] == 0 and first["stop"] is None
    assert len({p.seed for p in params}) == 6 and all(0 <= p.seed < 1 << 63 for p in params)
    assert [len(its) for its in answers] == [3, 3]
    assert answers[0][0] == Sampled((10 + params[0].seed % 7, EOS), -2.0, True)


def test_seeds_follow_the_key_not_the_place(engine: FakeEngine) -> None:
    one = sample_answers_vllm(
        engine, encoder(), prompts()[:2], decoding=Decoding(), keys=["a", "b"]
    )
    two = sample_answers_vllm(engine, encoder(), prompts()[1:2], decoding=Decoding(), keys=["b"])
    assert one[1] == two[0]


def test_greedy_has_no_seed(engine: FakeEngine) -> None:
    sample_answers_vllm(engine, encoder(), prompts()[:1], decoding=Decoding(temperature=0))
    ((_, params),) = engine.calls
    assert params[0].temperature == 0 and params[0].seed is None


def test_a_cut_answer_is_unfinished_and_a_broken_one_an_error(engine: FakeEngine) -> None:
    engine.reason = "length"
    ((answer,),) = sample_answers_vllm(engine, encoder(), prompts()[:1], decoding=Decoding())
    assert not answer.finished and answer.token_ids[-1] != EOS
    engine.reason = "abort"
    with pytest.raises(GuardError, match="abort"):
        sample_answers_vllm(engine, encoder(), prompts()[:1], decoding=Decoding())


def test_beam_search_ranks_by_summed_log_probability(engine: FakeEngine) -> None:
    decoding = Decoding(num_beams=3, max_new_tokens=2)
    answers = sample_answers_vllm(engine, encoder(), prompts()[:1], decoding=decoding, samples=2)
    ((_, params),) = engine.calls
    assert (params.beam_width, params.max_tokens, params.length_penalty) == (3, 2, 0.0)
    assert params.ignore_eos is False
    assert answers == [[Sampled((10, EOS), -1.0, True), Sampled((11, 12), -2.0, False)]]


def test_beam_search_with_another_end_token_is_refused(engine: FakeEngine) -> None:
    other = encoder()
    other.end_id = 50
    with pytest.raises(RequestError, match="Transformers engine"):
        sample_answers_vllm(engine, other, prompts()[:1], decoding=Decoding(num_beams=2))


def test_an_engine_with_processed_log_probabilities_is_refused(engine: FakeEngine) -> None:
    engine.llm_engine.model_config.logprobs_mode = "processed_logprobs"
    with pytest.raises(RequestError, match="raw_logprobs"):
        sample_answers_vllm(engine, encoder(), prompts()[:1], decoding=Decoding())


def test_a_bank_filled_by_vllm_says_so(engine: FakeEngine) -> None:
    bank = fill_bank_vllm(engine, encoder(), records(), 2, Decoding(), model_sha256="m")
    assert bank.meta.engine == "vllm" and bank.meta.model_sha256 == "m"
    assert bank.stats().n == 2 * len(records())


def test_without_vllm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(RequestError, match=r"unbelief\[vllm\]"):
        load_engine("folder")
