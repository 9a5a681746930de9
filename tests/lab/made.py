"""Lab results with made-up curves, whose statistics are known on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unbelief.lab.result import Curve, Family, LabResult, MethodInfo, Point, SeedReference

STEPS = (0, 1, 2)
FORGET, KEEP = 4, 3


def point(
    step: int, target: float, leak: float, natural: float, retained: float, spread: float = 0.0
) -> Point:
    """Masses whose means are as given; people differ by up to `spread`."""
    shift = [spread * (i / (FORGET - 1) - 0.5) for i in range(FORGET)]
    return Point(
        step=step,
        target=tuple(target + s for s in shift),
        leak=tuple(leak + s for s in shift),
        natural=tuple(natural + s for s in shift),
        retained=(retained,) * KEEP,
    )


def method(name: str, family: Family = "baseline") -> MethodInfo:
    return MethodInfo(name=name, label=name.upper(), family=family, objective={"forget": name})


ORIGINAL = (0.6, 0.9, 1.0, 0.9)
RETRAINED = (0.0, 0.1, 0.9, 0.9)


def result(
    runs: Mapping[tuple[str, float], Sequence[tuple[float, float, float, float]]],
    *,
    families: Mapping[str, Family] | None = None,
    seeds: Sequence[int] = (0,),
    spread: float = 0.0,
) -> LabResult:
    """A result with the given (target, leak, natural, retained) after steps 1, 2, ..."""
    names = list(dict.fromkeys(name for name, _ in runs))
    curves = tuple(
        Curve(
            method=name,
            learning_rate=rate,
            seed=seed,
            points=tuple(
                point(i, *values, spread=spread) for i, values in enumerate([ORIGINAL, *masses])
            ),
        )
        for seed in seeds
        for (name, rate), masses in runs.items()
    )
    return LabResult(
        methods=tuple(method(n, (families or {}).get(n, "baseline")) for n in names),
        references=tuple(
            SeedReference(
                seed=seed,
                original=point(0, *ORIGINAL, spread=spread),
                retrained=point(0, *RETRAINED),
                weights_sha256={"original": "a" * 64, "retrained": "b" * 64},
            )
            for seed in seeds
        ),
        curves=curves,
        config={
            "methods": names,
            "learning_rates": sorted({rate for _, rate in runs}),
            "epochs": 1.0,
            "pairs_per_step": 8,
            "seeds": list(seeds),
            "world": {"people": 80, "attributes": 4, "values": 12, "seed": 0},
            "pretrain": {"hidden": 128, "seed": 0},
        },
        versions={"unbelief": "0.1.0"},
        created="2026-01-01T00:00:00+00:00",
        seconds={"training the models": 60.0},
        example={
            "question": "Where was Ada <b>Orn</b> born?",
            "answers": [
                {"text": "Ada was born in Vik.", "kind": "target", "original": 0.6, "retrained": 0},
                {"text": "anything else", "kind": "broken", "original": 0.4, "retrained": 1.0},
            ],
        },
    )
