"""The two studies of metrics from end to end: work that can go on, then one file that is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unbelief.errors import Interrupted, RequestError
from unbelief.evaluate.results import check_output, read_json
from unbelief.outputs import atomic_write
from unbelief.scores.base import Metric
from unbelief.scores.conventions import metric
from unbelief.scores.registry import metrics as known_metrics
from unbelief.study.metric_tables import (
    TRUTH_SCHEMA,
    reliability_document,
    truth_document,
)
from unbelief.study.protocol import SecondOpinion, second_opinions
from unbelief.study.reliability import Reading, Reliability, reliabilities
from unbelief.study.reliability_files import ReadingFile, read_table
from unbelief.study.truth import analyse
from unbelief.study.truth_lines import candidates
from unbelief.study.truth_plan import TruthConfig
from unbelief.study.truth_result import Truth
from unbelief.study.truth_rows import Row, RowFile, Stopped, row_from

Progress = Callable[[str, int], None]


def study_truth(
    config: TruthConfig,
    output: str | Path,
    *,
    work: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[Truth, dict[str, Any]]:
    """Make the models, measure each, hold the metrics against the masses, write one file.

    Stopped in the middle, the same call goes on: each model is kept as soon as it is measured.

    Args:
        config: The study.
        output: JSON file that is to appear.
        work: Folder of the models measured so far and of the lab's trained models; by default
            `OUTPUT.work`, which goes when the study is complete.
        overwrite: Replace an existing output.
        progress: Told along the way.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C; the same call goes on.
    """
    from unbelief.study.truth_run import check_methods, measure_models

    target = check_output(output, overwrite)
    check_methods(config)
    folder = work or target.with_name(f"{target.stem}.work")
    rows = RowFile(folder / "rows.jsonl", config.digest)
    with _resumable(folder):
        measure_models(config, rows, folder / "models", progress=progress)
    measured, stopped = list(rows.rows.values()), list(rows.stopped.values())
    truth = analyse(measured, candidates(config.samples))
    document = truth_document(truth, config, measured, stopped)
    _write(document, target, overwrite)
    if work is None:
        shutil.rmtree(folder)
    return truth, document


def reanalyse_truth(
    source: str | Path, output: str | Path, *, overwrite: bool = False
) -> tuple[Truth, dict[str, Any]]:
    """The same analysis of models that a file of this study already has.

    Args:
        source: What `study_truth` wrote.
        output: JSON file that is to appear.
        overwrite: Replace an existing output.

    Raises:
        RequestError: The source is no such file.
    """
    target = check_output(output, overwrite)
    content = read_json(Path(source).expanduser())
    if not isinstance(content, dict) or content.get("schema") != TRUTH_SCHEMA:
        raise RequestError(
            "this is no result of `unbelief study truth`",
            where=str(source),
            remedy="name the JSON file it wrote",
        )
    rows: list[Row] = [row_from(values) for values in content["rows"]]
    stopped = [Stopped(**values) for values in content["stopped"]]
    truth = analyse(rows, candidates(int(content["config"]["samples"])))
    same = ("config", "config_digest", "environment", "created")
    document = {
        **truth_document(truth, TruthConfig(), rows, stopped),
        **{name: content[name] for name in same},
    }
    _write(document, target, overwrite)
    return truth, document


def study_reliability(
    request: Any,
    output: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[tuple[Reliability, ...], tuple[SecondOpinion, ...], dict[str, Any]]:
    """Attack a population of models, read metrics before and after, write one file.

    Stopped in the middle, the same call goes on: each model under each attack is kept.

    Args:
        request: A `ReliabilityRequest`.
        output: JSON file that is to appear.
        overwrite: Replace an existing output.
        progress: Told along the way.

    Raises:
        RequestError: The request is wrong, for example fewer than 5 models.
        Interrupted: Ctrl-C; the same call goes on.
    """
    from unbelief.study.reliability_run import check_request, collect

    target = check_output(output, overwrite)
    check_request(request)
    folder = target.with_name(f"{target.stem}.work")
    kept = ReadingFile(folder / "readings.jsonl", request.digest)
    with _resumable(folder):
        readings, models = collect(request, kept, progress=progress)
    about = {
        "config": json.loads(json.dumps(asdict(request))),
        "config_digest": request.digest,
        "models": models,
    }
    found = _reliability(readings, about, target, overwrite, request.seed)
    shutil.rmtree(folder)
    return found


def reliability_of_table(
    table: str | Path, output: str | Path, *, overwrite: bool = False, seed: int = 0
) -> tuple[tuple[Reliability, ...], tuple[SecondOpinion, ...], dict[str, Any]]:
    """The same from readings that are there already, see `reliability_files.read_table`.

    Args:
        table: CSV or JSONL file.
        output: JSON file that is to appear.
        overwrite: Replace an existing output.
        seed: Of the resampling.

    Raises:
        RequestError: The table is malformed, or has fewer than 5 models.
    """
    target = check_output(output, overwrite)
    about = {"config": {"table": Path(table).name, "seed": seed}}
    return _reliability(read_table(table), about, target, overwrite, seed)


def _reliability(
    readings: Sequence[Reading], about: dict[str, Any], target: Path, overwrite: bool, seed: int
) -> tuple[tuple[Reliability, ...], tuple[SecondOpinion, ...], dict[str, Any]]:
    known = known_metrics()
    directions: dict[str, Metric] = {
        r.metric: metric(r.metric) for r in readings if r.metric in known
    }
    found = reliabilities(readings, seed=seed)
    opinions = second_opinions(readings, directions, seed=seed)
    document = reliability_document(found, opinions, readings, about)
    _write(document, target, overwrite)
    return found, opinions, document


def _write(document: dict[str, Any], target: Path, overwrite: bool) -> None:
    check_output(target, overwrite)  # again: it may have appeared while we worked
    atomic_write(target, json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n")


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped", where=str(folder), remedy="the same command resumes") from None
