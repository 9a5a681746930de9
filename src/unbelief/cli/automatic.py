"""`unbelief unlearn --method auto`, and what `unbelief methods` says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unbelief.errors import GuardError, RequestError

NAME = "auto"
SUMMARY = "picks method and strength on your own model, within --budget minutes (methods auto)"


def check_flags(
    method: str, budget: float | None, retrained: str | None, holdout: str | None
) -> None:
    """Refuse the flags of `--method auto` beside another method.

    Raises:
        RequestError: One was given.
    """
    given = {"--budget": budget, "--retrained": retrained, "--holdout": holdout}
    for flag, value in given.items():
        if value is not None and method != NAME:
            raise RequestError(
                f"{flag} has no meaning for --method {method}",
                where=flag,
                remedy="leave it out, or use --method auto",
            )


def unlearn(
    config: Any,
    budget: float | None,
    retrained: str | None,
    holdout: str | None,
    output: Path,
    overwrite: bool,
    restart: bool,
    as_json: bool,
    quiet: bool,
    ledger: Path | None,
    request_id: str | None,
    track: str | None,
) -> None:
    """Search, choose, unlearn, print why.

    Raises:
        RequestError: A flag that makes no sense here.
        GuardError: The result is there, but it is only the nearest (exit code 3).
    """
    _refuse(config, track)
    from unbelief.auto import AutoUnlearner
    from unbelief.auto.options import auto_options, check_not_searched
    from unbelief.ledger import recording
    from unbelief.models.adapters import LoraOptions

    check_not_searched(config.model_fields_set)
    train = {name: getattr(config, name) for name in _training(config)}
    unlearner = AutoUnlearner(
        model=config.model,
        forget=config.forget,
        retain=config.retain,
        options=auto_options(config.options, budget),
        train=_options(train),
        retrained=retrained,
        holdout=holdout,
        lora=None if config.lora is None else LoraOptions.parse(config.lora),
        merge=config.merge,
        columns=config.columns or None,
        template=config.template,
        system_prompt=config.system_prompt,
        end_token=config.end_token,
        max_length=config.max_length,
        dtype=config.dtype,
        device=config.device,
        revision=config.revision,
        trust_remote_code=config.trust_remote_code,
        progress=not quiet,
    )
    with recording(
        ledger, request_id, config.forget, columns=config.columns, method=NAME
    ) as finished:
        result = unlearner.run(output, overwrite=overwrite, restart=restart)
        finished(result.unlearned.provenance)
    _tell(result, as_json)
    if not result.reached:
        raise GuardError(
            "no trial reached the level and kept enough; the nearest one was written",
            where=str(result.unlearned.output),
            remedy="look at the table of trials in unbelief.json; give more minutes, a lower "
            "--set keep, or choose a --method",
        )


def describe() -> str:
    """What `unbelief methods auto` prints."""
    from unbelief.auto.options import AutoOptions
    from unbelief.auto.portfolio import PORTFOLIO

    lines = [f"{NAME}: {SUMMARY}", "", "Portfolio, in the order of the first trials:"]
    width = max(len(e.name) for e in PORTFOLIO)
    lines += [f"  {e.name:<{width}}  {e.source}" for e in PORTFOLIO]
    lines += ["", "Options (--set; the budget has a flag of its own):"]
    for name, one in AutoOptions.model_fields.items():
        lines.append(f"  {name}={one.default}: {one.description}")
    return "\n".join(lines)


def described() -> dict[str, Any]:
    """The same as plain data."""
    from dataclasses import asdict

    from unbelief.auto.options import AutoOptions
    from unbelief.auto.portfolio import PORTFOLIO

    options = {
        name: {"default": one.default, "description": one.description}
        for name, one in AutoOptions.model_fields.items()
    }
    portfolio = [asdict(entry) for entry in PORTFOLIO]
    return {"name": NAME, "summary": SUMMARY, "portfolio": portfolio, "options": options}


def _refuse(config: Any, track: str | None) -> None:
    if config.retain is None:
        from unbelief.auto.workshop import no_retain

        raise no_retain()
    for flag, given in {"--track": track, "--beliefs": config.beliefs}.items():
        if given is not None:
            raise RequestError(
                f"{flag} belongs to one run, and --method auto makes many",
                where=flag,
                remedy=f"leave {flag} out, or name the --method",
            )


def _training(config: Any) -> list[str]:
    """Training fields that were given: the rest keep their defaults."""
    from unbelief.train.options import TrainOptions

    return [name for name in TrainOptions.model_fields if name in config.model_fields_set]


def _options(values: dict[str, Any]) -> Any:
    from unbelief.train.options import TrainOptions

    return TrainOptions(**values)


def _tell(result: Any, as_json: bool) -> None:
    unlearned = result.unlearned
    if as_json:
        summary = {
            "output": str(unlearned.output),
            "method": NAME,
            "reached": result.reached,
            "chosen": result.document["chosen"],
            "level": result.document["level"],
            "report": result.document["report"],
            "search_seconds": result.document["search_seconds"],
            "trials": len(result.document["trials"]),
            "explanation": result.explanation,
            "weights_sha256": unlearned.provenance["output_weights_sha256"],
        }
        print(json.dumps(summary))
        return
    print(f"{NAME}: {unlearned.steps} steps -> {unlearned.output}")
    for line in result.explanation:
        print(f"  {line}")
    print("Trials that were not chosen:")
    for trial in result.document["trials"]:
        if trial["not_chosen"] is not None:
            where = f"{trial['entry']}, learning rate {trial['learning_rate']:g}, weight "
            print(f"  {where}{trial['forget_weight']:g}: {trial['not_chosen']}")
