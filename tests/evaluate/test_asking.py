"""The encoder an evaluation asks with, and what is recorded of a request."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agreement import plain
from tests.helpers import EOS, tiny_model, tiny_tokenizer
from unbelief.errors import RequestError
from unbelief.evaluate import Evaluation
from unbelief.evaluate.asking import check_source, cut_answers, make_encoder, recorded
from unbelief.models.load import LoadedModel, in_memory
from unbelief.suites.base import ItemSets
from unbelief.suites.registry import suite_kind
from unbelief.tokens import Encoder
from unbelief.types import Record

OWN, MUSE = suite_kind("own"), suite_kind("muse")


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return in_memory(tiny_model("llama"), tiny_tokenizer())


def wanted(**changes: object) -> Evaluation:
    return Evaluation(**{"model": "m", "suite": "own", **changes})  # type: ignore[arg-type]


def test_the_suite_decides_where_nothing_is_said(loaded: LoadedModel):
    assert make_encoder(wanted(), OWN, loaded).describe()["template"] == "chat"
    assert make_encoder(wanted(), MUSE, loaded).describe()["template"] == "plain"
    assert make_encoder(wanted(template="chat"), MUSE, loaded).describe()["template"] == "chat"
    assert make_encoder(wanted(), OWN, loaded).max_length == 256  # the model's own limit


def test_open_unlearnings_encoder_gets_its_tags_and_stops(loaded: LoadedModel):
    theirs = wanted(convention="open-unlearning")
    assert make_encoder(theirs, OWN, loaded).describe()["stop_ids"] == f"({EOS},)"
    with_penalty = copy.deepcopy(loaded.model)
    with_penalty.generation_config.repetition_penalty = 1.1
    encoder = make_encoder(theirs, OWN, replace(loaded, model=with_penalty))
    assert encoder.repetition_penalty == encoder.describe()["repetition_penalty"] == 1.1
    tagged = make_encoder(replace(theirs, template="base-model"), MUSE, loaded)
    assert "Question: " in str(tagged.describe()["tags"])
    with pytest.raises(RequestError, match="decides by itself about end tokens"):
        make_encoder(replace(theirs, end_token=False), OWN, loaded)


def test_answers_are_cut_by_the_models_own_tokens():
    # One token per character, and a BOS that counts, as it does where MUSE cuts.
    encoder = Encoder(tiny_tokenizer(add_bos=True, chat=False))
    record = Record(id="1", prompt="p", answer="abcdef")
    items = ItemSets(
        sets={"verbatim": (record,), "other": (record,)}, answer_tokens={"verbatim": 4}
    )
    cut = cut_answers(items, encoder)
    assert cut.sets["verbatim"][0].answer == "abc"
    assert cut.sets["other"][0] is record
    short = replace(items, answer_tokens={"verbatim": 7})
    assert cut_answers(short, encoder).sets["verbatim"][0] is record


@pytest.mark.parametrize("limit", [9, 12, 16, 40])
def test_rows_are_cut_as_open_unlearning_cuts_them(limit: int):
    # Its rows of question and answer, here without words around them.
    encoder = Encoder(tiny_tokenizer("bpe", add_bos=True, chat=False))
    record = Record(id="1", prompt="who is that? ", answer="the other")
    items = ItemSets(sets={"k": (record,), "other": (record,)}, row_tokens={"k": limit})
    cut = cut_answers(items, encoder)
    (ours,), (other,) = cut.sets["k"], cut.sets["other"]
    template = plain.Template(tags=("", "", "", ""), max_length=limit)
    theirs = plain.question_item(encoder.tokenizer, template, "who is that? ", "the other")
    assert list(encoder.encode_prompt(ours.prompt)) == theirs.prompt_ids
    assert ours.answer.strip() == plain.true_texts(encoder.tokenizer, [theirs])[0]
    assert other is record


def test_requests_are_recorded_as_plain_values(loaded: LoadedModel):
    request = wanted(model=loaded, retrained=Path("r"), metrics=("a",), columns={"prompt": "q"})
    values = recorded(request)
    assert json.loads(json.dumps(values)) == values
    assert (values["model"], values["retrained"], values["metrics"]) == ("in memory", "r", ["a"])


def test_folders_without_a_model_are_told_before_anything_runs(tmp_path: Path):
    check_source(None)
    check_source("org/name")  # the hub is asked when its turn comes
    with pytest.raises(RequestError, match=r"no config\.json"):
        check_source(str(tmp_path))
