from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.evaluate.made import classifier_folder, request
from tests.helpers import save_tiny
from unbelief.evaluate import Evaluation, Results, evaluate


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation that all tests share: do not change its files."""

    request: Evaluation
    output: Path
    results: Results
    retrained: Path

    @property
    def measurements(self) -> Path:
        return self.output.with_name("results.measurements")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random classifier whose second class is called clean."""
    return classifier_folder(tmp_path_factory.mktemp("classifier") / "gibberish")


@pytest.fixture(scope="session")
def evaluated(
    tiny_folder: Path, classifier: Path, tmp_path_factory: pytest.TempPathFactory
) -> Evaluated:
    """A random model against another one, with every helper at hand."""
    folder = tmp_path_factory.mktemp("evaluated")
    retrained = save_tiny(folder / "retrained-model", seed=1)
    wanted = request(
        str(tiny_folder),
        folder,
        retrained=str(retrained),
        original=str(tiny_folder),
        fluency_model=str(classifier),
        samples=2,
    )
    output = folder / "results.json"
    results = evaluate(wanted, output, progress=False)
    return Evaluated(wanted, output, results, retrained)
