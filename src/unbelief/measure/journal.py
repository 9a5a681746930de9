"""An unfinished measurement: finished parts beside the place where the whole will appear.

`NAME.partial/` holds `head.json`, which says what is being measured and how the work is cut, and
one Parquet file per finished part, each written by rename. A run that was killed and started again
keeps them; it ends with the same tables as one that was not.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from unbelief.beliefs.bank import write_private
from unbelief.errors import RequestError
from unbelief.measure.plan import Plan
from unbelief.measure.store import META, parquet_bytes, plan_hmac, read_meta
from unbelief.outputs import check_destination
from unbelief.parquet import read_parquet

_HEAD = "head.json"
_COST = b"unbelief.cost"


class Journal:
    """The folder of an unfinished measurement.

    Args:
        folder: Where the finished measurement will be.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder.with_name(folder.name + ".partial")

    @contextmanager
    def claimed(self, *, restart: bool) -> Iterator[None]:
        """Hold the folder against other runs.

        Args:
            restart: Throw away what an earlier run left.

        Raises:
            RequestError: Another run is at work here, or something else has the name.
        """
        empty = self.folder.is_dir() and not any(self.folder.iterdir())
        if self.folder.exists() and not empty and not (self.folder / META).exists():
            raise RequestError(
                "something that is no measurement is there already",
                where=str(self.folder),
                remedy="name another folder",
            )
        check_destination(self.folder, overwrite=True)
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RequestError(
                    "another process is measuring into this folder",
                    where=str(self.folder),
                    remedy="wait for it, or name another folder",
                ) from None
            if restart:
                for file in (*self.path.glob("*.parquet"), self.path / _HEAD):
                    file.unlink(missing_ok=True)
            try:
                yield
            finally:
                if not (self.path / _HEAD).exists():  # nothing was begun
                    self.remove()

    def is_finished(self, identity: Mapping[str, Any], plan: Plan) -> bool:
        """Whether the whole is there already, of this very request.

        Versions and the device are those of whoever measured it: nothing will be mixed.

        Raises:
            RequestError: There is a measurement of something else.
        """
        if not (self.folder / META).exists():
            return False
        meta = read_meta(self.folder)
        before = {name: meta.get(name) for name in identity}
        self._compare(_essence(before), meta, _essence(identity), plan)
        self.remove()  # left if the last run died just after the whole was put in place
        return True

    def begin(
        self, identity: Mapping[str, Any], plan: Plan, choose: Callable[[], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Go on where an earlier run stopped, or start.

        Args:
            identity: What must be the same for finished parts to be kept; plain JSON values.
            plan: The same for the records, of which only a salted digest is stored.
            choose: Chooses the settings of a fresh start.

        Returns:
            The head: `identity`, `salt`, `plan_hmac`, `settings`.

        Raises:
            RequestError: An earlier run measured something else.
        """
        file = self.path / _HEAD
        if file.exists():
            head: dict[str, Any] = json.loads(file.read_bytes())
            self._compare(head["identity"], head, identity, plan)
            return head
        salt = secrets.token_hex(16)
        head = {
            "identity": dict(identity),
            "salt": salt,
            "plan_hmac": plan_hmac(plan, salt),
            "settings": dict(choose()),
        }
        write_private(file, json.dumps(head, indent=1).encode())
        return head

    def missing(self, names: Sequence[str]) -> list[str]:
        """The parts that are still to be done."""
        return [name for name in names if not self._file(name).exists()]

    def keep(self, name: str, table: pa.Table, cost: Mapping[str, float]) -> None:
        """Write a finished part."""
        stored = table.replace_schema_metadata({_COST: json.dumps(dict(cost)).encode()})
        write_private(self._file(name), parquet_bytes(stored))

    def load(self, name: str) -> pa.Table:
        """Read a finished part."""
        return read_parquet(self._file(name)).replace_schema_metadata(None)

    def cost(self, name: str) -> dict[str, float]:
        """What a finished part cost."""
        cost: dict[str, float] = json.loads(pq.read_schema(self._file(name)).metadata[_COST])
        return cost

    def remove(self) -> None:
        """Remove it, once the whole is in place."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.parquet"

    def _compare(
        self,
        before: Mapping[str, Any],
        head: Mapping[str, Any],
        identity: Mapping[str, Any],
        plan: Plan,
    ) -> None:
        different = changed(before, identity)
        if head["plan_hmac"] != plan_hmac(plan, head["salt"]):
            different.append("the records")
        if different:
            raise RequestError(
                f"a measurement of something else is there (different: {', '.join(different)})",
                where=str(self.folder),
                remedy=f"name another output, or remove {self.path} and measure anew "
                "(`evaluate` does so with --restart)",
            )


def _essence(identity: Mapping[str, Any]) -> dict[str, Any]:
    model = {"dtype": identity["model"]["dtype"]}
    return {**identity, "model": model, "versions": None}


def changed(before: Any, now: Any, name: str = "") -> list[str]:
    """Dotted names of what differs between two trees of plain values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        names = dict.fromkeys([*before, *now])
        return [
            found
            for key in names
            for found in changed(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if before == now else [name]
