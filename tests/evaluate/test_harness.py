"""Tasks of the LM Evaluation Harness, where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.data.test_wmdp import question
from tests.data.test_wmdp import write as write_questions
from unbelief.errors import RequestError
from unbelief.evaluate import Evaluation, evaluate, read_results
from unbelief.evaluate.harness import HarnessOptions, evaluate_tasks

TASK = """\
task: local_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
num_fewshot: 0
output_type: multiple_choice
description: "The following are multiple choice questions (with answers) about biology.\\n\\n"
doc_to_text: "{{{{question.strip()}}}}\\nA. {{{{choices[0]}}}}\\nB. {{{{choices[1]}}}}\\n\
C. {{{{choices[2]}}}}\\nD. {{{{choices[3]}}}}\\nAnswer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list:
  - metric: acc
metadata:
  version: 1
"""


@pytest.fixture
def task(tmp_path: Path) -> str:
    """A task file of one's own, in the Harness's format."""
    write_questions(tmp_path, "wmdp-bio", [question(i) for i in range(12)])
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "local.yaml").write_text(TASK.format(file=tmp_path / "wmdp-bio.jsonl"))
    return str(tmp_path / "tasks")


def test_without_the_harness_the_remedy_is_named(tiny_folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    wanted = Evaluation(model=str(tiny_folder), suite="wmdp", device="cpu")
    with pytest.raises(RequestError, match="is not installed") as error:
        evaluate_tasks(wanted, HarnessOptions(), tmp_path / "out.json")
    assert "unbelief[lm-eval]" in str(error.value)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.filterwarnings("ignore")  # the Harness's own
def test_its_accuracy_is_ours_item_by_item(
    task: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("lm_eval", reason="needs the extra unbelief[lm-eval]")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    wanted = Evaluation(model=str(tiny_folder), suite="wmdp", device="cpu")
    options = HarnessOptions(tasks=("local_choice",), include_path=task)
    theirs = evaluate_tasks(wanted, options, tmp_path / "theirs.json")
    ours = evaluate(
        Evaluation(model=str(tiny_folder), suite="wmdp", device="cpu", data=str(tmp_path)),
        tmp_path / "ours.json",
        progress=False,
    )
    assert [s.value for s in theirs.items["local_choice_accuracy"]] == [
        s.value for s in ours.items["bio_accuracy"]
    ]
    line = theirs.line("local_choice_accuracy")
    assert (line.chance, line.estimate.n) == (0.25, 12)
    assert line.estimate.interval.startswith("exact binomial")
    assert read_results(tmp_path / "theirs.json").lines == theirs.lines
    same = Evaluation(
        model=str(tiny_folder),
        suite="wmdp",
        device="cpu",
        reference=str(tmp_path / "theirs.json"),
    )
    compared = evaluate_tasks(same, options, tmp_path / "compared.json")
    distance = compared.line("local_choice_accuracy").distance
    assert distance is not None and distance.value == 0


@pytest.mark.slow  # the Harness indexes fifteen thousand tasks
@pytest.mark.filterwarnings("ignore")
def test_an_unknown_task_is_refused(task: str, tiny_folder: Path, tmp_path: Path, monkeypatch):
    pytest.importorskip("lm_eval", reason="needs the extra unbelief[lm-eval]")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    wanted = Evaluation(model=str(tiny_folder), suite="wmdp", device="cpu")
    with pytest.raises(RequestError, match="knows no task 'nowhere'"):
        evaluate_tasks(
            wanted, HarnessOptions(tasks=("nowhere",), include_path=task), tmp_path / "out.json"
        )
