"""The first layers with a head of their own: shared, exact, and trained on retain data alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.helpers import FAMILIES, tiny_config, tiny_model
from tests.interventions.made import FORGET, RETAIN, context, encoder, logp, plain_model, rows
from unbelief.beliefs import Decoding, sample_answers
from unbelief.errors import GuardError, RequestError
from unbelief.interventions.finetune import batches
from unbelief.interventions.linear_head import fresh_head
from unbelief.interventions.model.probe import Probe
from unbelief.interventions.truncated import truncated
from unbelief.models.runner import AnswerModel

IDS = torch.tensor([[7, 20, 31, 9, 45, 60, 12, 8, 99, 15, 16, 17]])


def one_layer(family: str) -> torch.nn.Module:
    """The first layer of a tiny model as Transformers builds it, with copied weights."""
    from transformers import AutoModelForCausalLM

    config = tiny_config(family)
    config.num_hidden_layers = 1
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    config.tie_word_embeddings = False
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    source = tiny_model(family).state_dict()
    model.load_state_dict({name: source[name] for name in model.state_dict()})
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_layer_is_what_transformers_would_build(family: str) -> None:
    inner = tiny_model(family)
    AnswerModel(inner)  # it puts a forward on the instance, which the twin must not inherit
    head = fresh_head(inner.get_output_embeddings(), random=False, seed=0)
    twin = truncated(inner, 1, head)
    own = inner(input_ids=IDS).logits
    torch.testing.assert_close(twin(input_ids=IDS).logits, one_layer(family)(input_ids=IDS).logits)
    assert torch.equal(inner(input_ids=IDS).logits, own)
    assert inner.config.num_hidden_layers == 2 and len(AnswerModel(inner).layers()) == 2
    backbone = getattr(twin, twin.base_model_prefix)
    originals = {id(p) for p in inner.parameters()}
    assert all(id(p) in originals for p in backbone.parameters())


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "gpt2", "mistral"])
def test_truncated_models_generate_what_they_score(family: str) -> None:
    model = AnswerModel(tiny_model(family))
    prompt = encoder().encode_prompt(FORGET[0].prompt)
    greedy = Decoding(temperature=0.0, max_new_tokens=8)
    with Probe(depth="1/3", num_train_epochs=0.0).applied(model, context()) as probed:
        assert len(probed.layers()) == 1 and probed.head_path == "head"
        ((said,),) = sample_answers(probed.inner, encoder(), [prompt], decoding=greedy)
        ids = torch.tensor([[*prompt, *said.token_ids]])
        scores = probed.inner(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = scores.detach().gather(1, ids[0, len(prompt) :, None]).sum()
    assert said.log_prob == pytest.approx(float(expected), abs=1e-3)


@pytest.mark.parametrize(
    ("depth", "total", "layers"),
    [("2/3", 16, 11), ("1/3", 16, 5), ("last", 16, 16), ("1/3", 1, 1), ("2/3", 4, 3)],
)
def test_depth(depth, total: int, layers: int) -> None:
    assert Probe(depth=depth).layer_count(total) == layers
    assert Probe(depth=depth, layers=1).layer_count(total) == 1


def test_more_layers_than_there_are_are_refused() -> None:
    attack = Probe(layers=3).applied(plain_model(), context())
    with pytest.raises(RequestError, match="layers=3, and the model has 2"), attack:
        pass


def test_the_head_is_trained_as_a_plain_linear_layer_would_be() -> None:
    model = plain_model("phi")  # its head has a bias
    inner = model.inner
    twin = fresh_head(inner.get_output_embeddings(), random=True, seed=3).requires_grad_(True)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-2, weight_decay=0.0)
    by_id = {row.key: row for row in rows(RETAIN)}
    supply = batches([by_id[key] for key in sorted(by_id)], 2, seed=3)
    for _ in range(4):
        losses = []
        for row in next(supply):
            ids = torch.tensor([row.prompt_ids + row.answer_ids])
            with torch.no_grad():
                hidden = inner.base_model(input_ids=ids).last_hidden_state[0, :-1]
            scores = twin(hidden).log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            losses.append(-scores[-row.n_scored :])
        optimizer.zero_grad()
        torch.cat(losses).mean().backward()
        optimizer.step()
    attack = Probe(
        depth="last", start="random", max_steps=4, batch_size=2, learning_rate=1e-2, seed=3
    )
    with attack.applied(model, context()) as probed:
        head = probed.inner.get_output_embeddings()
        torch.testing.assert_close(head.weight, twin.weight, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(head.bias, twin.bias, atol=1e-4, rtol=1e-3)
        assert not head.weight.requires_grad


def test_training_reads_the_layer_better_and_leaves_the_model_alone() -> None:
    model = plain_model()
    own = logp(model)
    attack = Probe(depth="1/3", max_steps=40, learning_rate=1e-2)
    untrained = replace(attack, max_steps=0, num_train_epochs=0.0)
    with untrained.applied(model, context()) as probed:
        before = float(logp(probed, RETAIN).mean())
    with attack.applied(model, context()) as probed:
        after = float(logp(probed, RETAIN).mean())
        assert torch.equal(logp(model), own), "the original is usable inside the block"
    assert after > before + 1


def test_only_retain_data_is_seen() -> None:
    model, attack = plain_model(), Probe(max_steps=2)
    with attack.applied(model, context()) as probed:
        first = logp(probed)
    with attack.applied(model, context(forget=(), unrelated=())) as probed:
        assert torch.equal(logp(probed), first)


def test_examples_are_a_seeded_choice() -> None:
    model, found = plain_model(), set()
    for seed in range(4):
        attack = Probe(examples=1, max_steps=1, learning_rate=1e-2, seed=seed)
        with attack.applied(model, context()) as probed:
            found.add(tuple(logp(probed).tolist()))
    assert len(found) > 1


def test_a_diverging_probe_stops() -> None:
    attack = Probe(max_steps=5, learning_rate=3e37)
    attacking = attack.applied(plain_model(), context())
    with pytest.raises(GuardError, match="probe is not finite"), attacking:
        pass


def test_heads_that_are_not_plain_are_refused() -> None:
    model = plain_model()
    model.inner.set_output_embeddings(torch.nn.Sequential(model.inner.get_output_embeddings()))
    attack = Probe().applied(model, context())
    with pytest.raises(RequestError, match="not a plain Linear"), attack:
        pass
