"""A model seen through its answers says what its own forward says, for every family."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.helpers import FAMILIES, VOCABULARY, tiny_model
from torch import Tensor, nn

from unbelief.errors import RequestError
from unbelief.models.adapters import LoraOptions, add_lora
from unbelief.models.head import HeadJob, TokenInputs
from unbelief.models.inside import causal_lm
from unbelief.models.runner import AnswerModel, Forward
from unbelief.models.stats import AnswerStats, Needs
from unbelief.tokens import Row, collate, length_buckets

SHAPES = ((3, 7), (1, 1), (6, 12), (2, 20), (0, 5), (4, 1), (3, 7), (9, 2))  # prompt, answer


def rows(shapes: Sequence[tuple[int, int]] = SHAPES) -> list[Row]:
    g = torch.Generator().manual_seed(0)
    out = []
    for i, (prompt, answer) in enumerate(shapes):
        ids = torch.randint(7, VOCABULARY, (prompt + answer,), generator=g).tolist()
        out.append(Row(f"f{i}", "target", tuple(ids[:prompt]), tuple(ids[prompt:])))
    return out


@torch.no_grad()
def own_logp(model: nn.Module, row: Row) -> Tensor:
    """(n, V) log-probabilities by the model's own forward, one unpadded row."""
    ids = torch.tensor([row.prompt_ids + row.answer_ids])
    return model(ids).logits[0, row.first_scored - 1 : -1].float().log_softmax(-1)


def assert_says_the_same(answers: AnswerModel, model: nn.Module) -> None:
    batch = rows()
    stats = answers.stats(batch, Needs(top_k=5, diagnostics=True), moments=True)
    full = torch.cat([own_logp(model, r) for r in batch])
    target = collate(batch, 0).target
    assert stats.topk_ids is not None
    entropy = -(full.exp() * full).sum(1)
    expected = {
        "logp": full[torch.arange(len(target)), target],
        "topk_logp": full.gather(1, stats.topk_ids),
        "topk_mass": full.topk(5).values.exp().sum(1),
        "square_mass": full.exp().square().sum(1),
        "entropy": entropy,
        "variance": (full.exp() * (full + entropy[:, None]).square()).sum(1),
    }
    for name, want in expected.items():
        torch.testing.assert_close(getattr(stats, name), want, atol=1e-5, rtol=1e-5, msg=name)
    assert stats.hit is not None and torch.equal(stats.hit, full.argmax(1) == target)


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_the_models_own(family: str) -> None:
    model = tiny_model(family)
    answers = AnswerModel(model)
    assert (answers.head_path, answers.backbone_path) == ("head", "embeddings")
    assert "checked against the model's own logits" in answers.head_note
    assert_says_the_same(answers, model)


@pytest.mark.parametrize("family", ["llama-tied", "gemma2", "gpt2", "cohere"])
@pytest.mark.parametrize("path", ["logits", "ids"])
def test_the_other_paths_say_the_same(family: str, path: str) -> None:
    model = tiny_model(family)
    answers = AnswerModel(model, head_path="logits" if path == "logits" else "head")
    answers.backbone_path = "ids"
    assert answers.head_note == "as asked"
    assert_says_the_same(answers, model)


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2"])
def test_order_and_company_of_rows_change_nothing(family: str) -> None:
    answers, batch = AnswerModel(tiny_model(family)), rows()
    together = answers.stats(batch, Needs()).logp.split([r.n_scored for r in batch])
    order = [5, 0, 7, 2, 1, 6, 4, 3]
    mixed = [batch[i] for i in order]
    permuted = answers.stats(mixed, Needs()).logp.split([r.n_scored for r in mixed])
    for place, i in enumerate(order):
        torch.testing.assert_close(permuted[place], together[i], atol=1e-5, rtol=1e-5)
        alone = answers.stats([batch[i]], Needs()).logp
        torch.testing.assert_close(alone, together[i], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("path", ["head", "logits"])
@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral", "gpt2"])
def test_hidden_positions_are_not_attended_to(family: str, path: Any) -> None:
    model, batch = tiny_model(family), rows()
    hidden = [replace(r, hidden=(1,)) if len(r.prompt_ids) > 2 else r for r in batch]
    answers = AnswerModel(model, head_path=path)
    got = answers.stats(hidden, Needs()).logp.split([r.n_scored for r in hidden])
    open_ = answers.stats(batch, Needs()).logp.split([r.n_scored for r in batch])
    for row, values, seen in zip(hidden, got, open_, strict=True):
        ids = torch.tensor([row.prompt_ids + row.answer_ids])
        mask = torch.ones_like(ids)
        mask[0, list(row.hidden)] = 0
        with torch.no_grad():  # positions count what is hidden
            logits = model(ids, attention_mask=mask, position_ids=torch.arange(row.length)[None])
        full = logits.logits[0, row.first_scored - 1 : -1].log_softmax(-1)
        want = full.gather(1, ids[0, row.first_scored :, None])[:, 0]
        torch.testing.assert_close(values, want, atol=1e-5, rtol=1e-5)
        assert torch.allclose(values, seen, atol=1e-5) is not bool(row.hidden)


def test_padding_is_never_seen() -> None:
    batch = rows()
    model = tiny_model()
    for path in ("head", "logits"):
        one = AnswerModel(model, head_path=path, pad_id=0).stats(batch, Needs()).logp
        other = AnswerModel(model, head_path=path, pad_id=50).stats(batch, Needs()).logp
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_temperature_divides_the_logits() -> None:
    model, batch = tiny_model("gemma2"), rows()
    got = AnswerModel(model).stats(batch, Needs(), temperature=2.5).logp
    ids = [torch.tensor([r.prompt_ids + r.answer_ids]) for r in batch]
    with torch.no_grad():
        logits = [
            model(i).logits[0, r.first_scored - 1 : -1] for i, r in zip(ids, batch, strict=True)
        ]
    full = (torch.cat(logits) / 2.5).log_softmax(-1)
    want = full.gather(1, collate(batch, 0).target[:, None])[:, 0]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)


# Hidden states


def final_norm(model: Any) -> nn.Module:
    names = ("norm", "ln_f", "final_layernorm")
    return next(getattr(model.base_model, n) for n in names if hasattr(model.base_model, n))


@pytest.mark.parametrize("head_path", ["head", "logits"])
@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_the_layers_outputs_at_the_answers_own_tokens(
    family: str, head_path: Any
) -> None:
    model, batch = tiny_model(family), rows()
    answers = AnswerModel(model, head_path=head_path)
    for layer in (0, 1):
        got = answers.stats(batch, Needs(hidden_layer=layer)).hidden
        assert got is not None
        if layer == 1:
            # Transformers' last hidden state is the last layer's output behind the final norm.
            got = final_norm(model)(got)
        with torch.no_grad():
            want = [
                model(
                    torch.tensor([r.prompt_ids + r.answer_ids]), output_hidden_states=True
                ).hidden_states[layer + 1][0, r.first_scored :]
                for r in batch
            ]
        torch.testing.assert_close(got, torch.cat(want), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("head_path", ["head", "logits"])
def test_a_layer_that_does_not_exist_is_named(head_path: Any) -> None:
    answers = AnswerModel(tiny_model(), head_path=head_path)
    with pytest.raises(RequestError, match="layer 7 does not exist") as caught:
        answers.stats(rows(), Needs(hidden_layer=7))
    assert caught.value.remedy == "the model has 2 decoder layers: choose 0 to 1"


# Heads that cannot be called by hand


class StrangeLinear(nn.Linear):
    """Not exactly a Linear, as quantised layers are: calling its weight by hand is wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def with_strange_head() -> nn.Module:
    model: Any = tiny_model()
    head = StrangeLinear(32, VOCABULARY, bias=False)
    head.weight = model.lm_head.weight
    model.lm_head = head
    return model


def with_strange_forward() -> nn.Module:
    model: Any = tiny_model()
    own = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        out = own(*args, **kwargs)
        out.logits = out.logits * 2
        return out

    model.forward = forward
    return model


def with_adapted_head() -> nn.Module:
    torch.manual_seed(0)
    model = add_lora(tiny_model(), LoraOptions(r=4, target_modules=("lm_head", "q_proj")))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # starts at zero, which would hide a forgotten adapter
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (with_strange_head, "a StrangeLinear, not a Linear"),
        (with_strange_forward, "differs from the model's own logits"),
        (with_adapted_head, "not a Linear"),
    ],
)
def test_a_head_that_cannot_be_called_by_hand_falls_back(build: Any, reason: str) -> None:
    model = build()
    answers = AnswerModel(model)
    assert answers.head_path == "logits" and reason in answers.head_note
    assert_says_the_same(answers, model)


def test_adapters_elsewhere_keep_the_chunked_head() -> None:
    model = add_lora(tiny_model("llama-tied"), LoraOptions(r=4, target_modules=("q_proj",)))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    answers = AnswerModel(model.eval())
    assert answers.head_path == "head"
    assert_says_the_same(answers, model)
    with model.disable_adapter():
        assert_says_the_same(answers, tiny_model("llama-tied"))


def test_low_precision_heads_pass_the_check() -> None:
    assert AnswerModel(tiny_model("gemma2").bfloat16()).head_path == "head"


# Loss and gradients


def everything(stats: AnswerStats) -> Tensor:
    assert stats.topk_logp is not None and stats.kl is not None
    beliefs = (stats.topk_logp.softmax(-1).detach() * stats.topk_logp).sum(-1)
    return stats.sum_per_answer(stats.logp + 0.3 * beliefs + stats.kl).square().sum()


def gradients(
    answers: AnswerModel, original: AnswerModel, *, layer: int | None = None
) -> dict[str, Tensor]:
    batch = collate(rows(), 0)
    tokens = TokenInputs(batch.target, batch.row, len(batch.rows), torch.ones(len(batch.target)))
    with torch.no_grad():
        ref = original.forward(batch).predicting
    ref_head = original.head() if original.head_path == "head" else None
    needs = Needs(top_k=5, kl="forward")

    def call() -> Forward:
        return answers.forward(batch, layer)

    forward = answers.within(answers.model, call)
    loss = answers.loss(forward, [HeadJob(tokens, needs, everything, ref, ref_head)])
    if layer is not None:
        loss = loss + 100 * forward.layer.square().mean()
    answers.model.zero_grad()
    loss.backward()
    return {n: p.grad for n, p in answers.inner.named_parameters() if p.grad is not None}


def assert_same_gradients(got: dict[str, Tensor], want: dict[str, Tensor]) -> None:
    assert got.keys() == want.keys() and got
    for name in want:
        scale = want[name].abs().max().clamp_min(1e-3)
        assert (got[name] - want[name]).abs().max() < 1e-4 * scale, name


@pytest.mark.parametrize("family", FAMILIES)
def test_chunked_head_and_full_logits_have_the_same_gradients(family: str) -> None:
    original = AnswerModel(tiny_model(family, seed=1))
    head = gradients(AnswerModel(tiny_model(family)), original)
    logits = gradients(AnswerModel(tiny_model(family), head_path="logits"), original)
    assert_same_gradients(head, logits)


@pytest.mark.parametrize("path", ["embeddings", "ids"])
@pytest.mark.parametrize("layer", [None, 0, 1])
def test_gradient_checkpointing_changes_nothing(layer: int | None, path: Any) -> None:
    model = tiny_model()
    answers, original = AnswerModel(model), AnswerModel(tiny_model(seed=1))
    answers.backbone_path = path
    want = {k: v.clone() for k, v in gradients(answers, original, layer=layer).items()}
    # Transformers 5.23 renames the method and warns at the old name.
    older = model.gradient_checkpointing_enable
    getattr(model, "activation_checkpointing_enable", older)()
    model.train()
    recomputed: list[int] = []
    model.base_model.layers[0].self_attn.register_forward_hook(lambda *_: recomputed.append(1))
    assert_same_gradients(gradients(answers, original, layer=layer), want)
    buckets = length_buckets([r.length for r in rows()])
    assert len(recomputed) == 2 * len(buckets)  # once forward, once again in backward


# The model stays as it was


@pytest.mark.parametrize("training", [True, False])
def test_measuring_restores_the_mode_and_knows_no_dropout(training: bool) -> None:
    model = tiny_model("gpt2")  # drops 10 % in training mode
    want = AnswerModel(model).stats(rows(), Needs()).logp
    model.train(training)
    answers = AnswerModel(model)
    assert torch.equal(answers.stats(rows(), Needs()).logp, want)
    assert all(m.training is training for m in model.modules())


def test_a_failed_measurement_restores_the_mode_too() -> None:
    model = tiny_model().train()
    answers = AnswerModel(model)
    with pytest.raises(RequestError):
        answers.stats(rows(), Needs(hidden_layer=9))
    assert model.training
    assert not answers.layers()[0]._forward_hooks


def test_a_deep_copy_runs_its_own_weights() -> None:
    model = tiny_model()
    AnswerModel(model)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        copied.lm_head.weight.mul_(2)
    ids = torch.arange(7, 19)[None]
    torch.testing.assert_close(copied(ids).logits, 2 * model(ids).logits)
    assert copied(answer_call=lambda: "inside") == "inside"
    assert_says_the_same(AnswerModel(copied), copied)


def test_signature_weights_and_generation_are_untouched() -> None:
    model, plain = tiny_model(), tiny_model()
    AnswerModel(model)
    AnswerModel(model)  # twice is once
    assert inspect.signature(model.forward) == inspect.signature(plain.forward)
    assert model.state_dict().keys() == plain.state_dict().keys()
    ids = torch.arange(7, 12)[None]
    options = {"max_new_tokens": 4, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    assert torch.equal(model.generate(ids, **options), plain.generate(ids, **options))


def test_the_model_inside_is_found_under_its_wrappers() -> None:
    model = tiny_model()
    wrapped = add_lora(model, LoraOptions(r=2, target_modules=("q_proj",)))
    assert causal_lm(model) is model
    assert causal_lm(wrapped) is model
    assert causal_lm(nn.DataParallel(wrapped)) is model


def test_a_divergence_is_left_out_where_there_is_no_original() -> None:
    for path in ("head", "logits"):
        stats = AnswerModel(tiny_model(), head_path=path).stats(rows(), Needs(kl="forward"))
        assert stats.kl is None and stats.logp.isfinite().all()


def test_full_logits_take_an_original_that_uses_the_chunked_head() -> None:
    policy = AnswerModel(tiny_model("gemma2"), head_path="logits")
    both = [
        AnswerModel(tiny_model("gemma2", seed=1), head_path="head"),
        AnswerModel(tiny_model("gemma2", seed=1), head_path="logits"),
    ]
    assert_same_gradients(*({k: v.clone() for k, v in gradients(policy, o).items()} for o in both))


def test_rows_may_carry_weights_the_statistics_do_not_use() -> None:
    answers, batch = AnswerModel(tiny_model()), rows()
    halved = [replace(r, weight=0.5) for r in batch]
    assert torch.equal(answers.stats(batch, Needs()).logp, answers.stats(halved, Needs()).logp)
