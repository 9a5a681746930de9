"""The model's own words as the model before unlearning sees them.

The texts a model gave are put into the place of the answers (`as_said`), and the original model is
measured on them, into a folder inside the measurement's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief.measure.plan import Plan
from unbelief.measure.store import META, read_measurements
from unbelief.measure.tables import AnswerNeed, Example, TextNeed
from unbelief.scores.base import Metric
from unbelief.scores.metrics.fluency import as_said
from unbelief.suites.base import Line
from unbelief.types import Score

if TYPE_CHECKING:
    from unbelief.models.load import LoadedModel
    from unbelief.tokens import Encoder

ABSENT = "the model before unlearning was not given (--original)"
Words = Mapping[tuple[str, TextNeed], Mapping[str, Example]]
"""(item set, need) to record id to the example with the model's words as its answer."""


def about_words(lines: Sequence[Line]) -> tuple[tuple[str, TextNeed], ...]:
    """Which words of which item sets the original model is asked about."""
    found = {(line.on, line.said): None for line in lines if line.said is not None}
    return tuple((on, need) for on, need in found if need is not None)


def folder_of(measurements: Path, weights_sha256: str) -> Path:
    """Where the measurement of one original model is kept."""
    return measurements / f"original-{weights_sha256[:16]}"


def measure_words(
    original: LoadedModel,
    encoder: Encoder,
    examples: Mapping[str, Sequence[Example]],
    wanted: Sequence[tuple[str, TextNeed]],
    measurements: Path,
    *,
    progress: bool = False,
) -> None:
    """Measure what a model said with the original model.

    Args:
        original: The model before unlearning.
        encoder: Its encoder.
        examples: Of the model that spoke, per item set.
        wanted: As from `about_words`.
        measurements: Folder of the model that spoke.
        progress: Show a bar.
    """
    from unbelief.measure.run import measure
    from unbelief.models.runner import AnswerModel

    sets = {
        _name(i): [
            as_said(e.record, e.texts[need][0].text)
            for e in examples.get(on, ())
            if need in e.texts and e.texts[need][0].text.strip()
        ]
        for i, (on, need) in enumerate(wanted)
    }
    measure(
        AnswerModel(original.model, pad_id=encoder.pad_id),
        encoder,
        Plan(sets, {name: (AnswerNeed("answer"),) for name in sets}),
        folder_of(measurements, original.weights_sha256),
        fingerprint={"weights_sha256": original.weights_sha256, "asked": "words of another model"},
        progress=progress,
        restart=_is_stale(measurements, original, sets),
    )


def _is_stale(measurements: Path, original: LoadedModel, sets: Mapping[str, Sequence[Any]]) -> bool:
    """Whether an earlier measurement here was of fewer lines' words."""
    folder = folder_of(measurements, original.weights_sha256)
    if not (folder / META).is_file():
        return False
    before = read_measurements(folder).meta["sets"]
    return bool(before != {name: len(records) for name, records in sets.items()})


def read_words(
    measurements: Path, weights_sha256: str, wanted: Sequence[tuple[str, TextNeed]]
) -> dict[tuple[str, TextNeed], dict[str, Example]]:
    """What the original model said about the words, where it was asked."""
    folder = folder_of(measurements, weights_sha256)
    if not (folder / META).is_file():
        return {}
    found = read_measurements(folder).examples
    return {
        key: {example.record.id: example for example in found.get(_name(i), ())}
        for i, key in enumerate(wanted)
    }


def score_words(line: Line, examples: Sequence[Example], words: Words) -> tuple[Score, ...]:
    """Scores of a line about the model's words, one per item."""
    assert line.said is not None and isinstance(line.how, Metric)
    known = words.get((line.on, line.said))
    out = []
    for example in examples:
        name, group = example.record.id, example.record.group
        said = example.texts.get(line.said, ())
        if not said:
            why = example.unmeasured.get(line.said, "no answer was sampled")
            out.append(Score(None, why, name, group))
        elif known is None:
            out.append(Score(None, ABSENT, name, group))
        elif name not in known:
            out.append(Score(None, "the response is empty", name, group))
        else:
            out.append(line.how.score(known[name]))
    return tuple(out)


def _name(index: int) -> str:
    return f"words-{index}"
