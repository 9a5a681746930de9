"""A finished measurement: a folder with four Parquet files and `meta.json`. No torch here.

It holds the records' texts and what the model said about them, so it is readable by its owner
alone. What ties the files to each other and to their plan are digests under a random salt.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unbelief.beliefs.bank import write_private
from unbelief.errors import RequestError
from unbelief.measure.plan import Plan, need_from_dict, need_to_dict
from unbelief.measure.schema import READABLE, SCHEMA_VERSION, SCHEMAS, examples_of
from unbelief.measure.tables import Example
from unbelief.outputs import atomic_folder
from unbelief.parquet import give_back, read_parquet
from unbelief.types import Record

META = "meta.json"
_AGAIN = "measure again with --restart, or name another folder"


@dataclass(frozen=True, slots=True)
class Measurements:
    """What one model said.

    Attributes:
        examples: Per set, in the order of its records.
        fingerprint: What was measured, as `measure` was told (the model's weights digest).
        meta: Everything in `meta.json`: needs, encoder, versions, path taken, cost.
    """

    examples: Mapping[str, tuple[Example, ...]]
    fingerprint: Mapping[str, Any]
    meta: Mapping[str, Any]


def plan_hmac(plan: Plan, salt: str) -> str:
    """HMAC-SHA-256 under `salt` over all records and needs, in order."""
    total = hmac.new(bytes.fromhex(salt), b"plan", "sha256")
    for name, records in plan.sets.items():
        needs = [need_to_dict(need) for need in plan.needs[name]]
        total.update(json.dumps([name, len(records), needs]).encode() + b"\n")
        for record in records:
            total.update(json.dumps(_plain(record)).encode() + b"\n")
    return total.hexdigest()


def _plain(record: Record) -> list[Any]:
    values = {name: getattr(record, name) for name in Record.__slots__}
    if record.prompt is not None and not isinstance(record.prompt, str):
        values["prompt"] = [[turn.role, turn.content] for turn in record.prompt]
    return list(values.values())


def write_measurements(
    folder: Path,
    tables: Mapping[str, Callable[[], pa.Table]],
    meta: Mapping[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write a finished measurement; it appears whole.

    Args:
        folder: Where.
        tables: What makes each of the four tables; one at a time is in memory.
        meta: For `meta.json`; the files' digests under its `salt` are added.
        overwrite: Replace a folder that is there.
    """
    with atomic_folder(folder, overwrite) as partial:
        partial.chmod(0o700)
        digests = {}
        for name, make in tables.items():
            content = parquet_bytes(make())
            write_private(partial / f"{name}.parquet", content)
            digests[f"{name}.parquet"] = _hmac(content, meta["salt"])
        whole = {"schema_version": SCHEMA_VERSION, **meta, "files": digests}
        write_private(partial / META, (json.dumps(whole, indent=1) + "\n").encode())


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as a Parquet file; the same table gives the same bytes."""
    give_back()  # what making the table took
    sink = pa.BufferOutputStream()
    # Numbers hardly repeat: a dictionary of them would cost tens of megabytes and gain nothing.
    words = [field.name for field in table.schema if pa.types.is_string(field.type)]
    pq.write_table(table, sink, compression="zstd", use_dictionary=words)
    content: bytes = sink.getvalue().to_pybytes()
    del sink
    give_back()
    return content


def _hmac(content: bytes, salt: str) -> str:
    return hmac.new(bytes.fromhex(salt), content, hashlib.sha256).hexdigest()


def read_meta(folder: Path) -> dict[str, Any]:
    """Read `meta.json` and check that this program knows its schema.

    Raises:
        RequestError: There is no measurement, or one of another schema version.
    """
    file = folder / META
    if not file.is_file():
        missing = "there is no such folder" if not folder.is_dir() else f"it has no {META}"
        raise RequestError(
            f"this is no finished measurement: {missing}",
            where=str(folder),
            remedy="check the path; a measurement that was interrupted continues when the same "
            "command runs again",
        )
    try:
        meta: dict[str, Any] = json.loads(file.read_bytes())
        version = meta["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, f"{META} cannot be read") from error
    if version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise RequestError(
            f"the measurement has schema version {version}, this program reads {known}",
            where=str(folder),
            remedy="measure again with this version",
        )
    return meta


def read_measurements(folder: str | Path) -> Measurements:
    """Read what `measure` wrote; neither torch nor the data is needed.

    Arrays of the examples share memory and cannot be written to.

    Raises:
        RequestError: The folder is missing, unfinished, damaged, or of another schema version.
    """
    folder = Path(folder).expanduser()
    meta = read_meta(folder)
    tables = {}
    try:
        for name, schema in SCHEMAS.items():
            file = folder / f"{name}.parquet"
            content = file.read_bytes()
            if _hmac(content, meta["salt"]) != meta["files"][file.name]:
                raise _damaged(folder, f"{file.name} is not the file that was written")
            tables[name] = read_parquet(content)
            if not _fits(tables[name].schema, schema):
                raise _damaged(folder, f"{file.name} has columns {tables[name].schema.names}")
        needs = [need_from_dict(values) for values in meta["needs"]]
        examples = examples_of(tables, list(meta["sets"]), needs)
    except FileNotFoundError as error:
        raise _damaged(folder, f"{Path(error.filename).name} is missing") from error
    except (pa.ArrowInvalid, KeyError, TypeError, IndexError, ValueError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error
    return Measurements(examples, meta["fingerprint"], meta)


def _fits(found: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether a table has these columns; what may be missing in newer versions may be there."""
    return found.names == wanted.names and found.types == wanted.types


def _damaged(folder: Path, why: str) -> RequestError:
    return RequestError(f"the measurement is damaged: {why}", where=str(folder), remedy=_AGAIN)
