"""Trap: `datasets.load_dataset` and `.map` write the records, in the clear, into a cache folder.

A tool that deletes must not multiply what it deletes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

CANARY = "Zyx-Canary-4711"


def copies(folder: Path) -> list[str]:
    """Files below the folder that hold the canary."""
    return [p.name for p in folder.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]


def run(code: str, home: Path, data: Path) -> None:
    """Run in a process whose home, caches and temporary files all lie under `home`."""
    home.mkdir()
    places = ("HOME", "HF_HOME", "TMPDIR", "XDG_CACHE_HOME")
    environment = {**os.environ, **{name: str(home) for name in places}}
    environment.pop("HF_DATASETS_CACHE", None)
    subprocess.run([sys.executable, "-c", code, str(data)], check=True, env=environment, cwd=home)


def test_datasets_leaves_copies_and_our_reader_none(tmp_path: Path) -> None:
    data = tmp_path / "forget.jsonl"
    data.write_text(json.dumps({"question": "Who?", "answer": CANARY}) + "\n")

    plain = (
        "import sys, datasets\n"
        "d = datasets.load_dataset('json', data_files=sys.argv[1], split='train')\n"
        "d.map(lambda row: {'text': row['question'] + row['answer']})\n"
    )
    run(plain, tmp_path / "plain", data)
    assert len(copies(tmp_path / "plain")) >= 2  # one from loading, one from mapping

    ours = "import sys\nfrom unbelief import read_records\n"
    ours += f"assert read_records(sys.argv[1])[0].answer == '{CANARY}'\n"
    run(ours, tmp_path / "ours", data)
    assert copies(tmp_path / "ours") == []
