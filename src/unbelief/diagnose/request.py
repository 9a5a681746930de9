"""What a squeeze diagnosis of several models is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unbelief.diagnose.candidates import ProposeOptions
from unbelief.errors import RequestError
from unbelief.models.source import check_model_folder, local_folder
from unbelief.tokens.encode import Template
from unbelief.types import Record


@dataclass(frozen=True, kw_only=True)
class SqueezeRequest:
    """What is to be compared, and how.

    Attributes:
        original: The model before unlearning: folder or hub id. Candidates are its own.
        models: Models to compare with it, in order: `FOLDER` or `LABEL=FOLDER`.
        forget: Records that were to be forgotten, with prompts.
        prompts: How many of them, a seeded choice; None takes all.
        per_band: Candidates followed of each band and prompt; None follows all.
        propose: How candidates are made.
        candidates: A file of candidates to use again; its records are then asked about.
        responses: A JSONL file of texts to follow.
        top_k: k of the belief mass.
        columns: Data columns, see `read_records`.
        template: See `Encoder`, likewise `system_prompt` and `end_token`.
        system_prompt: See `template`.
        end_token: See `template`.
        dtype: Of the weights.
        device: `auto`, `cpu` or a torch device.
        trust_remote_code: Run code that comes with a model.
        seed: Of the choice of prompts.
    """

    original: str
    models: tuple[str, ...]
    forget: str | Path | Sequence[Record]
    prompts: int | None = 64
    per_band: int | None = None
    propose: ProposeOptions = field(default_factory=ProposeOptions)
    candidates: str | None = None
    responses: str | None = None
    top_k: int = 20
    columns: Mapping[str, str] | None = None
    template: Template = "auto"
    system_prompt: str | None = None
    end_token: bool = True
    dtype: str = "float32"
    device: str = "auto"
    trust_remote_code: bool = False
    seed: int = 0

    def settings(self) -> dict[str, Any]:
        """What decides the result, as plain data; no text of records."""
        own = {
            name: getattr(self, name)
            for name in ("original", "prompts", "per_band", "top_k", "template", "system_prompt",
                         "end_token", "dtype", "seed")
        }  # fmt: skip
        given = {name: getattr(self, name) is not None for name in ("candidates", "responses")}
        return {**own, **given, "models": list(self.models), "propose": asdict(self.propose)}


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (folder / "adapter_config.json").is_file()


def labelled(models: Sequence[str]) -> list[tuple[str, str]]:
    """(label, source) of each model; folders are looked at before anything is done.

    Raises:
        RequestError: There are none, one is no model folder, or two have the same label.
    """
    if not models:
        raise RequestError(
            "there is no model to compare with the original",
            where="--models",
            remedy="name one or more folders or hub ids",
        )
    out: list[tuple[str, str]] = []
    for given in models:
        label, equals, source = given.partition("=")
        if not equals or not label or Path(given).is_dir():
            label, source = Path(given).name or given, given
        folder = local_folder(source)
        if folder is not None and not is_adapter(folder):
            check_model_folder(folder)
        if any(label == other for other, _ in out) or label == "original":
            raise RequestError(
                f"two models are called {label!r}",
                where="--models",
                remedy=f"give it another name: --models NAME={source}",
            )
        out.append((label, source))
    return out
