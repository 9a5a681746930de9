"""What a real browser makes of the page of an audit."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from tests.report.browser import browser, programs
from tests.report.made import audit, prompt
from tests.report.test_audit_page import NASTY, everywhere
from unbelief.report.audit_document import Response
from unbelief.report.audit_page import build_audit_report

PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    programs()
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.size(*DESKTOP)
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages by name: an ordinary one, one of hostile texts, a large one."""
    folder = tmp_path_factory.mktemp("pages")

    def save(name, document):
        file = folder / f"{name}.html"
        file.write_text(build_audit_report(document), encoding="utf-8")
        return file

    draw = random.Random(5)
    hostile = tuple(
        prompt(i, draw).model_copy(
            update={
                "prompt": text,
                "truth": text,
                "responses": (Response(by="unlearned", text=text, words=(text, "script")),),
            }
        )
        for i, text in enumerate(NASTY)
    )
    return {
        "audit": save("audit", audit(400)),
        "hostile": save("hostile", audit(1, prompts=hostile)),
        "everywhere": [save(f"all{i}", everywhere(text)) for i, text in enumerate(NASTY)],
    }


@pytest.fixture
def page(window, pages):
    window.size(*DESKTOP)
    window.open(pages["audit"])
    return window


def column(page, k):
    """Texts of a column of scores, in the order shown."""
    cells = "return [...document.querySelectorAll(`#table tbody tr[data-row]`)]"
    return page.run(cells + ".map(r => r.cells[2 + arguments[0]].textContent)", k)


def flags(page):
    return page.run("return [...document.querySelectorAll('#table tbody .flag')]"
                    ".map(f => f.textContent)")  # fmt: skip


def status(page):
    return page.run("return document.getElementById('status').textContent")


def colours(png):
    """Number of different colours in an 8-bit RGB image without interlacing."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, head = 8, b"", None
    while at < len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        chunk = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            head = struct.unpack(">IIBB", chunk[:10])
        data += chunk if kind == b"IDAT" else b""
        at += length + 12
    return head, len(set(zlib.decompress(data)))


def test_page_opens_quietly_and_asks_for_nothing(page, pages):
    assert page.console() == []
    assert page.requests() == [pages["audit"].as_uri()]
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    assert status(page) == "400 of 400 prompts" and len(flags(page)) == 25


def test_hostile_responses_do_not_run_and_are_shown_as_they_are(window, pages):
    window.open(pages["hostile"])
    title = window.run("return document.title")
    window.click("#unfold")
    assert window.run("return window.ran === undefined")
    assert window.run("return document.title") == title
    shown = window.run("return [...document.querySelectorAll('.response .text')]"
                       ".map(p => p.textContent)")  # fmt: skip
    assert len(shown) == len(NASTY)
    assert any(text == "<script>window.ran=1</script>" for text in shown)
    alien = "return document.querySelectorAll('img, iframe, object, [onload], [onerror]').length"
    assert window.run(alien) == 0
    assert window.run("return document.scripts.length") == 2
    assert window.console() == [] and window.requests() == [pages["hostile"].as_uri()]


def test_hostile_texts_anywhere_do_not_run(window, pages):
    for file in pages["everywhere"]:
        window.open(file)
        assert window.run("return [window.ran === undefined, document.scripts.length]") == [True, 2]
        assert window.console() == []
        assert window.run("return document.querySelectorAll('img, iframe').length") == 0


def test_what_were_to_run_all_the_same_is_stopped_by_the_policy(page):
    page.run("""
        const script = document.createElement('script');
        script.textContent = 'window.ran = 1';
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend',
            '<img src="https://example.org/x.png" onerror="window.ran = 2"><p style="color:red">');
    """)
    assert page.run("return window.ran === undefined")
    assert page.run("return getComputedStyle(document.body.lastChild).color") != "rgb(255, 0, 0)"
    messages = " ".join(page.console())
    assert "Content Security Policy" in messages
    assert not any("example.org" in url for url in page.requests())


def test_search_narrows_by_all_words_in_any_case_and_without_accents(page):
    page.type("#query", "SEVERIN salt")
    count = int(status(page).split()[0])
    assert 0 < count < 50
    page.click("#unfold")
    rows = page.run("return [...document.querySelectorAll('#table tbody tr[data-row]')]"
                    ".map(r => r.textContent + r.nextSibling.textContent)")  # fmt: skip
    assert all("Séverin" in row and "Salt" in row for row in rows)
    page.type("#query", "no such words anywhere")
    assert status(page) == "0 of 400 prompts"
    assert "No prompt matches" in page.run("return document.querySelector('#table').textContent")
    page.type("#query", "")
    assert status(page) == "400 of 400 prompts"


def test_enter_in_the_search_does_not_leave_the_page(page, pages):
    page.type("#query", "salt")
    page.press("Enter")
    assert page.run("return location.href") == pages["audit"].as_uri()
    assert page.console() == []


def test_flags_can_be_left_out(page):
    first = set(flags(page))
    page.click("#flags label:nth-of-type(1) input")
    assert "leaked" in first and "leaked" not in flags(page)
    page.click("#flags label:nth-of-type(1) input")
    assert set(flags(page)) == first
    count = "return document.querySelectorAll('#flags input').length"
    assert page.run(count) == 6


def test_scores_sort_both_ways_with_the_unscored_last(page):
    heads = "return [...document.querySelectorAll('#table thead th')].map(h => h.ariaSort)"
    assert page.run(heads)[0] == "ascending"
    page.click("#table thead th:nth-child(5) button")
    values = [float(v) for v in column(page, 2)]
    assert values == sorted(values, reverse=True)
    assert page.run(heads) == ["none", None, "none", "none", "descending", "none"]
    page.click("#table thead th:nth-child(5) button")
    assert page.run(heads)[4] == "ascending"
    page.run("""
        const size = document.getElementById('size'); size.value = '500';
        size.dispatchEvent(new Event('change'));
    """)
    page.click("#table thead th:nth-child(3) button")
    for _ in range(2):  # the key-fact recall of some prompts is unscored
        shown = column(page, 0)
        scored = [v for v in shown if v != "unscored"]
        assert len(shown) == 400 > len(scored) and shown[: len(scored)] == scored
        page.click("#table thead th:nth-child(3) button")
    assert page.run("return document.getElementById('order').value") == "-0"


def test_order_can_be_chosen_and_comes_back(page):
    worst = flags(page)
    for value in ("--1", "flag"):
        page.run("""
            const order = document.getElementById('order'); order.value = arguments[0];
            order.dispatchEvent(new Event('change'));
        """, value)  # fmt: skip
        assert (flags(page)[0] == "forgotten") == (value == "--1")
    assert flags(page) == worst


def test_pages_turn_and_end(page):
    first = page.run("return document.querySelector('#table tbody').textContent")
    page.click("#next")
    assert page.run("return document.getElementById('page').textContent") == "Page 2 of 16"
    assert page.run("return document.querySelector('#table tbody').textContent") != first
    page.click("#previous")
    page.click("#previous")  # there is nothing before the first page
    assert page.run("return document.querySelector('#table tbody').textContent") == first


def test_everything_works_from_the_keyboard(page):
    page.press("Tab")
    assert page.run("return document.activeElement.className") == "skip"
    page.press("Enter")
    assert page.run("return location.hash") == "#content"
    page.run("document.getElementById('query').focus()")
    page.press("t", "i", "d", "e")
    assert int(status(page).split()[0]) < 400
    for _ in range(40):
        page.press("Tab")
        if page.run("return document.activeElement.classList.contains('fold')"):
            break
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("Enter")
    opened = """
        const fold = document.activeElement, detail = fold.getAttribute('aria-controls');
        return [fold.getAttribute('aria-expanded'), !!detail && !!document.getElementById(detail)];
    """
    assert page.run(opened) == ["true", True]  # and the focus is still there
    page.press("Space")
    assert page.run(opened) == ["false", False]


def test_leaking_words_are_marked_and_named(page):
    page.click("#table tbody tr:nth-child(1) .fold")
    marked = page.run("return [...document.querySelectorAll('.response mark')]"
                      ".map(m => m.textContent)")  # fmt: skip
    named = page.run("return [...document.querySelectorAll('.response .note bdi')]"
                     ".map(m => m.textContent)")  # fmt: skip
    assert marked and set(marked) == set(named)
    by = page.run("return [...document.querySelectorAll('.response .by')].map(b => b.textContent)")
    assert by == ["Original model", "Unlearned model", "Retrained model",
                  "Unlearned after relearning"]  # fmt: skip


@pytest.mark.parametrize("size", [PHONE, DESKTOP, (320, 640), (768, 1024)])
def test_nothing_runs_over_the_edge(window, pages, size):
    window.size(*size, dark=size == PHONE)
    window.open(pages["audit"])
    window.click("#unfold")
    width, inner = window.run("return [document.scrollingElement.scrollWidth, innerWidth]")
    assert width <= inner == size[0]
    head, different = colours(window.screenshot())
    assert head[:2] == size and different > 20  # something was drawn


def test_a_screen_reader_finds_tables_headings_and_names(page):
    nodes = page.devtools("Accessibility.getFullAXTree", {})["nodes"]

    def named(role):
        return [n["name"]["value"] for n in nodes
                if not n["ignored"] and n.get("role", {}).get("value") == role]  # fmt: skip

    assert len(named("main")) == 1 and "Verdict: Fail" in named("heading")
    for table in ("Gates, fixed before the audit", "Attacks that were run", "Prompts"):
        assert table in named("table")
    assert all(named("button")) and all(named("checkbox")) and all(named("combobox"))
    assert "Search" in named("searchbox")
    assert all(len(name) > 10 for name in named("image") if name)


def test_stacked_tables_stay_tables_on_a_phone(window, pages):
    window.size(*PHONE)
    window.open(pages["audit"])
    nodes = window.devtools("Accessibility.getFullAXTree", {})["nodes"]
    roles = [n.get("role", {}).get("value") for n in nodes if not n["ignored"]]
    for role, least in (("table", 8), ("rowheader", 20), ("columnheader", 20), ("cell", 50)):
        assert roles.count(role) >= least, role
    over = """
        return [...document.querySelectorAll('.stack td')].filter(td => {
            const room = td.parentElement.getBoundingClientRect(), own = td.getBoundingClientRect();
            const next = td.nextElementSibling?.getBoundingClientRect();
            const beside = next && next.top < own.bottom && own.right > next.left + 1;
            return own.width && (own.right > room.right + 1 || beside);
        }).map(td => td.outerHTML);
    """
    assert window.run(over) == []  # no cell sticks out of its row or into the next cell


def test_paper_shows_responses_and_every_detail(page):
    page.run("dispatchEvent(new Event('beforeprint'))")
    page.devtools("Emulation.setEmulatedMedia", {"media": "print"})
    shown = page.run("""
        const all = (s) => [...document.querySelectorAll(s)];
        const seen = (s) => all(s).filter(e => e.checkVisibility()).length;
        return [seen('.response'), seen('details li'), seen('#controls'), seen('#print-note')];
    """)
    assert shown[0] == 25 * 4 and shown[1] > 0 and shown[2] == 0 and shown[3] == 1
    page.devtools("Emulation.setEmulatedMedia", {"media": ""})
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.run("return document.querySelectorAll('.response').length") == 0
    assert page.pdf()[:5] == b"%PDF-"


def test_without_script_the_first_prompts_are_there(window, pages):
    window.size(*PHONE)
    window.devtools("Emulation.setScriptExecutionDisabled", {"value": True})
    window.open(pages["audit"])
    nodes = str(window.devtools("DOM.getDocument", {"depth": -1}))
    layout = window.devtools("Page.getLayoutMetrics", {})
    window.devtools("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "'data-row'" not in nodes  # the script did not run
    assert nodes.count("'nodeValue': 'True answer'") == 200
    assert "200 of 400 prompts, worst first" in nodes
    assert layout["cssContentSize"]["width"] <= PHONE[0]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    file = tmp_path_factory.mktemp("large") / "large.html"
    file.write_text(build_audit_report(audit(2000)), encoding="utf-8")
    return file


@pytest.mark.slow
def test_large_audits_are_searched_without_delay(window, large):
    window.size(*DESKTOP)
    window.open(large)
    assert status(window) == "2000 of 2000 prompts"
    longest = window.run("""
        const query = document.getElementById('query'); query.focus();
        const times = [];
        for (const text of ['s', 'sa', 'salt', 'salt q', 'salt quellmark', '']) {
            query.value = text;
            const start = performance.now();
            query.dispatchEvent(new Event('input'));
            times.push(performance.now() - start);
        }
        return Math.max(...times);
    """)
    assert longest < 1000  # milliseconds; tens of them on an idle machine


@pytest.mark.slow
def test_two_thousand_prompts_open_in_two_seconds(window, large):
    window.size(*DESKTOP)
    times = []
    for _ in range(3):
        window.open(large)
        shown = "return performance.getEntriesByName('prompts-shown')[0].startTime"
        times.append(window.run(shown))  # milliseconds since the navigation began
    assert 0 < min(times) < 2000, times
