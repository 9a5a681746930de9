"""What training does, seen from its losses and weights."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import unbelief.unlearner as glue
from tests.helpers import tiny_model, tiny_tokenizer
from tests.train import flat_twin
from tests.train.common import FORGET, RETAIN, largest_difference, loaded, unlearner, weights
from unbelief.cli import commands
from unbelief.errors import GuardError, RequestError
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.runner import AnswerModel
from unbelief.models.save import merged_copy
from unbelief.models.stats import AnswerStats, Needs
from unbelief.objectives import (
    BSS,
    BST,
    GA,
    KL,
    NLL,
    NPO,
    RMU,
    ForgetTerm,
    HiddenMatch,
    Objective,
)
from unbelief.tokens import Encoder, Row
from unbelief.train import reference, session
from unbelief.train.plan import Plan
from unbelief.train.step import StepLoss, Tally

GOLDEN = Path(__file__).with_name("golden_losses.txt")
OFF = BSS(inner=BST(), samples=2, max_new_tokens=6)
ON = BSS(inner=NPO(), samples=2, max_new_tokens=6, policy="on-policy", refresh_epochs=1)


def losses(log: list[dict[str, float]]) -> list[float]:
    return [entry["loss"] for entry in log]


def encoded() -> tuple[list[Any], list[Any]]:
    encoder = Encoder(loaded().tokenizer)
    return [encoder.encode(r) for r in FORGET], [encoder.encode(r) for r in RETAIN]


def target_logp(model: Any) -> float:
    """Mean over forget records of the answer's mean log-probability, by full logits."""
    with torch.no_grad():
        pairs = [(list(e.prompt_ids), list(e.answer_ids)) for e in encoded()[0]]
        return float(torch.stack([-flat_twin.nll(model, p) for p in pairs]).mean())


# --- the step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "sum"])
@pytest.mark.parametrize("forget", [GA(), OFF], ids=["ga", "bs-s"])
def test_micro_batches_do_not_change_a_step(forget: ForgetTerm, reduction: str) -> None:
    """1 × 6 = 6 × 1 = 2 × 3: counts are the step's, and nothing is multiplied by their number."""
    objective = (forget + NLL()).with_options(reduction=reduction)
    runs = [
        unlearner(
            objective,
            optim="sgd",
            learning_rate=0.1,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=parts,
        ).fit()
        for rows, parts in ((6, 1), (1, 6), (3, 2))
    ]
    whole, *others = runs
    for other in others:
        # Sums reach 100 nats; the order of summation differs.
        assert losses(other.log) == pytest.approx(losses(whole.log), rel=2e-6, abs=1e-5)
        grad_norms = [[e["grad_norm"] for e in run.log] for run in (other, whole)]
        assert grad_norms[0] == pytest.approx(grad_norms[1], rel=2e-5)
        assert largest_difference(weights(whole.model.model), weights(other.model.model)) < 2e-6


def test_a_loss_is_not_multiplied_by_the_accumulation_steps() -> None:
    """The logged loss of the first step is the mean over all six pairs, computed apart."""
    pairs = [(list(e.prompt_ids), list(e.answer_ids)) for e in encoded()[0]]
    model = tiny_model()
    with torch.no_grad():
        expected = float(-torch.stack([flat_twin.nll(model, p) for p in pairs]).mean())
    options = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 6, "max_steps": 1}
    (entry,) = unlearner(Objective(GA()), **options).fit().log
    assert entry["loss"] == pytest.approx(expected, rel=1e-6)


def test_token_means_are_over_the_tokens_of_the_whole_step() -> None:
    """Long answers weigh more; the mean of micro-batch means would be another number."""
    forget, _ = encoded()
    model = tiny_model()
    with torch.no_grad():
        pairs = [(list(e.prompt_ids), list(e.answer_ids)) for e in forget]
        expected = float(torch.cat([flat_twin.token_log_probs(model, p) for p in pairs]).mean())
    objective = Objective(GA(), reduction="token_mean")
    options = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 6, "max_steps": 1}
    (entry,) = unlearner(objective, **options).fit().log
    assert entry["loss"] == pytest.approx(expected, rel=1e-6)


def test_the_order_of_rows_does_not_matter() -> None:
    forget, retain = encoded()
    model, objective = AnswerModel(tiny_model()), NPO() + NLL()
    plan = Plan(forget=forget, retain=retain, pairs_per_step=6, epochs=1, rows_per_forward=100)
    (rows,) = plan.step(0, {}).micro_batches
    cache = reference.ReferenceCache(objective.forget.needs)
    cache.fill(AnswerModel(tiny_model(seed=1)), rows)
    loss = StepLoss(model, objective, cache, None, Tally())
    counts = plan.step(0, {}).counts
    first = float(loss(rows, counts).detach())
    assert float(loss(rows[::-1], counts).detach()) == pytest.approx(first, rel=1e-6)


def test_log_entries_cover_all_steps_since_the_last_one() -> None:
    each = unlearner(GA() + NLL()).fit().log
    pairs = unlearner(GA() + NLL(), logging_steps=2).fit().log
    assert [e["step"] for e in pairs] == [2, 4, 6]
    for name in ("loss", "forget_loss", "retain_loss"):
        expected = [(each[i][name] + each[i + 1][name]) / 2 for i in (0, 2, 4)]
        assert [e[name] for e in pairs] == pytest.approx(expected, rel=1e-6)
    assert [e["loss"] for e in each] == pytest.approx(
        [e["forget_loss"] + e["retain_loss"] for e in each], rel=1e-5
    )


def test_the_log_has_the_epochs_of_the_forget_data_and_no_summary() -> None:
    # Six records, three a step: two steps an epoch.
    log = unlearner(GA() + NLL()).fit().log
    assert [e["epoch"] for e in log] == [0.5, 1, 1.5, 2, 2.5, 3]
    assert not [name for e in log for name in e if name.startswith("train_")]


# --- methods -------------------------------------------------------------------------------------

METHODS: dict[str, Objective] = {
    "ga": GA() + NLL(),
    "npo": NPO() + NLL(),
    "kl": GA() + KL(),
    "kl-reverse": GA() + KL(direction="reverse"),
    "bs-t": BST() + NLL(),
    "bs-t-frozen": BST(beliefs_from="reference") + NLL(),
    "bs-s": OFF + NLL(),
    "bs-s-on-policy": ON + NLL(),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_make_the_answers_less_likely(name: str) -> None:
    result = unlearner(METHODS[name], learning_rate=3e-3).fit()
    assert target_logp(result.model.model) < target_logp(tiny_model()) - 0.1
    assert result.log[-1]["target_logp"] < result.log[0]["target_logp"]


def test_rmu_moves_the_layer_towards_its_direction() -> None:
    result = unlearner(RMU(layer=0) + HiddenMatch(layer=0), learning_rate=3e-3).fit()
    first, last = result.log[0], result.log[-1]
    assert last["forget_loss"] < 0.9 * first["forget_loss"]
    assert first["retain_loss"] == 0  # at the original weights there is nothing to match yet


# --- the original model --------------------------------------------------------------------------


def count_models(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every second model that is made."""
    made: list[int] = []

    def counted(model: AnswerModel) -> AnswerModel:
        made.append(1)
        return reference.frozen_twin(model)

    monkeypatch.setattr(session, "frozen_twin", counted)
    return made


LORA = LoraOptions(r=4, alpha=8)


@pytest.mark.parametrize(
    ("objective", "lora", "models"),
    [
        (NPO() + NLL(), None, 0),
        (OFF + NLL(), None, 0),
        (BST(beliefs_from="reference") + NLL(), None, 0),
        (GA() + KL(), None, 1),
        (GA() + KL(), LORA, 0),
        (ON + NLL(), None, 1),  # answers of later models need a reference, too
        (ON + NLL(), LORA, 0),
    ],
    ids=["npo", "bs-s", "frozen", "kl", "kl-lora", "on-policy", "on-policy-lora"],
)
def test_a_second_model_is_only_made_where_nothing_cheaper_will_do(
    objective: Objective, lora: LoraOptions | None, models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count_models(monkeypatch)
    unlearner(objective, lora=lora, max_steps=3).fit()
    assert len(made) == models


def test_a_folder_is_loaded_again_only_where_a_second_model_is_needed(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[int] = []
    load = glue.load_model

    def counted(source: Any, **options: Any) -> Any:
        loads.append(1)
        return load(source, **options)

    monkeypatch.setattr(glue, "load_model", counted)
    unlearner(NPO() + NLL(), tiny_folder, max_steps=2).fit()
    assert len(loads) == 1
    unlearner(GA() + KL(), tiny_folder, max_steps=2).fit()
    assert len(loads) == 3  # the policy, and a frozen copy kept for all steps


def test_kl_to_the_adapter_switched_off_is_kl_to_a_frozen_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def by_copy(self: session.Session) -> Any:
        twin = AnswerModel(tiny_model())
        return reference.FrozenCopy(lambda: twin, keep=True)

    off = unlearner(GA() + KL(), lora=LORA).fit()
    monkeypatch.setattr(session.Session, "_original", by_copy)
    copy = unlearner(GA() + KL(), lora=LORA).fit()
    assert losses(off.log) == pytest.approx(losses(copy.log), rel=1e-6)


def test_the_cache_holds_what_a_frozen_second_model_says() -> None:
    forget, _ = encoded()
    rows = [Row(e.record_id, "target", e.prompt_ids, e.answer_ids) for e in forget]
    cache = reference.ReferenceCache(Needs(reference_logp=True))
    cache.fill(AnswerModel(tiny_model()), rows, rows_per_forward=4)
    twin = tiny_model()
    with torch.no_grad():
        expected = [
            flat_twin.token_log_probs(twin, (list(r.prompt_ids), list(r.answer_ids))) for r in rows
        ]
    found = cache.lookup(rows[::-1], "logp", torch.device("cpu"))
    assert found is not None
    torch.testing.assert_close(found, torch.cat(expected[::-1]), rtol=0, atol=2e-5)
    assert cache.missing(rows) == []


def test_the_cache_reads_back_what_it_wrote(tmp_path: Path) -> None:
    forget, _ = encoded()
    rows = [Row(e.record_id, "target", e.prompt_ids, e.answer_ids) for e in forget]
    needs = Needs(reference_logp=True, top_k=3, beliefs_from="reference")
    cache, again = reference.ReferenceCache(needs), reference.ReferenceCache(needs)
    cache.fill(AnswerModel(tiny_model()), rows)
    cache.save(tmp_path / "reference.safetensors")
    again.load(tmp_path / "reference.safetensors")
    for name in ("logp", "topk_ids", "topk_logp"):
        one, two = (c.lookup(rows, name, torch.device("cpu")) for c in (cache, again))
        assert one is not None and two is not None and torch.equal(one, two)


# --- precision and memory ------------------------------------------------------------------------


def test_bf16_keeps_fp32_masters_and_compares_like_with_like() -> None:
    result = unlearner(NPO() + NLL(), bf16=True).fit()
    assert {p.dtype for p in result.model.model.parameters()} == {torch.float32}
    # At the first step policy and reference are the same model in the same precision: the ratio
    # is 1, and NPO is (2/β) ln 2. A reference in another precision would be off by its rounding.
    assert result.log[0]["forget_loss"] == pytest.approx(20 * 0.693147, rel=1e-5)
    # Small updates survive: bf16 weights would move in steps of 2^-8 of their size or not at all.
    start = weights(tiny_model())
    moved = [(start[n] - p).abs() for n, p in weights(result.model.model).items()]
    smallest = min(float(m[m > 0].min()) for m in moved)
    assert smallest < 1e-5
    assert not hasattr(result.model.model, "_original_forward")


def test_recomputed_activations_give_the_same_weights() -> None:
    plain = unlearner(BST() + NLL()).fit()
    recomputed = unlearner(BST() + NLL(), gradient_checkpointing=True).fit()
    assert losses(plain.log) == losses(recomputed.log)
    assert largest_difference(weights(plain.model.model), weights(recomputed.model.model)) == 0


def test_only_chosen_parameters_change() -> None:
    start = weights(tiny_model())
    result = unlearner(GA() + NLL(), trainable=r"model\.layers\.1\..*").fit()
    final = weights(result.model.model)
    changed = {n for n in start if not torch.equal(start[n], final[n])}
    assert changed == {n for n in start if n.startswith("model.layers.1.")}


def test_an_adapter_leaves_the_weights_as_they_were() -> None:
    start = weights(tiny_model())
    result = unlearner(GA() + NLL(), lora=LORA).fit()
    assert set(result.model.model.peft_config) == {"default"}
    final = {
        n.replace(".base_layer", ""): p
        for n, p in weights(result.model.inner).items()
        if "lora_" not in n
    }
    assert largest_difference(start, final) == 0


def test_two_runs_are_bit_equal() -> None:
    one, two = (unlearner(OFF + NLL(), lora=LORA, seed=3).fit() for _ in range(2))
    assert losses(one.log) == losses(two.log)
    assert largest_difference(weights(one.model.model), weights(two.model.model)) == 0


# --- against the flat twin, and against the past -------------------------------------------------


@pytest.mark.parametrize(
    ("objective", "flat"), [(NPO() + NLL(), flat_twin.npo), (BST() + NLL(), flat_twin.bst)]
)
def test_losses_are_those_of_the_flat_twin(objective: Objective, flat: Any) -> None:
    forget, retain = encoded()
    plan = Plan(forget=forget, retain=retain, pairs_per_step=3, epochs=3)
    expected = flat_twin.train(
        tiny_model(),
        [(list(e.prompt_ids), list(e.answer_ids)) for e in forget],
        [(list(e.prompt_ids), list(e.answer_ids)) for e in retain],
        [(plan.pairs(s), plan.retain_indices(s)) for s in range(plan.total_steps)],
        flat,
        learning_rate=1e-3,
    )
    # Six AdamW steps: rounding grows a little from step to step.
    assert losses(unlearner(objective).fit().log) == pytest.approx(expected, rel=2e-5, abs=1e-5)


def test_the_loss_curve_of_one_configuration_stays_what_it_was() -> None:
    """Twenty steps of BS-S; write them anew with UNBELIEF_WRITE_GOLDEN=1 when meant to change."""
    log = unlearner(OFF + NLL(), max_steps=20, per_device_train_batch_size=2).fit().log
    rows = [[round(e[n], 5) for n in ("loss", "target_logp", "belief_logp")] for e in log]
    if os.environ.get("UNBELIEF_WRITE_GOLDEN"):
        GOLDEN.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
    assert len(before) == 20
    for now, then in zip(rows, before, strict=True):
        assert now == pytest.approx(then, abs=2e-3)


# --- guards --------------------------------------------------------------------------------------


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            return grads[0] * float("inf")

    model = loaded()
    layer = model.model.model.layers[0]
    layer.register_forward_hook(lambda m, i, o: Broken.apply(o))
    start = weights(model.model)
    with pytest.raises(GuardError, match="the gradient is not finite"):
        unlearner(GA() + NLL(), model).fit()
    assert largest_difference(start, weights(model.model)) == 0


@pytest.mark.parametrize(
    ("objective", "options", "says"),
    [
        (NPO() + NLL(), {"optim": "adamv"}, "adamv"),
        (NPO() + NLL(), {"report_to": "crystal-ball"}, "crystal-ball"),
        (NPO() + NLL(), {"fsdp": True}, "one process"),
        (NPO() + NLL(), {"trainable": ".*", "lora": LORA}, "only the adapter trains"),
        (NPO() + NLL(), {"trainable": "nothing"}, "no parameter has a name"),
        (RMU(layer=2) + HiddenMatch(layer=2), {}, "layer 2 does not exist"),
        (RMU(layer=0) + HiddenMatch(layer=1), {}, "different layers"),
        (NPO() + NLL(), {"beliefs": Path("bank.parquet")}, "uses no belief bank"),
    ],
)
def test_contradictions_are_refused(
    objective: Objective, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        unlearner(objective, **options).fit()


def test_records_to_forget_and_to_keep_at_once_are_refused() -> None:
    run = replace(unlearner(NPO() + NLL()), retain=(*RETAIN, replace(FORGET[2], id="again")))
    with pytest.raises(RequestError, match="1 records are to be forgotten and to be kept at once"):
        run.fit()


def test_a_run_of_one_step_has_a_learning_rate() -> None:
    run = unlearner(GA() + NLL(), max_steps=1, warmup_epochs=1)
    start = weights(run.model.model)  # type: ignore[union-attr]
    result = run.fit()
    assert result.log[0]["learning_rate"] == run.train.learning_rate
    assert largest_difference(start, weights(result.model.inner)) > 0


def test_the_adapter_of_a_model_is_merged_before_it_trains() -> None:
    plain = loaded()
    adapted = add_lora(plain.model, LORA)
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                p.fill_(0.01)
    want = weights(merged_copy(adapted))
    source = replace(plain, model=adapted, is_adapter=True)  # type: ignore[arg-type]
    result = unlearner(GA() + NLL(), source, max_steps=1, learning_rate=1e-9).fit()
    assert largest_difference(want, weights(result.model.inner)) < 1e-6
    assert all(p.requires_grad for p in result.model.inner.parameters())


def test_answers_that_were_cut_are_counted() -> None:
    run = replace(unlearner(GA() + NLL(), max_steps=1), max_length=40)
    cut = run._prepare().tokens()["answers_cut"]
    encoder = Encoder(tiny_tokenizer(), max_length=40)
    for side, records in (("forget", FORGET), ("retain", RETAIN)):
        assert cut[side] == sum(encoder.encode(r).truncated for r in records)
    assert 0 < cut["forget"] < len(FORGET)


@pytest.mark.parametrize("objective", [GA(), 0.5 * GA(), "npo"])
def test_what_is_no_objective_is_told_how_to_write_one(objective: Any) -> None:
    run = replace(unlearner(GA() + NLL()), objective=objective)
    with pytest.raises(RequestError, match="is no objective"):
        run.fit()


class Loud(GA):
    """Logs under a name that is the log's own."""

    def diagnostics(self, stats: AnswerStats) -> dict[str, torch.Tensor]:
        return {"target_logp": torch.full_like(stats.logp.detach(), 7.0)}


def test_a_term_does_not_write_over_what_the_log_says() -> None:
    with pytest.raises(RequestError, match="logs 'target_logp', and such names are the log's own"):
        unlearner(Loud() + NLL()).fit()


def test_a_run_in_words_compares_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    # Two steps an epoch: -1 and -3 in the first, -5 and -6 in the second.
    log = [{"epoch": e, "target_logp": v} for e, v in ((0.5, -1), (1, -3), (1.5, -5), (2, -6))]
    cut = {"config": {"tokens": {"answers_cut": {"forget": 2, "retain": 0}}}}
    result = SimpleNamespace(
        steps=4, seconds=1.0, output="out", log=log, beliefs=None, provenance=cut
    )
    commands._tell("ga", result)
    said = capsys.readouterr().out
    assert "target_logp per token and epoch, each before its update: -2.000 -> -5.500 nats" in said
    assert "2 forget answers were longer" in said and "retain answers" not in said
