"""What an attack is: a frozen dataclass whose fields are its options, of one of two kinds.

A `ModelIntervention` changes a model for the time of a `with` block, a `PromptIntervention` changes
prompts. Neither knows how success is measured: the attacked model or records go through the same
measurements as the untouched ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from unbelief.errors import RequestError
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.models.runner import AnswerModel
    from unbelief.tokens.encode import Encoder

Kind = Literal["model", "prompts"]
Need = Literal["forget", "retain", "unrelated", "model"]
"""What of a `Context` an attack cannot do without."""
Option = str | int | float | bool

_NEEDED = {
    "forget": ("the records that were forgotten", "give forget records"),
    "retain": ("retain records", "give retain records"),
    "unrelated": ("unrelated records", "give unrelated records"),
    "model": ("the model that is attacked", "put it into the context"),
}


class Unattackable(Exception):
    """An attack cannot be made on a record; the message completes "not attacked, because ..."."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an attacker has besides the model or the prompts it attacks.

    Attributes:
        encoder: Renders prompts for the attacked model.
        forget: Records that were forgotten: what relearning starts from.
        retain: Records the model should still know.
        unrelated: Records of another kind, for relearning on harmless data.
        model: The attacked model, for attacks on prompts that ask it first.
    """

    encoder: Encoder
    forget: Sequence[Record] = ()
    retain: Sequence[Record] = ()
    unrelated: Sequence[Record] = ()
    model: AnswerModel | None = None


@dataclass(frozen=True)
class Attacked:
    """Prompts after an attack.

    Attributes:
        records: The attacked records, in the order they came, with their own ids and answers.
        unattacked: By id of a record that is not among them, the reason.
        how: By id of an attacked record, what was done, in few words.
    """

    records: tuple[Record, ...]
    unattacked: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Intervention(ABC):
    """Base of attacks. Fields have plain types and defaults; a bad value raises ValueError.

    Class attributes:
        name: How the command line calls it.
        kind: What it changes.
        asks_for: What it takes, in words: access, data, template.
        cost: What it costs, in words.
        source: Paper or project that describes it.
        off: Options with which nothing is changed; empty where there is no such setting.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]
    asks_for: ClassVar[str]
    cost: ClassVar[str]
    source: ClassVar[str]
    off: ClassVar[Mapping[str, Option]] = {}

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the context must hold for these options."""
        return ()

    def lacks(self, context: Context) -> str | None:
        """What the context lacks for this attack, in words; None when nothing."""
        absent = [_NEEDED[need][0] for need in self.needs if not getattr(context, need)]
        return f"{self.name} needs {' and '.join(absent)}" if absent else None

    def require(self, context: Context) -> None:
        """Refuse a context that lacks something.

        Raises:
            RequestError: It does.
        """
        lacking = self.lacks(context)
        if lacking is not None:
            remedies = [_NEEDED[need][1] for need in self.needs if not getattr(context, need)]
            raise RequestError(lacking, where=self.name, remedy="; ".join(remedies))


@dataclass(frozen=True)
class ModelIntervention(Intervention):
    """An attack on a model: its weights, its precision, or where its answer is read.

    One loaded model serves many attacks: whatever is changed is put back, bit by bit, when the
    block ends, whether it ends well or not.
    """

    kind: ClassVar[Kind] = "model"

    @abstractmethod
    def applied(self, model: AnswerModel, context: Context) -> AbstractContextManager[AnswerModel]:
        """The attacked model, for the time of a block.

        Args:
            model: Attacked in place where weights change; do not use it inside the block.
            context: Encoder and data.

        Raises:
            RequestError: The context lacks something, or the model cannot be attacked so.
        """


@dataclass(frozen=True)
class PromptIntervention(Intervention):
    """An attack on prompts.

    A record's new prompt depends on that record, its id, the options and the context, not on the
    order of records. The attack is on `Record.prompt`; attacked records have no
    `paraphrased_prompt`, since measuring that would measure no attack.

    Class attributes:
        splits_answer: The model is given the beginning of the true answer, and the record's answer
            is the rest of it. Otherwise answers stay as they are.
    """

    kind: ClassVar[Kind] = "prompts"
    splits_answer: ClassVar[bool] = False

    @abstractmethod
    def attacked(
        self, records: Sequence[Record], context: Context
    ) -> Sequence[tuple[Record, str] | Unattackable]:
        """Per record its attacked form and what was done, or why there is none."""

    def apply(self, records: Sequence[Record], context: Context) -> Attacked:
        """The attacked records, and a reason for each that could not be attacked.

        Besides what `attacked` refuses, that is what the chat template refuses or leaves out: a
        system message that is never rendered attacks nobody.

        Raises:
            RequestError: The context lacks something, or two records share an id.
        """
        self.require(context)
        twice = [i for i, n in Counter(record.id for record in records).items() if n > 1]
        if twice:
            raise RequestError(
                f"two records have the id {twice[0]!r}", where="records", remedy="rename one"
            )
        out: list[Record] = []
        reasons, how = {}, {}
        for record, found in zip(records, self.attacked(records, context), strict=True):
            try:
                if isinstance(found, Unattackable):
                    raise found
                _check_rendering(record, found[0], context.encoder)
            except Unattackable as reason:
                reasons[record.id] = str(reason)
                continue
            out.append(found[0])
            how[record.id] = found[1]
        return Attacked(tuple(out), reasons, how)


def _check_rendering(before: Record, after: Record, encoder: Encoder) -> None:
    """Refuse a changed prompt that the model would see unchanged, or not at all."""
    if after.prompt == before.prompt:
        return
    try:
        same = encoder.encode_prompt(after.prompt) == encoder.encode_prompt(before.prompt)
    except RequestError as error:
        raise Unattackable(error.message) from error
    if same:
        raise Unattackable("the chat template leaves out what the attack adds")
