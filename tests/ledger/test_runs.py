"""Runs leave a start and an end in the ledger, whichever way they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ledger.made import made
from unbelief.errors import GuardError, Interrupted, RequestError
from unbelief.ledger import Details, recorded_run, recording, run_details
from unbelief.ledger.digests import KEY_VARIABLE, record_set
from unbelief.provenance import Provenance, RecordsDigest
from unbelief.types import Record

RECORDS = [Record(id="a", prompt="who", answer="Ada")]
PROVENANCE = Provenance(
    source="/home/somebody/models/original",
    input_weights_sha256="1" * 64,
    output_weights_sha256="2" * 64,
    forget=RecordsDigest(n=1),
    config={"method": "npo", "dtype": "float32", "lora": None, "train": {"learning_rate": 1e-5}},
    seed=0,
).to_dict()


@pytest.fixture
def forget(tmp_path: Path) -> str:
    file = tmp_path / "forget.jsonl"
    file.write_text(json.dumps({"prompt": "who", "completion": "Ada"}) + "\n")
    return str(file)


def test_details_of_a_run_hold_no_path() -> None:
    details = run_details(PROVENANCE)
    assert details.base_model is not None and details.base_model.id == "original"
    assert details.output_model is not None and details.output_model.adapter is False
    assert details.forget_set is not None and details.forget_set.n == 1
    assert details.code is not None and details.env_digest is not None
    assert "/home" not in details.model_dump_json()
    assert run_details(PROVENANCE | {"source": "org/model"}).base_model.id == "org/model"


def test_config_digest_depends_on_the_configuration_alone() -> None:
    config = PROVENANCE["config"]
    reordered = dict(reversed(config.items()))
    changed = config | {"train": {"learning_rate": 2e-5}}
    digests = [
        run_details(PROVENANCE | {"config": c}).config_digest for c in (config, reordered, changed)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_unmerged_adapter_is_recorded_as_such() -> None:
    config = PROVENANCE["config"] | {"lora": {"r": 4}, "merge": False}
    output = run_details(PROVENANCE | {"config": config}).output_model
    assert output is not None and output.adapter is True


def test_finished_run(tmp_path: Path, forget: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "ab" * 32)
    monkeypatch.setenv("UNBELIEF_ACTOR", "night-job")
    ledger = made(tmp_path, 1)
    with recording(ledger.path, "DR-1", forget, method="npo") as finished:
        assert ledger.entries()[-1].event == "run_started"
        finished(PROVENANCE)
    start, end = ledger.entries()[1:]
    expected = record_set(RECORDS, bytes.fromhex("ab" * 32))
    assert start.forget_set == end.forget_set == expected
    assert (end.event, end.decision, end.actor) == ("run_finished", "done", "night-job")
    assert end.output_model is not None and end.output_model.weights_sha256 == "2" * 64
    assert "Ada" not in ledger.path.read_text()


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (GuardError("loss"), "failed"),
        (ZeroDivisionError(), "failed"),
        (Interrupted("stopped"), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_run_that_ends_badly(tmp_path: Path, error: BaseException, decision: str) -> None:
    ledger = made(tmp_path, 1)
    with (
        pytest.raises(type(error)),
        recorded_run(ledger, "DR-1", Details(method="npo")),
    ):
        raise error
    assert [(e.event, e.decision) for e in ledger.entries()[1:]] == [
        ("run_started", None),
        ("run_finished", decision),
    ]


def test_run_for_an_unknown_request_does_not_start(tmp_path: Path, forget: str) -> None:
    ledger = made(tmp_path, 1)
    with (
        pytest.raises(RequestError, match="knows no request DR-9"),
        recording(ledger.path, "DR-9", forget),
    ):
        pytest.fail("it started")


def test_only_the_main_process_writes(
    tmp_path: Path, forget: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = made(tmp_path, 1)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with recording(ledger.path, "DR-1", forget) as finished:
        finished(PROVENANCE)
    assert len(ledger.entries()) == 1


@pytest.mark.parametrize("given", [(Path("ledger.jsonl"), None), (None, "DR-1")])
def test_ledger_and_request_belong_together(
    given: tuple[Path | None, str | None], forget: str
) -> None:
    with pytest.raises(RequestError, match="give both or neither"), recording(*given, forget):
        pytest.fail("it started")


def test_without_a_request_nothing_is_recorded(forget: str) -> None:
    with recording(None, None, forget) as finished:
        finished(PROVENANCE)
