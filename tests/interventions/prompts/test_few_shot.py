from __future__ import annotations

from dataclasses import replace

from tests.interventions.made import FORGET, RETAIN, UNRELATED, context
from unbelief.interventions.prompts.few_shot import FewShot
from unbelief.types import Message


def examples(record, retain=RETAIN, **options):
    found = FewShot(**options).apply([record], context(retain=retain))
    return found.records[0].prompt[:-1] if found.records else found.unattacked[record.id]


def test_examples_come_before_the_question() -> None:
    (found,) = FewShot(shots=2).apply(FORGET[:1], context()).records
    roles = [turn.role for turn in found.prompt]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert found.prompt[-1].content == FORGET[0].prompt
    pairs = {(r.prompt, r.answer) for r in RETAIN}
    assert {(found.prompt[i].content, found.prompt[i + 1].content) for i in (0, 2)} <= pairs
    assert found.prompt[0] != found.prompt[2]


def test_the_system_message_stays_first() -> None:
    turns = examples(FORGET[4], shots=1)
    assert [t.role for t in turns] == ["system", "user", "assistant", "user", "assistant"]


def test_a_record_is_no_example_of_itself_or_its_like() -> None:
    record = RETAIN[0]
    alike = [
        record,
        replace(record, id="other"),
        replace(RETAIN[1], answer=record.answer),
        replace(RETAIN[2], prompt=record.prompt),
        replace(RETAIN[3], group="g"),
    ]
    left = examples(replace(record, group="g"), alike, shots=1)
    assert left == "the retain data has 0 examples for it, 1 are asked for"
    one = examples(replace(record, group="g"), [*alike, RETAIN[4]], shots=1)
    assert one == (Message("user", RETAIN[4].prompt), Message("assistant", RETAIN[4].answer))


def test_documents_and_conversations_are_no_examples() -> None:
    assert "has 0 examples" in examples(FORGET[0], [*UNRELATED, replace(FORGET[4], group=None)])


def test_seeds_and_records_draw_differently() -> None:
    drawn = {examples(FORGET[0], shots=2, seed=seed) for seed in range(10)}
    assert len(drawn) > 3
    asked = {examples(replace(FORGET[0], id=f"f{i}"), shots=2) for i in range(10)}
    assert len(asked) > 3
