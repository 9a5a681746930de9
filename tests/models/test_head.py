"""The chunked answer head equals full logits and autograd, whatever is asked of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.plain_head import EVERYTHING, Case, make_case, plain_logits, plain_stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unbelief.models.dense import full_logits, stats_from_logits
from unbelief.models.head import (
    HeadWeights,
    LogitMap,
    TokenInputs,
    answer_loss,
    answer_spans,
    answer_stats,
    chunk_rows,
)
from unbelief.models.stats import AnswerStats, Needs

SMALL = 16 * 101 * 4  # bytes of 16 rows of 101 fp32 logits: the smallest chunk there is


def logp_loss(s: AnswerStats) -> Tensor:
    return s.sum_per_answer(s.logp).mul(0.1).exp().add(1).log().sum()  # like NPO: per answer


def beliefs_loss(s: AnswerStats) -> Tensor:
    assert s.topk_logp is not None
    q = s.topk_logp.softmax(-1).detach()
    return s.sum_per_answer(0.8 * s.logp + 0.2 * (q * s.topk_logp).sum(-1)).square().sum()


def undetached_loss(s: AnswerStats) -> Tensor:
    assert s.topk_logp is not None
    return s.sum_per_answer((s.topk_logp.softmax(-1) * s.topk_logp).sum(-1)).sum()


def reference_beliefs_loss(s: AnswerStats) -> Tensor:
    assert s.topk_logp is not None and s.ref_topk_logp is not None
    return s.sum_per_answer((s.ref_topk_logp.softmax(-1) * s.topk_logp).sum(-1)).sum()


def kl_loss(s: AnswerStats) -> Tensor:
    assert s.kl is not None
    return s.sum_per_answer(s.kl.square()).sum()


def margin_loss(s: AnswerStats) -> Tensor:
    assert s.topk_logp is not None and s.mean_logp is not None
    return s.sum_per_answer((s.topk_logp[:, 0] - s.mean_logp).square()).sum()


def others_loss(s: AnswerStats) -> Tensor:
    assert s.log_others is not None
    return s.sum_per_answer(s.log_others.square() + s.logp).sum()


def mixed_loss(s: AnswerStats) -> Tensor:
    return logp_loss(s) + beliefs_loss(s) + kl_loss(s) + margin_loss(s)


LOSSES: dict[str, tuple[Needs, Callable[[AnswerStats], Tensor]]] = {
    "logp": (Needs(), logp_loss),
    "beliefs": (Needs(top_k=7), beliefs_loss),
    "beliefs with gradient": (Needs(top_k=7), undetached_loss),
    "all beliefs": (Needs(top_k=500), undetached_loss),  # k > V is V
    "reference beliefs": (Needs(top_k=5, beliefs_from="reference"), reference_beliefs_loss),
    "kl forward": (Needs(kl="forward"), kl_loss),
    "kl reverse": (Needs(kl="reverse"), kl_loss),
    "kl others": (Needs(kl="others"), kl_loss),
    "others": (Needs(log_others=True), others_loss),
    "margin": (Needs(top_k=1, mean_logp=True), margin_loss),
    "mixed": (Needs(top_k=7, kl="reverse", mean_logp=True, diagnostics=True), mixed_loss),
}
MAPS = {
    "plain": (LogitMap(), 1.0),
    "softcap": (LogitMap(softcap=2.0), 1.0),
    "scale": (LogitMap(scale=0.3), 1.0),
    "all and temperature": (EVERYTHING, 2.0),
}


def head_gradients(
    case: Case, name: str, chunk_bytes: int | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    needs, loss = LOSSES[name]
    value = answer_loss(case.hidden, case.head, [case.job(needs, loss)], chunk_bytes=chunk_bytes)
    return value, torch.autograd.grad(value, case.leaves)


def plain_gradients(case: Case, name: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    needs, loss = LOSSES[name]
    truth = case.to(torch.float64)
    value = loss(plain_stats(truth, needs))
    return value, torch.autograd.grad(value, truth.leaves)


def assert_close(got: Tensor, expected: Tensor, relative: float = 2e-5) -> None:
    """Within `relative` of the largest entry: small entries carry the large ones' rounding."""
    assert got.shape == expected.shape
    error = (got.double() - expected.double()).abs().max()
    assert error <= relative * expected.double().abs().max().clamp_min(1e-3), float(error)


@pytest.mark.parametrize("chunk_bytes", [SMALL, None], ids=["two passes", "one chunk"])
@pytest.mark.parametrize("mapped", MAPS)
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradients_equal_autograd_on_full_logits(
    name: str, mapped: str, chunk_bytes: int | None
) -> None:
    # Answers of 20 and 33 tokens do not fit 16 rows; those of 7 and 5 do.
    logit_map, temperature = MAPS[mapped]
    k = 5 if "reference" in name else 0
    case = make_case(logit_map=logit_map, temperature=temperature, ref_top_k=k)
    value, gradients = head_gradients(case, name, chunk_bytes)
    expected, expected_gradients = plain_gradients(case, name)
    assert_close(value.detach(), expected.detach())
    for got, want in zip(gradients, expected_gradients, strict=True):
        assert_close(got, want)


@pytest.mark.parametrize("chunk_bytes", [SMALL, None], ids=["chunks", "one chunk"])
@pytest.mark.parametrize("mapped", MAPS)
@pytest.mark.parametrize("beliefs_from", ["policy", "reference"])
def test_statistics_equal_their_definitions(
    beliefs_from: Any, mapped: str, chunk_bytes: int | None
) -> None:
    logit_map, temperature = MAPS[mapped]
    k = 6 if beliefs_from == "reference" else 0
    case = make_case(logit_map=logit_map, temperature=temperature, ref_top_k=k)
    needs = Needs(top_k=6, beliefs_from=beliefs_from, diagnostics=True)
    got = answer_stats(
        case.hidden, case.head, case.tokens, needs, moments=True, chunk_bytes=chunk_bytes
    )
    assert_same_statistics(got, plain_stats(case.to(torch.float64), needs))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_full_logit_twin_equals_the_definitions(direction: Any) -> None:
    case = make_case(logit_map=EVERYTHING, temperature=1.7)
    needs = Needs(top_k=6, kl=direction, diagnostics=True)
    logits = full_logits(case.hidden, case.head)
    ref_logits = full_logits(case.ref_hidden, case.ref_head)
    got = stats_from_logits(logits, case.tokens, needs, ref_logits, moments=True)
    assert_same_statistics(got, plain_stats(case.to(torch.float64), needs))


def assert_same_statistics(got: AnswerStats, expected: AnswerStats) -> None:
    for f in fields(AnswerStats):
        left, right = getattr(got, f.name), getattr(expected, f.name)
        assert (left is None) == (right is None), f.name
        if isinstance(left, Tensor) and left.is_floating_point():
            assert_close(left.detach(), right.detach())
        elif isinstance(left, Tensor):
            assert torch.equal(left, right), f.name


def test_double_precision_weights_work_with_single_precision_statistics() -> None:
    case = make_case().to(torch.float64)
    value, gradients = head_gradients(case, "mixed", SMALL)
    expected, expected_gradients = plain_gradients(case, "mixed")
    assert_close(value.detach(), expected.detach())
    for got, want in zip(gradients, expected_gradients, strict=True):
        assert got.dtype == torch.float64
        assert_close(got, want)


def test_hits_are_where_the_target_is_the_most_probable_token() -> None:
    # W = I, so logits are the hidden states: targets 1 and 0, arg max 1 and 2.
    hidden = torch.tensor([[0.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
    tokens = TokenInputs(torch.tensor([1, 0]), torch.tensor([0, 0]), 1, torch.ones(2))
    stats = answer_stats(hidden, HeadWeights(torch.eye(3)), tokens, Needs())
    assert stats.hit is not None and stats.hit.tolist() == [True, False]


def test_moments_of_two_tokens() -> None:
    # π = (3/4, 1/4): ln π takes two values ln 3 apart, so its variance is 3/4 · 1/4 · ln² 3 and
    # the entropy ln 4 - 3/4 ln 3. Equal logits, or a certain token: no variance.
    hidden = torch.tensor([[math.log(3.0), 0.0], [7.0, 7.0], [1e4, 0.0]])
    tokens = TokenInputs(torch.tensor([0, 0, 0]), torch.tensor([0, 0, 0]), 1, torch.ones(3))
    for stats in (
        answer_stats(hidden, HeadWeights(torch.eye(2)), tokens, Needs(), moments=True),
        stats_from_logits(hidden, tokens, Needs(), moments=True),
    ):
        assert stats.entropy is not None and stats.variance is not None
        assert_close(
            stats.entropy, torch.tensor([math.log(4) - 0.75 * math.log(3), math.log(2), 0])
        )
        assert_close(stats.variance, torch.tensor([3 / 16 * math.log(3) ** 2, 0, 0]))


@pytest.mark.parametrize("gap", [0.0, 1e-3, 1.0, 10.0, 40.0, 80.0, 200.0])
def test_moments_from_even_to_certain_distributions_are_those_of_float64(gap: float) -> None:
    # One token stands out by `gap`, the others are spread by much less than it, and all rows lie
    # somewhere else; so many rows that they are cut into chunks, and those into blocks.
    torch.manual_seed(0)
    rows, size = 300, 1000
    z = 0.01 * gap * torch.rand(rows, size) + 30 * torch.randn(rows, 1)
    z[torch.arange(rows), torch.randint(size, (rows,))] += gap
    tokens = TokenInputs(torch.zeros(rows, dtype=torch.long), torch.arange(rows), rows, z[:, 0])
    stats = answer_stats(z, HeadWeights(torch.eye(size)), tokens, Needs(), moments=True)
    log_pi = z.double().log_softmax(dim=1)
    pi = log_pi.exp()
    entropy = -(pi * log_pi).sum(dim=1)
    variance = (pi * (log_pi + entropy[:, None]).square()).sum(dim=1)
    assert stats.entropy is not None and stats.variance is not None
    # Of ln S, where S is a float near 1, no more is known than a float's last digit.
    torch.testing.assert_close(stats.entropy.double(), entropy, rtol=2e-6, atol=2e-7)
    torch.testing.assert_close(stats.variance.double(), variance, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(stats.logp.double(), log_pi[:, 0], rtol=1e-6, atol=1e-6)


def test_moments_of_some_tokens_are_those_of_all() -> None:
    torch.manual_seed(0)
    rows, size = 300, 1000  # cut into chunks, and the chosen ones into blocks
    z, of = torch.randn(rows, size), torch.rand(rows) < 0.4
    tokens = TokenInputs(torch.zeros(rows, dtype=torch.long), torch.arange(rows), rows, z[:, 0])
    for chosen in (of, torch.zeros_like(of)):
        for stats_with in (
            lambda moments: answer_stats(
                z, HeadWeights(torch.eye(size)), tokens, Needs(), moments=moments
            ),
            lambda moments: stats_from_logits(z, tokens, Needs(), moments=moments),
        ):
            some, every = stats_with(chosen), stats_with(True)
            for name in ("entropy", "variance"):
                want = torch.where(chosen, getattr(every, name), torch.nan)
                torch.testing.assert_close(getattr(some, name), want, equal_nan=True)
            assert torch.equal(some.logp, every.logp)


def test_tokens_of_no_probability_have_no_share_in_the_moments() -> None:
    # A logit of -inf: the other two tokens have 1/2 each.
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    tokens = TokenInputs(torch.tensor([2]), torch.tensor([0]), 1, torch.ones(1))
    head = HeadWeights(torch.eye(3), bias=logits[0])
    for stats in (
        answer_stats(torch.zeros(1, 3), head, tokens, Needs(), moments=True),
        stats_from_logits(logits, tokens, Needs(), moments=True),
    ):
        assert stats.entropy is not None and stats.variance is not None
        assert stats.logp.tolist() == [-math.inf]
        assert_close(stats.entropy, torch.tensor([math.log(2)]))
        assert_close(stats.variance, torch.zeros(1))


def test_extreme_logits_stay_finite() -> None:
    # Logits 1e4, 0, -1e4: log π is 0, -1e4, -2e4; their gradient e_y - π is 0 or ±1.
    hidden = torch.tensor([[1e4, 0.0, -1e4]] * 3, requires_grad=True)
    tokens = TokenInputs(
        torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.long), 1, torch.ones(3)
    )
    head = HeadWeights(torch.eye(3))
    assert answer_stats(hidden, head, tokens, Needs()).logp.tolist() == [0.0, -1e4, -2e4]
    case = replace(make_case((3,)), hidden=hidden, tokens=tokens)
    loss = answer_loss(hidden, head, [case.job(Needs(), lambda s: s.logp.sum())])
    (gradient,) = torch.autograd.grad(loss, hidden)
    assert gradient.tolist() == [[0, 0, 0], [-1, 1, 0], [-1, 0, 1]]


# Chunks


@pytest.mark.parametrize(
    ("lengths", "chunk", "spans"),
    [
        ((2, 2, 2), 4, [(0, 4, 0, 2), (4, 6, 2, 3)]),  # exactly full, then the rest
        ((2, 3), 4, [(0, 2, 0, 1), (2, 5, 1, 2)]),  # one token too many
        ((9, 1), 4, [(0, 9, 0, 1), (9, 10, 1, 2)]),  # longer than a chunk: on its own
        ((1, 9, 1), 4, [(0, 1, 0, 1), (1, 10, 1, 2), (10, 11, 2, 3)]),
        ((5,), 5, [(0, 5, 0, 1)]),
    ],
)
def test_spans_hold_whole_answers(
    lengths: tuple[int, ...], chunk: int, spans: list[tuple[int, int, int, int]]
) -> None:
    segment = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    assert answer_spans(segment, len(lengths), chunk) == spans


def test_a_chunk_has_rows_for_its_bytes_and_at_least_sixteen() -> None:
    assert chunk_rows(1000, 4_000_000) == 1000  # 4 bytes · 1000 columns · 1000 rows
    assert chunk_rows(1_000_000, 1) == 16


@pytest.mark.parametrize(
    "lengths", [(16,), (17,), (15, 1), (15, 2), (32, 16), (33,), (1,) * 40, (3, 48, 3)], ids=str
)
def test_answers_at_chunk_boundaries(lengths: tuple[int, ...]) -> None:
    case = make_case(lengths)
    value, gradients = head_gradients(case, "mixed", SMALL)
    expected, expected_gradients = plain_gradients(case, "mixed")
    assert_close(value.detach(), expected.detach())
    for got, want in zip(gradients, expected_gradients, strict=True):
        assert_close(got, want)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    vocabulary=st.integers(2, 60),
    rows=st.integers(16, 80),
    name=st.sampled_from(["logp", "beliefs", "kl forward", "kl reverse", "kl others", "mixed"]),
    seed=st.integers(0, 99),
)
def test_the_chunk_size_changes_nothing(
    lengths: list[int], vocabulary: int, rows: int, name: str, seed: int
) -> None:
    case = make_case(tuple(lengths), vocabulary=vocabulary, width=5, seed=seed)
    whole, whole_gradients = head_gradients(case, name)
    cut, cut_gradients = head_gradients(case, name, rows * vocabulary * 4)
    assert_close(cut.detach(), whole.detach())
    for got, want in zip(cut_gradients, whole_gradients, strict=True):
        assert_close(got, want)


# Jobs, weights and what requires a gradient


def test_jobs_of_one_call_add_up() -> None:
    lengths = (7, 20), (5, 3, 30)
    cases = [make_case(part, seed=i) for i, part in enumerate(lengths)]
    names = ["beliefs", "kl forward"]
    shared = cases[0]
    cases[1] = replace(cases[1], weight=shared.weight, bias=shared.bias)
    hidden = torch.cat([c.hidden.detach() for c in cases]).requires_grad_(True)
    jobs = [c.job(*LOSSES[n]) for c, n in zip(cases, names, strict=True)]
    together = answer_loss(hidden, shared.head, jobs, chunk_bytes=SMALL)
    d_hidden, d_weight, d_bias = torch.autograd.grad(together, (hidden, *shared.leaves[1:]))
    apart = [plain_gradients(c, n) for c, n in zip(cases, names, strict=True)]
    assert_close(together.detach(), sum(v for v, _ in apart).detach())
    assert_close(d_hidden, torch.cat([g[0] for _, g in apart]))
    assert_close(d_weight, apart[0][1][1] + apart[1][1][1])
    assert_close(d_bias, apart[0][1][2] + apart[1][1][2])


def test_the_outer_gradient_scales_all_gradients() -> None:
    case = make_case()
    gradients = head_gradients(case, "logp")[1]
    again = answer_loss(case.hidden, case.head, [case.job(*LOSSES["logp"])])
    scaled = torch.autograd.grad(-3 * again, case.leaves, retain_graph=True)
    for got, want in zip(scaled, gradients, strict=True):
        assert_close(got, -3 * want, 1e-6)
    with pytest.raises(RuntimeError, match="differentiated once"):
        again.backward()


@pytest.mark.parametrize("trains", ["hidden", "weight", "bias"])
def test_only_what_requires_a_gradient_gets_one(trains: str) -> None:
    case = make_case()
    expected = dict(
        zip(("hidden", "weight", "bias"), plain_gradients(case, "mixed")[1], strict=True)
    )
    for name in expected:
        getattr(case, name).requires_grad_(name == trains)
    needs, loss = LOSSES["mixed"]
    answer_loss(case.hidden, case.head, [case.job(needs, loss)]).backward()
    for name in expected:
        gradient = getattr(case, name).grad
        if name == trains:
            assert_close(gradient, expected[name])
        else:
            assert gradient is None


def test_tied_embedding_gets_both_gradients() -> None:
    # Hidden states looked up in the very matrix that is the output embedding.
    table = torch.randn(50, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ids = torch.randint(50, (40,), generator=torch.Generator().manual_seed(1))
    case = make_case((40,), vocabulary=50, width=8)
    loss = answer_loss(table[ids], HeadWeights(table), [case.job(*LOSSES["logp"])])
    (got,) = torch.autograd.grad(loss, table)
    double = table.detach().double().requires_grad_(True)
    truth = replace(case.to(torch.float64), hidden=double[ids], weight=double)
    truth.bias = torch.zeros(50, dtype=torch.float64)
    (want,) = torch.autograd.grad(logp_loss(plain_stats(truth, Needs())), double)
    assert_close(got, want)


@pytest.mark.parametrize("chunk_bytes", [SMALL, None])
def test_a_token_of_weight_zero_is_a_token_that_is_not_there(chunk_bytes: int | None) -> None:
    case = make_case()
    keep = torch.rand(len(case.tokens.target), generator=torch.Generator().manual_seed(3)) > 0.3
    tokens = replace(case.tokens, weight=case.tokens.weight * keep)
    _, zero = head_gradients(replace(case, tokens=tokens), "mixed", chunk_bytes)
    removed = Case(
        case.hidden.detach()[keep].requires_grad_(True),
        case.weight,
        case.bias,
        case.ref_hidden[keep],
        case.ref_weight,
        TokenInputs(
            tokens.target[keep], tokens.segment[keep], tokens.n_answers, tokens.weight[keep]
        ),
        case.map,
    )
    _, gone = head_gradients(removed, "mixed", chunk_bytes)
    assert (zero[0][~keep] == 0).all()
    assert_close(zero[0][keep], gone[0])
    assert_close(zero[1], gone[1])
    assert_close(zero[2], gone[2])


def test_what_is_missing_is_said() -> None:
    case = make_case()
    with pytest.raises(ValueError, match="original model's hidden states"):
        answer_stats(case.hidden, case.head, case.tokens, Needs(kl="forward"))
    with pytest.raises(ValueError, match="beliefs of the original model"):
        answer_stats(case.hidden, case.head, case.tokens, Needs(top_k=3, beliefs_from="reference"))


# Precision and memory


@pytest.mark.parametrize("name", ["logp", "beliefs", "kl forward", "kl reverse", "kl others"])
def test_bf16_is_no_worse_than_naive_bf16(name: str) -> None:
    case = make_case((60, 70), vocabulary=500, width=64).to(torch.bfloat16)
    case.weight.data.mul_(0.3)
    case.ref_weight.mul_(0.3)
    needs, loss = LOSSES[name]
    _, truth = plain_gradients(case, name)
    naive = torch.autograd.grad(loss(plain_stats(case, needs)), case.leaves)
    _, ours = head_gradients(case, name, 50 * 500 * 4)
    for got, plain, want in zip(ours, naive, truth, strict=True):
        assert got.dtype == torch.bfloat16
        error, naive_error = (got - want).norm(), (plain - want).norm()
        assert error <= 1.05 * naive_error + 1e-3 * want.norm()


@pytest.mark.parametrize("name", ["logp", "mixed"])
def test_autocast_decides_the_dtype_of_the_products(name: str) -> None:
    case = make_case()
    with torch.autocast("cpu", torch.bfloat16):
        _, cast = head_gradients(case, name, SMALL)
    _, full = head_gradients(case, name, SMALL)
    _, truth = plain_gradients(case, name)
    for got, exact, want in zip(cast, full, truth, strict=True):
        assert got.dtype == torch.float32
        # bf16 keeps 8 bits: relative errors of 2^-8 = 0.004 per product, where fp32 has 6e-8.
        assert (exact - want).norm() < 1e-5 * want.norm() < (got - want).norm()
        assert (got - want).norm() < 0.02 * want.norm()


class Allocations(TorchDispatchMode):
    """Records the most entries any tensor made in the block has."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.largest = max(self.largest, leaf.untyped_storage().nbytes() // 4)
        return out


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "all beliefs"])  # asks for all of V
def test_nothing_of_tokens_times_vocabulary_is_ever_allocated(name: str) -> None:
    vocabulary, lengths = 3000, (40, 200, 60, 300)  # T·V = 1.8 M entries, a chunk 48,000
    case = make_case(lengths, vocabulary=vocabulary, width=4, logit_map=EVERYTHING, ref_top_k=5)
    needs, loss = LOSSES[name]
    if "reference" not in name:
        case = replace(case, tokens=replace(case.tokens, ref_topk_ids=None, ref_topk_logp=None))
    with Allocations() as seen:
        chunk_bytes = 16 * vocabulary * 4
        jobs = [case.job(needs, loss)]
        answer_loss(case.hidden, case.head, jobs, chunk_bytes=chunk_bytes).backward()
        own = replace(needs, kl=None)
        answer_stats(
            case.hidden, case.head, case.tokens, own, moments=True, chunk_bytes=chunk_bytes
        )
    assert 0 < seen.largest <= 16 * vocabulary
    with Allocations() as plain:
        plain_logits(case.hidden, case.head)
    assert plain.largest == sum(lengths) * vocabulary  # the recorder does see such tensors
