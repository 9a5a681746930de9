"""What an audit is asked to do. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from unbelief.audit.attacks import STANDARD
from unbelief.audit.gates import Rule
from unbelief.errors import RequestError
from unbelief.suites.base import Source


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """The models, the records and the attacks of an audit.

    Attributes:
        model: The unlearned model, from anywhere: folder, hub id or adapter folder.
        original: The model before unlearning.
        retrained: One that never saw the forget data: the yardstick.
        forget: Records that were to be forgotten: file, folder or hub id.
        retain: Records that were to stay.
        holdout: Records no model was trained on, for membership inference.
        attacks: Each `NAME` or `NAME:option=value`, see `audit.attacks`.
        gates: Bounds fixed beforehand.
        seeds: How many seeds: so many times `samples` answers per prompt, and every attack that
            draws anything is made with so many seeds.
        samples: Answers per prompt and seed for the leak rate.
        temperature: Of those answers.
        columns: Field to data column, where names differ.
        limit: Ask only the first so many records of every set.
        request_id: Pseudonym of the deletion request.
        squeeze: Results of squeeze diagnoses whose curves belong to the report.
        audit_again_by: Day after which the audit is out of date, `YYYY-MM-DD`.
        exact: The unlearned model was retrained without the data, as its owner states.
        template: `auto`, `chat` or `plain`.
        system_prompt: System message of chat prompts.
        end_token: Whether the end token belongs to the answer.
        max_length: Longest prompt plus answer, in tokens.
        dtype: Of the weights.
        device: `auto`, `cpu` or a torch device.
        seed: Of sampling, attacks and resampling.
        trust_remote_code: Run code that comes with a model.
    """

    model: str
    original: str
    retrained: str | None = None
    forget: str
    retain: str | None = None
    holdout: str | None = None
    attacks: tuple[str, ...] = STANDARD
    gates: tuple[Rule, ...] = ()
    seeds: int = 1
    samples: int = 8
    temperature: float = 1.0
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    request_id: str | None = None
    squeeze: tuple[str, ...] = ()
    audit_again_by: str | None = None
    exact: bool = False
    template: Literal["auto", "chat", "plain"] = "auto"
    system_prompt: str | None = None
    end_token: bool = True
    max_length: int | None = None
    dtype: str = "float32"
    device: str = "auto"
    seed: int = 0
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise RequestError(
                f"--seeds is {self.seeds}", where="--seeds", remedy="give 1 or more; 3 is usual"
            )
        if self.audit_again_by is not None and not _is_day(self.audit_again_by):
            raise RequestError(
                f"{self.audit_again_by!r} is no day",
                where="--audit-again-by",
                remedy="write YYYY-MM-DD",
            )
        if self.samples < 1 or not 0 < self.temperature < float("inf"):
            name = "samples" if self.samples < 1 else "temperature"
            raise RequestError(
                f"--{name} is out of range",
                where=f"--{name}",
                remedy="give 1 or more samples, and a temperature above 0",
            )
        places = {"--model": self.model, "--original": self.original, "--retrained": self.retrained}
        named = [(flag, Path(p).expanduser().resolve()) for flag, p in places.items() if p]
        for i, (flag, place) in enumerate(named):
            for other, same in named[:i]:
                if place == same and place.exists():
                    raise RequestError(
                        f"{other} and {flag} are the same folder",
                        where=flag,
                        remedy="name the unlearned model, the one before, and the retrained one",
                    )

    @property
    def source(self) -> Source:
        """Where the records are."""
        return Source(
            forget=self.forget,
            retain=self.retain,
            holdout=self.holdout,
            columns=self.columns,
            limit=self.limit,
        )


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
