"""Where copies of the data may be left after a model has forgotten it.

The list is for people: nothing here deletes anything. What can be seen from this machine is looked
up; everything else is named, since a list that forgets a place is worse than none.
"""

from __future__ import annotations

import os
from pathlib import Path

from unbelief.report.audit_document import ChecklistItem

_PLACES = (
    ("raw data", "delete the records from every copy of the training data, and from its backups"),
    ("data-set caches", "delete Arrow and tokenised copies of the data"),
    ("earlier checkpoints and optimizer states", "delete them, or keep them under the same rules"),
    ("the original model", "whoever has it can undo everything: withdraw it where it runs"),
    ("adapters", "beside unchanged base weights they only suppress: merge them, or say so"),
    (
        "quantised and converted exports",
        "make them again from the new weights and audit them",
    ),
    ("retrieval indices and prompt caches", "remove the records there too"),
    ("logs and experiment trackers", "search them for texts of the records"),
    ("sampled files", "belief banks and measurements hold what the model said about the records"),
    ("judge providers", "responses sent to an external judge are copies under its terms"),
    ("backups", "let them expire on schedule, and never restore the original model from them"),
    ("downstream models", "models trained or distilled from the original: tell who has them"),
)


def checklist(beside: tuple[Path, ...] = ()) -> tuple[ChecklistItem, ...]:
    """All places, with what was found of them from here.

    Args:
        beside: Folders of the audited models and their runs, looked at for left-over files.
    """
    found = {
        "data-set caches": _existing(_dataset_cache()),
        "sampled files": _existing(*(f for folder in beside for f in _samples(folder))),
        "earlier checkpoints and optimizer states": _existing(
            *(f for folder in beside for f in _checkpoints(folder))
        ),
        "adapters": _existing(*(f / "adapter_model.safetensors" for f in beside)),
    }
    return tuple(
        ChecklistItem(place=place, what_to_do=what, found=found.get(place, ""))
        for place, what in _PLACES
    )


def _dataset_cache() -> Path:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")).expanduser()


def _samples(folder: Path) -> list[Path]:
    around = [folder, folder.with_name(folder.name + ".run")]
    names = ("beliefs*.parquet", "*.measurements")
    return [f for place in around if place.is_dir() for n in names for f in place.glob(n)]


def _checkpoints(folder: Path) -> list[Path]:
    around = [folder, folder.with_name(folder.name + ".run")]
    return [f for place in around if place.is_dir() for f in place.glob("**/checkpoint-*")][:20]


def _existing(*paths: Path) -> str:
    """Names only: reports travel, and paths tell of the machine they were made on."""
    there = sorted({p.name for p in paths if p.exists()})
    return f"found: {', '.join(there)}" if there else ""
