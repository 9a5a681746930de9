"""Exact probability masses: how much a model says the fact, in any words.

For a prompt x let G(x) be all grammatical answers (phrasings × values, each with its end token).
Distinct answers are disjoint events, so probabilities add:

    target(x)  = π(dominant phrasing of the true fact | x)
    leak(x)    = Σ π(y | x) over all phrasings of the true fact (the target included)
    natural(x) = Σ π(y | x) over all of G(x), true or false

1 − natural(x) is what falls on anything else: broken sentences, other questions' answers.

All answers to a prompt share prefixes. They are put into one row as a tree (a trie): each token
sees the prompt and its own ancestors only, at the position it would have in its sentence. One
forward then gives what |G(x)| separate ones would give, at a quarter of the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unbelief.lab.intervals import clustered_mean
from unbelief.lab.world import Answer, Attribute, Person, World
from unbelief.tokens.encode import Encoder
from unbelief.types import Estimate, Record

Which = Literal["all", "true"]
Mass = Literal["target", "leak", "natural"]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt with the answers whose probability is wanted.

    Attributes:
        key: Names the question.
        group: The person.
        prompt_ids: Token ids of the prompt.
        answers: Token ids of each answer, end token included.
        target: Per answer, whether it is the phrasing to be forgotten.
        true: Per answer, whether it states the true fact.
    """

    key: str
    group: str
    prompt_ids: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    target: tuple[bool, ...]
    true: tuple[bool, ...]


@dataclass(frozen=True)
class Masses:
    """Masses per question. Q questions.

    Attributes:
        groups: The person asked about, per question.
        target: (Q,) probability of the target phrasing.
        leak: (Q,) probability of the true fact in any phrasing.
        natural: (Q,) probability of all grammatical answers; None where only the true ones were
            asked for.
    """

    groups: tuple[str, ...]
    target: np.ndarray
    leak: np.ndarray
    natural: np.ndarray | None

    def estimate(self, mass: Mass) -> Estimate:
        """Mean over questions with an interval over people.

        Raises:
            ValueError: `natural` where it was not measured.
        """
        values = getattr(self, mass)
        if values is None:
            raise ValueError("the natural mass was not measured for these questions")
        return clustered_mean(values, self.groups)


def questions(
    world: World,
    encoder: Encoder,
    people: Sequence[Person],
    *,
    answers: Which = "all",
    phrasing: int = 0,
    others: Sequence[str] = (),
) -> list[Question]:
    """Questions about some people: every attribute, asked in one phrasing.

    Args:
        world: Whose grammar.
        encoder: Turns text into the ids the model was trained on.
        people: Who is asked about.
        answers: All grammatical answers, or the true ones only (cheaper).
        phrasing: Which way of asking.
        others: Sentences that answer any question naturally without stating a value: refusals.
    """
    return [
        _question(world, encoder, person, attribute, answers, phrasing, others)
        for person in people
        for attribute in world.attributes
    ]


def _question(
    world: World,
    encoder: Encoder,
    person: Person,
    attribute: Attribute,
    which: Which,
    phrasing: int,
    others: Sequence[str],
) -> Question:
    prompt = world.question(person, attribute, phrasing)
    chosen: list[Answer] = [
        a for a in world.grammatical_answers(person, attribute) if a.true or which == "all"
    ]
    texts = [*(a.text for a in chosen), *others]
    encoded = [encoder.encode(Record(id="", prompt=prompt, answer=text)) for text in texts]
    neither = (False,) * len(others)
    return Question(
        key=f"{person.name}/{attribute.name}",
        group=person.name,
        prompt_ids=encoded[0].prompt_ids,
        answers=tuple(e.answer_ids for e in encoded),
        target=(*(a.true and a.phrasing == 0 for a in chosen), *neither),
        true=(*(a.true for a in chosen), *neither),
    )


class MassMeter:
    """Measures the masses of fixed questions, quickly and as often as wanted.

    Args:
        asked: The questions.
        rows_per_forward: Trees per forward.
        natural: Whether the questions list all grammatical answers, so that their sum has the
            meaning of the natural mass.
    """

    def __init__(self, asked: Sequence[Question], *, natural: bool, rows_per_forward: int = 64):
        if not asked:
            raise ValueError("there are no questions to measure")
        self.asked = tuple(asked)
        self.natural = natural
        self._packs = [
            _pack(self.asked[i : i + rows_per_forward])
            for i in range(0, len(self.asked), rows_per_forward)
        ]

    def measure(self, model: Any) -> Masses:
        """Masses under a model, which keeps its training mode.

        Args:
            model: A causal language model that takes `input_ids`, a float 4-D `attention_mask` and
                `position_ids`, and returns something with `logits`.
        """
        probabilities = [p.exp().double().numpy() for p in self.log_probs(model)]
        pairs = list(zip(self.asked, probabilities, strict=True))
        return Masses(
            groups=tuple(q.group for q in self.asked),
            target=np.array([p[list(q.target)].sum() for q, p in pairs]),
            leak=np.array([p[list(q.true)].sum() for q, p in pairs]),
            natural=np.array([p.sum() for p in probabilities]) if self.natural else None,
        )

    @torch.no_grad()
    def log_probs(self, model: Any) -> list[Tensor]:
        """Return log π(y | x) in nats of every answer of every question, each (answers,)."""
        was_training = model.training
        model.eval()
        try:
            return [logp for pack in self._packs for logp in pack.log_probs(model)]
        finally:
            model.train(was_training)


@dataclass(frozen=True)
class _Pack:
    """Some questions as trees in one batch. R rows, L length, S tokens of all answers."""

    input_ids: Tensor  # (R, L)
    position_ids: Tensor  # (R, L)
    mask: Tensor  # (R, 1, L, L), 0 where a token may look and -inf elsewhere
    row: Tensor  # (S,)
    parent: Tensor  # (S,) position that predicts the token
    token: Tensor  # (S,)
    answer: Tensor  # (S,) answer the token belongs to, counted over the whole pack
    sizes: tuple[int, ...]  # answers per question

    def log_probs(self, model: Any) -> tuple[Tensor, ...]:
        device = next(model.parameters()).device
        logits = model(
            input_ids=self.input_ids.to(device),
            attention_mask=self.mask.to(device),
            position_ids=self.position_ids.to(device),
            use_cache=False,
        ).logits
        rows, parents = self.row.to(device), self.parent.to(device)
        normal = logits.float().logsumexp(dim=-1)[rows, parents]
        steps = (logits[rows, parents, self.token.to(device)].float() - normal).cpu().double()
        total = torch.zeros(sum(self.sizes), dtype=torch.float64)
        return total.index_add_(0, self.answer, steps).split(self.sizes)


class _Tree:
    """The prefixes of a question's answers, each once.

    Attributes:
        tokens: The prompt, then every inner node (a token that something follows).
        parents: Index of the token before, per token; -1 for the first.
        paths: For each answer the (parent, token) pairs to be looked up.
    """

    def __init__(self, question: Question):
        self.tokens = list(question.prompt_ids)
        self.parents = list(range(-1, len(self.tokens) - 1))
        self.paths: list[list[tuple[int, int]]] = []
        known: dict[tuple[int, int], int] = {}
        for answer in question.answers:
            node, path = len(question.prompt_ids) - 1, []
            for i, token in enumerate(answer):
                path.append((node, token))
                if i == len(answer) - 1:
                    break  # nothing follows, so it need not be read
                if (node, token) not in known:
                    known[node, token] = len(self.tokens)
                    self.tokens.append(token)
                    self.parents.append(node)
                node = known[node, token]
            self.paths.append(path)


def _pack(asked: Sequence[Question]) -> _Pack:
    trees = [_Tree(q) for q in asked]
    width = max(len(t.tokens) for t in trees)
    ids = torch.zeros(len(trees), width, dtype=torch.long)
    positions = torch.zeros(len(trees), width, dtype=torch.long)
    # Padding sees itself, so that no row of the softmax is empty.
    visible = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)
    for r, tree in enumerate(trees):
        ids[r, : len(tree.tokens)] = torch.tensor(tree.tokens)
        for i, parent in enumerate(tree.parents):
            if parent >= 0:
                visible[r, i] |= visible[r, parent]
                positions[r, i] = positions[r, parent] + 1
    flat = [
        (r, parent, token, number)
        for r, tree in enumerate(trees)
        for number, path in enumerate(tree.paths, start=sum(len(q.answers) for q in asked[:r]))
        for parent, token in path
    ]
    row, parent_of, token_of, answer_of = torch.tensor(flat).T
    mask = torch.zeros(visible.shape).masked_fill_(~visible, float("-inf"))
    return _Pack(
        ids,
        positions,
        mask[:, None],
        row,
        parent_of,
        token_of,
        answer_of,
        tuple(len(q.answers) for q in asked),
    )
