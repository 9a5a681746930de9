"""Records to token ids as the OpenUnlearning project does it, for numbers comparable with its own.

Its rules differ from `Encoder`'s in what is tokenised together, in what ends an answer and in what
the model sees:

- The whole conversation is tokenised at once, the prompt once more by itself; everything beyond as
  many tokens as the prompt has is answer. Where a token reaches across the boundary, it counts as
  prompt, and the ids asked (`encode_prompt`) are not those scored (`encode`).
- The template's own ending belongs to the answer, and eos is added when it is not the last token
  already: `<|im_end|>`, newline, eos are three scored tokens.
- Attention is masked wherever an id equals the padding id. A tokenizer without padding token pads
  with eos, and then every eos inside the row is invisible (`Encoded.hidden`). Llama-3-Instruct's
  published TOFU models were trained and evaluated like that.
- A chat template has no length limit; tags are cut to 512 tokens and get an eos nevertheless.
  What length a model states is not looked at.

Source: locuslab/open-unlearning, `src/data/{utils,qa,pretraining,collators}.py`, December 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

from unbelief.errors import DataError, RequestError
from unbelief.tokens.encode import Encoded, Encoder
from unbelief.types import Message, Record, own_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Style = Literal["auto", "chat", "tags", "plain"]
_TAG_LIMIT, _PLAIN_LIMIT = 512, 2048


@dataclass(frozen=True, slots=True)
class Tags:
    """Texts around questions and answers, for models without a chat template.

    Attributes:
        user_start: Before a question.
        user_end: After it.
        answer_start: Before an answer.
        answer_end: After an answer that is an example; the last answer ends with eos alone.
        system: Put first, special tokens written out.
    """

    user_start: str = ""
    user_end: str = ""
    answer_start: str = ""
    answer_end: str = ""
    system: str = ""


LLAMA2_CHAT = Tags("[INST] ", " [/INST]", "", " ")
"""What that project puts around questions to Llama-2-chat."""
BASE_MODEL = Tags("Question: ", "\n", "Answer: ", "\n\n")
"""What it puts around questions to Llama-2 without chat tuning (MUSE)."""


class OpenUnlearningEncoder(Encoder):
    """Turns prompts and answers into token ids by OpenUnlearning's rules.

    Args:
        tokenizer: Any Transformers tokenizer with an end token.
        style: `chat` renders the tokenizer's chat template; `tags` puts texts around question and
            answer; `plain` is that project's completion of a prefix, without eos; `auto` takes
            `tags` where some are given, else `chat` where there is a template, else `plain`.
            Records without prompt are documents and always `plain`.
        system_prompt: First message of a chat ("You are a helpful assistant." for Llama-3, Qwen
            and Phi there; none for gemma).
        date_string: Passed to the chat template ("10 Apr 2025" for Llama-3 there); without it
            Llama-3's template writes today's date.
        tags: For `tags`, such as `LLAMA2_CHAT`.
        insert_space: Whether `plain` puts a blank between prefix and text.
        max_length: `tags`: most tokens of prompt and answer before eos is added (default 512);
            `plain`: most tokens after the prefix (default 2048). There is no limit for `chat`.
        stop_ids: What ends a generation: the model's `generation_config.eos_token_id` and nothing
            else, so that none never ends one before its limit; by default the tokenizer's eos.
        repetition_penalty: Of greedy answers: the model's `generation_config.repetition_penalty`,
            which that project leaves in force (1.05 or 1.1 for Qwen 2.5).

    Raises:
        RequestError: Options that do not go together, a template that refuses the system prompt,
            or a tokenizer without end token.
    """

    keeps_to_context = False

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        style: Style = "auto",
        system_prompt: str | None = None,
        date_string: str | None = None,
        tags: Tags | None = None,
        insert_space: bool = False,
        max_length: int | None = None,
        stop_ids: Sequence[int] | None = None,
        repetition_penalty: float = 1.0,
    ):
        if tokenizer.eos_token_id is None:
            raise RequestError(
                "the tokenizer has no end token, which this convention adds to every answer",
                where="tokenizer",
                remedy="set its eos_token",
            )
        if style == "auto":
            style = "tags" if tags else "chat" if tokenizer.chat_template else "plain"
        if (style == "tags") != (tags is not None):
            raise RequestError(
                f"{'no tags are' if tags is None else 'tags are'} given, and the style is {style}",
                where="tags",
                remedy="give tags with style=tags, and only then",
            )
        if style == "chat" and max_length is not None:
            raise RequestError(
                "this convention has no length limit for chat templates",
                where="max_length",
                remedy="leave it out",
            )
        self.style, self.date_string = style, date_string
        self._template_options = {} if date_string is None else {"date_string": date_string}
        self.tags = tags or Tags()
        self.insert_space = insert_space
        super().__init__(
            tokenizer,
            template="chat" if style == "chat" else "plain",
            system_prompt=system_prompt,
            end_token=style != "plain",
            max_length=max_length,
        )
        self._eos = int(tokenizer.eos_token_id)
        self.end_id = self._eos
        self.repetition_penalty = repetition_penalty
        self._stop_ids = (self._eos,) if stop_ids is None else tuple(sorted(set(stop_ids)))

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a generation; the tokenizer's eos need not be one of them."""
        return self._stop_ids

    def encode(self, record: Record, *, answer: str | None = None) -> Encoded:
        """Encode a record's prompt with its own answer, or with another one.

        Args:
            record: What to encode.
            answer: Replaces `record.answer` when given.

        Raises:
            DataError: No answer token is left after as many tokens as the prompt has (that project
                gives NaN), or the chat template refuses the conversation.
        """
        text = record.answer if answer is None else answer
        place = record.source or record.id
        try:
            ids, truncated = self._whole(record.prompt, text)
            boundary = len(self.prompt_ids(record.prompt))
        except RequestError as error:
            raise DataError(error.message, where=place, remedy=error.remedy) from error
        if record.prompt is None or self.style == "plain":
            limit = boundary + (self.max_length or _PLAIN_LIMIT)
            ids, truncated = ids[:limit], len(ids) > limit
            boundary = max(boundary, 1)  # nothing predicts the first token
        elif ids[-1:] != (self._eos,):
            ids = (*ids, self._eos)
        if boundary >= len(ids):
            raise DataError(
                f"the prompt alone has {boundary} tokens, prompt and answer together {len(ids)}",
                where=place,
                remedy="remove the row: it has no token that belongs to the answer",
            )
        hidden = self.hidden(ids[:-1])  # nothing comes after the last token
        return Encoded(record.id, ids[:boundary], ids[boundary:], truncated, hidden)

    def encode_prompt(self, prompt: str | tuple[Message, ...] | None) -> tuple[int, ...]:
        """Token ids of the prompt tokenised by itself, as the model sees it when asked."""
        if own_turn(prompt):
            raise RequestError(
                "this convention cannot begin the model's own turn",
                where="prompt",
                remedy="use the project's own convention, or a prompt that ends with the user",
            )
        if prompt is None or self.style == "plain":
            return self._with_special(self._prefix(prompt))
        if self.style == "chat":
            return self._ids(self._render(self._messages(prompt), generation=True))
        return self._cut(self._tagged(prompt))[0]

    def hidden(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Positions of these ids that nothing attends to: those that have the padding id."""
        return tuple(i for i, token in enumerate(ids) if token == self.pad_id)

    def describe(self) -> dict[str, str | bool | int | float | None]:
        """The choices that change what is scored, for provenance."""
        return {
            "convention": "open-unlearning",
            "template": self.style,
            "system_prompt": self.system_prompt,
            "date_string": self.date_string,
            "tags": repr(astuple(self.tags)) if self.style == "tags" else None,
            "insert_space": self.insert_space,
            "end_token_scored": self.end_token,
            "end_token_id": self.end_id,
            "stop_ids": repr(self.stop_ids),
            "repetition_penalty": self.repetition_penalty,
            "padding_id_hidden": self.pad_id,
            "max_length": self.max_length,
        }

    def _whole(
        self, prompt: str | tuple[Message, ...] | None, answer: str
    ) -> tuple[tuple[int, ...], bool]:
        """Ids of prompt and answer together, and whether they were cut."""
        if prompt is None or self.style == "plain":
            between = " " if self.insert_space else ""
            return self._with_special(self._prefix(prompt) + between + answer), False
        if self.style == "chat":
            turns = [*self._messages(prompt), {"role": "assistant", "content": answer}]
            return self._ids(self._render(turns, generation=False)), False
        return self._cut(self._tagged(prompt) + answer)

    def _with_special(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=True)["input_ids"])

    def _cut(self, text: str) -> tuple[tuple[int, ...], bool]:
        """Ids within the limit, cut the tokenizer's way (which keeps special tokens it adds)."""
        ids, limit = self._with_special(text), self.max_length or _TAG_LIMIT
        if len(ids) <= limit:
            return ids, False
        return tuple(self.tokenizer(text, truncation=True, max_length=limit)["input_ids"]), True

    def _prefix(self, prompt: str | tuple[Message, ...] | None) -> str:
        if isinstance(prompt, tuple):
            raise RequestError(
                "this convention completes texts, not conversations, where there are no tags",
                where="style",
                remedy="use style=chat, or style=tags",
            )
        return prompt or ""

    def _tagged(self, prompt: str | tuple[Message, ...]) -> str:
        """Examples and question between their tags, up to where the answer begins."""
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        tags = self.tags
        around = {
            "user": (tags.user_start, tags.user_end + tags.answer_start),
            "assistant": ("", tags.answer_end),
        }
        if any(t.role != ("user", "assistant")[i % 2] for i, t in enumerate(turns)):
            raise RequestError(
                "tags go around questions and answers in turn",
                where="tags",
                remedy="put a system message into tags.system",
            )
        return tags.system + "".join(
            around[t.role][0] + t.content + around[t.role][1] for t in turns
        )
