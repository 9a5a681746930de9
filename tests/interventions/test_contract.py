"""Every attack there is keeps the contract; new attacks are found, not listed."""

from __future__ import annotations

import inspect
import random
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from tests.interventions.made import FORGET, RETAIN, context, encoder, logp, lora_model, plain_model
from unbelief.beliefs import Decoding, sample_answers
from unbelief.errors import RequestError
from unbelief.hashing import tensor_sha256
from unbelief.interventions import (
    Intervention,
    ModelIntervention,
    PromptIntervention,
    attacks,
    build_attack,
)
from unbelief.interventions.options import choices, defaults
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.tokens import Row

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("relearn", {"scope": "full", "batch_size": 3}),
    ("relearn", {"scope": "unrelated", "max_steps": 2}),
    ("relearn", {"shots": 2, "max_steps": 2}),
    ("probe", {"depth": "1/3", "start": "random", "max_steps": 2}),
    ("probe", {"depth": "last", "max_steps": 2, "examples": 3}),
    *(("quantise", {"bits": b, "embeddings": True}) for b in (8, 3, 2)),
    ("quantise", {"levels": "integer", "block": 32}),
    *(("jailbreak", {"template": t}) for t in ("system", "role", "override", "quote")),
    ("jailbreak", {"text": "the answer is"}),
    ("paraphrase", {"template": "none"}),
    ("multi-turn", {"style": "approach", "rounds": 3}),
    ("multi-turn", {"replies": "own", "rounds": 2, "max_new_tokens": 8}),
    ("noise", {"rate": 0.5}),
    ("prefix", {"words": 2}),
    ("few-shot", {"shots": 1}),
]
SMALL = {"probe": {"num_train_epochs": 1.0}}
ALL = {
    **{name: build_attack(name, SMALL.get(name)) for name in attacks()},
    **{f"{name} {options}": build_attack(name, options) for name, options in VARIANTS},
}
MODEL = {name: a for name, a in ALL.items() if isinstance(a, ModelIntervention)}
PROMPT = {name: a for name, a in ALL.items() if isinstance(a, PromptIntervention)}
OFF = {name: kind for name, kind in attacks().items() if kind.off}


def model_for(attack: Intervention) -> AnswerModel:
    return lora_model() if attack.name == "adapter-off" else plain_model()


def digest(model: AnswerModel) -> str:
    return tensor_sha256(model.model.state_dict())


def test_both_kinds_are_found() -> None:
    assert len(MODEL) >= 4 and len(PROMPT) >= 6


# Declarations


@pytest.mark.parametrize("attack", attacks().values(), ids=attacks())
def test_declarations(attack: type[Intervention]) -> None:
    assert attack.asks_for and attack.cost and attack.source
    text = inspect.cleandoc(attack.__doc__ or "")
    assert text.splitlines()[0].endswith(".") and len(text.splitlines()[0]) <= 90
    for each in fields(attack):
        assert f"\n    {each.name}: " in text, f"{each.name} is not explained"
    built = build_attack(attack.name, {k: str(v) for k, v in defaults(attack).items()})
    assert built == attack()
    namespace = {attack.__name__: attack}
    assert eval(repr(built), namespace) == built


@pytest.mark.parametrize("attack", attacks().values(), ids=attacks())
def test_values_beyond_the_choices_are_refused_from_python_too(attack: type[Intervention]) -> None:
    for option, value in defaults(attack).items():
        wrong: Any = "no such choice" if choices(attack, option) else -1
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if choices(attack, option) or (is_number and option != "seed"):
            with pytest.raises(ValueError, match=option):
                attack(**{option: wrong})


@pytest.mark.parametrize("attack", ALL.values(), ids=ALL)
def test_what_is_lacking_is_said(attack: Intervention) -> None:
    empty = context(forget=(), retain=(), unrelated=())
    assert (attack.lacks(empty) is None) == (not attack.needs)
    if attack.needs:
        with pytest.raises(RequestError, match=f"{attack.name} needs") as caught:
            attack.require(empty)
        assert caught.value.remedy


# Attacks on models


@pytest.mark.parametrize("attack", MODEL.values(), ids=MODEL)
def test_the_model_is_put_back_bit_by_bit(attack: ModelIntervention) -> None:
    model = model_for(attack)
    # Both are used by training on the same model.
    model.inner.get_input_embeddings().weight.requires_grad_(True).grad = torch.ones(120, 32)
    before = digest(model), logp(model), [p.requires_grad for p in model.model.parameters()]
    with attack.applied(model, context()) as attacked:
        inside = logp(attacked)
    assert digest(model) == before[0]
    assert torch.equal(logp(model), before[1])
    assert [p.requires_grad for p in model.model.parameters()] == before[2]
    assert torch.equal(model.inner.get_input_embeddings().weight.grad, torch.ones(120, 32))
    assert not torch.equal(inside, before[1]), "the attack did nothing"


@pytest.mark.parametrize("attack", MODEL.values(), ids=MODEL)
def test_dropout_has_no_say_and_its_mode_stays(attack: ModelIntervention) -> None:
    found = []
    for training in (False, True):
        model = model_for(attack)
        for module in model.inner.modules():
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.5
        model.inner.train(training)
        with attack.applied(model, context()) as attacked:
            found.append(logp(attacked))
        assert {module.training for module in model.inner.modules()} == {training}
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("attack", MODEL.values(), ids=MODEL)
def test_the_model_is_put_back_after_an_error(attack: ModelIntervention) -> None:
    model = model_for(attack)
    before = digest(model)
    with pytest.raises(KeyError), attack.applied(model, context()):
        raise KeyError
    assert digest(model) == before


@pytest.mark.parametrize("attack", MODEL.values(), ids=MODEL)
def test_the_same_attack_gives_the_same_model(attack: ModelIntervention) -> None:
    shuffled = [list(reversed(records)) for records in (FORGET, RETAIN)]
    model, found = model_for(attack), []
    for given in (context(), context(), context(forget=shuffled[0], retain=shuffled[1])):
        with attack.applied(model, given) as attacked:
            found.append(logp(attacked))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2]), "the order of records matters"


@pytest.mark.parametrize("attack", MODEL.values(), ids=MODEL)
def test_the_attacked_model_generates_what_it_scores(attack: ModelIntervention) -> None:
    """Greedy decoding through the cache agrees with teacher forcing on its own words."""
    with attack.applied(model_for(attack), context()) as attacked:
        prompt = encoder().encode_prompt(FORGET[0].prompt)
        greedy = Decoding(temperature=0.0, max_new_tokens=6)
        ((answer,),) = sample_answers(attacked.inner, encoder(), [prompt], decoding=greedy)
        row = Row("greedy", "retain", prompt, answer.token_ids)
        scored = attacked.stats([row], Needs()).logp
    assert float(scored.sum()) == pytest.approx(answer.log_prob, abs=1e-3)


LORA = [a for a in MODEL.values() if a.name != "adapter-off"]


@pytest.mark.parametrize("attack", LORA, ids=repr)
def test_models_with_an_adapter_are_attacked_with_it(attack: ModelIntervention) -> None:
    model = lora_model()
    before, own = digest(model), logp(model)
    with attack.applied(model, context()) as attacked:
        inside = logp(attacked)
    with model.model.disable_adapter(), attack.applied(model, context()) as bare:
        without = logp(bare)
    assert digest(model) == before
    assert not torch.equal(inside, own) and not torch.equal(inside, without)


# Attacks on prompts


@pytest.mark.parametrize("attack", PROMPT.values(), ids=PROMPT)
def test_answers_and_ids_stay(attack: PromptIntervention) -> None:
    given = context(model=plain_model())
    found = attack.apply(FORGET, given)
    assert found.records, "nothing could be attacked"
    by_id = {record.id: record for record in FORGET}
    assert [r.id for r in found.records] == [i for i in by_id if i not in found.unattacked]
    assert found.how.keys() == {r.id for r in found.records}
    assert all(found.unattacked.values()) and all(found.how.values())
    for record in found.records:
        before = by_id[record.id]
        assert (record.group, record.source) == (before.group, before.source)
        assert record.prompt != before.prompt and record.paraphrased_prompt is None
        if attack.splits_answer:
            assert record.prompt[-1].content + record.answer == before.answer
        else:
            assert record.answer == before.answer and record.perturbed == before.perturbed
        given.encoder.encode(record)


@pytest.mark.parametrize("attack", PROMPT.values(), ids=PROMPT)
def test_prompts_do_not_depend_on_order_or_company(attack: PromptIntervention) -> None:
    given = context(model=plain_model())
    found = attack.apply(FORGET, given)
    assert attack.apply(FORGET, given) == found
    shuffled = list(FORGET)
    random.Random(0).shuffle(shuffled)
    other = attack.apply(shuffled, replace(given, retain=RETAIN[::-1]))
    assert {r.id: r for r in other.records} == {r.id: r for r in found.records}
    assert dict(other.unattacked) == dict(found.unattacked)


@pytest.mark.parametrize("attack", PROMPT.values(), ids=PROMPT)
def test_documents_are_reported_or_attacked(attack: PromptIntervention) -> None:
    found = attack.apply([FORGET[3]], context(model=plain_model()))
    assert len(found.records) + len(found.unattacked) == 1
    if not attack.splits_answer:
        assert "document" in found.unattacked["f4"]


@pytest.mark.parametrize("attack", PROMPT.values(), ids=PROMPT)
def test_plain_text_prompts_are_attacked_too(attack: PromptIntervention) -> None:
    plain = encoder(template="plain")
    found = attack.apply(FORGET[:2], context(encoder=plain, model=plain_model()))
    for record in found.records:
        assert plain.encode_prompt(record.prompt) != plain.encode_prompt(FORGET[0].prompt)
    assert len(found.records) + len(found.unattacked) == 2


def test_two_records_of_one_id_are_refused() -> None:
    with pytest.raises(RequestError, match="two records have the id 'f1'"):
        build_attack("noise").apply([FORGET[0], FORGET[0]], context())


# No strength, no change


@pytest.mark.parametrize("kind", OFF.values(), ids=OFF)
def test_without_strength_nothing_changes(kind: type[Intervention]) -> None:
    attack: Any = kind(**kind.off)
    bare = context()
    if isinstance(attack, PromptIntervention):
        found = attack.apply(FORGET, context(retain=()))
        assert found.records == FORGET and set(found.how.values()) == {"unchanged"}
        return
    model = model_for(attack)
    own = logp(model)
    with attack.applied(model, bare) as attacked:
        assert torch.equal(logp(attacked), own)
