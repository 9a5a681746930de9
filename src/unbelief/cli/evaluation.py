"""`unbelief evaluate`, `unbelief metrics`, `unbelief suites`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unbelief.cli.flags import Json, Quiet, columns_of, two
from unbelief.errors import RequestError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (evaluate, metrics, suites):
        app.command()(command)


def evaluate(
    model: Annotated[str | None, two("model", "Model folder, hub id or adapter folder.")] = None,
    suite: Annotated[str | None, two("suite", "See `unbelief suites`.")] = None,
    data: Annotated[str | None, two("data", "A benchmark's folder or hub id.")] = None,
    split: Annotated[str | None, two("split", "Part of it: forget10, scal/forget_2.")] = None,
    forget: Annotated[str | None, two("forget", "Own records to forget (suite own).")] = None,
    retain: Annotated[str | None, two("retain", "Own records to keep.")] = None,
    holdout: Annotated[str | None, two("holdout", "Own records no model was trained on.")] = None,
    output: Annotated[Path | None, two("output", "JSON file that is to appear.")] = None,
    measurements: Annotated[
        Path | None, two("measurements", "Where the measurement is kept (beside the output).")
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Score this measurement again; no model needed.", show_default=False
        ),
    ] = None,
    retrained: Annotated[
        str | None, two("retrained", "Model that never saw the forget data; evaluated too.")
    ] = None,
    reference: Annotated[
        str | None, two("reference", "Its results: ours, or OpenUnlearning's TOFU_EVAL.json.")
    ] = None,
    original: Annotated[str | None, two("original", "The model before unlearning.")] = None,
    fluency_model: Annotated[
        str | None, two("fluency_model", "Folder of the gibberish classifier.")
    ] = None,
    convention: Annotated[
        str | None, two("convention", "Whose definitions; see `unbelief metrics`.")
    ] = None,
    metrics: Annotated[str | None, two("metrics", "Only these lines or metrics: a,b,c.")] = None,
    samples: Annotated[
        int | None, two("samples", "Answers per prompt for the leak rate (4).")
    ] = None,
    temperature: Annotated[float | None, two("temperature", "Of those answers (1).")] = None,
    limit: Annotated[int | None, two("limit", "Ask only the first so many of every set.")] = None,
    template: Annotated[
        str | None, two("template", "auto, chat, plain, llama2-chat, base-model.")
    ] = None,
    system_prompt: Annotated[str | None, two("system_prompt", "Of chat prompts.")] = None,
    date_string: Annotated[
        str | None, two("date_string", "For the chat template, under open-unlearning.")
    ] = None,
    end_token: Annotated[
        bool | None,
        typer.Option(
            "--end-token/--no-end-token",
            help="Whether it belongs to the answer.",
            show_default=False,
        ),
    ] = None,
    max_length: Annotated[int | None, two("max_length", "Prompt plus answer, in tokens.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="columns.FIELD=COLUMN of own data.", show_default=False),
    ] = None,
    tasks: Annotated[
        str | None, two("tasks", "Tasks of the LM Evaluation Harness instead: wmdp_bio,mmlu.")
    ] = None,
    include_path: Annotated[
        str | None, two("include_path", "Folder with the Harness's task files of your own.")
    ] = None,
    device: Annotated[str | None, two("device", "auto, cpu or a torch device.")] = None,
    dtype: Annotated[str | None, two("dtype", "float32, bfloat16, ...")] = None,
    revision: Annotated[str | None, two("revision", "Commit of a hub model.")] = None,
    trust_remote_code: Annotated[
        bool | None,
        typer.Option(
            "--trust-remote-code", help="Run code that comes with the model.", show_default=False
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also show the lines that others are made of.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Measure anew instead of resuming.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model and score it: what it forgot, what it kept, how near to never having known.

    The same command resumes what was interrupted. What was measured stays beside the output.
    """
    from unbelief.cli import evaluating

    given = {
        "model": model,
        "suite": suite,
        "data": data,
        "split": split,
        "forget": forget,
        "retain": retain,
        "holdout": holdout,
        "columns": columns_of(setting),
        "limit": limit,
        "samples": samples,
        "temperature": temperature,
        "template": template,
        "system_prompt": system_prompt,
        "date_string": date_string,
        "end_token": end_token,
        "max_length": max_length,
        "retrained": retrained,
        "original": original,
        "fluency_model": fluency_model,
        "dtype": dtype,
        "device": device,
        "revision": revision,
        "trust_remote_code": trust_remote_code,
    }
    values = {name: value for name, value in given.items() if value is not None}
    names = _listed(metrics)
    common = {"convention": convention, "reference": reference}
    common = {name: value for name, value in common.items() if value is not None}
    if measured is not None:
        if measurements is not None or restart:
            values["measurements" if measurements is not None else "restart"] = True
        evaluating.again(measured, output, values, common, names, overwrite, as_json, everything)
        return
    if output is None:
        raise RequestError("--output is missing", remedy="name the JSON file that is to appear")
    if tasks is not None or include_path is not None:
        evaluating.tasks(
            {**values, **common}, _listed(tasks), include_path, output, overwrite, as_json
        )
        return
    evaluating.anew(
        {**values, **common, "metrics": names},
        output,
        measurements,
        overwrite,
        restart,
        as_json,
        everything,
        quiet,
    )


def metrics(
    name: Annotated[str | None, typer.Argument(help="Show one in full.")] = None,
    as_json: Json = False,
) -> None:
    """What there is to score with, with formula, range, source and options."""
    from unbelief.cli.evaluating import metrics as run

    run(name, as_json)


def suites(
    name: Annotated[str | None, typer.Argument(help="Show one in full.")] = None,
    as_json: Json = False,
) -> None:
    """What is measured and scored together."""
    from unbelief.cli.evaluating import suites as run

    run(name, as_json)


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
