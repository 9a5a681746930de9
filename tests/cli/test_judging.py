"""`unbelief judge`: files in, files out, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.common import call
from tests.judge.made import ITEMS, constant
from tests.judge.server import Server, Silence, Status, running
from tests.judge.speaker import save_speaker

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def said(tmp_path: Path) -> Path:
    file = tmp_path / "said.jsonl"
    rows = [
        {"id": i.id, "prompt": i.prompt, "answer": i.answer, "response": i.response} for i in ITEMS
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def arguments(said: Path, server: Server, *extra: object) -> tuple[object, ...]:
    output = said.with_name("out.json")
    given = ("--responses", said, "--judge", "openai:m", "--url", server.url, "--output", output)
    return ("judge", *given, "--controls", 1, *extra)


def test_judge_over_http(said: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNBELIEF_JUDGE_KEY", KEY)
    with running() as server:
        called = call(*arguments(said, server, "--prices", "1,2"))
    assert called.code == 0, called.err
    assert "naturalness  3.33" in called.out and "all passed" in called.out
    result = json.loads(said.with_name("out.json").read_text())
    assert result["valid"] is True and result["usage"]["cost"] > 0
    assert result["provenance"]["responses"] == {"source": "said.jsonl", "n": 3}
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert not any(KEY in path.read_text() for path in said.parent.iterdir())


def test_address_comes_from_the_environment(said: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = said.with_name("out.json")
    run = ("judge", "--responses", said, "--judge", "openai:m", "--output", output)
    monkeypatch.delenv("UNBELIEF_JUDGE_URL", raising=False)
    missing = call(*run)
    assert missing.code == 2 and "UNBELIEF_JUDGE_URL" in missing.err
    with running() as server:
        monkeypatch.setenv("UNBELIEF_JUDGE_URL", server.url)
        assert call(*run, "--json").code == 0


def test_failed_controls_are_inconclusive_and_still_written(said: Path) -> None:
    with running(rule=constant) as server:
        called = call(*arguments(said, server))
    assert called.code == 4 and "truth: similarity 5, expected 0 to 1" in called.err
    result = json.loads(said.with_name("out.json").read_text())
    assert result["valid"] is False and result["invalid_because"]


def test_stopped_run_goes_on_where_it_was(said: Path) -> None:
    output = said.with_name("out.json")
    answers = said.with_name("out.answers.jsonl")
    too_long = Status(429, {"Retry-After": "999"})
    with running(script=[None, None, None, too_long]) as server:
        run = arguments(said, server, "--concurrency", 1)
        stopped = call(*run)
        assert stopped.code == 4 and "answers so far are kept" in stopped.err
        assert not output.exists() and len(answers.read_text().splitlines()) == 4
        asked = len(server.requests)
        assert call(*run).code == 0
        result = json.loads(output.read_text())
        assert result["usage"]["recorded"] == 3
        assert len(server.requests) - asked == result["usage"]["questions"] - 3
    replayed = call(
        *("judge", "--responses", said, "--judge", f"replay:{answers}", "--controls", 1),
        *("--output", said.with_name("again.json"), "--json"),
    )
    assert replayed.code == 0, replayed.err
    again = json.loads(replayed.out)
    assert again["scores"] == result["scores"] and again["items"] == result["items"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_run_goes_on_where_it_was(said: Path, number: int) -> None:
    answers = said.with_name("out.answers.jsonl")

    def three_lines() -> bool:
        return answers.exists() and answers.read_bytes().count(b"\n") >= 3

    with running(script=[None, None, Silence(30), Silence(30)]) as server:
        run = arguments(said, server, "--concurrency", 2)
        command = subprocess.Popen(
            [sys.executable, "-m", "unbelief", *map(str, run)], stderr=subprocess.PIPE, text=True
        )
        limit = time.monotonic() + 60
        while not three_lines():
            assert command.poll() is None and time.monotonic() < limit
            time.sleep(0.005)
        command.send_signal(number)
        _, err = command.communicate(timeout=120)  # without waiting for what is in the air
        if number == signal.SIGINT:
            assert command.returncode == 130 and "the same command resumes" in err
        assert not said.with_name("out.json").exists()
        server.script.clear()
        assert call(*run).code == 0
    assert json.loads(said.with_name("out.json").read_text())["usage"]["recorded"] == 2


def test_no_response_graded_is_inconclusive(said: Path) -> None:
    always = {item.response: Silence(0.5) for item in ITEMS[1:2]}
    said.write_text(said.read_text().splitlines()[1] + "\n")
    with running(always=always) as server:
        called = call(*arguments(said, server, "--timeout", 0.1, "--attempts", 1))
    assert called.code == 4 and "no response was graded (the endpoint timed out)" in called.err


def test_local_judge(said: Path, tmp_path: Path) -> None:
    folder = save_speaker(tmp_path / "model")
    run = ("judge", "--responses", said, "--output", tmp_path / "out.json", "--controls", 1)
    called = call(*run, "--judge", f"local:{folder}", "--device", "cpu")
    assert called.code == 4 and "controls" in called.err
    result = json.loads((tmp_path / "out.json").read_text())
    assert [item["similarity"] for item in result["items"]] == [5, 5, 5]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--judge", "openai:"), "unknown judge"),
        (("--judge", "gpt"), "unknown judge"),
        (("--judge", "replay:nowhere"), "recorded answers cannot be read"),
        (("--judge", "local:nowhere"), "nowhere"),
        (("--url", "https://judge.example/v1"), "--allow-remote"),
        (("--url", "http://user:pass@localhost/v1"), "not a plain"),
        (("--body", "temperature"), "no JSON value"),
        (("--body", "messages=[]"), "not yours to set"),
        (("--prices", "1"), "two prices"),
        (("--prices", "1,nan"), "two prices"),
        (("--timeout", "0"), "must be positive"),
        (("--responses", "nowhere.jsonl"), "no such file"),
        (("--controls", "9"), "--controls"),
    ],
)
def test_wrong_requests_write_nothing(said: Path, extra: tuple[str, ...], words: str) -> None:
    given = {
        "--responses": said,
        "--judge": "openai:m",
        "--url": "http://127.0.0.1:9/v1",
        "--output": said.with_name("out.json"),
    }
    given |= dict([extra])
    called = call("judge", *(part for pair in given.items() for part in pair))
    assert called.code == 2 and words in called.err, called.err
    assert [path.name for path in said.parent.iterdir()] == ["said.jsonl"]


def test_what_must_be_given(said: Path) -> None:
    called = call("judge", "--responses", said)
    assert called.code == 2 and "--judge is missing" in called.err


def test_existing_output_is_kept(said: Path) -> None:
    output = said.with_name("out.json")
    output.write_text("precious")
    with running() as server:
        assert call(*arguments(said, server)).code == 2
        assert output.read_text() == "precious" and server.requests == []
        assert call(*arguments(said, server, "--overwrite")).code == 0


def test_agreement(said: Path) -> None:
    people = said.with_name("people.csv")
    people.write_text("id,naturalness,similarity\nleaks,5,0\ndiffers,4,5\ncollapsed,0,5\n")
    with running() as server:
        assert call(*arguments(said, server)).code == 0
    output = said.with_name("out.json")
    called = call("judge", "agreement", output, people)
    assert called.code == 0 and "kappa, quadratic  0.97" in called.out, called.out
    written = said.with_name("agreement.json")
    as_json = call("judge", "agreement", output, people, "--json", "--output", written)
    assert json.loads(as_json.out) == json.loads(written.read_text())
    alone = call("judge", "agreement", people)
    assert alone.code == 2 and "two files" in alone.err
