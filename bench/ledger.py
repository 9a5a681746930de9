"""What an entry costs in a long ledger: append, append without the note, verify.

python bench/ledger.py --entries 10000
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unbelief.ledger import Ledger
from unbelief.ledger.entries import FIRST, Entry
from unbelief.ledger.heads import head_file


def filled(path: Path, count: int) -> Ledger:
    """A sound ledger, written in one go."""
    lines, before = [], FIRST
    for seq in range(count):
        entry = Entry(
            seq=seq,
            prev_hash=before,
            event="request_received" if seq % 4 == 0 else "evaluated",
            time_utc="2026-12-01T00:00:00+00:00",
            actor="privacy-desk",
            request_id=f"DR-{seq // 4}",
            note="as agreed",
        ).sealed()
        lines.append(entry.line())
        before = entry.hash
    path.write_bytes(b"".join(lines))
    return Ledger(path)


def median_ms(action: Callable[[], object], repeats: int) -> float:
    """Middle of several times."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = filled(Path(folder) / "ledger.jsonl", args.entries)

        def without_note() -> None:
            head_file(ledger.path).unlink(missing_ok=True)
            ledger.append("evaluated", "DR-0")

        print(f"{args.entries} entries, {ledger.path.stat().st_size / 1e6:.1f} MB")
        print(f"verify               {median_ms(ledger.verify, 5):8.1f} ms")
        print(f"append, no note      {median_ms(without_note, 5):8.1f} ms")
        again = median_ms(lambda: ledger.append("evaluated", "DR-7"), args.repeats)
        print(f"append               {again:8.1f} ms")


if __name__ == "__main__":
    main()
