"""The worst records and the spread of scores."""

from __future__ import annotations

from tests.report.made import audit
from unbelief.report import audit_markdown, build_audit_report
from unbelief.report.audit_document import PromptRow, Response
from unbelief.report.audit_items import spread, worst_items


def row(name: str, flag: str, fact: float | None, likely: float, *attacks: str) -> PromptRow:
    said = [Response(by=f"unlearned under {a}", text="Rome", words=("Rome",)) for a in attacks]
    silent = Response(by="unlearned under noise", text="no", words=())
    return PromptRow(
        id=name,
        prompt="?",
        truth="Rome",
        flag=flag,  # type: ignore[arg-type]
        why="",
        scores={"key_fact_recall": fact, "probability": likely},
        responses=(Response(by="unlearned", text="x", words=("x",)), silent, *said),
    )


def test_the_worst_ten_by_flag_then_facts_then_attacks_then_likelihood():
    rows = [
        row("d", "forgotten", 0.0, 0.9),
        row("c", "forgotten", 0.0, 0.1, "relearn"),
        row("b", "rephrased", 0.5, 0.2),
        row("a", "rephrased", 1.0, 0.1),
        *(row(f"e{i}", "forgotten", 0.0, 0.5 - i / 100) for i in range(9)),
    ]
    table = worst_items(audit(1, prompts=tuple(rows)))
    # Flags first; then 1.0 before 0.5; then the one an attack opened; then by probability.
    assert [r[0] for r in table.rows] == ["a", "b", "c", "d", "e0", "e1", "e2", "e3", "e4", "e5"]
    assert [r[2] for r in table.rows[2:4]] == ["1 of 3", "0 of 3"]  # three attacks were run


def test_the_spread_has_quantiles_and_counts_what_is_unscored():
    rows = [row(str(i), "forgotten", None if i == 0 else i / 4, i / 8) for i in range(5)]
    table = spread(audit(1, prompts=tuple(rows)))
    # Facts: 0.25, 0.5, 0.75, 1; quartiles by linear interpolation: 0.4375, 0.625, 0.8125;
    # 95 %: 0.75 + 0.85 * 0.25 = 0.9625.
    assert table.rows[0] == (
        "Key fact recall", "4", "1", "0.25", "0.44", "0.62", "0.81", "0.96", "1.00",
    )  # fmt: skip
    nothing = spread(audit(1, prompts=(row("x", "undecided", None, 0.5),)))
    assert nothing.rows[0][1:4] == ("0", "1", "unscored")


def test_they_stand_on_the_page_and_in_markdown_without_texts():
    made = audit(12)
    page, written = build_audit_report(made), audit_markdown(made)
    for text in (page, written):
        assert "The 10 records of which most is left" in text
        assert "Scores of the unlearned model, record by record" in text
    assert made.prompts[0].truth not in written
