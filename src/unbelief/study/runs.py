"""Run chosen settings on test cases: one result file each, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unbelief.errors import GuardError, Interrupted, RequestError
from unbelief.outputs import atomic_write
from unbelief.provenance import environment, utc_now
from unbelief.study.chosen import settings_of
from unbelief.study.spaces import Option
from unbelief.study.testbed import PARTS, QUANTITIES, Case, Measured, Setting, Testbed

SCHEMA = "unbelief/study-run"
VERSION = 1
Tell = Callable[[str, int, int], None]
"""Called with what was done, how many are done, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run.

    Attributes:
        label: Method, or a variant of it; what the table calls it.
        setting: Method and options.
        step: When to stop and measure.
        case: Seed and forget ratio.
    """

    label: str
    setting: Setting
    step: int
    case: Case

    @property
    def file(self) -> str:
        """Name of its result file."""
        slug = re.sub(r"[^A-Za-z0-9.=-]+", "_", self.label).strip("_")
        mark = hashlib.sha256(self.label.encode()).hexdigest()[:4]
        slug = slug if slug == self.label else f"{slug}-{mark}"
        return f"{slug}--forget-{self.case.ratio}--seed-{self.case.seed}.json"


def tasks(
    chosen: Mapping[str, Any],
    methods: Sequence[str],
    seeds: Sequence[int],
    ratios: Sequence[str],
    variants: Sequence[str] = (),
) -> list[Task]:
    """All runs asked for, seed by seed, so that what is there early can be compared early.

    Args:
        chosen: What `tune` wrote.
        methods: Which of its methods; empty for all.
        seeds: Test cases.
        ratios: Forget ratios.
        variants: `METHOD:option=value` (several joined by commas): the chosen settings with
            options changed.

    Raises:
        RequestError: A method nothing was chosen for, or a malformed variant.
    """
    found = settings_of(chosen, methods)
    labelled = {m: (m, entry["options"], entry["step"]) for m, entry in found.items()}
    for text in variants:
        method, changes = _variant(text)
        entry = settings_of(chosen, [method])[method]
        label = f"{method}[{text.split(':', 1)[1]}]"
        labelled[label] = (method, {**entry["options"], **changes}, entry["step"])
    return [
        Task(
            label=label,
            setting=Setting(method=method, options=options),
            step=step,
            case=Case(split="test", seed=seed, ratio=ratio),
        )
        for ratio in ratios
        for seed in seeds
        for label, (method, options, step) in labelled.items()
    ]


def _variant(text: str) -> tuple[str, dict[str, Option]]:
    method, colon, rest = text.partition(":")
    pairs = [item.partition("=") for item in rest.split(",")]
    if not colon or not method or any(not k or not e or not v for k, e, v in pairs):
        raise RequestError(
            f"{text!r} is not METHOD:option=value",
            where="--variant",
            remedy="for example --variant bs-t:top_k=5",
        )
    return method, {k.strip(): v.strip() for k, _, v in pairs}


def run(work: Sequence[Task], bed: Testbed, folder: Path, tell: Tell) -> dict[str, list[str]]:
    """Do what is not done yet. Several processes may share the folder; each run is done once.

    Args:
        work: The runs.
        bed: Where.
        folder: Folder of result files, made where absent.
        tell: Told along the way.

    Returns:
        Files by what became of them: `made`, `there` (done before) and `elsewhere` (another process
        is at it).

    Raises:
        RequestError: A file is there that another study made; nothing was run.
        Interrupted: Ctrl-C; what is done stays.
    """
    _check_work(work, bed)
    keys = {task.file: key_of(task, bed) for task in work}
    for task in work:
        _check_file(folder / task.file, keys[task.file])
    folder.mkdir(parents=True, exist_ok=True)
    out: dict[str, list[str]] = {"made": [], "there": [], "elsewhere": []}
    for done, task in enumerate(work):
        target = folder / task.file
        with _mine(target) as mine:
            if target.exists():
                out["there"].append(task.file)
            elif not mine:
                out["elsewhere"].append(task.file)
            else:
                content = _attempt(task, bed, keys[task.file])
                atomic_write(target, json.dumps(content, indent=1, allow_nan=False) + "\n")
                out["made"].append(task.file)
        tell(task.label, done + 1, len(work))
    return out


def key_of(task: Task, bed: Testbed) -> str:
    """Digest of all that decides a result."""
    content = {
        "testbed": bed.describe(),
        "method": task.setting.method,
        "options": dict(task.setting.options),
        "fixed": bed.fixed(task.setting.method),
        "step": task.step,
        "case": asdict(task.case),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _check_work(work: Sequence[Task], bed: Testbed) -> None:
    for task in work:
        if task.case.ratio not in bed.ratios:
            raise RequestError(
                f"there is no forget ratio {task.case.ratio!r} here",
                where="--ratios",
                remedy=f"one of {', '.join(bed.ratios)}",
            )
        if task.step > bed.steps:
            raise RequestError(
                f"{task.label} was chosen at step {task.step}, and runs have {bed.steps} here",
                where="--steps",
                remedy="use the steps of the search",
            )


def _check_file(file: Path, key: str) -> None:
    if not file.exists():
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8")).get("key")
    except (OSError, ValueError, AttributeError):
        found = None
    if found != key:
        raise RequestError(
            f"{file} is there and holds something else than this study's result",
            where="--output",
            remedy="name another folder, or take the file away",
        )


@contextmanager
def _mine(target: Path) -> Iterator[bool]:
    """Whether this process alone works on a file; the lock goes with the process."""
    lock = target.with_name(f".{target.name}.lock")
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            lock.unlink(missing_ok=True)


def _attempt(task: Task, bed: Testbed, key: str) -> dict[str, Any]:
    started = time.monotonic()
    points: tuple[Measured, ...] = ()
    stopped = None
    references = bed.references(task.case)
    try:
        points = bed.attempt(task.setting, task.case, (task.step,), lambda _point: None)
    except GuardError as error:
        stopped = error.message
    except KeyboardInterrupt as error:
        raise Interrupted(
            "stopped; finished runs are kept", remedy="the same command goes on"
        ) from error
    last = points[-1] if points else None
    names = (*QUANTITIES, *PARTS)
    why = f"the run came to nothing: {stopped}" if stopped else "the run ended before its step"
    return {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "key": key,
        "label": task.label,
        "method": task.setting.method,
        "options": dict(task.setting.options),
        "fixed": bed.fixed(task.setting.method),
        "step": task.step,
        **asdict(task.case),
        "values": dict(last.values) if last else {},
        "unscored": dict(last.unscored) if last else dict.fromkeys(names, why),
        "references": {role: asdict(point) for role, point in references.items()},
        "seconds": round(time.monotonic() - started, 2),
        "testbed": bed.describe(),
        "created": utc_now(),
        "environment": asdict(environment()),
    }


def read_runs(sources: Sequence[Path]) -> list[dict[str, Any]]:
    """Read result files, or folders of them.

    Raises:
        RequestError: There are none, one is something else, or two are about the same run.
    """
    files = [f for s in sources for f in (sorted(s.glob("*.json")) if s.is_dir() else [s])]
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    beds = set()
    for file in files:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RequestError(
                f"{file} cannot be read: {error}",
                where="RUNS",
                remedy="name the folder that `unbelief study run` filled, or one of its files",
            ) from error
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise RequestError(
                f"{file} is no result of `unbelief study run`",
                where="RUNS",
                remedy="name a folder that command filled",
            )
        name = (content["label"], content["ratio"], content["seed"])
        if name in found:
            raise RequestError(f"{file}: {name} is there twice", where="RUNS")
        beds.add(json.dumps(content["testbed"], sort_keys=True))
        found[name] = content
    if not found or len(beds) > 1:
        raise RequestError(
            "there are no results" if not found else "the results are from different testbeds",
            where="RUNS",
            remedy="name the folder of one study",
        )
    return list(found.values())
