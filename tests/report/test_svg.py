from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from markupsafe import Markup

from unbelief.report.charts import Dot, Layer, dot_plot, stacked_chart
from unbelief.report.spread import spread
from unbelief.report.svg import Axis, Frame, Line, Scale, line_chart, tag

FRAME = Frame(key="k", title="A & B", description="<rising>", width=100, height=100,
              left=0, right=0, top=0, bottom=0)  # fmt: skip
UNIT = Axis(label="x", low=0, high=1)


def test_linear_scale():
    scale = Scale(0, 10, 100, 200)
    assert scale(0) == 100 and scale(5) == 150 and scale(10) == 200


def test_log_scale_puts_equal_ratios_at_equal_distances():
    scale = Scale(1, 100, 0, 10, log=True)
    assert scale(10) == pytest.approx(5)
    assert scale.ticks() == [1, 10, 100]


def test_reversed_scale():
    scale = Scale(1, 0, 0, 10)
    assert scale(1) == 0 and scale(0) == 10
    assert scale.ticks(5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]


@pytest.mark.parametrize(
    ("low", "high", "about", "ticks"),
    [
        (0, 40, 5, [0, 10, 20, 30, 40]),
        (0, 1.55, 5, [0, 0.5, 1.0, 1.5]),
        (0.2, 0.4, 2, [0.2, 0.3, 0.4]),
    ],
)
def test_ticks_are_round(low, high, about, ticks):
    assert Scale(low, high, 0, 1).ticks(about) == pytest.approx(ticks)


@pytest.mark.parametrize("bad", [{"low": 1, "high": 1}, {"low": 0, "high": 1, "log": True}])
def test_impossible_scales_are_refused(bad):
    with pytest.raises(ValueError, match="scale needs"):
        Scale(start=0, end=1, **bad)


def test_text_and_attributes_are_escaped():
    assert tag("t", {"a": '"<'}, "<b>") == Markup('<t a="&#34;&lt;">&lt;b&gt;</t>')


def test_labels_that_would_overlap_are_moved_apart_in_their_order():
    # Three at 10: centred block 0, 10, 20 with gap 10; the one at 50 stays.
    assert spread([10, 10, 50, 10], 10, -100, 100) == pytest.approx([0, 10, 50, 20])
    # Against the lower border they are pushed up.
    assert spread([1, 0], 10, 0, 100) == pytest.approx([10, 0])
    assert spread([], 10, 0, 1) == []


def test_line_chart_is_drawn_to_scale_and_described():
    line = Line(label="up", style="m0", x=[0, 1], y=[0, 1], low=[0, 0.5], high=[0.1, 1])
    root = ET.fromstring(line_chart(FRAME, UNIT, UNIT, [line]))
    assert root.get("role") == "img"
    named = {e.get("id"): e.text for e in root if e.tag in ("title", "desc")}
    assert [named[i] for i in root.get("aria-labelledby", "").split()] == ["A & B", "<rising>"]
    curve = next(e for e in root.iter("polyline") if "curve" in e.get("class", ""))
    assert curve.get("points") == "0,100 100,0"
    band = next(e for e in root.iter("polygon"))
    assert band.get("points") == "0,90 100,0 100,50 0,100"


def test_band_leaves_out_points_without_interval():
    line = Line(label="", style="m0", x=[0, 1, 2], y=[0, 0, 0], low=[None, 0, 0], high=[None, 1, 1])
    chart = line_chart(FRAME, Axis(label="x", low=0, high=2), UNIT, [line])
    assert 'class="band m0" points="50,0 100,0 100,100 50,100"' in chart
    bare = Line(label="", style="m0", x=[0, 1], y=[0, 0])
    assert "band" not in line_chart(FRAME, UNIT, UNIT, [bare])


def test_stack_ends_at_its_sum_and_has_the_reference_beside_it():
    layers = [
        Layer(label="", style="a", y=[0.5, 0.25], reference=0.75),
        Layer(label="", style="b", y=[0.5, 0.75], reference=0.25),
    ]
    root = ET.fromstring(stacked_chart(FRAME, UNIT, [0, 1], layers, "aim"))
    bars = {e.get("class"): float(e.get("height", 0)) for e in root.iter("rect")}
    assert bars == {"area a": 75, "area b": 25}
    first, second = [e.get("points", "").split() for e in root.iter("polygon")]
    assert first[0].endswith(",50") and first[1].endswith(",75")
    assert second[0].endswith(",0") and second[1].endswith(",0")


def test_dot_plot_shows_interval_and_second_value_only_where_there_are_any():
    rows = [
        Dot(label="a", style="m0", value=0.5, low=0.25, high=0.75, second=1.0),
        Dot(label="b", style="m1", value=0.5, low=None, high=None),
    ]
    chart = dot_plot(FRAME, UNIT, rows)
    assert chart.count('class="dot') == 2
    assert chart.count('class="whisker') == 1 and 'x1="25" x2="75"' in chart
    assert chart.count('class="ring') == 1
