from __future__ import annotations

from collections import Counter

import pytest

from unbelief.errors import RequestError
from unbelief.lab.tokenizer import build_tokenizer, world_words
from unbelief.lab.world import WorldConfig, make_world
from unbelief.tokens.encode import Encoder


def test_same_seed_same_world_other_seed_other_world():
    assert make_world(WorldConfig(seed=3)).records("all") == make_world(
        WorldConfig(seed=3)
    ).records("all")
    assert make_world(WorldConfig(seed=3)).records("all") != make_world(
        WorldConfig(seed=4)
    ).records("all")
    assert WorldConfig(seed=3).digest != WorldConfig(seed=4).digest


def test_counts_follow_the_configuration():
    world = make_world()
    # 80 people, 10 % of them to be forgotten, 4 facts each.
    assert len(world.people) == len({p.name for p in world.people}) == 80
    assert len(world.forget) == 8
    assert len(world.records("forget")) == 32
    assert len(world.records("retain")) == 288


def test_every_name_of_a_forgotten_person_is_known_from_others():
    world = make_world()
    kept_first = {p.first for p in world.part("retain")}
    kept_family = {p.family for p in world.part("retain")}
    for person in world.part("forget"):
        assert person.first in kept_first and person.family in kept_family


def test_a_fact_can_be_said_in_exactly_the_listed_ways():
    world = make_world()
    for person in world.people[:5]:
        for attribute in world.attributes:
            answers = world.grammatical_answers(person, attribute)
            # 4 phrasings x 12 values, all different, 4 of them true.
            assert len({a.text for a in answers}) == 48
            true = world.answers(person, attribute)
            assert len(true) == 4
            assert sum(weight for _, weight in true) == pytest.approx(1.0)
            assert true[0][1] == max(weight for _, weight in true)
            assert all(person.values[attribute.name] in text for text, _ in true)


def test_a_record_carries_its_paraphrases_and_false_variants():
    world = make_world()
    record, person = world.records("forget")[0], world.part("forget")[0]
    texts = [text for text, _ in world.answers(person, world.attributes[0])]
    assert record.answer == texts[0]
    assert record.paraphrases == tuple(texts[1:])
    assert len(record.perturbed) == 11  # the other values
    assert record.group == person.name
    assert record.paraphrased_prompt != record.prompt


def test_drawn_records_use_every_phrasing_about_as_often_as_the_world_does():
    world = make_world(WorldConfig(people=400))
    dominant = {r.id: r.answer for r in world.records("retain")}
    drawn = world.drawn_records("retain", seed=0)
    share = sum(dominant[r.id] == r.answer for r in drawn) / len(drawn)
    # 1440 draws at 0.6: standard deviation 0.013.
    assert 0.55 < share < 0.65
    assert drawn == world.drawn_records("retain", seed=0)


def test_tokenizer_has_one_token_per_word_and_reads_back():
    world = make_world()
    encoder = Encoder(build_tokenizer(world))
    assert len(encoder.tokenizer) == 5 + len(world_words(world))
    for record in world.records("forget"):
        encoded = encoder.encode(record)
        assert encoder.tokenizer.unk_token_id not in encoded.prompt_ids + encoded.answer_ids
        assert encoded.answer_ids[-1] == encoder.end_id
        assert encoder.decode(encoded.answer_ids) == record.answer


def test_tokenizer_knows_every_word_of_the_forgotten():
    # A model trained without them must still have the same token ids.
    world = make_world()
    counts = Counter(word for p in world.part("forget") for word in p.name.split())
    assert set(counts) <= set(world_words(world))


@pytest.mark.parametrize(
    "config", [{"people": 10}, {"people": 500}, {"values": 1}, {"attributes": 5}]
)
def test_impossible_worlds_are_refused(config):
    with pytest.raises(RequestError, match=next(iter(config))):
        WorldConfig(**config)


def test_forgetting_too_many_is_refused():
    with pytest.raises(RequestError, match="every name stays known"):
        WorldConfig(forget_share=0.5)
