"""Measurements as Arrow tables, and back. No torch here.

Four tables. `set`, `example` (row within the set) and `need` (index into the needs of `meta.json`)
say what a row is about; per-token columns are lists of float32, int32 or bool, one entry per scored
token; everything is sorted, so equal measurements are equal bytes. `examples` holds the records'
own texts: scoring again needs neither the data nor the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unbelief.measure.jobs import Place
from unbelief.measure.tables import (
    AnswerMeasurement,
    Example,
    Need,
    TextMeasurement,
)
from unbelief.types import Message, Record

if TYPE_CHECKING:
    from unbelief.measure.answers import Scored
    from unbelief.measure.texts import Said

SCHEMA_VERSION = 2
READABLE = (1, 2)  # the first one has moments of every answer
_PLACE = [("set", pa.int16()), ("example", pa.int32()), ("need", pa.int16())]
_TEXTS = pa.list_(pa.string())
_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_REASONS = pa.list_(pa.struct([("need", pa.int16()), ("reason", pa.string())]))


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(n, t, nullable=n in _NULLABLE) for n, t in fields])


_NULLABLE = {"prompt", "messages", "group", "paraphrased_prompt", "correct_choice"}
_NULLABLE |= {"entropy", "variance"}
SCHEMAS: Mapping[str, pa.Schema] = {
    "examples": _schema(
        ("set", pa.int16()),
        ("example", pa.int32()),
        ("id", pa.string()),
        ("prompt", pa.string()),
        ("messages", _TURNS),
        ("answer", pa.string()),
        ("group", pa.string()),
        ("paraphrased_prompt", pa.string()),
        ("paraphrases", _TEXTS),
        ("perturbed", _TEXTS),
        ("facts", _TEXTS),
        ("choices", _TEXTS),
        ("correct_choice", pa.int32()),
        ("source", pa.string()),
        ("unmeasured", _REASONS),
    ),
    "answers": _schema(
        *_PLACE,
        ("text", pa.int16()),
        ("token_ids", pa.list_(pa.int32())),
        ("logp", pa.list_(pa.float32())),
        ("hit", pa.list_(pa.bool_())),
        ("entropy", pa.list_(pa.float32())),
        ("variance", pa.list_(pa.float32())),
        ("has_end", pa.bool_()),
        ("truncated", pa.bool_()),
        ("decoded", pa.string()),
    ),
    "texts": _schema(
        *_PLACE,
        ("sample", pa.int16()),
        ("token_ids", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("log_prob", pa.float64()),
        ("finished", pa.bool_()),
    ),
    "gradients": _schema(*_PLACE, ("norm", pa.float64())),
}
_ORDER = {
    "examples": ("set", "example"),
    "answers": ("set", "example", "need", "text"),
    "texts": ("set", "example", "need", "sample"),
    "gradients": ("set", "example", "need"),
}


def _table(name: str, rows: Sequence[Mapping[str, Any]], lists: Sequence[str] = ()) -> pa.Table:
    """Rows to a table; `lists` are columns of NumPy arrays."""
    columns = []
    for field in SCHEMAS[name]:
        values = [row[field.name] for row in rows]
        if field.name not in lists:
            columns.append(pa.array(values, field.type))
            continue
        given = [np.zeros(0) if v is None else v for v in values]
        flat = np.concatenate(given) if given else np.zeros(0)
        offsets = pa.array(np.cumsum([0, *map(len, given)]).astype(np.int32))
        inner = pa.array(flat, field.type.value_type)
        none = [v is None for v in values]
        mask = pa.array(none) if any(none) else None
        columns.append(pa.ListArray.from_arrays(offsets, inner, type=field.type, mask=mask))
    return pa.Table.from_arrays(columns, schema=SCHEMAS[name])


def answers_table(scored: Iterable[Scored]) -> pa.Table:
    """One row per place of every answer."""
    per_token = ("token_ids", "logp", "hit", "entropy", "variance")
    rows = [
        {
            **_place(place),
            "text": place.ordinal,
            **{name: getattr(one, name) for name in per_token},
            "has_end": one.answer.has_end,
            "truncated": one.answer.truncated,
            "decoded": one.answer.decoded,
        }
        for one in scored
        for place in one.answer.places
    ]
    return _table("answers", rows, per_token)


def texts_table(said: Iterable[Said]) -> pa.Table:
    """One row per place and sample of every request."""
    rows = [
        {
            **_place(place),
            "sample": j,
            "token_ids": np.array(text.token_ids, dtype=np.int32),
            "text": text.text,
            "log_prob": text.log_prob,
            "finished": text.finished,
        }
        for one in said
        for place in one.ask.places
        for j, text in enumerate(one.texts)
    ]
    return _table("texts", rows, ("token_ids",))


def gradients_table(norms: Iterable[tuple[Sequence[Place], float]]) -> pa.Table:
    """One row per place of every norm."""
    rows = [{**_place(place), "norm": norm} for places, norm in norms for place in places]
    return _table("gradients", rows)


def examples_table(
    sets: Mapping[str, Sequence[Record]], unmeasured: Mapping[tuple[int, int], Mapping[int, str]]
) -> pa.Table:
    """One row per record, with the reasons for what is missing."""
    rows = []
    for s, records in enumerate(sets.values()):
        for e, record in enumerate(records):
            talk = None if isinstance(record.prompt, str) else record.prompt
            reasons = unmeasured.get((s, e), {})
            rows.append(
                {
                    **{name: getattr(record, name) for name in Record.__slots__},
                    "set": s,
                    "example": e,
                    "prompt": record.prompt if isinstance(record.prompt, str) else None,
                    "messages": talk
                    and [{"role": turn.role, "content": turn.content} for turn in talk],
                    "unmeasured": [{"need": n, "reason": why} for n, why in reasons.items()],
                }
            )
    return _table("examples", rows)


def _place(place: Place) -> dict[str, int]:
    return {"set": place.set, "example": place.example, "need": place.need}


def merged(name: str, parts: Sequence[pa.Table]) -> pa.Table:
    """Parts of one table, in the order of the plan."""
    whole = pa.concat_tables([SCHEMAS[name].empty_table(), *parts])
    ordered = whole.sort_by([(column, "ascending") for column in _ORDER[name]])
    return ordered.combine_chunks()


def examples_of(
    tables: Mapping[str, pa.Table], sets: Sequence[str], needs: Sequence[Need]
) -> dict[str, tuple[Example, ...]]:
    """The four tables as examples, per set in the order of its records."""
    answers = _by_example(_answers(tables["answers"]), needs)
    texts = _by_example(_texts(tables["texts"]), needs)
    gradients = _by_example(_gradients(tables["gradients"]), needs)
    found: dict[str, list[Example]] = {name: [] for name in sets}
    for row in tables["examples"].to_pylist():
        key = (row["set"], row["example"])
        found[sets[row["set"]]].append(
            Example(
                record=_record(row),
                answers={n: tuple(its) for n, its in answers.get(key, {}).items()},
                texts={n: tuple(its) for n, its in texts.get(key, {}).items()},
                gradients={n: its[0] for n, its in gradients.get(key, {}).items()},
                unmeasured={needs[why["need"]]: why["reason"] for why in row["unmeasured"]},
            )
        )
    return {name: tuple(examples) for name, examples in found.items()}


def _by_example(rows: Iterable[tuple[tuple[int, int, int], Any]], needs: Sequence[Need]) -> Any:
    found: dict[tuple[int, int], dict[Need, list[Any]]] = {}
    for (s, e, need), value in rows:
        found.setdefault((s, e), {}).setdefault(needs[need], []).append(value)
    return found


def _places(table: pa.Table) -> Iterable[tuple[int, int, int]]:
    columns = (table[name].to_pylist() for name in ("set", "example", "need"))
    return zip(*columns, strict=True)


def _lists(table: pa.Table, name: str) -> list[np.ndarray | None]:
    """A list column as one array per row; the arrays share memory and cannot be written to."""
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # no rows
        return []
    flat = column.values.to_numpy(zero_copy_only=False)
    flat.flags.writeable = False
    ends, given = column.offsets.to_numpy(), column.is_valid().to_pylist()
    return [flat[a:b] if has else None for (a, b), has in zip(pairwise(ends), given, strict=True)]


def _answers(table: pa.Table) -> Iterable[tuple[tuple[int, int, int], AnswerMeasurement]]:
    names = ("token_ids", "logp", "hit", "entropy", "variance")
    columns = [_lists(table, name) for name in names]
    plain = ("has_end", "truncated", "decoded")
    columns += [table[name].to_pylist() for name in plain]
    for place, *values in zip(_places(table), *columns, strict=True):
        yield place, AnswerMeasurement(**dict(zip((*names, *plain), values, strict=True)))


def _texts(table: pa.Table) -> Iterable[tuple[tuple[int, int, int], TextMeasurement]]:
    names = ("token_ids", "text", "log_prob", "finished")
    columns = (table[name].to_pylist() for name in names)
    for place, ids, text, log_prob, finished in zip(_places(table), *columns, strict=True):
        yield (
            place,
            TextMeasurement(token_ids=tuple(ids), text=text, log_prob=log_prob, finished=finished),
        )


def _gradients(table: pa.Table) -> Iterable[tuple[tuple[int, int, int], float]]:
    return zip(_places(table), table["norm"].to_pylist(), strict=True)


def _record(row: Mapping[str, Any]) -> Record:
    turns = row["messages"]
    talk = None if turns is None else tuple(Message(t["role"], t["content"]) for t in turns)
    values = {name: row[name] for name in Record.__slots__}
    for name in ("paraphrases", "perturbed", "facts", "choices"):
        values[name] = tuple(values[name])
    return Record(**{**values, "prompt": row["prompt"] if talk is None else talk})
