from __future__ import annotations

import json

import pytest

from tests.lab.made import result
from tests.report.evaluated import line, results, save
from tests.report.made import audit
from unbelief.errors import RequestError
from unbelief.lab.document import document as lab_document
from unbelief.report.reading import read_audit, read_runs


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "npo" / "audit.json", json.loads(audit(2).model_dump_json()))
    return tmp_path


def test_an_audit_is_read_from_its_folder_or_its_file(folder):
    by_folder, by_file = read_audit(folder / "npo"), read_audit(folder / "npo" / "audit.json")
    assert by_folder == by_file == audit(2)


def test_kinds_are_told_apart(folder, tmp_path):
    evaluated = save(tmp_path / "e.json", results({"a": line(0.5)}))
    lab = save(
        tmp_path / "lab" / "result.json", lab_document(result({("npo", 1e-3): [(0.2,) * 4]}))
    )
    assert [read_runs([f])[0].kind for f in (folder / "npo", evaluated, lab)] == [
        "audit",
        "evaluation",
        "lab",
    ]
    with pytest.raises(RequestError, match="of different kinds: audit, evaluation"):
        read_runs([folder / "npo", evaluated])
    with pytest.raises(RequestError, match="no audit but the result of an evaluation"):
        read_audit(evaluated)


def test_labels_are_short_and_different(tmp_path):
    content = results({"a": line(0.5)})
    files = [
        save(tmp_path / name, content)
        for name in ("x/npo/results.json", "y/npo/results.json", "y/bs.json")
    ]
    assert [run.label for run in read_runs(files)] == ["x/npo", "y/npo", "y/bs"]
    assert [run.label for run in read_runs(files[1:])] == ["npo", "bs"]
    same = [run.label for run in read_runs([files[2], files[2]])]
    assert [label[-4:] for label in same] == [" (1)", " (2)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "nothing a report can be made of"),
        ('{"schema_name": "unbelief.audit", "version": 4}', "newer unbelief"),
        ('{"schema_name": "unbelief.audit", "version": 2}', "version 2 is unknown"),
        ('{"schema_name": "unbelief.audit", "version": null}', "version None is unknown"),
        (
            '{"schema_name": "unbelief.audit", "version": 3}',
            r"title: Field required \(and \d+ more",
        ),
        ('{"schema": "unbelief/results", "schema_version": 7}', "newer unbelief"),
        ('{"schema": 9, "analysis": {}}', "newer unbelief"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_other_files_are_refused_with_a_remedy(tmp_path, content, message):
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(RequestError, match=message) as raised:
        read_runs([file])
    assert raised.value.remedy and str(file) in str(raised.value.where)


def test_a_file_that_is_not_text_and_one_that_is_not_there(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="not JSON"):
        read_runs([tmp_path / "x.json"])
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        read_runs([tmp_path / "missing.json"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"no audit\.json, results\.json"):
        read_runs([tmp_path / "empty"])


def test_an_unknown_field_is_named(folder):
    file = folder / "npo" / "audit.json"
    content = json.loads(file.read_text())
    content["verdict"]["mood"] = "good"
    file.write_text(json.dumps(content))
    with pytest.raises(RequestError, match=r"verdict\.mood: Extra inputs"):
        read_audit(file)
