"""Data sets of the hub leave nothing behind. `datasets` opens local folders the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unbelief.data import read_records
from unbelief.data.hub import parse_hub_id, read_hub_rows
from unbelief.errors import RequestError

CANARY = "canary-4b1d-text-to-forget"

pytest.importorskip("datasets", reason="needs the extra `hub`")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name", ("org/name", None, None)),
        ("org/na.me_1-x:con-fig.2", ("org/na.me_1-x", "con-fig.2", None)),
        ("org/name:part[train]", ("org/name", "part", "train")),
        ("org/name[train]", ("org/name", None, "train")),
        ("org/name[]", None),
        ("name", None),
        ("a/b/c", None),
        ("/org/name", None),
        ("org/name:", None),
        ("org/name:a:b", None),
        ("../name x", None),
    ],
)
def test_hub_ids(source: str, expected: tuple[str, str | None, str | None] | None) -> None:
    assert parse_hub_id(source) == expected


def test_an_existing_path_is_never_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    (tmp_path / "org" / "name" / "a.jsonl").write_text('{"text": "local"}\n')
    monkeypatch.chdir(tmp_path)
    assert read_records("org/name")[0].id == "a:1"


def test_a_misspelt_path_is_not_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="no such file"):
        read_records("data/forget.jsonl")


def test_offline_is_honoured_and_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RequestError) as caught:
        read_records("no-such-org/no-such-data:part", split="train")
    assert caught.value.where == "no-such-org/no-such-data:part"
    assert "HF_HUB_OFFLINE is set" in str(caught.value.remedy)
    assert "Traceback" not in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(RequestError, match="not installed") as caught:
        read_records("org/name")
    assert "pip install" in str(caught.value.remedy)


READ = """
import json, sys
from unbelief.data.hub import read_hub_rows
rows, label = read_hub_rows(sys.argv[1], None, "train", None)
print(json.dumps([label, [[r.where, r.number, r.values] for r in rows]]))
"""


def test_no_copy_is_left_in_the_cache(tmp_path: Path) -> None:
    """Every file below the home, the cache and the temporary folder is searched afterwards."""
    source = tmp_path / "source"
    source.mkdir()
    rows = [{"question": f"{CANARY} {i}", "answer": f"{CANARY} {i}"} for i in range(50)]
    (source / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    elsewhere = {name: tmp_path / name for name in ("HOME", "HF_HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for folder in elsewhere.values():
        folder.mkdir()
    environment = {**os.environ, **{k: str(v) for k, v in elsewhere.items()}}
    done = subprocess.run(
        [sys.executable, "-c", READ, str(source)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    label, found = json.loads(done.stdout)
    assert label == f"{source}[train]"
    assert [values for _, _, values in found] == rows
    assert found[1][:2] == [f"{source}[train]:2", 2]
    left = [p for p in tmp_path.rglob("*") if p.is_file() and source not in p.parents]
    assert [p for p in left if CANARY.encode() in p.read_bytes()] == []
    assert list(elsewhere["TMPDIR"].iterdir()) == []


def test_splits_limits_and_labels(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows_of_split = [{"text": f"{split} {i}"} for i in (1, 2)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows_of_split)))
    rows, label = read_hub_rows(str(tmp_path), None, "test", 1)
    assert [r.values for r in rows] == [{"text": "test 1"}]
    assert label == f"{tmp_path}[test]"
    with pytest.raises(RequestError, match="no split was named; the splits are test, train"):
        read_hub_rows(str(tmp_path), None, None)
    with pytest.raises(RequestError, match="no split 'valid'"):
        read_hub_rows(str(tmp_path), None, "valid")


def test_hub_rows_become_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from unbelief.data import hub
    from unbelief.data.lines import Row

    def rows(
        name: str, config: str | None, split: str | None, limit: int | None
    ) -> tuple[list[Row], str]:
        assert (name, config, split, limit) == ("org/name", "part", "train", None)
        label = "org/name:part[train]"
        return [Row(f"{label}:{i}", i, {"text": f"t{i}"}) for i in (1, 2)], label

    monkeypatch.setattr(hub, "read_hub_rows", rows)
    monkeypatch.chdir(tmp_path)
    records = read_records("org/name:part", split="train", group_by_rows=2)
    assert [r.id for r in records] == ["name:part[train]:1", "name:part[train]:2"]
    assert [r.source for r in records] == ["org/name:part[train]:1", "org/name:part[train]:2"]
    assert {r.group for r in records} == {"name:part[train]:1-2"}
    # The label that records are cited by can be given as a source.
    again = read_records("org/name:part[train]", group_by_rows=2)
    assert again == records
    with pytest.raises(RequestError, match="two splits"):
        read_records("org/name:part[train]", split="test")
