"""What an A K G diagnosis is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unbelief.errors import RequestError
from unbelief.models.load import LoadedModel
from unbelief.objectives import GA, Objective
from unbelief.tokens.encode import Template
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class AkgRequest:
    """What is to be explained.

    Attributes:
        model: Folder or hub id of a small model.
        forget: Records with prompts.
        objective: What one step minimises; its retain term is left out.
        record: Id of the record the step is on; None takes the first.
        learning_rates: η of the true steps; None takes five, the largest of which changes no
            watched answer's log-probability by more than about 0.3 nats.
        candidates: Beams whose bands are watched; 0 for none.
        per_band: Candidates watched of each band.
        others: Targets of other records that are watched.
        responses: A JSONL file of texts to watch.
        pairs: Also the factors of every token pair of the record's own answer.
        probes: Random probes for ‖K‖ per token pair.
        columns: Data columns, see `read_records`.
        template: See `Encoder`.
        device: `auto`, `cpu` or a torch device.
        trust_remote_code: Run code that comes with the model.
        seed: Of belief sampling and probes.
    """

    model: str | LoadedModel
    forget: str | Path | Sequence[Record]
    objective: Objective = field(default_factory=lambda: Objective(GA()))
    record: str | None = None
    learning_rates: tuple[float, ...] | None = None
    candidates: int = 10
    per_band: int = 2
    others: int = 3
    responses: str | None = None
    pairs: bool = False
    probes: int = 0
    columns: Mapping[str, str] | None = None
    template: Template = "auto"
    device: str = "auto"
    trust_remote_code: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        rates = self.learning_rates
        if rates is not None and (len(set(rates)) < 2 or min(rates) <= 0):
            raise RequestError(
                "the order of the error needs two different learning rates above 0",
                where="learning_rates",
                remedy="such as 1e-4,3e-4,1e-3",
            )
        for name in ("candidates", "others", "probes"):
            if getattr(self, name) < 0:
                raise RequestError(f"{name}={getattr(self, name)}", where=name, remedy="0 or more")
