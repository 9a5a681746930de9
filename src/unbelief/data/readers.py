"""Records in: `read_records` and the choice of files behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbelief.data import fields, folders, hub
from unbelief.data.formats import to_record
from unbelief.data.layout import check_columns, check_mapping, detect
from unbelief.data.lines import SUFFIXES, Row, stem_of, suffix_of
from unbelief.data.problems import BadRow, Problems, describe, names
from unbelief.data.rows import read_rows
from unbelief.errors import DataError, RequestError
from unbelief.types import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRecords:
    """Records together with how they were read.

    Attributes:
        records: In the order of the source.
        format: The detected format, for example `question/answer`; `records` for objects.
        files: The files (or the hub split) they came from.
        ignored_columns: Columns that no field was read from.
    """

    records: tuple[Record, ...]
    format: str
    files: tuple[str, ...]
    ignored_columns: tuple[str, ...]


def read_records(
    source: str | Path | Sequence[Record],
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    group_by_rows: int | None = None,
) -> list[Record]:
    """Read the records of a file, a folder, a hub data set or a list, and check every one.

    Nothing is written anywhere, and nothing is coerced: a row that is not what its format asks for
    is an error that names `file:line`, the column, what was found and what to do. Up to ten bad
    rows are reported at once.

    Args:
        source: A `.jsonl`, `.json`, `.csv`, `.tsv` (each also `.gz`) or `.parquet` file; a folder
            with one such file (or set of shards) per split; a hub id `org/name`,
            `org/name:config` or `org/name:config[split]`; or records, which are checked like rows.
        columns: Field to column, `{"prompt": "my_q", "answer": "my_a"}`, where the names of the
            file differ from those of the known formats (see `unbelief.data.formats`).
        split: Which split of a folder or hub data set.
        limit: Read only this many rows, the first ones.
        group_by_rows: Put each run of this many rows into one group (TOFU: 20 rows per author).
            Only for data without groups of its own.

    Returns:
        At least one record. Ids come from the data, else `<file stem>:<row>`, rows counted from 1;
        they are unique.

    Raises:
        DataError: For bad rows, duplicate ids, an unknown format or a file without records.
        RequestError: For a source that does not exist and options that do not fit it.
    """
    return list(
        load_records(
            source, columns=columns, split=split, limit=limit, group_by_rows=group_by_rows
        ).records
    )


def load_records(
    source: str | Path | Sequence[Record],
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    group_by_rows: int | None = None,
) -> LoadedRecords:
    """Do what `read_records` does, and also say which format and columns were used.

    Raises:
        DataError: As for `read_records`.
        RequestError: As for `read_records`.
    """
    for name, number in (("limit", limit), ("group_by_rows", group_by_rows)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise RequestError(
                f"{name} is {number!r}, expected an integer of at least 1",
                where=name,
                remedy=f"leave out {name}, or give a positive integer",
            )
    mapping = check_mapping(columns)
    if isinstance(source, str | Path):
        loaded = _load_path(source, mapping, split, limit)
    else:
        loaded = _load_objects(source, mapping, split, limit)
    _check_ids(loaded.records)
    if group_by_rows is None:
        return loaded
    return replace(loaded, records=_grouped(loaded.records, group_by_rows, loaded.files))


def _load_path(
    source: str | Path, mapping: dict[str, str], split: str | None, limit: int | None
) -> LoadedRecords:
    path = Path(source).expanduser()
    if not str(source).strip() or str(source) == "-":
        raise RequestError(
            "no file was named" if str(source) != "-" else "records cannot be read from a pipe",
            where=repr(str(source)),
            remedy="give a file, a folder, or a hub id such as org/name",
        )
    if path.is_dir():
        parts = [(file, stem_of(file)) for file in folders.choose(path, split)]
    elif path.exists():
        parts = [(_single(path, split), stem_of(path))]
    else:
        return _load_hub(str(source), path, mapping, split, limit)
    loaded: list[LoadedRecords] = []
    for file, stem in parts:
        left = None if limit is None else limit - sum(len(part.records) for part in loaded)
        if left == 0:
            break
        problems = Problems()
        rows = read_rows(file, problems, left)
        loaded.append(_convert(rows, problems, mapping, stem, str(file)))
    return LoadedRecords(
        records=tuple(r for part in loaded for r in part.records),
        format=", ".join(dict.fromkeys(part.format for part in loaded)),
        files=tuple(f for part in loaded for f in part.files),
        ignored_columns=tuple(sorted({c for part in loaded for c in part.ignored_columns})),
    )


def _single(path: Path, split: str | None) -> Path:
    if not path.is_file():
        raise RequestError("not a file", where=str(path), remedy="give a regular file or a folder")
    if not suffix_of(path):
        raise RequestError(
            f"unknown kind of file {''.join(path.suffixes[-2:]) or 'without an ending'!r}",
            where=str(path),
            remedy=f"accepted endings: {', '.join(SUFFIXES)} (all but Parquet also with .gz)",
        )
    if split is not None:
        raise RequestError(
            f"split {split!r} was named, but a single file has no splits",
            where=str(path),
            remedy="leave out the split, or give the folder that holds one file per split",
        )
    return path


def _load_hub(
    source: str, path: Path, mapping: dict[str, str], split: str | None, limit: int | None
) -> LoadedRecords:
    found = None if suffix_of(path) else hub.parse_hub_id(source)
    if found is None:
        raise RequestError(
            "there is no such file or folder",
            where=source,
            remedy="check the path; a hub data set is written org/name or org/name:config[split]",
        )
    name, config, named = found
    if split is not None and named not in (None, split):
        raise RequestError(
            f"two splits were named, {named!r} and {split!r}", where=source, remedy="name one"
        )
    rows, label = hub.read_hub_rows(name, config, split or named, limit)
    return _convert(rows, Problems(), mapping, label.split("/", 1)[1], label)


def _convert(
    rows: list[Row], problems: Problems, mapping: dict[str, str], stem: str, file: str
) -> LoadedRecords:
    """Turn the rows of one file into records; all bad rows are raised together."""
    if not rows:
        problems.check()
        raise DataError(
            "there are no records in it", where=f"{file}:1", remedy="give a file with rows"
        )
    layout = detect(rows[0].values.keys(), mapping, rows[0].where)
    seen: dict[str, None] = {}
    for row in rows:
        seen.update(dict.fromkeys(row.values))
    check_columns(mapping, seen, rows[0].where)
    records: list[Record] = []
    for row in rows:
        try:
            records.append(to_record(row, layout, f"{stem}:{row.number}"))
        except BadRow as bad:
            problems.add(row.where, f"{bad.message} [format {layout.name}]", bad.remedy)
    problems.check()
    ignored = tuple(c for c in seen if c not in layout.used)
    return LoadedRecords(
        records=tuple(records), format=layout.name, files=(file,), ignored_columns=ignored
    )


def _load_objects(
    source: Sequence[Record], mapping: dict[str, str], split: str | None, limit: int | None
) -> LoadedRecords:
    for name, given in (("columns", bool(mapping)), ("split", split is not None)):
        if given:
            raise RequestError(
                f"{name} was given together with records that are already read",
                where=name,
                remedy=f"leave out {name}, or give the file",
            )
    if not isinstance(source, Sequence):
        raise RequestError(
            f"the source is {describe(source)}, expected a path, a hub id or a list of Record",
            where="source",
            remedy="give a path, or list(...) of Record objects",
        )
    records = tuple(source[:limit])
    problems = Problems()
    for i, record in enumerate(records):
        where = f"records[{i}]"
        if not isinstance(record, Record):
            problems.add(where, f"{describe(record)}, expected a Record", "build Record objects")
            continue
        try:
            _check_object(record)
        except BadRow as bad:
            problems.add(record.source or where, bad.message, bad.remedy)
    problems.check()
    if not records:
        raise DataError("there are no records", where="records", remedy="give at least one record")
    return LoadedRecords(records=records, format="records", files=(), ignored_columns=())


def _check_object(record: Record) -> None:
    """Hold an object to the rules that rows are held to."""
    fields.text(record.id, "id")
    fields.text(record.answer, "answer")
    if isinstance(record.prompt, tuple):
        fields.conversation(
            [{"role": m.role, "content": m.content} for m in record.prompt], "prompt"
        )
        if record.prompt[-1].role != "user":
            raise BadRow(
                "'prompt' does not end with a turn of the user", "end it before the answer"
            )
    elif record.prompt is not None:
        fields.text(record.prompt, "prompt")
    for name in ("paraphrases", "perturbed", "facts", "choices"):
        fields.texts(list(getattr(record, name)), name)
    if record.choices:
        position = fields.index(record.correct_choice, "correct_choice", record.choices)
        if record.choices[position] != record.answer:
            raise BadRow("'answer' is not the correct choice", "let answer = choices[correct]")


def _check_ids(records: Sequence[Record]) -> None:
    first: dict[str, int] = {}
    problems = Problems()
    for i, record in enumerate(records):
        earlier = first.setdefault(record.id, i)
        if earlier != i:
            other = records[earlier].source or f"records[{earlier}]"
            problems.add(
                record.source or f"records[{i}]",
                f"the id {names([record.id])} is also that of {other}",
                "give every row its own id, or remove the id column (ids are then made from rows)",
            )
    problems.check()


def _grouped(records: tuple[Record, ...], size: int, files: tuple[str, ...]) -> tuple[Record, ...]:
    """Make each run of `size` rows one group, named after its rows."""
    stem = stem_of(Path(files[0])) if files else "records"
    grouped: list[Record] = []
    for i, record in enumerate(records):
        if record.group is not None:
            raise RequestError(
                f"group_by_rows was given, but {record.source or record.id} has a group already",
                where="group_by_rows",
                remedy="leave out group_by_rows, or remove the group column",
            )
        start = i - i % size + 1
        grouped.append(replace(record, group=f"{stem}:{start}-{start + size - 1}"))
    return tuple(grouped)
