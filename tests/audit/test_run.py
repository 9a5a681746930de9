from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.audit.made import FORGET, save_data, save_model
from unbelief.audit.attacks import parse_attacks
from unbelief.audit.gates import read_rules
from unbelief.audit.request import AuditRequest
from unbelief.audit.run import audit
from unbelief.errors import Interrupted, RequestError
from unbelief.report.audit_document import AuditDocument


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    for kind in ("original", "retrained", "rephrasing", "collapsed"):
        save_model(folder / kind, kind)
    save_data(folder)
    return folder


def request(world: Path, kind: str, **changes) -> AuditRequest:
    given = {
        "model": str(world / kind),
        "original": str(world / "original"),
        "retrained": str(world / "retrained"),
        "forget": str(world / "forget.jsonl"),
        "retain": str(world / "retain.jsonl"),
        "attacks": (),
        "samples": 2,
        "device": "cpu",
    }
    return AuditRequest(**{**given, **changes})


def test_a_model_that_rephrases_is_told_from_one_that_forgot(world, tmp_path):
    rephrasing = audit(request(world, "rephrasing"), tmp_path / "a")
    assert rephrasing.flags == {"rephrased": len(FORGET)}
    row = next(r for r in rephrasing.prompts if r.id == "Ada")
    assert row.facts == ("Paris",)
    own = next(r for r in row.responses if r.by == "unlearned")
    assert own.text.startswith("the city is Paris") and own.words == ("Paris",)
    # Classical numbers call it success: ROUGE-L recall of "Ada was born in Paris ." is 1/5 (Paris;
    # the full stop is no word).
    assert row.scores["rougeL_recall"] == pytest.approx(0.2)
    by_name = {m.name: m for m in rephrasing.measures}
    assert by_name["key_fact_recall"].models["unlearned"].value == 1
    assert by_name["key_fact_recall"].models["original"].value == 1
    assert by_name["extraction_strength"].models["unlearned"].value < 0.5
    assert by_name["retain_probability"].models["unlearned"].value > 0.9
    assert "(4 in other words)" in rephrasing.verdict.sentence


def test_a_collapsed_model_is_flagged_and_its_unlikeliness_is_a_trace(world, tmp_path):
    found = audit(request(world, "collapsed"), tmp_path / "a")
    assert found.flags == {"collapsed": len(FORGET)}
    assert "repetition" in found.prompts[0].why
    by_name = {m.name: m for m in found.measures}
    own, yardstick = (by_name["probability"].models[r].value for r in ("unlearned", "retrained"))
    assert own < 0.5 * yardstick
    assert "trace of the deletion itself" in found.verdict.sentence


def test_the_original_itself_leaks_and_is_no_unlearning(world, tmp_path):
    import shutil

    shutil.copytree(world / "original", tmp_path / "copy")
    same = request(world, "original", model=str(tmp_path / "copy"))
    found = audit(same, tmp_path / "a")
    assert found.flags == {"leaked": len(FORGET)}
    assert found.verdict.claim_class == "suppression only"
    assert "original" in found.verdict.claim_reason


def test_gates_are_decided_and_the_worst_decides_the_audit(world, tmp_path):
    rules = read_rules(
        "retain_probability >= 0.9 * original; extraction_strength <= 0.9; key_fact_recall <= 0.3"
    )
    found = audit(request(world, "rephrasing", gates=rules), tmp_path / "a")
    outcomes = {g.name: g.outcome for g in found.verdict.gates}
    assert outcomes["retain_probability"] == "pass"
    assert outcomes["key_fact_recall"] == "fail"
    assert found.verdict.outcome == "fail"


def test_attacks_are_read_against_the_retrained_model(world, tmp_path):
    specs = ("relearn:learning_rate=0.003:num_train_epochs=4", "quantize:bits=8", "jailbreak",
             "paraphrase", "prefix", "adapter-off")  # fmt: skip
    found = audit(request(world, "collapsed", attacks=specs), tmp_path / "a")
    rows = {(r.name, r.measure): r for r in found.attacks}
    missing = next(r for r in found.attacks if r.name == "adapter-off")
    assert not missing.ran and missing.because
    assert any("Adapter off" in line for line in found.verdict.not_covered)
    relearned = rows[specs[0], "probability"]
    assert relearned.after.value > relearned.before.value
    assert relearned.retrained_after is not None
    curve = next(c for c in found.curves if c.name == "relearning_probability")
    values = [p.series["unlearned"].value for p in curve.points]
    assert curve.points[0].x == 0 and values[-1] > values[0]
    # It is at least half as likely again as to the original at the first such point; four records
    # are one batch of at most 32 answers.
    whole = next(m for m in found.measures if m.name == "probability").models["original"].value
    back = [int(p.x) for p in curve.points if p.series["unlearned"].value >= whole / 2]
    said = (
        f"number: reached by {back[0]} steps, at most {32 * back[0]} answers shown" if back else ""
    )
    assert said in curve.note and (back or "not reached within" in curve.note)
    # The attacked weights were put back: the measurements without attack came first, those of the
    # next attack start from the same model.
    assert rows["quantize:bits=8", "probability"].after.value == pytest.approx(
        rows["quantize:bits=8", "probability"].before.value, rel=0.5
    )


def test_the_folder_appears_whole_and_reads_back(world, tmp_path):
    document = audit(request(world, "rephrasing", request_id="R-1"), tmp_path / "a")
    content = (tmp_path / "a" / "audit.json").read_text()
    assert AuditDocument.model_validate_json(content) == document
    page = (tmp_path / "a" / "report.html").read_text()
    assert "R-1" in page and str(tmp_path) not in page and str(world) not in page + content
    assert (tmp_path / "a" / "measurements" / "unlearned" / "meta.json").is_file()
    assert not (tmp_path / "a.run").exists()
    with pytest.raises(RequestError, match="exists already"):
        audit(request(world, "rephrasing"), tmp_path / "a")


def test_an_interrupted_audit_goes_on_and_ends_alike(world, tmp_path, monkeypatch):
    whole = audit(request(world, "rephrasing", attacks=("jailbreak",)), tmp_path / "whole")
    from unbelief.audit import run

    class Stop:
        left = 2

    real = run.open_subject

    def opened(*arguments, **options):
        Stop.left -= 1
        if Stop.left < 0:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(run, "open_subject", opened)
    with pytest.raises(Interrupted):
        audit(request(world, "rephrasing", attacks=("jailbreak",)), tmp_path / "b")
    assert not (tmp_path / "b").exists() and (tmp_path / "b.run").is_dir()
    kept = (tmp_path / "b.run" / "unlearned" / "answers.parquet").stat().st_mtime_ns
    monkeypatch.setattr(run, "open_subject", real)
    again = audit(request(world, "rephrasing", attacks=("jailbreak",)), tmp_path / "b")
    after = (tmp_path / "b" / "measurements" / "unlearned" / "answers.parquet").stat().st_mtime_ns
    assert after == kept
    without = {"created", "reproduction", "attacks"}
    assert again.model_dump(exclude=without) == whole.model_dump(exclude=without)
    assert [r.after for r in again.attacks] == [r.after for r in whole.attacks]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attacks": ("relern",)}, "relern"),
        ({"attacks": ("quantize:bits",)}, "not an option"),
        ({"attacks": ("noise", "noise")}, "twice"),
        ({"gates": "leak_rte <= 0.1"}, "unknown measure"),
        ({"gates": "key_fact_recall@noise <= 0.1"}, "not run"),
        ({"forget": "missing.jsonl"}, "missing.jsonl"),
        ({"model": "no/such/folder"}, "no/such/folder"),
        ({"samples": 0}, "samples"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_wrong_requests_write_nothing(world, tmp_path, changes, words):
    if "gates" in changes:
        changes = {"gates": read_rules(changes["gates"])}
    with pytest.raises(RequestError) as caught:
        audit(request(world, "rephrasing", **changes), tmp_path / "a")
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_same_folder_twice_is_refused(world):
    with pytest.raises(RequestError, match="same folder"):
        request(world, "original")


def test_attacks_are_named_by_the_text_they_were_asked_for_with():
    found = parse_attacks(["noise:rate=0.5", " noise:rate=0.1 "])
    assert list(found) == ["noise:rate=0.5", "noise:rate=0.1"]
    assert found["noise:rate=0.5"].rate == 0.5


def test_the_command_ends_with_the_verdict(world, tmp_path, capsys, monkeypatch):
    from unbelief.cli import main

    def run(*flags: str) -> int:
        arguments = ["unbelief", "audit", "--model", str(world / "rephrasing"), "--original",
                     str(world / "original"), "--forget", str(world / "forget.jsonl"),
                     "--attacks", "none", "--samples", "1", *flags]  # fmt: skip
        monkeypatch.setattr("sys.argv", arguments)
        try:
            main.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    assert run("--output", str(tmp_path / "a")) == 0
    said = capsys.readouterr().out
    assert said.startswith("no gates: Of 4 prompts, 4 greedy answers state the fact")
    assert run("--output", str(tmp_path / "b"), "--gates", "key_fact_recall <= 0.3") == 3
    capsys.readouterr()
    assert (tmp_path / "b" / "report.html").is_file()
    gate = "key_fact_recall <= 0.99"
    assert run("--output", str(tmp_path / "c"), "--gates", gate, "--json") == 4
    last = capsys.readouterr().out.strip().splitlines()
    assert json.loads(last[0])["verdict"]["outcome"] == "inconclusive"
    assert run("--output", str(tmp_path / "a")) == 2


def test_an_audit_of_a_request_is_recorded(world, tmp_path):
    from unbelief.audit.recording import check_ledger, record_audit
    from unbelief.ledger import Ledger

    book = Ledger(tmp_path / "ledger.jsonl")
    book.append("request_received", "R-1")
    with pytest.raises(RequestError, match="knows no request"):
        check_ledger(book.path, "R-2")
    check_ledger(book.path, "R-1")
    rules = read_rules("key_fact_recall <= 0.3")
    document = audit(
        request(world, "rephrasing", request_id="R-1", gates=rules), tmp_path / "audit"
    )
    record_audit(book.path, document, tmp_path / "audit")
    entry = book.entries()[-1]
    assert (entry.event, entry.decision) == ("audited", "fail")
    assert entry.gates == {"1.key_fact_recall": "fail"}
    assert "Paris" not in book.path.read_text()


def test_a_judge_grades_every_model_and_a_bad_one_is_not_believed(world, tmp_path):
    from tests.judge.made import Rules, by_the_rules, obedient

    found = audit(
        request(world, "collapsed", gates=read_rules("judge_naturalness >= 4")),
        tmp_path / "a",
        judge=Rules(by_the_rules),
    )
    grades = {m.name: m.models for m in found.measures if m.name.startswith("judge_")}
    assert grades["judge_naturalness"]["unlearned"].value < 2  # it only repeats
    assert grades["judge_similarity"]["original"].value < 2  # it recites
    assert found.verdict.outcome == "fail"
    assert not any("judge" in line for line in found.verdict.not_covered)

    doubtful = audit(
        request(world, "collapsed", gates=read_rules("judge_naturalness >= 4")),
        tmp_path / "b",
        judge=Rules(obedient),
    )
    grades = {m.name: m.models for m in doubtful.measures if m.name.startswith("judge_")}
    assert grades["judge_naturalness"]["unlearned"].value is None
    assert doubtful.verdict.outcome == "inconclusive"
    assert any("not valid" in line for line in doubtful.verdict.not_covered)
