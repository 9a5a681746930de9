from __future__ import annotations

import json

import pytest

from unbelief.errors import RequestError
from unbelief.study.reliability import Reading, check_population, reading_from, reliabilities
from unbelief.study.reliability_files import ReadingFile, read_table

BEFORE = (0.1, 0.2, 0.3, 0.4, 0.5)
AFTER = (0.2, 0.4, 0.3, 0.5, 0.6)


def readings(before, after, *, attack="relearn", side="forget", metric="es") -> list[Reading]:
    return [
        Reading(model=f"m{i}", attack=attack, side=side, metric=metric, before=b, after=a, n=4)
        for i, (b, a) in enumerate(zip(before, after, strict=True))
    ]


def test_pearson_spearman_and_slope_by_hand():
    # In tenths: dx = -2 -1 0 1 2, dy = -2 0 -1 1 2 around 4. Σ dx dy = 4 + 0 + 0 + 1 + 4 = 9,
    # Σ dx² = Σ dy² = 10: r = slope = 0.9. Ranks are 1 3 2 4 5: Σ d² = 2, ρ = 1 - 12 / 120 = 0.9.
    (one,) = reliabilities(readings(BEFORE, AFTER))
    for estimate in (one.pearson, one.slope, one.spearman):
        assert estimate.value == pytest.approx(0.9)
        assert estimate.low is not None and estimate.low <= 0.9 <= estimate.high
        assert estimate.n == 5 and estimate.interval == "bootstrap of models 95 %"
    assert one.knowledge_stays is False


def test_slope_tells_what_the_correlation_hides():
    # An attack that shows half as much again of everything: perfect order, slope 1.5.
    (one,) = reliabilities(readings(BEFORE, [1.5 * b for b in BEFORE], attack="jailbreak"))
    assert one.pearson.value == pytest.approx(1) and one.slope.value == pytest.approx(1.5)
    assert one.knowledge_stays is True
    (unknown,) = reliabilities(readings(BEFORE, AFTER, attack="quantise:bits=4"))
    assert unknown.knowledge_stays is None


def test_forget_and_retain_are_kept_apart():
    both = readings(BEFORE, AFTER) + readings(BEFORE, AFTER[::-1], side="retain")
    found = {one.side: one.pearson.value for one in reliabilities(both)}
    # The other way round Σ dx dy = -9.
    assert found == {"forget": pytest.approx(0.9), "retain": pytest.approx(-0.9)}


def test_fewer_than_five_models_are_refused():
    with pytest.raises(RequestError, match=r"4 unlearned models: m0, m1, m2, m3; a correlation"):
        reliabilities(readings(BEFORE[:4], AFTER[:4]))
    with pytest.raises(RequestError, match="0 unlearned models; a correlation"):
        check_population([])
    # Five readings of one model are one model; other pools do not count.
    again = [Reading(**{**vars_of(r), "metric": f"x{i}"}) for i, r in enumerate(same_model())]
    with pytest.raises(RequestError, match="1 unlearned model: m0;"):
        reliabilities(again)
    others = [Reading(**{**vars_of(r), "pool": "with"}) for r in readings(BEFORE, AFTER)]
    with pytest.raises(RequestError, match="0 unlearned models"):
        reliabilities(others)


def same_model() -> list[Reading]:
    return [Reading(**{**vars_of(r), "model": "m0"}) for r in readings(BEFORE, AFTER)]


def vars_of(reading: Reading) -> dict:
    from dataclasses import asdict

    return asdict(reading)


def test_a_metric_without_values_is_unscored_with_its_reason():
    silent = readings((*BEFORE[:4], None), AFTER)
    flat = readings([0.3] * 5, AFTER, metric="em")
    one, two = reliabilities(silent + flat)
    assert one.pearson.value is None and one.pearson.n_unscored == 1
    assert one.pearson.reasons == {"4 models have a value before and after; 5 are needed": 1}
    assert two.pearson.value is None and two.slope.value is None
    assert two.pearson.reasons == {"a side does not vary over the models": 1}


def test_the_same_reading_twice_is_an_error():
    with pytest.raises(RequestError, match="es of m0 under relearn on forget data is there twice"):
        reliabilities(readings(BEFORE, AFTER) + readings(BEFORE[:1], AFTER[:1]))


def test_tables_of_numbers(tmp_path):
    csv = tmp_path / "t.csv"
    csv.write_text("model,attack,side,metric,before,after\nm0,relearn,forget,es,0.25,\n")
    want = Reading(model="m0", attack="relearn", side="forget", metric="es", before=0.25,
                   after=None)  # fmt: skip
    assert read_table(csv) == [want]
    csv.write_bytes(b"\xef\xbb\xbf" + csv.read_bytes())  # as spreadsheets save "UTF-8"
    assert read_table(csv) == [want]
    text = csv.read_text(encoding="utf-8-sig")
    csv.write_bytes(text.encode() + "Jos\u00e9".encode("latin-1"))
    with pytest.raises(RequestError, match="is no UTF-8"):
        read_table(csv)
    lines = tmp_path / "t.jsonl"
    lines.write_text(json.dumps({**vars_of(want), "pool": "unlearned"}) + "\n\n")
    assert read_table(lines) == [want]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "a"}, "column 'before' is missing|column 'after' is missing"),
        ({"side": "forgot"}, "side is 'forgot'"),
        ({"pool": "x"}, "pool is 'x'"),
        ({"before": "much"}, "before is 'much'"),
        ({"after": float("nan")}, "after is nan"),
        ({"metrik": 1}, "unknown column 'metrik'"),
    ],
)
def test_malformed_lines_are_told(values, message):
    whole = {"model": "m", "attack": "a", "side": "forget", "metric": "es", "before": 0.1,
             "after": 0.2}  # fmt: skip
    given = values if values == {"model": "a"} else {**whole, **values}
    with pytest.raises(RequestError, match=message):
        reading_from(given, "t.jsonl:3")


def test_readings_are_kept_line_by_line(tmp_path):
    file = ReadingFile(tmp_path / "r.jsonl", "d")
    file.add("m0", "abc", "relearn", readings(BEFORE[:1], AFTER[:1]))
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + b'{"model": "m1", "wei')
    again = ReadingFile(file.path, "d")
    assert again.done == {("m0", "abc", "relearn"): readings(BEFORE[:1], AFTER[:1])}
    assert file.path.read_bytes() == whole
    with pytest.raises(RequestError, match="other records, metrics or options"):
        ReadingFile(file.path, "e")
