"""The page of an audit as text; what a browser makes of it is in `test_browser.py`."""

from __future__ import annotations

import base64
import json
import re
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.made import attacks, audit, models, share, verdict
from tests.report.parsed import Page
from unbelief.report.assets import asset
from unbelief.report.audit_document import (
    AuditDocument,
    Curve,
    CurvePoint,
    PromptRow,
    Response,
)
from unbelief.report.audit_page import build_audit_report
from unbelief.report.prompts import json_block, prompt_data
from unbelief.report.visible import encodable, visible

NASTY = (
    "<script>window.ran=1</script>",
    "</script><script>window.ran=1</script>",
    "<!-- <script>",
    "--><img src=x onerror=window.ran=1>",
    "]]><svg onload=window.ran=1>",
    '"onmouseover="window.ran=1',
    "' autofocus onfocus=window.ran=1 x='",
    "</noscript></table></main></style><iframe src=javascript:window.ran=1>",
    "{{ 7*7 }} {% raw %} ${window.ran=1}",
    "\u2028window.ran=1\u2029//",
    "\u202egnp.exe \u2066<b>\u2069",
    "&lt;script&gt; &#60;b&#62; &amp;",
    "\x00<\x00script>\ud800",
)


def everywhere(text: str) -> AuditDocument:
    """An audit in which every free text is this one."""
    made = audit(1)
    row = made.prompts[0].model_copy(
        update={
            "id": text,
            "group": text,
            "prompt": text,
            "truth": text,
            "why": text,
            "facts": (text,),
            "scores": {text: 0.5},
            "responses": (Response(by=text, text=text, words=()),),
        }
    )
    point = CurvePoint(x=1, series={text: share(0.5)})
    curve = Curve(name=text, title=text, x_title=text, y_title=text, points=(point,), note=text)
    judged = verdict()
    gates = tuple(
        g.model_copy(update={"name": text, "rule": text, "because": text}) for g in judged.gates
    )
    return made.model_copy(
        update={
            "title": text,
            "created": text,
            "request_id": text,
            "models": tuple(
                m.model_copy(update={"source": text, "dtype": text, "weights_sha256": text})
                for m in models(True)
            ),
            "scope": {text: text},
            "verdict": judged.model_copy(
                update={
                    "sentence": text,
                    "claim_reason": text,
                    "worst": text,
                    "gates": gates,
                    "not_covered": (text,),
                }
            ),
            "measures": tuple(
                m.model_copy(update={"title": text, "better": text}) for m in made.measures
            ),
            "attacks": tuple(
                a.model_copy(
                    update={"title": text, "measure": text, "because": text, "options": {"a": text}}
                )
                for a in attacks(True)
            ),
            "curves": (curve,),
            "prompts": (row,),
            "checklist": tuple(
                c.model_copy(update={"place": text, "what_to_do": text, "found": text})
                for c in made.checklist
            ),
            "methods": (text,),
            "limits": (text,),
            "reproduction": {"a": text},
            "valid_for": text,
        }
    )


def skeleton(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Tags with their attributes, without places that depend on the length of a text."""
    return [(tag, {k: v for k, v in a.items() if k not in VARYING}) for tag, a in Page(page).tags]


VARYING = {"viewbox", "x", "x1", "x2", "points", "cx", "data-label"}
PLAIN = skeleton(build_audit_report(everywhere("x")))


@pytest.fixture(scope="module")
def document():
    return audit(40)


@pytest.fixture(scope="module")
def page(document):
    return build_audit_report(document)


@pytest.mark.parametrize("text", NASTY)
def test_hostile_texts_make_no_tag_and_no_attribute(text):
    page = build_audit_report(everywhere(f"x{text}"))
    assert skeleton(page) == PLAIN
    page.encode("utf-8")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=8)), min_size=1, max_size=4))
def test_no_text_makes_a_tag(parts):
    text = "x" + "".join(parts)
    made = everywhere(text)
    page = build_audit_report(made)
    assert skeleton(page) == PLAIN
    (block,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert not set("<>&\u2028\u2029") & set(block)
    (row,) = json.loads(block)["rows"]
    assert row["responses"][0]["text"] == [visible(text)] == [row["prompt"]]


@settings(max_examples=40, deadline=None)
@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_block_is_the_same_json_without_markup(value):
    block = str(json_block(value))
    assert json.loads(block) == value
    assert not set("<>&\u2028\u2029") & set(block)


def test_hidden_characters_are_shown(page):
    page = build_audit_report(everywhere("x\u202egnp.exe\x00"))
    assert "\u202e" not in page and "\x00" not in page
    assert "x[U+202E]gnp.exe[U+0000]" in page


def test_policy_names_exactly_the_style_and_the_script_of_the_page(page):
    tags = Page(page).tags
    policies = [a["content"] for t, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)

    def hashed(content):
        return base64.b64encode(sha256(content.encode()).digest()).decode()

    assert policies == [
        f"default-src 'none'; style-src 'sha256-{hashed(style)}'; "
        f"script-src 'sha256-{hashed(script)}'; base-uri 'none'; form-action 'none'"
    ]
    # The policy comes before anything it is about.
    assert page.index("Content-Security-Policy") < page.index("<style>") < page.index("<body>")


def test_page_needs_nothing_from_elsewhere(page):
    parsed = Page(page)
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        assert not {"src", "style", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    style = asset("style.css") + asset("audit.css")
    assert "url(" not in style and "@import" not in style


def test_script_handles_data_as_text_only():
    script = asset("audit.js")
    for way_in in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(",
                   "Function(", "fetch(", "XMLHttpRequest", "import("):  # fmt: skip
        assert way_in not in script
    assert "</script" not in script.lower() and "<!--" not in script


def test_ids_are_unique_and_what_is_referred_to_exists(page):
    attributes = [a for _, a in Page(page).tags]
    ids = [a["id"] for a in attributes if "id" in a]
    assert len(ids) == len(set(ids))
    for a in attributes:
        targets = f"{a.get('aria-labelledby') or ''} {a.get('for') or ''}".split()
        if (a.get("href") or "").startswith("#"):
            targets.append(a["href"][1:])
        assert set(targets) <= set(ids), a


def test_headings_tables_and_landmarks(page):
    levels = [int(m) for m in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    tags = Page(page).tags
    kinds = [t for t, _ in tags]
    assert kinds.count("table") == kinds.count("caption") > 6
    assert all(a.get("scope") in ("row", "col", "rowgroup") for t, a in tags if t == "th")
    assert [kinds.count(t) for t in ("header", "main", "footer")] == [1, 1, 1]
    assert tags[kinds.index("body") + 1] == ("a", {"class": "skip", "href": "#content"})
    assert all(a.get("aria-label") for t, a in tags if t == "nav")
    # A stacked table keeps its roles whatever style sheets make of it.
    stacked = [a for t, a in tags if t == "table" and "stack" in (a.get("class") or "")]
    assert stacked and all(a["role"] == "table" for a in stacked)
    charts = [a for t, a in tags if t == "svg" and a.get("class") == "chart"]
    assert len(charts) == 5 and all(a["role"] == "img" and a["aria-labelledby"] for a in charts)


def test_first_screen_says_it_all(page):
    first = page[page.index('id="h-verdict"') : page.index('id="h-models"')]
    judged = verdict()
    for text in (judged.sentence, judged.worst, judged.claim_class, *judged.not_covered):
        assert text in first
    for gate in judged.gates:
        assert gate.rule.replace("<", "&lt;").replace(">", "&gt;") in first
        assert gate.because in first
    assert '<td role="cell" class="figure" data-label="Found">n/a</td>' in first
    assert "0.033 (0.018 to 0.050)" in first


def test_a_better_verdict_than_the_gates_is_not_repeated():
    judged = verdict().model_copy(update={"outcome": "pass"})
    page = build_audit_report(audit(1, verdict=judged))
    assert "<title>Fail: " in page
    assert "Recorded as “pass”, although a gate failed." in page


def test_everything_that_was_not_run_or_scored_is_named(page):
    assert "hidden states of this architecture are not exposed" in page
    assert "no holdout records were given (400)" in page
    assert "the record has no paraphrase (12)" in page
    bare = build_audit_report(audit(1, retrained=False, attacks=()))
    assert "No retrained model was given." in bare and "No attack was run." in bare
    assert bare.count('<span class="why">no retrained model was given</span>') == 14


def test_empty_audit_says_what_is_missing():
    nothing = dict.fromkeys(("measures", "attacks", "curves", "checklist", "methods", "limits"), ())
    page = build_audit_report(audit(0, flags={}, reproduction={}, scope={}, **nothing))
    Page(page)
    for text in ("No prompt was flagged", "No measure was recorded", "No attack was run",
                 "No checklist was recorded", "No limits were recorded",
                 "Nothing was recorded that would let"):  # fmt: skip
        assert text in page


def test_without_script_there_is_a_table_of_the_first_prompts():
    page = build_audit_report(audit(230))
    table = page[page.index('<table class="prompts"') : page.index('id="prompt-data"')]
    assert table.count("<dt>True answer</dt>") == 200
    assert "200 of 230 prompts" in page and "<mark>" in table
    assert 'id="controls" role="search" aria-label="Prompts" hidden' in page


def test_unscored_prompts_are_not_zero():
    row = PromptRow(
        id="a", prompt="p", truth="t", flag="undecided", why="w",
        scores={"x": None, "y": 0.0, "z": float("nan"), "tiny": 1e-7}, responses=(),
    )  # fmt: skip
    (shown,) = prompt_data(audit(1, prompts=(row,)))["rows"]
    assert shown["scores"] == [
        [None, "unscored"],
        [0.0, "0.00"],
        [None, "unscored"],
        [1e-7, "1 × 10⁻⁷"],
    ]


def test_four_scores_have_a_column_and_the_known_ones_come_first():
    names = ("mia", "leak", "probability", "other", "key_fact_recall", "last")
    row = audit(1).prompts[0].model_copy(update={"scores": dict.fromkeys(names, 0.5)})
    data = prompt_data(audit(1, prompts=(row,)))
    assert [names[k] for k in data["columns"]] == ["mia", "leak", "probability", "key_fact_recall"]


def test_curves_are_broken_where_there_is_no_value():
    points = tuple(
        CurvePoint(x=x, series={"unlearned": share(v)})
        for x, v in enumerate((0.1, 0.2, None, 0.3, None, 0.4, 0.5))
    )
    curve = Curve(name="c", title="c", x_title="x", y_title="y", points=points)
    page = build_audit_report(audit(1, curves=(curve,)))
    assert page.count('class="curve r-unlearned') == 3 and page.count('class="mark') == 1
    nothing = Curve(
        name="c", title="c", x_title="x", y_title="y",
        points=(CurvePoint(x=1, series={"a": share(None)}),),
    )  # fmt: skip
    assert "No point of this curve has a value." in build_audit_report(audit(1, curves=(nothing,)))


def test_page_of_a_text_with_half_a_surrogate_can_be_written():
    assert encodable("\ud800") == "\ufffd"
    build_audit_report(audit(1, title="x\ud800", reproduction={"a": "\udfff"})).encode()


# Contrast, computed from the style sheets by the formula of WCAG 2.


def colours(part: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", part))


def schemes() -> dict[str, dict[str, str]]:
    """Colours in light, in dark, and on paper."""
    found: dict[str, dict[str, str]] = {"light": {}, "dark": {}, "print": {}}
    for sheet in (asset("style.css"), asset("audit.css")):
        light, _, rest = sheet.partition("@media (prefers-color-scheme: dark)")
        found["light"] |= colours(light)
        found["dark"] |= colours(rest.partition("\n}\n")[0])
        found["print"] |= colours(sheet.partition("@media print")[2].partition("}")[0])
    light = found["light"]
    return {"light": light, "dark": light | found["dark"], "print": light | found["print"]}


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_formula():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_texts_have_contrast_enough_to_be_read(scheme):
    c = schemes()[scheme]
    pairs = [(name, "paper") for name in ("ink", "soft", "link", "bad", "warn", "good", "neutral")]
    pairs += [("ink", "panel"), ("soft", "panel"), ("on-mark", "mark")]
    low = {p: round(r, 2) for p in pairs if (r := contrast(c[p[0]], c[p[1]])) < 4.5}
    assert not low


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_marks_and_edges_have_contrast_enough_to_be_seen(scheme):
    c = schemes()[scheme]
    names = ("leaked", "rephrased", "undecided", "collapsed", "refused", "forgotten", "original",
             "unlearned", "retrained", "field")  # fmt: skip
    low = {n: round(r, 2) for n in names if (r := contrast(c[n], c["paper"])) < 3}
    assert not low
