"""What a calibration is asked for. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from unbelief.errors import RequestError

_PLACES = (
    "model",
    "original",
    "retrained",
    "forget",
    "retain",
    "forget_test",
    "retain_test",
)


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """Two models, the records that tell them apart, and how both are asked.

    Attributes:
        model: The unlearned model, from anywhere: folder, hub id or adapter folder.
        original: The model before unlearning.
        forget: Records that were to be forgotten: file, folder or hub id.
        retain: Records that were to stay.
        retain_test: Retain records for the report; with it `retain` serves the search as a whole.
        search_share: Share of the authors, documents or records that serve the search, where test
            records are not given; the others are for the report.
        convention: Whose definitions of the scores, see `unbelief.scores.conventions`.
        columns: Field to data column, where names differ.
        limit: Take only the first so many records of every file.
        template: `auto`, `chat` or `plain`.
        system_prompt: System message of chat prompts.
        end_token: Whether the end token belongs to the answer.
        max_length: Longest prompt plus answer, in tokens.
        dtype: Of the weights.
        device: `auto`, `cpu` or a torch device.
        seed: Of the split, the attacks and the resampling.
        trust_remote_code: Run code that comes with a model.
    """

    model: str
    original: str
    forget: str
    retain: str
    retain_test: str | None = None
    search_share: float = 0.5
    convention: str = "uwc"
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    template: Literal["auto", "chat", "plain"] = "auto"
    system_prompt: str | None = None
    end_token: bool = True
    max_length: int | None = None
    dtype: str = "float32"
    device: str = "auto"
    seed: int = 0
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.search_share < 1:
            raise RequestError(
                f"--search-share {self.search_share} leaves nothing to one side",
                where="--search-share",
                remedy="a number between 0 and 1, such as 0.5",
            )
        if self.limit is not None and self.limit < 2:
            raise RequestError("--limit is too small to split", where="--limit", remedy="2 or more")
        ours, theirs = (Path(p).expanduser().resolve() for p in (self.model, self.original))
        if ours == theirs and ours.exists():
            raise RequestError(
                "--model and --original are the same folder",
                where="--model",
                remedy="name the unlearned model, and the one before unlearning",
            )

    def settings(self) -> dict[str, Any]:
        """Everything that was asked, without what tells of the machine it was asked on."""
        values = asdict(self)
        for name in _PLACES:
            if values.get(name) is not None:
                values[name] = Path(values[name]).name or values[name]
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain


@dataclass(frozen=True, kw_only=True)
class CalibrateRequest(PairRequest):
    """Two models, and how much of the original's retain score is to be kept.

    Attributes:
        score: Metric on the retain records; higher must mean that more is kept.
        keep: τ, the share of the original's score that is kept at least.
        grid: Step of the grid over α.
        width: The bisection ends when its interval is this narrow.
    """

    score: str = "extraction_strength"
    keep: float = 0.95
    grid: float = 0.05
    width: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.keep <= 1:
            raise RequestError(
                f"--keep {self.keep} is not a share", where="--keep", remedy="for example 0.95"
            )
        if not 0 < self.grid <= 1 or abs(1 / self.grid - round(1 / self.grid)) > 1e-6:
            raise RequestError(
                f"--grid {self.grid} does not divide 1 into equal steps",
                where="--grid",
                remedy="for example 0.05 or 0.1",
            )
        if not 0 < self.width <= 1:
            raise RequestError(
                f"--width {self.width} is out of range", where="--width", remedy="such as 0.005"
            )
