"""What a model is seen to know by heart when answers are scored is not asked for again."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import tiny_model
from tests.measure.common import GREEDY, OWN, SAMPLED, encoder, record
from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.pool import Pool
from unbelief.errors import Interrupted
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure, measure_examples
from unbelief.measure.store import read_measurements
from unbelief.measure.tables import TextNeed
from unbelief.models.runner import AnswerModel
from unbelief.types import Record

LONG = TextNeed(Decoding(temperature=0.0, max_new_tokens=40))


@cache
def knowing() -> AnswerModel:
    """A model that says the answers of records 0 to 3 by heart, and not those of 4 and 5."""
    model = tiny_model()
    rows = [encoder().encode(r) for r in records()[:4]]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.stack([_loss(model, r.prompt_ids, r.answer_ids) for r in rows]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return AnswerModel(model.eval())


def _loss(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
    ids = torch.tensor([prompt + answer])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    loss: torch.Tensor = model(ids, labels=labels).loss
    return loss


def records() -> list[Record]:
    return [record(i) for i in range(6)]


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Prompts of every entry into a pool."""
    entered, real = list[int](), Pool.enter

    def enter(self: Pool, batch: Any, places: Any) -> Any:
        entered.append(len(batch.input_ids))
        return real(self, batch, places)

    monkeypatch.setattr(Pool, "enter", enter)
    return entered


def plan(*needs: Any) -> Plan:
    return Plan({"forget": records()}, {"forget": needs})


def test_answers_known_by_heart_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = asked(monkeypatch)
    alone = measure_examples(knowing(), encoder(), plan(LONG))["forget"]
    assert sum(entered) == 6
    entered.clear()
    both = measure_examples(knowing(), encoder(), plan(OWN, LONG))["forget"]
    recited = [bool(e.answers[OWN][0].hit.all()) for e in both]
    assert recited == [True] * 4 + [False] * 2
    assert sum(entered) == 2
    for one, other in zip(alone, both, strict=True):
        (a,), (b,) = one.texts[LONG], other.texts[LONG]
        assert (a.token_ids, a.text, a.finished) == (b.token_ids, b.text, b.finished)
        assert a.log_prob == pytest.approx(b.log_prob, abs=1e-4)


@pytest.mark.parametrize("need", [SAMPLED, GREEDY], ids=["sampled", "cut off"])
def test_only_whole_greedy_answers_are_known(
    monkeypatch: pytest.MonkeyPatch, need: TextNeed
) -> None:
    """Samples are drawn, and nine tokens are less than the answers have."""
    assert min(len(encoder().encode(r).answer_ids) for r in records()[:4]) <= 9
    longer = [r for r in records()[:4] if len(encoder().encode(r).answer_ids) > 9]
    entered = asked(monkeypatch)
    its = Plan({"forget": longer}, {"forget": (OWN, need)})
    measure_examples(knowing(), encoder(), its)
    assert sum(entered) == len(longer) > 0


def test_an_interrupted_run_knows_what_its_forerunner_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbelief.measure import parts

    whole = measure_to(tmp_path / "whole")
    real = parts._texts

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "_texts", stop)
    with pytest.raises(Interrupted):
        measure_to(tmp_path / "cut")
    monkeypatch.setattr(parts, "_texts", real)
    entered = asked(monkeypatch)
    continued = measure_to(tmp_path / "cut")
    assert sum(entered) == 2
    assert [e.texts for e in continued] == [e.texts for e in whole]  # to the last bit


def measure_to(folder: Path) -> Any:
    measure(knowing(), encoder(), plan(OWN, LONG), folder, fingerprint={"weights_sha256": "w"})
    return read_measurements(folder).examples["forget"]
