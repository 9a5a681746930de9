"""Bodies of the commands: call the library, print the result."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any


def unlearn(
    flags: Mapping[str, Any],
    settings: Mapping[str, str],
    config_file: Path | None,
    output: Path,
    overwrite: bool,
    restart: bool,
    as_json: bool,
    quiet: bool,
    ledger: Path | None = None,
    request_id: str | None = None,
    track: str | None = None,
    budget: float | None = None,
    retrained: str | None = None,
    holdout: str | None = None,
) -> None:
    """`unbelief unlearn`."""
    from unbelief.cli import automatic
    from unbelief.config import resolve
    from unbelief.outputs import check_destination
    from unbelief.rundir import settle

    config = resolve(flags, settings, config_file)
    automatic.check_flags(config.method, budget, retrained, holdout)
    settle(output, overwrite)
    check_destination(output, overwrite)
    if config.method == automatic.NAME:
        silence()
        where = (output, overwrite, restart, as_json, quiet, ledger, request_id, track)
        return automatic.unlearn(config, budget, retrained, holdout, *where)
    from unbelief import processes
    from unbelief.cli.diagnosis import tracked, tracking
    from unbelief.ledger import recording
    from unbelief.models.adapters import LoraOptions
    from unbelief.unlearner import Unlearner

    silence()
    objective = _objective(config)
    hooks = tracking(track, objective)
    unlearner = Unlearner(
        model=config.model,
        forget=config.forget,
        retain=config.retain,
        objective=objective,
        train=config.train_options(),
        lora=None if config.lora is None else LoraOptions.parse(config.lora),
        merge=config.merge,
        columns=config.columns or None,
        template=config.template,
        system_prompt=config.system_prompt,
        end_token=config.end_token,
        max_length=config.max_length,
        beliefs=None if config.beliefs is None else Path(config.beliefs),
        dtype=config.dtype,
        device=config.device,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        method=config.method,
        hooks=hooks,
        progress=not quiet,
    )
    with recording(
        ledger, request_id, config.forget, columns=config.columns, method=config.method
    ) as finished:
        result = unlearner.run(output, overwrite=overwrite, restart=restart)
        finished(result.provenance)
    processes.leave()
    if not processes.is_main():
        return
    if as_json:
        print(json.dumps(_summary(config.method, result) | tracked(hooks, as_json)))
        return
    _tell(config.method, result)
    tracked(hooks, as_json)


def _summary(method: str, result: Any) -> dict[str, Any]:
    """A run as plain data."""
    from unbelief import processes

    first, last = (result.log[0], result.log[-1]) if result.log else ({}, {})
    return {
        "output": str(result.output),
        "method": method,
        "steps": result.steps,
        "resumed_from": result.resumed_from,
        "processes": processes.world()[1],
        "seconds": round(result.seconds, 1),
        "first": first,
        "last": last,
        "weights_sha256": result.provenance["output_weights_sha256"],
    }


def _tell(method: str, result: Any) -> None:
    """A run in words."""
    from unbelief.rundir import RunFolder

    print(f"{method}: {result.steps} steps in {result.seconds:.0f} s -> {result.output}")
    tokens = result.provenance["config"]["tokens"]
    for side, cut in tokens["answers_cut"].items():
        if cut:
            print(f"  {cut} {side} answers were longer than the length limit, and cut")
    for name in ("target_logp", "belief_logp", "retain_logp"):
        if means := [f"{mean:.3f}" for mean in _epoch_means(result.log, name)]:
            change = " -> ".join(dict.fromkeys((means[0], means[-1])))
            print(f"  mean {name} per token and epoch, each before its update: {change} nats")
    if result.beliefs is None:
        return
    bank = RunFolder(result.output).beliefs(0)
    print(f"  belief bank: {bank}")
    if (report := bank.with_suffix(".json")).exists():
        from unbelief.beliefs.transplant import in_words

        print(f"  neighbours: {in_words(json.loads(report.read_bytes()))}\n  details: {report}")


def _epoch_means(log: Sequence[Mapping[str, float]], name: str) -> list[float]:
    """Mean of a logged quantity in every epoch: single steps are about different records."""
    epochs: dict[int, list[float]] = {}
    for entry in log:
        if name in entry:
            epochs.setdefault(math.ceil(entry["epoch"]), []).append(entry[name])
    return [statistics.fmean(values) for values in epochs.values()]


def _objective(config: Any) -> Any:
    from unbelief.errors import RequestError
    from unbelief.objectives import build_objective, methods

    method = methods().get(config.method)
    if config.retain is None and method is not None and method.preset.needs_retain:
        raise RequestError(
            f"{config.method} keeps its steps from hurting the retain data, and there is none",
            where="retain",
            remedy="give --retain FILE, or use a method without a retain term such as ga",
        )
    try:
        return build_objective(config.method, config.options, has_retain=config.retain is not None)
    except RequestError as error:
        if error.remedy:
            raise
        remedy = f"see `unbelief methods {config.method}`"
        raise RequestError(error.message, where=error.where, remedy=remedy) from error


def check(
    model: str,
    forget: str,
    retain: str | None,
    lora: str | None,
    columns: Mapping[str, str] | None,
    as_json: bool,
) -> None:
    """`unbelief check`."""
    from unbelief.preflight import check_request, render

    silence()
    report = check_request(model=model, forget=forget, retain=retain, lora=lora, columns=columns)
    print(json.dumps(report.as_dict()) if as_json else render(report))


def methods(name: str | None, as_json: bool) -> None:
    """`unbelief methods`."""
    import inspect

    from unbelief.cli import automatic
    from unbelief.objectives import build_objective
    from unbelief.objectives import methods as all_methods

    found = all_methods()
    if name == automatic.NAME:
        print(json.dumps(automatic.described()) if as_json else automatic.describe())
        return
    if name is not None:
        build_objective(name)  # an unknown name fails with a suggestion
        found = {name: found[name]}
    rows = [
        {
            "name": m.name,
            "summary": m.preset.summary,
            "term": m.term.name,
            "retain": m.preset.retain,
            "source": m.term.source,
            "options": {f.name: str(_default(f)) for f in fields(m.term)},
            "documentation": inspect.cleandoc(m.term.__doc__ or ""),
        }
        for m in found.values()
    ]
    if as_json:
        print(json.dumps(rows))
    elif name is not None:
        row, only = rows[0], found[name]
        print(f"{name}: {row['summary']}\n\n{row['documentation']}\n")
        print(f"Source: {row['source']}\nRetain term: {row['retain']}\nOptions (--set):")
        for f in fields(only.term):
            print(f"  {f.name}={_default(f)}")
    else:
        width = max(len(str(row["name"])) for row in rows)
        for row in rows:
            print(f"{row['name']!s:<{width}}  {row['summary']}")
        print(f"{automatic.NAME:<{width}}  {automatic.SUMMARY}")


def quickstart(
    output: Path, seeds: int, seed: int, overwrite: bool, as_json: bool, quiet: bool
) -> None:
    """`unbelief quickstart`."""
    from unbelief.outputs import check_destination

    check_destination(output, overwrite)
    from unbelief.lab import quickstart as run

    silence()
    result = run(output, seeds=seeds, seed=seed, overwrite=overwrite, progress=not quiet)
    print(json.dumps(result.summary()) if as_json else result.text())


def _default(field: Any) -> Any:
    from dataclasses import MISSING

    if field.default is not MISSING:
        return field.default
    return field.default_factory().name


def silence() -> None:
    """Transformers' own bars and notices would mix with ours."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
