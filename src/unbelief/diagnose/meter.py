"""Log-probabilities of targets, candidates and responses under a model, through the answer head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unbelief.diagnose.candidates import CandidateSet
from unbelief.diagnose.points import Reading, Role
from unbelief.diagnose.responses import Response
from unbelief.errors import RequestError
from unbelief.models.runner import AnswerModel
from unbelief.models.stats import AnswerStats, Needs
from unbelief.tokens.batch import Row
from unbelief.types import Record

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoded, Encoder

# Forwards of a diagnosis keep no activations, so they may be larger than those of training.
_TOKENS = {"cpu": 2048}
_TOKENS_DEVICE = 32_768


class SqueezeMeter:
    """Measures the same answers again and again.

    Args:
        encoder: Records to tokens.
        records: The records of the candidate set, in any order; others are ignored.
        candidates: What is followed besides the targets.
        responses: Further texts to follow.
        top_k: k of the belief mass S_k on the target's tokens.

    Raises:
        RequestError: A record is missing, or top_k is below 1.
    """

    def __init__(
        self,
        encoder: Encoder,
        records: Sequence[Record],
        candidates: CandidateSet,
        responses: Sequence[Response] = (),
        top_k: int = 20,
    ):
        if top_k < 1:
            raise RequestError(f"top_k={top_k}", where="top_k", remedy="give 1 or more")
        by_id = {r.id: r for r in records}
        chosen = [by_id[name] for name in candidates.meta.record_ids]
        encoded = {r.id: encoder.encode(r) for r in chosen}
        self.top_k = top_k
        self._targets = [_row(e, e.answer_ids) for e in encoded.values()]
        self._others: list[_Other] = []
        for c in candidates.candidates:
            self._add(encoded[c.record_id], c.token_ids, "candidate", str(c.rank))
        for response in responses:
            for record in chosen:
                if response.record_id in (None, record.id):
                    answer = encoder.encode(record, answer=response.text).answer_ids
                    self._add(encoded[record.id], answer, "response", response.name)

    def _add(self, target: Encoded, ids: tuple[int, ...], role: Role, name: str) -> None:
        shared = shared_tokens(ids, target.answer_ids)
        self._others.append(_Other(_row(target, ids), role, name, shared))

    @property
    def rows(self) -> int:
        """Sequences of one measurement."""
        return len(self._targets) + len(self._others)

    def measure(self, model: AnswerModel) -> tuple[Reading, ...]:
        """Readings of every answer; the model keeps its training mode.

        Always computed in the precision of the weights: a run under autocast is measured like the
        model it will be saved as.
        """
        with torch.autocast(model.device.type, enabled=False):
            return (*self._targets_of(model), *self._others_of(model))

    def _targets_of(self, model: AnswerModel) -> Iterator[Reading]:
        needs = Needs(top_k=min(self.top_k, model.vocabulary))
        found: dict[int, Reading] = {}
        for part in _parts(self._targets, model):
            rows = [self._targets[i] for i in part]
            stats = model.stats(rows, needs, moments=True)
            assert stats.topk_mass is not None and stats.entropy is not None
            length = stats.length
            masses = (stats.sum_per_answer(stats.topk_mass) / length).tolist()
            entropies = (stats.sum_per_answer(stats.entropy) / length).tolist()
            for k, (i, each) in enumerate(zip(part, _per_answer(stats), strict=True)):
                found[i] = Reading(
                    record_id=rows[k].key,
                    role="target",
                    name="target",
                    log_prob=math.fsum(each),
                    tokens=len(each),
                    mass=masses[k],
                    entropy=entropies[k],
                )
        return (found[i] for i in range(len(self._targets)))

    def _others_of(self, model: AnswerModel) -> Iterator[Reading]:
        found: dict[int, Reading] = {}
        for part in _parts([o.row for o in self._others], model):
            stats = model.stats([self._others[i].row for i in part], Needs())
            for i, each in zip(part, _per_answer(stats), strict=True):
                other = self._others[i]
                own = each[other.shared :]
                found[i] = Reading(
                    record_id=other.row.key,
                    role=other.role,
                    name=other.name,
                    log_prob=math.fsum(each),
                    tokens=len(each),
                    own_log_prob=math.fsum(own) if own else None,
                    own_tokens=len(own) or None,
                )
        return (found[i] for i in range(len(self._others)))


@dataclass(frozen=True, slots=True)
class _Other:
    """An answer besides the target.

    Attributes:
        row: Its tokens.
        role: What it is.
        name: As in `Reading`.
        shared: How many of its first tokens are the target's.
    """

    row: Row
    role: Role
    name: str
    shared: int


def shared_tokens(ids: Sequence[int], target: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    n = 0
    for one, other in zip(ids, target, strict=False):
        if one != other:
            break
        n += 1
    return n


def _row(encoded: Encoded, answer_ids: tuple[int, ...]) -> Row:
    return Row(encoded.record_id, "target", encoded.prompt_ids, answer_ids)


def _per_answer(stats: AnswerStats) -> list[list[float]]:
    """The log π of every token, answer by answer."""
    counts = torch.bincount(stats.segment.cpu(), minlength=stats.n_answers).tolist()
    return [each.tolist() for each in stats.logp.double().cpu().split(counts)]


def _parts(rows: Sequence[Row], model: AnswerModel) -> Iterator[list[int]]:
    """Rows of similar length together, filled up to a number of tokens."""
    limit = _TOKENS.get(model.device.type, _TOKENS_DEVICE)
    part: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: -rows[i].length):
        if part and (len(part) + 1) * rows[part[0]].length > limit:
            yield part
            part = []
        part.append(i)
    if part:
        yield part
