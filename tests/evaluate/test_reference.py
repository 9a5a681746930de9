"""What a retrained model's results must have in common with these, and what they give."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.conftest import Evaluated
from unbelief.errors import RequestError
from unbelief.evaluate import evaluate, read_results, rescore
from unbelief.evaluate.open_unlearning import item_scores
from unbelief.evaluate.reference import read_reference
from unbelief.evaluate.results import write_results
from unbelief.suites.base import Choices, Suite
from unbelief.suites.registry import choose_lines, suite_kind
from unbelief.types import Record


def refused(evaluated: Evaluated, reference: Path, said: str, **changes: Any) -> None:
    """The request fails before anything is measured or written."""
    output = reference.with_name("out.json")
    wanted = replace(evaluated.request, retrained=None, reference=str(reference), **changes)
    with pytest.raises(RequestError, match=said):
        evaluate(wanted, output, progress=False)
    assert not list(reference.parent.glob("out*"))


def rewritten(evaluated: Evaluated, folder: Path, **changes: Any) -> Path:
    """The retrained model's results with something else in them."""
    results = read_results(evaluated.output.with_name("results.retrained.json"))
    write_results(replace(results, **changes), folder / "other.json")
    return folder / "other.json"


def test_another_suite_split_or_convention_is_refused(evaluated: Evaluated, tmp_path: Path):
    other = rewritten(
        evaluated, tmp_path, suite="tofu", convention="uwc", described={"split": "forget05"}
    )
    refused(
        evaluated,
        other,
        "suite 'tofu' there, 'own' here; convention 'uwc' there, 'unbelief' here; "
        "split 'forget05' there, None here",
    )


def test_another_template_is_refused(evaluated: Evaluated, tmp_path: Path):
    encoding = {**evaluated.results.encoding, "template": "plain", "system_prompt": "Be kind."}
    other = rewritten(evaluated, tmp_path, encoding=encoding)
    refused(
        evaluated,
        other,
        "system_prompt 'Be kind.' there, None here; template 'plain' there, 'chat' here",
    )


def test_other_items_are_refused(evaluated: Evaluated, tmp_path: Path):
    items = dict(evaluated.results.items)
    items["forget_probability"] = items["forget_probability"][:4]
    other = rewritten(evaluated, tmp_path, items=items)
    refused(evaluated, other, "other items of forget: 4 there, 6 here, 4 in both")


def test_a_line_computed_otherwise_is_not_compared(evaluated: Evaluated, tmp_path: Path):
    results = read_results(evaluated.output.with_name("results.retrained.json"))
    lines = tuple(
        replace(line, options={**line.options, "floor": "one_over_n"})
        if line.name == "forget_extraction_strength"
        else line
        for line in results.lines
    )
    other = rewritten(evaluated, tmp_path, lines=lines)
    again = rescore(evaluated.measurements, reference=other)
    line = again.line("forget_extraction_strength")
    assert line.estimate.value is not None and line.distance is not None
    (reason,) = line.distance.reasons
    assert reason.endswith("floor 'one_over_n' there, 'zero' here")
    probability = again.line("forget_probability").distance
    assert probability is not None and probability.value is not None


def test_a_line_that_is_not_there_is_not_compared(evaluated: Evaluated, tmp_path: Path):
    items = {k: v for k, v in evaluated.results.items.items() if k != "forget_rouge"}
    other = rewritten(evaluated, tmp_path, items=items)
    distance = rescore(evaluated.measurements, reference=other).line("forget_rouge").distance
    assert distance is not None and distance.value is None
    assert "no such line" in next(iter(distance.reasons))


def test_two_names_for_the_retrained_model_are_refused(evaluated: Evaluated):
    with pytest.raises(RequestError, match="both name the retrained model"):
        replace(evaluated.request, reference=str(evaluated.output))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        ("not json", "not a JSON file"),
        ('{"some": "thing"}', "neither a results file"),
        ("[1, 2]", "neither a results file"),
        ('{"schema": "unbelief/results", "schema_version": 99}', "schema version 99"),
    ],
)
def test_files_that_are_no_results_are_refused(tmp_path: Path, content: str | None, said: str):
    file = tmp_path / "reference.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RequestError, match=said):
        read_reference(file)


def test_a_folder_with_one_results_file_will_do(evaluated: Evaluated, tmp_path: Path):
    with pytest.raises(RequestError, match="the folder holds 0 results files"):
        read_reference(tmp_path)
    rewritten(evaluated, tmp_path)
    assert read_reference(tmp_path).results is not None


def test_item_scores_must_belong_to_the_results(evaluated: Evaluated, tmp_path: Path):
    other = rewritten(evaluated, tmp_path)
    scores = tmp_path / "other.scores.parquet"
    scores.write_bytes(scores.read_bytes() + b" ")
    with pytest.raises(RequestError, match="item scores of other results"):
        read_reference(other)
    scores.unlink()
    with pytest.raises(RequestError, match="item scores of these results are missing"):
        read_reference(other)


# OpenUnlearning's file, as its evaluator writes it: rows from 0 in the order of the item set.
LOSSES = [(0.5, [1.0, 2.0]), (1.0, [1.0, 3.0])]


def eval_json(n: int = 2) -> dict[str, Any]:
    para = {str(i): {"prob": math.exp(-t), "avg_loss": t} for i, (t, _) in enumerate(LOSSES)}
    pert = {
        str(i): {"prob": [math.exp(-w) for w in wrong], "avg_loss": wrong}
        for i, (_, wrong) in enumerate(LOSSES)
    }
    plain = {str(i): {"prob": 0.25 * (i + 1), "avg_loss": 1.0} for i in range(n)}
    return {
        "forget_Q_A_Prob": {"agg_value": 0.375, "value_by_index": plain},
        "forget_Q_A_PARA_Prob": {"agg_value": 0.5, "value_by_index": para},
        "forget_Q_A_PERT_Prob": {"agg_value": 0.2, "value_by_index": pert},
        "forget_Q_A_ROUGE": {
            "agg_value": 0.5,
            "value_by_index": {
                str(i): {"rougeL_recall": 0.5, "ground_truth": f"assistant\n\nanswer  {i}"}
                for i in range(2)
            },
        },
        "exact_memorization": {
            "agg_value": 0.5,
            "value_by_index": {"0": {"score": 0.5}, "1": {"score": None}},
        },
        "mia_min_k": {
            "agg_value": 0.5,
            "forget": {"value_by_index": {"0": {"score": 2.0}, "1": {"score": 3.0}}},
            "holdout": {"value_by_index": {"0": {"score": 4.0}}},
        },
    }


def tofu_suite() -> Suite:
    lines = suite_kind("tofu").lines(Choices(convention="open-unlearning"))
    sets = {
        "forget": tuple(
            Record(id=f"f:{i + 1}", prompt="q", answer=f"answer {i}", group="a") for i in range(2)
        ),
        "holdout": (Record(id="h:1", prompt="q", answer="a"),),
    }
    return Suite(name="tofu", sets=sets, lines=choose_lines(lines, ()))


def test_open_unlearnings_file_gives_item_scores():
    scores = item_scores(tofu_suite(), eval_json(), "file").scores
    assert [s.value for s in scores["forget_probability"]] == [0.25, 0.5]
    assert [(s.example_id, s.group) for s in scores["forget_rouge"]] == [("f:1", "a"), ("f:2", "a")]
    # r = exp(-mean loss of the false) / (exp(-loss of the true) + 1e-10):
    # exp(-1.5 + 0.5) = 0.3679 and exp(-2 + 1) = 0.3679
    for name, expected in (
        ("forget_truth_ratio_raw", math.exp(-1)),
        ("forget_truth_ratio", math.exp(-1)),
        ("forget_truth_ratio_prob_mean", 1 / (1 + math.exp(-1))),
    ):
        assert [s.value for s in scores[name]] == pytest.approx([expected] * 2, rel=1e-9)
    assert [s.value for s in scores["mia_min_k_forget"]] == [2.0, 3.0]
    assert [s.value for s in scores["mia_min_k_holdout"]] == [4.0]
    assert scores["forget_exact_memorization"][1].unscored == "OpenUnlearning's file has no number"
    assert "retain_rouge" not in scores


def test_its_truth_ratio_is_taken_as_it_is_where_the_losses_are_not_there():
    content = eval_json()
    del content["forget_Q_A_PERT_Prob"]
    content["forget_truth_ratio"] = {"value_by_index": {"0": {"score": 2.0}, "1": {"score": 0.5}}}
    scores = item_scores(tofu_suite(), content, "file").scores
    assert [s.value for s in scores["forget_truth_ratio_raw"]] == [2.0, 0.5]
    # min(2, 1/2) and min(1/2, 2)
    assert [s.value for s in scores["forget_truth_ratio"]] == pytest.approx([0.5, 0.5])


def test_its_other_splits_are_told_by_their_rows_and_answers():
    content = eval_json(n=3)
    with pytest.raises(RequestError, match="about 3 items, forget has 2 here"):
        item_scores(tofu_suite(), content, "file")
    content = eval_json()
    content["forget_Q_A_ROUGE"]["value_by_index"]["1"]["ground_truth"] = "something else"
    with pytest.raises(RequestError, match="row 1 has another answer there"):
        item_scores(tofu_suite(), content, "file")
    with pytest.raises(RequestError, match="none of this suite's lines"):
        item_scores(tofu_suite(), {"forget_quality": {"agg_value": 1.0}}, "file")


def test_its_items_of_sets_that_are_not_here_are_passed_over():
    suite = tofu_suite()
    sets = {name: its if name == "forget" else () for name, its in suite.sets.items()}
    scores = item_scores(replace(suite, sets=sets), eval_json(), "file").scores
    assert "forget_probability" in scores and "mia_min_k_holdout" not in scores


def test_its_answers_lack_blanks_before_punctuation():
    # Decoded with clean_up_tokenization_spaces=True: " ," is ",", " n't" is "n't".
    suite, content = tofu_suite(), eval_json()
    first, second = suite.sets["forget"]
    sets = {**suite.sets, "forget": (replace(first, answer="Ada , who is n't 0 ."), second)}
    rows = content["forget_Q_A_ROUGE"]["value_by_index"]
    rows["0"]["ground_truth"] = "Ada, who isn't 0."
    assert item_scores(replace(suite, sets=sets), content, "file").scores["forget_rouge"]
    rows["0"]["ground_truth"] = "Ada, who isn't 1."
    with pytest.raises(RequestError, match="row 0 has another answer there"):
        item_scores(replace(suite, sets=sets), content, "file")


def test_its_numbers_serve_under_its_convention_only(evaluated: Evaluated, tmp_path: Path):
    file = tmp_path / "TOFU_EVAL.json"
    file.write_text(json.dumps(eval_json()))
    reference = read_reference(file)
    assert reference.about["kind"] == "open-unlearning"
    with pytest.raises(RequestError, match="the convention is unbelief"):
        reference.check_choices(tofu_suite(), "unbelief")
    own = replace(tofu_suite(), name="own")
    with pytest.raises(RequestError, match="cannot be a reference for the suite own"):
        reference.check_choices(own, "open-unlearning")
    reference.check_choices(tofu_suite(), "open-unlearning")
