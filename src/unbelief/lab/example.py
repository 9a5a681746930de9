"""One question with everything that can be answered to it, for readers."""

from __future__ import annotations

from typing import Any

from unbelief.lab.masses import MassMeter, questions
from unbelief.lab.world import World
from unbelief.tokens.encode import Encoder


def example(world: World, encoder: Encoder, models: dict[str, Any]) -> dict[str, Any]:
    """Return how models spread their probability over the answers to one question.

    Args:
        world: Whose first forgotten person and first attribute are taken.
        encoder: Of the models.
        models: By name.

    Returns:
        `question`, and `answers`: the ways to state the fact, the most probable false answer, all
        other false ones together, and everything ungrammatical; each with `text`, `kind`
        (target, other, false, broken) and a probability by model name.
    """
    person, attribute = world.part("forget")[0], world.attributes[0]
    meter = MassMeter(questions(world, encoder, [person])[:1], natural=True)
    answers = world.grammatical_answers(person, attribute)
    probabilities = {name: meter.log_probs(m)[0].exp().tolist() for name, m in models.items()}
    false = [i for i, a in enumerate(answers) if not a.true]
    likeliest = max(false, key=lambda i: max(p[i] for p in probabilities.values()))

    def row(text: str, kind: str, indices: list[int]) -> dict[str, Any]:
        sums = {name: sum(p[i] for i in indices) for name, p in probabilities.items()}
        return {"text": text, "kind": kind, **sums}

    rows = [
        row(a.text, "other" if a.phrasing else "target", [i])
        for i, a in enumerate(answers)
        if a.true
    ]
    rest = [i for i in false if i != likeliest]
    rows.append(row(answers[likeliest].text, "false", [likeliest]))
    rows.append(row(f"{len(rest)} other grammatical sentences, all false", "false", rest))
    broken = {name: max(0.0, 1 - sum(p)) for name, p in probabilities.items()}
    rows.append({"text": "anything else", "kind": "broken", **broken})
    return {"question": world.question(person, attribute), "answers": rows}
