"""`unbelief vision`: forgetting classes of images when request, model and labels disagree."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from unbelief.cli.flags import Json, Quiet, settings
from unbelief.errors import RequestError

app = typer.Typer(
    no_args_is_help=True,
    help="Image classifiers: label-domain mismatch, TARF and its baselines (extra: vision).",
)


@app.command()
def run(
    output: Annotated[Path, typer.Option(help="Folder that is to appear.")],
    data: Annotated[
        str, typer.Option(help="digits, cifar10, cifar100, mnist or fashion-mnist.")
    ] = "digits",
    folder: Annotated[
        Path | None, typer.Option(help="Where its files are; digits need none.", show_default=False)
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(help="Superclasses; digits: pairs, loops, odd-even.", show_default=False),
    ] = None,
    relation: Annotated[
        list[str] | None,
        typer.Option(
            help="all-matched, model-, target- or data-mismatch; all.", show_default=False
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Names with commas between; all.", show_default=False)
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="method.option=value, such as tarf.k=0.1.", show_default=False),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many; intervals need several.")] = 5,
    seed: Annotated[int, typer.Option(help="The first.")] = 0,
    model: Annotated[
        str | None,
        typer.Option(help="small-cnn, resnet-18 or wide-resnet-50.", show_default=False),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Of training from scratch.", show_default=False)
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(
            help="Of training from scratch; more than 0 keeps models from being certain.",
            show_default=False,
        ),
    ] = None,
    oracle: Annotated[
        bool,
        typer.Option("--oracle/--no-oracle", help="Also hand over the whole target."),
    ] = True,
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core.")] = 0,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an interrupted run left.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Every method in every relation on every seed, beside the retrained model.

    The same command goes on after an interruption.
    """
    from unbelief.vision.config import VisionConfig
    from unbelief.vision.run import run_vision
    from unbelief.vision.scenario import RELATIONS
    from unbelief.vision.tables import vision_text

    if seeds < 1 or workers < 0:
        raise RequestError(
            f"{'--seeds' if seeds < 1 else '--workers'} is too small",
            where="--seeds" if seeds < 1 else "--workers",
            remedy="take at least one seed; 0 workers means one per core",
        )
    given: Any = {"relations": tuple(relation) if relation else RELATIONS, "model": model}
    config = VisionConfig(
        data=data,
        folder=folder,
        scheme=scheme,
        methods=tuple(m.strip() for m in methods.split(",")) if methods else (),
        options=_options(setting),
        seeds=tuple(range(seed, seed + seeds)),
        epochs=epochs,
        label_smoothing=label_smoothing,
        oracle=oracle,
        device=device,
        **given,
    )
    document = run_vision(
        config,
        output,
        workers=workers or os.cpu_count() or 1,
        overwrite=overwrite,
        restart=restart,
        progress=not quiet,
    )
    if as_json:
        print(json.dumps({"output": str(output), "rows": document["rows"]}))
        return
    print(f"{vision_text(document)}\n\n{output}")


@app.command()
def table(
    run: Annotated[Path, typer.Argument(help="A folder `unbelief vision run` made.")],
    form: Annotated[str, typer.Option("--format", help="text, markdown or csv.")] = "text",
    output: Annotated[
        Path | None, typer.Option(help="File that is to appear.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
) -> None:
    """The tables of a study, without any model."""
    from unbelief.outputs import atomic_write, check_destination
    from unbelief.vision.tables import (
        FORMATS,
        read_document,
        vision_csv,
        vision_markdown,
        vision_text,
    )

    makers = dict(zip(FORMATS, (vision_text, vision_markdown, vision_csv), strict=True))
    if form not in makers:
        raise RequestError(
            f"{form!r} is not one of the choices",
            where="--format",
            remedy=f"choose one of: {', '.join(makers)}",
        )
    made = makers[form](read_document(run))
    if output is None:
        print(made.rstrip("\n"))
        return
    print(atomic_write(check_destination(output, overwrite), made.rstrip("\n") + "\n"))


def _options(given: list[str] | None) -> dict[str, dict[str, Any]]:
    """`tarf.k=0.1` as {"tarf": {"k": "0.1"}}."""
    out: dict[str, dict[str, Any]] = {}
    for name, value in settings(given).items():
        method, dot, option = name.partition(".")
        if not dot or not method or not option:
            raise RequestError(
                f"--set {name}={value} names no method",
                where="--set",
                remedy="write method.option=value, such as tarf.k=0.1",
            )
        out.setdefault(method, {})[option] = value
    return out
