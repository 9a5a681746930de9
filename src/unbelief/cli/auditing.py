"""`unbelief audit`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from unbelief.cli.flags import Json, Quiet, columns_of, two
from unbelief.cli.judging import make_chat, prices_of
from unbelief.errors import GuardError, Inconclusive, RequestError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    model: Annotated[str | None, two("model", "The unlearned model: folder or hub id.")] = None,
    original: Annotated[str | None, two("original", "The model before unlearning.")] = None,
    retrained: Annotated[
        str | None, two("retrained", "A model that never saw the forget data: the yardstick.")
    ] = None,
    forget: Annotated[str | None, two("forget", "Records that were to be forgotten.")] = None,
    retain: Annotated[str | None, two("retain", "Records that were to stay.")] = None,
    holdout: Annotated[str | None, two("holdout", "Records no model was trained on.")] = None,
    attacks: Annotated[
        str | None,
        two("attacks", "a,b:option=value,c; `none`; see `unbelief attacks` (default: standard)."),
    ] = None,
    gates: Annotated[
        str | None, two("gates", "File of bounds fixed beforehand, or 'a <= 0.1; b >= 0.9'.")
    ] = None,
    judge: Annotated[
        str | None, two("judge", "openai:MODEL, local:FOLDER or replay:FILE; see unbelief judge.")
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Records may be sent to a judge elsewhere.")
    ] = False,
    judge_prices: Annotated[
        str | None, two("judge_prices", "IN,OUT per million tokens of the judge, for the cost.")
    ] = None,
    output: Annotated[Path | None, two("output", "Folder that is to appear.")] = None,
    samples: Annotated[
        int | None, two("samples", "Answers per prompt for the leak rate (8).")
    ] = None,
    seeds: Annotated[
        int | None,
        two("seeds", "So many seeds of sampled answers and attacks; gates take the worst (1)."),
    ] = None,
    temperature: Annotated[float | None, two("temperature", "Of those answers (1).")] = None,
    limit: Annotated[int | None, two("limit", "Ask only the first so many of every set.")] = None,
    request_id: Annotated[
        str | None, two("request_id", "Pseudonym of the deletion request.")
    ] = None,
    ledger: Annotated[
        Path | None, two("ledger", "Record the audit in this ledger, under the request id.")
    ] = None,
    squeeze: Annotated[
        list[str] | None,
        typer.Option(
            "--squeeze", help="Show these squeeze diagnoses (default: the model's own run's)."
        ),
    ] = None,
    audit_again_by: Annotated[
        str | None, two("audit_again_by", "Day after which the audit is out of date.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="State that the model was retrained without the data.")
    ] = False,
    template: Annotated[str | None, two("template", "auto, chat or plain.")] = None,
    system_prompt: Annotated[str | None, two("system_prompt", "Of chat prompts.")] = None,
    max_length: Annotated[int | None, two("max_length", "Prompt plus answer, in tokens.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="columns.FIELD=COLUMN of the data.", show_default=False),
    ] = None,
    seed: Annotated[int | None, two("seed", "Of sampling, attacks and resampling.")] = None,
    device: Annotated[str | None, two("device", "auto, cpu or a torch device.")] = None,
    dtype: Annotated[str | None, two("dtype", "float32, bfloat16, ...")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look for what an unlearned model still knows, before and after attacks, and say so.

    Exit code 3 when a gate failed, 4 when one could not be decided. The report is written anyway.
    """
    from unbelief.audit.gates import read_rules
    from unbelief.audit.request import AuditRequest

    given: dict[str, Any] = {
        "model": model,
        "original": original,
        "forget": forget,
    }
    for name, value in {**given, "output": output}.items():
        if value is None:
            raise RequestError(f"--{name} is missing", remedy=f"give --{name}")
    if ledger is not None:
        if request_id is None:
            raise RequestError("--ledger needs a request id", remedy="give --request-id")
        from unbelief.audit.recording import check_ledger

        check_ledger(ledger, request_id)
    given |= {
        "retrained": retrained,
        "retain": retain,
        "holdout": holdout,
        "samples": samples,
        "seeds": seeds,
        "squeeze": tuple(squeeze) if squeeze else None,
        "audit_again_by": audit_again_by,
        "temperature": temperature,
        "limit": limit,
        "request_id": request_id,
        "template": template,
        "system_prompt": system_prompt,
        "max_length": max_length,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "columns": columns_of(setting),
        "attacks": _attacks(attacks),
        "gates": None if gates is None else read_rules(gates),
    }
    values = {name: value for name, value in given.items() if value is not None}
    request = AuditRequest(**values, exact=exact, trust_remote_code=trust_remote_code)
    assert output is not None
    prices = prices_of(judge_prices, "--judge-prices")
    if prices is not None and judge is None:
        raise RequestError(
            "--judge-prices is given without a judge",
            remedy="give --judge, or leave the prices out",
        )
    chat = None if judge is None else make_chat(judge, allow_remote=allow_remote)
    document = _run(request, output, overwrite, quiet, ledger, chat, prices)
    _show(document, output, as_json)
    outcome = document.verdict.outcome
    if outcome == "fail":
        raise GuardError("a gate failed", remedy=f"see {output / 'report.html'}")
    if outcome == "inconclusive":
        raise Inconclusive("a gate could not be decided", remedy=f"see {output / 'report.html'}")


def _run(
    request: Any,
    output: Path,
    overwrite: bool,
    quiet: bool,
    ledger: Path | None,
    chat: Any,
    prices: tuple[float, float] | None,
) -> Any:
    from unbelief.audit.run import audit as run
    from unbelief.cli.commands import silence

    silence()
    command = shlex.join(["unbelief", *sys.argv[1:]])
    document = run(
        request,
        output,
        judge=chat,
        prices=prices,
        overwrite=overwrite,
        progress=not quiet,
        command=command,
    )
    if ledger is not None:
        from unbelief.audit.recording import record_audit

        record_audit(ledger, document, output)
    return document


def _show(document: Any, output: Path, as_json: bool) -> None:
    from unbelief.audit.verdict import number

    verdict = document.verdict
    if as_json:
        short = {"output": str(output), "verdict": verdict.model_dump(), "flags": document.flags}
        print(json.dumps(short))
        return
    print(f"{verdict.outcome}: {verdict.sentence}")
    print(f"Claim: {verdict.claim_class} ({verdict.claim_reason})")
    print(f"Worst: {verdict.worst}")
    for gate in verdict.gates:
        print(f"  {gate.outcome:<12}  {gate.rule}: {gate.because}")
    width = max(len(row.title) for row in document.measures)
    for row in document.measures:
        numbers = "  ".join(f"{role} {number(its)}" for role, its in row.models.items())
        print(f"  {row.title:<{width}}  {numbers}")
    for row in document.attacks:
        if not row.ran:
            print(f"  not run: {row.title}: {row.because}")
        elif row.measure == "key_fact_recall":
            print(f"  under {row.title}: facts {number(row.before)} -> {number(row.after)}")
    print(f"-> {output / 'report.html'}")


def _attacks(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    if text.strip() == "none":
        return ()
    return tuple(name.strip() for name in text.split(",") if name.strip())
