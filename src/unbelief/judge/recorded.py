"""Answers on disk: written as they come, read by the run that goes on, replayed without a judge.

A file of JSON lines. The first says who answered, to which prompt; every other is one answer under
the key HMAC-SHA-256(salt, question without its fence). The salt is drawn per file, so that keys of
two files cannot be compared. Answers may quote the records: the file is its owner's alone (mode
0600) and is to be deleted with the records.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import BufferedRandom
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError
from unbelief.judge import prompts
from unbelief.judge.chats import NoReply, Outcome, Question, Reply

KIND = "judge-answers"
SCHEMA = 1
NOT_RECORDED = NoReply("no answer was recorded")


class Answers:
    """Recorded answers in memory, and the file new ones are appended to.

    Attributes:
        judge: Who answered, as from `Chat.describe`.
        torn: Whether the file ended in an unfinished line (a crash); that answer is asked again.
    """

    def __init__(self, judge: Mapping[str, Any], salt: bytes, stream: BufferedRandom | None):
        self.judge = dict(judge)
        self.torn = False
        self._salt, self._stream = salt, stream
        self._replies: dict[str, Reply] = {}

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, question: Question) -> Reply | None:
        """The recorded answer, or None."""
        return self._replies.get(self._key(question))

    def add(self, question: Question, reply: Reply) -> None:
        """Record an answer; when this returns, it is on the disk."""
        key = self._key(question)
        self._replies[key] = reply
        if self._stream is not None:
            _write(self._stream, {"key": key, **asdict(reply)})

    def _key(self, question: Question) -> str:
        return hmac.digest(self._salt, question.plain, "sha256").hex()

    def _load(self, lines: Sequence[bytes], path: Path) -> None:
        for number, line in enumerate(lines, start=2):
            try:
                values = json.loads(line)
                key = values.pop("key")
                self._replies[str(key)] = Reply(**values)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise _not_answers(f"{path}:{number}") from None


@contextmanager
def appended(path: Path, judge: Mapping[str, Any], *, restart: bool = False) -> Iterator[Answers]:
    """Open a file of answers to go on with it, or start it.

    Args:
        path: The file.
        judge: Who is going to be asked.
        restart: Throw away what is there.

    Raises:
        RequestError: It holds answers of another judge or to another prompt, is something else, or
            another run is writing to it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RequestError(
                "another run is recording its answers here",
                where=str(path),
                remedy="wait for it, or choose another output",
            ) from None
        content = stream.read()
        # What no whole line stands in holds no answer: only a crash right at the start leaves it.
        if restart or b"\n" not in content:
            stream.seek(0)
            stream.truncate()
            salt = secrets.token_bytes(16)
            _write(stream, _header(judge, salt))
            answers = Answers(judge, salt, stream)
            try:
                yield answers
            except BaseException:
                if not len(answers):  # nothing came of it: leave nothing
                    path.unlink()
                raise
            return
        answers = _parse(content, path, stream)
        if answers.judge != dict(judge):
            raise RequestError(
                "the answers recorded here are another judge's",
                where=str(path),
                remedy="choose another output, or throw them away with --restart",
            )
        stream.truncate(content.rindex(b"\n") + 1)
        stream.seek(0, os.SEEK_END)
        yield answers


def read_answers(path: Path) -> Answers:
    """Read recorded answers, to replay them.

    Raises:
        RequestError: There is no such file, or its answers are to another prompt.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"recorded answers cannot be read: {error.strerror}",
            where=str(path),
            remedy="give the .answers.jsonl file of an earlier run",
        ) from None
    return _parse(content, path, None)


class Replay:
    """A judge that answers what was recorded, and nothing else."""

    def __init__(self, path: Path):
        self._answers = read_answers(path)

    def describe(self) -> dict[str, Any]:
        """The judge that was recorded, marked as a replay."""
        return {**self._answers.judge, "replayed": True}

    def answers(self, questions: Sequence[Question]) -> Iterable[tuple[Question, Outcome]]:
        """Recorded answers, in order."""
        for question in questions:
            yield question, self._answers.get(question) or NOT_RECORDED


def _header(judge: Mapping[str, Any], salt: bytes) -> dict[str, Any]:
    return {
        "kind": KIND,
        "schema_version": SCHEMA,
        "prompt_sha256": prompts.SHA256,
        "judge": dict(judge),
        "salt": salt.hex(),
    }


def _parse(content: bytes, path: Path, stream: BufferedRandom | None) -> Answers:
    first, *lines = content.split(b"\n")
    rest = lines.pop() if lines else first
    try:
        header = json.loads(first)
        if header["kind"] != KIND or header["schema_version"] != SCHEMA:
            raise ValueError
        salt, prompt = bytes.fromhex(header["salt"]), header["prompt_sha256"]
        answers = Answers(header["judge"], salt, stream)
    except (ValueError, KeyError, TypeError):
        raise _not_answers(f"{path}:1") from None
    if prompt != prompts.SHA256:
        raise RequestError(
            "these answers were given to another wording of the prompt than this version's",
            where=str(path),
            remedy="ask anew, or use the version of unbelief that recorded them",
        )
    answers.torn = bool(rest)
    answers._load(lines, path)
    return answers


def _write(stream: BufferedRandom, values: Mapping[str, Any]) -> None:
    stream.write(json.dumps(values).encode() + b"\n")
    stream.flush()
    os.fsync(stream.fileno())


def _not_answers(where: str) -> RequestError:
    return RequestError(
        "not a file of recorded answers", where=where, remedy="give another file, or --restart"
    )
