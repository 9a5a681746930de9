from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.made import audit, share, verdict
from tests.report.test_audit_page import NASTY, everywhere
from unbelief.report import latex, markdown
from unbelief.report.cells import guarded, write_csv
from unbelief.report.exports import audit_csv, audit_latex, audit_markdown, prompts_csv
from unbelief.report.tables import Table


@pytest.fixture(scope="module")
def document():
    return audit(120)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def unescaped_bars(line):
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))


# Markdown


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a_b|c", r"a\_b\|c"),
        ("<b> & [x](y) ![i](j)", r"\<b\> \& \[x\](y) \!\[i\](j)"),
        ("one\ntwo\u202e", "one two[U+202E]".replace("[", r"\[").replace("]", r"\]")),
    ],
)
def test_markdown_texts_stay_texts(text, written):
    assert markdown.escape(text) == written


@pytest.mark.parametrize(
    ("text", "written"), [("1. x", "1\\. x"), ("- x", "\\- x"), ("# x", "\\# x"), ("2.5", "2.5")]
)
def test_a_paragraph_begins_neither_list_nor_heading(text, written):
    assert markdown.paragraph(text) == written


def test_markdown_has_everything_but_texts_of_records(document):
    text = audit_markdown(document)
    judged = verdict()
    for part in (judged.sentence, judged.worst, "hidden states of this architecture"):
        assert part in text
    assert "## Verdict: fail" in text and "unscored: no holdout records were given (400)" in text
    for prompt in document.prompts:
        for private in (prompt.prompt, prompt.truth, prompt.group, *prompt.facts):
            assert private not in text


@pytest.mark.parametrize("text", NASTY)
def test_markdown_tables_survive_any_text(text):
    written = audit_markdown(everywhere(text))
    for block in re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE):
        assert len({unescaped_bars(line) for line in block.splitlines()}) == 1
    assert not re.search(r"(?<!\\)<", written)


# LaTeX


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("50 % of a_b & c#1", r"50 \% of a\_\allowbreak{}b \& c\#1"),
        (r"\input{x} $y$ ~^", r"\textbackslash{}input\{x\} \$y\$ \textasciitilde{}"
         r"\textasciicircum{}"),
        ("x <= 2 | y", r"x \textless{}= 2 \textbar{} y"),
        ("−1 × 10⁻⁵", r"$-$1 $\times$ 10$^{-}$$^{5}$"),
        ("12\u202f350, a\u00a0b\nc", r"12\,350, a~b c"),
        ("[x] --", r"{[}x{]} -{}-{}"),
    ],
)  # fmt: skip
def test_latex_texts_stay_texts(text, written):
    assert latex.escape(text) == written


SPECIAL = re.compile(r"(?<!\\)(?:\\\\)*[&%#_$~^{}]")


@settings(deadline=None)
@given(st.text(max_size=30))
def test_latex_is_balanced_and_has_no_command_of_a_text(text):
    written = latex.escape(text)
    without_own = written
    for own in sorted({v for v in latex._ESCAPES.values() if len(v) > 1}, key=len, reverse=True):
        without_own = without_own.replace(own, "")
    assert not set("\\{}&%#_$^") & set(without_own)
    assert "\n" not in written


def test_latex_tables_have_equal_rows_and_booktabs_rules(document):
    text = audit_latex(document)
    for table in text.split(r"\begin{longtable}")[1:]:
        head = table[table.index(r"\toprule") :].split("\n")[1]
        width = len(re.findall(r"(?<!\\)&", head)) + 1
        rows = [r for r in table.split("\n") if r.endswith(r" \\")]
        assert len(rows) > 2 and {len(re.findall(r"(?<!\\)&", r)) + 1 for r in rows} == {width}
        assert table.count(r"\linewidth") == width
        for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{longtable}"):
            assert rule in table
    assert text.count(r"\begin{longtable}") == text.count(r"\label{tab:audit-") == 5
    for prompt in document.prompts:
        assert latex.escape(prompt.prompt) not in text


def test_latex_column_widths_fit_the_line():
    for widths in re.findall(r"\\begin\{longtable\}(.*)", audit_latex(audit(3))):
        shares = re.findall(r"p\{\\dimexpr ([\d.]+)\\linewidth-2\\tabcolsep\\relax\}", widths)
        assert sum(map(float, shares)) == pytest.approx(1)


def test_a_latex_table_without_widths_sets_numbers_to_the_right():
    table = Table(title="T", head=("a", "b", "c"), rows=(("1", "2", "3"),))
    assert r"\begin{longtable}{@{}lrr@{}}" in latex.table(table, "t")


# CSV


def test_csv_has_every_number_with_all_its_digits(document):
    rows = rows_of(audit_csv(document))
    by_key = {(r["section"], r["name"], r["quantity"]): r for r in rows}
    for m in document.measures:
        for role, number in m.models.items():
            row = by_key[f"measure: {m.group}", m.name, role]
            if number.value is None:
                assert row["value"] == row["low"] == "" and row["reasons"]
            else:
                assert float(row["value"]) == number.value
                assert float(row["low"]) == number.low and int(row["n"]) == number.n
    assert by_key["attack", "relearn", "after"]["value"] == "0.43"
    assert by_key["attack not run", "probe", ""]["reasons"].startswith("hidden states")
    assert by_key["gate", "privleak", "unlearned"]["value"] == ""
    assert int(by_key["flag", "leaked", "unlearned"]["value"]) == document.flags["leaked"]
    assert sum(r["section"] == "curve" for r in rows) == 6 * 2 + 7 * 2


def test_prompts_csv_has_a_line_per_response(document):
    rows = rows_of(prompts_csv(document))
    assert len(rows) == sum(len(p.responses) for p in document.prompts)
    first = document.prompts[0]
    mine = [r for r in rows if r["id"] == first.id]
    assert [r["by"] for r in mine] == [r.by for r in first.responses]
    assert float(mine[0]["probability"]) == first.scores["probability"]
    unscored = next(p for p in document.prompts if p.scores["key_fact_recall"] is None)
    assert {r["key_fact_recall"] for r in rows if r["id"] == unscored.id} == {""}


def test_a_prompt_without_response_still_has_a_line():
    row = audit(1).prompts[0].model_copy(update={"responses": ()})
    (only,) = rows_of(prompts_csv(audit(1, prompts=(row,))))
    assert only["id"] == row.id and only["response"] == ""


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "＋1", "－1", "＠x",
     '=HYPERLINK("http://x","y")', "|x"],
)  # fmt: skip
def test_texts_are_no_formulas(text):
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=b", "1-2", "'=x", "−1"])
def test_other_texts_stay_as_they_are(text):
    assert guarded(text) == text


@settings(deadline=None)
@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=3))
def test_no_cell_begins_a_formula_and_every_text_can_be_read_again(rows):
    text = write_csv(("a", "b"), rows)
    text.encode("utf-8")
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert len(read) == len(rows)
    for got, given_ in zip(read, rows, strict=True):
        assert [c.lstrip()[:1] in "=+-@" and bool(c.strip()) for c in got] == [False, False]
        assert [c.removeprefix("'") for c in got] == [
            g.replace("\x00", "\ufffd").removeprefix("'") for g in given_
        ]


def test_numbers_are_not_guarded_and_nothing_is_empty():
    text = write_csv(("x",), [(-1.5,), (None,), (float("nan"),), (0,)])
    assert text == '"x"\n-1.5\n""\n""\n0\n'


def test_hostile_responses_are_guarded_in_the_file():
    for text in ("=cmd|' /C calc'!A0", "@x", "-2+3"):
        rows = rows_of(prompts_csv(everywhere(text)))
        assert rows[0]["response"] == rows[0]["prompt"] == rows[0]["group"] == f"'{text}"


def test_a_value_that_is_missing_is_no_zero_in_any_export():
    made = audit(1)
    row = made.measures[0].model_copy(update={"models": {"unlearned": share(None)}})
    document = audit(1, measures=(row,))
    assert "unscored: no reason was recorded" in audit_markdown(document)
    assert "unscored: no reason was recorded" in audit_latex(document)
    (only,) = [r for r in rows_of(audit_csv(document)) if r["section"] == "measure: leak"][:1]
    assert only["quantity"] == "unlearned" and only["value"] == ""
