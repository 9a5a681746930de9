"""A judge over HTTP, against a real server on this machine that misbehaves in every way we know."""

from __future__ import annotations

import json
import logging
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.judge.made import ITEMS, ORDERS, constant, item_of, obedient
from tests.judge.server import (
    Act,
    Content,
    Drip,
    Reset,
    Server,
    Silence,
    Status,
    Text,
    running,
)
from unbelief.errors import Inconclusive, RequestError
from unbelief.judge import Endpoint, Replay, Retries, judge_items
from unbelief.judge.items import Item
from unbelief.judge.run import Judgement

KEY = "sk-very-secret-0123456789"
QUICK = Retries(attempts=4, first_s=0.01, longest_s=0.5)


def endpoint(server: Server, **options: Any) -> Endpoint:
    given = {"key": SecretStr(KEY), "timeout_s": 5.0, "retries": QUICK, **options}
    return Endpoint(model="judge-1", url=server.url, **given)


def judged(server: Server, **options: Any) -> Judgement:
    return judge_items(ITEMS, endpoint(server, **options), controls_per_kind=1)


def grades(found: Judgement) -> list[tuple[int, int] | None]:
    verdicts = [g.verdict for g in found.graded]
    return [v and (v.naturalness, v.similarity) for v in verdicts]


GOOD = [(5, 0), (5, 5), (0, 5)]


def test_what_is_sent() -> None:
    with running() as server:
        found = judged(server, body={"top_p": 1, "max_tokens": None})
    assert grades(found) == GOOD and found.valid
    assert len(server.requests) == len(ITEMS) + len(found.controls)
    for body, headers in zip(server.requests, server.headers, strict=True):
        assert {k: v for k, v in body.items() if k != "messages"} == {
            "model": "judge-1",
            "temperature": 0,
            "top_p": 1,
        }
        assert [m["role"] for m in body["messages"]] == ["system", "user"]
        assert headers["Authorization"] == f"Bearer {KEY}"
    assert found.usage.input_tokens == 700 * len(server.requests)
    assert found.usage.models == {"served-model": len(server.requests)}


def test_without_a_key_there_is_no_header() -> None:
    with running() as server:
        assert judged(server, key=None).valid
    assert all("Authorization" not in headers for headers in server.headers)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency_is_bounded(concurrency: int) -> None:
    with running(delay_s=0.03) as server:
        assert judged(server, concurrency=concurrency).valid
    assert server.most_at_once == concurrency


TRANSIENT: dict[str, Act] = {
    "429": Status(429),
    "429 with Retry-After": Status(429, {"Retry-After": "0.1"}),
    "500": Status(500),
    "503 with a page": Status(503, {"Content-Type": "text/html"}, b"<html>busy</html>"),
    "time-out": Silence(0.6),
    "a byte now and then": Drip(0.1),
    "connection reset": Reset(),
    "truncated body": Content(b'{"choices": [{"mess', more=200),
    "cut JSON": Content(b'{"choices": [{"mess'),
    "another protocol": Content(b'{"answer": 5}'),
    "no choices": Content(b'{"choices": []}'),
    "null": Content(b"null"),
    "empty": Content(b""),
    "not UTF-8": Content(b"\xff\xfe\x00"),
    "endless": Content(b" " * (3 << 20)),
}


@pytest.mark.parametrize("act", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_what_may_pass_is_tried_again(act: Act) -> None:
    with running(script=[act]) as server:
        found = judged(server, concurrency=1, timeout_s=0.3)
    assert grades(found) == GOOD and found.valid
    assert len(server.requests) == len(ITEMS) + len(found.controls) + 1


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (Status(500), "the endpoint answered with status 500"),
        (Status(429), "the endpoint answered with status 429"),
        (Status(400), "the endpoint answered with status 400"),
        (Silence(0.5), "the endpoint timed out"),
        (Reset(), "the connection to the endpoint failed"),
        (Content(b"{}"), "the endpoint's reply is not a chat completion"),
        (Text(None, "content_filter"), "the endpoint gave no text"),
        (Text("I cannot."), "the judge's reply is malformed: it is not JSON alone"),
        (Text('{"reason": "', "length"), "the judge's reply is malformed: it was cut short"),
    ],
)
def test_what_stays_wrong_about_one_item_is_unscored(act: Act, reason: str) -> None:
    with running(always={ITEMS[1].response: act}) as server:
        found = judged(server, timeout_s=0.2)
    assert [g.unscored for g in found.graded] == [None, reason, None]
    assert found.valid


def test_retry_after_is_waited_for_by_all() -> None:
    with running(script=[Status(429, {"Retry-After": "0.4"})]) as server:
        assert judged(server, concurrency=2).valid
    # The other thread may have sent a question or two before the 429 came back.
    assert sum(when - server.times[0] < 0.39 for when in server.times) <= 3


def test_waits_grow() -> None:
    with running(script=[Status(500)] * 3) as server:
        judged(server, concurrency=1, retries=Retries(attempts=4, first_s=0.05))
    waits = [b - a for a, b in zip(server.times, server.times[1:], strict=False)][:3]
    for k, wait in enumerate(waits):  # between half of it and all of it, plus the request itself
        assert 0.05 * 2**k / 2 <= wait < 0.05 * 2**k + 1


def test_server_that_asks_for_too_long_a_wait_ends_the_run(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    script: list[Act] = [None, None, Status(429, {"Retry-After": "3600"})]
    with running(script=script) as server:
        with pytest.raises(Inconclusive, match="asks to wait 3600 seconds") as caught:
            judge_items(ITEMS, endpoint(server, concurrency=1), answers=answers)
        assert caught.value.exit_code == 4
        done = len(answers.read_text().splitlines()) - 1
        assert done == 2
        found = judge_items(ITEMS, endpoint(server), answers=answers)
        assert found.valid and found.usage.recorded == 2
    assert judge_items(ITEMS, Replay(answers)).valid


def test_endpoint_that_is_down_is_given_up(tmp_path: Path) -> None:
    with running() as server:
        pass
    answers = tmp_path / "answers.jsonl"
    with pytest.raises(Inconclusive, match=r"5 questions in a row failed.*connection"):
        judge_items(ITEMS, endpoint(server), answers=answers)
    assert not answers.exists()


def test_request_that_is_always_refused_is_the_users_to_mend() -> None:
    said = b'{"error": {"message": "temperature is not supported, sk-very-secret-0123456789\\n"}}'
    with (
        running(always={"": Status(400, {}, said)}) as server,
        pytest.raises(RequestError, match="temperature is not supported") as caught,
    ):
        judged(server)
    assert KEY not in str(caught.value) and "--body" in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_ends_the_run_at_once_and_is_not_repeated(status: int) -> None:
    said = json.dumps({"error": {"message": f"bad key {KEY[:6]}***{KEY[-4:]}"}}).encode()
    with running(always={"": Status(status, {}, said)}) as server:
        with pytest.raises(RequestError, match=f"status {status}") as caught:
            judged(server, concurrency=1)
        assert len(server.requests) == 1
    assert KEY[-4:] not in str(caught.value) and "UNBELIEF_JUDGE_KEY" in str(caught.value)


def test_unknown_model_ends_the_run_with_the_servers_words() -> None:
    said = b'{"error": {"message": "no model judge-1"}}'
    with (
        running(always={"": Status(404, {}, said)}) as server,
        pytest.raises(RequestError, match="no model judge-1"),
    ):
        judged(server)


def test_redirects_are_not_followed() -> None:
    with running() as other, running(always={"": None}) as server:
        server.always[""] = Status(307, {"Location": other.url + "/chat/completions"})
        with pytest.raises(RequestError, match="not followed"):
            judged(server)
        assert other.requests == []


def test_key_is_in_no_message_file_or_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = tmp_path / "answers.jsonl"
    with running(script=[Reset(), Status(500), Silence(0.5)]) as server:
        chat = endpoint(server, timeout_s=0.3)
        found = judge_items(ITEMS, chat, answers=answers)
        server.always[""] = Status(401)
        try:
            judge_items(ITEMS, chat)
        except RequestError:
            shown = traceback.format_exc()
    out, err = capfd.readouterr()
    places = [repr(chat), str(chat.describe()), repr(found), answers.read_text(), shown]
    places += [caplog.text, out, err]
    assert not any(KEY in place for place in places)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://judge.example/v1", "another machine"),
        ("https://10.0.0.7/v1", "another machine"),
        ("http://127.0.0.1.example/v1", "another machine"),
        ("http://localhost:1@judge.example/v1", "not a plain"),
        ("http://user:pass@localhost/v1", "not a plain"),
        ("http://localhost/v1?key=abc", "not a plain"),
        ("localhost:8000/v1", "not a plain"),
        ("ftp://localhost/v1", "not a plain"),
        ("http://localhost:99999/v1", "not a plain"),
        ("http://", "not a plain"),
    ],
)
def test_address_is_plain_and_on_this_machine_unless_allowed(url: str, words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        Endpoint(model="m", url=url)
    assert "pass" not in str(caught.value) and "abc" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost/v1", "http://127.8.9.1:1/v1", "http://[::1]/v1"])
def test_this_machine_has_several_names(url: str) -> None:
    assert Endpoint(model="m", url=url).describe()["url"] == url


def test_remote_judges_can_be_allowed() -> None:
    Endpoint(model="m", url="https://judge.example/v1", allow_remote=True)


def test_orders_in_a_response_arrive_as_data() -> None:
    item = Item(id="a", prompt="Where?", answer="Ada was born in Oslo.", response=ORDERS)
    with running() as server:
        found = judge_items([item], endpoint(server))
    assert found.valid and found.graded[0].verdict is not None
    assert found.graded[0].verdict.similarity == 0
    users = [body["messages"][1]["content"] for body in server.requests]
    (told,) = [user for user in users if item_of(user)["response"] == ORDERS]
    # Only on its own line, between the fences, with its quotes escaped.
    lines = told.split("\n")
    assert [i for i, line in enumerate(lines) if "Ignore previous" in line] == [1]
    assert '\\"similarity\\": 5' in lines[1] and ORDERS not in told


@pytest.mark.parametrize("rule", [obedient, constant])
def test_judges_that_can_be_led_are_invalid(rule: Any) -> None:
    with running(rule=rule) as server:
        assert not judged(server).valid


def test_slow_server_does_not_hold_up_the_end() -> None:
    """One fatal answer ends the run though another request is still in the air."""
    script: list[Act] = [Silence(6.0), Status(401)]
    with running(script=script) as server:
        started = time.monotonic()
        with pytest.raises(RequestError):
            judged(server, concurrency=2, timeout_s=10)
        assert time.monotonic() - started < 5
