"""One question with everything that can be answered to it, for readers."""

from __future__ import annotations

from typing import Any

from unbelief.lab.masses import MassMeter, questions
from unbelief.lab.world import World
from unbelief.tokens.encode import Encoder


def example(
    world: World, encoder: Encoder, models: dict[str, Any], *, typical_of: str
) -> dict[str, Any]:
    """Return how models spread their probability over the answers to one question.

    Args:
        world: About whose people to forget the question is.
        encoder: Of the models.
        models: By name.
        typical_of: The model for which the question is to be typical.

    Returns:
        `question`, and `answers`: the ways to state the fact, the most probable false answer, all
        other false ones together, and everything ungrammatical; each with `text`, `kind`
        (target, other, false, broken) and a probability by model name.
    """
    asked = [(p, a) for p in world.part("forget") for a in world.attributes]
    meter = MassMeter(questions(world, encoder, world.part("forget")), natural=True)
    logs = {name: meter.log_probs(model) for name, model in models.items()}
    # A typical case, not a lucky or unlucky guess: the median of the typical model's leaks.
    leaks = meter.measure(models[typical_of]).leak
    chosen = int(leaks.argsort(kind="stable")[len(leaks) // 2])
    person, attribute = asked[chosen]
    answers = world.grammatical_answers(person, attribute)
    probabilities = {name: logs[name][chosen].exp().tolist() for name in models}
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
