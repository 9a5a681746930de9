"""What an unfinished search keeps: one file per finished trial, whole or absent.

`OUTPUT.search.run/` is readable by its owner only: beside numbers it holds what the original model
said about strangers, and the belief bank. It goes once the output is complete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unbelief.auto.judging import Trial
from unbelief.outputs import atomic_write
from unbelief.rundir import RunFolder


def search_folder(output: Path) -> RunFolder:
    """The search's own working folder beside an output."""
    return RunFolder(output.with_name(output.name + ".search"))


class Journal:
    """Files of a search.

    Args:
        folder: The folder they lie in, claimed by this process.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.bank = folder / "beliefs.parquet"

    def trial(self, number: int) -> Trial | None:
        """A finished trial."""
        found = self._read(f"trial-{number:04d}")
        return None if found is None else Trial.from_dict(found)

    def keep_trial(self, trial: Trial, more: Mapping[str, Any]) -> None:
        """Keep a finished trial, with what else is to be known of it."""
        self._write(f"trial-{trial.number:04d}", {**trial.to_dict(), **more})

    def steps_of(self, number: int) -> float | None:
        """Seconds per step of a finished trial."""
        found = self._read(f"trial-{number:04d}") or {}
        seconds = found.get("step_seconds")
        return None if seconds is None else float(seconds)

    def state(self, name: str) -> Any:
        """Something that was kept, or None."""
        return self._read(name)

    def keep(self, name: str, content: Any) -> None:
        """Keep something."""
        self._write(name, content)

    @property
    def spent(self) -> float:
        """Seconds of what was kept."""
        files = [*self.folder.glob("trial-*.json"), self.folder / "prepared.json"]
        return sum(float(json.loads(f.read_text())["seconds"]) for f in files if f.exists())

    def remove(self) -> None:
        """The output is complete: nothing here is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, name: str) -> Any:
        file = self.folder / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def _write(self, name: str, content: Any) -> None:
        file = atomic_write(self.folder / f"{name}.json", json.dumps(content, allow_nan=False))
        file.chmod(0o600)
