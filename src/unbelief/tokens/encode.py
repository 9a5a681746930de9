"""Records to token ids with an exact boundary between prompt and answer.

Prompt and answer are tokenised apart and joined as ids: tokenising the joined text may merge
characters across the boundary (`tok(p + a) != tok(p) + tok(a)`), and then "the answer's tokens"
would not exist. Generation also continues from the prompt's own ids, so this is what a model sees
when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from unbelief.errors import DataError, RequestError
from unbelief.types import Message, Record, own_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = Literal["auto", "chat", "plain"]
_SENTINEL = "unbeliefsentinel"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record as token ids.

    Attributes:
        record_id: The record's id.
        prompt_ids: Context; never scored. May be empty for plain documents.
        answer_ids: Scored tokens, including the end token when the encoder adds one.
        truncated: True when `max_length` cut the answer (it then has no end token).
        hidden: Positions of prompt and answer that nothing may attend to; empty but for
            conventions that reproduce another project's attention mask.
    """

    record_id: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    truncated: bool = False
    hidden: tuple[int, ...] = ()


class Encoder:
    """Turns prompts and answers into token ids for one tokenizer.

    Args:
        tokenizer: Any Transformers tokenizer.
        template: `chat` renders prompts with the tokenizer's chat template, `plain` joins prompt
            and answer as text (with one space where neither side brings white space), `auto`
            takes `chat` where the tokenizer has a template.
        system_prompt: Put before every chat prompt that has no system message of its own.
        end_token: Whether the end token belongs to the answer (it is then forgotten and scored
            like any other token). The choice is recorded in every result.
        max_length: Longest prompt plus answer, in tokens; longer answers are cut and flagged.

    Raises:
        RequestError: `chat` was asked for and the tokenizer has no template, a system prompt has no
            template to go into, or the template refuses it.

    Attributes:
        keeps_to_context: Whether what goes beyond the length a model states is cut, also where the
            model itself could go on.
        repetition_penalty: Divides (multiplies, where negative) the logits of tokens that are there
            already when greedy answers are asked for, whose log-probability is then that of the
            changed logits; 1 leaves them as they are.
    """

    keeps_to_context: ClassVar[bool] = True
    repetition_penalty: float = 1.0
    _template_options: Mapping[str, Any] = MappingProxyType({})
    _remembered: tuple[str | tuple[Message, ...] | None, tuple[int, ...]] | None = None

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: Template = "auto",
        system_prompt: str | None = None,
        end_token: bool = True,
        max_length: int | None = None,
    ):
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if template == "chat" and not has_template:
            raise RequestError(
                "the tokenizer has no chat template",
                where="template",
                remedy="use template=plain, or add a chat_template to the tokenizer",
            )
        self.tokenizer = tokenizer
        self.chat = has_template if template == "auto" else template == "chat"
        if system_prompt and not self.chat:
            raise RequestError(
                "a system prompt needs a chat template, and prompts are plain text here",
                where="system_prompt",
                remedy="leave it out, or use template=chat",
            )
        self.system_prompt = system_prompt
        self.end_token = end_token
        self.max_length = max_length
        self.bos_id = self._leading_bos()
        self.end_id = self._chat_end_id() if self.chat else tokenizer.eos_token_id
        self.pad_id = int(
            next(i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if i is not None)
        )

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a generation: the answer's end token and the tokenizer's eos."""
        ends = {int(i) for i in (self.end_id, self.tokenizer.eos_token_id) if i is not None}
        return tuple(sorted(ends))

    def encode(self, record: Record, *, answer: str | None = None) -> Encoded:
        """Encode a record's prompt with its own answer, or with another one.

        Args:
            record: What to encode.
            answer: Replaces `record.answer` when given.

        Raises:
            DataError: The answer has no tokens, the prompt leaves no room for it, or the chat
                template refuses the prompt.
        """
        text = record.answer if answer is None else answer
        place = record.source or record.id
        try:
            prompt_ids = self.prompt_ids(record.prompt)
        except RequestError as error:
            raise DataError(error.message, where=place, remedy=error.remedy) from error
        body = self._ids(self._joined(record.prompt, text))
        end = (self.end_id,) if self.end_token and self.end_id is not None else ()
        answer_ids = (*body, *end)
        if not body:
            raise DataError("the answer has no tokens", where=place, remedy="remove the row")
        total = len(prompt_ids) + len(answer_ids)
        kept = total if self.max_length is None else min(total, self.max_length)
        room = kept - len(prompt_ids)
        if room < 1:
            raise DataError(
                f"the prompt alone has {len(prompt_ids)} tokens, the limit is {self.max_length}",
                where=place,
                remedy="shorten the prompt or raise max_length",
            )
        if kept < 2:
            raise DataError(
                "a single token with nothing before it cannot be scored",
                where=place,
                remedy="remove the row, give it a prompt, or raise max_length",
            )
        return Encoded(record.id, prompt_ids, answer_ids[:room], truncated=kept < total)

    def encode_prompt(self, prompt: str | tuple[Message, ...] | None) -> tuple[int, ...]:
        """Token ids of everything before the answer, as the model sees it when asked."""
        bos = () if self.bos_id is None else (self.bos_id,)
        if prompt is None:
            return bos
        if isinstance(prompt, tuple) and (start := own_turn(prompt)):
            before = prompt[:-1] or None
            return (*self.encode_prompt(before), *self._ids(self._joined(before, start)))
        if not self.chat:
            return (*bos, *self._ids(_plain(prompt)))
        return self._ids(self._render(self._messages(prompt), generation=True))

    def hidden(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Positions of these ids that nothing may attend to (`Encoded.hidden`): none."""
        return ()

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def describe(self) -> dict[str, str | bool | int | float | None]:
        """The choices that change what is scored, for provenance."""
        return {
            "template": "chat" if self.chat else "plain",
            "system_prompt": self.system_prompt,
            "end_token_scored": self.end_token,
            "end_token_id": self.end_id,
            "max_length": self.max_length,
        }

    def prompt_ids(self, prompt: str | tuple[Message, ...] | None) -> tuple[int, ...]:
        """`encode_prompt`, done once where the same prompt's answers are encoded in a row."""
        if self._remembered is None or self._remembered[0] != prompt:
            self._remembered = (prompt, self.encode_prompt(prompt))
        return self._remembered[1]

    def _ids(self, text: str) -> tuple[int, ...]:
        # Special tokens written out by a chat template are still recognised; none is added, since
        # a template that renders BOS followed by a tokenizer that adds it gives two.
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _messages(self, prompt: str | tuple[Message, ...]) -> list[dict[str, str]]:
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        if self.system_prompt and turns[0].role != "system":
            turns = (Message("system", self.system_prompt), *turns)
        return [{"role": turn.role, "content": turn.content} for turn in turns]

    def _render(self, turns: list[dict[str, str]], *, generation: bool) -> str:
        from jinja2 import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=generation, **self._template_options
            )
        except TemplateError as error:  # templates refuse roles they do not know in their own words
            roles = ", ".join(turn["role"] for turn in turns)
            raise RequestError(
                f"the chat template refuses a conversation of {roles}: {error}",
                where="template",
                remedy="change the conversation, leave out system_prompt, or use template=plain",
            ) from error
        return str(text)

    def _joined(self, prompt: str | tuple[Message, ...] | None, answer: str) -> str:
        start = own_turn(prompt)
        if prompt is None or not answer or (self.chat and not start):
            return answer
        before = start or _plain(prompt)
        apart = before[-1:].isspace() or answer[:1].isspace() or not before
        return answer if apart else f" {answer}"

    def _leading_bos(self) -> int | None:
        """The BOS id, where this tokenizer puts one before plain text by itself."""
        bos = self.tokenizer.bos_token_id
        with_special = self.tokenizer("a", add_special_tokens=True)["input_ids"]
        return int(bos) if bos is not None and with_special[:1] == [bos] else None

    def _chat_end_id(self) -> int | None:
        """First token after the assistant's words, found by rendering a known answer.

        Templates end a turn with `<|eot_id|>`, `<|im_end|>` plus a newline, or eos; only the first
        token ends generation, and what follows is the template's own decoration.
        """
        turns = [*self._messages("a"), {"role": "assistant", "content": _SENTINEL}]
        _, found, suffix = self._render(turns, generation=False).rpartition(_SENTINEL)
        ids = self._ids(suffix) if found else ()
        special = set(self.tokenizer.all_special_ids)
        if ids and (ids[0] in special or ids[0] in self.tokenizer.get_added_vocab().values()):
            return ids[0]
        return self.tokenizer.eos_token_id


def _plain(prompt: str | tuple[Message, ...]) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(turn.content for turn in prompt)
