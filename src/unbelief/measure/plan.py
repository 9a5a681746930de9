"""What is to be measured: item sets, and what is needed of each.

A plan knows records and needs, no model and no tokenizer. What a record lacks is not planned: the
reason is kept in words and stands in `Example.unmeasured`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from unbelief.beliefs.decoding import Decoding
from unbelief.errors import RequestError
from unbelief.measure.tables import AnswerNeed, GradientNeed, Need, PromptKind, TextNeed
from unbelief.types import Message, Record


class Unmeasurable(Exception):
    """Something cannot be measured on a record; the message completes "unmeasured, because ..."."""


@dataclass(frozen=True)
class Plan:
    """Item sets and the union of what is needed of each.

    Attributes:
        sets: Records by set name, in the order of all results.
        needs: Needs per set name; the same need twice counts once.

    Raises:
        RequestError: Two records of one set share an id, or a decoding cannot give its samples.
        ValueError: Needs of a set that does not exist.
    """

    sets: Mapping[str, Sequence[Record]]
    needs: Mapping[str, Sequence[Need]]

    def __post_init__(self) -> None:
        unknown = self.needs.keys() - self.sets.keys()
        if unknown:
            raise ValueError(f"needs of sets that do not exist: {sorted(unknown)}")
        sets = {name: tuple(records) for name, records in self.sets.items()}
        needs = {name: tuple(dict.fromkeys(self.needs.get(name, ()))) for name in sets}
        for name, records in sets.items():
            _check_ids(name, records)
        for need in dict.fromkeys(n for its in needs.values() for n in its):
            if isinstance(need, TextNeed):
                need.decoding.check_samples(need.samples)
        object.__setattr__(self, "sets", sets)
        object.__setattr__(self, "needs", needs)

    @property
    def all_needs(self) -> tuple[Need, ...]:
        """Every need once, in order of first appearance; results name needs by their place here."""
        return tuple(dict.fromkeys(need for its in self.needs.values() for need in its))


def _check_ids(name: str, records: Sequence[Record]) -> None:
    seen: dict[str, Record] = {}
    for record in records:
        if record.id in seen:
            raise RequestError(
                f"two records of the set {name!r} have the id {record.id!r}",
                where=record.source or None,
                remedy=f"rename one; the other is {seen[record.id].source or 'before it'}",
            )
        seen[record.id] = record


def asked(record: Record, prompt: PromptKind) -> Record:
    """The record with the wanted prompt as its own.

    In a conversation the paraphrase takes the place of what the user said last.

    Raises:
        Unmeasurable: There is no paraphrased prompt.
    """
    if prompt == "own":
        return record
    if record.paraphrased_prompt is None:
        raise Unmeasurable("the record has no paraphrased prompt")
    words: str | tuple[Message, ...] = record.paraphrased_prompt
    if isinstance(record.prompt, tuple):
        last = max(i for i, turn in enumerate(record.prompt) if turn.role == "user")
        turn = Message("user", record.paraphrased_prompt)
        words = (*record.prompt[:last], turn, *record.prompt[last + 1 :])
    return replace(record, prompt=words)


def texts_of(record: Record, need: AnswerNeed) -> tuple[str, ...]:
    """The texts to score for a need, in the record's order.

    Raises:
        Unmeasurable: The record has none.
    """
    found = {
        "answer": (record.answer,),
        "paraphrase": record.paraphrases,
        "perturbed": record.perturbed,
        "choice": record.choices,
    }[need.answer]
    if not found:
        raise Unmeasurable(f"the record has no {_PLURAL[need.answer]}")
    return found


_PLURAL = {
    "answer": "answers",
    "paraphrase": "paraphrases",
    "perturbed": "perturbed answers",
    "choice": "choices",
}
_KINDS: dict[str, type[AnswerNeed] | type[TextNeed] | type[GradientNeed]] = {
    "answer": AnswerNeed,
    "text": TextNeed,
    "gradient": GradientNeed,
}


def need_to_dict(need: Need) -> dict[str, Any]:
    """Plain values of a need, for metadata."""
    kind = next(name for name, type_ in _KINDS.items() if isinstance(need, type_))
    return {"kind": kind, **asdict(need)}


def need_from_dict(values: Mapping[str, Any]) -> Need:
    """Inverse of `need_to_dict`; unknown names raise TypeError or KeyError."""
    options = dict(values)
    kind = _KINDS[options.pop("kind")]
    if "decoding" in options:
        options["decoding"] = Decoding.from_dict(options["decoding"])
    return kind(**options)
