"""The one place that reduces, selects and weighs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from unbelief.errors import RequestError
from unbelief.models.stats import AnswerStats
from unbelief.objectives import BSS, BST, GA, KL, NLL, NPO, Objective
from unbelief.objectives.base import Counts, describe

# One step: forget pairs A and B, each with two beliefs at λ = 0.5. Kind, ω and log-probabilities.
ROWS: list[tuple[str, float, list[float]]] = [
    ("target", 0.5, [-1, -3]),  # A
    ("belief", 0.25, [-2]),
    ("belief", 0.25, [-4, -6]),
    ("target", 0.5, [-2, -2, -5]),  # B
    ("belief", 0.25, [-1]),
    ("belief", 0.25, [-8]),
]
COUNTS = {
    "target": Counts(pairs=2, weight=1.0, tokens=5),
    "belief": Counts(pairs=2, weight=1.0, tokens=5),
    "retain": Counts(pairs=2, weight=2.0, tokens=4),
}


def stats_of(answers: Sequence[Sequence[float]], weight: list[float] | None = None) -> AnswerStats:
    logp = torch.tensor([float(x) for a in answers for x in a], requires_grad=True)
    return AnswerStats(
        logp=logp,
        segment=torch.repeat_interleave(
            torch.arange(len(answers)), torch.tensor([len(a) for a in answers])
        ),
        weight=torch.ones_like(logp) if weight is None else torch.tensor(weight),
        n_answers=len(answers),
        ref_logp=logp.detach(),
    )


def loss(objective: Objective, rows: Any, side: Any = "forget") -> float:
    """The rows' share of the step's loss: per kind, as training hands them over."""
    total = 0.0
    for kind in ("target", "belief", "retain"):
        own = [r for r in rows if r[0] == kind]
        if not own:
            continue
        stats = objective.select(stats_of([r[2] for r in own]))
        weight = torch.tensor([r[1] for r in own])
        scale = objective.answer_scale(side, weight, stats.length, COUNTS[kind])
        total += objective.loss(side, stats, scale).item()
    return total


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        # ½ [½(-2) + ¼(-2) + ¼(-5) + ½(-3) + ¼(-1) + ¼(-8)]
        ("sequence_mean", -3.25),
        # ½ [½(-4) + ¼(-2) + ¼(-10) + ½(-9) + ¼(-1) + ¼(-8)]
        ("sum", -5.875),
        # (1-λ) · mean of the 5 target tokens + λ · mean of the 5 belief tokens: ½(-13/5) + ½(-21/5)
        ("token_mean", -3.4),
    ],
)
def test_reductions_of_pairs_with_beliefs(reduction: Any, expected: float) -> None:
    objective = Objective(BSS(inner=GA()), reduction=reduction)
    assert loss(objective, ROWS) == pytest.approx(expected)
    # A step is the sum of its micro-batches, however it is cut.
    for cut in range(1, len(ROWS)):
        parts = loss(objective, ROWS[:cut]) + loss(objective, ROWS[cut:])
        assert parts == pytest.approx(expected)
    # A row of weight 0 fills an idle process and adds nothing.
    assert loss(objective, [*ROWS, ("target", 0.0, [-9, -9])]) == pytest.approx(expected)
    # γ scales the forget side.
    doubled = objective.with_options(forget_weight=2.0)
    assert loss(doubled, ROWS) == pytest.approx(2 * expected)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "sum"])
def test_sequence_terms_are_averaged_over_answers_by_any_reduction(reduction: Any) -> None:
    # At the reference every NPO value is (2/β) ln 2 = 20 ln 2, and the ω of a pair sum to 1.
    objective = Objective(BSS(inner=NPO()), reduction=reduction)
    assert loss(objective, ROWS) == pytest.approx(20 * 0.693147, rel=1e-5)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [("sequence_mean", 3.5), ("token_mean", 2.75), ("sum", 5.5)],
)
def test_reductions_of_retain_rows(reduction: Any, expected: float) -> None:
    # Two answers, -log p = 1, 2, 3 and 5: means 2 and 5; 11 over 4 tokens; sums 6 and 5.
    rows = [("retain", 1.0, [-1, -2, -3]), ("retain", 1.0, [-5])]
    objective = Objective(GA(), NLL(), reduction=reduction)
    assert loss(objective, rows, "retain") == pytest.approx(expected)
    tripled = objective.with_options(retain_weight=3.0, forget_weight=0.1)
    assert loss(tripled, rows, "retain") == pytest.approx(3 * expected)


def test_token_weights_count_in_the_mean() -> None:
    stats = stats_of([[-1, -3, -100]], weight=[1, 1, 0])
    objective = Objective(GA())
    one = torch.ones(1)
    scale = objective.answer_scale("forget", one, stats.length, Counts(1, 1, 2))
    assert objective.loss("forget", stats, scale).item() == pytest.approx(-2)  # (-1 - 3) / 2


# Loss selection


@pytest.mark.parametrize(
    ("keep", "fraction", "kept"),
    [
        ("highest_prob", 0.5, [1, 1, 0, 0, 1]),  # int(0.5 · 4) = 2 of the first, 1 of the second
        ("lowest_prob", 0.5, [0, 0, 1, 1, 1]),
        ("highest_prob", 0.8, [1, 1, 1, 0, 1]),  # int(3.2) = 3
        ("lowest_prob", 0.1, [0, 0, 0, 1, 1]),  # int(0.4) = 0, but at least one
        ("lowest_prob", 1.0, [1, 1, 1, 1, 1]),
    ],
)
def test_selection_keeps_the_named_tokens(keep: Any, fraction: float, kept: list[int]) -> None:
    objective = Objective(GA(), keep=keep, keep_fraction=fraction)
    selected = objective.select(stats_of([[-1, -2, -3, -4], [-9]]))
    assert selected.weight.tolist() == kept


def test_selected_tokens_alone_make_the_mean() -> None:
    # The half kept of (-1, -2, -3, -4) is (-1, -2): mean -1.5.
    objective = Objective(GA(), keep_fraction=0.5)
    stats = objective.select(stats_of([[-1, -2, -3, -4]]))
    scale = objective.answer_scale("forget", torch.ones(1), stats.length, Counts(1, 1, 4))
    assert objective.loss("forget", stats, scale).item() == pytest.approx(-1.5)


def test_tokens_without_weight_take_nobodys_place() -> None:
    objective = Objective(GA(), keep_fraction=0.5)
    stats = stats_of([[-0.1, -1, -2, -3, -4]], weight=[0, 1, 1, 0.5, 1])
    assert objective.select(stats).weight.tolist() == [0, 1, 1, 0, 0]  # int(0.5 · 4) of four
    empty = stats_of([[-1, -2]], weight=[0, 0])
    assert objective.select(empty).weight.tolist() == [0, 0]


class Misshapen(GA):
    """Gradient ascent that forgets what its values are of."""

    level: ClassVar[Any] = "token"
    give: ClassVar[Any] = None

    def values(self, stats: AnswerStats) -> Tensor:
        return self.give(stats)


@pytest.mark.parametrize(
    ("level", "give", "message"),
    [
        ("token", lambda s: s.logp.mean(), r"are \(\), and one per scored token is \(3,\)"),
        ("token", lambda s: s.logp[:, None], r"are \(3, 1\), and one per scored token"),
        ("token", lambda s: s.sum_per_answer(s.logp), r"are \(2,\), and one per scored token"),
        (
            "sequence",
            lambda s: s.sum_per_answer(s.logp)[:, None],
            r"are \(2, 1\), and one per a",
        ),
        ("sequence", lambda s: s.logp, r"are \(3,\), and one per answer is \(2,\)"),
        ("token", lambda s: 0.0, "are float, and one per scored token"),
    ],
)
def test_values_of_another_shape_are_refused(level: Any, give: Any, message: str) -> None:
    term = type("Other", (Misshapen,), {"level": level, "give": staticmethod(give)})()
    with pytest.raises(RequestError, match=message):
        Objective(term).loss("forget", stats_of([[-1, -2], [-3]]), torch.ones(2))


# Writing an objective down


def test_terms_add_up_in_either_order() -> None:
    expected = Objective(BST(), NLL())
    assert BST() + NLL() == NLL() + BST() == expected
    weighted = Objective(GA(), KL(), forget_weight=0.8, retain_weight=2.0)
    assert 0.8 * GA() + 2 * KL() == 2 * KL() + 0.8 * GA() == weighted


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GA() + NPO(), "one forget term plus one retain term"),
        (lambda: NLL() + 2 * KL(), "one forget term plus one retain term"),
        (lambda: GA() + 3, "3 is not one"),  # type: ignore[operator]
        (lambda: 0.5 * GA() + "nll", "'nll' is not one"),  # type: ignore[operator]
        (lambda: Objective(NLL()), r"NLL\(\) is not a forget term"),  # type: ignore[arg-type]
        (lambda: Objective(0.5 * GA()), "is not a forget term"),  # type: ignore[arg-type]
        (lambda: Objective(GA(), NPO()), "is not a retain term"),  # type: ignore[arg-type]
        (lambda: GA() + NLL() + KL(), "unsupported operand"),  # type: ignore[operator]
        (lambda: Objective(GA()).with_options(gamma=2.0), "gamma"),
    ],
)
def test_what_does_not_add_up_is_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"keep_fraction": 0.0}, r"keep_fraction must lie in \(0, 1\]"),
        ({"keep_fraction": 1.5}, r"keep_fraction must lie in \(0, 1\]"),
        ({"reduction": "mean"}, "unknown reduction 'mean'"),
        ({"keep": "largest"}, "unknown keep 'largest'"),
        ({"forget_weight": -1.0}, "forget_weight must not be negative"),
        ({"retain_weight": float("inf")}, "retain_weight must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(GA(), NLL(), **options)


def test_an_objective_describes_itself_in_full() -> None:
    described = (0.5 * BSS(inner=NPO(beta=0.2)) + KL()).describe()
    json.dumps(described)
    assert described["forget_weight"] == 0.5
    assert described["reduction"] == "sequence_mean"
    assert described["retain"] == {"name": "kl", "direction": "forward"}
    forget = described["forget"]
    assert isinstance(forget, dict)
    assert forget["name"] == "bs-s" and forget["inner"] == {"name": "npo", "beta": 0.2}
    assert describe(None) is None
