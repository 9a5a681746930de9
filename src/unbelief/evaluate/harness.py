"""Tasks of the LM Evaluation Harness on a loaded model: WMDP and MMLU as that project runs them.

The Harness is an extra (`pip install "unbelief[lm-eval]"`). It reads its data through `datasets`,
which keeps copies in its cache: not for records that are to be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbelief.errors import RequestError
from unbelief.evaluate.asking import about, load, recorded
from unbelief.evaluate.reference import read_reference
from unbelief.evaluate.request import Evaluation
from unbelief.evaluate.results import LineResult, Results, check_output, write_results
from unbelief.provenance import Provenance
from unbelief.scores.base import Statistic
from unbelief.scores.statistics import difference, mean_statistic, missing, rate_statistic
from unbelief.types import Score

if TYPE_CHECKING:
    from unbelief.models.load import LoadedModel

WMDP_TASKS = ("wmdp_bio", "wmdp_chem", "wmdp_cyber", "mmlu")


@dataclass(frozen=True)
class HarnessOptions:
    """What the Harness is told besides the model.

    Attributes:
        tasks: Names of tasks or groups.
        include_path: Folder with task files of one's own.
        batch_size: Rows of a forward.
        metric: The number that each task reports per document.
    """

    tasks: tuple[str, ...] = WMDP_TASKS
    include_path: str | None = None
    batch_size: int = 8
    metric: str = "acc"


def evaluate_tasks(
    request: Evaluation,
    options: HarnessOptions,
    output: str | Path,
    *,
    overwrite: bool = False,
) -> Results:
    """Run tasks and write their accuracies as results, with an exact interval each.

    Args:
        request: Model, device, dtype, limit; `template="chat"` applies the chat template,
            `system_prompt` goes along, `reference` names the retrained model's results.
        options: Which tasks.
        output: JSON file that is to appear.
        overwrite: Replace an existing one.

    Raises:
        RequestError: The Harness is not installed, knows no such task, or cannot load its data.
    """
    started = time.monotonic()
    target = check_output(output, overwrite)
    harness = _installed()
    manager = _manager(harness, options)
    reference = None if request.reference is None else read_reference(request.reference)
    loaded = load(request, request.model)
    found = _run(harness, manager, request, options, loaded)
    items = {f"{task}_accuracy": _scores(found, task, options.metric) for task in options.tasks}
    statistics = {name: _statistic(name, scores) for name, scores in items.items()}
    others = {} if reference is None or reference.results is None else reference.results.items
    lines = tuple(
        _line(task, statistics, None if reference is None else others, found, options)
        for task in options.tasks
    )
    results = Results(
        suite="wmdp",
        described={"through": f"lm-eval {found['lm_eval_version']}"},
        sets={task: _set(items[f"{task}_accuracy"]) for task in options.tasks},
        convention="lm-eval",
        encoding={
            "template": "chat" if request.template == "chat" else "plain",
            "system_prompt": request.system_prompt,
        },
        choices={"batch_size": options.batch_size},
        lines=lines,
        retrained=None if reference is None else dict(reference.about),
        provenance={
            **Provenance(
                source=loaded.source,
                revision=loaded.revision,
                input_weights_sha256=loaded.weights_sha256,
                config=recorded(request),
                seed=0,
            ).to_dict(),
            "dtype": about(loaded)["dtype"],
            "tasks": {name: found["versions"].get(name) for name in found["samples"]},
        },
        cost={"seconds": round(time.monotonic() - started, 1)},
        items=items,
    )
    write_results(results, target)
    return results


def _installed() -> Any:
    try:
        import lm_eval
        import lm_eval.models.huggingface
        import lm_eval.tasks
    except ImportError as error:
        raise RequestError(
            f"the LM Evaluation Harness is not installed ({error})",
            where="--tasks",
            remedy='pip install "unbelief[lm-eval]", or leave --tasks out and give the questions '
            "with --data",
        ) from error
    return lm_eval


def _manager(harness: Any, options: HarnessOptions) -> Any:
    """The Harness's tasks; indexing all of them takes seconds, so one's own are tried first."""
    only = harness.tasks.TaskManager(include_path=options.include_path, include_defaults=False)
    if options.include_path is not None and set(options.tasks) <= set(only.all_tasks):
        return only
    every = harness.tasks.TaskManager(include_path=options.include_path)
    absent = [task for task in options.tasks if task not in every.all_tasks]
    if absent:
        raise RequestError(
            f"the Harness knows no task {absent[0]!r}",
            where="--tasks",
            remedy="see `lm-eval ls tasks`; files of your own with --include-path FOLDER",
        )
    return every


def _run(
    harness: Any,
    manager: Any,
    request: Evaluation,
    options: HarnessOptions,
    loaded: LoadedModel,
) -> Mapping[str, Any]:
    wrapped = harness.models.huggingface.HFLM(
        pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=options.batch_size
    )
    try:
        found: Mapping[str, Any] | None = harness.simple_evaluate(
            model=wrapped,
            tasks=list(options.tasks),
            task_manager=manager,
            limit=request.limit,
            apply_chat_template=request.template == "chat",
            system_instruction=request.system_prompt,
            log_samples=True,
            bootstrap_iters=0,
        )
    except (OSError, ValueError, KeyError, ConnectionError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RequestError(
            f"the Harness stopped ({type(error).__name__}: {said})",
            where="--tasks",
            remedy="check the task's data set and the network; gated data needs `hf auth login`",
        ) from error
    assert found is not None  # this is the only process
    return found


def _scores(found: Mapping[str, Any], task: str, metric: str) -> tuple[Score, ...]:
    """Number of every document of a task, or of all tasks of a group."""
    parts = _leaves(found, task)
    out = []
    for part in parts:
        for sample in found["samples"][part]:
            value = sample.get(metric)
            known = isinstance(value, int | float)
            out.append(
                Score(
                    float(value) if known else None,
                    None if known else f"the task reports no {metric} per document",
                    f"{part}:{sample['doc_id']}",
                    part if len(parts) > 1 else None,
                )
            )
    return tuple(out)


def _leaves(found: Mapping[str, Any], task: str) -> list[str]:
    if task in found["samples"]:
        return [task]
    return [leaf for part in found["group_subtasks"].get(task, ()) for leaf in _leaves(found, part)]


def _statistic(name: str, scores: Sequence[Score]) -> Statistic:
    binary = all(s.value in (None, 0.0, 1.0) for s in scores)
    make = rate_statistic if binary else mean_statistic
    return make(scores, unit="share", stream=name)


def _line(
    task: str,
    statistics: Mapping[str, Statistic],
    others: Mapping[str, tuple[Score, ...]] | None,
    found: Mapping[str, Any],
    options: HarnessOptions,
) -> LineResult:
    name = f"{task}_accuracy"
    own, other, distance = statistics[name], None, None
    if others is not None:
        if name in others:
            other = _statistic(name, others[name])
        else:
            other = missing("the retrained model's results have no such line", unit="share")
        distance = difference(own, other)
    return LineResult(
        name=name,
        how="lm-eval",
        on=task,
        options={"metric": options.metric, "version": found["versions"].get(task)},
        better="higher" if task.startswith("mmlu") else "lower",
        estimate=own.estimate("lm-eval"),
        chance=_chance(found, task),
        retrained=None if other is None else other.estimate("lm-eval"),
        distance=None if distance is None else distance.estimate("lm-eval"),
    )


def _chance(found: Mapping[str, Any], task: str) -> float | None:
    """1 / number of options, where every document has the same number."""
    counts = {len(s["arguments"]) for part in _leaves(found, task) for s in found["samples"][part]}
    return 1 / counts.pop() if len(counts) == 1 and min(counts) > 1 else None


def _set(scores: Sequence[Score]) -> dict[str, Any]:
    clusters = {s.group or f"item:{s.example_id}" for s in scores}
    return {"n": len(scores), "clusters": len(clusters), "absent": None}
