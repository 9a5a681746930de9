"""Squeeze diagnoses that belong into an audit: named, or left beside the model by its own run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbelief.audit.request import AuditRequest
from unbelief.errors import RequestError
from unbelief.hashing import weights_sha256
from unbelief.report.reading import read_squeeze
from unbelief.report.squeeze import check_squeeze

TRACKED = Path("squeeze") / "squeeze.json"
"""Where a tracked run leaves its curves, in the folder `MODEL.run`."""


def squeeze_of(request: AuditRequest) -> tuple[Mapping[str, Any], ...]:
    """The diagnoses whose curves the report shows.

    Without a name it is the one that the unlearned model's own run tracked, if that began with the
    audit's original model.

    Raises:
        RequestError: A named one cannot be read, or is of another original model.
    """
    original = _digest(request.original)
    if request.squeeze:
        found = tuple(read_squeeze(source) for source in request.squeeze)
        for source, document in zip(request.squeeze, found, strict=True):
            check_squeeze(document)
            theirs = document["candidates"]["model_sha256"]
            if original is not None and theirs != original:
                raise RequestError(
                    f"this squeeze diagnosis is of another original model ({theirs[:12]}, "
                    f"the audit\u2019s is {original[:12]})",
                    where=source,
                    remedy="leave it out, or name the original model it was made with",
                )
        return found
    beside = Path(request.model).with_name(Path(request.model).name + ".run") / TRACKED
    if original is None or not beside.is_file():
        return ()
    document = read_squeeze(beside)
    return (document,) if document["candidates"]["model_sha256"] == original else ()


def _digest(source: str) -> str | None:
    """Digest of a folder's weights; None for a hub id or an adapter, known only once loaded."""
    folder = Path(source).expanduser()
    if not folder.is_dir() or not any(folder.glob("*.safetensors")):
        return None
    return None if (folder / "adapter_config.json").is_file() else weights_sha256(folder)
