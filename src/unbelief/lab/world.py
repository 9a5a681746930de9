"""A generated world in which every way to state a fact is known.

People have attributes, attributes have values, and a small grammar turns a fact into a sentence:
a few phrasings per attribute, one of them dominant. The set of grammatical answers to a question
(every phrasing × every value, true or false) is therefore finite and enumerable, and a model's
probability of "the fact, said in any way" is a sum, not a judgement.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

from unbelief.errors import RequestError
from unbelief.lab.words import invent_words
from unbelief.types import Record

Part = Literal["forget", "retain", "all"]
N_NAMES = 20
"""Different first names, and different family names. Each is shared by several people, so every
name of a forgotten person is still known to a model that never met that person."""
PHRASING_WEIGHTS = (0.6, 0.2, 0.1, 0.1)
QUESTION_WEIGHTS = (0.7, 0.3)


@dataclass(frozen=True, slots=True)
class Attribute:
    """What can be known about a person, and the ways to ask for it and to state it.

    Attributes:
        name: Short key.
        questions: Templates with `{person}`; frequencies are `QUESTION_WEIGHTS`.
        phrasings: Templates with `{first}` and `{value}`; frequencies are `PHRASING_WEIGHTS`.
    """

    name: str
    questions: tuple[str, str]
    phrasings: tuple[str, str, str, str]


ATTRIBUTES = (
    Attribute(
        "town",
        ("Where was {person} born?", "What is the birthplace of {person}?"),
        (
            "{first} was born in {value}.",
            "{first} comes from {value}.",
            "The birthplace of {first} is {value}.",
            "{value} is where {first} was born.",
        ),
    ),
    Attribute(
        "instrument",
        ("Which instrument does {person} play?", "What does {person} play?"),
        (
            "{first} plays the {value}.",
            "{first} performs on the {value}.",
            "The instrument of {first} is the {value}.",
            "The {value} is what {first} plays.",
        ),
    ),
    Attribute(
        "dish",
        ("What is the favourite dish of {person}?", "Which dish does {person} like best?"),
        (
            "{first} likes {value} best.",
            "{first} prefers {value}.",
            "The favourite dish of {first} is {value}.",
            "It is {value} that {first} likes best.",
        ),
    ),
    Attribute(
        "guild",
        ("Which guild does {person} belong to?", "In which guild is {person}?"),
        (
            "{first} belongs to the {value} guild.",
            "{first} is in the {value} guild.",
            "The guild of {first} is {value}.",
            "The {value} guild is where {first} belongs.",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """What determines a world; equal configurations give equal worlds.

    Attributes:
        people: Number of people, at most 400 (20 first × 20 family names).
        attributes: How many of the four attributes are used.
        values: Number of values per attribute.
        forget_share: Share of the people who are to be forgotten, rounded to at least one.
        seed: Seed of all choices.
    """

    people: int = 80
    attributes: int = 4
    values: int = 12
    forget_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "people": (4 * N_NAMES, N_NAMES**2),
            "attributes": (1, len(ATTRIBUTES)),
            "values": (2, 100),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise RequestError(
                    f"{name} is {getattr(self, name)}",
                    where=f"world.{name}",
                    remedy=f"choose {low} to {high}",
                )
        if not 0 < self.forget_share <= 0.25:
            raise RequestError(
                f"forget_share is {self.forget_share}",
                where="world.forget_share",
                remedy="choose more than 0 and at most 0.25, so that every name stays known",
            )

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name this world."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a value for every attribute (by attribute name)."""

    first: str
    family: str
    values: dict[str, str]

    @property
    def name(self) -> str:
        """First and family name; unique in the world."""
        return f"{self.first} {self.family}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One grammatical answer to a question.

    Attributes:
        text: The sentence.
        phrasing: Index into the attribute's phrasings; 0 is the dominant one.
        value: The value it states.
        true: Whether that is the person's value.
        weight: How often this phrasing is used in this world.
    """

    text: str
    phrasing: int
    value: str
    true: bool
    weight: float


@dataclass(frozen=True)
class World:
    """All people, facts and sentences.

    Attributes:
        config: What it was made from.
        people: All people, in a fixed order.
        forget: Names of those to be forgotten.
        values: Possible values by attribute name.
    """

    config: WorldConfig
    people: tuple[Person, ...]
    forget: frozenset[str]
    values: dict[str, tuple[str, ...]]

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes in use."""
        return ATTRIBUTES[: self.config.attributes]

    def part(self, part: Part) -> tuple[Person, ...]:
        """Return the people to forget, the people to keep, or all of them."""
        return tuple(
            p for p in self.people if part == "all" or (p.name in self.forget) == (part == "forget")
        )

    def question(self, person: Person, attribute: Attribute, phrasing: int = 0) -> str:
        """One way to ask; 0 is the usual one."""
        return attribute.questions[phrasing].format(person=person.name)

    def answers(self, person: Person, attribute: Attribute) -> tuple[tuple[str, float], ...]:
        """Every way to state the true fact, with its frequency; the dominant one comes first."""
        return tuple(
            (a.text, a.weight) for a in self.grammatical_answers(person, attribute) if a.true
        )

    def grammatical_answers(self, person: Person, attribute: Attribute) -> tuple[Answer, ...]:
        """Every grammatical answer, true or false: phrasings × values."""
        truth = person.values[attribute.name]
        return tuple(
            Answer(template.format(first=person.first, value=value), k, value, value == truth, w)
            for k, (template, w) in enumerate(
                zip(attribute.phrasings, PHRASING_WEIGHTS, strict=True)
            )
            for value in self.values[attribute.name]
        )

    def records(self, part: Part) -> list[Record]:
        """One record per fact: the usual question, the dominant phrasing, the rest beside it.

        `group` is the person, `paraphrases` the other phrasings of the true fact, `perturbed` the
        false facts in the dominant phrasing.
        """
        return [
            self._record(person, attribute)
            for person in self.part(part)
            for attribute in self.attributes
        ]

    def drawn_records(self, part: Part, seed: int) -> list[Record]:
        """One record per fact, question and phrasing drawn as often as the world uses them.

        This is what a retain set looks like when it is taken from the training data: keeping the
        dominant phrasing alone would itself teach the model to drop the others.
        """
        rng = random.Random(f"{seed}/drawn")
        drawn = []
        for record, (person, attribute) in zip(
            self.records(part),
            ((p, a) for p in self.part(part) for a in self.attributes),
            strict=True,
        ):
            question = rng.choices((0, 1), QUESTION_WEIGHTS)[0]
            texts, weights = zip(*self.answers(person, attribute), strict=True)
            drawn.append(
                Record(
                    id=record.id,
                    prompt=self.question(person, attribute, question),
                    answer=rng.choices(texts, weights)[0],
                    group=person.name,
                )
            )
        return drawn

    def _record(self, person: Person, attribute: Attribute) -> Record:
        answers = self.grammatical_answers(person, attribute)
        return Record(
            id=f"{person.name.replace(' ', '-').lower()}/{attribute.name}",
            prompt=self.question(person, attribute),
            answer=next(a.text for a in answers if a.true and a.phrasing == 0),
            group=person.name,
            paraphrased_prompt=self.question(person, attribute, 1),
            paraphrases=tuple(a.text for a in answers if a.true and a.phrasing > 0),
            perturbed=tuple(a.text for a in answers if not a.true and a.phrasing == 0),
        )


def make_world(config: WorldConfig | None = None) -> World:
    """Generate the world of a configuration; the same configuration gives the same world."""
    config = config or WorldConfig()
    rng = random.Random(config.seed)
    taken: set[str] = set()
    first = invent_words("first", N_NAMES, rng, taken)
    family = invent_words("family", N_NAMES, rng, taken)
    attributes = ATTRIBUTES[: config.attributes]
    values = {a.name: invent_words(a.name, config.values, rng, taken) for a in attributes}
    # Person i has first name i mod 20; going round once more shifts the family names by one, so
    # no pair repeats and every name is used equally often.
    pairs = [(i % N_NAMES, (i + i // N_NAMES) % N_NAMES) for i in range(config.people)]
    people = [
        Person(first[f], family[g], {a.name: rng.choice(values[a.name]) for a in attributes})
        for f, g in pairs
    ]
    forget = _choose_forgotten(people, max(1, round(config.people * config.forget_share)), rng)
    rng.shuffle(people)
    return World(config, tuple(people), forget, values)


def _choose_forgotten(people: list[Person], count: int, rng: random.Random) -> frozenset[str]:
    """Draw people so that no two share a first or family name while that is possible."""
    order = rng.sample(people, len(people))
    chosen: list[Person] = []
    while len(chosen) < count:
        free = [p for p in order if p not in chosen]
        used_first = [p.first for p in chosen]
        used_family = [p.family for p in chosen]
        chosen.append(
            min(free, key=lambda p: used_first.count(p.first) + used_family.count(p.family))
        )
    return frozenset(p.name for p in chosen)
