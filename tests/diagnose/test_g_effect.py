"""Gradient effects: against plain autograd, additive, and the same however rows are batched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import tiny_model, tiny_tokenizer
from tests.train.common import FORGET, RETAIN
from unbelief.diagnose.effect_meter import EffectMeter
from unbelief.diagnose.effect_rows import Sides
from unbelief.diagnose.effects import Gradients, Reading, effects
from unbelief.diagnose.parts import Part, parts_of
from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.runner import AnswerModel
from unbelief.objectives import (
    BSS,
    DPO,
    GA,
    KL,
    NLL,
    NPO,
    RMU,
    WGA,
    HiddenMatch,
    Objective,
    Rectified,
    Transplant,
    build_objective,
)
from unbelief.tokens import Encoder

ENCODER = Encoder(tiny_tokenizer())
TINY = {"samples": 2, "max_new_tokens": 5}


def sides(objective: Objective, model: AnswerModel | None = None, **given: Any) -> Sides:
    original = model or AnswerModel(tiny_model())
    return Sides.of(original, ENCODER, objective, FORGET, RETAIN, **given)


def measured(
    objective: Objective,
    *,
    at: AnswerModel | None = None,
    pointwise: Sequence[int] = (),
    rows_per_forward: int = 16,
    **given: Any,
) -> Reading:
    """At the original model, unless another is given."""
    made = sides(objective, rows_per_forward=rows_per_forward)
    return EffectMeter(made, pointwise, **given).measure(at or AnswerModel(tiny_model()))


def moved() -> AnswerModel:
    """A model that is not the original any more."""
    return AnswerModel(tiny_model(seed=1))


def log_probs(model: Any, record: Any) -> Tensor:
    e = ENCODER.encode(record)
    ids = torch.tensor([[*e.prompt_ids, *e.answer_ids]])
    logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return logp.gather(1, ids[0, 1:, None])[-len(e.answer_ids) :, 0]


def flat(model: Any, loss: Tensor) -> Tensor:
    found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten().double()
            for g, p in zip(found, model.parameters(), strict=True)
        ]
    )


def risk(model: Any, records: Any) -> Tensor:
    return -torch.stack([log_probs(model, r).mean() for r in records]).mean()


def close(found: Any, expected: Any) -> None:
    assert found == pytest.approx(expected, rel=2e-4, abs=1e-6)


def test_effects_are_inner_products_of_plain_gradients() -> None:
    """WGA by its formula, with the retain term: nothing is shared with the head but the model."""
    model = tiny_model(seed=1)
    forget, retain = flat(model, risk(model, FORGET)), flat(model, risk(model, RETAIN))
    own = [log_probs(model, r) for r in FORGET]
    wga = torch.stack([(p.detach().exp() * p).mean() for p in own]).mean()
    term = flat(model, 0.7 * wga)
    reading = measured(
        Objective(WGA(alpha=1.0), NLL(), forget_weight=0.7, retain_weight=2.0), at=moved()
    )
    close(reading.effects["forget_term"].totals, (float(forget @ term), float(retain @ term)))
    kept = (2 * float(forget @ retain), 2 * float(retain @ retain))
    close(reading.effects["retain_term"].totals, kept)
    close(reading.forget_risk, float(risk(model, FORGET).detach()))
    close(reading.retain_risk, float(risk(model, RETAIN).detach()))
    close(reading.risk_norms, (float(forget.norm()), float(retain.norm())))
    close(reading.effects["forget_term"].norm, float(term.norm()))


def test_signs_by_hand() -> None:
    """Ascent on the forget risk is minus its square; descent on the retain risk plus its own."""
    reading = measured(GA() + NLL())
    on_forget, _ = reading.effects["forget_term"].totals
    close(on_forget, -(reading.risk_norms[0] ** 2))
    _, on_retain = reading.effects["retain_term"].totals
    close(on_retain, reading.risk_norms[1] ** 2)


@pytest.mark.parametrize("risk_index", [0, 1], ids=["forget", "retain"])
def test_minus_eta_times_the_effect_is_what_a_step_does(risk_index: int) -> None:
    """Central differences along the step: the sign convention as a change of the risk."""
    model, eta = tiny_model(), 1e-3
    made = measured(GA() + NLL()).effects["forget_term"].totals[risk_index]
    loss = -risk(model, FORGET)  # gradient ascent minimises log π
    grads = torch.autograd.grad(loss, list(model.parameters()))
    at = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, g in zip(model.parameters(), grads, strict=True):
                p -= sign * eta * g
            at.append(float(risk(model, (FORGET, RETAIN)[risk_index]).detach()))
            for p, g in zip(model.parameters(), grads, strict=True):
                p += sign * eta * g
    assert (at[0] - at[1]) / 2 == pytest.approx(-eta * made, rel=1e-2)


def test_by_hand_on_two_parameters() -> None:
    # Model parts a (one weight) and b (two); all gradients written down.
    def vector(a: float, b: tuple[float, float]) -> dict[str, Tensor]:
        return {"a.w": torch.tensor([a]), "b.w": torch.tensor(b)}

    found = Gradients(
        vector(1.0, (2.0, 0.0)), vector(-1.0, (0.0, 3.0)), vector(-2.0, (1.0, 1.0)), None, (0, 0)
    )
    parts = [Part("a", "a", ("a.w",), 1), Part("b", "b", ("b.w",), 2)]
    made = effects(found, found.forget_term, parts)
    assert made.on_forget == {"a": -2.0, "b": 2.0}  # 1·-2; 2·1 + 0·1
    assert made.on_retain == {"a": 2.0, "b": 3.0}  # -1·-2; 0·1 + 3·1
    assert made.totals == (0.0, 5.0)
    assert made.norm == pytest.approx(math.sqrt(6))


@pytest.mark.parametrize("family", ["llama", "llama-tied", "gpt2"])
def test_parts_are_all_parameters_once_and_sum_to_the_whole(family: str) -> None:
    model = AnswerModel(tiny_model(family))
    parts = parts_of(model)
    names = [n for part in parts for n in part.parameters]
    assert sorted(names) == sorted(n for n, _ in model.model.named_parameters())
    assert sum(p.size for p in parts) == sum(p.numel() for p in model.model.parameters())
    head = ["embedding and head"] if family != "llama" else ["embedding", "head"]
    assert {p.name for p in parts} == {*head, "layer 0", "layer 1", "other"}
    assert [p.stage for p in parts if p.name.startswith("layer")] == ["shallow", "middle"]

    reading = EffectMeter(sides(GA() + NLL(), model)).measure(model)
    plain: Any = tiny_model(family)
    forget, retain = flat(plain, risk(plain, FORGET)), flat(plain, risk(plain, RETAIN))
    close(reading.effects["forget_term"].totals, (-float(forget @ forget), -float(retain @ forget)))


def test_adapters_belong_to_the_layers_they_adapt() -> None:
    adapted = AnswerModel(add_lora(tiny_model(), LoraOptions(r=2, alpha=4)))
    assert [p.name for p in parts_of(adapted)] == ["layer 0", "layer 1"]
    assert all("lora" in n for p in parts_of(adapted) for n in p.parameters)


@pytest.mark.parametrize(
    "objective",
    [
        NPO() + NLL(),
        0.5 * GA() + 2.0 * KL(),
        RMU(layer=0) + HiddenMatch(layer=0),
        Objective(GA(), NLL(), reduction="token_mean"),
        BSS(inner=NPO(), **TINY) + NLL(),  # type: ignore[arg-type]
    ],
    ids=lambda o: o.forget.name,
)
def test_effects_of_terms_and_records_add_up(objective: Objective) -> None:
    reading = measured(objective, at=moved(), pointwise=range(len(FORGET)))
    term, kept, step = (reading.effects[n] for n in ("forget_term", "retain_term", "step"))
    for i in range(2):
        whole = term.totals[i]
        slack = 1e-5 * term.norm * reading.risk_norms[i]
        assert abs(sum(r.share[i] for r in reading.records) - whole) < slack
        assert step.totals[i] == pytest.approx(whole + kept.totals[i], rel=1e-9)
        for name in step.on_forget:
            assert step.on_retain[name] == term.on_retain[name] + kept.on_retain[name]


def test_pointwise_effects_of_gradient_ascent_are_its_records_shares() -> None:
    """With sums over tokens GA is the mean of log π(s): a share is a sixth of the effect."""
    reading = measured((GA() + NLL()).with_options(reduction="sum"), pointwise=[4, 1])
    assert [r.record_id for r in reading.records] == ["f4", "f1"]
    for record in reading.records:
        close([6 * v for v in record.share], list(record.pointwise))
    plain = tiny_model()
    close(reading.records[0].log_prob, float(log_probs(plain, FORGET[4]).detach().sum()))
    own = flat(plain, log_probs(plain, FORGET[4]).sum())
    total = -torch.stack([log_probs(plain, r).sum() for r in FORGET]).mean()
    close(reading.records[0].pointwise[0], float(flat(plain, total) @ own))


@pytest.mark.parametrize("name", ["npo", "bs-t", "idk-dpo", "altpo", "undial", "bs-s", "flat"])
@pytest.mark.parametrize("rows", [2, 5])
def test_the_split_into_forwards_changes_nothing(name: str, rows: int) -> None:
    small = TINY if name in ("altpo", "bs-s") else {}
    objective = build_objective(name, small)  # type: ignore[arg-type]
    whole = measured(objective, at=moved(), rows_per_forward=64)
    split = measured(objective, at=moved(), rows_per_forward=rows)
    for term in whole.effects:
        for a, b in zip(whole.effects[term].totals, split.effects[term].totals, strict=True):
            assert b == pytest.approx(a, rel=1e-4, abs=1e-4 * whole.effects[term].norm)


def test_kl_has_no_effect_at_the_original_model() -> None:
    reading = measured(GA() + KL())
    assert max(map(abs, reading.effects["retain_term"].totals)) < 1e-6
    assert abs(reading.effects["forget_term"].totals[1]) > 1e-3


def test_a_rectified_step_does_not_hurt_the_retain_risk() -> None:
    """With NLL as the retain term, the projected step's effect on the retain risk is exactly 0."""
    plain = measured(GA() + NLL())
    assert plain.effects["forget_term"].totals[1] < 0
    reading = measured(Objective(GA(), NLL(), retain_weight=3.0, gradients=Rectified()))
    step = reading.effects["step"]
    assert abs(step.totals[1]) < 1e-6 * reading.risk_norms[1] * step.norm
    assert step.totals[0] < 0
    # |g̃|² = |g|² − <g, r>² / |r|².
    g, (_, gr) = plain.effects["forget_term"].norm, plain.effects["forget_term"].totals
    close(step.norm**2, g**2 - gr**2 / plain.risk_norms[1] ** 2)


def test_moving_average_by_hand() -> None:
    """Six records in lots of four: 0.6 of the first lot's gradients, 0.4 of the second's."""
    model = tiny_model()
    lots = [(FORGET[:4], RETAIN[:4]), (FORGET[4:], RETAIN[4:6])]
    first, second = ((flat(model, risk(model, f)), flat(model, risk(model, r))) for f, r in lots)
    forget, retain = (0.6 * a + 0.4 * b for a, b in zip(first, second, strict=True))
    reading = measured(GA() + NLL(), estimator="moving-average")
    expected = (-float(forget @ forget), -float(retain @ forget))
    close(reading.effects["forget_term"].totals, expected)
    assert len(reading.course) == 2
    close(reading.course[0], (-float(first[0] @ first[0]), -float(first[1] @ first[0])))
    close(reading.course[1], expected)
    exact = measured(GA() + NLL()).effects["forget_term"].totals
    assert abs(exact[0] - expected[0]) > 0.01 * abs(exact[0]), "or the two could be confused"


def test_a_measurement_leaves_the_model_as_it_was() -> None:
    model = AnswerModel(tiny_model())
    made = sides(GA() + NLL(), model)
    for p in model.model.parameters():
        p.grad = torch.full_like(p, 0.5)
    before = {n: p.detach().clone() for n, p in model.model.named_parameters()}
    model.inner.train()
    state = torch.random.get_rng_state()
    EffectMeter(made, [0]).measure(model)
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.inner.training and not model.direct_gradients
    assert all(torch.equal(before[n], p) for n, p in model.model.named_parameters())
    assert all((p.grad == 0.5).all() for p in model.model.parameters())  # type: ignore[union-attr]


def test_counts_are_those_of_the_trainer() -> None:
    made = sides(build_objective("bs-s", TINY))  # type: ignore[arg-type]
    theirs = made.plan.step(0, made.beliefs).counts
    ours = made.counts(made.forget_rows(), len(FORGET))
    assert all(ours[kind] == theirs[kind] for kind in ("target", "belief", "alternative"))
    assert ours["belief"].weight == pytest.approx(0.5 * len(FORGET))


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(RequestError, match="sampled again"):
        sides(BSS(policy="on-policy") + NLL())
    with pytest.raises(RequestError, match="this one is empty"):
        Sides.of(AnswerModel(tiny_model()), ENCODER, GA() + NLL(), FORGET, [])
    with pytest.raises(RequestError, match="rows of transplant are made from the retain data"):
        sides(Transplant() + NLL())
    half = AnswerModel(tiny_model().to(torch.bfloat16))
    with pytest.raises(RequestError, match="too coarse"):
        EffectMeter(sides(GA() + NLL())).measure(half)


def test_pairs_of_answers_have_effects_too() -> None:
    reading = measured(DPO() + NLL(), at=moved(), pointwise=range(len(FORGET)))
    total = sum(r.share[0] for r in reading.records)
    assert total == pytest.approx(reading.effects["forget_term"].totals[0], rel=1e-4)
