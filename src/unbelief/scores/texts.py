"""How answers are asked for, so that metrics share one generation."""

from __future__ import annotations

from unbelief.beliefs.decoding import Decoding
from unbelief.measure.tables import PromptKind, TextNeed

GREEDY_TOKENS = 200
"""New tokens of a greedy answer; TOFU's and OpenUnlearning's limit."""


def greedy_need(max_new_tokens: int = GREEDY_TOKENS, prompt: PromptKind = "own") -> TextNeed:
    """The one greedy answer."""
    return TextNeed(Decoding(temperature=0.0, max_new_tokens=max_new_tokens), prompt=prompt)


def sampled_need(
    samples: int,
    temperature: float = 1.0,
    max_new_tokens: int = GREEDY_TOKENS,
    prompt: PromptKind = "own",
    seed: int = 0,
) -> TextNeed:
    """Several answers at a temperature; temperature 0 is the one greedy answer."""
    if temperature == 0:
        return greedy_need(max_new_tokens, prompt)
    decoding = Decoding(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    return TextNeed(decoding, samples=samples, prompt=prompt)
