"""What an evaluation is asked to do. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from unbelief.errors import RequestError
from unbelief.suites.base import Choices, Source

if TYPE_CHECKING:
    from unbelief.models.load import LoadedModel

TEMPLATES = ("auto", "chat", "plain", "llama2-chat", "base-model")
"""How prompts are put. The last two are OpenUnlearning's texts around questions, for models without
a chat template, and exist under its convention only."""
Template = Literal["auto", "chat", "plain", "llama2-chat", "base-model"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What to measure on which model, and how to score it.

    Attributes:
        model: Folder, hub id, adapter folder or a loaded model.
        suite: `tofu`, `muse`, `wmdp` or `own`; see `unbelief suites`.
        data: Folder or hub id of a benchmark.
        split: Which part of it (TOFU: forget01, forget05, forget10).
        forget: For the suite `own`: records to forget, a file, folder or hub id.
        retain: Records to keep, likewise.
        holdout: Records no model was trained on, likewise.
        columns: Field to data column, where names differ.
        limit: Ask only the first so many items of every set.
        convention: Whose definitions; see `unbelief metrics --conventions`.
        metrics: Names of lines or metrics; empty for everything that is not on request.
        samples: Answers per forget prompt for the leak rate.
        temperature: Of those answers.
        template: Chat template, plain text, or a convention's tags.
        system_prompt: System message of chat prompts.
        date_string: Passed to the chat template, under `open-unlearning`.
        end_token: Whether the end token belongs to the answer.
        max_length: Longest prompt plus answer, in tokens (default: the model's own limit).
        retrained: Model that never saw the forget data; it is evaluated in the same way first.
        reference: Results of such a model instead: a file of `unbelief evaluate`, or
            OpenUnlearning's `TOFU_EVAL.json`.
        original: The model before unlearning, for what is judged against it.
        fluency_model: Folder or hub id of the gibberish classifier.
        dtype: Of the weights.
        device: `auto`, `cpu` or a torch device.
        revision: Commit of a hub model.
        trust_remote_code: Run code that comes with the model.
    """

    model: str | Path | LoadedModel
    suite: str
    data: str | None = None
    split: str | None = None
    forget: str | None = None
    retain: str | None = None
    holdout: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    convention: str = "unbelief"
    metrics: tuple[str, ...] = ()
    samples: int = 4
    temperature: float = 1.0
    template: Template = "auto"
    system_prompt: str | None = None
    date_string: str | None = None
    end_token: bool = True
    max_length: int | None = None
    retrained: str | Path | None = None
    reference: str | Path | None = None
    original: str | Path | None = None
    fluency_model: str | None = None
    dtype: str = "float32"
    device: str = "auto"
    revision: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.retrained is not None and self.reference is not None:
            raise RequestError(
                "--retrained and --reference both name the retrained model",
                where="--reference",
                remedy="give the model, or its results",
            )
        if self.template not in TEMPLATES:
            raise RequestError(
                f"there is no template {self.template!r}",
                where="--template",
                remedy=f"one of {', '.join(TEMPLATES)}",
            )
        if self.samples < 1 or not 0 <= self.temperature < float("inf"):
            name = "samples" if self.samples < 1 else "temperature"
            raise RequestError(
                f"--{name} is out of range",
                where=f"--{name}",
                remedy="give 1 or more samples, and a temperature of 0 or above",
            )

    @property
    def source(self) -> Source:
        """Where the records are."""
        return Source(
            data=self.data,
            split=self.split,
            forget=self.forget,
            retain=self.retain,
            holdout=self.holdout,
            columns=self.columns,
            limit=self.limit,
        )

    @property
    def choices(self) -> Choices:
        """What was chosen about the lines."""
        return Choices(
            convention=self.convention, samples=self.samples, temperature=self.temperature
        )
