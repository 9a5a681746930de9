"""MUSE's own membership scores, written down plainly: full logits of the text and nothing else."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure_examples
from unbelief.measure.tables import AnswerNeed
from unbelief.models.runner import AnswerModel
from unbelief.scores.conventions import metric
from unbelief.tokens import Encoder
from unbelief.types import Record

TEXTS = ("Ada lives in Oslo.", "Boris wrote it, and nobody knows when or where.", "who?")


@torch.no_grad()
def text_logps(model: Any, tokenizer: Any, text: str) -> np.ndarray:
    """Log-probability of every token of a text but the first; that code adds no end token."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    logp = model(ids).logits[0, :-1].log_softmax(dim=-1)
    return logp.gather(1, ids[0, 1:, None])[:, 0].double().numpy()


@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no bos"])
def test_membership_scores_are_of_the_text_alone(bos: bool) -> None:
    model, tokenizer = tiny_model(), tiny_tokenizer("char", chat=False, add_bos=bos)
    records = tuple(Record(id=str(i), prompt=None, answer=text) for i, text in enumerate(TEXTS))
    plan = Plan({"forget": records}, {"forget": (AnswerNeed("answer"),)})
    encoder = Encoder(tokenizer, template="plain")
    examples = measure_examples(AnswerModel(model), encoder, plan)["forget"]
    assert all(e.answers[AnswerNeed("answer")][0].has_end for e in examples)  # measured, not used
    each = [text_logps(model, tokenizer, text) for text in TEXTS]
    theirs = {
        "mia_loss": [-logp.mean() for logp in each],
        "mia_zlib": [
            -logp.mean() / len(zlib.compress(text.encode()))
            for logp, text in zip(each, TEXTS, strict=True)
        ],
        "mia_min_k": [-np.sort(logp)[: int(0.4 * len(logp))].mean() for logp in each],
    }
    for name, values in theirs.items():
        ours = [metric(name, "muse").score(example).value for example in examples]
        assert ours == pytest.approx(values, abs=1e-5), name
