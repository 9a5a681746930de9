"""`unbelief diagnose`, `unbelief unlearn --track`: what is printed, how wrong requests end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.common import Called, call, write_data


@pytest.fixture
def place(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `forget.jsonl` and `retain.jsonl`, and `model` beside them."""
    write_data(tmp_path)
    (tmp_path / "model").symlink_to(tiny_folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def squeeze(*extra: object) -> Called:
    quick = ("--candidates", 3, "--max-new-tokens", 4, "--device", "cpu", "--prompts", 2)
    return call(
        "diagnose", "squeeze", "--original", "model", "--forget", "forget.jsonl",
        "--output", "out", *quick, *extra,
    )  # fmt: skip


def test_squeeze_prints_a_table_or_json(place: Path) -> None:
    said = squeeze("--models", "first=model", "second=model")  # several after one flag
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("The likeliest other answers did not rise while the target fell.")
    assert [line.split()[0] for line in lines[-5:-2]] == ["original", "first", "second"]
    assert lines[-1] == str(place / "out")
    said = squeeze("--models", "m=model", "--overwrite", "--json")
    document = json.loads(said.out)
    assert document["index"]["index"]["n"] == 2
    assert [p["label"] for p in document["points"]] == ["original", "m"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((), "no model to compare"),
        (("--models", "m=model", "--source", "guess"), "not one of the choices"),
        (("--models", "m=model", "--rank-by", "max"), "not one of the choices"),
        (("--models", "m=model", "--template", "jinja"), "not one of the choices"),
        (("--models", "m=model", "--temperatures", "hot"), "not a list of numbers"),
        (("--models", "m=model", "--column", "prompt"), "not field=column"),
        (("--models", "m=model", "--responses", "none"), "cannot read responses"),
        (("--models", "nowhere"), "nowhere"),
    ],
)
def test_wrong_squeeze_requests(place: Path, extra: tuple[object, ...], message: str) -> None:
    said = squeeze(*extra)
    assert said.code == 2
    assert message in said.err and "remedy" in said.err
    assert not (place / "out").exists() and not list(place.glob("*.partial"))


def test_akg_prints_predicted_and_true_changes(place: Path) -> None:
    asked = ("diagnose", "akg", "--model", "model", "--forget", "forget.jsonl", "--candidates", 0,
             "--others", 1, "--device", "cpu", "--output", "akg.json")  # fmt: skip
    said = call(*asked, "--method", "bs-t", "--set", "top_k=5")
    assert said.code == 0, said.err
    assert "One step of bs-t on forget:1" in said.out
    assert "2 for a right first order" in said.out
    assert json.loads((place / "akg.json").read_text())["objective"]["forget"]["top_k"] == 5
    assert call(*asked).code == 2  # it exists
    said = call(*asked, "--overwrite", "--json", "--learning-rates", "1e-3,1e-4")
    assert json.loads(said.out)["learning_rates"] == [1e-3, 1e-4]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--method", "rmu"), "hidden states"),
        (("--method", "gb"), "unknown method"),
        (("--record", "forget:99"), "no forget record"),
        (("--learning-rates", "1e-3"), "two different learning rates"),
        (("--set", "top_k"), "not key=value"),
    ],
)
def test_wrong_akg_requests(place: Path, extra: tuple[object, ...], message: str) -> None:
    said = call("diagnose", "akg", "--model", "model", "--forget", "forget.jsonl",
                "--output", "akg.json", "--candidates", 0, *extra)  # fmt: skip
    assert (said.code, message in said.err) == (2, True), said.err
    assert not (place / "akg.json").exists()


def unlearn(*extra: object) -> Called:
    return call(
        "unlearn", "--model", "model", "--forget", "forget.jsonl", "--retain", "retain.jsonl",
        "--method", "npo", "--output", "out", "--device", "cpu", "--max-steps", 2, *extra,
    )  # fmt: skip


def test_a_run_is_tracked(place: Path) -> None:
    said = unlearn("--track", "squeeze,every=1,prompts=2,candidates=3", "--json")
    assert said.code == 0, said.err
    folder = place / "out.run" / "squeeze"
    assert json.loads(said.out)["tracked"] == str(folder)
    document = json.loads((folder / "squeeze.json").read_text())
    assert [p["label"] for p in document["points"]] == ["0", "1", "2"]
    assert (folder / "squeeze.html").exists()


def test_wrong_tracking_writes_nothing(place: Path) -> None:
    said = unlearn("--track", "loss")
    assert said.code == 2 and "nothing called 'loss'" in said.err
    said = unlearn("--track", "squeeze,responses=none.jsonl")
    assert said.code == 2 and "cannot read responses" in said.err
    assert not list(place.glob("out*"))
