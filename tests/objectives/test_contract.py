"""Every term there is keeps the contract; new terms are found, not listed."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from tests.helpers import VOCABULARY, tiny_model
from tests.objectives.contract import CHECKS, Check

from unbelief.models.runner import AnswerModel
from unbelief.objectives import BSS, BST, FLAT, GA, NPO, ForgetTerm, RetainTerm, Term, terms
from unbelief.objectives.forget.flat import Divergence
from unbelief.tokens import Row

VARIANTS = {
    "bs-t frozen": BST(beliefs_from="reference", top_k=5),
    "bs-t undetached": BST(detach=False, top_k=5),
    "bs-t tempered": BST(belief_temperature=2.0, top_k=5),
    **{f"flat {d}": FLAT(divergence=d) for d in get_args(Divergence) if d != "total-variation"},
    "bs-s around npo": BSS(inner=NPO()),
    "bs-s around ga": BSS(inner=GA()),
}
TERMS = {name: term() for name, term in terms().items()} | VARIANTS


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS.keys())
def test_contract(term: Term, check: Check) -> None:
    check(term)


def test_both_sides_are_found() -> None:
    sides = {ForgetTerm: 0, RetainTerm: 0}
    for term in terms().values():
        sides[ForgetTerm if issubclass(term, ForgetTerm) else RetainTerm] += 1
    assert sides[ForgetTerm] >= 9 and sides[RetainTerm] >= 3


@pytest.fixture(scope="module")
def models() -> tuple[AnswerModel, AnswerModel]:
    return AnswerModel(tiny_model("llama", 0)), AnswerModel(tiny_model("llama", 1))


def model_values(
    term: Term, models: tuple[AnswerModel, AnswerModel], rows: list[Row], pad_id: int
) -> torch.Tensor:
    """Values on a real model, with another model as the original."""
    needs = term.needs
    if needs.hidden_layer is not None:
        needs = replace(needs, hidden_layer=1)
    for model in models:
        model.pad_id = pad_id
    stats, original = (model.stats(rows, needs) for model in models)
    if isinstance(term, ForgetTerm) and term.answers == "pairs":
        each = [i % 2 == 1 for row in rows for i in range(row.n_scored)]
        stats = replace(stats, alternative=torch.tensor(each))
    return term.values(replace(stats, ref_logp=original.logp, ref_hidden=original.hidden))


# Divergences and frozen beliefs need the original inside the head: tests/models/test_head.py.
ALONE = {n: t for n, t in TERMS.items() if not t.needs.kl and t.needs.beliefs_from == "policy"}


@pytest.mark.parametrize("term", ALONE.values(), ids=ALONE.keys())
def test_padding_and_batching_of_a_model_change_nothing(
    term: Term, models: tuple[AnswerModel, AnswerModel]
) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for i, (prompt, answer) in enumerate([(3, 2), (1, 6), (5, 1)]):
        ids = torch.randint(7, VOCABULARY, (prompt + answer,), generator=generator).tolist()
        rows.append(Row(str(i), "target", tuple(ids[:prompt]), tuple(ids[prompt:])))
    together = model_values(term, models, rows, 0)
    other_padding = model_values(term, models, rows, 99)
    alone = torch.cat([model_values(term, models, [row], 0) for row in rows])
    torch.testing.assert_close(other_padding, together)
    torch.testing.assert_close(alone, together, atol=2e-5, rtol=2e-5)
