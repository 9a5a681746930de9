"""Records in: readers and checks. No tokenizer here, and nothing is ever written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unbelief.data.findings import DataReport, Finding
from unbelief.data.formats import as_row
from unbelief.data.readers import LoadedRecords, load_records, read_records

__all__ = [
    "DataReport",
    "Finding",
    "LoadedRecords",
    "as_row",
    "load_records",
    "read_records",
    "validate_records",
]

if TYPE_CHECKING:
    from unbelief.data.validate import validate_records


def __getattr__(name: str) -> Any:
    """Import the checks, and NumPy with them, on first use."""
    if name == "validate_records":
        from unbelief.data.validate import validate_records

        return validate_records
    raise AttributeError(f"module 'unbelief.data' has no attribute {name!r}")
