"""What a model answered, out of everything that was measured."""

from __future__ import annotations

from unbelief.measure.tables import Example


def greedy_text(example: Example) -> str | None:
    """The greedy answer; None when the model was not asked."""
    for need, texts in example.texts.items():
        if need.decoding.temperature == 0 and texts:
            return texts[0].text
    return None
