"""`unbelief vision run`: every method in every relation on every seed, resumable.

Every model that was measured is a small file in `OUTPUT.run/`; the same call goes on where it was
stopped. `OUTPUT` appears when all are there.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from unbelief.errors import Interrupted, RequestError
from unbelief.outputs import atomic_folder, atomic_write, check_destination
from unbelief.rundir import RunFolder
from unbelief.vision.bench import Bench, Cell, Variant
from unbelief.vision.config import VisionConfig
from unbelief.vision.document import vision_document
from unbelief.vision.finding import methods
from unbelief.vision.scenario import Relation
from unbelief.vision.tables import vision_markdown

DOCUMENT, PAGE = "vision.json", "vision.md"


@dataclass(frozen=True)
class Job:
    """One model to make and measure.

    Attributes:
        seed: Of the bench.
        relation: Scenario.
        method: Name; `original` and `reference` are the two ends.
        variant: What the method is handed.
    """

    seed: int
    relation: Relation
    method: str
    variant: Variant = "given"

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.seed}-{self.relation}-{self.method}-{self.variant}.json"


def jobs_of(config: VisionConfig, seed: int) -> list[Job]:
    """All jobs of a seed.

    With all of the target handed over, a method is run once more where that is more than D_f,
    unless it looks for the target by itself.
    """
    jobs = []
    for relation in config.relations:
        jobs += [Job(seed, relation, "original"), Job(seed, relation, "reference")]
        jobs += [Job(seed, relation, name) for name in config.names]
        if config.oracle and relation in ("target-mismatch", "data-mismatch"):
            looking = methods()
            jobs += [
                Job(seed, relation, name, "oracle")
                for name in config.names
                if not looking[name].finds
            ]
    return jobs


def run_vision(
    config: VisionConfig,
    output: str | Path,
    *,
    workers: int = 1,
    overwrite: bool = False,
    restart: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Make and measure everything a study asks for.

    Args:
        config: What to do.
        output: Folder that is to appear, whole or not at all: `vision.json` and `vision.md`.
        workers: Processes; each works on a seed of its own, on one thread, so the numbers do not
            depend on how many there are.
        overwrite: Replace an existing folder.
        restart: Throw away what an interrupted run left instead of going on with it.
        progress: Show a bar on stderr when that is a terminal.

    Returns:
        The content of `vision.json`.

    Raises:
        RequestError: The request is wrong; nothing was written.
        Interrupted: Ctrl-C; the same call goes on.
    """
    if find_spec("sklearn") is None:
        raise RequestError(
            "the membership attack needs scikit-learn, which is not installed",
            remedy="pip install 'unbelief[vision]'",
        )
    destination = check_destination(output, overwrite)
    folder = RunFolder(destination)
    with folder.claimed(restart=restart):
        first = Bench(config, config.seeds[0])  # finds out early what is wrong with the data
        for relation in config.relations:
            first.scenario(relation)
        folder.check_request(config.settings())
        try:
            _all_seeds(config, folder.checkpoints, workers, progress)
        except KeyboardInterrupt:
            raise Interrupted("stopped", remedy="the same command resumes") from None
        cells = {
            job: json.loads((folder.checkpoints / job.file).read_text(encoding="utf-8"))
            for seed in config.seeds
            for job in jobs_of(config, seed)
        }
        document = vision_document(config, first, cells)
        with atomic_folder(destination, overwrite) as finished:
            atomic_write(finished / DOCUMENT, json.dumps(document, allow_nan=False) + "\n")
            atomic_write(finished / PAGE, vision_markdown(document))
        folder.tidy()
    return document


def _all_seeds(config: VisionConfig, folder: Path, workers: int, progress: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    total = len(jobs_of(config, 0)) * len(config.seeds)
    shown = progress and sys.stderr.isatty()
    with tqdm(total=total, desc="models", disable=not shown, file=sys.stderr) as bar:
        if workers <= 1 or len(config.seeds) == 1:
            for seed in config.seeds:
                for _ in run_seed(config, seed, folder):
                    bar.update(1)
            return
        with ProcessPoolExecutor(min(workers, len(config.seeds)), get_context("spawn")) as pool:
            waiting = [pool.submit(_whole_seed, config, seed, folder) for seed in config.seeds]
            for done in as_completed(waiting):
                bar.update(done.result())


def _whole_seed(config: VisionConfig, seed: int, folder: Path) -> int:
    return sum(1 for _ in run_seed(config, seed, folder))


def run_seed(config: VisionConfig, seed: int, folder: Path) -> Iterator[Job]:
    """Do what is not there yet of one seed; gives each job when it is done."""
    jobs = jobs_of(config, seed)
    if all((folder / job.file).exists() for job in jobs):
        yield from jobs
        return
    with _one_thread():
        bench = Bench(config, seed, folder)
        built = config.built()
        for job in jobs:
            if not (folder / job.file).exists():
                cell = _do(bench, job, built)
                atomic_write(folder / job.file, json.dumps(_plain(cell), allow_nan=False))
            yield job


def _do(bench: Bench, job: Job, built: dict[str, Any]) -> Cell:
    if job.method == "original":
        return bench.measure_original(job.relation)
    if job.method == "reference":
        return bench.reference(job.relation)
    return bench.run(job.relation, built[job.method], job.variant)


def _plain(cell: Cell) -> dict[str, Any]:
    shares = {
        name: {**asdict(share), "percent": share.percent} for name, share in cell.shares.items()
    }
    log = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in cell.log.items()
    }
    return {
        "shares": shares,
        "seconds": round(cell.seconds, 3),
        "cpu_seconds": round(cell.cpu_seconds, 3),
        "identification": cell.identification,
        "log": log,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
