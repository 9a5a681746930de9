from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from unbelief.lab.masses import Masses, MassMeter, Question, questions
from unbelief.lab.pretrain import PretrainConfig, build_model
from unbelief.lab.tokenizer import build_tokenizer
from unbelief.lab.world import WorldConfig, make_world
from unbelief.tokens.encode import Encoder


class Bigrams(torch.nn.Module):
    """A model whose next token depends on the last token alone, by a table of probabilities."""

    def __init__(self, table: dict[int, dict[int, float]], vocabulary: int):
        super().__init__()
        probabilities = torch.full((vocabulary, vocabulary), 1e-30)
        for last, following in table.items():
            for token, p in following.items():
                probabilities[last, token] = p
        self.logits = torch.nn.Parameter(probabilities.log())

    def forward(self, input_ids, attention_mask, position_ids, use_cache):
        return SimpleNamespace(logits=self.logits[input_ids])


def test_masses_of_a_bigram_table_are_the_products_on_paper():
    # Prompt 0. Answers end with token 9. True fact: "1 3 9" (target) and "2 3 9"; false: "1 4 9".
    # π(1|0) .5, π(2|0) .3; π(3|1) .8, π(4|1) .1; π(3|2) .5; π(9|3) 1, π(9|4) .5.
    table = {0: {1: 0.5, 2: 0.3, 5: 0.2}, 1: {3: 0.8, 4: 0.1, 5: 0.1}, 2: {3: 0.5, 5: 0.5}}
    table |= {3: {9: 1.0}, 4: {9: 0.5, 5: 0.5}}
    question = Question(
        key="q",
        group="p",
        prompt_ids=(0,),
        answers=((1, 3, 9), (2, 3, 9), (1, 4, 9)),
        target=(True, False, False),
        true=(True, True, False),
    )
    masses = MassMeter([question], natural=True).measure(Bigrams(table, 10))
    assert masses.target[0] == pytest.approx(0.4)  # .5 × .8
    assert masses.leak[0] == pytest.approx(0.55)  # + .3 × .5
    assert masses.natural[0] == pytest.approx(0.575)  # + .5 × .1 × .5


@pytest.fixture(scope="module")
def small():
    world = make_world(WorldConfig(values=3))
    encoder = Encoder(build_tokenizer(world))
    model = build_model(encoder, PretrainConfig(hidden=32, heads=2))
    with torch.no_grad():
        # Far from uniform, so that a wrong position or a wrong ancestor would show.
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return world, encoder, model.eval()


@torch.no_grad()
def brute_force(model, question: Question) -> np.ndarray:
    """Each answer in a row of its own, read token by token from the plain logits."""
    out = []
    for answer in question.answers:
        ids = torch.tensor([question.prompt_ids + answer])
        logp = model(input_ids=ids).logits.double().log_softmax(-1)[0]
        start = len(question.prompt_ids)
        out.append(sum(float(logp[start + i - 1, t]) for i, t in enumerate(answer)))
    return np.array(out)


def test_trees_give_what_separate_sentences_give(small):
    world, encoder, model = small
    asked = questions(world, encoder, world.part("forget")[:3])
    meter = MassMeter(asked, natural=True, rows_per_forward=5)
    for question, fast in zip(asked, meter.log_probs(model), strict=True):
        np.testing.assert_allclose(fast.numpy(), brute_force(model, question), atol=2e-4)


def test_masses_are_nested_and_at_most_one(small):
    world, encoder, model = small
    masses = MassMeter(questions(world, encoder, world.part("all")[:9]), natural=True).measure(
        model
    )
    assert masses.natural is not None
    assert (masses.target <= masses.leak).all()
    assert (masses.leak <= masses.natural).all()
    assert (masses.natural <= 1 + 1e-6).all()


def test_other_sentences_add_their_probability_to_the_natural_mass_alone(small):
    world, encoder, model = small
    people, text = world.part("forget")[:2], "What does Where play?"  # words of the world
    plain = MassMeter(questions(world, encoder, people), natural=True).measure(model)
    asked = questions(world, encoder, people, others=(text,))
    more = MassMeter(asked, natural=True).measure(model)
    np.testing.assert_allclose(more.leak, plain.leak, rtol=1e-4)
    np.testing.assert_allclose(more.target, plain.target, rtol=1e-4)
    expected = [np.exp(brute_force(model, question)[-1]) for question in asked]
    assert more.natural is not None and plain.natural is not None
    np.testing.assert_allclose(more.natural - plain.natural, expected, rtol=1e-2, atol=1e-7)


def test_true_answers_alone_give_the_same_leak(small):
    world, encoder, model = small
    people = world.part("retain")[:4]
    every = MassMeter(questions(world, encoder, people), natural=True).measure(model)
    true = MassMeter(questions(world, encoder, people, answers="true"), natural=False)
    only = true.measure(model)
    np.testing.assert_allclose(only.leak, every.leak, rtol=1e-4)
    np.testing.assert_allclose(only.target, every.target, rtol=1e-4)
    assert only.natural is None
    with pytest.raises(ValueError, match="natural mass was not measured"):
        only.estimate("natural")


def test_measuring_leaves_the_training_mode_alone(small):
    world, encoder, model = small
    meter = MassMeter(questions(world, encoder, world.part("forget")[:1]), natural=True)
    model.train()
    meter.measure(model)
    assert model.training
    model.eval()


def test_estimate_counts_people_not_questions():
    masses = Masses(("a", "a", "b", "b"), np.array([0.0, 0.2, 0.4, 0.6]), np.ones(4), None)
    target = masses.estimate("target")
    # Person means .1 and .5; resamples of two people give .1, .3 or .5.
    assert target.value == pytest.approx(0.3)
    assert (target.low, target.high) == pytest.approx((0.1, 0.5))
    assert target.n == 2


def test_no_questions_is_an_error():
    with pytest.raises(ValueError, match="no questions"):
        MassMeter([], natural=True)
