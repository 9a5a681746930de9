"""What others say about the model's words: the original model, and a gibberish classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unbelief.errors import RequestError
from unbelief.evaluate import fluency, original
from unbelief.evaluate.asking import about, load, make_encoder
from unbelief.evaluate.request import Evaluation
from unbelief.evaluate.stored import Stored
from unbelief.measure.store import read_measurements
from unbelief.suites.base import Line, Suite, SuiteKind


def hear_original(
    request: Evaluation,
    kind: SuiteKind,
    suite: Suite,
    stored: Stored,
    folder: Path,
    progress: bool,
) -> Stored:
    """Ask the original model about this model's words, where a line wants that.

    Args:
        request: Names the original model.
        kind: The suite.
        suite: Its lines.
        stored: What is known so far.
        folder: Of this model's measurement.
        progress: Show a bar.

    Returns:
        `stored` with the original model in it, if it was asked.
    """
    wanted = original.about_words(suite.lines)
    if request.original is None or not wanted:
        return stored
    loaded = load(request, request.original)
    encoder = make_encoder(request, kind, loaded)
    examples = read_measurements(folder).examples
    original.measure_words(loaded, encoder, examples, wanted, folder, progress=progress)
    return replace(stored, original=about(loaded))


def find_classifier(request: Evaluation, lines: Sequence[Line]) -> fluency.Classifier | str:
    """The classifier, or why there is none.

    Raises:
        RequestError: It was named and cannot be had.
    """
    if not fluency.needs_of(lines):
        return "no line asks for a gibberish classifier"
    try:
        return fluency.load_classifier(request.fluency_model)
    except RequestError as error:
        if request.fluency_model is not None:
            raise
        return (
            f"the gibberish classifier cannot be had ({error.message.splitlines()[0]}): name a "
            "folder that holds it with --fluency-model"
        )


def classify_answers(
    classifier: fluency.Classifier | str, suite: Suite, folder: Path, device: str
) -> str:
    """Let the classifier read what the model said.

    Args:
        classifier: As from `find_classifier`.
        suite: Its lines.
        folder: Of the measurement.
        device: Of the model; the classifier takes the same.

    Returns:
        Why nothing was classified; empty when it was.
    """
    if isinstance(classifier, str):
        return classifier
    examples = read_measurements(folder).examples
    fluency.classify(classifier.on(device), examples, fluency.needs_of(suite.lines), folder)
    return ""
