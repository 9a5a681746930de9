"""Which files of a folder hold a split."""

from __future__ import annotations

import re
from pathlib import Path

from unbelief.data.lines import SUFFIXES, stem_of, suffix_of
from unbelief.errors import RequestError

_SHARD = re.compile(r"(?P<split>.+?)-(?P<part>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]+)?")


def choose(folder: Path, split: str | None) -> list[Path]:
    """Return the file, or the shards in order, that hold a split.

    A file `forget.jsonl` is the split `forget`; files `train-00000-of-00002.parquet` and so on are
    the shards of `train`. A folder without data files but with a folder `data` stands for that.

    Args:
        folder: An existing folder.
        split: Needed unless there is exactly one.

    Raises:
        RequestError: When the split cannot be told, is not there, or lacks a shard.
    """
    _refuse_other_folders(folder)
    splits = _splits(folder) or _splits(folder / "data")
    if not splits:
        raise RequestError(
            "the folder holds no data file",
            where=str(folder),
            remedy=f"accepted endings: {', '.join(SUFFIXES)} (all but Parquet also with .gz)",
        )
    if (split is None and len(splits) > 1) or (split is not None and split not in splits):
        found = "no split was named" if split is None else f"there is no split {split!r}"
        raise RequestError(
            f"{found}; the splits are {', '.join(sorted(splits))}",
            where=str(folder),
            remedy="name one of them, or give the file itself",
        )
    files = splits[split] if split is not None else next(iter(splits.values()))
    return _in_order(folder, files)


def _splits(folder: Path) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    if not folder.is_dir():
        return splits
    for path in sorted(folder.iterdir()):
        if path.is_file() and suffix_of(path) and not path.name.startswith("."):
            shard = _SHARD.fullmatch(stem_of(path))
            splits.setdefault(shard["split"] if shard else stem_of(path), []).append(path)
    return splits


def _in_order(folder: Path, files: list[Path]) -> list[Path]:
    shards = [_SHARD.fullmatch(stem_of(f)) for f in files]
    if len(files) == 1 and shards[0] is None:
        return files
    if any(s is None for s in shards) or len({f.suffix for f in files}) > 1:
        raise RequestError(
            f"several files hold the same split: {', '.join(f.name for f in files)}",
            where=str(folder),
            remedy="give the one that is meant",
        )
    parts = [int(s["part"]) for s in shards if s]
    totals = {int(s["total"]) for s in shards if s}
    if len(totals) != 1 or parts != list(range(max(totals))):
        raise RequestError(
            f"the shards are not complete: {', '.join(f.name for f in files)}",
            where=str(folder),
            remedy="copy the missing shards",
        )
    return files


def _refuse_other_folders(folder: Path) -> None:
    """Name the two folders that people hand over by mistake."""
    if (folder / "config.json").exists():
        raise RequestError(
            "this is a model folder (it has a config.json), not data",
            where=str(folder),
            remedy="give the folder or file with the records",
        )
    if (folder / "state.json").exists() and any(folder.glob("*.arrow")):
        raise RequestError(
            "this folder was written by `Dataset.save_to_disk`",
            where=str(folder),
            remedy="write it as Parquet instead: `dataset.to_parquet('records.parquet')`",
        )
