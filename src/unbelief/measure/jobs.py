"""Jobs: which questions, answers and requests there are, as token ids, each of them once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unbelief.measure.tables import AnswerNeed

if TYPE_CHECKING:
    from unbelief.tokens.batch import Row


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a result belongs; all four are indices.

    Attributes:
        set: Item set, in the plan's order.
        example: Record within the set.
        need: Into `Plan.all_needs`.
        ordinal: Text of the need (the record's order) or sample.
    """

    set: int
    example: int
    need: int
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to score.

    Attributes:
        ids: Its tokens.
        hidden: Those that nothing attends to, counted from the answer's first.
        has_end: Whether the last one is the end token that the encoder added.
        truncated: Whether a length limit cut it.
        decoded: Its text.
        places: Where its statistics go.
        moments: Whether entropy and variance are wanted too.
    """

    ids: tuple[int, ...]
    hidden: tuple[int, ...]
    has_end: bool
    truncated: bool
    decoded: str
    places: list[Place] = field(default_factory=list)
    moments: bool = False

    def wanted(self, need: AnswerNeed) -> Answer:
        """The same with the moments of a need that has some."""
        return replace(self, moments=True) if need.moments > self.moments else self


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and all answers to score after it.

    Attributes:
        prompt_ids: The prompt; may be empty.
        hidden: Its positions that nothing attends to.
        answers: At least one.
    """

    prompt_ids: tuple[int, ...]
    hidden: tuple[int, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt the model is to answer by itself.

    Attributes:
        key: The record's id, from which the noise of sampled answers follows.
        prompt_ids: Prompt and prefix, at least one token.
        hidden: Positions that nothing attends to.
        limit: Longest answer in tokens: the decoding's, or what the model's context leaves.
        places: Where the texts go (ordinal 0; sample j adds j).
        draft: The record's own answer, or what follows the prefix of it: the best guess at what the
            model says, and at how long it is.
    """

    key: str
    prompt_ids: tuple[int, ...]
    hidden: tuple[int, ...]
    limit: int
    places: list[Place] = field(default_factory=list)
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """All jobs of a plan.

    Attributes:
        questions: Teacher-forced jobs, in order of first appearance.
        asks: Per text need (index into `Plan.all_needs`) its requests.
        gradients: Per gradient need its questions, of one answer each.
        unmeasured: Per (set, example) and need the reason; indices.
    """

    questions: tuple[Question, ...]
    asks: Mapping[int, tuple[Ask, ...]]
    gradients: Mapping[int, tuple[Question, ...]]
    unmeasured: Mapping[tuple[int, int], Mapping[int, str]]


def row_of(prompt_ids: tuple[int, ...], hidden: tuple[int, ...], answer: Answer) -> Row:
    """One answer after its prompt as a row of its own."""
    from unbelief.tokens.batch import Row

    both = (*hidden, *(len(prompt_ids) + i for i in answer.hidden))
    return Row("", "target", prompt_ids, answer.ids, hidden=both)
