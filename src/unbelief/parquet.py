"""Reading Parquet files on the caller's own thread.

Arrow's threads outlive the reading and are stopped when the process ends, and now and then that
fails: the process has done its work and dies with `terminate called without an active exception`
(apache/arrow issue 34314). The files read here are small, and an exit status means something.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(source: str | Path | bytes) -> pa.Table:
    """A whole table.

    Args:
        source: Path, or the file's content.

    Raises:
        pyarrow.ArrowException: It is no Parquet file, or damaged.
        OSError: It cannot be opened.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = pa.BufferReader(source) if isinstance(source, bytes) else source
    with pq.ParquetFile(where, pre_buffer=False) as file:
        table = file.read(use_threads=False)
    give_back()
    return table


def give_back() -> None:
    """Return to the system what Arrow has freed: its allocator keeps several times a table."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
