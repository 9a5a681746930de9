"""How much there is to compute, and how long that takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unbelief.objectives import BSS, Objective
from unbelief.objectives.forget.transplant import Transplant
from unbelief.preflight.result import Duration, ModelFacts
from unbelief.tokens import Encoded, Row
from unbelief.train.options import TrainOptions
from unbelief.train.plan import Plan

SMALL = 50_000_000
"""Models of up to this many parameters are timed; larger ones are not loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Rows of a whole run, as (tokens, answer tokens) and how often they are processed.

    Attributes:
        plan: Which rows a step has.
        samples: Belief sequences per forget record.
        generations: How often beliefs are sampled.
        belief_tokens: Assumed length of a belief, in tokens, by forget record.
        reference_pass: Whether forget rows are scored once by the original model.
        second_model: Whether the original or an averaged model runs in every step.
        targets: Whether the answers to forget are rows of their own.
    """

    plan: Plan
    samples: int
    generations: int
    belief_tokens: tuple[int, ...]
    reference_pass: bool
    second_model: bool
    targets: bool = True

    @property
    def epochs(self) -> float:
        """Passes over the forget data that the steps amount to."""
        return self.plan.total_steps / self.plan.steps_per_epoch

    def forget_rows(self) -> list[tuple[int, int]]:
        """Target and belief rows of one pass."""
        rows = [_size(e) for e in self.plan.forget] if self.targets else []
        for e, n in zip(self.plan.forget, self.belief_tokens, strict=True):
            rows += [(len(e.prompt_ids) + n, n)] * self.samples
        return rows

    def retain_rows(self) -> list[tuple[int, int]]:
        """Retain rows of one pass: as many as forget pairs, of the retain data's mean length."""
        retain = [_size(e) for e in self.plan.retain]
        share = len(self.plan.forget) / len(retain) if retain else 0.0
        return [(round(n * share), round(a * share)) for n, a in retain]


def plan_work(
    objective: Objective, train: TrainOptions, forget: Sequence[Encoded], retain: Sequence[Encoded]
) -> Work:
    """Lay out a run in one process."""
    term = objective.forget
    bss = term if isinstance(term, BSS) else None
    longest = term.max_new_tokens if isinstance(term, BSS | Transplant) else None
    per_device = train.per_device_train_batch_size
    needs = [t.needs for t in (objective.forget, objective.retain) if t is not None]
    plan = Plan(
        forget=forget,
        retain=retain if objective.retain is not None else [],
        pairs_per_step=per_device * train.gradient_accumulation_steps,
        epochs=train.num_train_epochs,
        max_steps=train.max_steps,
        seed=train.seed,
        rows_per_forward=2 * per_device,
    )
    generations = 0
    if bss is not None:
        every = max(1, round(bss.refresh_epochs * plan.steps_per_epoch))
        generations = 1 if bss.policy == "off-policy" else -(-plan.total_steps // every)
    samples = 0 if bss is None else bss.samples
    if isinstance(term, Transplant):  # a pass has some of the beliefs, and twice as many are asked
        samples = term.per_step
        generations = -(-2 * term.samples // samples)
    return Work(
        plan=plan,
        samples=samples,
        generations=generations,
        belief_tokens=tuple(
            len(e.answer_ids) if longest is None else min(len(e.answer_ids), longest)
            for e in forget
        ),
        reference_pass=any(n.reference_logp or n.beliefs_from == "reference" for n in needs),
        second_model=any(n.reference_distribution or n.beliefs_from == "average" for n in needs),
        targets=not isinstance(term, Transplant) or term.suppression > 0,
    )


def forward_flops(facts: ModelFacts, tokens: int, answer_tokens: int, *, pairs: float) -> float:
    """Operations of one forward: 2 per weight and token, attention, and the output embedding.

    Args:
        facts: The model; P_body are its parameters without embeddings.
        tokens: Tokens through the decoder: 2 P_body each.
        answer_tokens: Tokens through the output embedding: 2 V d each.
        pairs: Σ over rows of (row length)², for causal attention: 2 L d each.
    """
    body = facts.parameters - facts.embedding_parameters
    head = facts.vocabulary * facts.hidden * answer_tokens
    return 2.0 * (body * tokens + head + facts.layers * facts.hidden * pairs)


def run_flops(facts: ModelFacts, work: Work, train: TrainOptions, *, lora: bool) -> float:
    """Operations of a whole run.

    A trained row costs a forward and a backward of twice that (once with an adapter, whose frozen
    weights need no gradient of their own), one more forward with gradient checkpointing, and one
    more where the original model runs along. Sampling and the reference pass cost a forward each.
    """

    def forward(rows: Sequence[tuple[int, int]]) -> float:
        return forward_flops(
            facts,
            sum(n for n, _ in rows),
            sum(a for _, a in rows),
            pairs=float(sum(n * n for n, _ in rows)),
        )

    forget, retain = work.forget_rows(), work.retain_rows()
    factor = (2 if lora else 3) + train.gradient_checkpointing + work.second_model
    total = factor * work.epochs * (forward(forget) + forward(retain))
    beliefs = forget[len(work.plan.forget) if work.targets else 0 :]
    total += work.generations * forward(beliefs)
    return total + (forward(forget) if work.reference_pass else 0.0)


def estimate_duration(
    facts: ModelFacts,
    work: Work,
    train: TrainOptions,
    *,
    lora: bool,
    dtype: str,
    device: str,
    measure: bool,
) -> Duration:
    """Count operations; time a few rows where the model is a small one in a local folder.

    Args:
        facts: The model.
        work: Rows of the run.
        train: Training options.
        lora: Whether an adapter trains.
        dtype: Dtype of the weights.
        device: Where to measure.
        measure: False never loads the model.
    """
    flops = run_flops(facts, work, train, lora=lora)
    local = Path(facts.source).expanduser().is_dir() and facts.base_source is None
    counted = "operations = 2 per weight and token, forward and backward counted as 3 forwards"
    if measure and local and facts.parameters <= SMALL:
        rate, rows = measured_rate(facts, work.plan.forget, dtype, device)
        seconds = flops / rate
        how = (
            f"{rows} forget rows forward and backward ran at {rate / 1e9:.3g} GFLOP/s; without the "
            "optimiser and, for sampled beliefs, the overhead of generating token by token"
        )
    else:
        seconds = None
        why = "it is not asked for" if not measure else "the model is not local"
        if measure and local:
            why = f"the model has more than {SMALL:,} parameters"
        how = f"not measured, because {why}; divide the operations by what the device sustains"
    tokens = sum(n for n, _ in (*work.forget_rows(), *work.retain_rows()))
    return Duration(
        steps=work.plan.total_steps,
        pairs_per_step=work.plan.pairs_per_step,
        belief_samples=work.samples,
        trained_tokens=round(work.epochs * tokens),
        flops=flops,
        seconds=seconds,
        how=f"{how} ({counted})",
    )


def measured_rate(
    facts: ModelFacts, forget: Sequence[Encoded], dtype: str, device: str
) -> tuple[float, int]:
    """Operations per second of forward and backward on rows of middle length.

    Returns:
        The rate of the faster of two runs after a first one, and the number of rows.
    """
    import torch

    from unbelief.models.head import HeadJob, TokenInputs
    from unbelief.models.load import load_model
    from unbelief.models.runner import AnswerModel
    from unbelief.models.stats import Needs
    from unbelief.tokens import collate

    middle = sorted(forget, key=lambda e: len(e.prompt_ids) + len(e.answer_ids))
    start = max(0, len(middle) // 2 - 8)
    rows = [
        Row(e.record_id, "target", e.prompt_ids, e.answer_ids) for e in middle[start : start + 16]
    ]
    loaded = load_model(facts.source, dtype=dtype, device=device)
    model = AnswerModel(loaded.model, pad_id=loaded.pad_id)
    batch = collate(rows, loaded.pad_id).to(model.device)
    ones = torch.ones_like(batch.row, dtype=torch.float32)
    tokens = TokenInputs(batch.target, batch.row, len(rows), ones)
    job = HeadJob(tokens, Needs(), lambda stats: stats.logp.sum())
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        model.loss(model.forward(batch), [job]).backward()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
        loaded.model.zero_grad(set_to_none=True)
    sizes = [(r.length, r.n_scored) for r in rows]
    done = 3 * forward_flops(
        facts,
        sum(n for n, _ in sizes),
        sum(a for _, a in sizes),
        pairs=float(sum(n * n for n, _ in sizes)),
    )
    return done / best, len(rows)


def _size(encoded: Encoded) -> tuple[int, int]:
    return len(encoded.prompt_ids) + len(encoded.answer_ids), len(encoded.answer_ids)
