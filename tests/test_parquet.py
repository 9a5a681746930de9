from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbelief.parquet import read_parquet

_CHILD = """
import os, sys
from pathlib import Path
import pyarrow.parquet as pq
from unbelief.parquet import read_parquet
def threads():
    return len(os.listdir("/proc/self/task"))
before = threads()
path = Path(sys.argv[1])
read_parquet(path), read_parquet(path.read_bytes())
ours = threads() - before
pq.read_table(path)
print(ours, threads() - before)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    columns = {name: pa.array(range(1000)) for name in "abcdef"}
    pq.write_table(pa.table(columns).replace_schema_metadata({"k": "v"}), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_a_path_and_a_content_give_the_same_table(file: Path) -> None:
    expected = pq.read_table(file)
    for source in (file, str(file), file.read_bytes()):
        table = read_parquet(source)
        assert table.equals(expected) and table.schema.metadata == {b"k": b"v"}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to count threads")
def test_reading_starts_no_threads(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(file)], capture_output=True, text=True, check=False
    )
    ours, theirs = map(int, done.stdout.split())
    assert ours == 0
    assert theirs > 0, "Arrow's own way starts none either: the test would show nothing"


def test_damage_and_absence_are_told_apart(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(pa.ArrowException):
        read_parquet(file)
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "none.parquet")
