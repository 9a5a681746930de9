"""A chat model on this machine as a judge: greedy decoding, nothing leaves the process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.sampler import sample_answers
from unbelief.errors import RequestError
from unbelief.judge.chats import NoReply, Outcome, Question, Reply, in_chunks
from unbelief.models.load import LoadedModel, load_model
from unbelief.tokens.encode import Encoder
from unbelief.types import Message

TOO_LONG = NoReply("the item is longer than the judge's context")


class LocalModel:
    """A loaded chat model that answers, `chunk` questions at a time.

    Args:
        loaded: Model and tokenizer; the tokenizer needs a chat template.
        max_new_tokens: Longest reply.
        chunk: Questions between two times that answers are recorded.

    Raises:
        RequestError: There is no chat template.
    """

    def __init__(self, loaded: LoadedModel, *, max_new_tokens: int = 400, chunk: int = 16):
        self._loaded = loaded
        self._encoder = Encoder(loaded.tokenizer, template="chat")
        self._decoding = Decoding(temperature=0, max_new_tokens=max_new_tokens)
        self._chunk = chunk

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        dtype: str = "float32",
        device: str = "auto",
        max_new_tokens: int = 400,
        trust_remote_code: bool = False,
    ) -> LocalModel:
        """Load it from a folder or hub id.

        Raises:
            RequestError: As for `load_model`, or there is no chat template.
        """
        loaded = load_model(source, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
        return cls(loaded, max_new_tokens=max_new_tokens)

    def describe(self) -> dict[str, Any]:
        """Weights, dtype and decoding; a folder by its last name only."""
        folder = Path(self._loaded.source).expanduser()
        return {
            "kind": "local",
            "model": folder.resolve().name if folder.exists() else self._loaded.source,
            "revision": self._loaded.revision,
            "weights_sha256": self._loaded.weights_sha256,
            "dtype": self._loaded.dtype,
            "decoding": self._decoding.to_dict(),
        }

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Outcome]]:
        """Answer in chunks of like length."""
        prompts = {q.index: self._prompt(q.messages) for q in questions}
        room = self._room()
        ordered = sorted(questions, key=lambda q: len(prompts[q.index]))
        fitting = [q for q in ordered if room is None or len(prompts[q.index]) <= room]
        for chunk in in_chunks(fitting, self._chunk):
            asked = [prompts[q.index] for q in chunk]
            found = sample_answers(
                self._loaded.model, self._encoder, asked, decoding=self._decoding
            )
            for question, (answer, *_) in zip(chunk, found, strict=True):
                yield (
                    question,
                    Reply(
                        text=self._encoder.decode(answer.token_ids),
                        finished=answer.finished,
                        input_tokens=len(prompts[question.index]),
                        output_tokens=len(answer.token_ids),
                    ),
                )
        for question in ordered[len(fitting) :]:
            yield question, TOO_LONG

    def _prompt(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        try:
            return self._encoder.encode_prompt(messages)
        except RequestError:
            # Some templates have no system turn; its words then go before the user's.
            system, user = messages
            joined = Message("user", f"{system.content}\n\n{user.content}")
            return self._encoder.encode_prompt((joined,))

    def _room(self) -> int | None:
        config = self._loaded.model.config.get_text_config(decoder=True)
        context = getattr(config, "max_position_embeddings", None)
        return None if context is None else int(context) - self._decoding.max_new_tokens
