"""A whole study, tiny: two methods, two relations, two seeds, one epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import unbelief.vision.run as run_module
from unbelief.errors import Interrupted, RequestError
from unbelief.vision.config import VisionConfig
from unbelief.vision.document import over_seeds
from unbelief.vision.run import jobs_of, run_vision
from unbelief.vision.tables import (
    identification_table,
    main_table,
    read_document,
    vision_csv,
    vision_markdown,
    vision_text,
)

SMALL = VisionConfig(
    relations=("all-matched", "target-mismatch"),
    methods=("tarf", "ft"),
    options={"tarf": {"epochs": 3}, "ft": {"epochs": 1}},
    seeds=(0, 1),
    epochs=1,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("study") / "out"
    return folder, run_vision(SMALL, folder, progress=False)


def test_what_is_run() -> None:
    jobs = [(j.relation, j.method, j.variant) for j in jobs_of(SMALL, 0)]
    # Two ends and two methods per relation; FT once more where the target is larger than D_f.
    assert len(jobs) == 9 and len(set(jobs)) == 9
    assert ("target-mismatch", "ft", "oracle") in jobs
    assert ("target-mismatch", "tarf", "oracle") not in jobs
    assert ("all-matched", "ft", "oracle") not in jobs


def test_a_study_appears_whole(made: tuple[Path, dict[str, Any]]) -> None:
    folder, document = made
    assert sorted(p.name for p in folder.iterdir()) == ["vision.json", "vision.md"]
    assert json.loads((folder / "vision.json").read_text()) == document
    assert not (folder.parent / "out.run" / "checkpoints").exists()
    assert len(document["runs"]) == 18 and len(document["rows"]) == 9
    scenario = document["scenarios"][1]
    assert (scenario["given"], scenario["target"], scenario["beyond"]) == (["4"], ["4", "9"], 1)
    assert scenario["images"]["target"] == (
        scenario["images"]["forget"] + scenario["images"]["false_retain"]
    )


def test_rows_are_means_over_seeds(made: tuple[Path, dict[str, Any]]) -> None:
    _, document = made
    row = next(r for r in document["rows"] if (r["relation"], r["method"]) == ("all-matched", "ft"))
    runs = [r for r in document["runs"] if (r["relation"], r["method"]) == ("all-matched", "ft")]
    ends = [
        r for r in document["runs"] if (r["relation"], r["method"]) == ("all-matched", "reference")
    ]
    values = [r["shares"]["UA"]["percent"] for r in runs]
    assert row["UA"]["value"] == pytest.approx(sum(values) / 2) and row["UA"]["n"] == 2
    by_hand = [
        sum(
            abs(r["shares"][k]["percent"] - e["shares"][k]["percent"])
            for k in ("UA", "RA", "TA", "MIA")
        )
        / 4
        for r, e in zip(runs, ends, strict=True)
    ]
    assert row["gap"]["value"] == pytest.approx(sum(by_hand) / 2)
    reference = next(r for r in document["rows"] if r["method"] == "reference")
    assert reference["gap"]["value"] == 0


def test_tarf_names_one_class_where_one_is_meant(made: tuple[Path, dict[str, Any]]) -> None:
    _, document = made
    for run in document["runs"]:
        if run["method"] == "tarf":
            found = run["identification"]
            # the digits' classes have 138 to 147 training images
            assert (138 <= found["found"] <= 147) == (run["relation"] == "target-mismatch")
            assert found["hits"] in (0, found["found"], found["true"])
    row = next(r for r in document["rows"] if "recall" in r)
    assert row["recall"]["value"] is None  # all-matched: nothing to find, and it says so
    assert row["recall"]["reasons"] == {"there is nothing to find": 2}


def test_tables(made: tuple[Path, dict[str, Any]]) -> None:
    folder, document = made
    labels = [row[0] for row in main_table(document, "target-mismatch").rows]
    assert labels == ["Original", "Retrained (reference)", "FT", "TARF", "FT, target known"]
    assert len(identification_table(document).rows) == 1
    assert "target-mismatch" in vision_text(document)
    assert vision_markdown(document) == (folder / "vision.md").read_text()
    assert len(vision_csv(document).splitlines()) > 9 * 15
    assert read_document(folder) == read_document(folder / "vision.json") == document
    with pytest.raises(RequestError, match="no result of a vision study"):
        read_document(folder.parent)


def test_a_run_goes_on_where_it_was_stopped(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = VisionConfig(**{**vars(SMALL), "seeds": (1,)})
    real, calls = run_module._do, []

    def stopping(bench: Any, job: Any, built: Any) -> Any:
        calls.append(job)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(bench, job, built)

    monkeypatch.setattr(run_module, "_do", stopping)
    with pytest.raises(Interrupted):
        run_vision(one, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    other = VisionConfig(**{**vars(one), "epochs": 2})
    with pytest.raises(RequestError, match=r"other settings.*training"):
        run_vision(other, tmp_path / "out", progress=False)
    again = run_vision(one, tmp_path / "out", progress=False)
    assert len(calls) == 4 + 6  # three of nine were there
    whole = [r for r in made[1]["runs"] if r["seed"] == 1]
    assert [r["shares"] for r in again["runs"]] == [r["shares"] for r in whole]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"data": "cifar"}, "unknown data set"),
        ({"scheme": "triples"}, "unknown scheme of digits"),
        ({"relations": ("sideways",)}, "unknown relation"),
        ({"methods": ("ft", "ft")}, "each once"),
        ({"methods": ("gaa",)}, "unknown method"),
        ({"seeds": ()}, "seeds must be named"),
        ({"seeds": (-1,)}, "must not be negative"),
        ({"methods": ("ft",), "options": {"ga": {"epochs": 1}}}, "ga, which is not run"),
        ({"model": "vgg"}, "unknown model"),
        ({"label_smoothing": 1.0}, "label smoothing is 1.0"),
    ],
)
def test_requests_that_are_wrong(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        VisionConfig(**wrong)


def test_intervals_over_seeds() -> None:
    # mean 2, standard deviation 1, t(0.975, 2) = 4.3027: half width 4.3027 / sqrt(3) = 2.4841
    found = over_seeds([11.0, 12.0, 13.0, None], "percent", "lost")
    assert found.value == 12.0 and found.low == pytest.approx(12 - 2.4841, abs=1e-4)
    assert (found.n, found.n_unscored, found.reasons) == (3, 1, {"lost": 1})
    assert over_seeds([5.0], "percent").low is None
    assert over_seeds([None], "percent").value is None


def test_intervals_end_where_the_quantity_does() -> None:
    # As above, one below and one above: 2 - 2.4841 = -0.4841 and 98 + 2.4841 = 100.4841.
    low, high = (over_seeds([m - 1, m, m + 1], "percent") for m in (2.0, 98.0))
    assert low.low == 0 and low.high == pytest.approx(4.4841, abs=1e-4)
    assert high.high == 100 and high.low == pytest.approx(95.5159, abs=1e-4)
    assert low.interval == "t-interval over seeds 95 %, cut at 0 and 100"
    # A difference may be negative, a Gap not.
    assert over_seeds([-1.0, 0.0, 1.0], "percentage points").low == pytest.approx(-2.4841, abs=1e-4)
    assert over_seeds([-1.0, 0.0, 1.0], "percentage points", limits=(0, 100)).low == 0
    assert over_seeds([0.0, 0.0, 1.0], "share").low == 0
    assert over_seeds([0.5, 1.0], "seconds").interval == "t-interval over seeds 95 %, cut at 0"


def test_no_interval_of_a_study_leaves_its_quantity(made: tuple[Path, dict[str, Any]]) -> None:
    for row in made[1]["rows"]:
        for name in ("UA", "RA", "TA", "MIA", "gap", "UA_given"):
            e = row[name]
            if e["low"] is not None:
                assert 0 <= e["low"] <= e["value"] <= e["high"] <= 100
    title = main_table(made[1], "all-matched").title
    assert title.endswith("percent (t-interval over seeds 95 %, cut at 0 and 100)")


def test_label_smoothing_is_one_setting_for_all_that_is_trained() -> None:
    plan = VisionConfig(label_smoothing=0.1, epochs=10).training
    assert (plan.label_smoothing, plan.epochs, plan.milestones) == (0.1, 10, (5, 8))
    assert VisionConfig().training.label_smoothing == 0
    assert VisionConfig(label_smoothing=0.1).settings()["training"]["label_smoothing"] == 0.1
