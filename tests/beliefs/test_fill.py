from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.beliefs.common import encoder, records
from tests.helpers import EOS, tiny_model
from unbelief.beliefs import BeliefBank, Decoding, Sampled, fill_bank
from unbelief.beliefs.fill import describe, encode_all, fill, is_target
from unbelief.errors import RequestError
from unbelief.tokens.encode import Encoded
from unbelief.types import Record

SHORT = Decoding(max_new_tokens=8)


def test_every_record_gets_n_beliefs_in_order(llama: Any) -> None:
    bank = fill_bank(llama, encoder(), records(), 3, SHORT, batch_size=4)
    assert bank.record_ids == tuple(r.id for r in records())
    for r in records():
        assert [b.index for b in bank.rows(r.id)] == [0, 1, 2]
        for b in bank.rows(r.id):
            assert b.text == encoder().decode(b.token_ids)
            assert b.log_prob < 0
    assert bank.meta.samples == 3 and bank.meta.decoding == SHORT
    assert len(bank.meta.model_sha256) == 64


def test_a_records_beliefs_do_not_depend_on_the_other_records(llama: Any) -> None:
    whole = fill_bank(llama, encoder(), records(), 2, SHORT)
    part = fill_bank(llama, encoder(), records()[2:4], 2, SHORT)
    ids = [b.token_ids for b in part.beliefs]
    assert ids == [b.token_ids for r in records()[2:4] for b in whole.rows(r.id)]


def test_beliefs_equal_to_the_answer_are_counted() -> None:
    e = encoder()
    encoded = encode_all(e, records(2))
    own, other = encoded[0].answer_ids, (10, EOS)

    def ask(prompts: Any, keys: Any) -> list[list[Sampled]]:
        return [[Sampled(own, -1.0, True), Sampled(other, -1.0, True)] for _ in keys]

    meta = describe("m", e, encoded, 2, SHORT, "scripted")
    bank = fill(ask, e, encoded, meta, path=None, records_per_part=1)
    # Both records have the answer "Yes.", and each has it once among its two beliefs.
    assert [b.is_target for b in bank.beliefs] == [True, False, True, False]
    assert bank.stats().targets == 2
    assert bank.beliefs[0].text == "Yes."


def test_is_target_compares_tokens_with_or_without_the_end() -> None:
    said = Sampled((8, 9, EOS), -1.0, True)
    cut = Sampled((8, 9), -1.0, False)
    with_end, without = Encoded("r", (5,), (8, 9, EOS)), Encoded("r", (5,), (8, 9))
    assert is_target(said, with_end, end_token=True)
    assert not is_target(cut, with_end, end_token=True)
    assert is_target(said, without, end_token=False)
    assert is_target(cut, without, end_token=False)


def test_a_finished_bank_is_reused_and_guarded(llama: Any, tmp_path: Path) -> None:
    path = tmp_path / "bank.parquet"
    first = fill_bank(llama, encoder(), records(), 2, SHORT, path=path)
    stamp = path.stat().st_mtime_ns
    again = fill_bank(llama, encoder(), records(), 2, SHORT, path=path)
    assert again.beliefs == first.beliefs and path.stat().st_mtime_ns == stamp
    assert [p.name for p in tmp_path.iterdir()] == ["bank.parquet"]
    for wrong in (
        lambda: fill_bank(llama, encoder(), records(), 3, SHORT, path=path),
        lambda: fill_bank(llama, encoder(), records(4), 2, SHORT, path=path),
        lambda: fill_bank(llama, encoder(), records(), 2, Decoding(seed=1), path=path),
        lambda: fill_bank(tiny_model(seed=1), encoder(), records(), 2, SHORT, path=path),
        lambda: fill_bank(llama, encoder(chat=False), records(), 2, SHORT, path=path),
    ):
        with pytest.raises(RequestError, match="differs in"):
            wrong()


def test_records_need_their_own_ids(llama: Any) -> None:
    twice = [Record(id="x", prompt="a", answer="b", source="f.jsonl:1")] * 2
    with pytest.raises(RequestError, match=r"f\.jsonl:1.*'x'"):
        fill_bank(llama, encoder(), twice, 1, SHORT)
    with pytest.raises(RequestError, match="no records"):
        fill_bank(llama, encoder(), [], 1, SHORT)


_CHILD = """
import sys, time
from pathlib import Path
from tests.beliefs.common import encoder, records
from tests.helpers import tiny_model
from unbelief.beliefs import Decoding, fill_bank, pool
real = pool.Pool.enter
def slow(*arguments):
    time.sleep(0.3)  # so that the parent can strike between two parts
    return real(*arguments)
pool.Pool.enter = slow
fill_bank(tiny_model(), encoder(), records(), 2, Decoding(max_new_tokens=8),
          path=Path(sys.argv[1]), batch_size=2)
"""


def test_a_killed_run_continues_and_gives_the_same_bank(llama: Any, tmp_path: Path) -> None:
    path = tmp_path / "bank.parquet"
    parts = tmp_path / ".bank.parquet.parts"
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], env=environment, cwd=root)
    try:
        deadline = time.monotonic() + 120
        while len(list(parts.glob("part-*.parquet"))) < 2:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    kept = {p: p.stat().st_mtime_ns for p in parts.glob("part-*.parquet")}
    assert 2 <= len(kept) < 5 and not path.exists()
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in parts.iterdir())
    # An unfinished bank belongs to what it was begun with.
    with pytest.raises(RequestError, match="differs in decoding"):
        fill_bank(llama, encoder(), records(), 2, Decoding(seed=5), path=path)
    # `batch_size` is another one: the parts are cut as they were begun.
    continued = fill_bank(llama, encoder(), records(), 2, SHORT, path=path, batch_size=64)
    undisturbed = fill_bank(llama, encoder(), records(), 2, SHORT, batch_size=2)
    assert [b.token_ids for b in continued.beliefs] == [b.token_ids for b in undisturbed.beliefs]
    assert BeliefBank.read(path).beliefs == continued.beliefs
    assert not parts.exists()


def test_an_interrupted_run_asks_only_for_what_is_missing(
    llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbelief.beliefs.pool import Pool

    path, real = tmp_path / "bank.parquet", Pool.enter
    calls: list[int] = []

    def failing(*arguments: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(Pool, "enter", failing)
    with pytest.raises(KeyboardInterrupt):
        fill_bank(llama, encoder(), records(), 2, SHORT, path=path, batch_size=2)
    continued = fill_bank(llama, encoder(), records(), 2, SHORT, path=path, batch_size=2)
    assert len(calls) == 3 + 3  # five parts: two kept, one broken off, three asked again
    fresh = fill_bank(llama, encoder(), records(), 2, SHORT, path=tmp_path / "b", batch_size=2)
    assert continued.beliefs == fresh.beliefs  # to the last bit, log-probabilities included
