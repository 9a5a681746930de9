"""What a diagnosis of gradient effects is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbelief.diagnose.effect_meter import Estimator
from unbelief.errors import RequestError
from unbelief.objectives import GA, NLL, Objective
from unbelief.tokens.encode import Template
from unbelief.types import Record

Records = str | Path | Sequence[Record]


@dataclass(frozen=True, kw_only=True)
class EffectRequest:
    """Which models, which data, which objective.

    Attributes:
        models: Folders or hub ids, in order, as `FOLDER` or `NAME=FOLDER`.
        original: The model before unlearning, which objectives with a reference look at; it is
            then measured too, first. None takes the first of `models`.
        forget: Records to forget.
        retain: Records to keep.
        objective: Whose terms are looked at.
        max_forget: Forget records that are looked at, a seeded choice; 0 for all.
        max_retain: Retain records likewise.
        points: Forget records whose own effects are measured, a seeded choice; 0 for none.
        estimator: See `EffectMeter`.
        batch: Likewise.
        rows_per_forward: Memory and time only.
        columns: Data columns, see `read_records`.
        template: See `Encoder`.
        system_prompt: Likewise.
        end_token: Likewise.
        device: `auto`, `cpu` or a torch device.
        trust_remote_code: Run code that comes with a model.
        seed: Of the choice of records, of beliefs and alternatives.
    """

    models: tuple[str, ...]
    original: str | None = None
    forget: Records
    retain: Records
    objective: Objective = field(default_factory=lambda: Objective(GA(), NLL()))
    max_forget: int = 0
    max_retain: int = 0
    points: int = 32
    estimator: Estimator = "exact"
    batch: int = 4
    rows_per_forward: int = 16
    columns: Mapping[str, str] | None = None
    template: Template = "auto"
    system_prompt: str | None = None
    end_token: bool = True
    device: str = "auto"
    trust_remote_code: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        least_of = {
            "max_forget": 0,
            "max_retain": 0,
            "points": 0,
            "batch": 1,
            "rows_per_forward": 1,
        }
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise RequestError(
                    f"{name}={getattr(self, name)}", where=name, remedy=f"{least} or more"
                )

    def settings(self) -> dict[str, Any]:
        """What decides the result, as plain data; no text of records."""
        names = ("max_forget", "max_retain", "points", "batch", "template", "system_prompt",
                 "end_token", "seed")  # fmt: skip
        original = "the first model" if self.original is None else self.original
        return {"original": original, **{name: getattr(self, name) for name in names}}
