"""What the tests of this folder share: an encoder over the tiny tokenizer, and a second opinion."""

from __future__ import annotations

from typing import Any

import torch

from tests.helpers import tiny_tokenizer
from unbelief.tokens.encode import Encoder
from unbelief.types import Record

QUESTIONS = ("Who?", "Where was Ada born?", "a", "What did Boris write in Rome, and why?", "Why")


def encoder(**options: Any) -> Encoder:
    return Encoder(tiny_tokenizer("char", **options))


def prompts() -> list[tuple[int, ...]]:
    e = encoder()
    return [e.encode_prompt(q) for q in QUESTIONS]


def records(n: int = len(QUESTIONS)) -> list[Record]:
    return [Record(id=f"r{i}", prompt=QUESTIONS[i], answer="Yes.") for i in range(n)]


def teacher_forced(model: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """Summed log-probability of `answer` after `prompt`: one sequence, no cache, no padding."""
    ids = torch.tensor([prompt + answer])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0].double()
    each = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return float(each.gather(-1, torch.tensor(answer)[:, None]).sum())
