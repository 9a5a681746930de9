"""One scenario on one seed: the original model, the retrained one, and methods between them."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from unbelief.vision.config import VisionConfig
from unbelief.vision.identify import compare
from unbelief.vision.images import ImageSet
from unbelief.vision.learning import Task, logits_of, train
from unbelief.vision.measures import Seen, Share, measure
from unbelief.vision.method import Method
from unbelief.vision.models import build_model
from unbelief.vision.scenario import Relation, Scenario
from unbelief.vision.schemes import choose_scheme, hierarchy_of, read_data

Variant = Literal["given", "oracle"]
"""What a method is handed: D_f, or all of D_t."""


@dataclass(frozen=True)
class Cell:
    """One model, measured.

    Attributes:
        shares: See `measure`.
        seconds: Wall time of making it.
        cpu_seconds: Processor time of the same, which a busy machine does not stretch.
        identification: Counts of the false-retaining set that was named, where a method looks.
        log: The method's own numbers.
    """

    shares: dict[str, Share]
    seconds: float
    cpu_seconds: float
    identification: dict[str, int] | None
    log: dict[str, Any]


class Bench:
    """Data and models of one seed; models are trained when they are first needed.

    Args:
        config: What to do.
        seed: Of split, weights and order.
        cache: Folder in which original models are kept for a resumed run.
        fresh: Another way to make untrained models, from (classes, channels, seed).
    """

    def __init__(
        self,
        config: VisionConfig,
        seed: int,
        cache: Path | None = None,
        fresh: Callable[[int, int, int], nn.Module] | None = None,
    ):
        self.config, self.seed, self._cache = config, seed, cache
        self.data = read_data(config.data, config.folder, seed)
        self.hierarchy, self.given = hierarchy_of(
            self.data, choose_scheme(config.data, config.scheme)[1]
        )
        self._fresh = fresh or (lambda n, c, s: build_model(config.kind, n, c, s))
        self._images = torch.from_numpy(self.data.train.images).to(config.device)
        self._originals: dict[str, nn.Module] = {}

    def scenario(self, relation: Relation) -> Scenario:
        """The scenario of a relation."""
        return Scenario(relation, self.hierarchy, self.given)

    def digest(self) -> str:
        """SHA-256 of images and labels, training part first."""
        total = hashlib.sha256()
        for part in (self.data.train, self.data.test):
            for array in (part.images, part.fine):
                total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def task(self, relation: Relation, variant: Variant = "given") -> Task:
        """What a method is given."""
        scenario = self.scenario(relation)
        split = scenario.split(self.data.train.fine)
        forget, rest, beyond = split.forget, split.rest, scenario.beyond
        if variant == "oracle":
            forget, rest, beyond = split.target, split.retain, 0
        channels = self.data.train.images.shape[1]
        return Task(
            images=self._images,
            labels=torch.from_numpy(scenario.model_labels(self.data.train.fine)).to(
                self.config.device
            ),
            forget=torch.from_numpy(forget),
            rest=torch.from_numpy(rest),
            classes=scenario.classes,
            beyond=beyond,
            fresh=lambda seed: self._fresh(scenario.classes, channels, seed).to(self.config.device),
            training=self.config.training,
            seed=self.seed,
        )

    def original(self, relation: Relation) -> nn.Module:
        """The model before forgetting; relations with the same label domain share it."""
        level = self.scenario(relation).model_level
        if level not in self._originals:
            task = self.task(relation)
            model = task.fresh(self.seed)
            file = None if self._cache is None else self._cache / f"{level}-{self.seed}.pt"
            if file is not None and file.exists():
                model.load_state_dict(torch.load(file, weights_only=True))
            else:
                train(model, task, torch.arange(len(task.labels)), self.seed)
                if file is not None:
                    _save(model, file)
            self._originals[level] = model
        return self._originals[level]

    def measure_original(self, relation: Relation) -> Cell:
        """The original model; its time is not counted."""
        return Cell(self._shares(self.original(relation), relation), 0.0, 0.0, None, {})

    def reference(self, relation: Relation) -> Cell:
        """The retrained model: from scratch on D without the target, from the original's seed."""
        task = self.task(relation, "oracle")
        started, cpu = time.perf_counter(), time.process_time()
        model = train(task.fresh(self.seed), task, task.rest, self.seed)
        took = time.perf_counter() - started, time.process_time() - cpu
        return Cell(self._shares(model, relation), *took, None, {})

    def run(self, relation: Relation, method: Method, variant: Variant = "given") -> Cell:
        """A method, timed alone, and measured."""
        model, task = copy.deepcopy(self.original(relation)), self.task(relation, variant)
        started, cpu = time.perf_counter(), time.process_time()
        outcome = method.apply(model, task)
        took = time.perf_counter() - started, time.process_time() - cpu
        found = None
        if outcome.identified is not None:
            true = self.scenario(relation).split(self.data.train.fine).false_retain
            found = asdict(compare(outcome.identified, true))
        shares = self._shares(outcome.model, relation)
        return Cell(shares, *took, found, dict(outcome.log))

    def _shares(self, model: nn.Module, relation: Relation) -> dict[str, Share]:
        scenario, data = self.scenario(relation), self.data
        return measure(
            self._seen(model, scenario, data.train),
            self._seen(model, scenario, data.test),
            scenario.split(data.train.fine),
            scenario.split(data.test.fine),
            self.seed,
        )

    def _seen(self, model: nn.Module, scenario: Scenario, part: ImageSet) -> Seen:
        images = torch.from_numpy(part.images).to(self.config.device)
        return Seen(logits_of(model, images).cpu().numpy(), scenario.model_labels(part.fine))


def _save(model: nn.Module, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save(model.state_dict(), partial)
    partial.replace(file)
