"""The few frozen records that cross borders between layers.

Nothing here imports torch or NumPy at run time, so `unbelief --help` stays instant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["system", "user", "assistant"]
TargetKind = Literal["target", "belief", "alternative", "retain"]
"""What a row of a training batch is: an answer to forget, a belief about its prompt, an
alternative to it, or a row to keep."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing the model may know: a prompt and its answer, with whatever helps to judge it.

    Attributes:
        id: Unique within its data set; taken from the data or derived from the row number.
        prompt: Text, a conversation that ends before the assistant's turn, or None when every
            token is answer (plain documents). A last turn of the assistant is the beginning of
            its answer, put into its mouth by an attack; data never has one.
        answer: The text to forget or to keep.
        group: Author, person or document; the cluster for intervals.
        paraphrased_prompt: Another way to ask for the same answer.
        paraphrases: Other true ways to say the answer.
        perturbed: False answers of the same shape.
        facts: What of the answer must not be said: names, dates, words. Given by the data's owner;
            otherwise found by comparison with the perturbed answers.
        choices: Options of a multiple-choice question.
        correct_choice: Index into `choices`.
        source: `file:line` (or `hub-id[split]:row`) for messages to people.
    """

    id: str
    prompt: str | tuple[Message, ...] | None
    answer: str
    group: str | None = None
    paraphrased_prompt: str | None = None
    paraphrases: tuple[str, ...] = ()
    perturbed: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    correct_choice: int | None = None
    source: str = ""


def own_turn(prompt: str | tuple[Message, ...] | None) -> str:
    """What a prompt has put into the model's mouth: its last turn, where that is the assistant's.

    The model goes on from there; what it then says is joined as text, with one space where neither
    side brings white space.
    """
    if not isinstance(prompt, tuple) or not prompt or prompt[-1].role != "assistant":
        return ""
    return prompt[-1].content


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """One answer the model itself gave to a forget prompt.

    Attributes:
        record_id: The forget record whose prompt was asked.
        index: 0 .. N-1 within that record.
        token_ids: The answer's tokens as sampled, the end token included if it was sampled.
        text: The same, decoded without special tokens (for people; training uses `token_ids`).
        log_prob: Summed log-probability (nats) under the model that was asked, at temperature 1.
        finished: False when the length limit cut the answer; no end token is added then.
        is_target: True when the tokens equal the record's own answer (it is then suppressed
            twice, which is the definition; counted and shown).
    """

    record_id: str
    index: int
    token_ids: tuple[int, ...]
    text: str
    log_prob: float
    finished: bool
    is_target: bool


@dataclass(frozen=True, slots=True)
class Score:
    """One number about one example, or the reason why there is none.

    Exactly one of `value` and `unscored` is set: a score that could not be computed is never 0.
    """

    value: float | None
    unscored: str | None = None
    example_id: str = ""
    group: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.unscored is None):
            raise ValueError("a Score has either a value or a reason for having none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An aggregate with everything needed to read it honestly.

    Attributes:
        value: The point estimate, or None when nothing could be scored.
        low: Lower end of the interval, or None.
        high: Upper end of the interval, or None.
        n: Number of scored examples.
        n_unscored: Number of examples without a score.
        unit: For example `probability`, `nats`, `count`.
        convention: Which definition was used, for example `unbelief` or `open-unlearning`.
        version: Version of that definition.
        interval: How the interval was made, for example `clustered bootstrap 95 %`.
        reasons: Why examples are unscored, with counts.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_unscored: int
    unit: str
    convention: str
    version: int
    interval: str
    reasons: dict[str, int] = field(default_factory=dict)
