from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from itertools import pairwise

import pytest

from tests.lab.made import result
from tests.report.parsed import Page
from unbelief.errors import RequestError
from unbelief.lab.document import document
from unbelief.report import build_lab_report, distance_table, tables, to_csv, to_markdown
from unbelief.report.tables import Table, decimals, with_interval


@pytest.fixture(scope="module")
def made():
    return document(
        result(
            {
                ("npo", 1e-3): [(0.2, 0.9, 1.0, 0.9), (0.0, 0.2, 0.3, 0.6)],
                ("bs-s", 1e-3): [(0.3, 0.7, 1.0, 0.9), (0.0, 0.2, 0.5, 0.7)],
                ("bs-t", 1e-3): [(0.2, 0.9, 1.0, 0.9)],
                ("graddiff-control", 1e-3): [(0.2, 0.9, 1.0, 0.9)],
            },
            families={"bs-s": "belief", "bs-t": "belief", "graddiff-control": "control"},
            spread=0.05,
        )
    )


@pytest.fixture(scope="module")
def page(made):
    return build_lab_report(made)


def test_page_needs_nothing_from_elsewhere(page):
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        assert not {"src", "onclick", "onload"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_text_of_others_is_escaped(page):
    assert "Ada &lt;b&gt;Orn&lt;/b&gt;" in page and "<b>Orn" not in page


def test_no_object_shows_its_address(page):
    # `facts.values` in a template is the dictionary's method, not its entry.
    assert " at 0x" not in page and "built-in" not in page


def test_ids_are_unique_and_what_is_referred_to_exists(page):
    attributes = [a for _, a in Page(page).tags]
    ids = [a["id"] for a in attributes if "id" in a]
    assert len(ids) == len(set(ids))
    for a in attributes:
        for target in (a.get("aria-labelledby") or "").split():
            assert target in ids
        if (a.get("href") or "").startswith("#"):
            assert a["href"][1:] in ids


def test_tables_have_captions_and_scopes_and_charts_have_words(page):
    tags = Page(page).tags
    assert sum(t == "table" for t, _ in tags) == sum(t == "caption" for t, _ in tags)
    assert all(a.get("scope") in ("row", "col") for t, a in tags if t == "th")
    charts = [a for t, a in tags if t == "svg"]
    # Stacked shares and curves for four methods, two trade-offs, one dot plot.
    assert len(charts) == 4 + 4 + 2 + 1
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in charts)


def test_page_says_every_finding_and_every_number_of_the_table(page, made):
    plain = page.replace("&#39;", "'")
    for finding in made["analysis"]["findings"]:
        assert finding["title"] in plain and finding["text"] in plain
    for row in distance_table(made).rows:
        for cell in filter(None, row):
            assert f">{cell}</" in page


def test_headings_do_not_skip_a_level(page):
    levels = [int(m) for m in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_other_documents_are_refused(made):
    with pytest.raises(RequestError, match="schema"):
        build_lab_report({**made, "schema": 2})
    with pytest.raises(RequestError, match="no analysis"):
        build_lab_report({k: v for k, v in made.items() if k != "analysis"})
    with pytest.raises(RequestError, match="schema"):
        build_lab_report([])  # type: ignore[arg-type]


def test_run_that_stopped_is_among_the_limits(made):
    curves = [dict(c) for c in made["curves"]]
    curves[0]["stopped"] = "the loss is not finite"
    page = build_lab_report({**made, "curves": curves})
    assert "NPO at learning rate 0.001 (seed 0) ended early: the loss is not finite" in page


def test_markdown_has_one_row_per_line(made):
    text = to_markdown(made)
    table = distance_table(made)
    lines = text.split("\n\n")[1].splitlines()
    assert len(lines) == 2 + len(table.rows)
    assert all(line.count("|") == len(table.head) + 1 for line in lines)
    assert text.count("**") == 2 * len(tables(made))


def test_csv_keeps_full_numbers(made):
    rows = list(csv.DictReader(io.StringIO(to_csv(made))))
    npo = next(r for r in rows if r["model"] == "npo" and r["quantity"] == "distance")
    shown = next(r for r in made["analysis"]["rows"] if r["method"] == "npo")
    assert float(npo["value"]) == shown["distance"]["value"]
    assert {r["section"] for r in rows} == {"distance", "squeezing", "equal leak"}


def test_unscored_is_a_dash_not_a_zero():
    assert with_interval({"value": None, "low": None, "high": None}) == "–"
    assert with_interval({"value": -0.25, "low": None, "high": None}) == "−0.25"
    assert with_interval({"value": 0.5, "low": -0.1, "high": 1.0}) == "0.50 (−0.10 to 1.00)"
    assert decimals(-0.001) == "0.00" and decimals(0.1, signed=True) == "+0.10"


def test_ragged_table_is_refused():
    with pytest.raises(ValueError, match="different lengths"):
        Table(title="t", head=("a", "b"), rows=(("1",),))


def test_report_does_not_import_torch():
    code = "import sys, unbelief.report; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_seeds_are_said_to_be_the_basis_of_intervals():
    made = document(result({("npo", 1e-3): [(0.2, 0.9, 1.0, 0.9)]}, seeds=(0, 1, 2)))
    page = build_lab_report(made)
    assert "over 3 seeds" in page and "worlds, one seed each" in page
    assert "say nothing about another seed" not in page
