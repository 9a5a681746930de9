"""Greedy answers and ROUGE: left-padded `generate` against the package's own decode loop."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.agreement import plain
from tests.agreement.made import (
    ASKED,
    half_taught_model,
    made_encoder,
    made_records,
    made_tokenizer,
    template_of,
)
from tests.helpers import PAD, tiny_model
from unbelief.beliefs.decoding import Decoding
from unbelief.evaluate.asking import make_encoder
from unbelief.evaluate.request import Evaluation
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import AnswerNeed, Example, TextNeed
from unbelief.models.inside import context_of
from unbelief.models.runner import AnswerModel
from unbelief.scores.conventions import metric
from unbelief.suites.registry import suite_kind
from unbelief.tokens.open_unlearning import OpenUnlearningEncoder, Tags
from unbelief.types import Record

NEW = 20
GREEDY = TextNeed(Decoding(temperature=0.0, max_new_tokens=NEW))
LONG = TextNeed(Decoding(temperature=0.0, max_new_tokens=60))


def told(model: Any, family: str, records: tuple[Record, ...]) -> tuple[Example, ...]:
    plan = Plan({"forget": records}, {"forget": (GREEDY,)})
    return measure_examples(AnswerModel(model), made_encoder(family), plan)["forget"]


def items(family: str, records: tuple[Record, ...]) -> list[plain.Item]:
    tokenizer, template = made_tokenizer(family), template_of(family)
    return [plain.question_item(tokenizer, template, str(r.prompt), r.answer) for r in records]


@pytest.mark.parametrize("family", ASKED)
def test_greedy_texts_are_the_same(family: str) -> None:
    # For llama3 and zephyr ends of turns in the prompt are hidden and not counted in positions.
    # What a random model says differs from prompt to prompt; a taught one ends its answers.
    records, tokenizer = made_records("forget"), made_tokenizer(family)
    rows, said = items(family, records), set[str]()
    untaught = tiny_model()
    untaught.generation_config.eos_token_id = tokenizer.eos_token_id
    for model in (untaught, half_taught_model(family)):
        examples = told(model, family, records)
        theirs = plain.generations(tokenizer, model, rows, NEW)
        assert [example.texts[GREEDY][0].text.strip() for example in examples] == theirs
        said.update(theirs)
        for kind, values in plain.rouge(theirs, plain.true_texts(tokenizer, rows)).items():
            one = metric(kind, "open-unlearning", {"max_new_tokens": NEW})
            np.testing.assert_allclose([one.score(e).value for e in examples], values, atol=1e-12)
    assert len(said) > len(records) // 2


@pytest.mark.parametrize("end", [None, PAD])
def test_only_the_models_own_settings_end_an_answer(end: int | None) -> None:
    # A taught model says its eos, and goes on where its generation settings name none, or another.
    family, records = "llama3", made_records("forget")
    model = copy.deepcopy(half_taught_model(family))
    model.generation_config.eos_token_id = end
    tokenizer = made_tokenizer(family)
    encoder = make_encoder(
        Evaluation(
            model="",
            suite="own",
            convention="open-unlearning",
            system_prompt=template_of(family).system,
            date_string=template_of(family).date,
        ),
        suite_kind("own"),
        SimpleNamespace(model=model, tokenizer=tokenizer),  # type: ignore[arg-type]
    )
    plan = Plan({"forget": records}, {"forget": (LONG,)})
    examples = measure_examples(AnswerModel(model), encoder, plan)["forget"]
    said = [example.texts[LONG][0] for example in examples]
    theirs = plain.generations(tokenizer, model, items(family, records), 60)
    assert [one.text.strip() for one in said] == theirs
    assert any(tokenizer.eos_token_id in one.token_ids[:-1] for one in said)


@pytest.mark.parametrize("family", ["llama3", "qwen", "tags"])
def test_the_models_own_repetition_penalty_is_heeded(family: str) -> None:
    records, tokenizer = made_records("forget"), made_tokenizer(family)
    rows, model = items(family, records), copy.deepcopy(half_taught_model(family))
    model.generation_config.repetition_penalty = 1.3
    encoder = made_encoder(family, repetition_penalty=1.3)
    plan = Plan({"forget": records}, {"forget": (GREEDY, AnswerNeed("answer"))})
    examples = measure_examples(AnswerModel(model), encoder, plan)["forget"]
    theirs = plain.generations(tokenizer, model, rows, NEW)
    assert [example.texts[GREEDY][0].text.strip() for example in examples] == theirs
    assert theirs != plain.generations(tokenizer, half_taught_model(family), rows, NEW)


def test_rows_beyond_the_stated_context_are_neither_cut_nor_shortened() -> None:
    family, records = "qwen", made_records("forget")
    model, tokenizer, rows = (
        half_taught_model(family),
        made_tokenizer(family),
        items(family, records),
    )
    plan = Plan({"forget": records}, {"forget": (GREEDY, AnswerNeed("answer"))})
    short = copy.deepcopy(model)
    short.config.max_position_embeddings = min(len(row.prompt_ids) for row in rows) - 1
    examples = measure_examples(AnswerModel(short), made_encoder(family), plan)["forget"]
    theirs = plain.generations(tokenizer, model, rows, NEW)
    assert [example.texts[GREEDY][0].text.strip() for example in examples] == theirs
    losses = [metric("loss", "open-unlearning").score(example).value for example in examples]
    assert losses == pytest.approx(
        plain.average_losses(model, rows, plain.pad_id_of(tokenizer)), abs=1e-4
    )


@pytest.mark.parametrize(("family", "limit"), [("llama", None), ("gpt2", 256)])
def test_learnt_positions_end_in_any_case(family: str, limit: int | None) -> None:
    model = tiny_model(family)
    assert context_of(model, stated=False) == limit
    assert context_of(model) == 256


def test_the_prompt_asked_is_the_prompt_tokenised_alone() -> None:
    # "... t" + "he": in the scored row " th" is one token, and asked there is no "h" to merge with.
    family, template = "plain", plain.Template(tags=("", "", "", ""))
    encoder = OpenUnlearningEncoder(made_tokenizer(family), tags=Tags())
    records = tuple(
        Record(id=str(i), prompt=prompt, answer="he inn")
        for i, prompt in enumerate(("who is in t", "where is an", "the"))
    )
    rows = [
        plain.question_item(encoder.tokenizer, template, str(r.prompt), r.answer) for r in records
    ]
    assert [tuple(row.prompt_ids) == tuple(row.ids[: len(row.prompt_ids)]) for row in rows] == [
        False,
        True,
        True,
    ]
    model = half_taught_model("tags")
    plan = Plan({"forget": records}, {"forget": (GREEDY,)})
    examples = measure_examples(AnswerModel(model), encoder, plan)["forget"]
    theirs = plain.generations(encoder.tokenizer, model, rows, NEW)
    assert [example.texts[GREEDY][0].text.strip() for example in examples] == theirs
