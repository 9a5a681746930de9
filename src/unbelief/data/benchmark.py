"""A published benchmark's data: a folder on this machine, or the hub, addressed alike.

A benchmark has configurations (TOFU's `forget10_perturbed`, MUSE's `knowmem`), each with splits.
On this machine a split is `FOLDER/CONFIG/SPLIT.ENDING` or, where every configuration has a single
split, `FOLDER/CONFIG.ENDING`: both a copy of the hub repository and a folder of exports look so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from unbelief.data.folders import choose
from unbelief.data.hub import parse_hub_id
from unbelief.data.lines import stem_of, suffix_of
from unbelief.data.readers import read_records
from unbelief.errors import RequestError
from unbelief.types import Record


@dataclass(frozen=True, slots=True)
class BenchmarkData:
    """Where a benchmark's data is.

    Attributes:
        source: Folder or hub id (`org/name`).
    """

    source: str

    def __post_init__(self) -> None:
        folder = Path(self.source).expanduser()
        if folder.is_dir() and self.source.strip():
            return
        if folder.exists() or parse_hub_id(self.source) is None:
            raise RequestError(
                "this is neither a folder nor a hub id",
                where=self.source or "--data",
                remedy="give the folder that holds the benchmark's files, or org/name",
            )

    @property
    def folder(self) -> Path | None:
        """The folder, or None for a hub id."""
        path = Path(self.source).expanduser()
        return path if path.is_dir() else None

    def read(
        self,
        config: str,
        split: str | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        hub_split: str = "train",
    ) -> list[Record]:
        """Read one split, with ids `CONFIG:ROW` (or `CONFIG/SPLIT:ROW`) wherever it comes from.

        Args:
            config: Configuration.
            split: Split, for configurations with several.
            columns: Field to column, as for `read_records`.
            hub_split: What the hub calls the only split of a configuration.

        Raises:
            RequestError: It is not there.
            DataError: Its rows are malformed.
        """
        folder = self.folder
        if folder is None:
            named = f"{self.source}:{config}[{split or hub_split}]"
            records = read_records(named, columns=columns)
        else:
            file, inside = self._find(folder, config, split)
            records = read_records(file, columns=columns, split=inside)
        return numbered(records, config if split is None else f"{config}/{split}")

    def read_if_there(
        self,
        config: str,
        split: str | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        hub_split: str = "train",
    ) -> tuple[list[Record], str | None]:
        """Read a split that a benchmark can do without.

        Returns:
            Its records and None, or nothing and the reason.

        Raises:
            DataError: It is there, and its rows are malformed.
            RequestError: It is there, and cannot be told from another.
        """
        folder = self.folder
        if folder is not None and self.file(config, split) is None:
            return [], f"there is no {_name(config, split)} in {self.source}"
        try:
            return self.read(config, split, columns=columns, hub_split=hub_split), None
        except RequestError as error:
            if folder is not None or type(error) is not RequestError:
                raise
            return [], f"{_name(config, split)} could not be read from the hub: {error.message}"

    def file(self, config: str, split: str | None = None) -> Path | None:
        """The file or folder on this machine that holds a split, if there is one."""
        folder = self.folder
        if folder is None:
            return None
        try:
            return self._find(folder, config, split)[0]
        except RequestError:
            return None

    def _find(self, folder: Path, config: str, split: str | None) -> tuple[Path, str | None]:
        """Path and the split to ask `read_records` for."""
        wanted = split or config
        places = [folder / config, folder / config / "data"] if split else [folder, folder / "data"]
        for place in places:
            if _holds(place, wanted):
                files = choose(place, wanted)
                return (files[0], None) if len(files) == 1 else (place, wanted)
        inside = folder / config
        if split is None and inside.is_dir() and any(map(suffix_of, inside.iterdir())):
            return inside, None
        raise RequestError(
            f"there is no {_name(config, split)} here",
            where=self.source,
            remedy=f"it holds {', '.join(_configs(folder)) or 'no data'}; copy the missing file, "
            "or name another folder",
        )


def numbered(records: Iterable[Record], name: str) -> list[Record]:
    """Give records the ids `NAME:1`, `NAME:2`, ..., the same on every machine."""
    return [replace(r, id=f"{name}:{i}") for i, r in enumerate(records, start=1)]


def _name(config: str, split: str | None) -> str:
    return config if split is None else f"{config}/{split}"


def _holds(folder: Path, split: str) -> bool:
    if not folder.is_dir():
        return False
    stems = [stem_of(p) for p in folder.iterdir() if p.is_file() and suffix_of(p)]
    return any(stem == split or stem.startswith(f"{split}-0") for stem in stems)


def _configs(folder: Path) -> list[str]:
    found = [p for p in sorted(folder.iterdir()) if not p.name.startswith(".")]
    names = [stem_of(p) if p.is_file() else p.name for p in found if p.is_dir() or suffix_of(p)]
    return [*names[:12], "..."] if len(names) > 12 else names
