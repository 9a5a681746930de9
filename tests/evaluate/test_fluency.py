"""The gibberish classifier: which class, how much it reads, and when there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.evaluate.made import classifier_folder, request
from unbelief.errors import RequestError
from unbelief.evaluate import evaluate
from unbelief.evaluate.fluency import classify, load_classifier, with_opinions
from unbelief.measure.tables import ClassifierNeed, Example, TextMeasurement
from unbelief.scores.conventions import metric
from unbelief.scores.metrics.gibberish import Fluency
from unbelief.scores.texts import greedy_need
from unbelief.types import Record


def example(name: str, text: str) -> Example:
    said = TextMeasurement(token_ids=(), text=text, log_prob=0.0, finished=True)
    record = Record(id=name, prompt="p", answer="a")
    return Example(record=record, texts={greedy_need(): (said,)})


@pytest.mark.parametrize(
    ("labels", "clean"),
    [
        (("clean", "mild gibberish", "noise", "word salad"), 0),
        (("noise", "Clean"), 1),
        (("LABEL_0", "LABEL_1"), 0),
    ],
)
def test_the_clean_class_is_found_by_name(tmp_path: Path, labels: tuple[str, ...], clean: int):
    assert load_classifier(str(classifier_folder(tmp_path / "c", labels))).clean == clean


def test_a_classifier_of_something_else_is_refused(tmp_path: Path):
    folder = classifier_folder(tmp_path / "c", ("positive", "negative"))
    with pytest.raises(RequestError, match="no class 'clean', only positive, negative"):
        load_classifier(str(folder))


def test_it_reads_only_so_many_tokens_and_batches_do_not_matter(classifier: Path):
    one = load_classifier(str(classifier))
    same = "abcdefghij"
    texts = [same + "k" * i for i in (0, 3, 40, 1)]
    # One token per character: after ten of them the classifier stops reading.
    cut = one.clean_probabilities(texts, 10)
    assert cut == pytest.approx([cut[0]] * 4, abs=1e-6)
    whole = one.clean_probabilities(texts, 100)
    assert len({round(p, 7) for p in whole}) == 4
    assert one.clean_probabilities(texts, 100, batch_size=1) == pytest.approx(whole, abs=1e-5)


def test_opinions_are_kept_with_the_measurement(classifier: Path, tmp_path: Path):
    need = ClassifierNeed(greedy_need(), 16)
    examples = {"forget": [example("1", "one two"), example("2", "three")]}
    one = load_classifier(str(classifier))
    classify(one, examples, {"forget": (need,)}, tmp_path)
    found, about = with_opinions(tmp_path, examples, {"forget": (need,)}, "none")
    expected = one.clean_probabilities(["one two", "three"], 16)
    metric = Fluency(max_tokens=16)
    assert [metric.score(e).value for e in found["forget"]] == pytest.approx(expected)
    assert about["weights_sha256"] == one.sha256
    assert (tmp_path / "fluency.parquet").stat().st_mode & 0o077 == 0


def test_an_empty_answer_has_no_fluency(classifier: Path, tmp_path: Path):
    need = Fluency().opinion
    examples = {"forget": [example("1", " \n")]}
    classify(load_classifier(str(classifier)), examples, {"forget": (need,)}, tmp_path)
    found, _ = with_opinions(tmp_path, examples, {"forget": (need,)}, "none")
    assert Fluency().score(found["forget"][0]).unscored == "the response is empty"
    theirs = metric("fluency", "open-unlearning", {"max_tokens": 512})
    expected = load_classifier(str(classifier)).clean_probabilities([" \n"], 512)
    assert theirs.score(found["forget"][0]).value == expected[0]


def test_without_a_classifier_the_reason_stands_there(tmp_path: Path):
    examples = {"forget": [example("1", "text")]}
    found, about = with_opinions(tmp_path, examples, {"forget": (Fluency().opinion,)}, "no way")
    assert Fluency().score(found["forget"][0]).unscored == "no way"
    assert about == {}


def test_a_classifier_that_was_named_must_be_there(tiny_folder: Path, tmp_path: Path):
    wanted = request(str(tiny_folder), tmp_path, metrics=("forget_fluency",))
    with pytest.raises(RequestError, match="no such model folder"):
        missing = replace(wanted, fluency_model=str(tmp_path / "gone"))
        evaluate(missing, tmp_path / "out.json", progress=False)
    assert not list(tmp_path.glob("out*"))
    # The published one cannot be had without a network: the line says so, and how to mend it.
    results = evaluate(wanted, tmp_path / "out.json", progress=False)
    (reason,) = results["forget_fluency"].reasons
    assert "--fluency-model" in reason and results["forget_fluency"].value is None


def test_a_hub_that_does_not_answer_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch):
    from unbelief.evaluate import fluency

    def refuse(address, timeout):
        asked.append((address, timeout))
        raise OSError("no route")

    asked: list[object] = []
    monkeypatch.setattr(fluency.socket, "create_connection", refuse)
    assert not fluency.hub_answers()  # offline, as all tests are: nothing is even tried
    assert not asked
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(fluency, "getproxies", dict)
    with pytest.raises(RequestError, match="the hub cannot be reached"):
        fluency.load_classifier(None)
    assert asked == [(("huggingface.co", 443), 5.0)]
    monkeypatch.setattr(fluency, "getproxies", lambda: {"https": "http://proxy"})
    assert fluency.hub_answers()
