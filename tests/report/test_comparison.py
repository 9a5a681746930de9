from __future__ import annotations

import csv
import io
import re

import pytest

from tests.report.evaluated import estimate, line, results, save
from tests.report.made import attacks, audit
from tests.report.parsed import Page
from unbelief.errors import RequestError
from unbelief.report.comparison_exports import (
    comparison_csv,
    comparison_html,
    comparison_latex,
    comparison_markdown,
)
from unbelief.report.reading import read_runs
from unbelief.report.side_by_side import compare


def of(tmp_path, *contents):
    files = [save(tmp_path / f"run{i}.json", c) for i, c in enumerate(contents)]
    return compare(read_runs(files))


def audits(tmp_path, *documents):
    files = [tmp_path / f"a{i}" / "audit.json" for i in range(len(documents))]
    for file, document in zip(files, documents, strict=True):
        file.parent.mkdir()
        file.write_text(document.model_dump_json())
    return compare(read_runs(files))


def test_one_evaluation_stands_beside_its_retrained_model(tmp_path):
    made = of(tmp_path, results({"p": line(0.5, 0.1)}, retrained=True))
    (part,) = made.parts
    assert part.columns == ("This model", "Retrained", "Distance to retrained")
    assert [n.value for n in part.lines[0].numbers] == [0.5, 0.1, 0.4]
    assert part.lines[0].about == "probability · wanted: lower" and made.warnings == ()


def test_without_retrained_model_there_is_no_column_for_it_but_a_warning(tmp_path):
    made = of(tmp_path, results({"p": line(0.5)}))
    assert made.parts[0].columns == ("This model",)
    assert "No retrained model was given" in made.warnings[0]


def test_several_stand_side_by_side_with_what_each_lacks(tmp_path):
    first = results({"p": line(0.5, 0.1), "only": line(0.2)}, retrained=True)
    second = results({"p": line(0.4), "none": line(None)})
    values, distances = of(tmp_path, first, second).parts
    assert values.columns == ("run0", "run1")
    cells = {ln.name: [c.text() for c in ln.cells] for ln in values.lines}
    assert cells["only"][1] == "n/a: not in this run"
    assert cells["none"] == [
        "n/a: not in this run",
        "unscored: the record has no paraphrase (400)",
    ]
    assert cells["p"] == ["0.50 (0.48 to 0.52), n = 400", "0.40 (0.38 to 0.42), n = 400"]
    (gap,) = distances.lines
    assert [c.text() for c in gap.cells] == [
        "0.40 (0.38 to 0.42), n = 400",
        "n/a: no retrained model was given",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"convention": "open-unlearning"}, "differ in convention"),
        ({"choices": {"samples": 8}}, "differ in choices"),
        ({"suite": "muse"}, "differ in suite"),
        ({"lines": {"p": line(0.5, version=2)}}, "Definitions differ in p"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path, changes, message):
    made = of(tmp_path, results({"p": line(0.5)}), results({"p": line(0.5)}) | changes)
    assert any(message in w and "not comparable" in w for w in made.warnings)
    assert message in comparison_html(made) and message in comparison_markdown(made)


def test_an_incomplete_results_file_is_refused(tmp_path):
    broken = results({"p": {"estimate": {"value": 1}}})
    with pytest.raises(RequestError, match="incomplete"):
        of(tmp_path, broken)
    content = results({})
    del content["suite"]
    with pytest.raises(RequestError, match="incomplete"):
        of(tmp_path, content)


def test_audits_are_compared_by_measure_and_by_attack(tmp_path):
    second = audit(3, retrained=False, attacks=attacks(False)[1:])
    made = audits(tmp_path, audit(3), second)
    assert [part.title for part in made.parts] == [
        "The unlearned model",
        "Distance to the retrained model",
        "Under attack",
    ]
    gaps = {ln.name: [c.text() for c in ln.cells] for ln in made.parts[1].lines}
    assert gaps["privleak"] == ["n/a: not computed", "n/a: no retrained model was given"]
    under = {ln.name: [c.text() for c in ln.cells] for ln in made.parts[2].lines}
    assert under["key-fact recall@relearn"][1] == "n/a: not in this audit"
    assert "hidden states" in under["@probe"][0]
    assert dict(made.runs)["a0"]["Verdict"] == "fail"


def test_audits_of_different_prompts_are_compared_with_care(tmp_path):
    made = audits(tmp_path, audit(3), audit(4))
    assert made.warnings == ("The audits asked different prompts: compare with care.",)


def test_page_has_no_script_and_allows_none(tmp_path):
    page = comparison_html(of(tmp_path, results({"<b>": line(0.5)}), results({"p": line(0.4)})))
    parsed = Page(page)
    assert "script" not in {t for t, _ in parsed.tags} and "script-src" not in page
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert "&lt;b&gt;" in page and "<b>" not in page.replace("<b>unscored", "").replace(
        "<b>n/a", ""
    )


def test_exports_hold_the_same_numbers(tmp_path):
    made = of(tmp_path, results({"a_b": line(0.5)}), results({"a_b": line(None)}))
    rows = list(csv.DictReader(io.StringIO(comparison_csv(made))))
    assert [(r["run"], r["value"]) for r in rows] == [("run0", "0.5"), ("run1", "")]
    assert rows[1]["reasons"] == "the record has no paraphrase: 400"
    assert r"a\_\allowbreak{}b & probability" in comparison_latex(made)
    (table,) = re.findall(r"(?:^\|.*\n)+", comparison_markdown(made), re.MULTILINE)[1:]
    assert "0.50 (0.48 to 0.52), n = 400" in table and "unscored" in table


def test_notes_of_runs_are_kept(tmp_path):
    noted = results({"p": line(0.5)}, notes=["the model is an adapter"])
    assert of(tmp_path, noted).notes == ("the model is an adapter",)
    assert of(tmp_path, noted, results({"p": line(0.5)})).notes == (
        "run0: the model is an adapter",
    )


def test_values_that_json_has_no_number_for_are_unscored(tmp_path):
    content = results({"p": {**line(0.5), "estimate": estimate(None, reasons={})}})
    assert of(tmp_path, content).parts[0].lines[0].cells[0].text().startswith("unscored")
