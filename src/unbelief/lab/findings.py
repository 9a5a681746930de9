"""What an analysis lets one say, as sentences; each is there if and only if the numbers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbelief.lab.result import LabResult
from unbelief.lab.summary import Analysis, Contrast, Row, Squeeze
from unbelief.types import Estimate

SENTENCE_LEVEL = 0.3
SAME = 0.02
"""Masses that differ by less are called the same, however narrow the interval."""
CLOSE = 0.05
"""Whole runs that never differ by more are called close: the largest of hundreds of differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement of the report.

    Attributes:
        key: `squeezing`, `distance`, `equal-leak` or `control`.
        title: A few words that carry the result.
        text: The sentences, with numbers, intervals and n.
    """

    key: str
    title: str
    text: str


def findings(result: LabResult, analysis: Analysis) -> tuple[Finding, ...]:
    """All statements that the numbers support, in the order of the report."""
    labels = {m.name: m.label for m in result.methods}
    out = [_squeezing(analysis, labels), _distance(analysis)]
    out += _equal_leak(result, analysis, labels)
    gap = analysis.control_gap
    if gap is not None:
        out.append(_control(gap.largest, labels[gap.method], labels[gap.control]))
    return tuple(out)


def _squeezing(analysis: Analysis, labels: dict[str, str]) -> Finding:
    by = {v: [s for s in analysis.squeezes if s.verdict == v] for v in _VERDICTS}
    rose = sorted(by["rose"], key=lambda s: -(s.change.value or 0))
    parts = [
        "At the moment when the phrasing to be forgotten had lost half of its probability, the "
        "other phrasings of the same fact "
        + (
            f"had risen under {_join([_squeeze(s, labels) for s in rose])}."
            if rose
            else "had not risen under any method."
        )
    ]
    if by["fell"]:
        parts.append(f"They had fallen under {_join([_squeeze(s, labels) for s in by['fell']])}.")
    for verdict, phrase in (
        ("unclear", "The interval of the change holds zero for"),
        ("not reached", "The target never fell to half under"),
    ):
        if by[verdict]:
            parts.append(f"{phrase} {_join([labels[s.method] for s in by[verdict]])}.")
    if rose:
        top = max(rose, key=lambda s: s.peak)
        parts.append(
            f"They started at {_number(rose[0].start.value)} and went as high as "
            f"{_number(top.peak)} ({labels[top.method]}, step {top.peak_step})."
        )
    n = analysis.squeezes[0].change
    parts.append(_basis(n))
    if len(rose) == len(analysis.squeezes):
        title = "Every method squeezes the fact into its other phrasings"
    elif rose:
        names = _join([labels[s.method] for s in rose])
        title = f"The fact is squeezed into its other phrasings under {names}"
    else:
        title = "No squeezing was seen"
    return Finding(key="squeezing", title=title, text=" ".join(parts))


_VERDICTS = ("rose", "fell", "unclear", "not reached")


def _squeeze(squeeze: Squeeze, labels: dict[str, str]) -> str:
    return f"{labels[squeeze.method]} ({_signed(squeeze.change)})"


def _distance(analysis: Analysis) -> Finding:
    original = next(r for r in analysis.rows if r.label == "original")
    rows = sorted(
        (r for r in analysis.rows if r.method is not None), key=lambda r: r.distance.value or 0.0
    )
    best, before = rows[0], _value(original.distance)
    parts = [
        f"The best point of the search was that of {best.label} (learning rate "
        f"{best.learning_rate:g}, step {best.step}): distance {_with_interval(best.distance)} to "
        f"the model that never saw these people, where the original is at {_number(before)} and "
        "0 would be equality.",
    ]
    if len(rows) > 1:
        rest = [f"{r.label} {_number(r.distance.value)}" for r in rows[1:]]
        parts.append(f"The others: {_join(rest)}.")
    useless = [r.label for r in rows if r.step == 0]
    if useless:
        parts.append(f"{_join(useless)} never came closer than the original model.")
    worse = [r for r in rows if _ends_worse(r, before)]
    if worse:
        parts.append(
            "Without stopping early the same runs end farther away than the original model "
            f"for {_join([f'{r.label} ({_number(_value(r.last_distance))})' for r in worse])}."
        )
    parts.append(_basis(best.distance))
    near = _value(best.distance) < 0.25 * before
    title = (
        f"{best.label} comes close to the retrained model"
        if near
        else "No method comes near the retrained model"
    )
    return Finding(key="distance", title=title, text=" ".join(parts))


def _ends_worse(row: Row, before: float) -> bool:
    return row.last_distance is not None and _value(row.last_distance) > before


def _equal_leak(result: LabResult, analysis: Analysis, labels: dict[str, str]) -> list[Finding]:
    out = []
    for method in (m for m in result.methods if m.family == "belief"):
        contrasts = [
            c for c in analysis.contrasts if c.method == method.name and c.level == SENTENCE_LEVEL
        ]
        if contrasts:
            out.append(_contrast_finding(method.label, contrasts, labels))
        elif any(c.method == method.name for c in result.curves):
            out.append(
                Finding(
                    key="equal-leak",
                    title=f"{method.label} cannot be compared at leak {SENTENCE_LEVEL:g}",
                    text="It, or every other method, never came down to this leak.",
                )
            )
    return out


def _contrast_finding(label: str, contrasts: Sequence[Contrast], labels: dict[str, str]) -> Finding:
    parts, won, lost = [], False, False
    for mass in ("natural", "retained"):
        groups: dict[str, list[str]] = {"more": [], "less": [], "same": []}
        for c in contrasts:
            difference: Estimate = getattr(c, mass)
            kind = _sign(difference)
            shown = f"{labels[c.against]} ({_signed(difference)})"
            groups[kind].append(shown if kind != "same" else labels[c.against])
        won, lost = won or bool(groups["more"]), lost or bool(groups["less"])
        said = []
        if groups["more"]:
            said.append(f"more than {_join(groups['more'])}")
        if groups["less"]:
            said.append(f"less than {_join(groups['less'])}")
        if groups["same"]:
            said.append(f"no clear difference from {_join(groups['same'])}")
        parts.append(f"{mass} mass: {'; '.join(said)}.")
    title = (
        f"At equal leak {label} "
        + {
            (True, True): "beats some methods and loses to others",
            (True, False): "keeps more than the others, or as much",
            (False, True): "keeps less than the others, or as much",
            (False, False): "cannot be told apart from the others",
        }[won, lost]
    )
    text = (
        f"Each method at its best learning rate, at the moment when the leak is down to "
        f"{SENTENCE_LEVEL:g}. " + " ".join(p[0].upper() + p[1:] for p in parts)
    )
    basis = next((c.natural for c in contrasts if c.natural.low is not None), contrasts[0].natural)
    return Finding(key="equal-leak", title=title, text=f"{text} {_basis(basis, True)}")


def _control(largest: float, label: str, control: str) -> Finding:
    if largest < SAME:
        return Finding(
            key="control",
            title=f"{label} does what its control does",
            text=(
                f"Over all recorded steps, learning rates and masses {label} and {control} differ "
                f"by at most {_small(largest)}. In a vocabulary this small the top-k beliefs hold "
                "nearly all the probability, and then the belief term has nearly no gradient: "
                "what is left is gradient ascent at weight 1 − λ."
            ),
        )
    close = largest < CLOSE
    return Finding(
        key="control",
        title=f"{label} {'stays close to' if close else 'differs from'} its control",
        text=(
            f"The largest difference between {label} and {control} over all recorded steps, "
            f"learning rates and masses is {_small(largest)}."
        ),
    )


def _sign(difference: Estimate) -> str:
    """Clear and large enough to matter; everything else is "same"."""
    large = abs(_value(difference)) >= SAME
    if large and difference.low is not None and difference.low > 0:
        return "more"
    if large and difference.high is not None and difference.high < 0:
        return "less"
    return "same"


def _basis(estimate: Estimate, paired: bool = False) -> str:
    what = "seeds" if "seeds" in estimate.interval else "forgotten people"
    extra = " of the paired differences" if paired else ""
    return f"Intervals{extra} are 95 %, over {estimate.n} {what}."


def _value(estimate: Estimate | None) -> float:
    assert estimate is not None and estimate.value is not None
    return estimate.value


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _small(value: float) -> str:
    return f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"


def _with_interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value)
    return f"{_number(estimate.value)} ({_number(estimate.low)} to {_number(estimate.high)})"


def _signed(estimate: Estimate) -> str:
    value = _value(estimate)
    text = f"{'+' if value >= 0 else '−'}{abs(value):.2f}"
    if estimate.low is None or estimate.high is None:
        return text
    ends = [f"{'−' if v < 0 else ''}{abs(v):.2f}" for v in (estimate.low, estimate.high)]
    return f"{text}, {ends[0]} to {ends[1]}"


def _join(items: Sequence[str]) -> str:
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
