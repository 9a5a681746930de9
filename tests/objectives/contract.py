"""What every term must keep, as functions: `check(term)` raises AssertionError otherwise."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from tests.objectives.toy import Toy, random_toy
from torch import Tensor

from unbelief.errors import RequestError
from unbelief.models.stats import AnswerStats
from unbelief.objectives import ForgetTerm, Objective, Term, build_objective, methods
from unbelief.objectives.base import Counts, describe

Check = Callable[[Term], None]


def toy_of(term: Term) -> Toy:
    """Three answers; of pairs, the second half of an answer's tokens is its alternative."""
    toy = random_toy()
    if isinstance(term, ForgetTerm) and term.answers == "pairs":
        toy.alternative = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1], dtype=torch.bool)
    return toy


PER_TOKEN = ("logits", "ref_logits", "target", "hidden", "ref_hidden", "weight", "alternative")


def lowers_its_answer(term: Term) -> bool:
    """Whether a forget term is about the answer's own tokens: other tokens, other values."""
    if not (isinstance(term, ForgetTerm) and term.needs.logits and term.answers == "targets"):
        return False
    toy = random_toy()
    other = replace(toy, target=(toy.target + 1) % toy.logits.shape[1])
    own, its = (term.values(t.stats(term.needs)) for t in (toy, other))
    return not torch.equal(own, its)


def leaf(toy: Toy, term: Term) -> Tensor:
    """The weights of the toy model that the term can move."""
    found = toy.logits if term.needs.logits else toy.hidden
    assert found is not None
    return found


def loss_of(term: Term, stats: AnswerStats) -> Tensor:
    """The term's side of an objective, reduced over all of the toy's answers."""
    objective = Objective(term) if isinstance(term, ForgetTerm) else None
    if objective is None:
        objective = Objective(build_objective("ga").forget, term)  # type: ignore[arg-type]
    ones = torch.ones(stats.n_answers, dtype=torch.float64)
    counts = Counts(stats.n_answers, stats.n_answers, float(stats.weight.sum()))
    scale = objective.answer_scale(term.side, ones, stats.length, counts)
    return objective.loss(term.side, stats, scale)


def values_are_finite_and_one_per_token_or_answer(term: Term) -> None:
    stats = toy_of(term).stats(term.needs)
    values = term.values(stats)
    assert values.shape == ((8,) if term.level == "token" else (3,))
    assert values.isfinite().all()
    assert values.requires_grad


def order_and_company_of_answers_change_nothing(term: Term) -> None:
    toy = toy_of(term)
    whole = term.values(toy.stats(term.needs))
    order = [2, 0, 1]
    index = toy.tokens_of(order) if term.level == "token" else torch.tensor(order)
    permuted = term.values(toy.stats(term.needs, order))
    torch.testing.assert_close(permuted, whole[index])
    apart = torch.cat([term.values(toy.stats(term.needs, [i])) for i in range(3)])
    torch.testing.assert_close(apart, whole)


def weightless_tokens_and_answers_have_no_gradient(term: Term) -> None:
    toy = toy_of(term)
    # The second token of the first answer, and the whole of the second answer.
    toy.weight = torch.tensor([1, 0, 1, 1, 0, 1, 1, 1], dtype=torch.float64)
    toy_leaf = leaf(toy, term)
    stats = toy.stats(term.needs)
    (gradient,) = torch.autograd.grad(loss_of(term, stats), toy_leaf)
    assert gradient.isfinite().all()
    assert (gradient[[1, 4]] == 0).all()
    assert (gradient != 0).any(), "nothing is learnt at all"


def a_weightless_token_is_one_that_is_not_there(term: Term) -> None:
    toy = toy_of(term)
    toy.weight = torch.tensor([1, 0, 1, 1, 1, 1, 1, 1], dtype=torch.float64)
    keep = toy.weight > 0
    gone = replace(
        toy,
        **{
            name: value[keep].detach().requires_grad_(value.requires_grad)
            for name in (
                "logits",
                "ref_logits",
                "target",
                "hidden",
                "ref_hidden",
                "weight",
                "alternative",
            )
            if (value := getattr(toy, name)) is not None
        },
        lengths=(3, 1, 3),
    )
    stats, without = toy.stats(term.needs), gone.stats(term.needs)
    loss, shorter = loss_of(term, stats), loss_of(term, without)
    torch.testing.assert_close(loss, shorter)
    (gradient,) = torch.autograd.grad(loss, leaf(toy, term))
    (expected,) = torch.autograd.grad(shorter, leaf(gone, term))
    torch.testing.assert_close(gradient[keep], expected)


def the_same_twice(term: Term) -> None:
    first, second = (term.values(toy_of(term).stats(term.needs)) for _ in range(2))
    assert torch.equal(first, second)


def a_step_goes_the_right_way(term: Term) -> None:
    """Forgetting makes the answers less likely; keeping brings the policy towards its purpose."""
    toy = toy_of(term)
    before = toy.stats(term.needs)
    loss = loss_of(term, before)
    toy_leaf = leaf(toy, term)
    (gradient,) = torch.autograd.grad(loss, toy_leaf)
    with torch.no_grad():
        toy_leaf -= 1e-3 * gradient / gradient.norm()
        after = toy.stats(term.needs)
        if toy.alternative is not None:
            gain = after.logp - before.logp
            assert gain[toy.alternative].sum() > gain[~toy.alternative].sum()
        elif term.side == "forget" and lowers_its_answer(term):
            # Not the value: WGA's p log p rises when p falls below 1/e.
            assert (after.logp.sum() < before.logp.sum()).item()
        else:
            assert loss_of(term, after) < loss


def gradients_of_logits_sum_to_zero(term: Term) -> None:
    """Adding a constant to all logits changes no probability."""
    if not term.needs.logits:
        return
    toy = toy_of(term)
    (gradient,) = torch.autograd.grad(loss_of(term, toy.stats(term.needs)), toy.logits)
    assert gradient.sum(dim=1).abs().max() < 1e-12


def diagnostics_are_named_tensors_without_gradient(term: Term) -> None:
    for name, values in term.diagnostics(toy_of(term).stats(term.needs)).items():
        assert re.fullmatch(r"[a-z_]+", name)
        assert values.shape in ((8,), (3,))
        assert values.isfinite().all() and not values.requires_grad


def it_is_a_frozen_dataclass_whose_repr_makes_it_again(term: Term) -> None:
    assert is_dataclass(term) and type(term).__dataclass_params__.frozen  # type: ignore[attr-defined]
    names = vars(importlib.import_module("unbelief.objectives")) | {
        type(term).__qualname__: type(term)
    }
    assert eval(repr(term), dict(names)) == term
    assert hash(term) == hash(replace(term))
    json.dumps(describe(term))


def its_docstring_has_formula_and_fields(term: Term) -> None:
    text = inspect.getdoc(type(term)) or ""
    assert ".. math::" in text
    assert "ne value" in text or "alues are per" in text, "per token or per answer?"
    for f in fields(term):
        assert re.search(rf"^ *{f.name}: ", text, re.MULTILINE), f"{f.name} is not explained"
    assert re.fullmatch(r"[a-z][a-z0-9-]*", term.name)
    assert term.source


def its_methods_can_be_built_from_text(term: Term) -> None:
    for name, method in methods().items():
        if method.term is not type(term):
            continue
        built = build_objective(name)
        texts = {f.name: str(getattr(built.forget, f.name)) for f in fields(term)}
        texts.pop("inner", None)
        assert build_objective(name, texts) == built
        assert method.preset.summary
        if method.preset.needs_retain:
            with pytest.raises(RequestError, match="needs a retain term"):
                build_objective(name, has_retain=False)
            continue
        assert build_objective(name, has_retain=False).retain is None


CHECKS: tuple[Check, ...] = (
    values_are_finite_and_one_per_token_or_answer,
    order_and_company_of_answers_change_nothing,
    weightless_tokens_and_answers_have_no_gradient,
    a_weightless_token_is_one_that_is_not_there,
    the_same_twice,
    a_step_goes_the_right_way,
    gradients_of_logits_sum_to_zero,
    diagnostics_are_named_tensors_without_gradient,
    it_is_a_frozen_dataclass_whose_repr_makes_it_again,
    its_docstring_has_formula_and_fields,
    its_methods_can_be_built_from_text,
)
