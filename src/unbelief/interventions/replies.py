"""What the attacked model says in the middle of a conversation."""

from __future__ import annotations

from collections.abc import Mapping

from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.sampler import sample_answers
from unbelief.errors import RequestError
from unbelief.interventions.base import Context, Unattackable
from unbelief.train.preparation import context_length
from unbelief.types import Record


def own_replies(
    asked: Mapping[int, Record], context: Context, max_new_tokens: int
) -> dict[int, str | Unattackable]:
    """The model's greedy reply to every prompt, or why it cannot give one.

    Args:
        asked: Records whose prompt ends with the user.
        context: Has the model.
        max_new_tokens: Longest reply, in tokens.
    """
    assert context.model is not None
    out: dict[int, str | Unattackable] = {}
    prompts: dict[int, tuple[int, ...]] = {}
    limit = context_length(context.model.inner)
    for i, record in asked.items():
        try:
            ids = context.encoder.encode_prompt(record.prompt)
        except RequestError as error:
            out[i] = Unattackable(error.message)
            continue
        if limit is not None and len(ids) + max_new_tokens > limit:
            out[i] = Unattackable(
                f"the conversation has {len(ids)} tokens, and the model's context of {limit} has "
                f"no room for a reply of {max_new_tokens}"
            )
            continue
        prompts[i] = ids
    answers = sample_answers(
        context.model.inner,
        context.encoder,
        list(prompts.values()),
        decoding=Decoding(temperature=0.0, max_new_tokens=max_new_tokens),
    )
    for i, (answer,) in zip(prompts, answers, strict=True):
        out[i] = context.encoder.decode(answer.token_ids).strip()
    return out
