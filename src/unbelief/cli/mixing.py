"""`unbelief calibrate` and `unbelief patch`: between an original and an unlearned model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from unbelief.cli.flags import Json, Quiet, two
from unbelief.errors import RequestError

Model = Annotated[str | None, two("model", "The unlearned model: folder, hub id or adapter.")]
Original = Annotated[str | None, two("original", "The model before unlearning.")]
Forget = Annotated[str | None, two("forget", "Records that were to be forgotten.")]
Retain = Annotated[str | None, two("retain", "Records that were to stay.")]
RetainTest = Annotated[
    str | None, two("retain_test", "Retain records for the report; else --retain is split.")
]
SearchShare = Annotated[
    float | None, two("search_share", "Share of the records that serves the search (0.5).")
]
Convention = Annotated[str | None, two("convention", "Whose definitions of the scores (uwc).")]
Output = Annotated[Path | None, two("output", "Model folder that is to appear.")]
Limit = Annotated[int | None, two("limit", "Take only the first so many of every file.")]
Template = Annotated[str | None, two("template", "auto, chat or plain.")]
SystemPrompt = Annotated[str | None, two("system_prompt", "Of chat prompts.")]
MaxLength = Annotated[int | None, two("max_length", "Prompt plus answer, in tokens.")]
Column = Annotated[
    list[str] | None, typer.Option(help="field=column of the data.", show_default=False)
]
Seed = Annotated[int | None, two("seed", "Of the split, attacks and resampling.")]
Device = Annotated[str | None, two("device", "auto, cpu or a torch device.")]
Dtype = Annotated[str | None, two("dtype", "float32, bfloat16, ...")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")
]
LedgerFile = Annotated[Path | None, two("ledger", "Record the run in this ledger.")]
RequestId = Annotated[str | None, two("request_id", "Request the run serves.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(calibrate)
    app.command()(patch)


def calibrate(
    model: Model = None,
    original: Original = None,
    forget: Forget = None,
    retain: Retain = None,
    output: Output = None,
    score: Annotated[
        str | None, two("score", "What is kept, on retain records (extraction_strength).")
    ] = None,
    keep: Annotated[
        float | None, two("keep", "Share of the original's score kept at least (0.95).")
    ] = None,
    grid: Annotated[float | None, two("grid", "Step of the grid over alpha (0.05).")] = None,
    width: Annotated[float | None, two("width", "Where the bisection ends (0.005).")] = None,
    retain_test: RetainTest = None,
    search_share: SearchShare = None,
    convention: Convention = None,
    limit: Limit = None,
    template: Template = None,
    system_prompt: SystemPrompt = None,
    max_length: MaxLength = None,
    column: Column = None,
    seed: Seed = None,
    device: Device = None,
    dtype: Dtype = None,
    trust_remote_code: TrustRemoteCode = False,
    ledger: LedgerFile = None,
    request_id: RequestId = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Mix an unlearned model with its original: as much of it as keeps what was to stay.

    theta(alpha) = (1 - alpha) original + alpha unlearned, at the largest alpha whose score on
    retain records is at least --keep of the original's.
    """
    given = {
        "model": model,
        "original": original,
        "forget": forget,
        "retain": retain,
        "score": score,
        "keep": keep,
        "grid": grid,
        "width": width,
        "retain_test": retain_test,
        "search_share": search_share,
        "convention": convention,
        "limit": limit,
        "template": template,
        "system_prompt": system_prompt,
        "max_length": max_length,
        "columns": _columns(column),
        "seed": seed,
        "device": device,
        "dtype": dtype,
    }
    _require(given, output)
    from unbelief.calibrate.request import CalibrateRequest

    request = CalibrateRequest(**_given(given), trust_remote_code=trust_remote_code)
    from unbelief.calibrate.run import calibrate as run
    from unbelief.calibrate.table import calibration_text
    from unbelief.cli.commands import silence

    silence()
    assert output is not None
    with _recording(request, "calibrate", ledger, request_id) as finished:
        made = run(request, output, overwrite=overwrite, progress=not quiet)
        finished(made)
    _tell(
        made.document, calibration_text(made.document), made.saved.weights_sha256, output, as_json
    )


def patch(
    model: Model = None,
    original: Original = None,
    forget: Forget = None,
    retain: Retain = None,
    output: Output = None,
    retrained: Annotated[
        str | None, two("retrained", "A model that never saw the forget data: the yardstick.")
    ] = None,
    granularity: Annotated[
        str | None, two("granularity", "layer (default), attention, mlp, norm or component.")
    ] = None,
    also: Annotated[
        str | None, two("also", "Candidates outside the layers: embeddings,final_norm,head.")
    ] = None,
    utility: Annotated[str | None, two("utility", "On retain records (probability).")] = None,
    forgetting: Annotated[
        str | None,
        two("forgetting", "On forget records (extraction_strength), or forget_quality."),
    ] = None,
    top_k: Annotated[int | None, two("top_k", "How many parts; chosen if left out.")] = None,
    attacks: Annotated[
        str | None,
        two("attacks", "a,b:option=value; `none` (default: relearn,paraphrase)."),
    ] = None,
    drift_records: Annotated[
        int | None, two("drift_records", "Whose hidden states are compared (32; 0: none).")
    ] = None,
    forget_test: Annotated[
        str | None, two("forget_test", "Forget records for the report; else --forget is split.")
    ] = None,
    retain_test: RetainTest = None,
    search_share: SearchShare = None,
    convention: Convention = None,
    limit: Limit = None,
    template: Template = None,
    system_prompt: SystemPrompt = None,
    max_length: MaxLength = None,
    column: Column = None,
    seed: Seed = None,
    device: Device = None,
    dtype: Dtype = None,
    trust_remote_code: TrustRemoteCode = False,
    ledger: LedgerFile = None,
    request_id: RequestId = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put the layers of an unlearned model that forget into its original, and attack the result.

    Every layer is tried by itself on validation records; those that forget most and cost least
    are exchanged, as many as is best.
    """
    given = {
        "model": model,
        "original": original,
        "forget": forget,
        "retain": retain,
        "retrained": retrained,
        "granularity": granularity,
        "also": _names(also),
        "utility": utility,
        "forgetting": forgetting,
        "top_k": top_k,
        "attacks": _names(attacks),
        "drift_records": drift_records,
        "forget_test": forget_test,
        "retain_test": retain_test,
        "search_share": search_share,
        "convention": convention,
        "limit": limit,
        "template": template,
        "system_prompt": system_prompt,
        "max_length": max_length,
        "columns": _columns(column),
        "seed": seed,
        "device": device,
        "dtype": dtype,
    }
    _require(given, output)
    from unbelief.patch.request import PatchRequest

    request = PatchRequest(**_given(given), trust_remote_code=trust_remote_code)
    from unbelief.cli.commands import silence
    from unbelief.patch.run import patch as run
    from unbelief.patch.table import patch_text

    silence()
    assert output is not None
    with _recording(request, "patch", ledger, request_id) as finished:
        made = run(request, output, overwrite=overwrite, progress=not quiet)
        finished(made)
    _tell(made.document, patch_text(made.document), made.saved.weights_sha256, output, as_json)


@contextmanager
def _recording(
    request: Any, method: str, ledger: Path | None, request_id: str | None
) -> Iterator[Callable[[Any], None]]:
    """Record the run in the ledger, when it serves a request; yields what takes its result."""
    from unbelief.ledger import recording

    with recording(
        ledger, request_id, request.forget, columns=request.columns, method=method
    ) as finished:
        yield lambda made: finished(
            {
                **made.document["provenance"],
                "output_weights_sha256": made.saved.weights_sha256,
            }
        )


def _tell(
    document: dict[str, Any], text: str, weights_sha256: str, output: Path, as_json: bool
) -> None:
    if as_json:
        found = {"output": str(output), "weights_sha256": weights_sha256, **document}
        print(json.dumps(found))
        return
    print(f"{text}\n\n-> {output}")


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def _require(given: dict[str, Any], output: Path | None) -> None:
    for name in ("model", "original", "forget", "retain"):
        if given[name] is None:
            raise RequestError(f"--{name} is missing", remedy=f"give --{name}")
    if output is None:
        raise RequestError("--output is missing", remedy="name the folder that is to appear")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _columns(given: list[str] | None) -> dict[str, str] | None:
    found = {}
    for item in given or []:
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            raise RequestError(
                f"{item!r} is not field=column", where="--column", remedy="such as prompt=question"
            )
        found[key] = value
    return found or None
