"""A real HTTP server on this machine that speaks the protocol, and misbehaves on purpose."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.judge.made import Rule, by_the_rules, item_of


@dataclass(frozen=True)
class Status:
    """Answer with this status."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b'{"error": {"message": "on purpose"}}'


@dataclass(frozen=True)
class Content:
    """Answer 200 with these bytes; promise `more` that never come."""

    content: bytes
    more: int = 0


@dataclass(frozen=True)
class Text:
    """A proper completion with this text."""

    text: str | None
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Silence:
    """Say nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Drip:
    """Send a byte now and then."""

    every_s: float


class Reset:
    """Break the connection."""


Act = Status | Content | Text | Silence | Drip | Reset | None
"""None: behave."""


@dataclass
class Server:
    """What the server was asked, and what it does.

    Attributes:
        script: One act per request, then good behaviour; or, by a text of the item, always.
        rule: How a well-behaved answer grades.
        requests: Bodies, in the order of arrival.
        headers: Likewise.
        times: Likewise.
        delay_s: How long every request is in work before it is answered.
        most_at_once: Largest number of requests in work at a time.
    """

    url: str = ""
    script: list[Act] = field(default_factory=list)
    always: dict[str, Act] = field(default_factory=dict)
    rule: Rule = by_the_rules
    delay_s: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _next(self, body: dict[str, Any], headers: dict[str, str]) -> Act:
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            for text, act in self.always.items():
                if text in body["messages"][-1]["content"]:
                    return act
            return self.script.pop(0) if self.script else None

    def _left(self) -> None:
        with self._lock:
            self._at_once -= 1


@contextmanager
def running(**options: Any) -> Iterator[Server]:
    """A server until the block ends."""
    state = Server(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            act = state._next(body, dict(self.headers))
            time.sleep(state.delay_s)
            state._left()  # before the answer: after it the next request may already be here
            with suppress(OSError):  # the other side gave up
                _perform(self, state, act, body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    try:
        yield state
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def _perform(
    handler: BaseHTTPRequestHandler, state: Server, act: Act, body: dict[str, Any]
) -> None:
    match act:
        case Status():
            _send(handler, act.code, act.content, act.headers)
        case Content():
            _send(handler, 200, act.content, {}, more=act.more)
        case Text():
            _send(handler, 200, _completion(act.text, act.finish_reason), {})
        case Silence():
            time.sleep(act.seconds)
        case Drip():
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            for _ in range(1000):
                handler.wfile.write(b" ")
                time.sleep(act.every_s)
        case Reset():
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()
        case None:
            grades = state.rule(item_of(body["messages"][-1]["content"]))
            _send(handler, 200, _completion(json.dumps(grades), "stop"), {})


def _completion(text: str | None, finish_reason: str) -> bytes:
    values = {
        "id": "x",
        "model": "served-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 700, "completion_tokens": 30},
    }
    return json.dumps(values).encode()


def _send(
    handler: BaseHTTPRequestHandler,
    code: int,
    content: bytes,
    headers: Mapping[str, str],
    more: int = 0,
) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content) + more))
    handler.end_headers()
    handler.wfile.write(content)
