"""A chat model behind an OpenAI-compatible endpoint: any server that speaks /chat/completions.

The key is read from the environment, sent in one header, and kept out of every message, file and
representation. Redirects are not followed and nothing is sent to another machine unless that was
allowed: whoever answers sees the records that are to be forgotten.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from unbelief.errors import Inconclusive, RequestError
from unbelief.judge.address import KEY_VARIABLE, URL_VARIABLE, check_url, is_local
from unbelief.judge.chats import NoReply, Outcome, Question, Reply
from unbelief.judge.pacing import Gate, Retries, retry_after_s
from unbelief.judge.workers import as_done

if TYPE_CHECKING:
    import httpx2

MOST_BYTES = 1 << 20
"""Longest reply that is read."""
MOST_FAILURES = 5
"""Questions that may fail in a row before the endpoint is given up."""
_AGAIN = frozenset({408, 409, 425, 429})
_NOT_THIS_ONE = frozenset({400, 413, 422})


@dataclass(frozen=True, slots=True)
class _Failed:
    """A question that could not be answered.

    Attributes:
        reason: In our words, for results.
        said: The server's words, for people.
        ours: Whether the request is at fault rather than the server or the way to it.
    """

    reason: str
    said: str = ""
    ours: bool = False


class _TryAgain(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, failed: _Failed, after_s: float | None = None):
        super().__init__(failed.reason)
        self.failed, self.after_s = failed, after_s


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An OpenAI-compatible endpoint as a judge.

    Attributes:
        model: Name the server knows it by.
        url: Base URL, for example `http://localhost:8000/v1`.
        key: Sent as a bearer token; None sends none.
        body: Further fields of the request; null takes one away (`{"temperature": None}`).
        allow_remote: Whether records may be sent to another machine.
        concurrency: Questions asked at a time.
        timeout_s: Longest time one attempt may take.
        retries: When a question is put again.

    Raises:
        RequestError: The URL is not one, holds credentials, or is another machine's without
            `allow_remote`; or a number is not positive.
    """

    model: str
    url: str
    key: SecretStr | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    allow_remote: bool = False
    concurrency: int = 4
    timeout_s: float = 120.0
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        check_url(self.url, self.allow_remote)
        if self.concurrency < 1 or self.timeout_s <= 0 or self.retries.attempts < 1:
            raise RequestError(
                "concurrency, timeout and attempts must be positive",
                where="judge",
                remedy="raise them",
            )

    def describe(self) -> dict[str, Any]:
        """Model, address and request fields; never the key."""
        return {
            "kind": "openai",
            "model": self.model,
            "url": self.url.rstrip("/"),
            "request": self._request(),
        }

    def answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Outcome]]:
        """Ask over HTTP, several at a time.

        Raises:
            RequestError: The endpoint refuses the key, the model or every request.
            Inconclusive: It does not answer, or asks to wait too long. What was answered is kept.
        """
        import httpx2

        gate, failed = Gate(), 0
        limits = httpx2.Limits(max_connections=self.concurrency)
        # A proxy from the environment is for other machines, not for a server on this one.
        with httpx2.Client(
            timeout=self.timeout_s, limits=limits, trust_env=not is_local(self.url)
        ) as client:
            asked = as_done(
                lambda question: self._ask(client, gate, question),
                questions,
                self.concurrency,
                gate.stopped,
            )
            for question, outcome in asked:
                failed = failed + 1 if isinstance(outcome, _Failed) else 0
                if isinstance(outcome, _Failed):
                    if failed == MOST_FAILURES:
                        raise _given_up(outcome)
                    outcome = NoReply(outcome.reason)
                yield question, outcome

    def _request(self) -> dict[str, Any]:
        fields = {"model": self.model, "temperature": 0, "max_tokens": 400, **self.body}
        return {name: value for name, value in fields.items() if value is not None}

    def _ask(self, client: httpx2.Client, gate: Gate, question: Question) -> Outcome | _Failed:
        """Put one question, again where that may help."""
        failed = _Failed("the run was stopped")
        wait_s = 0.0
        for attempt in range(1, self.retries.attempts + 1):
            if not gate.wait(wait_s):
                return failed
            try:
                return self._attempt(client, question)
            except _TryAgain as error:
                failed, wait_s = error.failed, self.retries.wait_s(attempt)
                if error.after_s is not None:
                    self._hold(gate, error.after_s)
        return failed

    def _hold(self, gate: Gate, seconds: float) -> None:
        if seconds > self.retries.longest_s:
            raise Inconclusive(
                f"the endpoint asks to wait {seconds:.0f} seconds",
                where=self.url,
                remedy="run the same command later; answers so far are kept",
            )
        gate.hold(seconds)

    def _attempt(self, client: httpx2.Client, question: Question) -> Outcome | _Failed:
        import httpx2

        turns = [{"role": turn.role, "content": turn.content} for turn in question.messages]
        headers = {}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key.get_secret_value()}"
        deadline = time.monotonic() + self.timeout_s
        try:
            with client.stream(
                "POST",
                self.url.rstrip("/") + "/chat/completions",
                json={**self._request(), "messages": turns},
                headers=headers,
            ) as response:
                content = b""
                for part in response.iter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise _TryAgain(_Failed("the endpoint's reply is too long"))
                    if time.monotonic() > deadline:  # a server that sends a byte now and then
                        raise _TryAgain(_Failed("the endpoint timed out"))
        # From None: what is raised below holds neither the request nor its header.
        except httpx2.TimeoutException:
            raise _TryAgain(_Failed("the endpoint timed out")) from None
        except httpx2.HTTPError as error:
            said = type(error).__name__
            raise _TryAgain(_Failed("the connection to the endpoint failed", said)) from None
        if response.status_code == 200:
            return _reply(content)
        return self._refused(response.status_code, response.headers.get("Retry-After"), content)

    def _refused(self, status: int, retry_after: str | None, content: bytes) -> _Failed:
        """Sort what is not 200 into: never, not this question, and later."""
        failed = _Failed(f"the endpoint answered with status {status}", self._said(content))
        if status in _AGAIN or status >= 500:
            raise _TryAgain(failed, retry_after_s(retry_after))
        if status in _NOT_THIS_ONE:
            return replace(failed, ours=True)
        # What the server says about a key may hold part of it.
        said = "" if status in (401, 403) else failed.said
        raise RequestError(
            failed.reason + (f": {said}" if said else ""),
            where=self.url,
            remedy=_REMEDIES.get(status, f"check {URL_VARIABLE} and the model's name"),
        )

    def _said(self, content: bytes) -> str:
        """The server's own message, short, printable and without the key."""
        try:
            error = json.loads(content)["error"]
            text = str(error["message"] if isinstance(error, dict) else error)
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        if self.key is not None:
            text = text.replace(self.key.get_secret_value(), "[key]")
        return "".join(c if c.isprintable() else " " for c in text)[:200]


_REMEDIES = {
    401: f"check {KEY_VARIABLE}",
    403: f"check {KEY_VARIABLE} and what it may be used for",
    301: "give the address it redirects to; redirects are not followed",
    302: "give the address it redirects to; redirects are not followed",
    307: "give the address it redirects to; redirects are not followed",
    308: "give the address it redirects to; redirects are not followed",
}


def _reply(content: bytes) -> Outcome:
    """The text of a chat completion.

    Raises:
        _TryAgain: It is something else: cut short, another protocol, a gateway's page.
    """
    try:
        values = json.loads(content)
        choice = values["choices"][0]
        text, ending = choice["message"].get("content"), choice.get("finish_reason")
        usage = values.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise _TryAgain(_Failed("the endpoint's reply is not a chat completion")) from None
    if not isinstance(text, str):
        return NoReply("the endpoint gave no text")
    given, taken = (n if type(n) is int and n >= 0 else None for n in counts)
    model = values.get("model")
    return Reply(
        text=text,
        finished=ending != "length",
        model=model if isinstance(model, str) else None,
        input_tokens=given,
        output_tokens=taken,
    )


def _given_up(failed: _Failed) -> Inconclusive | RequestError:
    words = f"{MOST_FAILURES} questions in a row failed; the last: {failed.reason}"
    words += f" ({failed.said})" if failed.said else ""
    if failed.ours:
        return RequestError(
            words, where="judge", remedy="change the request's fields, for example --body"
        )
    return Inconclusive(words, remedy="the same command goes on; answers so far are kept")
