"""From a model to results, and back without a model."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.evaluate.conftest import Evaluated
from tests.evaluate.made import request, row, write_rows
from tests.helpers import save_tiny, tiny_model, tiny_tokenizer
from unbelief.errors import DataError, RequestError
from unbelief.evaluate import evaluate, read_results, rescore
from unbelief.measure.store import read_measurements
from unbelief.measure.tables import AnswerNeed
from unbelief.scores.texts import greedy_need


def test_numbers_are_those_of_the_measurement(evaluated: Evaluated):
    results = evaluated.results
    examples = read_measurements(evaluated.measurements).examples
    # Length-normalised probability: exp of the mean log-probability, averaged over six records.
    own = [np.exp(e.answers[AnswerNeed()][0].logp.mean()) for e in examples["forget"]]
    assert results["forget_probability"].value == pytest.approx(np.mean(own), abs=1e-7)
    wrong = [
        np.mean([a.logp.mean() for a in e.answers[AnswerNeed("perturbed")]])
        - e.answers[AnswerNeed("paraphrase")][0].logp.mean()
        for e in examples["forget"]
    ]
    assert results["forget_truth_ratio_raw"].value == pytest.approx(
        np.mean(np.exp(wrong)), rel=1e-5
    )


def test_every_number_says_how_many_items_and_whose_definition(evaluated: Evaluated):
    for line in evaluated.results.lines:
        estimate = line.estimate
        assert estimate.unit and estimate.version >= 1
        assert estimate.convention.startswith("unbelief")
        if estimate.value is None:
            assert estimate.reasons, line.name
            assert (estimate.low, estimate.high) == (None, None)
        elif estimate.low is not None and estimate.high is not None:
            assert estimate.low <= estimate.value <= estimate.high or line.name == "mia_min_k_tpr"
    # Six forget records in three groups: an interval by group, not by record.
    assert evaluated.results.sets["forget"] == {"n": 6, "clusters": 3, "absent": None}
    assert evaluated.results["forget_probability"].interval == "clustered bootstrap 95 %"


def test_what_the_records_do_not_allow_is_unscored(evaluated: Evaluated):
    accuracy = evaluated.results["forget_choice_accuracy"]
    assert accuracy.value is None and accuracy.n_unscored == 6
    assert "the record has no choices" in accuracy.reasons


def test_the_distance_to_the_retrained_model_is_paired(evaluated: Evaluated):
    results = evaluated.results
    for name in ("forget_probability", "mia_loss", "forget_rouge", "memorization"):
        line = results.line(name)
        assert line.retrained is not None and line.distance is not None
        assert line.retrained.value is not None and line.distance.value is not None
        assert line.distance.value == pytest.approx(line.estimate.value - line.retrained.value)
    distance = results.line("forget_probability").distance
    assert distance is not None and distance.interval == "paired clustered bootstrap 95 %"
    # A test against the retrained model is a comparison already.
    assert results.line("forget_quality").distance is None
    quality = results["forget_quality"].value
    assert quality is not None and 0 < quality <= 1


def test_the_same_model_as_reference_has_no_distance(evaluated: Evaluated, tmp_path: Path):
    wanted = replace(evaluated.request, retrained=None, reference=str(evaluated.output))
    results = evaluate(
        wanted, tmp_path / "same.json", measurements=evaluated.measurements, progress=False
    )
    for line in results.lines:
        if line.distance is not None and line.estimate.value is not None:
            assert line.distance.value == 0, line.name
            assert line.distance.low in (0, None), line.name
    assert results["forget_quality"].value == 1
    assert results["privleak"].value == 0


def test_the_classifier_reads_the_models_own_words(evaluated: Evaluated, classifier: Path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(classifier)
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    examples = read_measurements(evaluated.measurements).examples["forget"]
    expected = []
    for example in examples:
        text = example.texts[greedy_need()][0].text
        if text.strip():
            ids = tokenizer(text, truncation=True, max_length=512, return_tensors="pt")
            with torch.no_grad():
                expected.append(model(**ids).logits.softmax(-1)[0, 1].item())
    fluency = evaluated.results["forget_fluency"]
    assert fluency.n == len(expected) > 0
    assert fluency.value == pytest.approx(np.mean(expected), abs=1e-5)
    assert evaluated.results.provenance["judges"]["fluency"]["class"] == 1


def test_the_original_model_reads_the_models_own_words(evaluated: Evaluated):
    from unbelief.models.load import load_model
    from unbelief.tokens import Encoder

    loaded = load_model(str(evaluated.request.original), device="cpu")
    encoder = Encoder(loaded.tokenizer, end_token=False)
    values = []
    for example in read_measurements(evaluated.measurements).examples["forget"]:
        said = example.texts[greedy_need()][0]
        if not said.text.strip():
            continue
        one = encoder.encode(example.record, answer=said.text)
        ids = torch.tensor([[*one.prompt_ids, *one.answer_ids]])[:, :256]
        with torch.no_grad():
            logp = loaded.model(ids).logits.log_softmax(-1)
        start = len(one.prompt_ids)
        picked = logp[0, start - 1 : -1].gather(1, ids[0, start:, None])
        values.append(picked.mean().exp().item())
    fluency = evaluated.results["forget_original_fluency"]
    assert fluency.n == len(values) > 0
    assert fluency.value == pytest.approx(np.mean(values), rel=1e-4)


def test_scoring_again_gives_the_same_without_a_model(evaluated: Evaluated):
    again = rescore(
        evaluated.measurements, reference=evaluated.output.with_name("results.retrained.json")
    )
    assert again.lines == evaluated.results.lines
    assert again.items == evaluated.results.items
    assert again.sets == evaluated.results.sets


def test_scoring_again_imports_no_torch(evaluated: Evaluated):
    code = (
        "import sys; from unbelief.evaluate import rescore;"
        f"rescore({str(evaluated.measurements)!r}, convention='open-unlearning');"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_another_convention_changes_definitions_and_says_so(evaluated: Evaluated):
    theirs = rescore(evaluated.measurements, convention="open-unlearning")
    line = theirs.line("forget_extraction_strength")
    assert line.options["floor"] == "one_over_n"
    assert line.estimate.convention == "open-unlearning"
    ours = evaluated.results["forget_extraction_strength"].value
    assert line.estimate.value > ours  # the random model extracts nothing, the floor does
    assert "not comparable" in theirs.notes[0]
    # 32 classifier tokens were not asked for when it was measured.
    fluency = theirs["forget_fluency"]
    assert fluency.value is None and fluency.n_unscored == 6


def test_lines_that_were_not_measured_say_so(evaluated: Evaluated):
    results = rescore(evaluated.measurements, metrics=("mia_gradient_norm", "mia_reference"))
    norm = results["mia_gradient_norm_forget"]
    assert norm.value is None
    assert list(norm.reasons) == ["this was not measured: evaluate the model again"]
    assert list(results["mia_reference_forget"].reasons) == ["no reference model was measured"]


def test_the_retrained_measurement_serves_the_reference_attack(evaluated: Evaluated):
    results = rescore(
        evaluated.measurements,
        metrics=("mia_reference",),
        reference=evaluated.output.with_name("results.retrained.json"),
    )
    own = read_measurements(evaluated.measurements).examples["forget"]
    other = read_measurements(
        evaluated.output.with_name("results.retrained.measurements")
    ).examples["forget"]
    need = AnswerNeed()
    expected = [
        b.answers[need][0].logp.mean() - a.answers[need][0].logp.mean()
        for a, b in zip(own, other, strict=True)
    ]
    assert results["mia_reference_forget"].value == pytest.approx(np.mean(expected), abs=1e-5)


def test_gradient_norms_come_on_request(evaluated: Evaluated, tmp_path: Path):
    wanted = replace(
        evaluated.request,
        retrained=None,
        original=None,
        fluency_model=None,
        metrics=("mia_gradient_norm",),
    )
    results = evaluate(wanted, tmp_path / "norm.json", progress=False)
    assert [line.name for line in results.lines] == [
        "mia_gradient_norm_forget",
        "mia_gradient_norm_holdout",
        "mia_gradient_norm",
    ]
    norm = results["mia_gradient_norm_forget"]
    assert norm.value is not None and norm.value > 0 and norm.n == 6


def test_results_hold_no_text_and_their_digests_need_a_key(evaluated: Evaluated):
    written = evaluated.output.read_text()
    for i in range(6):
        for column in ("question", "answer", "paraphrased_answer"):
            assert str(row(i, "forget")[column]) not in written
    data = json.loads(written)["provenance"]["data"]
    assert data["forget"]["n"] == 6 and len(data["forget"]["hmac_sha256"]) == 64
    salt = read_measurements(evaluated.measurements).meta["salt"]
    assert salt not in written
    assert evaluated.measurements.stat().st_mode & 0o077 == 0
    for file in evaluated.measurements.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file


def test_provenance_and_cost(evaluated: Evaluated):
    results = evaluated.results
    assert results.provenance["input_weights_sha256"]
    assert results.provenance["config"]["samples"] == 2
    assert results.provenance["environment"]["packages"]["torch"]
    assert results.cost["seconds"] > 0
    assert results.cost["measuring"]["answers"]["forward_tokens"] > 0
    assert results.encoding["template"] == "chat"


def test_written_results_are_read_again(evaluated: Evaluated):
    again = read_results(evaluated.output)
    assert again.lines == evaluated.results.lines
    assert again.items == evaluated.results.items


def test_a_finished_measurement_is_used_again(evaluated: Evaluated, tmp_path: Path, monkeypatch):
    from unbelief.measure import run as measuring

    def fail(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "_run_mine", fail)
    wanted = replace(evaluated.request, retrained=None)
    again = evaluate(
        wanted, tmp_path / "again.json", measurements=evaluated.measurements, progress=False
    )
    assert [
        a.estimate for a in again.lines if a.how != "forget_quality" and a.how != "privleak"
    ] == [
        b.estimate
        for b in evaluated.results.lines
        if b.how != "forget_quality" and b.how != "privleak"
    ]


def test_missing_paraphrases_leave_only_their_lines_unscored(tiny_folder: Path, tmp_path: Path):
    bare = [{k: row(i, "forget")[k] for k in ("question", "answer")} for i in range(3)]
    wanted = request(str(tiny_folder), tmp_path, retain=None, holdout=None)
    write_rows(tmp_path / "forget.jsonl", bare)
    wanted = replace(
        wanted, metrics=("forget_probability", "memorization", "forget_key_fact_recall", "mia_loss")
    )
    results = evaluate(wanted, tmp_path / "out.json", progress=False)
    assert results["forget_probability"].value is not None
    paraphrase = results["forget_paraphrase_probability"]
    assert paraphrase.value is None and "the record has no paraphrases" in paraphrase.reasons
    assert list(results["memorization"].reasons) == ["forget_paraphrase_probability has no value"]
    assert "perturbed" in next(iter(results["forget_key_fact_recall"].reasons))
    assert list(results["mia_loss_holdout"].reasons) == [
        "no holdout records were given (--holdout)"
    ]
    assert list(results["mia_loss"].reasons) == ["mia_loss_holdout has no value"]


def test_a_model_that_gives_nan_is_unscored_not_zero(tmp_path: Path):
    model = tiny_model("llama")
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    folder = tmp_path / "nan"
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    wanted = request(
        str(folder), tmp_path, metrics=("forget_probability", "mia_loss", "extraction_strength")
    )
    results = evaluate(wanted, tmp_path / "out.json", progress=False)
    for name in ("forget_probability", "mia_loss_forget", "forget_extraction_strength"):
        assert results[name].value is None
        assert list(results[name].reasons) == ["the model gave non-finite log-probabilities"], name


@pytest.mark.parametrize("pad", ["eos", "none"])
def test_tokenizers_without_padding_token_or_template(tmp_path: Path, pad: str):
    folder = tmp_path / "model"
    tiny_model("llama").save_pretrained(folder)
    tiny_tokenizer(chat=False, pad=pad).save_pretrained(folder)  # type: ignore[arg-type]
    wanted = request(str(folder), tmp_path, metrics=("forget_probability", "forget_rouge"))
    results = evaluate(wanted, tmp_path / "out.json", progress=False)
    assert results.encoding["template"] == "plain"
    assert results["forget_rouge"].n == 6
    with pytest.raises(RequestError, match="no chat template"):
        evaluate(replace(wanted, template="chat"), tmp_path / "chat.json", progress=False)


def test_the_open_unlearning_convention_encodes_as_that_project_does(
    tiny_folder: Path, tmp_path: Path
):
    wanted = request(
        str(tiny_folder),
        tmp_path,
        convention="open-unlearning",
        metrics=("forget_probability", "forget_extraction_strength"),
    )
    results = evaluate(wanted, tmp_path / "out.json", progress=False)
    assert results.encoding["convention"] == "open-unlearning"
    assert results["forget_extraction_strength"].convention == "open-unlearning"
    assert results.notes == ()


def test_duplicate_ids_are_refused(tiny_folder: Path, tmp_path: Path):
    wanted = request(str(tiny_folder), tmp_path)
    write_rows(tmp_path / "forget.jsonl", [row(0, "forget"), row(0, "forget")])
    with pytest.raises(DataError, match="is also that of"):
        evaluate(wanted, tmp_path / "out.json", progress=False)
    assert not (tmp_path / "out.json").exists()
    assert not list(tmp_path.glob("out*"))


def test_a_loaded_model_is_evaluated_as_it_is(tmp_path: Path):
    from unbelief.models.load import in_memory

    loaded = in_memory(tiny_model("llama"), tiny_tokenizer())
    wanted = request(loaded, tmp_path, metrics=("forget_probability",))
    results = evaluate(wanted, tmp_path / "out.json", progress=False)
    same = save_tiny(tmp_path / "model")
    other = replace(wanted, model=str(same))
    on_disk = evaluate(other, tmp_path / "disk.json", progress=False)
    assert results["forget_probability"].value == on_disk["forget_probability"].value
    assert results.provenance["source"] == "in memory"


def _evaluated_lines(request, output):
    return evaluate(request, output, progress=False).to_dict()["lines"]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(evaluated: Evaluated, tmp_path: Path):
    from tests.train.ranks import run_ranks

    wanted = replace(evaluated.request, fluency_model=None)
    alone = _evaluated_lines(wanted, tmp_path / "one.json")
    both = run_ranks(2, _evaluated_lines, wanted, tmp_path / "two.json")
    assert both == [alone, alone]
