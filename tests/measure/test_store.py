"""What is read is what was measured, or an error says what is wrong."""

from __future__ import annotations

import hmac
import json
import shutil
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.measure.common import ALL, OWN, answer_model, encoder, plan, record, same
from unbelief.errors import RequestError
from unbelief.measure.answers import Scored
from unbelief.measure.jobs import Answer, Ask, Place
from unbelief.measure.plan import Plan
from unbelief.measure.run import measure, measure_examples
from unbelief.measure.schema import (
    SCHEMAS,
    answers_table,
    examples_of,
    examples_table,
    gradients_table,
    merged,
    texts_table,
)
from unbelief.measure.store import plan_hmac, read_measurements, write_measurements
from unbelief.measure.tables import TextMeasurement, TextNeed
from unbelief.measure.texts import Said
from unbelief.types import Message, Record

TALK = (Message("system", "Be brief."), Message("user", "Where?"))


def two_sets() -> Plan:
    odd = [
        record(1, prompt=TALK, group=None, correct_choice=None, source=""),
        record(2, paraphrases=(), answer="Ünïcode \n \x07 ?"),
        record(3, prompt=None, paraphrased_prompt=None),
    ]
    return Plan(
        {"forget": plan().sets["forget"], "odd": odd, "none": ()},
        dict.fromkeys(("forget", "odd"), ALL),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "m"
    measure(answer_model(), encoder(), two_sets(), folder, fingerprint={"weights_sha256": "abc"})
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "m")
    return tmp_path / "m"


def test_what_was_written_is_read(finished: Path) -> None:
    found = read_measurements(finished)
    want = measure_examples(answer_model(), encoder(), two_sets())
    assert list(found.examples) == list(want) == ["forget", "odd", "none"]
    for name, examples in want.items():
        assert [e.record for e in examples] == list(two_sets().sets[name])
        assert len(found.examples[name]) == len(examples)
        assert all(same(a, b) for a, b in zip(found.examples[name], examples, strict=True))
    assert found.fingerprint == {"weights_sha256": "abc"}


def test_every_need_is_measured_or_has_a_reason(finished: Path) -> None:
    for examples in read_measurements(finished).examples.values():
        for example in examples:
            found = {*example.answers, *example.texts, *example.gradients}
            assert found | example.unmeasured.keys() == set(ALL)
            assert not found & example.unmeasured.keys()
            for need, texts in example.texts.items():
                assert len(texts) == need.samples


def test_the_folder_says_what_it_is(finished: Path) -> None:
    meta = read_measurements(finished).meta
    assert meta["sets"] == {"forget": 6, "odd": 3, "none": 0}
    assert meta["encoder"]["end_token_scored"] is True
    assert meta["settings"]["path"].startswith("packs: checked")
    assert meta["versions"]["torch"] and meta["versions"]["unbelief"]
    for kind in ("answers", "texts", "gradients"):
        assert meta["cost"][kind]["forward_tokens"] > 0 <= meta["cost"][kind]["seconds"]


def test_forward_tokens_are_those_of_the_packs(tmp_path: Path) -> None:
    only = Plan({"s": [record(0)]}, {"s": ALL[:3]})
    measure(answer_model(), encoder(), only, tmp_path / "m", fingerprint={})
    r = record(0)
    answers = (r.answer, *r.paraphrases, *r.perturbed)
    tokens = len(encoder().encode_prompt(r.prompt)) + sum(len(a) + 1 for a in answers)
    cost = read_measurements(tmp_path / "m").meta["cost"]
    assert cost["answers"]["forward_tokens"] == tokens
    assert cost["texts"] == cost["gradients"] == {"seconds": 0.0, "forward_tokens": 0}


def test_only_the_owner_can_read_it(finished: Path) -> None:
    assert stat.S_IMODE(finished.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in finished.iterdir()} == {0o600}


def test_any_parquet_reader_can_read_the_tables(finished: Path) -> None:
    for name, schema in SCHEMAS.items():
        assert pq.read_table(finished / f"{name}.parquet").schema.equals(schema)
    answers = pq.read_table(finished / "answers.parquet")
    assert str(answers.schema.field("logp").type) == "list<element: float>"
    needs = json.loads((finished / "meta.json").read_text())["needs"]
    own = [needs[i].get("answer") == "answer" for i in answers["need"].to_pylist()]
    assert any(own) and not all(own)
    for name in ("entropy", "variance"):  # of the records' own answers, and of nothing else
        lengths = [None if v is None else len(v) for v in answers[name].to_pylist()]
        rows = zip(answers["token_ids"].to_pylist(), own, strict=True)
        assert lengths == [len(ids) if has else None for ids, has in rows]


def test_arrays_cannot_be_written_to(finished: Path) -> None:
    answer = read_measurements(finished).examples["forget"][0].answers[OWN][0]
    with pytest.raises(ValueError, match="read-only"):
        answer.logp[0] = 0.0


def test_reading_needs_no_torch(finished: Path) -> None:
    code = (
        "import sys; from unbelief.measure import read_measurements; "
        "n = len(read_measurements(sys.argv[1]).examples['forget']); "
        "heavy = {'torch', 'transformers', 'scipy'} & sys.modules.keys(); print(n, heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["6", "set()"]


def test_a_table_is_made_when_those_before_it_are_on_disk(tmp_path: Path) -> None:
    sets, made = {"s": [record(0)]}, list[str]()

    def make(name: str) -> pa.Table:
        on_disk = sorted(file.stem for file in tmp_path.rglob("*.parquet"))
        assert on_disk == sorted(made)
        made.append(name)
        parts = [examples_table(sets, {})] if name == "examples" else []
        return merged(name, parts)

    meta = {"salt": "00" * 16, "sets": {"s": 1}, "needs": [], "fingerprint": {}}
    tables = {name: partial(make, name) for name in SCHEMAS}
    write_measurements(tmp_path / "m", tables, meta, overwrite=False)
    assert made == list(SCHEMAS)
    assert [e.record for e in read_measurements(tmp_path / "m").examples["s"]] == sets["s"]


@pytest.mark.parametrize("name", [*(f"{n}.parquet" for n in SCHEMAS)])
def test_a_changed_file_is_noticed(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(RequestError, match=f"damaged: {name} is not the file that was written"):
        read_measurements(copy)


@pytest.mark.parametrize("name", [*(f"{n}.parquet" for n in SCHEMAS)])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(RequestError, match=f"damaged: {name} is missing"):
        read_measurements(copy)


def edited(folder: Path, **values: Any) -> Path:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | values))
    return folder


def test_measurements_with_moments_of_every_answer_can_be_read(copy: Path) -> None:
    # As the first version wrote them: no column of numbers had gaps.
    file = copy / "answers.parquet"
    table = pq.read_table(file)
    for name in ("entropy", "variance"):
        at = table.schema.get_field_index(name)
        full = pa.array(table["logp"].to_pylist(), table.schema.field(name).type)
        table = table.set_column(at, pa.field(name, full.type, nullable=False), full)
    pq.write_table(table, file)
    digests = json.loads((copy / "meta.json").read_text())["files"]
    salt = json.loads((copy / "meta.json").read_text())["salt"]
    digests[file.name] = hmac.new(bytes.fromhex(salt), file.read_bytes(), "sha256").hexdigest()
    found = read_measurements(edited(copy, schema_version=1, files=digests)).examples["forget"][0]
    for answers in found.answers.values():
        for one in answers:
            assert one.entropy is not None and np.array_equal(one.entropy, one.logp)


def test_other_schema_versions_are_refused(copy: Path) -> None:
    with pytest.raises(RequestError, match="schema version 99, this program reads 1"):
        read_measurements(edited(copy, schema_version=99))


@pytest.mark.parametrize("values", [{"needs": []}, {"sets": {}}, {"salt": "x"}, {"files": {}}])
def test_metadata_that_does_not_fit_is_damage(copy: Path, values: Any) -> None:
    with pytest.raises(RequestError, match="the measurement is damaged"):
        read_measurements(edited(copy, **values))


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense"])
def test_broken_metadata_is_damage(copy: Path, content: str) -> None:
    (copy / "meta.json").write_text(content)
    with pytest.raises(RequestError, match=r"meta\.json cannot be read"):
        read_measurements(copy)


def test_no_measurement_at_all(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no such folder"):
        read_measurements(tmp_path / "none")
    with pytest.raises(RequestError, match=r"it has no meta\.json"):
        read_measurements(tmp_path)


def test_the_plans_digest_needs_the_salt_and_sees_every_text() -> None:
    base, salt = two_sets(), "00" * 16
    digests = {plan_hmac(base, salt), plan_hmac(base, "01" * 16)}
    for name in ("id", "answer", "group", "paraphrased_prompt", "source"):
        changed = [record(0, **{name: "another"}), *base.sets["forget"][1:]]
        digests.add(plan_hmac(Plan({**base.sets, "forget": changed}, base.needs), salt))
    digests.add(plan_hmac(Plan(base.sets, {**base.needs, "odd": ALL[1:]}), salt))
    reordered = [*base.sets["forget"][::-1]]
    digests.add(plan_hmac(Plan({**base.sets, "forget": reordered}, base.needs), salt))
    assert len(digests) == 9
    assert plan_hmac(two_sets(), salt) in digests


# Tables alone, with arbitrary content.

NEEDS = (OWN, TextNeed(ALL[5].decoding, samples=2), ALL[-1])  # type: ignore[union-attr]
FLOATS = st.lists(st.floats(width=32), min_size=0, max_size=5)


@settings(max_examples=30)
@given(st.lists(FLOATS, min_size=1, max_size=4), st.text(), st.randoms())
def test_tables_keep_every_bit_in_any_order(values: Any, text: str, order: Any) -> None:
    """NaN, infinities, -0.0, no tokens, and parts in any order."""
    texts = text.encode("utf-8", "replace").decode()
    sets = {"s": [Record(id=str(i), prompt=texts, answer=texts) for i in range(len(values))]}
    answers, said, norms = [], [], []
    for i, floats in enumerate(values):
        array = np.array(floats, dtype=np.float32)
        answer = Answer((1,), (), False, True, texts, [Place(0, i, 0)])
        ids = np.arange(len(floats), dtype=np.int32)
        moments = None if i % 3 == 1 else array
        answers.append(answers_table([Scored(answer, ids, array, ids > 1, moments, moments)]))
        one = TextMeasurement(token_ids=(i,), text=texts, log_prob=-float(i), finished=True)
        said.append(texts_table([Said(Ask("", (1,), (), 1, [Place(0, i, 1)]), (one, one))]))
        norms.append(gradients_table([([Place(0, i, 2)], float(len(floats)))]))
    for parts in (answers, said, norms):
        order.shuffle(parts)
    tables = {
        "examples": merged("examples", [examples_table(sets, {(0, 0): {0: "why"}})]),
        "answers": merged("answers", answers),
        "texts": merged("texts", said),
        "gradients": merged("gradients", norms),
    }
    examples = examples_of(tables, ["s"], NEEDS)["s"]
    assert [e.record for e in examples] == sets["s"]
    assert examples[0].unmeasured == {OWN: "why"}
    for i, (example, floats) in enumerate(zip(examples, values, strict=True)):
        (answer,) = example.answers[OWN]
        bits = np.array(floats, dtype=np.float32).tobytes()
        assert answer.logp.tobytes() == bits
        for values_of in (answer.entropy, answer.variance):
            assert (None if values_of is None else values_of.tobytes()) == (
                None if i % 3 == 1 else bits
            )
        assert [t.token_ids for t in example.texts[NEEDS[1]]] == [(i,), (i,)]  # type: ignore[index]
        assert example.gradients == {ALL[-1]: len(floats)}
        assert answer.truncated and not answer.has_end and answer.decoded == texts
