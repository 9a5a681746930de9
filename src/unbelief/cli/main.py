"""`unbelief`: one command, several verbs."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from unbelief import __version__
from unbelief.cli import auditing, evaluation, mixing, reporting
from unbelief.cli.diagnosis import app as diagnose_commands
from unbelief.cli.flags import Json, Quiet, settings, two
from unbelief.cli.judging import app as judge_commands
from unbelief.cli.ledger import app as ledger_commands
from unbelief.cli.study import app as study_commands
from unbelief.cli.vision import app as vision_commands
from unbelief.errors import RequestError, UnbeliefError

app = typer.Typer(
    name="unbelief",
    help="Make a language model forget chosen records, keep everything else, and show the "
    "evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def unlearn(
    model: Annotated[str | None, two("model", "Model folder, hub id or adapter folder.")] = None,
    forget: Annotated[
        str | None, two("forget", "Records to forget: JSONL, Parquet, CSV, folder or hub id.")
    ] = None,
    retain: Annotated[str | None, two("retain", "Records to keep, likewise.")] = None,
    method: Annotated[
        str | None, two("method", "See `unbelief methods`; auto chooses (default: bs-s).")
    ] = None,
    output: Annotated[Path | None, two("output", "Model folder that is to appear.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="key=value: an option of the method (retain=kl is its retain term) or any field.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[Path | None, two("config", "YAML file; flags beat it.")] = None,
    learning_rate: Annotated[float | None, two("learning_rate", "Peak learning rate.")] = None,
    num_train_epochs: Annotated[
        float | None, two("num_train_epochs", "Passes over the forget data.")
    ] = None,
    max_steps: Annotated[int | None, two("max_steps", "Optimiser steps; beats epochs.")] = None,
    per_device_train_batch_size: Annotated[
        int | None, two("per_device_train_batch_size", "Forget pairs per process and step.")
    ] = None,
    gradient_accumulation_steps: Annotated[
        int | None, two("gradient_accumulation_steps", "Multiplies the pairs per step.")
    ] = None,
    lora: Annotated[str | None, two("lora", "Train an adapter: r=16,alpha=32.")] = None,
    merge: Annotated[
        bool | None,
        typer.Option(
            "--merge/--no-merge", help="Merge the adapter at the end.", show_default=False
        ),
    ] = None,
    bf16: Annotated[
        bool | None,
        typer.Option("--bf16/--no-bf16", help="bfloat16 over fp32 masters.", show_default=False),
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing",
            help="Recompute activations in backward.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, two("seed", "Of everything random.")] = None,
    beliefs: Annotated[str | None, two("beliefs", "A belief bank to use again.")] = None,
    track: Annotated[str | None, two("track", "squeeze or g-effect, with options.")] = None,
    budget: Annotated[float | None, two("budget", "Minutes of --method auto (10).")] = None,
    retrained: Annotated[
        str | None, two("retrained", "auto: a model that never saw the forget records.")
    ] = None,
    holdout: Annotated[
        str | None, two("holdout", "auto: records like those to forget that the model never saw.")
    ] = None,
    device: Annotated[str | None, two("device", "auto, cpu or a torch device.")] = None,
    trust_remote_code: Annotated[
        bool | None,
        typer.Option(
            "--trust-remote-code", help="Run code that comes with the model.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away an unfinished run instead of resuming.")
    ] = False,
    ledger: Annotated[Path | None, two("ledger", "Record the run in this ledger.")] = None,
    request_id: Annotated[str | None, two("request_id", "Request the run serves.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a model forget records; a model folder appears that Transformers loads as it is.

    The same command resumes a run that was interrupted.
    """
    from unbelief.cli.commands import unlearn as run

    flags = {
        "model": model,
        "forget": forget,
        "retain": retain,
        "method": method,
        "learning_rate": learning_rate,
        "num_train_epochs": num_train_epochs,
        "max_steps": max_steps,
        "per_device_train_batch_size": per_device_train_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps,
        "lora": lora,
        "merge": merge,
        "bf16": bf16,
        "gradient_checkpointing": gradient_checkpointing,
        "seed": seed,
        "beliefs": beliefs,
        "device": device,
        "trust_remote_code": trust_remote_code,
    }
    if output is None:
        raise RequestError("--output is missing", remedy="name the folder that is to appear")
    given = settings(setting)
    served = (ledger, request_id)
    how = (overwrite, restart, as_json, quiet)
    level = (retrained, holdout)
    run(flags, given, config, output, *how, *served, track, budget, *level)


@app.command()
def check(
    model: Annotated[str, two("model", "Model folder or hub id.")],
    forget: Annotated[str, two("forget", "Records to forget.")],
    retain: Annotated[str | None, two("retain", "Records to keep.")] = None,
    lora: Annotated[str | None, two("lora", "Estimate for an adapter: r=16.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="columns.FIELD=COLUMN: names of the data's columns."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Dry run: schema, duplicates, overlap of forget and retain, token counts, memory and time."""
    from unbelief.cli.commands import check as run
    from unbelief.cli.flags import columns_of

    run(model, forget, retain, lora, columns_of(settings), as_json)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method in full.")] = None,
    as_json: Json = False,
) -> None:
    """What there is to unlearn with, with formula, source and options."""
    from unbelief.cli.commands import methods as run

    run(name, as_json)


@app.command()
def attacks(
    name: Annotated[str | None, typer.Argument(help="Show one attack in full.")] = None,
    as_json: Json = False,
) -> None:
    """What there is to attack an unlearned model with, with options, cost and source."""
    from unbelief.cli.attacks import list_attacks

    list_attacks(name, as_json)


@app.command()
def quickstart(
    output: Annotated[Path, two("output", "Folder that is to appear.")] = Path("quickstart"),
    seeds: Annotated[int, two("seeds", "Worlds to run; intervals need several.")] = 1,
    seed: Annotated[int, two("seed", "Of the first world.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The lab end to end: two tiny models, several methods, exact masses, one report."""
    from unbelief.cli.commands import quickstart as run

    run(output, seeds, seed, overwrite, as_json, quiet)


app.add_typer(judge_commands, name="judge")
app.add_typer(ledger_commands, name="ledger")
app.add_typer(diagnose_commands, name="diagnose")
app.add_typer(study_commands, name="study")
app.add_typer(vision_commands, name="vision")


evaluation.register(app)
auditing.register(app)
mixing.register(app)
reporting.register(app)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; errors for people end with their own exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    code = None
    try:
        code = app(standalone_mode=False)
    except UnbeliefError as error:
        _fail(str(error), error.exit_code)
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's: an unknown option, a missing value
            _fail(f"{error.format_message()}\n  remedy: see {_help_of(error)}", 2)
        traceback.print_exc()
        _fail("this is a bug in unbelief; please report the lines above", 1)
    if code == 130:  # Typer turns Ctrl-C into this
        _fail("stopped\n  remedy: the same command resumes", 130)
    if isinstance(code, int):
        sys.exit(code)


def _help_of(error: Any) -> str:
    context = getattr(error, "ctx", None)
    name = context.command_path.split()[1:] if context is not None else []
    return " ".join(["unbelief", *name, "--help"])


def _fail(message: str, code: int) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": message, "exit_code": code}))
    print(f"unbelief: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
