"""`unbelief report` as it is called."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest

from tests.cli.common import call
from tests.lab.made import result
from tests.report.evaluated import line, results, save
from tests.report.made import audit
from unbelief.lab.document import document as lab_document


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "run" / "audit.json", json.loads(audit(4).model_dump_json())).parent


@pytest.mark.parametrize(
    ("ending", "begins"),
    [("html", "<!doctype html>"), ("md", "# Forgetting"), ("tex", "% "), ("csv", '"section"')],
)
def test_an_audit_in_every_format(run, tmp_path, ending, begins):
    output = tmp_path / f"report.{ending}"
    done = call("report", run, "--output", output)
    assert (done.code, done.out, done.err) == (0, f"{output}\n", "")
    assert output.read_text(encoding="utf-8").startswith(begins)


@pytest.mark.parametrize("ending", ["html", "md", "tex", "csv"])
def test_two_evaluations_and_one_lab_in_every_format(tmp_path, ending):
    files = [save(tmp_path / f"{i}.json", results({"p": line(i / 8)})) for i in (1, 2)]
    lab = save(tmp_path / "result.json", lab_document(result({("npo", 1e-3): [(0.2,) * 4]})))
    for i, sources in enumerate((files, [lab])):
        output = tmp_path / f"out{i}.{ending}"
        assert call("report", *sources, "--output", output).code == 0
        assert output.stat().st_size > 100


def test_prompts_as_csv_and_json_on_stdout(run, tmp_path):
    output = tmp_path / "prompts.csv"
    done = call("report", run, "--output", output, "--prompts", "--json")
    assert json.loads(done.out) == {"written": [str(output)]}
    with output.open(newline="", encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 4 * 4


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (["--output", "x.pdf"], "there is no format '.pdf'", ".html, .md, .tex, .csv"),
        (["--output", "x"], "without an ending", ".html, .md, .tex, .csv"),
        ([], "there is nothing to make", "--output FILE or --card MODEL"),
        (["--prompts"], "there is nothing to make", "--output FILE or --card MODEL"),
        (["--output", "x.md", "--prompts"], "written as CSV only", "--output FILE.csv"),
        (["--card", "."], "there is no model card", "the audited model"),
    ],
)
def test_requests_that_cannot_be_met_end_with_2_and_a_remedy(
    run, tmp_path, monkeypatch, arguments, message, remedy
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = call("report", run, *arguments)
    assert done.code == 2 and message in done.err and remedy in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_and_newer_files_end_with_2(tmp_path):
    output = tmp_path / "out.html"
    broken = tmp_path / "broken.json"
    broken.write_text('{"a":\n')
    done = call("report", broken, "--output", output)
    assert done.code == 2 and f"{broken}:2: this is not JSON" in done.err
    newer = save(tmp_path / "n.json", {"schema_name": "unbelief.audit", "version": 99})
    done = call("report", newer, "--output", output)
    assert done.code == 2 and "version 99" in done.err and "upgrade unbelief" in done.err
    assert not output.exists()


def test_an_existing_output_is_replaced_only_when_allowed(run, tmp_path):
    output = tmp_path / "report.md"
    output.write_text("mine")
    assert call("report", run, "--output", output).code == 2 and output.read_text() == "mine"
    assert call("report", run, "--output", output, "--overwrite").code == 0
    assert output.read_text(encoding="utf-8").startswith("# ")


def test_one_card_for_one_audit(run, tmp_path):
    done = call("report", run, run, "--card", tmp_path)
    assert done.code == 2 and "summary of one audit" in done.err
    twice = call("report", run, run, "--output", tmp_path / "p.csv", "--prompts")
    assert twice.code == 2 and "those of one audit" in twice.err


def test_a_report_needs_no_torch(run, tmp_path):
    code = (
        "import sys; from unbelief.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    arguments = ["report", str(run), "--output", str(tmp_path / "r.html")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
