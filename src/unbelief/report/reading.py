"""What other commands wrote, read again: audits, evaluations, runs of the lab."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from unbelief.errors import RequestError
from unbelief.report.audit_document import AUDIT_FILE, SCHEMA, VERSION, AuditDocument
from unbelief.report.squeeze import SCHEMA as SQUEEZE
from unbelief.report.squeeze import VERSION as SQUEEZE_VERSION

EVALUATION = "unbelief/results"
EVALUATION_VERSION = 1
LAB_VERSION = 1
_IN_FOLDERS = (AUDIT_FILE, "results.json", "result.json", "squeeze.json")
_REMEDY = (
    "name an audit's folder, its audit.json, a results file of `unbelief evaluate`, or the folder "
    "of a squeeze diagnosis"
)

Kind = Literal["audit", "evaluation", "lab", "squeeze"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One thing to report on.

    Attributes:
        label: Short name, different from those of the runs beside it.
        kind: What it is.
        file: Where it was read.
        content: The JSON object.
        audit: The document, of an audit.
    """

    label: str
    kind: Kind
    file: Path
    content: Mapping[str, Any]
    audit: AuditDocument | None = None


def read_runs(sources: Sequence[str | Path]) -> tuple[Run, ...]:
    """Read runs that are to be reported on together.

    Args:
        sources: JSON files, or folders with one of the usual names in them.

    Raises:
        RequestError: One cannot be read, is something else or from a newer version, or they are
            of different kinds.
    """
    files = [_file(Path(source).expanduser()) for source in sources]
    labels = _labels(files)
    runs = tuple(_read(file, label) for file, label in zip(files, labels, strict=True))
    kinds = {run.kind for run in runs}
    if len(kinds) > 1 and not _audit_with_squeezes(runs):
        raise RequestError(
            f"these are of different kinds: {', '.join(sorted(kinds))}",
            remedy="report on one kind at a time",
        )
    return runs


def read_squeeze(source: str | Path) -> Mapping[str, Any]:
    """Read the document of one squeeze diagnosis.

    Raises:
        RequestError: As in `read_runs`, or it is something else.
    """
    run = _read(_file(Path(source).expanduser()), "squeeze")
    if run.kind != "squeeze":
        raise RequestError(
            f"this is no squeeze diagnosis but the result of {_article(run.kind)}",
            where=str(run.file),
            remedy="name the folder that `unbelief diagnose squeeze` wrote, or its squeeze.json",
        )
    return run.content


def _audit_with_squeezes(runs: Sequence[Run]) -> bool:
    """The one mixture that makes a report: curves beside the audit they belong to."""
    kinds = [run.kind for run in runs]
    return kinds.count("audit") == 1 and set(kinds) == {"audit", "squeeze"}


def read_audit(source: str | Path) -> AuditDocument:
    """Read one audit.

    Raises:
        RequestError: As in `read_runs`, or it is something else.
    """
    run = read_runs([source])[0]
    if run.audit is None:
        raise RequestError(
            f"this is no audit but the result of {_article(run.kind)}",
            where=str(run.file),
            remedy="name an audit's folder or its audit.json",
        )
    return run.audit


def _file(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = [source / name for name in _IN_FOLDERS if (source / name).is_file()]
    if not found:
        raise RequestError(
            f"there is no {', '.join(_IN_FOLDERS)} in this folder",
            where=str(source),
            remedy=_REMEDY,
        )
    return found[0]


def _read(file: Path, label: str) -> Run:
    content = _json(file)
    kind: Kind
    audit = None
    if content.get("schema_name") == SCHEMA:
        kind = "audit"
        _check_version(file, content.get("version"), VERSION)
        audit = _audit(file, content)
    elif content.get("schema") == EVALUATION:
        kind = "evaluation"
        _check_version(file, content.get("schema_version"), EVALUATION_VERSION)
    elif isinstance(content.get("schema"), int) and "analysis" in content:
        kind = "lab"
        _check_version(file, content["schema"], LAB_VERSION)
    elif content.get("schema") == SQUEEZE:
        kind = "squeeze"
        _check_version(file, content.get("version"), SQUEEZE_VERSION)
    else:
        raise RequestError("nothing a report can be made of", where=str(file), remedy=_REMEDY)
    return Run(label=label, kind=kind, file=file, content=content, audit=audit)


def _json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(
            f"cannot be read: {error.strerror or error}", where=str(file), remedy=_REMEDY
        ) from None
    except json.JSONDecodeError as error:
        raise RequestError(
            f"this is not JSON: {error.msg}", where=f"{file}:{error.lineno}", remedy=_REMEDY
        ) from None
    except (ValueError, RecursionError):
        raise RequestError("this is not JSON", where=str(file), remedy=_REMEDY) from None
    if not isinstance(content, dict):
        raise RequestError("this is not a JSON object", where=str(file), remedy=_REMEDY)
    return content


def _check_version(file: Path, version: object, newest: int) -> None:
    if isinstance(version, int) and version > newest:
        raise RequestError(
            f"written by a newer unbelief (schema version {version}; this one reads {newest})",
            where=str(file),
            remedy="upgrade unbelief",
        )
    if version != newest:
        raise RequestError(
            f"schema version {version!r} is unknown (this unbelief reads {newest})",
            where=str(file),
            remedy="make it again with this version",
        )


def _audit(file: Path, content: Mapping[str, Any]) -> AuditDocument:
    try:
        return AuditDocument.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RequestError(
            f"{place}: {first['msg']}{more}",
            where=str(file),
            remedy="the file was changed or cut short; make the audit again",
        ) from None


def _labels(files: Sequence[Path]) -> tuple[str, ...]:
    """Folder names of files with the usual names, else the names of the files; all different."""
    paths = [file.absolute() for file in files]
    parts = [(p.parent if p.name in _IN_FOLDERS else p.with_suffix("")).parts for p in paths]
    depth = 1
    while depth < max(map(len, parts), default=1) and len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    labels = ["/".join(p[-depth:]).lstrip("/") for p in parts]
    again = {label for label in labels if labels.count(label) > 1}  # the same file twice
    return tuple(
        f"{label} ({labels[:i].count(label) + 1})" if label in again else label
        for i, label in enumerate(labels)
    )


def _article(kind: Kind) -> str:
    return {
        "audit": "an audit",
        "evaluation": "an evaluation",
        "lab": "the lab",
        "squeeze": "a squeeze diagnosis",
    }[kind]
