"""`unbelief ledger`, and `unlearn` with a request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.calibrate.made import save_pair
from tests.cli.common import call, write_data
from tests.helpers import save_tiny
from tests.ledger.made import made
from unbelief.hashing import weights_sha256
from unbelief.ledger import Ledger
from unbelief.ledger.runs import RECORDS
from unbelief.rundir import RESULT


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return made(tmp_path).path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "apart" / "key"
    file.parent.mkdir()
    file.write_text("cd" * 32)
    file.chmod(0o600)
    return file


def test_add_list_show_verify(tmp_path: Path, key: Path) -> None:
    book, (forget, _) = tmp_path / "ledger.jsonl", write_data(tmp_path)
    added = call(
        *("ledger", "add", "request_received", "--request-id", "DR-7", "--ledger", book),
        *("--deadline", "2020-01-31", "--actor", "desk", "--json"),
    )
    assert added.code == 0 and json.loads(added.out)["seq"] == 0
    scope = ("ledger", "add", "scoped", "--request-id", "DR-7", "--ledger", book)
    assert call(*scope, "--forget", forget, "--key-file", key).code == 0
    listed = call("ledger", "list", "--ledger", book)
    assert "DR-7  scoped" in listed.out and "days overdue" in listed.out
    shown = call("ledger", "show", "DR-7", "--ledger", book)
    assert shown.out.startswith("DR-7: scoped\n") and "keyed_digest" in shown.out
    verified = call("ledger", "verify", "--ledger", book)
    assert verified.out.splitlines()[0] == "2 entries, all sound (no anchor given)"


def test_records_are_checked_with_the_key(tmp_path: Path, key: Path) -> None:
    book, (forget, retain) = made(tmp_path, 1).path, write_data(tmp_path)
    scope = ("ledger", "add", "scoped", "--request-id", "DR-1", "--ledger", book)
    assert call(*scope, "--forget", forget, "--key-file", key).code == 0
    show = ("ledger", "show", "DR-1", "--ledger", book, "--key-file", key, "--forget")
    same = call(*show, forget, "--json")
    assert (same.code, json.loads(same.out)["forget_matches"]) == (0, [1])
    assert call(*show, retain).code == 3
    without = call("ledger", "show", "DR-1", "--ledger", book, "--forget", forget)
    assert without.code == 2 and "key" in without.err


def test_verify_names_line_and_damage(book: Path) -> None:
    book.write_bytes(book.read_bytes().replace(b"utility", b"vtility"))
    called = call("ledger", "verify", "--ledger", book)
    assert called.code == 3 and f"{book}:5: edited" in called.err


def test_anchor_shows_a_cut_end(tmp_path: Path, book: Path) -> None:
    anchor = tmp_path / "anchor"
    assert call("ledger", "verify", "--ledger", book, "--write-anchor", anchor).code == 0
    book.write_bytes(b"".join(book.read_bytes().splitlines(keepends=True)[:-1]))
    assert call("ledger", "verify", "--ledger", book).code == 0
    for given in (anchor, anchor.read_text().strip()):
        called = call("ledger", "verify", "--ledger", book, "--anchor", given)
        assert called.code == 3 and f"{book}:6: truncated" in called.err


def test_list_open_only_and_json(tmp_path: Path) -> None:
    made(tmp_path, 6, "DR-1")
    book = made(tmp_path, 2, "DR-2").path
    rows = json.loads(call("ledger", "list", "--ledger", book, "--json").out)["requests"]
    assert [(r["request_id"], r["state"]) for r in rows] == [("DR-1", "closed"), ("DR-2", "scoped")]
    assert "DR-1" not in call("ledger", "list", "--ledger", book, "--open").out


def test_corrections_are_shown_with_what_they_void(book: Path) -> None:
    added = call(
        *("ledger", "add", "audited", "--request-id", "DR-1", "--ledger", book),
        *("--corrects", 4, "--gate", "leak=fail", "--decision", "fail"),
    )
    assert added.code == 0, added.err
    shown = call("ledger", "show", "DR-1", "--ledger", book).out
    assert shown.count("(void)") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "forgotten", "--request-id", "DR-1"),
        ("add", "audited", "--request-id", "DR-1", "--gate", "leak"),
        ("add", "audited", "--request-id", "DR-1", "--run", "nowhere"),
        ("add", "audited", "--request-id", "DR-1", "--result", "nowhere"),
        ("show", "DR-9"),
        ("verify", "--anchor", "7"),
    ],
)
def test_wrong_requests_write_nothing(book: Path, arguments: tuple[object, ...]) -> None:
    before = book.read_bytes()
    called = call("ledger", *arguments, "--ledger", book)
    assert called.code == 2 and "remedy" in called.err and book.read_bytes() == before


def test_ledger_must_be_named(monkeypatch: pytest.MonkeyPatch, book: Path) -> None:
    monkeypatch.delenv("UNBELIEF_LEDGER", raising=False)
    assert call("ledger", "list").code == 2
    monkeypatch.setenv("UNBELIEF_LEDGER", str(book))
    assert call("ledger", "list").code == 0


def test_unlearn_records_its_run(tmp_path: Path) -> None:
    forget, retain = write_data(tmp_path)
    save_tiny(tmp_path / "model")
    ledger = made(tmp_path, 2)
    run = (
        *("unlearn", "--model", tmp_path / "model", "--forget", forget, "--retain", retain),
        *("--method", "npo", "--device", "cpu", "--max-steps", 1, "--ledger", ledger.path),
    )
    unknown = call(*run, "--output", tmp_path / "no", "--request-id", "DR-9")
    assert unknown.code == 2 and not (tmp_path / "no").exists()
    done = call(*run, "--output", tmp_path / "out", "--request-id", "DR-1", "--json")
    assert done.code == 0, done.err
    start, end = ledger.entries()[2:]
    assert (start.event, end.event, end.decision) == ("run_started", "run_finished", "done")
    assert end.output_model is not None
    assert end.output_model.weights_sha256 == json.loads(done.out)["weights_sha256"]
    assert (end.method, end.base_model.id if end.base_model else "") == ("npo", "model")
    # The same afterwards, from what the run left.
    again = call(
        *("ledger", "add", "run_finished", "--request-id", "DR-1", "--ledger", ledger.path),
        *("--run", tmp_path / "out", "--corrects", 3),
    )
    assert again.code == 0, again.err
    assert Ledger(ledger.path).entries()[-1].config_digest == end.config_digest


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An original, an unlearned model and their records."""
    return save_pair(tmp_path_factory.mktemp("pair"))


@pytest.mark.parametrize("method", ["calibrate", "patch"])
def test_mixed_and_patched_models_are_recorded(pair: Path, tmp_path: Path, method: str) -> None:
    ledger = made(tmp_path, 2)
    serving = ("--ledger", ledger.path, "--request-id", "DR-1")
    options = {"calibrate": ("--grid", "0.25"), "patch": ("--attacks", "none", "--top-k", 1)}
    models = [f"--model={pair / 'unlearned'}", f"--original={pair / 'original'}"]
    records = [f"--{name}={pair / name}.jsonl" for name in ("forget", "retain")]
    done = call(
        *(method, *models, *records, *options[method], "--device", "cpu", "--quiet", "--json"),
        *("--output", tmp_path / "out", *serving),
    )
    assert done.code == 0, done.err
    start, end = ledger.entries()[2:]
    assert (start.event, start.method) == ("run_started", method)
    assert (end.event, end.decision, end.method) == ("run_finished", "done", method)
    named = [(m.id, m.weights_sha256) for m in (end.base_model, end.mixed_with) if m is not None]
    assert named == [(n, weights_sha256(pair / n)) for n in ("original", "unlearned")]
    assert end.output_model is not None and end.output_model.adapter is False
    assert end.output_model.weights_sha256 == weights_sha256(tmp_path / "out")
    assert end.forget_set is not None and end.forget_set.n == 4
    # The same afterwards, from the folder alone; the weights are those that lie there.
    adding = ("ledger", "add", "run_finished", *serving, "--run", tmp_path / "out")
    assert call(*adding, "--corrects", 3).code == 0
    again = Ledger(ledger.path).entries()[-1]
    for name in ("method", "base_model", "mixed_with", "output_model", "config_digest"):
        assert getattr(again, name) == getattr(end, name), name
    assert str(tmp_path) not in ledger.path.read_text()


def test_files_that_the_ledger_reads_are_those_that_are_written() -> None:
    from unbelief.calibrate.run import DOCUMENT as MIXED
    from unbelief.patch.run import DOCUMENT as PATCHED

    assert [*RECORDS] == [RESULT, MIXED, PATCHED]


def test_refused_run_is_recorded_as_failed(tmp_path: Path) -> None:
    forget, _ = write_data(tmp_path)
    ledger = made(tmp_path, 1)
    called = call(
        *("unlearn", "--model", tmp_path / "nowhere", "--forget", forget, "--method", "ga"),
        *("--output", tmp_path / "out", "--ledger", ledger.path, "--request-id", "DR-1"),
    )
    assert called.code == 2
    assert [e.decision for e in ledger.entries()] == [None, None, "failed"]
