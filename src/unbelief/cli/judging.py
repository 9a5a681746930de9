"""`unbelief judge`: an LLM as a judge, and how far judges agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbelief.errors import Inconclusive, RequestError

if TYPE_CHECKING:
    from unbelief.judge.chats import Chat

app = typer.Typer(
    help="An LLM as a judge: naturalness and similarity, 0-5, higher is better unlearning."
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
_JUDGES = "openai:MODEL, local:FOLDER or replay:FILE"


@app.callback(invoke_without_command=True)
def judge(
    context: typer.Context,
    responses: Annotated[
        Path | None, typer.Option(help="Rows with prompt, answer, response[, id, group, label].")
    ] = None,
    judge: Annotated[str | None, typer.Option(help=f"{_JUDGES}.")] = None,
    output: Annotated[Path | None, typer.Option(help="Results file that is to appear.")] = None,
    seed: Annotated[int, typer.Option(help="Of the order and the controls.")] = 0,
    controls: Annotated[int, typer.Option(min=1, max=4, help="Controls of each kind.")] = 2,
    url: Annotated[
        str | None,
        typer.Option(help="Endpoint; beats UNBELIEF_JUDGE_URL. Key: UNBELIEF_JUDGE_KEY."),
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Records may be sent to another machine.")
    ] = False,
    body: Annotated[
        list[str] | None, typer.Option(help="NAME=JSON: a field of each request; null removes it.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at a time.")] = 4,
    timeout: Annotated[float, typer.Option(help="Seconds one attempt may take.")] = 120.0,
    attempts: Annotated[int, typer.Option(min=1, help="Times a question is put at most.")] = 6,
    prices: Annotated[
        str | None, typer.Option(help="IN,OUT per million tokens, for the cost.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Of a local judge.")] = "float32",
    device: Annotated[str, typer.Option(help="Of a local judge.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away answers recorded by an earlier run.")
    ] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Grade responses; control items with known grades decide whether the judge may be believed."""
    if context.invoked_subcommand is not None:
        return
    named = {"--responses": responses, "--judge": judge, "--output": output}
    if absent := [name for name, value in named.items() if value is None]:
        raise RequestError(f"{absent[0]} is missing", remedy="see `unbelief judge --help`")
    assert responses is not None and judge is not None and output is not None
    from unbelief.judge import judge_items, read_items, to_dict
    from unbelief.outputs import atomic_write, check_destination

    check_destination(output, overwrite)
    cost = prices_of(prices, "--prices")
    items = read_items(responses)
    limits = (concurrency, timeout, attempts)
    chat = make_chat(
        judge,
        url=url,
        allow_remote=allow_remote,
        body=body,
        limits=limits,
        dtype=dtype,
        device=device,
    )
    answers = None if judge.startswith("replay:") else output.with_suffix(".answers.jsonl")
    if answers is not None:
        answers.expanduser().parent.mkdir(parents=True, exist_ok=True)
    found = judge_items(
        items,
        chat,
        answers=answers,
        seed=seed,
        controls_per_kind=controls,
        restart=restart,
        progress=not quiet,
    )
    result = to_dict(found, source=responses.name, prices=cost)
    atomic_write(output, json.dumps(result, indent=1, allow_nan=False) + "\n")
    if not found.valid:
        raise Inconclusive(
            f"the judge failed {len(found.misses)} of {len(found.controls)} controls "
            f"({'; '.join(found.misses[:3])})",
            remedy=f"use another judge; the grades in {output} are marked as not valid",
        )
    if all(graded.verdict is None for graded in found.graded):
        raise Inconclusive(
            f"no response was graded ({found.graded[0].unscored})", remedy=f"see {output}"
        )
    print(json.dumps(result) if as_json else _text(result, output))


@app.command()
def agreement(
    raters: Annotated[
        list[Path],
        typer.Argument(help="Results files, or tables with id, naturalness, similarity."),
    ],
    output: Annotated[Path | None, typer.Option(help="JSON file that is to appear.")] = None,
    seed: Annotated[int, typer.Option(help="Of the resampling.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    as_json: Json = False,
) -> None:
    """Weighted kappa of every two raters and Krippendorff's alpha of all."""
    from unbelief.judge.ratings import compare, read_ratings
    from unbelief.outputs import atomic_write, check_destination

    if len(raters) < 2:
        raise RequestError("one rater agrees with nobody", remedy="give two files or more")
    if output is not None:
        check_destination(output, overwrite)
    result = compare([read_ratings(path) for path in raters], seed=seed)
    if output is not None:
        atomic_write(output, json.dumps(result, indent=1, allow_nan=False) + "\n")
    if as_json:
        print(json.dumps(result))
        return
    for scale, its in result["scales"].items():
        print(scale)
        for pair in its["kappa"]:
            print(f"  kappa, {pair['weights']:<9}  {_shown(pair)}  {' / '.join(pair['raters'])}")
        for level, alpha in its["alpha"].items():
            print(f"  alpha, {level:<9}  {_shown(alpha)}")


def make_chat(
    judge: str,
    *,
    url: str | None = None,
    allow_remote: bool = False,
    body: list[str] | None = None,
    limits: tuple[int, float, int] = (4, 120.0, 6),
    dtype: str = "float32",
    device: str = "auto",
) -> Chat:
    """A judge from `openai:MODEL`, `local:FOLDER` or `replay:FILE`.

    Args:
        judge: As above.
        url: Of the endpoint; beats the environment.
        allow_remote: Whether records may leave this machine.
        body: Fields of each request, NAME=JSON.
        limits: Questions at a time, seconds per attempt, attempts.
        dtype: Of a local judge.
        device: Of a local judge.

    Raises:
        RequestError: Another form, or a judge that cannot be had.
    """
    kind, _, name = judge.partition(":")
    if kind == "openai" and name:
        return _endpoint(name, url, allow_remote, body, limits)
    return _chat(kind, name, dtype, device)


def _chat(kind: str, name: str, dtype: str, device: str) -> Chat:
    if kind == "local" and name:
        from transformers.utils import logging

        from unbelief.judge import LocalModel

        logging.disable_progress_bar()
        return LocalModel.load(name, dtype=dtype, device=device)
    if kind == "replay" and name:
        from unbelief.judge import Replay

        return Replay(Path(name).expanduser())
    raise RequestError(
        f"unknown judge {f'{kind}:{name}' if name else kind!r}",
        where="--judge",
        remedy=f"write {_JUDGES}",
    )


def _endpoint(
    model: str,
    url: str | None,
    allow_remote: bool,
    body: list[str] | None,
    limits: tuple[int, float, int],
) -> Chat:
    from unbelief.judge import Endpoint, Retries, from_environment

    address, key = from_environment(url)
    concurrency, timeout, attempts = limits
    return Endpoint(
        model=model,
        url=address,
        key=key,
        body=_body(body or []),
        allow_remote=allow_remote,
        concurrency=concurrency,
        timeout_s=timeout,
        retries=Retries(attempts=attempts),
    )


def _body(given: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for item in given:
        name, _, value = item.partition("=")
        try:
            fields[name.strip()] = json.loads(value)
        except ValueError:
            raise RequestError(
                f"--body {name.strip()} has no JSON value",
                where="--body",
                remedy="for example --body temperature=null --body max_completion_tokens=400",
            ) from None
    if reserved := {"messages", "stream", "n"} & fields.keys():
        raise RequestError(
            f"--body {min(reserved)} is not yours to set", where="--body", remedy="leave it out"
        )
    return fields


def prices_of(text: str | None, flag: str) -> tuple[float, float] | None:
    """Prices per million input and output tokens, from `IN,OUT`.

    Raises:
        RequestError: It is something else.
    """
    if text is None:
        return None
    try:
        given, taken = (float(part) for part in text.split(","))
    except ValueError:
        given = taken = -1.0
    if not (0 <= given < 1e6 and 0 <= taken < 1e6):
        raise RequestError(
            "two prices are expected", where=flag, remedy=f"for example {flag} 0.15,0.60"
        )
    return given, taken


def _text(result: dict[str, Any], output: Path) -> str:
    lines = []
    for label, its in result["scores"].items():
        lines += [f"{label or 'all responses'}:"]
        for scale, estimate in its.items():
            lines += [f"  {scale:<12} {_shown(estimate)}"]
            lines += [f"    {n} unscored: {why}" for why, n in estimate["reasons"].items()]
    usage = result["usage"]
    lines += [
        f"{len(result['controls'])} controls, all passed; {usage['questions']} replies, "
        f"{usage['recorded']} of them from disk; {usage['input_tokens']} + "
        f"{usage['output_tokens']} tokens -> {output}"
    ]
    return "\n".join(lines)


def _shown(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return f"no value ({', '.join(estimate['reasons'])})"
    interval = ""
    if estimate["low"] is not None:
        interval = f" ({estimate['low']:.2f} to {estimate['high']:.2f})"
    return f"{estimate['value']:.2f}{interval}, n = {estimate['n']}"
