"""A word-level tokenizer with a chat template, built from a world's own words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unbelief.lab.world import World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, USER, ASSISTANT, END = "<pad>", "<unk>", "<user>", "<assistant>", "<end>"
_SPECIAL = (PAD, UNKNOWN, USER, ASSISTANT, END)
_TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}<assistant>{{ m['content'] }}<end>"
    "{% else %}<user>{{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def world_words(world: World, others: Sequence[str] = ()) -> tuple[str, ...]:
    """Every word and punctuation mark that a question or answer of this world can hold, sorted.

    Args:
        world: Whose grammar.
        others: Further sentences, whose words come after those of the world.
    """
    words: set[str] = set()
    for person in world.people:
        for attribute in world.attributes:
            for k in range(len(attribute.questions)):
                words.update(_split(world.question(person, attribute, k)))
            for answer in world.grammatical_answers(person, attribute):
                words.update(_split(answer.text))
    more = {word for text in others for word in _split(text)} - words
    return (*sorted(words), *sorted(more))


def build_tokenizer(world: World, others: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a world: one token per word, `<end>` ends an answer.

    The vocabulary is that of the whole world, so a model trained without some people has the same
    token ids as one trained with them.

    Args:
        world: Whose grammar.
        others: Further sentences it must be able to say.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate((*_SPECIAL, *world_words(world, others)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    # Joins words by spaces and takes away the space before punctuation.
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
    )
    fast.chat_template = _TEMPLATE
    return fast


def _split(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]+", text)
