"""Run a plan: every question once, in as few passes as possible, resumable, over all processes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from unbelief import processes
from unbelief.beliefs.asking import asking
from unbelief.beliefs.bank import tokenizer_digest
from unbelief.errors import Interrupted
from unbelief.measure.jobs import Work
from unbelief.measure.journal import Journal
from unbelief.measure.parts import Part, Settings, choose_settings, parts_of
from unbelief.measure.plan import Plan, need_to_dict
from unbelief.measure.prepare import prepare
from unbelief.measure.schema import SCHEMAS, examples_of, examples_table, merged
from unbelief.measure.store import write_measurements
from unbelief.measure.tables import Example
from unbelief.models import inside
from unbelief.models.runner import AnswerModel
from unbelief.provenance import environment, utc_now

_PACKAGES = ("torch", "transformers", "tokenizers")

if TYPE_CHECKING:
    from unbelief.tokens.encode import Encoder


def measure(
    model: AnswerModel,
    encoder: Encoder,
    plan: Plan,
    folder: str | Path,
    *,
    fingerprint: Mapping[str, Any],
    progress: bool = False,
    tokens_per_forward: int | None = None,
    restart: bool = False,
) -> None:
    """Measure a plan into a folder, which appears whole (see `unbelief.measure.store`).

    Stopped in the middle, the same call goes on where it was. Called again when it is finished, it
    does nothing. Under several processes (each with the model) parts are dealt out, and the main
    process puts them together; all of them must see the folder.

    Args:
        model: The model to ask; left in the mode it is in.
        encoder: Renders prompts and answers.
        plan: What to measure.
        folder: Where the measurements go. While they are incomplete, parts are in
            `folder.partial`.
        fingerprint: What says which model this is, as plain JSON values: at least the digest of
            its weights.
        progress: Show a bar on stderr when that is a terminal.
        tokens_per_forward: Most tokens of a teacher-forced forward, padding included; by default
            what suits the device.
        restart: Throw away what is there.

    Raises:
        RequestError: The folder holds measurements of something else.
        Interrupted: Ctrl-C; finished parts are kept.
    """
    journal = Journal(Path(folder).expanduser().absolute())
    processes.join(model.device.type)
    try:
        with ExitStack() as stack:
            stack.enter_context(asking(model.inner))
            claim = journal.claimed(restart=restart)
            processes.on_main(lambda: stack.enter_context(claim))
            _continue(
                model, encoder, plan, journal, fingerprint, progress, tokens_per_forward, restart
            )
    except KeyboardInterrupt:
        kept = str(journal.path) if journal.path.exists() else None
        raise Interrupted("stopped", where=kept, remedy="the same command resumes") from None


def _continue(
    model: AnswerModel,
    encoder: Encoder,
    plan: Plan,
    journal: Journal,
    fingerprint: Mapping[str, Any],
    progress: bool,
    tokens_per_forward: int | None,
    restart: bool,
) -> None:
    """Do what is not done yet; the journal is claimed."""
    identity = _identity(model, encoder, plan, fingerprint)
    if not restart and processes.on_main(lambda: journal.is_finished(identity, plan)):
        return
    work = prepare(plan, encoder, context_of(model, stated=encoder.keeps_to_context))

    def choose() -> dict[str, Any]:
        return choose_settings(model, plan, work, tokens_per_forward).to_dict()

    head = processes.on_main(lambda: journal.begin(identity, plan, choose))
    parts = parts_of(model, encoder, plan, work, Settings(**head["settings"]))
    missing = processes.on_main(lambda: journal.missing([part.name for part in parts]))
    mine = set(share(missing, *processes.world()))
    todo = [part for part in parts if part.name in mine]
    with _bar(todo, progress and processes.is_main()) as bar:
        _run_mine([part for part in todo if part.tell is not None], journal, bar)
        for part in parts:  # all processes know the same, whoever did it, and whenever
            if part.tell is not None:
                part.tell(journal.load(part.name))
        _run_mine([part for part in todo if part.tell is None], journal, bar)
    processes.on_main(lambda: _finish(journal, head, plan, work, parts, restart))


def measure_examples(
    model: AnswerModel,
    encoder: Encoder,
    plan: Plan,
    *,
    progress: bool = False,
    tokens_per_forward: int | None = None,
) -> dict[str, tuple[Example, ...]]:
    """Measure a plan in memory: the examples, and no file. Arguments as for `measure`."""
    work = prepare(plan, encoder, context_of(model, stated=encoder.keeps_to_context))
    with asking(model.inner):
        settings = choose_settings(model, plan, work, tokens_per_forward)
        parts = parts_of(model, encoder, plan, work, settings)
        done: dict[str, list[pa.Table]] = {name: [] for name in SCHEMAS}
        with _bar(parts, progress) as bar:
            for part in _shown(parts, bar):
                table, _ = part.run()
                done[part.table].append(table)
                if part.tell is not None:
                    part.tell(table)
    tables = {name: make() for name, make in _tables(plan, work, done.__getitem__).items()}
    return examples_of(tables, list(plan.sets), plan.all_needs)


def context_of(model: AnswerModel, *, stated: bool = True) -> int | None:
    """Longest sequence of the model in tokens, where there is a limit; see `models.inside`."""
    return inside.context_of(model.inner, stated=stated)


def share(names: Sequence[str], rank: int, size: int) -> list[str]:
    """The parts of one process: every `size`-th, so that long and short ones are spread."""
    return list(names[rank::size])


def _run_mine(todo: Sequence[Part], journal: Journal, bar: Any) -> None:
    """Do this process's share of what is missing; the first failure is everybody's."""
    failure = None
    try:
        for part in _shown(todo, bar):
            started = time.monotonic()
            table, tokens = part.run()
            seconds = time.monotonic() - started
            journal.keep(part.name, table, {"seconds": seconds, "tokens": tokens})
    except Exception as error:
        failure = error
    failures = [error for error in processes.gather(failure) if error is not None]
    if failures:
        raise failures[0]


def _bar(parts: Sequence[Part], progress: bool) -> Any:
    from tqdm import tqdm

    # disable=None: silent when stderr is not a terminal.
    total, disable = sum(part.items for part in parts), None if progress else True
    return tqdm(total=total, unit=" items", file=sys.stderr, disable=disable)


def _shown(parts: Sequence[Part], bar: Any) -> Iterable[Part]:
    for part in parts:
        bar.set_description(part.table)
        yield part
        bar.update(part.items)


def _finish(
    journal: Journal,
    head: Mapping[str, Any],
    plan: Plan,
    work: Work,
    parts: Sequence[Part],
    restart: bool,
) -> None:
    cost = {name: {"seconds": 0.0, "tokens": 0.0} for name in SCHEMAS if name != "examples"}
    for part in parts:
        for name, value in journal.cost(part.name).items():
            cost[part.table][name] += value
    meta = {
        **head["identity"],
        "salt": head["salt"],
        "plan_hmac": head["plan_hmac"],
        "settings": head["settings"],
        "cost": {
            name: {"seconds": round(c["seconds"], 3), "forward_tokens": int(c["tokens"])}
            for name, c in cost.items()
        },
        "created": utc_now(),
    }

    def load(name: str) -> list[pa.Table]:
        return [journal.load(part.name) for part in parts if part.table == name]

    write_measurements(journal.folder, _tables(plan, work, load), meta, overwrite=restart)
    journal.remove()


def _tables(
    plan: Plan, work: Work, parts: Callable[[str], list[pa.Table]]
) -> dict[str, Callable[[], pa.Table]]:
    """What makes each table, given what gives its parts: none need live beside another."""

    def examples() -> pa.Table:
        return merged("examples", [examples_table(plan.sets, work.unmeasured)])

    def measured(name: str) -> pa.Table:
        return merged(name, parts(name))

    rest = {name: partial(measured, name) for name in SCHEMAS if name != "examples"}
    return {"examples": examples, **rest}


def _identity(
    model: AnswerModel, encoder: Encoder, plan: Plan, fingerprint: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that changes a measurement, but for the records' texts."""
    versions = environment()
    values = {
        "fingerprint": dict(fingerprint),
        "encoder": {**encoder.describe(), "tokenizer_sha256": tokenizer_digest(encoder)},
        "sets": {name: len(records) for name, records in plan.sets.items()},
        "needs": [need_to_dict(need) for need in plan.all_needs],
        "model": {
            "dtype": str(model.inner.dtype).removeprefix("torch."),
            "device": model.device.type,
            "head": model.head_path,
        },
        "versions": {
            "unbelief": versions.unbelief,
            **{name: versions.packages.get(name) for name in _PACKAGES},
        },
    }
    plain: dict[str, Any] = json.loads(json.dumps(values))  # as it will be read again
    return plain
