"""`unbelief study truth` and `reliability`: which metrics can be believed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from unbelief.cli.flags import Json, Quiet, two
from unbelief.errors import RequestError

Output = Annotated[Path, two("output", "JSON file that is to appear.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command()(truth)
    app.command()(reliability)


def truth(
    output: Output,
    *,
    methods: Annotated[
        str | None, typer.Option(help="Names with commas (default: all the lab has words for).")
    ] = None,
    learning_rates: Annotated[
        str, two("learning_rates", "Strengths, with commas.")
    ] = "1e-4,3e-4,1e-3",
    checkpoints: Annotated[str, typer.Option(help="Lengths, as shares of a run.")] = "0.2,0.5,1",
    seeds: Annotated[int, typer.Option(help="Worlds.")] = 2,
    samples: Annotated[int, typer.Option(help="Sampled answers per forget prompt.")] = 8,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder of the work, kept; else OUTPUT.work, which goes at the end."),
    ] = None,
    reuse: Annotated[
        Path | None, typer.Option(help="Analyse the models of an earlier result again.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """In the lab: every metric against the exact masses, over hundreds of models.

    The same command goes on after an interruption.
    """
    from unbelief.cli.commands import silence
    from unbelief.study.metric_studies import reanalyse_truth, study_truth
    from unbelief.study.metric_tables import outcome_table, truth_table
    from unbelief.study.truth_plan import METHODS, TruthConfig, count_models

    silence()
    if reuse is not None:
        found, document = reanalyse_truth(reuse, output, overwrite=overwrite)
    else:
        config = TruthConfig(
            methods=tuple(m.strip() for m in methods.split(",")) if methods else METHODS,
            learning_rates=_numbers("learning-rates", learning_rates),
            checkpoints=_numbers("checkpoints", checkpoints),
            seeds=tuple(range(seeds)),
            samples=samples,
        )
        with _bar(count_models(config), " models", quiet) as tell:
            found, document = study_truth(
                config, output, work=work, overwrite=overwrite, progress=tell
            )
    if as_json:
        short = {name: document[name] for name in ("outcomes", "metrics", "models")}
        print(json.dumps({"output": str(output), **short}))
        return
    print(f"{outcome_table(found).to_text()}\n\n{truth_table(found).to_text()}\n\n{output}")


def reliability(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="FOLDER or NAME=FOLDER.")
    ] = None,
    *,
    output: Output,
    table: Annotated[
        Path | None, typer.Option(help="CSV or JSONL of readings instead of models.")
    ] = None,
    forget: Annotated[str | None, two("forget", "Records that were to be forgotten.")] = None,
    retain: Annotated[str | None, two("retain", "Records that were to stay.")] = None,
    retrained: Annotated[
        str | None, two("retrained", "Model that never saw them: for robustness.")
    ] = None,
    knowing: Annotated[
        list[str] | None,
        typer.Option("--with", help="Model trained with the records: for faithfulness."),
    ] = None,
    ignorant: Annotated[
        list[str] | None, typer.Option("--without", help="Model trained without them, likewise.")
    ] = None,
    attacks: Annotated[
        str | None, two("attacks", "a,b:option=value; see `unbelief attacks`.")
    ] = None,
    metrics: Annotated[str | None, two("metrics", "Names with commas.")] = None,
    limit: Annotated[int | None, two("limit", "Ask only the first so many of both sets.")] = None,
    template: Annotated[str, typer.Option(help="auto, chat or plain.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Of the weights.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu or a torch device.")] = "auto",
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Does a metric keep the order of at least 5 unlearned models when they are attacked?

    The same command goes on after an interruption.
    """
    from unbelief.cli.commands import silence
    from unbelief.study.metric_studies import reliability_of_table, study_reliability
    from unbelief.study.metric_tables import opinion_table, reliability_table

    if table is not None:
        if models:
            raise RequestError(
                "models and --table both say where the readings are from",
                where="--table",
                remedy="give one of them",
            )
        found, opinions, document = reliability_of_table(
            table, output, overwrite=overwrite, seed=seed
        )
    else:
        for name, value in (("forget", forget), ("retain", retain)):
            if value is None:
                raise RequestError(f"--{name} is missing", remedy=f"give --{name}, or --table")
        from unbelief.study.reliability_run import ATTACKS, METRICS, ReliabilityRequest

        request = ReliabilityRequest(
            models=tuple(models or ()),
            knowing=tuple(knowing or ()),
            ignorant=tuple(ignorant or ()),
            retrained=retrained,
            forget=str(forget),
            retain=str(retain),
            attacks=_names(attacks) or ATTACKS,
            metrics=_names(metrics) or METRICS,
            limit=limit,
            template=_template(template),
            dtype=dtype,
            device=device,
            trust_remote_code=trust_remote_code,
            seed=seed,
        )
        silence()
        with _bar(len(request.members()), " models", quiet) as tell:
            found, opinions, document = study_reliability(
                request, output, overwrite=overwrite, progress=tell
            )
    if as_json:
        short = {name: document[name] for name in ("reliability", "second_opinion")}
        print(json.dumps({"output": str(output), **short}))
        return
    tables = (reliability_table(found), opinion_table(opinions))
    print("\n\n".join((*(one.to_text() for one in tables), str(output))))


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _template(text: str) -> Any:
    if text not in ("auto", "chat", "plain"):
        raise RequestError(
            f"there is no template {text!r}", where="--template", remedy="auto, chat or plain"
        )
    return text


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise RequestError(
            f"{text!r} is not a list of numbers", where=f"--{name}", remedy="such as 1e-4,1e-3"
        ) from None


@contextmanager
def _bar(total: int, unit: str, quiet: bool) -> Iterator[Callable[[str, int], None]]:
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, file=sys.stderr, disable=True if quiet else None) as bar:

        def tell(what: str, done: int) -> None:
            bar.set_description(what)
            bar.update(done)

        yield tell
