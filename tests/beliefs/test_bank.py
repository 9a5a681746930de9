from __future__ import annotations

import json
import math
import stat
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.beliefs.common import encoder, records
from unbelief.beliefs.bank import (
    BankMeta,
    BeliefBank,
    prompts_hmac,
    tokenizer_digest,
    write_beliefs,
)
from unbelief.beliefs.decoding import Decoding
from unbelief.errors import RequestError
from unbelief.tokens.encode import Encoded
from unbelief.types import Belief

SALT = "00" * 16


def belief(record_id: str, index: int, ids: tuple[int, ...] = (1, 2), **options: float) -> Belief:
    log_prob = options.get("log_prob", -1.0)
    done, target = bool(options.get("finished", True)), bool(options.get("is_target", False))
    return Belief(
        record_id=record_id,
        index=index,
        token_ids=ids,
        text="é\n\0",
        log_prob=log_prob,
        finished=done,
        is_target=target,
    )


def meta(records: int = 2, samples: int = 2) -> BankMeta:
    return BankMeta(
        model_sha256="m",
        tokenizer_sha256="t",
        salt=SALT,
        prompts_hmac="p",
        decoding=Decoding(temperature=0.7),
        samples=samples,
        records=records,
    )


def bank() -> BeliefBank:
    beliefs = (
        belief("a", 0, (1, 2), log_prob=-1.0, is_target=True),
        belief("a", 1, (3,), log_prob=-2.0, finished=False),
        belief("b", 0, (4, 5, 6), log_prob=-4.0),
        belief("b", 1, (4, 5, 6), log_prob=-5.0),
    )
    return BeliefBank(beliefs, meta())


def test_rows_are_the_beliefs_of_one_record_by_index() -> None:
    assert [b.token_ids for b in bank().rows("a")] == [(1, 2), (3,)]
    assert bank().record_ids == ("a", "b")
    with pytest.raises(RequestError, match="'c'"):
        bank().rows("c")


def test_every_record_must_have_its_own_n_beliefs() -> None:
    full = bank()
    with pytest.raises(RequestError, match="'b' has 1"):
        BeliefBank(full.beliefs[:3], full.meta)
    with pytest.raises(RequestError, match="1 of 2 records have no beliefs"):
        BeliefBank(full.beliefs[:2], full.meta)
    with pytest.raises(RequestError, match="not in order"):
        BeliefBank((full.beliefs[1], full.beliefs[0], *full.beliefs[2:]), full.meta)


def test_stats() -> None:
    s = bank().stats()
    assert (s.n, s.records, s.targets) == (4, 2, 1)
    assert s.mean_log_prob == -3.0  # (-1 - 2 - 4 - 5) / 4
    assert s.mean_tokens == 2.25  # (2 + 1 + 3 + 3) / 4
    assert s.finished == 0.75
    assert s.distinct == 0.75  # (2 of 2 + 1 of 2) / 2


def test_a_bank_survives_the_disk_and_is_private(tmp_path: Path) -> None:
    path = bank().write(tmp_path / "new" / "bank.parquet")
    again = BeliefBank.read(path)
    assert again.beliefs == bank().beliefs
    assert again.meta == replace(bank().meta, created=again.meta.created)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["bank.parquet"]
    assert math.isclose(again.stats().mean_log_prob, -3.0)


def test_any_parquet_tool_reads_the_columns(tmp_path: Path) -> None:
    table = pq.read_table(bank().write(tmp_path / "bank.parquet"))
    assert table.column_names == list(Belief.__dataclass_fields__)
    assert table.column("token_ids").to_pylist()[2] == [4, 5, 6]


def test_files_that_are_no_bank_are_refused_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(RequestError, match="no such"):
        BeliefBank.read(path)
    path.write_bytes(b"not parquet at all")
    with pytest.raises(RequestError, match="damaged"):
        BeliefBank.read(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(RequestError, match="no belief bank"):
        BeliefBank.read(path)
    write_beliefs(path, bank().beliefs, {"part": 0})
    with pytest.raises(RequestError, match="unfinished"):
        BeliefBank.read(path)
    write_beliefs(path, bank().beliefs, {"bank": {"samples": 2, "decoding": {}}})
    with pytest.raises(RequestError, match="metadata"):
        BeliefBank.read(path)
    whole = bank().write(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RequestError, match="damaged"):
        BeliefBank.read(path)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = bank().write(tmp_path / "bank.parquet")
    table = pq.read_table(path)
    values = json.loads(table.schema.metadata[b"unbelief.beliefs"])
    newer = {b"unbelief.beliefs": json.dumps({**values, "schema_version": 99}).encode()}
    pq.write_table(table.replace_schema_metadata(newer), path)
    with pytest.raises(RequestError, match="99"):
        BeliefBank.read(path)
    same = {b"unbelief.beliefs": json.dumps(values).encode()}
    pq.write_table(table.drop_columns(["text"]).replace_schema_metadata(same), path)
    with pytest.raises(RequestError, match="columns"):
        BeliefBank.read(path)


def test_use_with_another_model_tokenizer_or_data_is_refused() -> None:
    e = encoder()
    encoded = [e.encode(r) for r in records(2)]
    made = replace(
        meta(), tokenizer_sha256=tokenizer_digest(e), prompts_hmac=prompts_hmac(encoded, SALT)
    )
    own = BeliefBank(bank().beliefs, made)
    own.check(model_sha256="m", encoder=e, encoded=encoded)
    with pytest.raises(RequestError, match="another model"):
        own.check(model_sha256="other", encoder=e, encoded=encoded)
    with pytest.raises(RequestError, match="another tokenizer"):
        own.check(model_sha256="m", encoder=encoder(chat=False), encoded=encoded)
    with pytest.raises(RequestError, match="another records"):
        own.check(model_sha256="m", encoder=e, encoded=encoded[:1])


def test_the_digest_of_prompts_sees_ids_prompts_answers_and_order() -> None:
    one, two = Encoded("a", (1,), (2,)), Encoded("b", (1,), (2,))
    variants = [
        [one, two],
        [two, one],
        [one],
        [Encoded("a", (1, 2), ()), two],
        [Encoded("a", (1,), (3,)), two],
    ]
    assert len({prompts_hmac(v, SALT) for v in variants}) == len(variants)
    assert prompts_hmac([one], SALT) != prompts_hmac([one], "11" * 16)
