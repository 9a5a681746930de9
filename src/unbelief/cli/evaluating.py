"""Bodies of the commands around evaluation: call the library, print the result."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbelief.errors import RequestError


def anew(
    values: Mapping[str, Any],
    output: Path,
    measurements: Path | None,
    overwrite: bool,
    restart: bool,
    as_json: bool,
    everything: bool,
    quiet: bool,
) -> None:
    """`unbelief evaluate` of a model."""
    from unbelief.evaluate.request import Evaluation

    for name in ("model", "suite"):
        if name not in values:
            raise RequestError(f"--{name} is missing", remedy=f"give --{name}, or --from")
    request = Evaluation(**values)
    from unbelief import processes
    from unbelief.cli.commands import silence
    from unbelief.evaluate import evaluate

    silence()
    results = evaluate(
        request,
        output,
        measurements=measurements,
        overwrite=overwrite,
        restart=restart,
        progress=not quiet,
    )
    processes.leave()
    if processes.is_main():
        _show(results, output, as_json, everything)


def tasks(
    values: Mapping[str, Any],
    names: tuple[str, ...],
    include_path: str | None,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """`unbelief evaluate --tasks`."""
    from dataclasses import fields

    from unbelief.evaluate.request import Evaluation

    known = {"model", "suite", "template", "system_prompt", "limit", "reference"}
    known |= {"dtype", "device", "revision", "trust_remote_code"}
    others = [f.name for f in fields(Evaluation) if f.name in values and f.name not in known]
    if others or values.get("suite", "wmdp") != "wmdp":
        flag = "--" + (others[0].replace("_", "-") if others else "suite")
        raise RequestError(
            f"{flag} does not go with --tasks",
            where=flag,
            remedy="leave it out: the Harness decides what its tasks ask and how they are scored",
        )
    if "model" not in values:
        raise RequestError("--model is missing", remedy="give --model")
    request = Evaluation(**{"suite": "wmdp", **values})
    from unbelief.cli.commands import silence
    from unbelief.evaluate.harness import HarnessOptions, evaluate_tasks

    silence()
    options = HarnessOptions(include_path=include_path)
    if names:
        options = HarnessOptions(tasks=names, include_path=include_path)
    results = evaluate_tasks(request, options, output, overwrite=overwrite)
    _show(results, output, as_json, True)


def again(
    measured: Path,
    output: Path | None,
    values: Mapping[str, Any],
    common: Mapping[str, Any],
    metrics: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    everything: bool,
) -> None:
    """`unbelief evaluate --from`."""
    if values:
        flags = ", ".join("--" + name.replace("_", "-") for name in values)
        raise RequestError(
            f"{flags} cannot be changed after the measurement",
            where="--from",
            remedy="leave it out, or evaluate the model again",
        )
    from unbelief.evaluate import rescore

    results = rescore(measured, output, metrics=metrics, overwrite=overwrite, **common)
    _show(results, output, as_json, everything)


def _show(results: Any, output: Path | None, as_json: bool, everything: bool) -> None:
    from unbelief.evaluate.table import text_of

    if as_json:
        print(json.dumps({"output": str(output) if output else None, **results.to_dict()}))
        return
    print(text_of(results, everything=everything))
    if output is not None:
        print(f"-> {output}")


def metrics(name: str | None, as_json: bool) -> None:
    """`unbelief metrics`."""
    from unbelief.scores.conventions import CONVENTIONS
    from unbelief.scores.options import unknown
    from unbelief.scores.registry import aggregates
    from unbelief.scores.registry import metrics as all_metrics

    found: dict[str, Any] = {**all_metrics(), **aggregates()}
    if name is not None and name not in found:
        raise unknown(name, found, "metric")
    rows = [_described(found[n], n in aggregates()) for n in ([name] if name else found)]
    if as_json:
        print(json.dumps({"metrics": rows, "conventions": list(CONVENTIONS)}))
        return
    if name is not None:
        _show_metric(rows[0])
        return
    width = max(len(row["name"]) for row in rows)
    for kind, title in (("metric", "Of one item"), ("aggregate", "Of other numbers")):
        print(f"{title}:")
        for row in rows:
            if row["kind"] == kind:
                print(f"  {row['name']:<{width}}  {row['summary']}")
    print(f"Conventions: {', '.join(CONVENTIONS)}")


def _described(kind: Any, is_aggregate: bool) -> dict[str, Any]:
    from unbelief.scores.conventions import CONVENTIONS
    from unbelief.scores.options import option_values

    return {
        "name": kind.name,
        "kind": "aggregate" if is_aggregate else "metric",
        "summary": kind.summary,
        "unit": kind.unit,
        "range": [None if abs(x) == float("inf") else x for x in kind.limits],
        "better": kind.better,
        "version": kind.version,
        "source": kind.source,
        "options": {k: str(v) for k, v in option_values(kind()).items()},
        "conventions": {
            convention: {k: str(v) for k, v in table[kind.name].items()}
            for convention, table in CONVENTIONS.items()
            if kind.name in table
        },
        "documentation": inspect.cleandoc(kind.__doc__ or ""),
    }


def _show_metric(row: Mapping[str, Any]) -> None:
    print(f"{row['name']}: {row['summary']}\n\n{row['documentation']}\n")
    print(f"Unit: {row['unit']}\nOn forgotten data: {row['better']}\nSource: {row['source']}")
    print(f"Version: {row['version']}")
    if row["options"]:
        print("Options:")
        for option, value in row["options"].items():
            print(f"  {option}={value}")
    for convention, options in row["conventions"].items():
        print(f"{convention}: {', '.join(f'{k}={v}' for k, v in options.items())}")


def suites(name: str | None, as_json: bool) -> None:
    """`unbelief suites`."""
    from unbelief.suites.base import Choices
    from unbelief.suites.registry import suite_kind
    from unbelief.suites.registry import suites as all_suites

    kinds = [suite_kind(name)] if name is not None else list(all_suites().values())
    rows: list[dict[str, Any]] = [
        {
            "name": kind.name,
            "summary": kind.summary,
            "documentation": inspect.cleandoc(inspect.getmodule(kind.read).__doc__ or ""),
            "options": list(kind.options),
            "required": list(kind.required),
            "lines": [
                {
                    "name": line.name,
                    "how": line.how.name,
                    "on": line.on,
                    "inputs": list(line.inputs),
                    "on_request": line.on_request,
                }
                for line in kind.lines(Choices())
            ],
        }
        for kind in kinds
    ]
    if as_json:
        print(json.dumps(rows))
        return
    if name is None:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            print(f"{row['name']:<{width}}  {row['summary']}")
        return
    _show_suite(rows[0])


def _show_suite(row: Mapping[str, Any]) -> None:
    print(f"{row['name']}: {row['summary']}\n\n{row['documentation']}\n")
    flags = [f"--{o}" + (" (needed)" if o in row["required"] else "") for o in row["options"]]
    print(f"Options: {', '.join(flags)}\nLines:")
    width = max(len(line["name"]) for line in row["lines"])
    for line in row["lines"]:
        of = line["on"] or ", ".join(line["inputs"])
        late = "  (on request)" if line["on_request"] else ""
        print(f"  {line['name']:<{width}}  {line['how']} of {of}{late}")
