"""The page and the words of a squeeze diagnosis, from its document alone."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from tests.diagnose.common import candidate_set, series
from tests.report.parsed import Page
from unbelief.diagnose.document import Kind, squeeze_document
from unbelief.errors import RequestError
from unbelief.report.squeeze import (
    build_squeeze_report,
    headline,
    own_line,
    squeeze_points_table,
)

TARGET = [[-1, -2, -4], [-1, -2, -6]]
HIGH = [[-3, -2, -5], [-3, -2.5, -5]]


def document(kind: Kind = "run", **changed: Any) -> dict[str, Any]:
    made = series(TARGET, HIGH, **changed)
    names = made.record_ids
    return squeeze_document(
        made, candidate_set((), names), kind=kind, settings={"top_k": 20, "seed": 0}
    )


def test_document_is_json_and_holds_the_numbers() -> None:
    made = json.loads(json.dumps(document(), allow_nan=False))
    # mean target -1, -2, -5; mean high -3, -2.25, -5: rise 0.75 and -2, fall 1 and 4
    assert made["index"]["index"]["value"] == 0.75
    assert made["index"]["at"] == {"step": 1, "label": "1"}
    points = made["index"]["points"]
    assert [p["rise"]["value"] for p in points] == [0, 0.75, -2]
    assert [p["squeeze"]["value"] for p in points] == [0, 0.75, -2]
    assert [p["gap"]["value"] for p in points] == [0, 1.75, 2]
    assert [p["index"] for p in made["prompts"]] == [1.0, 0.5]
    assert [e["value"] for e in made["curves"]["target"]] == [-1, -2, -5]
    assert made["index"]["unscored"] == {}


def test_words() -> None:
    made = document(shared={"high": 0.25, "mid": 0.0, "low": 0.0})
    assert headline(made) == (
        "The likeliest other answers rose and the target fell, each by 0.75 nats per token or "
        "more at step 1"
    )
    assert own_line(made).startswith("They begin with 25% of their tokens like the target")
    models = document("models", labels=("original", "ga", "npo"))
    assert headline(models).endswith("or more in ga")
    same = {b: np.array(TARGET, float) for b in ("high", "mid", "low")}
    flat = document(bands=same, own=same)
    assert headline(flat) == "The likeliest other answers did not rise while the target fell"
    assert own_line(flat).endswith("after that, they did not rise while the target fell")
    parted = document(bands=same)  # their own parts rise as HIGH does
    assert headline(parted).startswith("The likeliest other answers rose where they leave")
    assert own_line(parted).endswith("they rose by 0.75 nats per token or more at step 1")


def test_a_page_without_any_score_says_so() -> None:
    nothing = np.full((2, 3), np.nan)
    empty = dict.fromkeys(("high", "mid", "low"), nothing)
    made = document(bands=empty, own=empty, shared={b: float("nan") for b in empty})
    assert headline(made) == "No prompt could be scored"
    assert "nothing could be scored" in own_line(made)
    assert made["index"]["unscored"] == {"no candidate besides the answer itself": 2}
    assert "No prompt could be scored" in build_squeeze_report(made)


@pytest.mark.parametrize("kind", ["run", "models"])
def test_page_needs_nothing_from_elsewhere_and_refers_to_what_exists(kind: Kind) -> None:
    labels = ("original", "a model with <b>a long</b> name", "c")
    curve = np.array([[-5.0, -4, -3], [-5, -4, -2]])
    page = build_squeeze_report(document(kind, labels=labels, responses={"<i>no": curve}))
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in parsed.tags}
    assert "<b>a long" not in page and "<i>no" not in page
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = [i for _, a in parsed.tags for i in (a.get("aria-labelledby") or "").split()]
    assert set(wanted) <= set(ids)
    assert sum(tag == "svg" for tag, _ in parsed.tags) == 3
    assert " at 0x" not in page and "nan" not in page.lower().replace("finance", "")


def test_table_has_a_row_per_point() -> None:
    table = squeeze_points_table(document())
    assert [row[0] for row in table.rows] == ["0", "1", "2"]
    assert table.rows[0][5:] == ("", "", "", "", "")
    assert table.rows[1][1:5] == ("−2.00", "−2.25", "0.00", "0.00")
    # two prompts: resamples of the rise 1 and 0.5 lie between them
    assert table.rows[1][5:8] == ("+1.00", "+0.75", "+0.75 (0.50 to 1.00)")


@pytest.mark.parametrize("wrong", [{"schema": "other"}, {"version": 99}])
def test_other_documents_are_refused(wrong: dict[str, Any]) -> None:
    made = copy.deepcopy(document()) | wrong
    with pytest.raises(RequestError, match="not a squeeze diagnosis"):
        build_squeeze_report(made)
