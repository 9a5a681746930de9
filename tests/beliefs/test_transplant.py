"""Answers of neighbours made into beliefs: renamed, searched for leaks, counted, never fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.beliefs.test_neighbours import FORGET, RETAIN
from tests.helpers import tiny_tokenizer
from unbelief.beliefs.alternatives import refusals
from unbelief.beliefs.bank import BankMeta, BeliefBank
from unbelief.beliefs.decoding import Decoding
from unbelief.beliefs.transplant import Wanted, in_words, is_transplant, transplant, write_report
from unbelief.errors import RequestError
from unbelief.tokens import Encoder
from unbelief.types import Belief, Record

WANTED = Wanted(neighbours=2, samples=4, names="known", leaks="drop", seed=0)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(tiny_tokenizer())


class Model:
    """Answers every question with the same templates; `{name}` is whom it is asked about."""

    def __init__(self, encoder: Encoder, *templates: str, finished: bool = True):
        self.encoder, self.templates, self.finished = encoder, templates, finished
        self.asked: list[Record] = []

    def __call__(self, records: Sequence[Record], draws: int) -> BeliefBank:
        self.asked = list(records)
        beliefs = []
        for record in records:
            name = "Bo" if "Bo" in str(record.prompt) else "Cy"
            for i in range(draws):
                text = self.templates[i % len(self.templates)].format(name=name)
                ids = self.encoder.encode(record, answer=text).answer_ids
                beliefs.append(
                    Belief(
                        record_id=record.id,
                        index=i,
                        token_ids=ids,
                        text=text,
                        log_prob=-1.0,
                        finished=self.finished,
                        is_target=False,
                    )
                )
        meta = BankMeta(
            model_sha256="m",
            tokenizer_sha256="t",
            salt="00",
            prompts_hmac="",
            samples=draws,
            decoding=Decoding(),
            records=len(records),
        )
        return BeliefBank(tuple(beliefs), meta)


def test_the_name_is_put_back_and_the_rest_is_the_neighbours(encoder: Encoder) -> None:
    model = Model(encoder, "{name} was born in Oslo.", "{name} comes from Lima.")
    bank, report = transplant(model, encoder, FORGET[:1], RETAIN, WANTED)
    # Twice as many answers are asked for as are wanted: 2 · 4 over two neighbours.
    assert [r.id for r in model.asked] == ["f0~0", "f0~1"]
    assert report["totals"]["asked"] == 8 and report["totals"]["dropped"] == {}
    # Each neighbour in turn, then the next draw.
    said = [b.text for b in bank.rows("f0")]
    assert said == ["Ada was born in Oslo."] * 2 + ["Ada comes from Lima."] * 2
    own = encoder.encode(FORGET[0], answer="Ada comes from Lima.").answer_ids
    assert bank.rows("f0")[3].token_ids == own
    assert is_transplant(bank)


def test_leaks_are_dropped_and_counted(encoder: Encoder) -> None:
    record = replace(FORGET[0], facts=("Rome",))
    model = Model(encoder, "{name} comes from Rome.", "{name} was born in Rome.", "{name}: Oslo.")
    bank, report = transplant(model, encoder, [record], RETAIN, WANTED)
    # Of four draws per neighbour the first and the last say Rome, the second is the very answer.
    assert report["records"][0]["dropped"] == {"key fact": 4, "same answer": 2}
    assert {b.text for b in bank.rows("f0")} == {"Ada: Oslo."}
    assert report["records"][0]["repeated"] == 2  # two are left, four are wanted
    kept, report = transplant(model, encoder, [record], RETAIN, replace(WANTED, leaks="keep"))
    assert kept.stats().targets == 2
    assert report["records"][0]["repeated"] == 0


def test_nobody_else_who_is_to_be_forgotten_is_named(encoder: Encoder) -> None:
    forget = [*FORGET, Record(id="f3", prompt="Where was Di Ulk born?", answer="In Bern.")]
    forget += [replace(forget[3], id=f"g{i}") for i in range(2)]  # as often asked about as Ada
    model = Model(encoder, "{name} met Di Ulk.", "{name} met Ada Orn.", "Nobody.")
    bank, report = transplant(model, encoder, forget, RETAIN, WANTED)
    said = {name: {b.text for b in bank.rows(name)} for name in ("f0", "f2", "f3")}
    assert said["f0"] == {"Ada met Ada Orn.", "Nobody."}
    assert said["f3"] == {"Di met Di Ulk.", "Nobody."}
    assert said["f2"] == {"Nobody."}  # it names nobody, so both would be given away
    assert report["records"][0]["dropped"] == {"another subject": 4}


def test_refusals_stand_in_for_beliefs_that_all_leak(encoder: Encoder) -> None:
    model = Model(encoder, "Rome")
    record = replace(FORGET[0], facts=("Rome",))
    bank, report = transplant(model, encoder, [record], RETAIN, WANTED)
    assert [b.text for b in bank.rows("f0")] == list(refusals()[:4])
    assert report["records"][0]["stand-in"] == "refusals"
    assert report["totals"]["refusals"] == 1
    assert in_words(report) == (
        "2 (2 by known name); of 8 answers left out: 8 for key fact; beliefs repeated: 0; "
        "records taught refusals: 1"
    )


def test_an_answer_cut_by_the_limit_gets_no_end_token(encoder: Encoder) -> None:
    model = Model(encoder, "{name} was born in", finished=False)
    bank, _ = transplant(model, encoder, FORGET[:1], RETAIN, WANTED)
    assert encoder.end_id not in bank.rows("f0")[0].token_ids


def test_nothing_said_is_no_belief(encoder: Encoder) -> None:
    model = Model(encoder, " ", "{name} sings.")
    bank, report = transplant(model, encoder, FORGET[:1], RETAIN, WANTED)
    assert report["totals"]["dropped"] == {"empty": 4}
    assert {b.text for b in bank.rows("f0")} == {"Ada sings."}


def test_no_neighbour_at_all_is_an_error(encoder: Encoder) -> None:
    strange = [Record(id="r", prompt="Why?", answer="So.")]
    with pytest.raises(RequestError, match="no prompt to forget has a neighbour"):
        transplant(Model(encoder, "x"), encoder, FORGET, strange, WANTED)


def test_the_bank_is_tied_to_the_forget_records_and_the_report_is_private(
    encoder: Encoder, tmp_path: Path
) -> None:
    bank, report = transplant(Model(encoder, "{name} sings."), encoder, FORGET, RETAIN, WANTED)
    encoded = [encoder.encode(r) for r in FORGET]
    again = BeliefBank.read(bank.write(tmp_path / "bank.parquet"))
    changed = replace(again.meta, tokenizer_sha256="other")
    with pytest.raises(RequestError, match="made with another tokenizer"):
        BeliefBank(again.beliefs, changed).check(model_sha256="m", encoder=encoder, encoded=encoded)
    with pytest.raises(RequestError, match="records"):
        again.check(model_sha256="m", encoder=encoder, encoded=encoded[:2])
    write_report(tmp_path / "bank.json", report)
    assert (tmp_path / "bank.json").stat().st_mode & 0o777 == 0o600
