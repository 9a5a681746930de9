"""A small model that knows TOFU is measured as such."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.measure.common import assert_measured, by_definition
from unbelief.beliefs.decoding import Decoding
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import AnswerNeed, TextNeed
from unbelief.models.load import load_model
from unbelief.models.runner import AnswerModel
from unbelief.tokens import Encoder
from unbelief.types import Record

GREEDY = TextNeed(Decoding(temperature=0.0, max_new_tokens=100))


@pytest.fixture(scope="module")
def rows(shared_dir: Path) -> list[Record]:
    lines = (shared_dir / "data/tofu/forget10_perturbed.jsonl").read_text().splitlines()[:6]
    return [
        Record(
            id=str(i),
            prompt=row["question"],
            answer=row["answer"],
            paraphrases=(row["paraphrased_answer"],),
            perturbed=tuple(row["perturbed_answer"]),
        )
        for i, row in enumerate(map(json.loads, lines))
    ]


@pytest.mark.parametrize(("name", "knows"), [("full", True), ("retain90", False)])
def test_packs_say_what_the_models_own_logits_say(
    shared_dir: Path, rows: list[Record], name: str, knows: bool
) -> None:
    loaded = load_model(shared_dir / "models/tofu-tiny" / name, device="cpu")
    encoder = Encoder(loaded.tokenizer)
    kinds = {
        AnswerNeed(): "answer",
        AnswerNeed("paraphrase"): "paraphrases",
        AnswerNeed("perturbed"): "perturbed",
    }
    plan = Plan({"s": rows}, {"s": (*kinds, GREEDY)})
    examples = measure_examples(AnswerModel(loaded.model), encoder, plan)["s"]
    for example in examples:
        for need, field in kinds.items():
            texts = getattr(example.record, field)
            texts = (texts,) if isinstance(texts, str) else texts
            for found, text in zip(example.answers[need], texts, strict=True):
                e = encoder.encode(example.record, answer=text)
                want = by_definition(loaded.model, e.prompt_ids, e.answer_ids)
                assert_measured(found, want, tolerance=1e-3, moments=need.moments)
    true = np.mean([e.answers[AnswerNeed()][0].logp.mean() for e in examples])
    false = np.mean([a.logp.mean() for e in examples for a in e.answers[AnswerNeed("perturbed")]])
    said = [e.texts[GREEDY][0].text == e.record.answer for e in examples]
    assert (true > -0.2, np.mean(said) > 0.5) == (knows, knows)
    assert not knows or true - false > 2
