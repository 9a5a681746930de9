"""Records in: readers and checks. No tokenizer here, and nothing is ever written."""

from __future__ import annotations

from unbelief.data.readers import LoadedRecords, load_records, read_records

__all__ = ["LoadedRecords", "load_records", "read_records"]
