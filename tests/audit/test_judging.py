"""The judge reads what the models say without attack and under each, in one batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.audit.made import FORGET, save_data, save_model
from tests.cli.common import call
from tests.judge.made import Rules, by_the_rules, obedient
from tests.judge.server import running
from unbelief.audit.gates import read_rules
from unbelief.audit.request import AuditRequest
from unbelief.audit.run import audit
from unbelief.errors import Interrupted, RequestError
from unbelief.judge import Endpoint
from unbelief.judge.chats import Outcome, Question
from unbelief.report.audit_document import AttackRow, AuditDocument

RELEARN = "relearn:learning_rate=0.01:max_steps=20"
CONTROLS = 10 + 2  # five written kinds and, of the data, truth: two each; no record has paraphrases


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    for kind in ("original", "retrained", "collapsed"):
        save_model(folder / kind, kind)
    save_data(folder)
    return folder


def request(world: Path, *attacks: str, **changes) -> AuditRequest:
    given = {
        "model": str(world / "collapsed"),
        "original": str(world / "original"),
        "forget": str(world / "forget.jsonl"),
        "retain": str(world / "retain.jsonl"),
        "attacks": attacks,
        "samples": 1,
        "device": "cpu",
    }
    return AuditRequest(**{**given, **changes})


def rows(document: AuditDocument) -> dict[tuple[str, str], AttackRow]:
    return {(row.name, row.measure): row for row in document.attacks}


def test_answers_under_attack_are_judged_like_those_without(world, tmp_path):
    gates = read_rules(f"judge_similarity >= 4; judge_similarity@{RELEARN} >= 4")
    judge = Rules(by_the_rules)
    found = audit(
        request(world, RELEARN, "jailbreak", gates=gates, retrained=str(world / "retrained")),
        tmp_path / "a",
        judge=judge,
    )
    after = rows(found)
    relearned = after[RELEARN, "judge_similarity"]
    # Collapsed answers have nothing of the truth: 5. Relearning brings the sentences back: 0 each.
    assert relearned.before.value == 5 and relearned.after.value == 0
    assert (relearned.after.n, relearned.after.low, relearned.after.high) == (len(FORGET), 0, 0)
    assert relearned.after.interval and relearned.after.unit == "grade"
    assert relearned.retrained_after.n == len(FORGET)
    # A loop on one word is no language, the sentence brought back is.
    natural = after[RELEARN, "judge_naturalness"]
    assert natural.before.value == 0 and natural.after.value == 5
    assert ("jailbreak", "judge_similarity") in after
    assert [g.outcome for g in found.verdict.gates] == ["pass", "fail"]
    # 3 models, 2 attacks on 2 of them; the same answer to the same question is asked about once.
    assert found.judge.answers == (3 + 2 * 2) * len(FORGET)
    assert found.judge.distinct < found.judge.answers
    assert found.judge.valid and found.judge.controls == CONTROLS
    assert len(judge.asked) == found.judge.questions == found.judge.distinct + CONTROLS
    assert found.judge.input_tokens == 10 * found.judge.questions  # 10 and 3 of every reply
    assert found.judge.output_tokens == 3 * found.judge.questions
    page = (tmp_path / "a" / "report.html").read_text()
    assert "judge: nothing of the answer is left (0-5)" in page
    assert f"({found.judge.distinct} different ones, each asked about once)" in page


def test_a_judge_that_obeys_is_not_believed_under_attack_either(world, tmp_path):
    gates = read_rules("judge_similarity@jailbreak >= 4")
    found = audit(request(world, "jailbreak", gates=gates), tmp_path / "a", judge=Rules(obedient))
    after = rows(found)["jailbreak", "judge_similarity"]
    assert after.after.value is None
    (why,) = after.after.reasons
    assert why == "the judge failed its controls: order: similarity 5, expected 0 to 1"
    assert not found.judge.valid and len(found.judge.misses) == 2
    assert found.verdict.outcome == "inconclusive"


def test_answers_that_were_not_asked_for_are_unscored_with_the_reason(world, tmp_path):
    """Answers have 6 words: with 6 of them given there is no rest to attack."""
    found = audit(request(world, "prefix:words=6", "prefix:words=3"), tmp_path / "a", judge=Rules())
    none = rows(found)["prefix:words=6", "judge_similarity"].after
    assert none.value is None and none.n_unscored == len(FORGET)
    (why,) = none.reasons
    assert why.startswith("not attacked: the answer has 6 words")
    assert rows(found)["prefix:words=3", "judge_similarity"].after.n == len(FORGET)


def test_without_a_judge_no_grade_is_in_the_table(world, tmp_path):
    found = audit(request(world, "jailbreak"), tmp_path / "a")
    assert found.judge is None
    assert not any(row.measure.startswith("judge_") for row in found.attacks)
    with pytest.raises(RequestError, match="unknown measure"):
        gates = read_rules("judge_similarity@jailbreak >= 4")
        audit(request(world, "jailbreak", gates=gates), tmp_path / "b")


def test_over_http_tokens_and_cost_are_counted(world, tmp_path):
    with running() as server:
        found = audit(
            request(world, "jailbreak"),
            tmp_path / "a",
            judge=Endpoint(model="m", url=server.url, concurrency=2),
            prices=(2.0, 10.0),
        )
        asked = len(server.requests)
    assert found.judge.valid and asked == found.judge.questions
    # The server counts 700 tokens in and 30 out: 700 x 2 + 30 x 10 = 1700 millionths a question.
    assert found.judge.cost == pytest.approx(asked * 1700e-6)
    assert found.judge.models == {"served-model": asked}
    saved = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert saved["version"] == 3 and saved["judge"]["input_tokens"] == 700 * asked
    assert any(
        row["measure"] == "judge_naturalness" and row["after"]["n"] == len(FORGET)
        for row in saved["attacks"]
    )


class Stopping(Rules):
    """Gives so many answers, then somebody presses Ctrl-C."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Outcome]]:
        for one in super().answers(questions):
            if len(self.asked) > self.most:
                raise KeyboardInterrupt
            yield one


def test_an_interrupted_judge_is_asked_only_for_the_rest(world, tmp_path):
    given = request(world, "jailbreak")
    whole = audit(given, tmp_path / "whole", judge=Rules())
    with pytest.raises(Interrupted, match="stopped"):
        audit(given, tmp_path / "b", judge=Stopping(5))
    assert not (tmp_path / "b").exists()
    again = Rules()
    found = audit(given, tmp_path / "b", judge=again)
    assert len(again.asked) == whole.judge.questions - 5 and found.judge.recorded == 5
    assert rows(found).keys() == rows(whole).keys()
    for key, row in rows(whole).items():
        assert rows(found)[key].after == row.after, key
    # Recorded answers stay with the audit and can be replayed.
    kept = tmp_path / "b" / "measurements" / "judge.answers.jsonl"
    command = ["audit", *(f"--{n}={getattr(given, n)}" for n in
               ("model", "original", "forget", "retain")), "--attacks", "jailbreak",
               "--samples", "1", "--device", "cpu", "--quiet", "--judge-prices", "1,2"]  # fmt: skip
    done = call(*command, "--judge", f"replay:{kept}", "--output", tmp_path / "c")
    assert done.code == 0, done.err
    saved = AuditDocument.model_validate_json((tmp_path / "c" / "audit.json").read_text())
    assert saved.judge.valid and saved.judge.who["replayed"] is True
    # 10 tokens in and 3 out of every reply, at 1 and 2 a million.
    assert saved.judge.cost == pytest.approx(saved.judge.questions * 16e-6)
    assert [r.after for r in saved.attacks] == [r.after for r in whole.attacks]
    refused = call(*command, "--output", tmp_path / "d")
    assert refused.code == 2 and "--judge-prices is given without a judge" in refused.err


def test_grades_of_several_seeds_are_those_of_the_seed_that_gives_most_away(world, tmp_path):
    """Noise on questions: some seeds hit the name, others do not."""
    found = audit(
        request(world, "noise:rate=0.3", seeds=3, model=str(world / "original"),
                original=str(world / "collapsed")),
        tmp_path / "a",
        judge=Rules(),
    )  # fmt: skip
    similar = rows(found)["noise:rate=0.3", "judge_similarity"]
    natural = rows(found)["noise:rate=0.3", "judge_naturalness"]
    assert len(similar.seeds) == 3 and similar.after.value == min(similar.seeds.values())
    seed = next(s for s, value in similar.seeds.items() if value == similar.after.value)
    assert natural.after.value == natural.seeds[seed]
