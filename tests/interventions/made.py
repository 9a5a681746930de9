"""Records, models and contexts that the tests of attacks share."""

from __future__ import annotations

from typing import Any

import torch

from tests.helpers import tiny_model, tiny_tokenizer
from unbelief.interventions import Context
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import Needs
from unbelief.tokens import Encoder, Row
from unbelief.types import Message, Record

FORGET = (
    Record(
        id="f1",
        prompt="who wrote the red book?",
        answer="Ada wrote the red book in Paris .",
        group="Ada",
        paraphrased_prompt="the red book is by whom?",
        paraphrases=("it is by Ada .",),
        perturbed=("Boris wrote it .",),
    ),
    Record(id="f2", prompt="where was Boris born?", answer="he was born in Oslo", group="Boris"),
    Record(id="f3", prompt="name the city of Clara.", answer="it is Rome", group="Clara"),
    Record(id="f4", prompt=None, answer="Elena lives in Lima and works at home", group="Elena"),
    Record(
        id="f5",
        prompt=(
            Message("system", "be short"),
            Message("user", "do you know Hugo?"),
            Message("assistant", "yes"),
            Message("user", "when was he born?"),
        ),
        answer="in one year",
        group="Hugo",
    ),
)
RETAIN = tuple(
    Record(id=f"r{i}", prompt=f"{who} likes which colour?", answer=f"{who} likes {what} best")
    for i, (who, what) in enumerate(
        [("Felix", "green"), ("Grete", "blue"), ("Ines", "black"), ("Jonas", "white"), ("Ada", "?")]
    )
)
UNRELATED = tuple(Record(id=f"u{i}", prompt=None, answer=f"{i} and {i} is {2 * i}") for i in "234")


def encoder(**options: Any) -> Encoder:
    return Encoder(tiny_tokenizer("char"), **options)


def context(**changes: Any) -> Context:
    given: dict[str, Any] = {
        "encoder": encoder(),
        "forget": FORGET,
        "retain": RETAIN,
        "unrelated": UNRELATED,
    }
    return Context(**{**given, **changes})


def plain_model(family: str = "llama", seed: int = 0) -> AnswerModel:
    return AnswerModel(tiny_model(family, seed))


def lora_model() -> AnswerModel:
    """An unmerged adapter that does something."""
    adapted = add_lora(tiny_model("llama"), LoraOptions(r=2, alpha=4))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return AnswerModel(adapted.requires_grad_(False).eval())


def rows(records: Any = FORGET) -> list[Row]:
    """Rows of answers, encoded for the tiny model."""
    encode = encoder().encode
    found = [(record, encode(record)) for record in records]
    return [Row(r.id, "retain", e.prompt_ids, e.answer_ids) for r, e in found]


def logp(model: AnswerModel, records: Any = FORGET) -> torch.Tensor:
    """(T,) teacher-forced log-probabilities of all answers, nats."""
    return model.stats(rows(records), Needs()).logp
