"""`unbelief diagnose g-effect`: what a step on an objective does to both risks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unbelief.cli.flags import Json, Quiet


def g_effect(
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Further models.")
    ] = None,
    *,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", "--model", help="Models to look at: FOLDER or NAME=FOLDER."),
    ] = None,
    original: Annotated[
        str | None,
        typer.Option(help="The model before unlearning; the first model.", show_default=False),
    ] = None,
    forget: Annotated[str, typer.Option(help="Records to forget.")],
    retain: Annotated[str, typer.Option(help="Records to keep.")],
    output: Annotated[Path, typer.Option(help="Folder that is to appear.")],
    method: Annotated[str, typer.Option(help="See `unbelief methods`.")] = "graddiff",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value: an option of the method.", show_default=False),
    ] = None,
    points: Annotated[
        int, typer.Option(help="Forget records whose own effects are measured.")
    ] = 32,
    max_forget: Annotated[
        int, typer.Option("--max-forget", help="Forget records looked at; 0: all.")
    ] = 0,
    max_retain: Annotated[
        int, typer.Option("--max-retain", help="Retain records looked at; 0: all.")
    ] = 0,
    estimator: Annotated[
        str, typer.Option(help="`exact`, or the released code's `moving-average`.")
    ] = "exact",
    column: Annotated[
        list[str] | None, typer.Option(help="field=column of the data.", show_default=False)
    ] = None,
    template: Annotated[str, typer.Option(help="auto, chat or plain.")] = "auto",
    system_prompt: Annotated[
        str | None, typer.Option("--system-prompt", help="Of chats.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of records, and of beliefs.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or a torch device.")] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Does a step on an objective forget, and what does it do to what should stay? By gradients."""
    from unbelief.cli.commands import silence
    from unbelief.cli.diagnosis import choice, columns_of
    from unbelief.cli.flags import settings
    from unbelief.diagnose import EffectRequest, run_g_effect
    from unbelief.objectives import build_objective

    request = EffectRequest(
        models=(*(models or ()), *(more or ())),
        original=original,
        forget=forget,
        retain=retain,
        objective=build_objective(method, settings(setting)),
        max_forget=max_forget,
        max_retain=max_retain,
        points=points,
        estimator=choice("estimator", estimator, ("exact", "moving-average")),
        columns=columns_of(column),
        template=choice("template", template, ("auto", "chat", "plain")),
        system_prompt=system_prompt,
        device=device,
        trust_remote_code=trust_remote_code,
        seed=seed,
    )
    silence()
    result = run_g_effect(request, output, overwrite=overwrite, progress=not quiet)
    _print(result.document, result.output, as_json)


def _print(document: dict[str, Any], output: Path, as_json: bool) -> None:
    from unbelief.report.g_effect import effect_table, headline

    if as_json:
        wanted = ("kind", "sign", "unit", "estimator", "n_forget", "n_retain")
        kept = ("label", "forget_risk", "retain_risk", "effects")
        points = [{name: p[name] for name in kept} for p in document["points"]]
        own = {name: document[name] for name in wanted}
        print(json.dumps({"output": str(output), **own, "points": points}))
        return
    print(f"{headline(document)}.\n\n{effect_table(document).to_text()}\n\n{output}")
