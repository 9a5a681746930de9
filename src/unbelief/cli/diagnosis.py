"""`unbelief diagnose`: what unlearning does to a model's other answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbelief.cli.effects import g_effect
from unbelief.cli.flags import Json, Quiet

if TYPE_CHECKING:
    from unbelief.diagnose import EffectTracker, SqueezeTracker

app = typer.Typer(
    no_args_is_help=True, help="Where the probability goes when an answer is unlearned, and why."
)
app.command("g-effect")(g_effect)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output.")]
Device = Annotated[str, typer.Option(help="auto, cpu or a torch device.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")
]


@app.command()
def squeeze(
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Further models.")
    ] = None,
    *,
    original: Annotated[str, typer.Option(help="The model before unlearning.")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models", "--model", help="Models to compare with it: FOLDER or NAME=FOLDER."
        ),
    ] = None,
    forget: Annotated[str, typer.Option(help="The records that were to be forgotten.")],
    output: Annotated[Path, typer.Option(help="Folder that is to appear.")],
    prompts: Annotated[int, typer.Option(help="Forget prompts; 0 takes all.")] = 64,
    source: Annotated[str, typer.Option(help="Candidates by `beam` search or `sample`.")] = "beam",
    candidates: Annotated[int, typer.Option(help="Candidates per prompt.")] = 20,
    temperatures: Annotated[str, typer.Option(help="Of `sample`.")] = "0.7,1.0,1.3",
    rank_by: Annotated[
        str, typer.Option("--rank-by", help="`sum` of log-probabilities, or `mean` per token.")
    ] = "sum",
    per_band: Annotated[
        int, typer.Option("--per-band", help="Candidates followed per band; 0 follows all.")
    ] = 0,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", help="Longest candidate; 0: longest target + 16.")
    ] = 0,
    reuse: Annotated[
        str | None, typer.Option(help="A candidates.parquet to use again.", show_default=False)
    ] = None,
    responses: Annotated[
        str | None, typer.Option(help="JSONL of texts to follow too.", show_default=False)
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", help="k of the belief mass.")] = 20,
    column: Annotated[
        list[str] | None, typer.Option(help="field=column of the forget data.", show_default=False)
    ] = None,
    template: Annotated[str, typer.Option(help="auto, chat or plain.")] = "auto",
    system_prompt: Annotated[
        str | None, typer.Option("--system-prompt", help="Of chats.", show_default=False)
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of the weights.")] = "float32",
    seed: Annotated[int, typer.Option(help="Of the choice of prompts, and of sampling.")] = 0,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Overwrite = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an interrupted run left.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Was probability pushed from the target into other answers? For saved models, in order.

    The same command goes on after an interruption.
    """
    from unbelief.cli.commands import silence
    from unbelief.diagnose import ProposeOptions, SqueezeRequest, run_squeeze

    request = SqueezeRequest(
        original=original,
        models=(*(models or ()), *(more or ())),
        forget=forget,
        prompts=prompts or None,
        per_band=per_band or None,
        propose=ProposeOptions(
            source=choice("source", source, ("beam", "sample")),
            candidates=candidates,
            temperatures=_numbers("temperatures", temperatures),
            rank_by=choice("rank-by", rank_by, ("sum", "mean")),
            max_new_tokens=max_new_tokens or None,
            seed=seed,
        ),
        candidates=reuse,
        responses=responses,
        top_k=top_k,
        columns=columns_of(column),
        template=choice("template", template, ("auto", "chat", "plain")),
        system_prompt=system_prompt,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        seed=seed,
    )
    silence()
    result = run_squeeze(request, output, overwrite=overwrite, restart=restart, progress=not quiet)
    _print_squeeze(result.document, result.output, as_json)


@app.command()
def akg(
    model: Annotated[str, typer.Option(help="A small model: folder or hub id.")],
    forget: Annotated[str, typer.Option(help="Records with prompts.")],
    output: Annotated[Path, typer.Option(help="JSON file that is to appear.")],
    method: Annotated[str, typer.Option(help="See `unbelief methods`.")] = "ga",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value: an option of the method.", show_default=False),
    ] = None,
    record: Annotated[
        str | None, typer.Option(help="Id of the record; the first.", show_default=False)
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option("--learning-rates", help="Of the true steps; by default five that fit."),
    ] = None,
    candidates: Annotated[int, typer.Option(help="Beams whose bands are watched.")] = 10,
    others: Annotated[int, typer.Option(help="Other records that are watched.")] = 3,
    responses: Annotated[
        str | None, typer.Option(help="JSONL of texts to watch too.", show_default=False)
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Also the factors of every token pair.")
    ] = False,
    probes: Annotated[int, typer.Option(help="Random probes for the kernel's norm.")] = 0,
    column: Annotated[
        list[str] | None, typer.Option(help="field=column of the forget data.", show_default=False)
    ] = None,
    template: Annotated[str, typer.Option(help="auto, chat or plain.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of beliefs and probes.")] = 0,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """What does one step on one record do to other answers? Predicted by A K G, and done."""
    from unbelief.cli.commands import silence
    from unbelief.cli.flags import settings
    from unbelief.diagnose import AkgRequest, run_akg
    from unbelief.objectives import build_objective

    request = AkgRequest(
        model=model,
        forget=forget,
        objective=build_objective(method, settings(setting), has_retain=False),
        record=record,
        learning_rates=_numbers("learning-rates", learning_rates) if learning_rates else None,
        candidates=candidates,
        others=others,
        responses=responses,
        pairs=pairs,
        probes=probes,
        columns=columns_of(column),
        template=choice("template", template, ("auto", "chat", "plain")),
        device=device,
        trust_remote_code=trust_remote_code,
        seed=seed,
    )
    silence()
    document = run_akg(request, output, overwrite=overwrite)
    if as_json:
        print(json.dumps({"output": str(output), **document}))
        return
    from unbelief.report.akg import akg_table, error_sentence

    print(f"{akg_table(document).to_text()}\n\n{error_sentence(document)}\n\n{output}")


def tracking(track: str | None, objective: Any) -> list[SqueezeTracker | EffectTracker]:
    """The hooks `unbelief unlearn --track ...` asks for."""
    if track is None:
        return []
    from unbelief.diagnose import EffectTracker, EffectTrackOptions, SqueezeTracker, TrackOptions

    if track.partition(",")[0].strip() == "g-effect":
        return [EffectTracker(objective, EffectTrackOptions.parse(track))]
    return [SqueezeTracker(TrackOptions.parse(track))]


def tracked(hooks: Sequence[SqueezeTracker | EffectTracker], as_json: bool) -> dict[str, Any]:
    """Write what was tracked, and say so."""
    out = {}
    for hook in hooks:
        folder, document = hook.write()
        out["tracked"] = str(folder)
        if not as_json:
            from unbelief.report import g_effect as effects_page
            from unbelief.report import squeeze as squeeze_page

            page: Any = squeeze_page if folder.name == "squeeze" else effects_page
            print(f"  {folder.name}: {page.headline(document)} -> {folder}")
    return out


def _print_squeeze(document: dict[str, Any], output: Path, as_json: bool) -> None:
    from unbelief.report.squeeze import headline, own_line, squeeze_points_table

    if as_json:
        wanted = ("kind", "points", "index", "own_index", "probability_index", "candidates")
        print(json.dumps({"output": str(output), **{name: document[name] for name in wanted}}))
        return
    table = squeeze_points_table(document).to_text()
    print(f"{headline(document)}. {own_line(document)}.\n\n{table}\n\n{output}")


def choice(name: str, value: str, known: tuple[str, ...]) -> Any:
    """A flag's value, refused where it is not one of the known ones."""
    from unbelief.errors import RequestError

    if value not in known:
        raise RequestError(
            f"{value!r} is not one of the choices",
            where=f"--{name}",
            remedy=f"choose one of: {', '.join(known)}",
        )
    return value


def _numbers(name: str, text: str) -> tuple[float, ...]:
    from unbelief.errors import RequestError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(
            f"{text!r} is not a list of numbers", where=f"--{name}", remedy="such as 0.7,1.0,1.3"
        ) from None


def columns_of(given: list[str] | None) -> dict[str, str] | None:
    """The `--column field=column` options as a mapping."""
    from unbelief.errors import RequestError

    out = {}
    for item in given or []:
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            raise RequestError(
                f"{item!r} is not field=column", where="--column", remedy="such as prompt=question"
            )
        out[key] = value
    return out or None
