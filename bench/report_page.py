r"""How long the page of an audit takes to open and to answer, in a headless Chromium.

    python bench/report_page.py --prompts 2000

The page is one of invented prompts with four responses each (`tests/report/made.py`). Times of
opening are from the start of the navigation to the table on the page (`shown`), to the first paint
and to the end of the load event, with a cold start of the browser as the first of the openings.
Times of an action are from the event to the end of the work it makes, layout included (`work`), and
to the second frame after it, when it is surely on the screen (`screen`; two frames are 33 ms).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the invented audit and the driver of the browser are the tests'
OPENED = """
    const at = (name) => (performance.getEntriesByName(name)[0] ?? {}).startTime ?? null;
    const frame = () => new Promise(requestAnimationFrame);
    const whole = () => performance.getEntriesByType('navigation')[0].loadEventEnd || null;
    const found = () => ({shown: at('prompts-shown'), paint: at('first-contentful-paint'),
                          load: whole()});
    return (async () => {
        for (let i = 0; i < 100 && Object.values(found()).includes(null); i++) await frame();
        return found();
    })();
"""
TIMED = """
    const [act, value] = arguments;
    const byId = (id) => document.getElementById(id);
    const actions = {
        search: () => { const q = byId('query'); q.value = value;
                        q.dispatchEvent(new Event('input')); },
        flag: () => document.querySelectorAll('#flags input')[value].click(),
        order: () => document.querySelector(`#table thead th:nth-child(${value}) button`).click(),
        size: () => { const s = document.querySelector('#size'); s.value = value;
                      s.dispatchEvent(new Event('change')); },
        unfold: () => byId('unfold').click(),
        next: () => byId('next').click(),
    };
    const start = performance.now();
    actions[act]();
    document.body.getBoundingClientRect();
    const work = performance.now() - start;
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
        done({work, screen: performance.now() - start, status: byId('status').textContent}))));
"""
ACTIONS = (
    *(("search", text) for text in ("s", "sa", "sal", "salt", "salt q", "salt quellmark", "")),
    ("flag", 0), ("flag", 0), ("flag", 5), ("flag", 5),
    ("order", 3), ("order", 3), ("next", None), ("size", "500"), ("unfold", None), ("unfold", None),
)  # fmt: skip


def page_of(prompts: int, words: int, folder: Path) -> Path:
    """Save the page of an invented audit; every response has `words` more words."""
    from tests.report.made import audit

    from unbelief.report.audit_page import build_audit_report

    document = audit(prompts)
    more = " ".join(f"word{i % 97}" for i in range(words))
    rows = tuple(
        row.model_copy(
            update={
                "responses": tuple(
                    r.model_copy(update={"text": f"{r.text} {more}".strip()}) for r in row.responses
                )
            }
        )
        for row in document.prompts
    )
    file = folder / f"{prompts}-{words}.html"
    page = build_audit_report(document.model_copy(update={"prompts": rows}))
    file.write_text(page, encoding="utf-8")
    return file


def measured(file: Path, openings: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Open a page several times, then do everything several times."""
    from tests.report.browser import browser

    with browser(folder / f"profile-{file.stem}") as window:
        window.size(1280, 900)
        opened = []
        for _ in range(openings):
            window.open(file)
            opened.append(window.run(OPENED))
        acted: dict[str, list[dict[str, Any]]] = {}
        for _ in range(rounds):
            window.open(file)
            window.run("document.getElementById('query').focus()")
            for act, value in ACTIONS:
                found = window.run(TIMED, act, value)
                acted.setdefault(act, []).append({"value": value, **found})
        shown = window.run("return document.getElementById('status').textContent")
    return {
        "bytes": file.stat().st_size,
        "status": shown,
        "open_ms": {k: [round(o[k]) for o in opened] for k in ("shown", "paint", "load")},
        "actions_ms": {
            act: {
                kind: {
                    "median": round(statistics.median(o[kind] for o in its), 1),
                    "worst": round(max(o[kind] for o in its), 1),
                }
                for kind in ("work", "screen")
            }
            for act, its in acted.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--words", type=int, nargs="+", default=[0, 60], help="more per response")
    parser.add_argument("--openings", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/report_page.json")
    args = parser.parse_args()
    results: dict[str, Any] = {"prompts": args.prompts, "pages": {}}
    with tempfile.TemporaryDirectory() as name:
        for words in args.words:
            file = page_of(args.prompts, words, Path(name))
            found = measured(file, args.openings, args.rounds, Path(name))
            results["pages"][f"{words} words more per response"] = found
            print(json.dumps({words: found}, indent=1))
    args.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
