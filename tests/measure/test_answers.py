"""Teacher-forced statistics are those of the model's own forward, packed or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import FAMILIES, SYSTEM, VOCABULARY, tiny_model
from tests.measure.common import answer_model, assert_measured, by_definition
from unbelief.measure import answers as module
from unbelief.measure.answers import Scored, can_pack, packed_stats, score, window_of
from unbelief.measure.jobs import Answer, Question
from unbelief.measure.packs import Batch, Pack, batches_of
from unbelief.models.runner import AnswerModel

SHAPES = ((12, (5, 3, 7)), (9, (1, 4)), (6, (2,)), (0, (6, 4)), (3, (1, 1, 1, 1)))


def questions(
    shapes: Sequence[tuple[int, tuple[int, ...]]] = SHAPES, *, hide: bool = False
) -> list[Question]:
    """Questions of random tokens; with `hide` some positions are hidden, the first one too."""
    g = torch.Generator().manual_seed(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(7, VOCABULARY, (n,), generator=g).tolist())

    def answer(i: int, n: int) -> Answer:  # moments of every other one
        return Answer(ids(n), (1,) if hide and n > 2 else (), True, False, "", moments=i % 2 == 0)

    return [
        Question(
            ids(prompt),
            (0, 2) if hide and prompt > 2 else (),
            tuple(answer(i, n) for i, n in enumerate(lengths)),
        )
        for prompt, lengths in shapes
    ]


def measured(model: AnswerModel, its: Sequence[Question], **cut: Any) -> list[Scored]:
    options = {"packed": True, "window": None, "tokens": 64, **cut}
    return [one for batch in batches_of(its, **options) for one in score(model, batch)]


def assert_all(model: AnswerModel, its: Sequence[Question], found: Sequence[Scored]) -> None:
    by_answer = {id(one.answer): one for one in found}
    assert len(by_answer) == len(found) == sum(len(q.answers) for q in its)
    for q in its:
        for answer in q.answers:
            hidden = (*q.hidden, *(len(q.prompt_ids) + i for i in answer.hidden))
            want = by_definition(model.inner, q.prompt_ids, answer.ids, hidden)
            assert_measured(by_answer[id(answer)], want, moments=answer.moments)


@pytest.mark.parametrize("hide", [False, True], ids=["open", "hidden"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_as_it_is_measured(family: str, hide: bool) -> None:
    model, its = answer_model(family), questions(hide=hide)
    packed, path = can_pack(model, its)
    window = window_of(model.inner.config)
    assert window == (8 if family in ("gemma2", "gemma3", "mistral") else None)
    assert packed and path.startswith("packs: checked")
    found = measured(model, its, packed=packed, window=window)
    assert_all(model, its, found)


@pytest.mark.parametrize("hide", [False, True], ids=["open", "hidden"])
@pytest.mark.parametrize("path", ["head", "logits"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packs_and_rows_on_every_path(attention: str, path: Any, hide: bool) -> None:
    inner = tiny_model("llama")
    inner.set_attn_implementation(attention)
    model, its = AnswerModel(inner, head_path=path), questions(hide=hide)
    for packed in (True, False):
        for tokens in (1, 1000):  # one sequence per forward, and all in one
            found = measured(model, its, packed=packed, tokens=tokens)
            assert_all(model, its, found)


def test_packs_share_prompts_where_the_test_says_so() -> None:
    """Otherwise the tests above would compare rows with rows."""
    assert [b.packed for b in batches_of(questions(), packed=True, window=None, tokens=1000)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("family", ["mistral", "gemma3"])
def test_a_window_shorter_than_the_sequence_is_noticed(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the configuration did not tell, the comparison does: a mask of one's own undoes it."""
    model, its = answer_model(family), questions(((30, (9, 8)), (25, (7, 9))))
    pack = Pack(its[0].prompt_ids, (), its[0].answers)
    rows = Batch(tuple(Pack(pack.prompt_ids, (), (a,)) for a in pack.answers), False)
    plain = np.concatenate([one.logp for one in score(model, rows)])
    assert np.abs(packed_stats(model, [pack]).logp.numpy() - plain).max() > 0.01
    assert can_pack(model, its) == (False, "plain rows: there is nothing to pack")
    monkeypatch.setattr(module, "window_of", lambda _: None)
    packed, path = can_pack(model, its)
    assert not packed and "differ from them by up to" in path


def test_attention_that_takes_no_paths_gets_plain_rows() -> None:
    model = answer_model()
    model.inner.config._attn_implementation = "flash_attention_2"
    packed, path = can_pack(model, questions())
    assert not packed and "'flash_attention_2'" in path


@pytest.mark.parametrize("error", [TypeError, ValueError, RuntimeError, IndexError])
def test_a_model_that_refuses_packs_gets_plain_rows(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def refuse(*_: Any) -> None:
        raise error("no such argument")

    monkeypatch.setattr(module, "packed_stats", refuse)
    packed, path = can_pack(answer_model(), questions())
    assert not packed and path == f"plain rows: packs fail with {error.__name__}: no such argument"


def test_answers_that_see_each_other_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.paths_of

    def causal(_: Any, seen: np.ndarray, **where: Any) -> Any:
        return real([np.arange(len(seen))], seen, **where)

    monkeypatch.setattr(module, "paths_of", causal)
    packed, path = can_pack(answer_model(), questions())
    assert not packed and "differ" in path


def test_no_prompt_to_share_is_said_so() -> None:
    assert can_pack(answer_model(), questions(((6, (2,)),)))[1].endswith("nothing to pack")
    assert can_pack(answer_model(), [])[1].endswith("nothing to pack")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_pass_the_comparison(dtype: torch.dtype) -> None:
    model = AnswerModel(tiny_model().to(dtype), head_path="head")
    its = questions()
    assert can_pack(model, its)[0]
    found = {id(one.answer): one for one in measured(model, its)}
    for q in its:
        for answer in q.answers:
            want = by_definition(model.inner, q.prompt_ids, answer.ids)
            tolerance = 1e-5 if dtype == torch.float64 else 0.3
            got = found[id(answer)]
            np.testing.assert_allclose(got.logp, want["logp"], atol=tolerance)
            assert got.logp.dtype == np.float32


@pytest.mark.parametrize("packed", [True, False])
def test_nan_is_kept_and_hits_nothing(packed: bool) -> None:
    inner, its = tiny_model(), questions()
    its[0] = replace(its[0], prompt_ids=(SYSTEM, *its[0].prompt_ids))  # nobody else has this token
    with torch.no_grad():
        inner.get_input_embeddings().weight[SYSTEM] = torch.nan
    for one in measured(AnswerModel(inner, head_path="head"), its, packed=packed):
        is_poisoned = any(one.answer is a for a in its[0].answers)
        moments = (one.entropy, one.variance) if one.answer.moments else ()
        for values in (one.logp, *moments):
            assert np.isnan(values).all() if is_poisoned else np.isfinite(values).all()
        assert not (is_poisoned and one.hit.any())


def test_a_model_of_nan_alone_can_still_be_packed() -> None:
    inner = tiny_model()
    with torch.no_grad():
        inner.model.norm.weight.fill_(torch.nan)
    assert can_pack(AnswerModel(inner, head_path="head"), questions())[0]


def test_a_forward_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    model, its, limit, tried = answer_model(), questions(), 12, []
    real_packed, real_plain = module.packed_stats, module._plain

    def small(real: Any) -> Any:
        def run(model: AnswerModel, packs: Sequence[Pack]) -> Any:
            tried.append(sum(p.length for p in packs))
            if len(packs) > 1 or tried[-1] > limit + 12:
                raise torch.OutOfMemoryError("as a small device would")
            return real(model, packs)

        return run

    monkeypatch.setattr(module, "packed_stats", small(real_packed))
    monkeypatch.setattr(module, "_plain", small(real_plain))
    found = measured(model, its, tokens=1000)
    assert max(tried) > 24
    assert_all(model, its, found)


def test_a_single_row_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(module, "_plain", full)
    with pytest.raises(torch.OutOfMemoryError):
        measured(answer_model(), questions(((6, (2,)),)))
