"""Digests that say nothing without their key, and the key that is kept apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from unbelief.errors import RequestError
from unbelief.ledger.digests import KEY_VARIABLE, read_key, record_set
from unbelief.types import Record

KEY = bytes(range(32))
RECORD = Record(id="a", prompt="Who?", answer="Ada")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "apart" / "key"
    file.parent.mkdir()
    file.write_text(KEY.hex() + "\n")
    file.chmod(0o600)
    return file


def test_without_a_key_there_is_only_a_count() -> None:
    assert record_set([RECORD]).model_dump(exclude_none=True) == {"n": 1}


def test_digest_is_keyed_and_of_the_records_alone() -> None:
    made = record_set([RECORD], KEY)
    assert made == record_set([Record(id="b", prompt="Who?", answer="Ada", group="g")], KEY)
    assert made.keyed_digest != record_set([RECORD], KEY[::-1]).keyed_digest
    plain = [RECORD.answer, f"{RECORD.prompt}{RECORD.answer}", json.dumps(["Who?", "Ada"])]
    assert made.keyed_digest not in [hashlib.sha256(text.encode()).hexdigest() for text in plain]


def test_key_comes_from_a_file_or_the_environment(
    tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key(None, ledger) is None
    assert read_key(key_file, ledger) == KEY
    monkeypatch.setenv(KEY_VARIABLE, KEY.hex())
    assert read_key(None, ledger) == KEY


def test_key_beside_the_ledger_is_refused(key_file: Path) -> None:
    with pytest.raises(RequestError, match="beside the ledger"):
        read_key(key_file, key_file.parent / "ledger.jsonl")


def test_key_open_to_others_is_refused(tmp_path: Path, key_file: Path) -> None:
    key_file.chmod(0o644)
    with pytest.raises(RequestError, match="read by others"):
        read_key(key_file, tmp_path / "ledger.jsonl")


@pytest.mark.parametrize("text", ["not hexadecimal: 0123", "é" * 40])
def test_malformed_key_is_refused_and_not_shown(tmp_path: Path, key_file: Path, text: str) -> None:
    key_file.write_text(text)
    with pytest.raises(RequestError) as caught:
        read_key(key_file, tmp_path / "ledger.jsonl")
    assert text not in str(caught.value)


def test_short_key_is_refused() -> None:
    with pytest.raises(RequestError, match="can be guessed"):
        record_set([RECORD], KEY[:8])
