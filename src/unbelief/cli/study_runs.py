"""`unbelief study tune`, `run` and `table`: methods at an equal search budget."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbelief.cli.flags import Json, Quiet, two
from unbelief.errors import RequestError

if TYPE_CHECKING:
    from unbelief.study.testbed import Testbed

Bed = Annotated[str, typer.Option("--testbed", help="lab, tofu or own.")]
Cache = Annotated[Path, typer.Option("--cache", help="lab: folder of trained models.")]
Steps = Annotated[
    int | None, typer.Option("--steps", help="Optimiser steps of every run.", show_default=False)
]
Model = Annotated[str | None, two("model", "tofu, own: the model that knows the records.")]
Data = Annotated[str | None, two("data", "tofu: folder or hub id of TOFU.")]
Forget = Annotated[str | None, two("forget", "own: records to forget.")]
Retain = Annotated[str | None, two("retain", "own: records to keep.")]
Retrained = Annotated[
    list[str] | None,
    typer.Option(
        "--retrained", help="[RATIO=]MODEL that never saw the forget records.", show_default=False
    ),
]
Limit = Annotated[int, typer.Option("--limit", help="tofu, own: items measured per set.")]
UtilityOn = Annotated[
    str,
    typer.Option(
        "--utility-on",
        help="tofu: sets of the column Util; name only what the model knew before.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or a torch device.")]
Refusals = Annotated[
    bool,
    typer.Option("--refusals", help="lab: models that have tokens for refusals (other models)."),
]
Methods = Annotated[str, typer.Option("--methods", help="Names with commas, or `all`.")]
Output = Annotated[Path, two("output", "Folder of the study.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the group."""
    app.command()(tune)
    app.command()(run)
    app.command()(table)


def tune(
    output: Output = Path("study"),
    testbed: Bed = "lab",
    methods: Methods = "all",
    trials: Annotated[int, typer.Option(help="Budget of each method.")] = 16,
    aim: Annotated[
        str, typer.Option(help="forgetting, naturalness, utility, distance; several with commas.")
    ] = "distance",
    rule: Annotated[
        str, typer.Option(help="How one trial is chosen: smallest `sum` or `worst` cost.")
    ] = "sum",
    pruner: Annotated[str, typer.Option(help="median, hyperband or none.")] = "median",
    measurements: Annotated[int, typer.Option(help="How often a run is measured.")] = 4,
    ratio: Annotated[str | None, typer.Option(help="Forget ratio.", show_default=False)] = None,
    seeds: Annotated[int, typer.Option(help="Validation cases per trial.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the search.")] = 0,
    storage: Annotated[
        str | None,
        typer.Option(
            help="*.db, *.log or a URL such as postgresql://...: several processes may share it "
            "(default: search.db in the output).",
            show_default=False,
        ),
    ] = None,
    cache: Cache = Path("lab-models"),
    steps: Steps = None,
    model: Model = None,
    data: Data = None,
    forget: Forget = None,
    retain: Retain = None,
    retrained: Retrained = None,
    limit: Limit = 64,
    device: Device = "auto",
    refusals: Refusals = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search settings for each method, all with the same number of trials and steps.

    The same command goes on after an interruption, and may run many times at once: on one storage
    the processes share one budget. The last one writes `chosen.json`.
    """
    from unbelief.cli.commands import silence
    from unbelief.study import studying

    silence()
    bed = _testbed(
        testbed, cache, steps, model, data, forget, retain, retrained, limit, device, refusals
    )
    request = studying.tune_request(
        bed, methods, trials, aim, rule, pruner, measurements, ratio, seeds, seed
    )
    with _shown(quiet) as tell:
        content, written = studying.tune(request, bed, output, storage, tell)
    if as_json:
        chosen = {m: e["chosen"] for m, e in content["methods"].items()}
        said = {"output": None if written is None else str(written), "chosen": chosen}
        print(json.dumps({**said, "unsuitable": content["unsuitable"],
                          "unfinished": content["unfinished"]}))  # fmt: skip
        return
    print(studying.search_table(content))
    if written is None:
        print(f"Other processes are still at {', '.join(content['unfinished'])}; the last of them "
              "writes the choice.")  # fmt: skip
    else:
        print(f"-> {written}")


def run(
    output: Output = Path("study/runs"),
    chosen: Annotated[Path, typer.Option(help="The chosen.json of `tune`.")] = Path("study"),
    testbed: Bed = "lab",
    methods: Methods = "all",
    seeds: Annotated[int, typer.Option(help="Test cases.")] = 5,
    first_seed: Annotated[int, typer.Option("--first-seed", help="Of the test cases.")] = 0,
    ratios: Annotated[
        str | None, typer.Option(help="Forget ratios with commas.", show_default=False)
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help="METHOD:option=value: the chosen settings with options changed, beside the rest.",
            show_default=False,
        ),
    ] = None,
    cache: Cache = Path("lab-models"),
    steps: Steps = None,
    model: Model = None,
    data: Data = None,
    forget: Forget = None,
    retain: Retain = None,
    retrained: Retrained = None,
    limit: Limit = 64,
    utility_on: UtilityOn = "retain,real_authors,world_facts",
    device: Device = "auto",
    refusals: Refusals = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the chosen settings on test cases the search never saw; one result file each.

    What is done is not done again.
    """
    from unbelief.cli.commands import silence
    from unbelief.study import studying

    silence()
    bed = _testbed(
        testbed, cache, steps, model, data, forget, retain, retrained, limit, device, refusals,
        chosen, tuple(name.strip() for name in utility_on.split(",") if name.strip()),
    )  # fmt: skip
    numbers = range(first_seed, first_seed + seeds)
    with _shown(quiet) as tell:
        found = studying.run(bed, chosen, methods, numbers, ratios, variant or (), output, tell)
    if as_json:
        print(json.dumps({"output": str(output), **found}))
        return
    for what, files in found.items():
        if files:
            print(f"{what}: {len(files)}")
    print(f"-> {output}")


def table(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `run` filled, or files.")],
    output: Annotated[
        Path | None, two("output", "File that is to appear: .md, .csv, .tex, .json or .txt.")
    ] = None,
    chosen: Annotated[
        Path | None, typer.Option(help="The chosen.json: adds what the search spent.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare",
            help="METHOD:METHOD, or `none`; by default the questions of the study.",
            show_default=False,
        ),
    ] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option("--quantity", help="What is compared (distance).", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Json = False,
) -> None:
    """Means with intervals, paired comparisons corrected for their number, costs."""
    from unbelief.study import studying

    content, text, written = studying.table(
        runs, output, chosen, _pairs(compare), quantity or ["distance"], overwrite
    )
    if as_json:
        print(json.dumps(content))
        return
    print(text if written is None else f"-> {written}")


def _pairs(given: list[str] | None) -> list[tuple[str, str]] | None:
    if given is None:
        return None
    if given == ["none"]:
        return []
    out = []
    for item in given:
        one, colon, other = item.partition(":")
        if not (one and colon and other):
            raise RequestError(
                f"{item!r} is not METHOD:METHOD",
                where="--compare",
                remedy="for example --compare bs-s:npo",
            )
        out.append((one, other))
    return out


def _testbed(
    name: str,
    cache: Path,
    steps: int | None,
    model: str | None,
    data: str | None,
    forget: str | None,
    retain: str | None,
    retrained: list[str] | None,
    limit: int,
    device: str,
    refusals: bool,
    chosen: Path | None = None,
    utility_on: tuple[str, ...] = (),
) -> Testbed:
    from unbelief.study.beds import BedRequest, open_testbed

    return open_testbed(
        BedRequest(
            name=name,
            cache=cache,
            steps=steps,
            model=model,
            data=data,
            forget=forget,
            retain=retain,
            retrained=tuple(retrained or ()),
            limit=limit,
            device=device,
            refusals=refusals,
            like=chosen,
            utility_on=utility_on,
        )
    )


@contextmanager
def _shown(quiet: bool) -> Iterator[Any]:
    """Say how far it is, where a person is watching."""
    watching = not quiet and sys.stderr.isatty()

    def tell(what: str, done: int, of: int) -> None:
        if watching:
            print(f"\r\033[K{what}: {done} of {of}", end="", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if watching:
            print(file=sys.stderr)
